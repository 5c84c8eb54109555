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
    "519 9a61202bd61d45edebc5fce54cba29889dc7aab7621ee9197c390eaeaa87a77c",
    "253 91ff276de2783daceb8fb458b634eef1b303908a6fef98017569b9f7c42e7326",
    "160 8b13e6722ef48ffb3e17e1ac5b2f6fa1f7c2b088b000c45ed33775f429f5f1eb",
    "134 c7be97209b46b8f432a87b22224b8a75d30c5f5efa5b8085913dcb6a0e964880",
];
const PINNED_BLOCKS: [&str; 2] = [
    "1ba60c38162616237e1519f4bba9c305fe11091e009a70b85cfcf2e3c8838152 \
     a2fe1fc6393a32081edf61037e37cdfe19bea8957304bab0fdbc8ae977e39a00",
    "3e787cbf07c8fdf2e5656b517932d1f9c770714454535c5399c0827451d0f231 \
     82f03203ceb12a5426f3b383d63cb0dd5453e62198ff2010153c7ded670a9803",
];
const PINNED_RECORD: &str = "da5f4b8f91f3ec72d2f04995f40701dfcee114b59cebed67db25bc5784a489f2";
