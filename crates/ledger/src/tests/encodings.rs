//! Encodings and digests that must never change: signatures and proofs already given out depend on them.

use super::fixture::{World, patient};
use crate::commitment;
use crate::sign::{SigningKey, verify};
use consilium_domain::canon::Canonical;
use consilium_domain::tx::{AuditAnchor, tx_id};
use consilium_domain::{Digest, PublicKey, Signature};

/// RFC 8032 §7.1, test 2.
#[test]
fn signatures_are_those_of_rfc_8032() {
    let bytes = |hex: &str| -> Vec<u8> { hex::decode(hex).unwrap() };
    let seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let key = SigningKey::from_seed(seed.try_into().unwrap());
    let public = bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    assert_eq!(key.public(), PublicKey(public.try_into().unwrap()));
    let signature = bytes(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    );
    assert_eq!(key.sign(&[0x72]), Signature(signature.try_into().unwrap()));
    assert!(verify(&key.public(), &[0x72], &key.sign(&[0x72])));
    assert!(!verify(&key.public(), &[0x73], &key.sign(&[0x72])));
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public()));
}

/// ZIP 215 accepts a small-order key where other rules differ among themselves: everybody here decides alike.
#[test]
fn verification_follows_zip_215() {
    let identity = PublicKey([[1].as_slice(), &[0; 31]].concat().try_into().unwrap());
    let signature = Signature([[1].as_slice(), &[0; 63]].concat().try_into().unwrap());
    assert!(verify(&identity, b"anything", &signature));
    // A scalar that is not reduced is refused by every rule set (RFC 8032 §5.1.7).
    let mut unreduced = signature;
    unreduced.0[63] = 0xff;
    assert!(!verify(&identity, b"anything", &unreduced));
}

#[test]
fn the_canonical_bytes_of_each_transaction_are_pinned() {
    let world = World::new(4);
    let key = SigningKey::from_seed([9; 32]);
    let anchor = AuditAnchor { size: 1, root: Digest::default(), consistency: vec![Digest::default()] };
    let found: Vec<String> = [
        world.any_batch("pinned"),
        world.consent("pinned", 1, &key, &key),
        world.anchor(1, anchor),
        world.vote(2, Digest::default(), 1, 7),
    ]
    .iter()
    .map(|tx| format!("{} {}", tx.to_canonical().len(), tx_id(&tx.to_canonical())))
    .collect();
    assert_eq!(found, PINNED_TXS);
    let vote = world.vote(2, Digest::default(), 1, 7).unsigned.to_canonical();
    let expected = "0000000b686f73706974616c2d3032\
                    04\
                    0000000000000000000000000000000000000000000000000000000000000000\
                    0001\
                    0000000000000000\
                    0000000000000007";
    assert_eq!(hex::encode(vote), expected);
}

#[test]
fn digests_of_the_first_blocks_are_pinned() {
    let mut world = World::new(4);
    let genesis = format!("{} {}", world.genesis.digest(), world.ledger().state_root());
    let (block, applied) = world.commit(&[world.any_batch("pinned")]);
    let first = format!("{} {}", block.id(), applied.state_root);
    assert_eq!([genesis, first], PINNED_BLOCKS);
}

#[test]
fn a_records_commitment_is_pinned() {
    let leaves = patient();
    let record = commitment::commit("Patient", &leaves, &[1; 32]).unwrap();
    assert_eq!(record.commitment().digest().to_hex(), PINNED_RECORD);
}

const PINNED_TXS: [&str; 4] = [
    "499 c0f7c4a69abf1f76bb11fcb7475ccc6a96e3f883b7dfa10980498ec74a1e80e9",
    "249 cb3347a6f950a4afc8a4023eeb01d79676d9a3150bc611d991a00b0225a6283a",
    "156 e2a4bbf1bed3035a7f2f63b9e9dfb3664045deb81b2a2ee5be112a29f599cc0f",
    "130 641e669fa45e75f458e97efb6dfb6f002a753938fbbfbb7f787747582749e3cd",
];
const PINNED_BLOCKS: [&str; 2] = [
    "1ba60c38162616237e1519f4bba9c305fe11091e009a70b85cfcf2e3c8838152 \
     a2fe1fc6393a32081edf61037e37cdfe19bea8957304bab0fdbc8ae977e39a00",
    "54c305e9e13c162273bf058b3d08f40cb11dc8cab8aec836d9631288b16ec352 \
     44deb8317313350ea3c18dd6b8e968dce6ab7a2620f1fdd98f02a34b1cde12b6",
];
const PINNED_RECORD: &str = "da5f4b8f91f3ec72d2f04995f40701dfcee114b59cebed67db25bc5784a489f2";
