//! What leaks, and what whoever holds it can do.

use crate::classes::ask;
use crate::harness::{World, files};
use consilium_abe::{Attribute, AuthoritySecretKey, Gid, authority};
use consilium_keys::KeysError;
use consilium_keys::authority::public_keys;
use consilium_keys::class::{ClassHeader, ClassName};

mod thief {
    use super::*;

    /// Opens a header of `a`'s with whatever keys an authority can make, for any identity.
    pub fn mint_and_open(
        world: &World,
        secret: &AuthoritySecretKey,
        header: &[u8],
        attributes: &[&str],
    ) -> Result<Vec<u8>, KeysError> {
        let keys = public_keys(&world.genesis).unwrap();
        let gid = Gid::new("a/dr-a").unwrap();
        let attributes: Vec<Attribute> =
            attributes.iter().map(|text| Attribute::parse(text).unwrap()).collect();
        let minted = authority::issue_all(secret, &gid, &attributes, &mut consilium_testkit::seeded(8));
        let name = ClassName::new(
            &world.genesis.channel,
            &consilium_domain::OrgId::new("a").unwrap(),
            &crate::classes::CLASS,
        )
        .unwrap();
        let reject = consilium_abe::Secret32::from_bytes(&[9; 32]);
        let lock = world.post_quantum("side");
        let header = ClassHeader::decode(header).unwrap();
        let secret = header.open_envelope(&name, &keys, &gid, &minted, &reject)?;
        header.class_key(&name, 1, &lock, &secret).map(|key| key.expose().to_vec())
    }
}

#[test]
fn one_corrupt_authority_cannot_open_what_needs_two() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let a = world.worker("a");
    let both = a.class(&ask::class("clinician@a AND clinician@b", 0)).unwrap();
    // Authority b is corrupt: it mints its own attribute and the other's name, for an identity of a's, and has
    // the header. Names do not make a key of a's.
    let names = ["clinician#2026W01", "clinician", "duty=emergency#2026W01"];
    let opened = thief::mint_and_open(&world, &world.secret("b"), &both.header, &names);
    assert!(matches!(opened, Err(KeysError::Denied)), "{opened:?}");
    // The control: where b's attribute alone is asked for, the same theft works.
    let alone = a.policy(&ask::change("clinician@a OR clinician@b", false)).unwrap();
    let opened = thief::mint_and_open(&world, &world.secret("b"), &alone.header, &names);
    assert_eq!(opened.unwrap(), alone.kek);
}

#[test]
fn a_dump_without_its_unseal_key_opens_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let mut keys = Vec::new();
    {
        let a = world.worker("a");
        for n in 0..20u8 {
            let request = ask::class_of(&[n; 20], "clinician@a OR clinician@b");
            keys.push(a.class(&request).unwrap().kek);
        }
    }
    let secret = world.secret("a").to_bytes();
    let mut read = 0;
    for path in files(&world.folder.join("a")) {
        let bytes = std::fs::read(&path).unwrap();
        read += bytes.len();
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        for key in &keys {
            assert!(!bytes.windows(32).any(|window| window == key.as_slice()), "{path:?}");
            assert!(!text.contains(&hex::encode(key)), "{path:?}");
        }
        assert!(!bytes.windows(32).any(|window| secret.windows(32).any(|part| part == window)), "{path:?}");
    }
    assert!(read > 20 * 1024, "the dump has the classes");
    // The dump on a machine of the thief's, with a key file of hers.
    assert!(world.worker_with("a", "", &"5e".repeat(32)).is_err());
    // The control: with the unseal key everything opens.
    let a = world.worker("a");
    assert_eq!(a.class(&ask::class_of(&[3; 20], "")).unwrap().kek, keys[3]);
}

#[test]
fn whoever_breaks_the_pairing_still_lacks_the_second_lock() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    // The members exchange their public keys; then the lock is on for every class.
    let before = world.worker("a").class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    let folder = world.publish_post_quantum();
    let settings = format!("[post_quantum]\nkeys_dir = \"{}\"", folder.display());
    let a = world.worker_with("a", &settings, crate::harness::UNSEAL).unwrap();
    let b = world.worker_with("b", &settings, crate::harness::UNSEAL).unwrap();
    let locked = a.class(&ask::class("", 0)).unwrap();
    assert_eq!(locked.kek, before.kek, "an old class is locked on its next read");
    assert_eq!((&before.header[..2], &locked.header[..2]), (&[0, 5][..], &[0, 6][..]));
    for (who, worker) in [("a", &a), ("b", &b)] {
        assert_eq!(
            worker.open(&ask::open(&locked, "dr-x", &["practitioner"])).unwrap().kek,
            locked.kek,
            "{who}"
        );
    }
    // Minting attribute keys is what a broken pairing gives; the header was copied from the archive.
    let names = ["clinician#2026W01"];
    let opened = thief::mint_and_open(&world, &world.secret("b"), &locked.header, &names);
    assert!(matches!(opened, Err(KeysError::Denied)), "{opened:?}");
    // The control: the same attack on the header with one lock.
    assert_eq!(thief::mint_and_open(&world, &world.secret("b"), &before.header, &names).unwrap(), before.kek);
    // An organisation that the policy does not name gets no release.
    let own = a.policy(&ask::change("clinician@a", true)).unwrap();
    assert!(locked.header.len() > own.header.len() + 1600, "one release less");
    drop((a, b));

    std::fs::remove_file(folder.join("b.pub")).unwrap();
    let error = world.worker_with("a", &settings, crate::harness::UNSEAL).err().unwrap().to_string();
    assert!(error.contains("post-quantum key of `b`"), "{error}");
    std::fs::copy(folder.join("a.pub"), folder.join("b.pub")).unwrap();
    let error = world.worker_with("b", &settings, crate::harness::UNSEAL).err().unwrap().to_string();
    assert!(error.contains("is not this vault's key"), "{error}");
}
