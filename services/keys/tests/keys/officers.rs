//! What takes two officers takes two: over the door, with the real process.

use crate::classes::ask;
use crate::harness::{World, files};
use crate::process::program::{Running, configure, free_port, get, post, start, wait};
use consilium_domain::PublicKey;
use consilium_domain::officers::motion_bytes;
use ed25519_consensus::SigningKey;
use serde_json::{Value, json};
use std::path::PathBuf;

mod desk {
    use super::*;

    pub struct Desk {
        pub world: World,
        pub door: u16,
        pub port: u16,
        pub config: PathBuf,
        pub log: PathBuf,
    }

    pub fn key(octet: u8) -> SigningKey {
        SigningKey::from([octet; 32])
    }

    pub fn public(octet: u8) -> PublicKey {
        PublicKey(key(octet).verification_key().to_bytes())
    }

    impl Desk {
        /// A hospital with officers ann (1), bob (2) and eve (3).
        pub fn new() -> Self {
            let (world, door) = (World::new(), free_port());
            let mut settings = format!("[admin]\nlisten = \"127.0.0.1:{door}\"\n");
            for (octet, name) in [(1, "ann"), (2, "bob"), (3, "eve")] {
                settings.push_str(&format!(
                    "[[officer]]\nname = \"{name}\"\npublic_key = \"{}\"\n",
                    public(octet)
                ));
            }
            let (config, port) = configure(&world, &settings);
            let log = world.folder.join("log");
            Self { world, door, port, config, log }
        }

        pub fn start(&self) -> Running {
            let running = start(&self.config, &self.log, &[]);
            wait(|| Running::is_open(self.port));
            running
        }

        pub fn propose(&self, action: &Value) -> Value {
            let (status, motion) = post(self.door, "/v1/motions", action);
            assert_eq!(status, 200, "{motion}");
            motion
        }

        pub fn sign(&self, motion: &Value, name: &str, octet: u8) -> (u16, Value) {
            self.sign_for(motion, motion["id"].as_str().unwrap(), name, octet)
        }

        /// Hands a signature over one motion in for another.
        pub fn sign_for(&self, motion: &Value, other: &str, name: &str, octet: u8) -> (u16, Value) {
            let (id, action) = (motion["id"].as_str().unwrap(), motion["action"].as_str().unwrap());
            let (channel, a) = (&self.world.genesis.channel, &self.world.genesis.members[0].organisation);
            let bytes = motion_bytes(channel, a, id, motion["expires_ms"].as_u64().unwrap(), action);
            let signature = hex::encode(key(octet).sign(&bytes).to_bytes());
            let body = json!({"officer": name, "signature": signature});
            post(self.door, &format!("/v1/motions/{other}/approvals"), &body)
        }

        /// Proposes and has ann and bob sign.
        pub fn carry(&self, action: &Value) -> (u16, Value) {
            let motion = self.propose(action);
            let (status, body) = self.sign(&motion, "ann", 1);
            if status != 200 || body["done"] == json!(true) {
                return (status, body);
            }
            self.sign(&motion, "bob", 2)
        }
    }
}

use desk::{Desk, public};

#[test]
fn neither_an_operator_nor_one_officer_turns_the_master_key() {
    let desk = Desk::new();
    let running = desk.start();
    let before = std::fs::read(desk.world.folder.join("a/authority.sealed")).unwrap();
    let motion = desk.propose(&json!({"verb": "rotate-master"}));
    assert_eq!((&motion["needed"], motion["approved_by"].as_array().unwrap().len()), (&json!(2), 0));
    let refused = |name: &str, octet: u8, why: &str| {
        let (status, body) = desk.sign(&motion, name, octet);
        assert_eq!(status, 403, "{why}: {body}");
    };
    refused("mallory", 9, "nobody's officer");
    refused("ann", 9, "not her key");
    refused("ann", 2, "bob's key in ann's name");
    let other = desk.propose(&json!({"verb": "rotate-master"}));
    let id = other["id"].as_str().unwrap();
    assert_eq!(desk.sign_for(&motion, id, "ann", 1).0, 403, "a signature is for one motion");
    let mut dearer = motion.clone();
    dearer["action"] = json!("{\"verb\":\"officers\",\"officers\":[]}");
    assert_eq!(desk.sign(&dearer, "ann", 1).0, 403, "she signed another action");
    let (status, body) = desk.sign(&motion, "ann", 1);
    assert_eq!((status, &body["done"]), (200, &json!(false)));
    refused("ann", 1, "once is once");
    assert_eq!(std::fs::read(desk.world.folder.join("a/authority.sealed")).unwrap(), before);
    let (status, body) = desk.sign(&motion, "bob", 2);
    assert_eq!((status, &body["done"]), (200, &json!(true)), "{body}");
    assert!(body["result"]["files_sealed_anew"].as_u64().unwrap() >= 2, "{body}");
    assert_ne!(std::fs::read(desk.world.folder.join("a/authority.sealed")).unwrap(), before);
    refused("eve", 3, "a motion is carried out once");
    running.stop();
    desk.start().stop();
    assert!(files(&desk.world.folder.join("a")).iter().all(|path| !path.ends_with("master.next")));
    let log = std::fs::read_to_string(&desk.log).unwrap();
    assert!(!log.contains(crate::harness::UNSEAL), "{log}");
}

#[test]
fn officers_reseal_and_the_old_key_file_opens_no_more() {
    let desk = Desk::new();
    let running = desk.start();
    let words = desk.world.folder.join("words");
    crate::harness::write_secret(&words, "six words of a long diceware list\n");
    let missing = json!({"verb": "reseal", "seal": {"method": "key-file", "file": "/nowhere/key"}});
    let (status, body) = desk.carry(&missing);
    assert_eq!(status, 403, "{body}");
    let seal = json!({"method": "passphrase", "file": words, "memory_kib": 19456, "passes": 2});
    let (status, body) = desk.carry(&json!({"verb": "reseal", "seal": seal}));
    assert_eq!((status, &body["result"]["sealed_by"]), (200, &json!("passphrase")), "{body}");
    running.stop();
    let mut running = start(&desk.config, &desk.log, &[]);
    let mut status = None;
    wait(|| {
        status = running.0.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(1), "the configuration still names the key file");
    let text = std::fs::read_to_string(&desk.config).unwrap();
    let seal = format!("[seal]\nmethod = \"passphrase\"\nfile = \"{}\"\n", words.display());
    std::fs::write(&desk.config, format!("{text}\n{seal}")).unwrap();
    std::fs::remove_file(desk.world.folder.join("a.unseal")).unwrap();
    desk.start().stop();
}

#[test]
fn a_destroyed_class_is_gone_and_its_record_says_so_without_saying_whose() {
    let desk = Desk::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ids: Vec<Vec<u8>> = (0..3u8).map(|n| vec![0xd0 + n; 24]).collect();
    {
        let _inside = runtime.enter();
        let a = desk.world.worker("a");
        for id in &ids {
            a.class(&ask::class_of(id, "clinician@a")).unwrap();
        }
    }
    let running = desk.start();
    let classes: Vec<String> = ids.iter().take(2).map(hex::encode).collect();
    let mut mistyped = classes.clone();
    mistyped.push("ab".repeat(24));
    let action = |classes: &[String]| json!({"verb": "destroy", "scope": "patient", "ground": "request", "classes": classes});
    assert_eq!(desk.carry(&action(&mistyped)).0, 404, "an unknown id destroys nothing");
    let (status, body) = desk.carry(&action(&classes));
    assert_eq!(status, 200, "{body}");
    let record = &body["result"];
    assert_eq!(
        (&record["classes"], &record["epochs"], &record["officers"]),
        (&json!(2), &json!(2), &json!(["ann", "bob"]))
    );
    let text = record.to_string();
    assert!(classes.iter().all(|id| !text.contains(id.as_str())), "{text}");
    let folder = desk.world.folder.join("a/classes");
    assert_eq!(files(&folder).len(), 1, "one class is left");
    // Carried out again, e.g. after a crash: the same tombstones, no error.
    assert_eq!(desk.carry(&action(&classes)).0, 200);
    // So that old blocks of the disk open no more either.
    assert_eq!(desk.carry(&json!({"verb": "rotate-master"})).0, 200);
    running.stop();
    // The audit trail carries the digest of the record, and no class id.
    // (The spool is sealed; that the event is there shows in its number of files.)
    assert!(!files(&desk.world.folder.join("a/spool")).is_empty());
}

#[test]
fn the_officers_of_the_vault_hold_whatever_the_configuration_says() {
    let desk = Desk::new();
    desk.start().stop();
    // Whoever may edit the configuration puts herself in.
    let text = std::fs::read_to_string(&desk.config).unwrap();
    let text = text.replace(&public(1).to_string(), &public(8).to_string());
    std::fs::write(&desk.config, text.replace(&public(2).to_string(), &public(9).to_string())).unwrap();
    let running = desk.start();
    let motion = desk.propose(&json!({"verb": "rotate-master"}));
    assert_eq!(desk.sign(&motion, "ann", 8).0, 403);
    assert_eq!(desk.sign(&motion, "bob", 9).0, 403);
    assert!(std::fs::read_to_string(&desk.log).unwrap().contains("not those of the vault"));
    let list = |a: u8, b: u8| json!([{"name": "ann", "public_key": public(a)}, {"name": "dan", "public_key": public(b)}]);
    for bad in [json!([]), json!([{"name": "ann", "public_key": public(4)}]), list(4, 4)] {
        let (status, body) = desk.carry(&json!({"verb": "officers", "officers": bad}));
        assert_eq!(status, 400, "{body}");
    }
    let (status, body) = desk.carry(&json!({"verb": "officers", "officers": list(1, 4)}));
    assert_eq!(status, 200, "{body}");
    let motion = desk.propose(&json!({"verb": "rotate-master"}));
    assert_eq!(desk.sign(&motion, "bob", 2).0, 403, "bob has left");
    assert_eq!(desk.sign(&motion, "ann", 1).0, 200);
    assert_eq!(desk.sign(&motion, "dan", 4).0, 200);
    running.stop();
}

#[test]
fn an_export_opens_for_its_recipient_only_and_the_door_is_narrow() {
    let desk = Desk::new();
    let running = desk.start();
    let (status, body) = desk.carry(&json!({"verb": "export", "recipient": public(7)}));
    assert_eq!(status, 200, "{body}");
    let sealed = hex::decode(body["result"]["sealed"].as_str().unwrap()).unwrap();
    let context = b"consilium/v1/authority export/north/a";
    let open = |octet: u8| consilium_abe::transit::TransitKey::from_seed(&[octet; 32]).open(context, &sealed);
    assert!(consilium_abe::AuthoritySecretKey::from_bytes(&open(7).unwrap()).is_ok());
    assert!(open(6).is_err());
    for (path, body) in
        [("/v1/motions", json!({"verb": "withdraw"})), ("/v1/motions", json!({"verb": "dump"}))]
    {
        assert_eq!(post(desk.door, path, &body).0, 400, "{body}");
    }
    assert_eq!(post(desk.door, "/v1/dump", &json!({})).0, 404);
    let status = get(desk.door, "/v1/status").unwrap().1;
    assert!(
        status.contains("\"sealed\":false") && status.contains("key-file") && status.contains("ann"),
        "{status}"
    );
    // One officer is enough to take a role away.
    let motion = desk.propose(&json!({"verb": "withdraw", "subject": "Practitioner/1", "role": "clinician"}));
    let (status, body) = desk.sign(&motion, "eve", 3);
    assert_eq!((status, &body["done"]), (200, &json!(true)), "{body}");
    let flood = (0..100).map(|_| post(desk.door, "/v1/motions", &json!({"verb": "rotate-master"})).0);
    assert!(flood.filter(|status| *status == 429).count() > 30, "asking is limited");
    running.stop();
}
