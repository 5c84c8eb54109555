//! Files of every kind of proof, as people hold them: made by a fixed consortium, pinned byte by byte, and checked by
//! the independent verifier (`e2e/verifier`) and by `consilium verify` in their own tests.
//!
//! `CONSILIUM_BLESS=1 cargo test -p consilium-ledger vectors` writes them anew: only with a new format version, since
//! proofs already given out must stay verifiable.

use super::fixture::{Keys, World, org};
use crate::checkpoint;
use crate::log_proof;
use crate::proof;
use crate::receipt::{
    verify_audit_proof, verify_checkpoint_proof, verify_receipt, verify_sample_proof, verify_state_proof,
    verify_transaction_proof,
};
use crate::state;
use crate::tiles;
use consilium_domain::governance::Action;
use consilium_domain::merkle::{self, Inclusion};
use consilium_domain::receipt::{
    AUDIT_FORMAT, AuditProof, CHECKPOINT_FORMAT, CheckpointProof, HexBytes, STATE_FORMAT, StateProof,
    TRANSACTION_FORMAT, TransactionProof,
};
use consilium_domain::tx::AuditAnchor;
use consilium_domain::{Digest, Height};
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../e2e/verifier/vectors")
}

/// Name and content of each file.
fn files() -> Vec<(String, Vec<u8>)> {
    let json = |text: serde_json::Result<String>| text.unwrap() + "\n";
    let mut world = World::new(4);
    let early = world.receipt();
    // A member joins, one leaves, one rotates its keys.
    world.keys.push(Keys::new(org(4), 0));
    world.commit(&[world.motion(Action::Admit(world.keys[4].member()), &[0, 1, 2])]);
    world.commit(&[]);
    world.commit(&[world.motion(Action::Remove(org(3)), &[0, 1, 2, 4])]);
    world.commit(&[]);
    let rotated = Keys::new(org(2), 1);
    world.commit(&[world.motion(Action::Rotate(rotated.member()), &[0, 1, 4])]);
    world.commit(&[]);
    world.keys[2] = rotated;
    let late = world.receipt_by(&[0, 1, 2]);
    let (series, samples) = super::samples::described(&mut world, 0, 1000);
    world.commit(&[super::samples::batch(&world, &series, 0, &samples)]);
    let sample = super::samples::proof(&world, world.ledger().head().height.0, &samples, 421);
    let events: Vec<String> =
        (0..9).map(|i| format!("{{\"resourceType\":\"AuditEvent\",\"id\":\"{i}\"}}")).collect();
    let log: Vec<Digest> = events.iter().map(|e| merkle::leaf_hash(e.as_bytes())).collect();
    let anchor = AuditAnchor { size: 9, root: merkle::root(&log), consistency: vec![] };
    let (block, _) = world.commit(&[world.anchor(2, anchor)]);
    let audit = AuditProof {
        format: AUDIT_FORMAT.to_owned(),
        genesis: world.genesis.digest(),
        organisation: org(2),
        event: events[4].clone(),
        inclusion: Inclusion::of(&log, 4).unwrap(),
        transaction: world.tx_proof(&block, 0),
    };
    let key = crate::SigningKey::from_seed([9; 32]);
    world.commit(&[world.consent("here", 1, &key, &key)]);
    let (last, certificate) = {
        let (block, _) = world.commit(&[]);
        let certificate = world.certificate(&block, &[0, 1, 3]);
        (block, certificate)
    };
    let changes = world.changes_before(last.header.height);
    let state = |handle: &[u8]| {
        let key = state::consent_key(&Digest::tagged("test/consent", handle));
        let (value, proof) = proof::prove(&world.view, last.header.height.previous(), &key).unwrap();
        StateProof {
            format: STATE_FORMAT.to_owned(),
            genesis: world.genesis.digest(),
            key,
            value: value.map(HexBytes),
            proof,
            header: last.header.clone(),
            certificate: certificate.clone(),
            validator_changes: changes.clone(),
        }
    };
    let lines: Vec<String> = [0, 1, 2, 4]
        .map(|i: usize| checkpoint::cosign(&world.keys[i].cosign, &world.keys[i].organisation, &last.header))
        .into();
    let checkpoint = CheckpointProof {
        format: CHECKPOINT_FORMAT.to_owned(),
        genesis: world.genesis.digest(),
        note: checkpoint::note(&checkpoint::text(&last.header), &lines),
        header: last.header.clone(),
        certificate: certificate.clone(),
        validator_changes: changes.clone(),
    };
    let (here, gone) = (state(b"here"), state(b"gone"));
    let transaction = TransactionProof {
        format: TRANSACTION_FORMAT.to_owned(),
        genesis: world.genesis.digest(),
        transaction: audit.transaction.clone(),
    };
    verify_transaction_proof(&world.genesis, &transaction).unwrap();
    let log = cosigned_log(&mut world);
    assert_eq!(late.transaction.validator_changes.len(), 3);
    verify_receipt(&world.genesis, &early, None).unwrap();
    assert_eq!(verify_receipt(&world.genesis, &late, None).unwrap().height, Height(8));
    verify_sample_proof(&world.genesis, &sample).unwrap();
    verify_audit_proof(&world.genesis, &audit).unwrap();
    verify_checkpoint_proof(&world.genesis, &checkpoint).unwrap();
    assert!(here.value.is_some() && gone.value.is_none());
    verify_state_proof(&world.genesis, &here).unwrap();
    verify_state_proof(&world.genesis, &gone).unwrap();
    let mut files: Vec<_> = [
        ("genesis.json", json(serde_json::to_string_pretty(&world.genesis))),
        ("receipt.json", json(serde_json::to_string_pretty(&early))),
        ("receipt-after-changes.json", json(serde_json::to_string_pretty(&late))),
        ("sample.json", json(serde_json::to_string_pretty(&sample))),
        ("audit.json", json(serde_json::to_string_pretty(&audit))),
        ("state-present.json", json(serde_json::to_string_pretty(&here))),
        ("state-absent.json", json(serde_json::to_string_pretty(&gone))),
        ("checkpoint.json", json(serde_json::to_string_pretty(&checkpoint))),
        ("transaction.json", json(serde_json::to_string_pretty(&transaction))),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), text.into_bytes()))
    .collect();
    files.extend(log);
    files
}

/// The log as `consilium ledger export` writes it, grown to more than one tile.
fn cosigned_log(world: &mut World) -> Vec<(String, Vec<u8>)> {
    for block in 0..3 {
        let votes: Vec<_> =
            (0..100).map(|i| world.vote(0, Digest::tagged("test/log", &[block, i]), 1, 1)).collect();
        world.commit(&votes);
    }
    let (last, _) = world.commit(&[]);
    let lines: Vec<String> = [0, 1, 4]
        .map(|i: usize| checkpoint::cosign(&world.keys[i].cosign, &world.keys[i].organisation, &last.header))
        .into();
    let proof = CheckpointProof {
        format: CHECKPOINT_FORMAT.to_owned(),
        genesis: world.genesis.digest(),
        note: checkpoint::note(&checkpoint::text(&last.header), &lines),
        certificate: world.certificate(&last, &[0, 1, 3]),
        validator_changes: world.changes_before(last.header.height),
        header: last.header,
    };
    verify_checkpoint_proof(&world.genesis, &proof).unwrap();
    let tile = |(level, index, width)| {
        let hashes = tiles::tile(&world.view, level, index, width).unwrap().unwrap();
        (format!("log/tile/{}", log_proof::path(level, index, width)), hashes)
    };
    let mut files: Vec<_> = log_proof::tiles_of(proof.header.log_size).into_iter().map(tile).collect();
    assert_eq!(files.len(), 3);
    files.push(("log/checkpoint".to_owned(), proof.note.clone().into_bytes()));
    let json = serde_json::to_string_pretty(&proof).unwrap() + "\n";
    files.push(("log/checkpoint.json".to_owned(), json.into_bytes()));
    files
}

#[test]
fn proofs_given_out_are_pinned_and_stay_verifiable() {
    let bless = std::env::var("CONSILIUM_BLESS").as_deref() == Ok("1");
    for (name, content) in files() {
        let path = folder().join(&name);
        if bless {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &content).unwrap();
        }
        let pinned = std::fs::read(&path).unwrap_or_default();
        assert!(pinned == content, "`{name}` is not what it was: a new format needs a new version");
    }
}
