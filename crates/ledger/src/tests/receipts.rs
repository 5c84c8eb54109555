//! The offline verifier: an honest receipt is accepted, and no other.

use super::fixture::{World, org, patient};
use crate::certificate::CertificateError;
use crate::commitment::Leaf;
use crate::receipt::{ReceiptError, verify_audit_proof, verify_receipt, verify_tx_proof};
use consilium_domain::canon::Canonical;
use consilium_domain::merkle::{self, Inclusion};
use consilium_domain::receipt::{AUDIT_FORMAT, AuditProof, Receipt};
use consilium_domain::record::LeafKind;
use consilium_domain::tx::AuditAnchor;
use consilium_domain::{Digest, Height};

#[test]
fn an_honest_receipt_says_what_it_proves() {
    let mut world = World::new(4);
    let receipt = world.receipt();
    let verified = verify_receipt(&world.genesis, &receipt, None).unwrap();
    assert_eq!((verified.height, &verified.custodian, verified.opened), (Height(1), &org(1), 5));
    assert_eq!(verified.attesters, vec![org(0), org(1), org(2)]);
    assert_eq!(verified.block, receipt.transaction.header.id());
    verify_receipt(&world.genesis, &receipt, Some(&patient())).unwrap();
    let json = serde_json::to_string_pretty(&receipt).unwrap();
    assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), receipt);
}

#[test]
fn every_byte_of_a_receipt_file_matters() {
    let mut world = World::new(4);
    let receipt = world.receipt();
    let json = serde_json::to_vec(&receipt).unwrap();
    let (mut unread, mut refused) = (0, 0);
    for i in 0..json.len() {
        for mask in [0x01, 0x02, 0x10, 0x40] {
            let mut mutated = json.clone();
            mutated[i] ^= mask;
            match serde_json::from_slice::<Receipt>(&mutated) {
                Err(_) => unread += 1,
                // Another spelling of the same receipt (the case of a hexadecimal digit, an escape).
                Ok(same) if same == receipt => {}
                // The number of transactions of the block is in no header; a wrong one that leads to the same root
                // claims nothing about the record.
                Ok(r) if r.transaction.inclusion.size != receipt.transaction.inclusion.size => {}
                Ok(other) => {
                    let verdict = verify_receipt(&world.genesis, &other, None);
                    assert!(verdict.is_err(), "byte {i} of {} flipped by {mask:#x}", json.len());
                    refused += 1;
                }
            }
        }
    }
    assert!(unread > 1000 && refused > 1000, "{unread} unread, {refused} refused");
}

#[test]
fn forgeries_are_refused_at_the_step_that_sees_them() {
    let mut world = World::new(4);
    let good = world.receipt();
    let genesis = world.genesis.clone();
    let forged = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = good.clone();
        change(&mut receipt);
        verify_receipt(&genesis, &receipt, None).unwrap_err()
    };
    assert!(matches!(forged(&|r| r.format = "consilium-receipt/1".into()), ReceiptError::Format(_)));
    assert_eq!(forged(&|r| r.genesis = Digest::default()), ReceiptError::OtherGenesis);
    // Another record under the same batch, another place in it.
    assert_eq!(forged(&|r| r.record.root = Digest::default()), ReceiptError::NotInBatch);
    assert_eq!(forged(&|r| r.record.resource_type = "Observation".into()), ReceiptError::NotInBatch);
    assert_eq!(forged(&|r| r.record.leaf_count = 4), ReceiptError::NotInBatch);
    assert_eq!(forged(&|r| r.batch.index = 0), ReceiptError::NotInBatch);
    assert_eq!(forged(&|r| r.batch.size = 4), ReceiptError::NotInBatch);
    // A value that was never there.
    assert!(matches!(forged(&|r| r.openings[2].token = "\"Mallory\"".into()), ReceiptError::Opening(_)));
    assert!(matches!(forged(&|r| r.openings[0].salt = Digest::default()), ReceiptError::Opening(_)));
    assert_eq!(forged(&|r| r.openings[1] = r.openings[0].clone()), ReceiptError::RepeatedOpening(0));
    // Another transaction of the same block, or of none.
    let other = world.any_batch("elsewhere").to_canonical();
    assert_eq!(forged(&|r| r.transaction.tx = other.clone()), ReceiptError::NotInBlock);
    assert_eq!(forged(&|r| r.transaction.inclusion.index = 0), ReceiptError::NotInBlock);
    // A header that nobody committed.
    assert!(matches!(
        forged(&|r| r.transaction.header.time.0 -= 1),
        ReceiptError::Certificate(CertificateError::OtherBlock(_))
    ));
    assert!(matches!(
        forged(&|r| {
            r.transaction.certificate.signatures.pop();
        }),
        ReceiptError::Certificate(CertificateError::NoQuorum)
    ));
    assert!(matches!(
        forged(&|r| r.transaction.certificate.signatures[0].signature.0[0] ^= 1),
        ReceiptError::Certificate(CertificateError::BadSignature(0))
    ));
}

#[test]
fn a_consortium_of_ones_own_convinces_nobody_else() {
    let mut world = World::new(4);
    let receipt = world.receipt();
    let mut genesis = world.genesis.clone();
    genesis.members[1].consensus = crate::sign::SigningKey::from_seed([5; 32]).public();
    assert_eq!(verify_receipt(&genesis, &receipt, None), Err(ReceiptError::OtherGenesis));
    let mut relabelled = receipt;
    relabelled.genesis = genesis.digest();
    let error = verify_receipt(&genesis, &relabelled, None).unwrap_err();
    assert_eq!(error, ReceiptError::Certificate(CertificateError::BadSignature(1)));
}

#[test]
fn the_record_given_must_be_the_one_laid_open() {
    let mut world = World::new(4);
    let mut receipt = world.receipt();
    let genesis = &world.genesis;
    let mut leaves = patient();
    leaves[2] = Leaf { path: "Patient.name[0].family", kind: LeafKind::String, token: b"\"Mallory\"" };
    let error = verify_receipt(genesis, &receipt, Some(&leaves)).unwrap_err();
    assert_eq!(error, ReceiptError::OtherLeaf("Patient.name[0].family".into()));
    leaves.pop();
    let error = verify_receipt(genesis, &receipt, Some(&leaves)).unwrap_err();
    assert_eq!(error, ReceiptError::OtherLeafCount { given: 4, committed: 5 });
    receipt.openings.remove(3);
    verify_receipt(genesis, &receipt, None).unwrap();
    let error = verify_receipt(genesis, &receipt, Some(&patient())).unwrap_err();
    assert_eq!(error, ReceiptError::OtherLeaf("Patient.multipleBirthInteger".into()));
}

#[test]
fn too_few_attestations_are_seen_although_the_block_is_certified() {
    let mut world = World::new(4);
    let statement = world.statement(0, Digest::default(), 1);
    let tx = world.batch(statement, &[0, 1]).to_canonical();
    // All validators are villains here: no honest one would commit this block.
    world.now.0 += 1000;
    let mut block = world.ledger().build_block(&org(0), &[], world.now, &|_| true).unwrap().block;
    block.txs.push(tx);
    block.header.tx_root = merkle::root(&block.tx_leaves());
    let proof = world.tx_proof(&block, 0);
    verify_tx_proof(&world.genesis, &proof).unwrap();
    let record = world.receipt().record;
    let receipt = Receipt {
        format: consilium_domain::receipt::RECEIPT_FORMAT.into(),
        genesis: world.genesis.digest(),
        batch: Inclusion { index: 0, size: 1, path: vec![] },
        record,
        transaction: proof,
        openings: vec![],
    };
    let error = verify_receipt(&world.genesis, &receipt, None).unwrap_err();
    assert!(matches!(error, ReceiptError::Interop(_)), "{error}");
}

#[test]
fn an_audit_event_is_proven_down_to_its_bytes() {
    let mut world = World::new(4);
    let events: Vec<String> =
        (0..9).map(|i| format!("{{\"resourceType\":\"AuditEvent\",\"id\":\"{i}\"}}")).collect();
    let log: Vec<Digest> = events.iter().map(|e| merkle::leaf_hash(e.as_bytes())).collect();
    let anchor = AuditAnchor { size: 9, root: merkle::root(&log), consistency: vec![] };
    let tx = world.anchor(3, anchor);
    let (block, _) = world.commit(&[world.any_batch("x"), tx]);
    let good = AuditProof {
        format: AUDIT_FORMAT.to_owned(),
        genesis: world.genesis.digest(),
        organisation: org(3),
        event: events[4].clone(),
        inclusion: Inclusion::of(&log, 4).unwrap(),
        transaction: world.tx_proof(&block, 1),
    };
    let verified = verify_audit_proof(&world.genesis, &good).unwrap();
    assert_eq!((verified.index, verified.size, verified.height), (4, 9, Height(1)));
    let forged = |change: &dyn Fn(&mut AuditProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        verify_audit_proof(&world.genesis, &proof).unwrap_err()
    };
    assert_eq!(forged(&|p| p.event = p.event.replace('4', "5")), ReceiptError::NotInLog);
    assert_eq!(forged(&|p| p.inclusion.index = 5), ReceiptError::NotInLog);
    assert_eq!(forged(&|p| p.inclusion.size = 10), ReceiptError::NotInLog);
    assert_eq!(forged(&|p| p.organisation = org(2)), ReceiptError::NotInLog);
    assert_eq!(forged(&|p| p.transaction = world.tx_proof(&block, 0)), ReceiptError::OtherKind);
    assert!(matches!(forged(&|p| p.format = "x".into()), ReceiptError::Format(_)));
}
