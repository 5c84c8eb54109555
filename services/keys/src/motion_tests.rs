//! Nobody keeps the places of motions taken.

use super::*;
use ed25519_consensus::SigningKey;

fn motions() -> Motions {
    Motions::new(ChannelId::new("north").unwrap(), OrgId::new("a").unwrap())
}

fn officer(octet: u8) -> (SigningKey, Officer) {
    let key = SigningKey::from([octet; 32]);
    let public_key = PublicKey(key.verification_key().to_bytes());
    (key, Officer { name: format!("officer-{octet}"), public_key })
}

fn sign(motions: &Motions, motion: &Motion, octet: u8, now: Timestamp) -> Result<Motion, KeysError> {
    let (key, officer) = officer(octet);
    let bytes =
        motion_bytes(&motions.channel, &motions.organisation, &motion.id, motion.expires_ms, &motion.action);
    motions.approve(&motion.id, &officer, &Signature(key.sign(&bytes).to_bytes()), now)
}

#[test]
fn a_flood_of_motions_displaces_neither_signed_ones_nor_an_officer() {
    let (motions, rng) = (motions(), &mut consilium_testkit::seeded(3));
    let signed = motions.propose("signed".to_owned(), 2, Timestamp(0), rng).unwrap();
    sign(&motions, &signed, 1, Timestamp(0)).unwrap();
    for at in 1..=200 {
        motions.propose("flood".to_owned(), 2, Timestamp(at), rng).unwrap();
    }
    assert_eq!(motions.waiting(Timestamp(200)).len(), MOST);
    // An officer who signs what she has just opened gets through, and the flood goes on behind her.
    let own = motions.propose("own".to_owned(), 2, Timestamp(201), rng).unwrap();
    sign(&motions, &own, 2, Timestamp(201)).unwrap();
    for at in 202..=400 {
        motions.propose("flood".to_owned(), 2, Timestamp(at), rng).unwrap();
    }
    for motion in [&signed, &own] {
        let done = sign(&motions, motion, 3, Timestamp(400)).unwrap();
        assert_eq!(done.approved_by.len(), 2);
    }
}

#[test]
fn one_officer_cannot_take_all_places_with_her_signature() {
    let (motions, rng) = (motions(), &mut consilium_testkit::seeded(3));
    let mut last = None;
    for _ in 0..MOST_OF_ONE {
        let motion = motions.propose("x".to_owned(), 2, Timestamp(0), rng).unwrap();
        sign(&motions, &motion, 1, Timestamp(0)).unwrap();
        last = Some(motion);
    }
    let more = motions.propose("x".to_owned(), 2, Timestamp(0), rng).unwrap();
    assert!(matches!(sign(&motions, &more, 1, Timestamp(0)), Err(KeysError::Refused(_))));
    sign(&motions, &more, 2, Timestamp(0)).unwrap();
    // As the second she signs what she likes, and what takes one signature waits for nobody.
    sign(&motions, &more, 1, Timestamp(0)).unwrap();
    let single = motions.propose("x".to_owned(), 1, Timestamp(0), rng).unwrap();
    sign(&motions, &single, 1, Timestamp(0)).unwrap();
    // One less of hers, one more.
    sign(&motions, &last.unwrap(), 2, Timestamp(0)).unwrap();
    let next = motions.propose("x".to_owned(), 2, Timestamp(0), rng).unwrap();
    sign(&motions, &next, 1, Timestamp(0)).unwrap();
    // Old ones do not count.
    let late = Timestamp(0).plus(LIFETIME);
    let fresh = motions.propose("x".to_owned(), 2, late, rng).unwrap();
    sign(&motions, &fresh, 1, late).unwrap();
    assert_eq!(motions.waiting(late).len(), 1);
}
