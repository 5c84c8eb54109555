//! Classes of one policy share an envelope, and nothing else.

use crate::classes::{CLASS, ask};
use crate::harness::{UNSEAL, World};
use consilium_contracts::v1::{ClassResponse, OpenRequest};
use consilium_keys::class::{ClassHeader, ClassName};
use std::time::Duration;

mod of {
    use super::*;

    pub fn open(class: &ClassResponse, id: &[u8], roles: &[&str]) -> OpenRequest {
        OpenRequest { class_id: id.to_vec(), ..ask::open(class, "dr-x", roles) }
    }

    pub fn digest(class: &ClassResponse) -> consilium_domain::Digest {
        ClassHeader::decode(&class.header).unwrap().envelope_digest()
    }
}

#[test]
fn a_header_of_one_class_opens_no_other_of_the_same_envelope() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let folder = world.publish_post_quantum();
    let locked = format!("[post_quantum]\nkeys_dir = \"{}\"", folder.display());
    for settings in ["", &locked] {
        let a = world.worker_with("a", settings, UNSEAL).unwrap();
        let b = world.worker_with("b", settings, UNSEAL).unwrap();
        let (one, two) = (vec![0xa1; 32], vec![0xa2; 32]);
        let policy = "clinician@a OR clinician@b";
        let first = a.class(&ask::class_of(&one, policy)).unwrap();
        let second = a.class(&ask::class_of(&two, policy)).unwrap();
        let other = a.class(&ask::class_of(&[0xa3; 32], "clinician@a")).unwrap();
        assert_eq!(of::digest(&first), of::digest(&second), "one envelope");
        assert_ne!(of::digest(&first), of::digest(&other), "another policy, another envelope");
        assert_ne!(first.kek, second.kek);
        assert_ne!(first.header, second.header);

        // Whether the envelope is fresh or remembered, a header is good for its own class only.
        for _ in 0..2 {
            let moved = OpenRequest { class_id: two.clone(), ..of::open(&first, &one, &["practitioner"]) };
            assert_eq!(ask::code(&b, &moved), "denied");
            assert_eq!(b.open(&of::open(&first, &one, &["practitioner"])).unwrap().kek, first.kek);
            assert_eq!(b.open(&of::open(&second, &two, &["practitioner"])).unwrap().kek, second.kek);
        }
        // An opened envelope is another person's secret for nobody, nor the same person's without the role.
        assert_eq!(ask::code(&b, &of::open(&second, &two, &["on-call"])), "denied");
        let third = a.class(&ask::class_of(&[0xa4; 32], policy)).unwrap();
        assert_eq!(of::digest(&third), of::digest(&first));
        assert_eq!(ask::code(&b, &of::open(&third, &[0xa4; 32], &["on-call"])), "denied");
        assert_eq!(ask::code(&b, &of::open(&third, &[0xa4; 32], &[])), "denied");
    }
}

#[test]
fn a_withdrawn_role_opens_no_class_of_a_remembered_envelope() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let (a, b) = (world.worker("a"), world.worker("b"));
    let policy = "clinician@b";
    let first = a.class(&ask::class(policy, 0)).unwrap();
    b.open(&ask::open(&first, "dr-x", &["practitioner"])).unwrap();
    let key = consilium_abe::sealing::SealingKey::from_key_file(UNSEAL).unwrap();
    let side = consilium_keys::vault::Vault::open(&world.folder.join("side"), key).unwrap();
    b.people().withdraw(&side, "dr-x", "practitioner", &mut consilium_testkit::seeded(3)).unwrap();
    let second = a.class(&ask::class_of(&[0xb2; 32], policy)).unwrap();
    assert_eq!(of::digest(&first), of::digest(&second));
    assert_eq!(ask::code(&b, &of::open(&second, &[0xb2; 32], &["practitioner"])), "denied");
    assert_eq!(ask::code(&b, &of::open(&first, &CLASS, &["practitioner"])), "denied");
    let other = OpenRequest { claims: None, ..of::open(&second, &[0xb2; 32], &[]) };
    assert_ne!(ask::code(&b, &other), "opened");
}

#[test]
fn a_week_and_a_policy_have_envelopes_of_their_own() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let a = world.worker("a");
    let first = a.class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    let narrowed = a.policy(&ask::change("clinician@a", true)).unwrap();
    assert_ne!(of::digest(&first), of::digest(&narrowed));
    world.clock.advance(Duration::from_secs(8 * 24 * 3600));
    let later = a.class(&ask::class("", 0)).unwrap();
    assert_eq!(later.kek, narrowed.kek);
    assert_ne!(of::digest(&later), of::digest(&narrowed));
}

#[test]
fn what_was_destroyed_is_told_in_order_and_finished_after_a_crash() {
    use consilium_contracts::v1::ErasedRequest;
    use consilium_domain::tx::ErasureGround;
    use consilium_domain::{Digest, OrgId, Timestamp};
    use consilium_keys::erase::{self, Erasure, Scope};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let ids: Vec<Vec<u8>> = (0..3u8).map(|n| vec![0xe0 + n; 24]).collect();
    {
        let a = world.worker("a");
        for id in &ids {
            a.class(&ask::class_of(id, "clinician@a")).unwrap();
        }
        assert_eq!(a.erased(&ErasedRequest { after: 0 }).unwrap().sequence, 0);
    }
    // Two erasures are written down; the process dies before the keys of the second are gone.
    {
        let key = consilium_abe::sealing::SealingKey::from_key_file(UNSEAL).unwrap();
        let vault = consilium_keys::vault::Vault::open(&world.folder.join("a"), key).unwrap();
        let rng = &mut consilium_testkit::seeded(2);
        for (salt, of) in [(1, &ids[..1]), (2, &ids[1..2])] {
            let erasure = Erasure {
                channel: world.genesis.channel.clone(),
                organisation: OrgId::new("a").unwrap(),
                scope: Scope::Class,
                ground: ErasureGround::Order,
                classes: 1,
                epochs: 1,
                commitment: erase::commitment(&[salt; 32], of),
                at: Timestamp(5),
                officers: vec!["ann".to_owned(), "bob".to_owned()],
            };
            erase::keep(&vault, &erasure, &[salt; 32], of, rng).unwrap();
            let kept = erase::kept(&vault, u64::from(salt)).unwrap().unwrap();
            assert_eq!((kept.record, &kept.ids[..]), (erasure.digest(), of));
            if salt == 1 {
                let name = ClassName::new(&world.genesis.channel, &erasure.organisation, &of[0]).unwrap();
                erase::destroy(&vault, &name, Timestamp(5), rng).unwrap();
            }
        }
    }
    let a = world.worker("a");
    for id in &ids[..2] {
        assert_eq!(a.class(&ask::class_of(id, "clinician@a")).unwrap_err().code(), "erased");
    }
    assert!(a.class(&ask::class_of(&ids[2], "")).is_ok());
    for (after, id) in [(0, &ids[0]), (1, &ids[1])] {
        let told = a.erased(&ErasedRequest { after }).unwrap();
        assert_eq!((told.sequence, told.ground, &told.class_ids[..]), (after + 1, 4, &[id.clone()][..]));
        assert!(Digest::from_slice(&told.record).is_some());
    }
    assert_eq!(a.erased(&ErasedRequest { after: 2 }).unwrap().sequence, 0);
}
