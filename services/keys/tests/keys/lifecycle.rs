//! An attribute's life: given, moved from week to week, withdrawn; a class's: rotated, re-wrapped, destroyed.

use crate::classes::ask;
use crate::harness::World;
use consilium_abe::AccessPolicy;
use consilium_domain::{PublicKey, Signature};
use consilium_keys::class::ClassHeader;
use consilium_keys::vault::Vault;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

mod parts {
    use super::*;

    /// A vault of its own for changes of people.
    pub fn side_vault(world: &World) -> Vault {
        let key = consilium_abe::sealing::SealingKey::from_key_file(crate::harness::UNSEAL).unwrap();
        Vault::open(&world.folder.join("side"), key).unwrap()
    }

    /// The only week that a header names.
    pub fn week(header: &[u8]) -> String {
        let policy: AccessPolicy = ClassHeader::decode(header).unwrap().policy().clone();
        let weeks: std::collections::BTreeSet<String> =
            policy.terms().iter().map(|term| term.attribute().epoch().to_owned()).collect();
        assert_eq!(weeks.len(), 1, "{policy}");
        weeks.into_iter().next().unwrap()
    }
}

use parts::{side_vault, week};

#[test]
fn attributes_move_with_the_week_and_headers_follow_on_the_next_read() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let (a, b) = (world.worker("a"), world.worker("b"));
    // The clock starts on Thursday, 2026-01-01.
    let first = a.class(&ask::class("clinician@b", 0)).unwrap();
    assert_eq!(week(&first.header), "2026W01");
    assert_eq!(ask::code(&b, &ask::open(&first, "dr-x", &["practitioner"])), "opened");
    assert_eq!(a.class(&ask::class("", 0)).unwrap(), first, "nothing to do within a week");

    world.clock.advance(4 * DAY);
    assert_eq!(ask::code(&b, &ask::open(&first, "dr-y", &["practitioner"])), "opened", "weeks overlap");
    world.clock.advance(DAY);
    assert_eq!(ask::code(&b, &ask::open(&first, "dr-z", &["practitioner"])), "denied", "the week is over");
    let renewed = a.class(&ask::class("", 0)).unwrap();
    assert_eq!((week(&renewed.header).as_str(), renewed.epoch), ("2026W02", 1));
    assert_eq!(renewed.kek, first.kek, "the same class key under a new header");
    assert_eq!(b.open(&ask::open(&renewed, "dr-z", &["practitioner"])).unwrap().kek, first.kek);
    drop(a);
    assert_eq!(world.worker("a").class(&ask::class("", 0)).unwrap(), renewed, "it was stored");
}

#[test]
fn a_header_without_a_week_or_with_a_stretched_one_opens_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let (a, b) = (world.worker("a"), world.worker("b"));
    // A custodian may name any week; the reader's authority issues for its own clock's only.
    for policy in
        ["clinician@b#2026W03", "clinician@b#2025W50", "clinician@b#2026W01.1", "clinician@b#forever"]
    {
        let class = a.class(&ask::class_of(policy.as_bytes(), policy)).unwrap();
        let mut request = ask::open(&class, "dr-x", &["practitioner"]);
        request.class_id = ask::class_of(policy.as_bytes(), policy).class_id;
        assert_eq!(ask::code(&b, &request), "denied", "{policy}");
    }
    let class = a.class(&ask::class("clinician@b#2026W01", 0)).unwrap();
    assert_eq!(ask::code(&b, &ask::open(&class, "dr-x", &["practitioner"])), "opened");
}

#[test]
fn a_withdrawn_role_opens_nothing_from_the_next_request_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let (a, b) = (world.worker("a"), world.worker("b"));
    let old = a.class(&ask::class("clinician@b", 0)).unwrap();
    let request = ask::open(&old, "dr-x", &["practitioner", "on-call"]);
    assert_eq!(ask::code(&b, &request), "opened");
    let (vault, rng) = (side_vault(&world), &mut consilium_testkit::seeded(3));
    b.people().withdraw(&vault, "dr-x", "practitioner", rng).unwrap();
    // The token still says practitioner, and the class key is still in memory: neither counts.
    assert_eq!(ask::code(&b, &request), "denied", "the old record");
    let new = a.policy(&ask::change("clinician@b", true)).unwrap();
    assert_eq!(ask::code(&b, &ask::open(&new, "dr-x", &["practitioner"])), "denied", "a new record");
    assert_eq!(ask::code(&b, &ask::open(&new, "dr-y", &["practitioner"])), "opened", "others keep the role");
    let duty = a.policy(&ask::change("duty=emergency@b", true)).unwrap();
    assert_eq!(ask::code(&b, &ask::open(&duty, "dr-x", &["on-call"])), "opened", "another role stays");
    b.people().withdraw(&vault, "dr-x", "", rng).unwrap();
    assert_eq!(ask::code(&b, &ask::open(&duty, "dr-x", &["on-call"])), "denied", "every role");
    assert!(b.people().restore(&vault, "dr-x", "", rng).unwrap());
    assert_eq!(ask::code(&b, &request), "denied", "the role is withdrawn still");
    assert!(b.people().restore(&vault, "dr-x", "practitioner", rng).unwrap());
    assert!(!b.people().restore(&vault, "dr-x", "practitioner", rng).unwrap());
    assert_eq!(ask::code(&b, &request), "opened");
}

#[test]
fn what_a_revocation_rotated_opens_no_old_epoch_either() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let (a, b) = (world.worker("a"), world.worker("b"));
    let first = a.class(&ask::class("clinician@a OR clinician@b", 0)).unwrap();
    assert_eq!(ask::code(&b, &ask::open(&first, "dr-x", &["practitioner"])), "opened");
    a.policy(&ask::change("clinician@a", true)).unwrap();
    let old = a.class(&ask::class("", 1)).unwrap();
    assert_eq!((old.kek.clone(), old.policy.as_str()), (first.kek.clone(), "clinician@a"));
    assert_ne!(old.header, first.header, "re-wrapped on the first read");
    assert_eq!(ask::code(&b, &ask::open(&old, "dr-y", &["practitioner"])), "denied");
    assert_eq!(a.open(&ask::open(&old, "dr-a", &["practitioner"])).unwrap().kek, first.kek);
    // What nobody can undo: a header that somebody has, for as long as its week.
    assert_eq!(ask::code(&b, &ask::open(&first, "dr-y", &["practitioner"])), "opened");
}

#[test]
fn an_identity_is_registered_by_whoever_has_its_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let world = World::new();
    let a = world.worker("a");
    let b = world.worker_with("b", "[holders]\nregistered_only = true", crate::harness::UNSEAL).unwrap();
    let class = a.class(&ask::class("clinician@b", 0)).unwrap();
    let request = ask::open(&class, "dr-x", &["practitioner"]);
    assert_eq!(ask::code(&b, &request), "denied", "not registered");
    let (vault, rng) = (side_vault(&world), &mut consilium_testkit::seeded(3));
    let authority = consilium_abe::AuthorityName::new("b").unwrap();
    let key = ed25519_consensus::SigningKey::from([5; 32]);
    let public = PublicKey(key.verification_key().to_bytes());
    let gid = consilium_keys::people::did_key(&public).unwrap();
    let now = Duration::ZERO;
    let mut challenge = || b.people().challenge("north", &authority, "2026W01", now, rng);
    let (first, second, third) = (challenge(), challenge(), challenge());
    let sign = |challenge: &consilium_abe::GidChallenge| {
        Signature(key.sign(&challenge.signing_bytes(&gid)).to_bytes())
    };
    let register = |subject: &str, nonce: &[u8; 32], signature: &Signature, now: Duration| {
        let rng = &mut consilium_testkit::seeded(4);
        b.people().register(&vault, subject, (&public, nonce, signature), now, rng)
    };
    assert!(register("dr-x", &first.nonce, &sign(&second), now).is_err(), "over another challenge");
    assert!(register("dr-x", &first.nonce, &sign(&first), now).is_err(), "a challenge is good once");
    assert!(
        register("dr-x", &second.nonce, &sign(&second), 601 * Duration::from_secs(1)).is_err(),
        "too late"
    );
    assert!(register("dr-x", &[7; 32], &sign(&second), now).is_err(), "of nobody");
    assert_eq!(register("dr-x", &third.nonce, &sign(&third), now).unwrap(), gid);
    assert_eq!(ask::code(&b, &request), "opened");
    assert_eq!(ask::code(&b, &ask::open(&class, "dr-y", &["practitioner"])), "denied");
    let again = b.people().challenge("north", &authority, "2026W01", now, &mut consilium_testkit::seeded(9));
    let error = register("dr-y", &again.nonce, &sign(&again), now).unwrap_err();
    assert!(error.to_string().contains("another person's"), "{error}");
}
