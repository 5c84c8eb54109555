//! Proofs of state keys and of their absence.

use super::fixture::{World, org};
use crate::proof::{ProofError, prove, verify};
use crate::receipt::{ReceiptError, verify_state_proof};
use crate::sign::SigningKey;
use crate::state;
use consilium_domain::receipt::{HexBytes, STATE_FORMAT, StateProof};
use consilium_domain::{Digest, Height};

fn keys() -> Vec<Vec<u8>> {
    let consent = |h: &[u8]| state::consent_key(&Digest::tagged("test/consent", h));
    vec![
        state::head_key(),
        state::members_key(),
        consent(b"here"),
        consent(b"gone"),
        state::anchor_key(&org(1)),
    ]
}

fn world() -> World {
    let mut world = World::new(4);
    let key = SigningKey::from_seed([9; 32]);
    let txs: Vec<_> = (0..30).map(|i| world.any_batch(&i.to_string())).collect();
    world.commit(&txs);
    world.commit(&[world.consent("here", 1, &key, &key)]);
    world
}

#[test]
fn presence_and_absence_are_proven_against_the_root_and_nothing_else() {
    let world = world();
    let root = world.ledger().state_root();
    for key in keys() {
        let (value, proof) = prove(&world.view, Height(2), &key).unwrap();
        assert_eq!(value, world.ledger().get(&key).unwrap());
        verify(&root, &key, value.as_deref(), &proof).unwrap();
        let other = if value.is_some() { None } else { Some(b"forged".as_slice()) };
        assert_eq!(verify(&root, &key, other, &proof), Err(ProofError::Mismatch));
        assert_eq!(verify(&root, b"another", value.as_deref(), &proof), Err(ProofError::Mismatch));
        assert_eq!(verify(&Digest::default(), &key, value.as_deref(), &proof), Err(ProofError::Mismatch));
        for i in 0..proof.len() {
            let mut mutated = proof.clone();
            mutated[i] ^= 1;
            assert!(verify(&root, &key, value.as_deref(), &mutated).is_err(), "byte {i}");
            assert!(verify(&root, &key, value.as_deref(), &proof[..i]).is_err());
        }
        let mut longer = proof.clone();
        longer.push(0);
        assert_eq!(verify(&root, &key, value.as_deref(), &longer), Err(ProofError::Malformed));
    }
}

#[test]
fn yesterdays_state_is_provable_too() {
    let world = world();
    let key = state::consent_key(&Digest::tagged("test/consent", b"here"));
    let (value, proof) = prove(&world.view, Height(1), &key).unwrap();
    assert_eq!(value, None);
    assert!(verify(&world.ledger().state_root(), &key, None, &proof).is_err());
    let root = crate::tree::root(&world.view, 1).unwrap();
    verify(&root, &key, None, &proof).unwrap();
    assert!(prove(&world.view, Height(3), &key).is_err(), "there is no such height yet");
}

#[test]
fn a_state_proof_file_verifies_from_genesis() {
    let mut world = world();
    let (block, _) = world.commit(&[]);
    for key in keys() {
        let (value, proof) = prove(&world.view, Height(2), &key).unwrap();
        let file = StateProof {
            format: STATE_FORMAT.to_owned(),
            genesis: world.genesis.digest(),
            key,
            value: value.map(HexBytes),
            proof,
            header: block.header.clone(),
            certificate: world.certificate(&block, &[1, 2, 3]),
            validator_changes: vec![],
        };
        let verified = verify_state_proof(&world.genesis, &file).unwrap();
        assert_eq!((verified.height, verified.until), (Height(2), block.header.time));
        let json = serde_json::to_string(&file).unwrap();
        assert_eq!(serde_json::from_str::<StateProof>(&json).unwrap(), file);
        let mut forged = file.clone();
        forged.value = match forged.value {
            Some(_) => None,
            None => Some(HexBytes(vec![1])),
        };
        let error = verify_state_proof(&world.genesis, &forged).unwrap_err();
        assert_eq!(error, ReceiptError::State(ProofError::Mismatch));
        let mut uncertified = file;
        uncertified.certificate.signatures.pop();
        assert!(matches!(
            verify_state_proof(&world.genesis, &uncertified),
            Err(ReceiptError::Certificate(_))
        ));
    }
}
