//! Fixed encodings: a byte that changes here changes what is stored elsewhere.
//!
//! `vectors/good` is made by a seeded generator and must come out the same; `vectors/bad` holds
//! encodings and the error each must give. Both are written anew with
//! `CONSILIUM_WRITE_VECTORS=1`, a decision to review. `oracle/` checks the good ones without this
//! crate.

#[cfg(test)]
mod vectors {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::path::{Path, PathBuf};

    use consilium_abe::{
        AbeError, AccessPolicy, Attribute, AttributeKey, AuthorityPublicKey, AuthoritySecretKey, Gid, Header,
        KemContext, PublicKeys, authority, kem,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    const CHANNEL: &str = "channel-1";
    const CLASS: &str = "patient-1/normal";
    const EPOCH: u64 = 3;
    const GID: &str = "did:key:z6MkVector";
    const REJECT: [u8; 32] = [0x5a; 32];

    fn directory(kind: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(kind)
    }

    fn writing() -> bool {
        std::env::var("CONSILIUM_WRITE_VECTORS").is_ok_and(|value| value == "1")
    }

    /// `name: value` lines; a name may repeat.
    fn field<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        text.lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value)
            .collect()
    }

    fn bytes(text: &str, name: &str) -> Vec<Vec<u8>> {
        let values = field(text, name);
        values.into_iter().map(|value| hex::decode(value).unwrap()).collect()
    }

    /// Name, seed, authorities, policy, and the attributes held at each authority.
    type Case = (&'static str, u8, usize, &'static str, &'static [(usize, &'static str)]);

    const CASES: &[Case] = &[
        ("one-attribute", 1, 1, "clinician@hospital-0#2026W47", &[(0, "clinician#2026W47")]),
        (
            "or-and",
            2,
            2,
            "clinician@hospital-0 OR clinician@hospital-1 AND treating@hospital-0",
            &[(1, "clinician"), (0, "treating")],
        ),
        (
            "two-of-three",
            3,
            3,
            "2 of (role=nurse@hospital-0#w.1, b@hospital-1, c@hospital-2)",
            &[(1, "b"), (2, "c")],
        ),
    ];

    fn make((_, seed, authorities, policy, held): &Case) -> String {
        let rng = &mut ChaCha20Rng::from_seed([*seed; 32]);
        let gid = Gid::new(GID).unwrap();
        let context = KemContext::new(CHANNEL, CLASS, EPOCH).unwrap();
        let policy = AccessPolicy::parse(policy).unwrap();
        let mut public = PublicKeys::new();
        let mut secrets = Vec::new();
        let mut out = String::new();
        for (name, value) in [
            ("seed", seed.to_string()),
            ("channel", CHANNEL.to_owned()),
            ("class", CLASS.to_owned()),
            ("class-epoch", EPOCH.to_string()),
            ("gid", GID.to_owned()),
            ("policy", policy.to_string()),
            ("policy-bytes", hex::encode(policy.canonical_bytes())),
        ] {
            writeln!(out, "{name}: {value}").unwrap();
        }
        for index in 0..*authorities {
            let name = format!("hospital-{index}");
            let (key, secret) = authority::setup(rng, CHANNEL, &name).unwrap();
            writeln!(out, "authority-public-key: {}", hex::encode(key.to_bytes())).unwrap();
            let digest = hex::encode(key.digest());
            writeln!(out, "authority-public-key-digest: {digest}").unwrap();
            let bytes = hex::encode(secret.to_bytes().as_slice());
            writeln!(out, "authority-secret-key: {bytes}").unwrap();
            public.insert(key);
            secrets.push(secret);
        }
        for (index, attribute) in *held {
            let attribute = Attribute::parse(attribute).unwrap();
            let key = authority::issue(&secrets[*index], &gid, &attribute, rng);
            let bytes = hex::encode(key.to_bytes().as_slice());
            writeln!(out, "attribute-key: {bytes}").unwrap();
        }
        let (header, secret) = kem::encapsulate(&policy, &public, &context, rng).unwrap();
        writeln!(out, "header: {}", hex::encode(header.to_bytes())).unwrap();
        writeln!(out, "secret: {}", hex::encode(secret.expose())).unwrap();
        out
    }

    #[test]
    fn good_vectors_come_out_the_same() {
        for case in CASES {
            let path = directory("good").join(format!("{}.txt", case.0));
            let made = make(case);
            if writing() {
                std::fs::create_dir_all(directory("good")).unwrap();
                std::fs::write(&path, &made).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), made, "{}", case.0);
        }
    }

    fn open(text: &str, header: &[u8]) -> Result<[u8; 32], AbeError> {
        let public: PublicKeys = bytes(text, "authority-public-key")
            .iter()
            .map(|key| AuthorityPublicKey::from_bytes(key).unwrap())
            .collect();
        let keys: Vec<AttributeKey> =
            bytes(text, "attribute-key").iter().map(|key| AttributeKey::from_bytes(key).unwrap()).collect();
        let epoch = field(text, "class-epoch")[0].parse().unwrap();
        let context = KemContext::new(field(text, "channel")[0], field(text, "class")[0], epoch).unwrap();
        let gid = Gid::new(field(text, "gid")[0]).unwrap();
        let header = Header::from_bytes(header)?;
        kem::decapsulate(&header, &context, &public, &gid, &keys, &REJECT).map(|secret| *secret.expose())
    }

    #[test]
    fn good_vectors_open() {
        for case in CASES {
            let path = directory("good").join(format!("{}.txt", case.0));
            let text = std::fs::read_to_string(path).unwrap();
            let found = open(&text, &bytes(&text, "header")[0]).unwrap();
            assert_eq!(hex::encode(found), field(&text, "secret")[0], "{}", case.0);
            let policy = AccessPolicy::parse(field(&text, "policy")[0]).unwrap();
            assert_eq!(policy.canonical_bytes(), bytes(&text, "policy-bytes")[0]);
            for secret in bytes(&text, "authority-secret-key") {
                AuthoritySecretKey::from_bytes(&secret).unwrap();
            }
        }
    }

    /// What decoding, or for a header opening, says of the bytes.
    fn verdict(object: &str, input: &[u8]) -> String {
        let refusal = match object {
            "authority-public-key" => AuthorityPublicKey::from_bytes(input).err(),
            "attribute-key" => AttributeKey::from_bytes(input).err(),
            "policy-bytes" => AccessPolicy::from_canonical_bytes(input).err().map(Into::into),
            "header" => {
                let path = directory("good").join("one-attribute.txt");
                let text = std::fs::read_to_string(path).unwrap();
                match open(&text, input) {
                    Err(error) => Some(error),
                    Ok(found) if hex::encode(found) == field(&text, "secret")[0] => None,
                    Ok(_) => return "rejected implicitly".to_owned(),
                }
            }
            other => panic!("unknown object {other}"),
        };
        refusal.map_or_else(|| "accepted".to_owned(), |error| error.to_string())
    }

    /// Bad encodings, each a good one altered in one place.
    fn bad() -> BTreeMap<&'static str, (&'static str, Vec<u8>)> {
        let good = make(&CASES[0]);
        let first = |name: &str| bytes(&good, name).remove(0);
        let header = first("header");
        let row = header.len() - 32 - 768;
        let altered = |from: &[u8], at: usize, with: &[u8]| {
            let mut out = from.to_vec();
            out[at..at + with.len()].copy_from_slice(with);
            out
        };
        let mut infinity = [0u8; 96];
        infinity[0] = 0xc0;
        let mut order_three = [0u8; 48];
        order_three[0] = 0x80;
        let mut outside = order_three;
        outside[47] = 4;
        let mut one = [0u8; 576];
        one[47] = 1;
        let key = first("attribute-key");
        let public = first("authority-public-key");
        let mut out = BTreeMap::new();
        let mut add = |name, object, bytes| {
            out.insert(name, (object, bytes));
        };
        add("header-suite-2", "header", altered(&header, 1, &[2]));
        add("header-short", "header", header[..header.len() - 1].to_vec());
        add("header-long", "header", [&header[..], &[0]].concat());
        add("header-c1-one", "header", altered(&header, row, &one));
        add("header-c1-zero", "header", altered(&header, row, &[0; 576]));
        add("header-c2-infinity", "header", altered(&header, row + 576, &infinity[..48]));
        add("header-c2-order-3", "header", altered(&header, row + 576, &order_three));
        add("header-c3-outside-subgroup", "header", altered(&header, row + 624, &outside));
        add("header-c4-infinity", "header", altered(&header, row + 672, &infinity));
        add("header-c2-is-c3", "header", {
            let c3 = header[row + 624..row + 672].to_vec();
            altered(&header, row + 576, &c3)
        });
        let last = header.len() - 1;
        add("header-masked-bit", "header", altered(&header, last, &[header[last] ^ 1]));
        add("public-key-y-infinity", "authority-public-key", {
            altered(&public, public.len() - 144, &infinity[..48])
        });
        add("public-key-proof-bit", "authority-public-key", {
            let last = public.len() - 1;
            altered(&public, last, &[public[last] ^ 1])
        });
        add("public-key-unreduced-scalar", "authority-public-key", {
            altered(&public, public.len() - 32, &[0xff; 32])
        });
        add("attribute-key-k-infinity", "attribute-key", altered(&key, key.len() - 144, &infinity));
        add("attribute-key-k-prime-order-3", "attribute-key", {
            altered(&key, key.len() - 48, &order_three)
        });
        let policy = first("policy-bytes");
        add("policy-suite-2", "policy-bytes", altered(&policy, 1, &[2]));
        add("policy-long-head", "policy-bytes", {
            let mut out = policy.clone();
            out.splice(1..2, [0x18, 1]);
            out
        });
        add("policy-and-of-one", "policy-bytes", [&policy[..2], &[0x82, 2, 0x81], &policy[2..]].concat());
        out
    }

    #[test]
    fn bad_vectors_are_refused_as_stated() {
        if writing() {
            std::fs::create_dir_all(directory("bad")).unwrap();
            for (name, (object, bytes)) in bad() {
                let (hex, verdict) = (hex::encode(&bytes), verdict(object, &bytes));
                let text = format!("object: {object}\nbytes: {hex}\nverdict: {verdict}\n");
                std::fs::write(directory("bad").join(format!("{name}.txt")), text).unwrap();
            }
        }
        let mut seen = 0;
        for entry in std::fs::read_dir(directory("bad")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let found = verdict(field(&text, "object")[0], &bytes(&text, "bytes")[0]);
            assert_ne!(found, "accepted", "{}", path.display());
            assert_eq!(found, field(&text, "verdict")[0], "{}", path.display());
            seen += 1;
        }
        assert_eq!(seen, bad().len());
    }
}
