use super::*;
use crate::vault::Folder;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

const CONTEXT: &str = "north/a";

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(11)
}

fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("consilium-seal-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn write(path: &Path, mode: u32, content: &str) {
    let _ = std::fs::remove_file(path);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).write(true).mode(mode).open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

/// What every method owes: it opens what it wrapped, for the same context, and nothing that was altered.
fn keeps_the_contract(seal: &dyn Seal) -> Vec<u8> {
    let master = Master::generate(&mut rng());
    // Another stream than the key's: a nonce from the same one would be its first octets.
    let wrapped = seal.wrap(&master, CONTEXT, &mut ChaCha20Rng::seed_from_u64(12)).unwrap();
    assert!(
        !wrapped.windows(8).any(|w| master.expose().windows(8).any(|m| m == w)),
        "it shows the master key"
    );
    assert_eq!(seal.unwrap(&wrapped, CONTEXT).unwrap().expose(), master.expose());
    assert!(matches!(seal.unwrap(&wrapped, "north/b"), Err(SealError::DoesNotOpen(_))), "another context");
    for index in (0..wrapped.len()).step_by(7) {
        let mut altered = wrapped.clone();
        altered[index] ^= 1;
        assert!(seal.unwrap(&altered, CONTEXT).is_err(), "octet {index}");
    }
    assert!(seal.unwrap(&wrapped[..wrapped.len() - 1], CONTEXT).is_err());
    assert!(seal.unwrap(&[], CONTEXT).is_err());
    wrapped
}

#[test]
fn a_key_file_wraps() {
    let dir = folder();
    let file = dir.join("key");
    write(&file, 0o600, &"6a".repeat(32));
    let wrapped = keeps_the_contract(&KeyFile::new(&file));
    write(&file, 0o600, &"6b".repeat(32));
    assert!(matches!(KeyFile::new(&file).unwrap(&wrapped, CONTEXT), Err(SealError::DoesNotOpen(_))));
    write(&file, 0o600, "correct horse battery staple");
    assert!(matches!(KeyFile::new(&file).key(), Err(SealError::Invalid { .. })));
}

#[test]
fn a_file_that_everybody_may_read_holds_no_secret() {
    let file = folder().join("key");
    for (mode, good) in
        [(0o600, true), (0o400, true), (0o440, true), (0o644, false), (0o604, false), (0o660, false)]
    {
        write(&file, 0o600, &"6a".repeat(32));
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let read = KeyFile::new(&file).key();
        assert_eq!(read.is_ok(), good, "{mode:o}");
        if let Err(error) = read {
            let text = error.to_string();
            assert!(text.contains(&format!("{mode:o}")) && !text.contains("6a6a"), "{text}");
        }
    }
}

#[test]
fn a_passphrase_wraps() {
    let file = folder().join("passphrase");
    write(&file, 0o600, "six words of a long diceware list\n");
    let cheap = |file: &Path| Passphrase::new(Some(file.to_owned()), 19 * 1024, 2).unwrap();
    let seal = cheap(&file);
    let master = Master::generate(&mut rng());
    let wrapped = seal.wrap(&master, CONTEXT, &mut rng()).unwrap();
    assert_eq!(seal.unwrap(&wrapped, CONTEXT).unwrap().expose(), master.expose());
    // Costs come from the file, so that changed settings still open it.
    let dearer = Passphrase::new(Some(file.clone()), 32 * 1024, 3).unwrap();
    assert_eq!(dearer.unwrap(&wrapped, CONTEXT).unwrap().expose(), master.expose());
    for index in [0, 4, 9, 30, 90] {
        let mut altered = wrapped.clone();
        altered[index] ^= 1;
        assert!(seal.unwrap(&altered, CONTEXT).is_err(), "octet {index}");
    }
    assert!(seal.unwrap(&wrapped, "north/b").is_err());
    write(&file, 0o600, "seven words of a long diceware list");
    assert!(matches!(seal.unwrap(&wrapped, CONTEXT), Err(SealError::DoesNotOpen(_))));
    write(&file, 0o600, "hunter2");
    assert!(matches!(seal.unwrap(&wrapped, CONTEXT), Err(SealError::Invalid { .. })));
    assert!(Passphrase::new(None, 1024, 3).is_err() && Passphrase::new(None, 64 * 1024, 1).is_err());
}

#[test]
fn argon2id_is_that_of_rfc_9106() {
    // Not the RFC's own vector (it uses a secret and associated data): the reference implementation's for
    // `echo -n password | argon2 somesalt -id -t 2 -k 256 -p 1 -l 32` (phc-winner-argon2, src/test.c).
    let params = argon2::Params::new(256, 2, 1, Some(32)).unwrap();
    let mut out = [0; 32];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(b"password", b"somesalt", &mut out)
        .unwrap();
    assert_eq!(hex::encode(out), "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
}

#[test]
fn a_person_gives_the_passphrase() {
    let seal = Passphrase::new(None, 19 * 1024, 2).unwrap();
    let master = Master::generate(&mut rng());
    assert!(matches!(seal.wrap(&master, CONTEXT, &mut rng()), Err(SealError::NeedsPerson)));
    seal.give(Zeroizing::new("six words of a long diceware list".to_owned())).unwrap();
    let wrapped = seal.wrap(&master, CONTEXT, &mut rng()).unwrap();
    seal.give(Zeroizing::new("six words of a short diceware list".to_owned())).unwrap();
    assert!(matches!(seal.unwrap(&wrapped, CONTEXT), Err(SealError::DoesNotOpen(_))));
    assert!(
        matches!(seal.unwrap(&wrapped, CONTEXT), Err(SealError::NeedsPerson)),
        "a wrong one is forgotten"
    );
    let from_file = Passphrase::new(Some(PathBuf::from("x")), 19 * 1024, 2).unwrap();
    assert!(from_file.give(Zeroizing::new(String::new())).is_err());
}

/// What the transit engine does with two verbs, for one key and one token.
struct Engine {
    port: u16,
    /// Status that every request gets instead; 0 = none.
    status: Arc<AtomicU16>,
}

const TOKEN: &str = "hvs.in-test-token";

impl Engine {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let status = Arc::new(AtomicU16::new(0));
        let shared = Arc::clone(&status);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (line, token, body) = request(&stream);
                let (code, body) = match shared.load(Ordering::SeqCst) {
                    0 => answer(&line, &token, &body),
                    code => (code, r#"{"errors":["Vault is sealed"]}"#.to_owned()),
                };
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            }
        });
        Self { port, status }
    }
}

fn request(stream: &std::net::TcpStream) -> (String, String, serde_json::Value) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut token, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line).unwrap();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "x-vault-token" => value.clone_into(&mut token),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (line, token, serde_json::from_slice(&body).unwrap())
}

fn answer(line: &str, token: &str, body: &serde_json::Value) -> (u16, String) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let key = consilium_abe::sealing::SealingKey::from_key_file(&"7c".repeat(32)).unwrap();
    let field = |name: &str| body[name].as_str().unwrap().to_owned();
    if token != TOKEN {
        return (403, r#"{"errors":["permission denied"]}"#.to_owned());
    }
    if line.starts_with("POST /v1/secrets/transit/encrypt/consilium ") {
        let plain = STANDARD.decode(field("plaintext")).unwrap();
        let sealed = key.seal(&field("associated_data"), &plain, &mut rng()).unwrap();
        return (
            200,
            format!(r#"{{"data":{{"ciphertext":"vault:v1:{}","key_version":1}}}}"#, STANDARD.encode(sealed)),
        );
    }
    if line.starts_with("POST /v1/secrets/transit/decrypt/consilium ") {
        let text = field("ciphertext");
        let sealed = text.strip_prefix("vault:v1:").and_then(|text| STANDARD.decode(text).ok());
        let opened = sealed.and_then(|sealed| key.open(&field("associated_data"), &sealed).ok());
        return match opened {
            Some(plain) => {
                (200, format!(r#"{{"data":{{"plaintext":"{}"}}}}"#, STANDARD.encode(plain.as_slice())))
            }
            None => (400, r#"{"errors":["invalid ciphertext: no prefix"]}"#.to_owned()),
        };
    }
    (404, r#"{"errors":[]}"#.to_owned())
}

#[test]
fn a_transit_engine_wraps() {
    let engine = Engine::start();
    let token = folder().join("token");
    write(&token, 0o600, TOKEN);
    let address = format!("http://127.0.0.1:{}", engine.port);
    let seal = VaultTransit::new(&address, "secrets/transit", "consilium", &token, None, None).unwrap();
    let wrapped = keeps_the_contract(&seal);
    assert!(wrapped.starts_with(b"vault:v1:"));

    engine.status.store(503, Ordering::SeqCst);
    assert!(matches!(seal.unwrap(&wrapped, CONTEXT), Err(SealError::Unreachable(_))), "sealed: try again");
    engine.status.store(0, Ordering::SeqCst);
    write(&token, 0o600, "hvs.another");
    let error = seal.unwrap(&wrapped, CONTEXT).err().unwrap();
    assert!(matches!(error, SealError::Refused(_)), "{error}");
    assert!(!error.to_string().contains("hvs."), "{error}");
    let nobody = VaultTransit::new("http://127.0.0.1:1", "transit", "consilium", &token, None, None).unwrap();
    assert!(matches!(nobody.unwrap(&wrapped, CONTEXT), Err(SealError::Unreachable(_))));
}

#[test]
fn a_token_never_travels_in_the_clear() {
    let token = PathBuf::from("token");
    let new = |address: &str, key: &str| VaultTransit::new(address, "transit", key, &token, None, None);
    for address in
        ["http://vault.example:8200", "vault:8200", "http://127.0.0.1.example:80/", "ftp://127.0.0.1:1"]
    {
        assert!(new(address, "consilium").is_err(), "{address}");
    }
    assert!(new("https://vault.example:8200", "consilium").is_err(), "whose certificates?");
    for key in ["", "a/b", "../sys", "a?b"] {
        assert!(new("http://127.0.0.1:8200", key).is_err(), "{key}");
    }
}

#[test]
fn a_vault_moves_from_key_to_key_and_survives_a_crash_in_between() {
    let dir = folder();
    let (file, other) = (dir.join("key"), dir.join("other"));
    write(&file, 0o600, &"6a".repeat(32));
    write(&other, 0o600, &"6b".repeat(32));
    let (seal, data) = (KeyFile::new(&file), dir.join("data"));
    let names = ["authority.sealed", "classes/ab/one.sealed", "classes/cd/two.sealed", "spool/1.sealed"];
    {
        let vault = crate::vault::Vault::open(&data, seal.key().unwrap()).unwrap();
        for name in names {
            vault.write(name, name.as_bytes(), &mut rng()).unwrap();
        }
    }
    let files = || Files::new(&data, CONTEXT.to_owned());
    // The first start makes a master key, and the process dies before any file has moved, then after one.
    let first = files().unlock(&seal, Some(&seal), &mut rng()).unwrap();
    assert!(first.previous.is_some());
    let again = files().unlock(&seal, Some(&seal), &mut rng()).unwrap();
    assert_eq!(again.master.expose(), first.master.expose(), "the next key is kept, not made anew");
    {
        let vault = Folder::take(&data).unwrap().open(first.master.sealing_key().unwrap(), first.previous);
        vault.write(names[1], b"newer", &mut rng()).unwrap();
    }
    let vault = Folder::take(&data).unwrap().open(again.master.sealing_key().unwrap(), again.previous);
    assert_eq!(vault.read(names[0]).unwrap().unwrap().as_slice(), names[0].as_bytes());
    assert_eq!(vault.move_all(&mut rng()).unwrap(), 3, "the one that was written anew is under the new key");
    files().finish().unwrap();
    drop(vault);
    let settled = files().unlock(&seal, None, &mut rng()).unwrap();
    assert!(settled.previous.is_none());
    let vault = Folder::take(&data).unwrap().open(settled.master.sealing_key().unwrap(), None);
    assert_eq!(vault.read(names[1]).unwrap().unwrap().as_slice(), b"newer");
    drop(vault);
    let direct = crate::vault::Vault::open(&data, seal.key().unwrap()).unwrap();
    assert!(direct.read(names[0]).is_err(), "the key file opens nothing directly any more");
    drop(direct);

    // Resealing: another file opens it, the first does not.
    files().reseal(&KeyFile::new(&other), &settled.master, &mut rng()).unwrap();
    assert!(matches!(files().unlock(&seal, None, &mut rng()), Err(SealError::DoesNotOpen(_))));
    let unlocked = files().unlock(&KeyFile::new(&other), None, &mut rng()).unwrap();
    assert_eq!(unlocked.master.expose(), settled.master.expose());
    let error =
        files().unlock(&Passphrase::new(None, 19 * 1024, 2).unwrap(), None, &mut rng()).err().unwrap();
    assert!(matches!(error, SealError::OtherMethod { .. }), "{error}");
    std::fs::write(data.join("master.seal"), "{}").unwrap();
    assert!(matches!(files().unlock(&seal, None, &mut rng()), Err(SealError::Malformed(_))));
    std::fs::remove_file(data.join("master.seal")).unwrap();
    assert!(matches!(files().unlock(&seal, None, &mut rng()), Err(SealError::NoMaster)));
}
