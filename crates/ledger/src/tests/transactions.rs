//! Each kind of transaction: what is accepted, what is refused and why.

use super::fixture::{World, known_none, org, schema};
use crate::bulk::SignatureMemory;
use crate::check::{CheckError, TxError, check};
use crate::interop::InteropError;
use crate::sign::{Role, SigningKey};
use crate::state::{self, ConsentRecord};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::Params;
use consilium_domain::merkle;
use consilium_domain::tx::{AuditAnchor, Batch, MAX_TX, Tx, TxBody};
use consilium_domain::{Digest, Height};
use proptest::prelude::*;

fn refused(world: &World, tx: &Tx) -> TxError {
    match world.ledger().check_tx(&tx.to_canonical()) {
        Err(CheckError::Invalid(error)) => error,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn accepted(world: &World, tx: &Tx) {
    world.ledger().check_tx(&tx.to_canonical()).unwrap();
}

#[test]
fn a_batch_needs_more_than_two_thirds_of_the_members() {
    for (n, need) in [(1, 1), (3, 3), (4, 3), (7, 5), (10, 7)] {
        let world = World::new(n);
        for have in 0..=n {
            let attesters: Vec<usize> = (0..have).collect();
            let tx = world.batch(world.statement(0, Digest::default(), 1), &attesters);
            if have >= need {
                accepted(&world, &tx);
            } else {
                assert_eq!(
                    refused(&world, &tx),
                    TxError::Interop(InteropError::NoQuorum { have, need }),
                    "{n}"
                );
            }
        }
    }
}

#[test]
fn a_committee_proves_and_so_do_two_thirds_of_all() {
    let params = Params { committee: 5, ..Params::default() };
    let world = World::with(10, params);
    let names: Vec<_> = (0..10).map(org).collect();
    let channel = world.channel();
    let seed = world.genesis.digest();
    let committee = crate::committee::committee(channel, &world.genesis.params, &names, 0, &seed, &org(4));
    assert_eq!(committee.len(), 5);
    assert!(committee.contains(&4));
    let statement = world.statement(4, Digest::default(), 1);
    // 4 of the 5: floor(10 / 3) + 1.
    accepted(&world, &world.batch(statement.clone(), &committee[..4]));
    let error = refused(&world, &world.batch(statement.clone(), &committee[..3]));
    assert_eq!(error, TxError::Interop(InteropError::NoQuorum { have: 3, need: 4 }));
    // Outsiders do not replace the committee …
    let outsiders: Vec<usize> = (0..10).filter(|i| !committee.contains(i)).collect();
    assert!(matches!(refused(&world, &world.batch(statement.clone(), &outsiders)), TxError::Interop(_)));
    // … unless they are more than two thirds of all.
    let mut seven: Vec<usize> = outsiders.into_iter().chain(committee[..2].iter().copied()).collect();
    seven.sort_unstable();
    accepted(&world, &world.batch(statement, &seven));
}

#[test]
fn a_batch_is_bound_to_its_statement() {
    let world = World::new(4);
    let good = world.statement(0, Digest::default(), 2);
    let proof = world.attest(&good, &[0, 1, 2]);
    let with = |change: &dyn Fn(&mut consilium_domain::interop::Statement)| {
        let mut statement = good.clone();
        change(&mut statement);
        let batch = consilium_domain::tx::Batch { statement, proof: proof.clone() };
        world.sign(0, TxBody::Batch(batch))
    };
    accepted(&world, &with(&|_| {}));
    let moved = refused(&world, &with(&|s| s.batch_root = Digest::tagged("other", b"")));
    assert_eq!(moved, TxError::Interop(InteropError::BadSignature(org(0))));
    assert!(matches!(refused(&world, &with(&|s| s.records = 3)), TxError::Interop(_)));
    assert_eq!(refused(&world, &with(&|s| s.records = 0)), TxError::EmptyBatch);
    assert_eq!(refused(&world, &with(&|s| s.custodian = org(1))), TxError::NotCustodian(org(1)));
    let unknown = Digest::tagged("other", b"schema");
    assert_eq!(refused(&world, &with(&|s| s.schema = unknown)), TxError::UnknownSchema(unknown));
    assert_eq!(refused(&world, &with(&|s| s.epoch = 1)), TxError::WrongEpoch { epoch: 1, current: 0 });
    for expires in [Height(0), Height(10_002)] {
        let late = refused(&world, &with(&|s| s.expires = expires));
        assert_eq!(late, TxError::Expired { expires, height: Height(1) });
    }
    assert!(matches!(refused(&world, &with(&|s| s.expires = Height(1))), TxError::Interop(_)));
}

#[test]
fn attesters_are_distinct_sorted_members_who_signed_themselves() {
    let world = World::new(4);
    let statement = world.statement(0, Digest::default(), 1);
    let twice = world.batch(statement.clone(), &[0, 1, 1]);
    assert_eq!(refused(&world, &twice), TxError::Interop(InteropError::NotSorted));
    let unsorted = world.batch(statement.clone(), &[1, 0, 2]);
    assert_eq!(refused(&world, &unsorted), TxError::Interop(InteropError::NotSorted));
    let mut borrowed = world.attest(&statement, &[0, 1, 2]);
    borrowed.attestations[2].signed = borrowed.attestations[1].signed.clone();
    let tx = world.sign(
        0,
        TxBody::Batch(consilium_domain::tx::Batch { statement: statement.clone(), proof: borrowed }),
    );
    assert_eq!(refused(&world, &tx), TxError::Interop(InteropError::BadSignature(org(2))));
    let mut stranger = world.attest(&statement, &[0, 1, 2]);
    stranger.attestations[2].attester = org(77);
    let tx = world.sign(0, TxBody::Batch(consilium_domain::tx::Batch { statement, proof: stranger }));
    assert_eq!(refused(&world, &tx), TxError::Interop(InteropError::NotMember(org(77))));
}

fn together(world: &World, roots: &[&str]) -> Vec<Tx> {
    let statement = |root: &&str| world.statement(0, Digest::tagged("test/batch", root.as_bytes()), 1);
    world.batches(&roots.iter().map(statement).collect::<Vec<_>>(), &[0, 1, 2])
}

#[test]
fn what_was_signed_together_enters_one_by_one() {
    let mut world = World::new(4);
    let txs = together(&world, &["a", "b", "c", "d", "e"]);
    txs.iter().for_each(|tx| accepted(&world, tx));
    let bytes: Vec<Vec<u8>> = txs.iter().map(Canonical::to_canonical).collect();
    let all: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let mut memory = SignatureMemory::default();
    // Alone, all at once, and once more: the same verdict.
    for group in [&all[..1], &all, &all] {
        assert!(world.ledger().check_txs(group, &mut memory).iter().all(Result::is_ok));
    }
    world.commit(&[txs[3].clone(), txs[0].clone()]);
    assert!(matches!(refused(&world, &txs[0]), TxError::DuplicateBatch(_)));
    accepted(&world, &txs[1]);
}

#[test]
fn nobody_else_can_give_a_signed_transaction_another_identity() {
    let world = World::new(4);
    let txs = together(&world, &["a", "b", "c"]);
    let mut memory = SignatureMemory::default();
    let mut check = |tx: &Tx| {
        let bytes = tx.to_canonical();
        let alone = world.ledger().check_tx(&bytes);
        let verdict = world.ledger().check_txs(&[&bytes], &mut memory).remove(0);
        assert_eq!(alone.is_ok(), verdict.is_ok());
        verdict
    };
    for tx in &txs {
        assert!(check(tx).is_ok());
    }
    // The last of three lies where the last of two would: the number is signed too.
    let mut moved = txs[2].clone();
    (moved.signed.place.0.index, moved.signed.place.0.size) = (1, 2);
    assert_eq!(check(&moved), Err(TxError::BadSignature(Role::Ingest).into()));
    let batch = |tx: &Tx| match &tx.unsigned.body {
        TxBody::Batch(batch) => batch.clone(),
        _ => panic!("no batch"),
    };
    // Signatures and places of one are none of another.
    let mut borrowed = txs[0].clone();
    borrowed.signed = txs[1].signed.clone();
    assert_eq!(check(&borrowed), Err(TxError::BadSignature(Role::Ingest).into()));
    let mut proof = batch(&txs[0]).proof;
    proof.attestations[1].signed = batch(&txs[1]).proof.attestations[1].signed.clone();
    let tx = world.sign(0, TxBody::Batch(Batch { proof, ..batch(&txs[0]) }));
    assert_eq!(check(&tx), Err(TxError::Interop(InteropError::BadSignature(org(1))).into()));
}

#[test]
fn a_batch_root_enters_once() {
    let mut world = World::new(4);
    let tx = world.any_batch("once");
    world.commit(std::slice::from_ref(&tx));
    let root = Digest::tagged("test/batch", b"once");
    assert_eq!(refused(&world, &tx), TxError::DuplicateBatch(root));
    // Also with fresh attestations.
    let again = world.any_batch("once");
    assert_eq!(refused(&world, &again), TxError::DuplicateBatch(root));
}

#[test]
fn attestations_of_the_epoch_before_are_good_and_older_ones_are_not() {
    let mut world = World::with(4, Params { epoch_blocks: 3, ..Params::default() });
    let mut of_epoch_0 = world.statement(0, Digest::default(), 1);
    of_epoch_0.expires = Height(100);
    let tx = world.batch(of_epoch_0, &[0, 1, 2]);
    while world.ledger().head().height < Height(4) {
        accepted(&world, &tx);
        world.commit(&[]);
    }
    accepted(&world, &tx);
    world.commit(&[]);
    assert_eq!(refused(&world, &tx), TxError::WrongEpoch { epoch: 0, current: 2 });
}

#[test]
fn a_consent_moves_one_version_at_a_time_by_its_controller() {
    let mut world = World::new(4);
    let (patient, delegate) = (SigningKey::from_seed([9; 32]), SigningKey::from_seed([8; 32]));
    let stranger = SigningKey::from_seed([7; 32]);
    let versions = |e| matches!(e, TxError::ConsentVersion { .. });
    assert!(versions(refused(&world, &world.consent("c", 2, &patient, &patient))));
    assert!(versions(refused(&world, &world.consent("c", 0, &patient, &patient))));
    // Version 1 proves that its controller is whoever signs.
    assert_eq!(refused(&world, &world.consent("c", 1, &stranger, &patient)), TxError::NotController);
    let first = world.consent("c", 1, &patient, &patient);
    world.commit(std::slice::from_ref(&first));
    assert!(versions(refused(&world, &first)));
    assert_eq!(refused(&world, &world.consent("c", 2, &stranger, &stranger)), TxError::NotController);
    assert!(versions(refused(&world, &world.consent("c", 3, &patient, &patient))));
    let handed_over = world.consent("c", 2, &patient, &delegate);
    world.commit(&[handed_over]);
    assert_eq!(refused(&world, &world.consent("c", 3, &patient, &patient)), TxError::NotController);
    let third = world.consent("c", 3, &delegate, &delegate);
    world.commit(&[third]);
    let handle = Digest::tagged("test/consent", b"c");
    let bytes = world.ledger().get(&state::consent_key(&handle)).unwrap().unwrap();
    let record = ConsentRecord::from_canonical(&bytes).unwrap();
    assert_eq!((record.core.version, record.height, record.sender), (3, Height(3), org(0)));
    let other = world.ledger().get(&state::consent_key(&Digest::default())).unwrap();
    assert_eq!(other, None);
}

#[test]
fn consent_versions_may_follow_each_other_within_a_block() {
    let mut world = World::new(4);
    let key = SigningKey::from_seed([9; 32]);
    let txs = [world.consent("c", 1, &key, &key), world.consent("c", 2, &key, &key)];
    world.commit(&txs);
    let txs: Vec<_> = [3, 3].map(|v| world.consent("c", v, &key, &key).to_canonical()).into();
    let built = world.ledger().build_block(&org(0), &txs, world.now, &known_none).unwrap();
    assert_eq!(built.block.txs.len(), 1);
    assert_eq!(built.dropped.len(), 1);
}

#[test]
fn an_audit_log_only_grows() {
    let mut world = World::new(4);
    let log: Vec<Digest> = (0..40_u64).map(|i| merkle::leaf_hash(&i.to_be_bytes())).collect();
    let anchor = |old: usize, size: usize| AuditAnchor {
        size: size as u64,
        root: merkle::root(&log[..size]),
        consistency: merkle::consistency_path(&log[..size], old).unwrap(),
    };
    world.commit(&[world.anchor(2, anchor(0, 5))]);
    world.commit(&[world.anchor(2, anchor(5, 17))]);
    for size in [0, 1, 16, 17] {
        let error = refused(&world, &world.anchor(2, anchor(0, size)));
        assert!(matches!(error, TxError::AnchorSize { .. }), "{size}");
    }
    assert_eq!(refused(&world, &world.anchor(2, anchor(5, 20))), TxError::NotConsistent);
    let mut rewritten = log.clone();
    rewritten[3] = merkle::leaf_hash(b"rewritten");
    let forged = AuditAnchor {
        size: 20,
        root: merkle::root(&rewritten[..20]),
        consistency: merkle::consistency_path(&rewritten[..20], 17).unwrap(),
    };
    assert_eq!(refused(&world, &world.anchor(2, forged)), TxError::NotConsistent);
    accepted(&world, &world.anchor(2, anchor(17, 40)));
    // Another organisation's log is another log.
    accepted(&world, &world.anchor(1, anchor(0, 3)));
}

#[test]
fn a_schema_set_changes_by_more_than_two_thirds() {
    let mut world = World::new(4);
    let new = Digest::tagged("test", b"new schema");
    let admitted = |w: &World, s| w.ledger().admits(&s).unwrap();
    world.commit(&[world.vote(0, new, 1, 1), world.vote(1, new, 1, 1)]);
    assert!(!admitted(&world, new));
    let replay = world.vote(0, new, 1, 1);
    assert_eq!(refused(&world, &replay), TxError::OldVote { last: 1, found: 1 });
    world.commit(&[world.vote(1, new, 0, 2), world.vote(2, new, 1, 1)]);
    assert!(!admitted(&world, new), "one changed its mind");
    world.commit(&[world.vote(3, new, 1, 1)]);
    assert!(admitted(&world, new));
    let old = schema();
    world.commit(&[world.vote(0, old, 0, 1), world.vote(1, old, 0, 1), world.vote(3, old, 0, 1)]);
    assert!(!admitted(&world, old));
    assert_eq!(refused(&world, &world.any_batch("late")), TxError::UnknownSchema(old));
    assert_eq!(refused(&world, &world.vote(0, old, 2, 9)), TxError::BadVote(2));
}

#[test]
fn each_kind_wants_the_key_of_its_own_service() {
    let world = World::new(4);
    let anchor = AuditAnchor { size: 1, root: Digest::default(), consistency: vec![] };
    for (tx, role) in [
        (world.any_batch("x"), Role::Ingest),
        (world.anchor(0, anchor), Role::Audit),
        (world.vote(0, Digest::default(), 1, 1), Role::Governance),
    ] {
        accepted(&world, &tx);
        for key in [&world.keys[0].consensus, &world.keys[0].validate, &world.keys[1].ingest] {
            let forged = key.sign_tx(world.channel(), tx.unsigned.clone());
            assert_eq!(refused(&world, &forged), TxError::BadSignature(role));
        }
        let other = consilium_domain::ChannelId::new("claims").unwrap();
        let keys = &world.keys[0];
        for key in [&keys.ingest, &keys.audit, &keys.governance] {
            let forged = key.sign_tx(&other, tx.unsigned.clone());
            assert_eq!(refused(&world, &forged), TxError::BadSignature(role));
        }
        let mut stranger = tx.clone();
        stranger.unsigned.sender = org(50);
        let error = refused(&world, &stranger);
        assert!(matches!(error, TxError::UnknownSender(_) | TxError::NotCustodian(_)), "{error}");
    }
}

#[test]
fn every_byte_of_a_transaction_matters() {
    let world = World::new(4);
    let key = SigningKey::from_seed([9; 32]);
    let anchor = AuditAnchor { size: 1, root: Digest::default(), consistency: vec![] };
    let txs = [
        world.any_batch("x"),
        world.consent("c", 1, &key, &key),
        world.anchor(0, anchor),
        world.vote(0, Digest::default(), 1, 1),
    ];
    for tx in txs {
        let bytes = tx.to_canonical();
        world.ledger().check_tx(&bytes).unwrap();
        for i in 0..bytes.len() {
            let mut mutated = bytes.clone();
            mutated[i] ^= 1 << (i % 8);
            assert!(world.ledger().check_tx(&mutated).is_err(), "byte {i} of {}", bytes.len());
            assert!(check(&bytes[..i]).is_err());
        }
    }
}

#[test]
fn a_transaction_over_the_limit_is_not_even_parsed() {
    assert_eq!(check(&vec![0; MAX_TX + 1]), Err(TxError::TooLarge(MAX_TX + 1)));
}

proptest! {
    #[test]
    fn any_bytes_are_checked_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(tx) = check(&bytes) {
            prop_assert_eq!(tx.to_canonical(), bytes);
        }
    }

    #[test]
    fn a_damaged_transaction_is_refused_or_has_one_encoding(at in any::<usize>(), with in any::<u8>(), cut in any::<bool>()) {
        let world = World::new(1);
        let mut bytes = world.any_batch("x").to_canonical();
        let at = at % bytes.len();
        if cut { bytes.remove(at); } else { bytes.insert(at, with); }
        if let Ok(tx) = check(&bytes) {
            prop_assert_eq!(tx.to_canonical(), bytes);
        }
    }
}
