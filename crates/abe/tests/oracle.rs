//! The crate against an independent implementation: Python, another pairing library, equations and encodings written
//! from the paper and this crate's documentation. Vectors go both ways: `vectors/good`, made here, is recomputed there
//! byte for byte; `vectors/oracle`, made there, opens here.

#[cfg(test)]
mod oracle {
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};

    use consilium_abe::{
        AccessPolicy, AttributeKey, AuthorityPublicKey, Gid, Header, KemContext, PublicKeys, kem,
    };

    fn here(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
    }

    fn texts(folder: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(here(folder)).unwrap();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        found.sort();
        assert!(!found.is_empty());
        found
    }

    #[test]
    fn what_the_oracle_made_opens_here() {
        for path in texts("vectors/oracle") {
            let text = std::fs::read_to_string(&path).unwrap();
            let field = |name: &str| -> Vec<&str> {
                let pairs = text.lines().filter_map(|line| line.split_once(": "));
                pairs.filter(|(found, _)| *found == name).map(|(_, value)| value).collect()
            };
            let bytes = |name: &str| -> Vec<Vec<u8>> {
                field(name).into_iter().map(|value| hex::decode(value).unwrap()).collect()
            };
            let public: PublicKeys = bytes("authority-public-key")
                .iter()
                .map(|key| AuthorityPublicKey::from_bytes(key).unwrap())
                .collect();
            let decoded = bytes("attribute-key");
            let keys: Vec<AttributeKey> =
                decoded.iter().map(|key| AttributeKey::from_bytes(key).unwrap()).collect();
            for key in &keys {
                key.verify(public.get(key.term().authority()).unwrap()).unwrap();
            }
            let policy = AccessPolicy::parse(field("policy")[0]).unwrap();
            assert_eq!(policy.canonical_bytes(), bytes("policy-bytes")[0]);
            let epoch = field("class-epoch")[0].parse().unwrap();
            let context = KemContext::new(field("channel")[0], field("class")[0], epoch).unwrap();
            let gid = Gid::new(field("gid")[0]).unwrap();
            let header = Header::from_bytes(&bytes("header")[0]).unwrap();
            let secret = kem::decapsulate(&header, &context, &public, &gid, &keys, &[0x5a; 32]).unwrap();
            assert_eq!(hex::encode(secret.expose()), field("secret")[0], "{}", path.display());
        }
    }

    /// The private Python that `scripts/setup.sh test` makes, where it has the oracle's library.
    fn python() -> Option<PathBuf> {
        let tools = std::env::var_os("CONSILIUM_TOOLS");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = tools.map_or_else(|| root.join(".tools"), PathBuf::from).join("venv/bin/python");
        let import = Command::new(&python).args(["-c", "import py_ecc"]).stderr(Stdio::null()).status();
        import.is_ok_and(|status| status.success()).then_some(python)
    }

    #[test]
    fn the_oracle_agrees_with_every_value() {
        let Some(python) = python() else {
            assert_ne!(
                std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref(),
                Ok("1"),
                "the oracle's Python is required: run scripts/setup.sh test"
            );
            println!("skipped: no Python with py_ecc; scripts/setup.sh test installs it");
            return;
        };
        let start = |script: &str, argument: &Path| -> Child {
            let mut command = Command::new(&python);
            // No bytecode beside the scripts: the working tree stays as it is.
            command.arg("-B").arg(here(script)).arg(argument);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        // All at once: pure Python takes seconds for each.
        let mut running: Vec<Child> =
            texts("vectors/good").iter().map(|path| start("oracle/oracle.py", path)).collect();
        running.push(start("oracle/make.py", Path::new("--check")));
        for child in running {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
        }
    }
}
