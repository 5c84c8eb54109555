//! Class headers as they lie on disks and travel: every format that was ever written opens, and the newest is pinned.

use crate::classes::CLASS;
use crate::harness::{UNSEAL, World};
use consilium_abe::envelope::ClassKey;
use consilium_abe::sealing::SealingKey;
use consilium_abe::{AccessPolicy, Attribute, Gid, Secret32, authority};
use consilium_domain::OrgId;
use consilium_keys::class::{ClassHeader, ClassName, Wrapping, wrap};
use consilium_keys::envelope::Envelopes;
use consilium_keys::post_quantum::PostQuantum;
use consilium_keys::standing::Standing;
use consilium_keys::vault::Vault;
use consilium_testkit::seeded;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const WEEK: &str = "2026W01";
const KEY: [u8; 32] = [7; 32];

struct Place {
    world: World,
    name: ClassName,
}

impl Place {
    fn new() -> Self {
        let world = World::new();
        let name = ClassName::new(&world.genesis.channel, &OrgId::new("a").unwrap(), &CLASS).unwrap();
        Self { world, name }
    }

    fn lock(&self, of: &str, folder: Option<&Path>) -> PostQuantum {
        let key = SealingKey::from_key_file(UNSEAL).unwrap();
        let vault = Vault::open(&self.world.folder.join(of), key).unwrap();
        let organisation = OrgId::new(of).unwrap();
        PostQuantum::load(&vault, folder, &self.world.genesis, &organisation, &mut seeded(21)).unwrap()
    }

    /// The header that `a` makes of [`KEY`], all randomness fixed.
    fn header(&self, locked: bool) -> Vec<u8> {
        let folder = locked.then(|| self.world.publish_post_quantum());
        let post_quantum = self.lock("a", folder.as_deref());
        let secret = Arc::new(self.world.secret("a"));
        let standing = Standing::of_genesis(&self.world.genesis, secret).unwrap();
        let scene = Wrapping {
            standing: &standing,
            envelopes: &Envelopes::default(),
            post_quantum: &post_quantum,
            attribute_epoch: WEEK,
        };
        let policy = AccessPolicy::parse("clinician@a OR (clinician@b AND duty=emergency@b)").unwrap();
        let policy = policy.with_epoch(WEEK).unwrap();
        wrap(&self.name, 1, &policy, &ClassKey::from_bytes(&KEY), &scene, &mut seeded(33)).unwrap()
    }

    /// What `b`'s clinician on duty gets out of a header.
    fn open(&self, header: &[u8]) -> [u8; 32] {
        let secret = self.world.secret("b");
        let gid = Gid::new("b/dr-x").unwrap();
        let attributes =
            ["clinician", "duty=emergency"].map(|text| Attribute::parse(&format!("{text}#{WEEK}")).unwrap());
        let keys = authority::issue_all(&secret, &gid, &attributes, &mut seeded(8));
        let standing = Standing::of_genesis(&self.world.genesis, Arc::new(secret)).unwrap();
        let header = ClassHeader::decode(header).unwrap();
        let reject = Secret32::from_bytes(&[9; 32]);
        let opened = header.open_envelope(&self.name, standing.public_keys(), &gid, &keys, &reject).unwrap();
        *header.class_key(&self.name, 1, &self.lock("b", None), &opened).unwrap().expose()
    }
}

fn fixture(format: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/class-header-{format}.hex"))
}

#[test]
fn the_formats_that_are_written_are_pinned() {
    for (format, locked) in [(5, false), (6, true)] {
        let made = Place::new().header(locked);
        assert!(made.starts_with(&[0, format]));
        let path = fixture(format.into());
        if std::env::var("CONSILIUM_BLESS").as_deref() == Ok("1") {
            std::fs::write(&path, format!("{}\n", hex::encode(&made))).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.trim() == hex::encode(&made), "format {format} has changed: it needs a new number");
    }
}

#[test]
fn every_format_that_was_ever_written_opens() {
    for format in [3, 4, 5, 6] {
        let kept = hex::decode(std::fs::read_to_string(fixture(format)).unwrap().trim()).unwrap();
        assert_eq!(Place::new().open(&kept), KEY, "format {format}");
    }
}

#[test]
fn a_header_of_another_format_number_is_refused() {
    let kept = hex::decode(std::fs::read_to_string(fixture(5)).unwrap().trim()).unwrap();
    for format in [0, 1, 2, 3, 4, 6, 7, 0x0101_u16] {
        let mut other = kept.clone();
        other[..2].copy_from_slice(&format.to_be_bytes());
        assert!(ClassHeader::decode(&other).is_err(), "{format}");
    }
}
