//! Two hospitals with an authority each, on an in-memory bus.

use consilium_abe::sealing::{AUTHORITY_FILE, SealingKey};
use consilium_abe::{AuthoritySecretKey, authority};
use consilium_contracts::Participant;
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::{ChannelId, Clock, OrgId, PublicKey, Timestamp};
use consilium_keys::post_quantum::PostQuantum;
use consilium_keys::vault::Vault;
use consilium_keys::{Config, Worker};
use consilium_runtime::{Common, Entropy, Followed, Kit, MemoryHub, config};
use consilium_testkit::{VirtualClock, seeded};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub const UNSEAL: &str = "6a09e667f3bcc908b2fb1366ea957d3e3adec17512775099da2f590b0667322a";

/// The world that the tests share.
pub struct World {
    pub folder: PathBuf,
    pub genesis: Genesis,
    pub clock: VirtualClock,
    pub hub: MemoryHub,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn organisation(name: &str) -> OrgId {
    OrgId::new(name).unwrap()
}

impl World {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("keys-{}-{number}", std::process::id()));
        let mut rng = seeded(7);
        let mut members = Vec::new();
        for name in ["a", "b"] {
            let (public, secret) = authority::setup(&mut rng, "north", name).unwrap();
            write_authority(&folder.join(name), &secret);
            write_secret(&folder.join(format!("{name}.unseal")), UNSEAL);
            let key = PublicKey([0; 32]);
            members.push(Member {
                organisation: organisation(name),
                consensus: key,
                validate: key,
                ingest: key,
                audit: key,
                governance: key,
                cosign: key,
                authority: public.to_bytes(),
            });
        }
        let genesis = Genesis {
            channel: ChannelId::new("north").unwrap(),
            time: Timestamp(0),
            members,
            schemas: Vec::new(),
            params: Params::default(),
        };
        std::fs::write(folder.join("genesis.json"), serde_json::to_string(&genesis).unwrap()).unwrap();
        Self { folder, genesis, clock: VirtualClock::default(), hub: MemoryHub::new() }
    }

    /// The configuration of one hospital, with `limits` appended.
    pub fn config(&self, name: &str, limits: &str) -> (Common, Config) {
        let folder = self.folder.display();
        config::parse(&format!(
            r#"
            [organisation]
            name = "{name}"
            channel = "north"
            [bus]
            url = "nats://127.0.0.1:4222"
            user = "{name}.keys"
            password_file = "/none"
            [health]
            listen = "127.0.0.1:0"
            [keys]
            data_dir = "{folder}/{name}"
            genesis_file = "{folder}/genesis.json"
            unseal_key_file = "{folder}/{name}.unseal"
            [[mapping]]
            role = "practitioner"
            attribute = "clinician"
            [[mapping]]
            role = "on-call"
            attribute = "duty=emergency"
            {limits}
            "#
        ))
        .unwrap()
    }

    pub fn kit(&self, name: &str, participant: Participant) -> Kit {
        let (common, _) = self.config(name, "");
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        Kit::in_memory(&self.hub, participant, common, clock, Entropy::system()).unwrap()
    }

    /// The secret key of an authority, as a thief with the unseal key would have it.
    pub fn secret(&self, name: &str) -> AuthoritySecretKey {
        let key = SealingKey::from_key_file(UNSEAL).unwrap();
        let sealed = std::fs::read(self.folder.join(name).join(AUTHORITY_FILE)).unwrap();
        AuthoritySecretKey::from_bytes(&key.open(AUTHORITY_FILE, &sealed).unwrap()).unwrap()
    }

    /// The post-quantum keys in a vault of `name`'s, which is made if it is not there.
    pub fn post_quantum(&self, name: &str) -> PostQuantum {
        let key = SealingKey::from_key_file(UNSEAL).unwrap();
        let vault = Vault::open(&self.folder.join(name), key).unwrap();
        let organisation = OrgId::new(name).unwrap();
        PostQuantum::load(&vault, None, &self.genesis, &organisation, &mut seeded(21)).unwrap()
    }

    /// A folder with every member's post-quantum public key.
    pub fn publish_post_quantum(&self) -> PathBuf {
        let folder = self.folder.join("post-quantum");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["a", "b"] {
            let key = hex::encode(self.post_quantum(name).public_key());
            std::fs::write(folder.join(format!("{name}.pub")), key).unwrap();
        }
        folder
    }

    pub fn worker(&self, name: &str) -> Worker {
        self.worker_with(name, "", UNSEAL).unwrap()
    }

    pub fn worker_with(&self, name: &str, limits: &str, unseal: &str) -> anyhow::Result<Worker> {
        self.worker_among(name, limits, unseal, &Followed::new(self.genesis.members.clone()))
    }

    /// A worker that follows these members.
    pub fn worker_among(
        &self,
        name: &str,
        limits: &str,
        unseal: &str,
        members: &Followed<Vec<Member>>,
    ) -> anyhow::Result<Worker> {
        let (_, config) = self.config(name, limits);
        let key = SealingKey::from_key_file(unseal).unwrap();
        let vault = Vault::open(&config.keys.data_dir, key)?;
        let kit = self.kit(name, Participant::Keys);
        Worker::start(&config, &kit, vault, (&self.genesis, members.clone()))
    }
}

/// Puts an authority's secret where the service looks for it, as the operator's command does.
pub fn write_authority(folder: &Path, secret: &AuthoritySecretKey) {
    std::fs::create_dir_all(folder).unwrap();
    let key = SealingKey::from_key_file(UNSEAL).unwrap();
    let sealed = key.seal(AUTHORITY_FILE, &secret.to_bytes(), &mut seeded(1)).unwrap();
    std::fs::write(folder.join(AUTHORITY_FILE), sealed).unwrap();
}

/// A file that only its owner may read.
pub fn write_secret(path: &Path, content: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, &target).unwrap();
    }
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out
}
