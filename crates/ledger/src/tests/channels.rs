//! Channels are strangers to each other, even with the same members, keys and heights.

use super::fixture::{World, known_none, org};
use super::notices::one_of_each;
use crate::apply::BlockError;
use crate::certificate::{self, CertificateError};
use crate::checkpoint;
use crate::interop;
use crate::receipt::{ReceiptError, verify_header, verify_receipt, verify_sample_proof};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::Params;
use consilium_domain::receipt::{Receipt, ValidatorChange};
use consilium_domain::{Digest, Height};

/// The same members with the same keys on two channels.
fn twins() -> (World, World) {
    (World::on("care", 4, Params::default()), World::on("claims", 4, Params::default()))
}

#[test]
fn no_transaction_of_one_channel_enters_another() {
    let (mut care, mut claims) = twins();
    let txs = one_of_each(&mut care);
    // So that everything a transaction refers to is on both.
    let own = one_of_each(&mut claims);
    assert_eq!(txs.len(), 11);
    for (tx, twin) in txs.iter().zip(&own) {
        claims.ledger().check_tx(&twin.to_canonical()).unwrap();
        let error = claims.ledger().check_tx(&tx.to_canonical()).unwrap_err();
        // A signature fails, or what the transaction refers to is not there.
        assert!(error.to_string().contains("signature") || error.to_string().contains("ledger"), "{error}");
        let built = claims.ledger().build_block(&org(0), &[tx.to_canonical()], claims.now, &known_none);
        assert!(built.unwrap().block.txs.is_empty());
    }
}

#[test]
fn no_signature_within_a_transaction_counts_elsewhere() {
    let (care, claims) = twins();
    // The outer signature is of the right channel, the inner ones are not.
    let statement = care.statement(0, Digest::default(), 1);
    let proof = care.attest(&statement, &[0, 1, 2]);
    let all = [0, 1, 2, 3];
    interop::verify(care.channel(), &care.genesis.members, &all, &statement, &proof).unwrap();
    assert!(interop::verify(claims.channel(), &claims.genesis.members, &all, &statement, &proof).is_err());
    for tx in [
        care.motion(consilium_domain::governance::Action::Remove(org(3)), &[0, 1, 2]),
        care.any_batch("x"),
        care.consent("x", 1, &care.keys[0].ingest, &care.keys[0].ingest),
    ] {
        let moved = claims.sign(0, tx.unsigned.body.clone());
        claims.ledger().check_tx(&moved.to_canonical()).unwrap_err();
        care.ledger().check_tx(&care.sign(0, tx.unsigned.body).to_canonical()).unwrap();
    }
}

#[test]
fn no_block_certificate_receipt_or_checkpoint_of_one_channel_proves_anything_on_another() {
    let (mut care, mut claims) = twins();
    let receipt = care.receipt();
    verify_receipt(&care.genesis, &receipt, None).unwrap();
    let judge = |r: &Receipt| verify_receipt(&claims.genesis, r, None).unwrap_err();
    assert_eq!(judge(&receipt), ReceiptError::OtherGenesis);
    let mut renamed = receipt.clone();
    renamed.genesis = claims.genesis.digest();
    assert_eq!(judge(&renamed), ReceiptError::OtherChannel);
    renamed.transaction.header.channel = claims.channel().clone();
    assert!(matches!(judge(&renamed), ReceiptError::Certificate(CertificateError::OtherBlock(_))));
    renamed.transaction.certificate.block = renamed.transaction.header.id();
    assert!(matches!(judge(&renamed), ReceiptError::Certificate(CertificateError::BadSignature(0))));
    // Blocks: the same height on both.
    let (block, _) = care.commit(&[]);
    claims.commit(&[]);
    assert_eq!(claims.ledger().apply_block(&block).unwrap_err(), BlockError::Header("channel"));
    let (certificate, set) = (care.certificate(&block, &[0, 1, 2]), claims.genesis.validators());
    certificate::verify(care.channel(), &set, &block.header, &certificate).unwrap();
    assert!(certificate::verify(claims.channel(), &set, &block.header, &certificate).is_err());
    // Changes of the members.
    let change = ValidatorChange {
        header: block.header.clone(),
        certificate: certificate.clone(),
        members: care.genesis.members.clone(),
    };
    let (other, _) = claims.commit(&[]);
    let signed = claims.certificate(&other, &[0, 1, 2]);
    let error = verify_header(&claims.genesis, &other.header, &signed, &[change]).unwrap_err();
    assert_eq!(error, ReceiptError::ValidatorChange(0));
    // Checkpoints.
    let lines: Vec<String> =
        care.keys.iter().map(|k| checkpoint::cosign(&k.cosign, &k.organisation, &block.header)).collect();
    let note = checkpoint::note(&checkpoint::text(&block.header), &lines);
    checkpoint::verify(care.channel(), &care.genesis.members, &note).unwrap();
    assert!(checkpoint::verify(claims.channel(), &claims.genesis.members, &note).is_err());
    let renamed =
        note.replace("/ledger/care", "/ledger/claims").replace("/cosigner/care/", "/cosigner/claims/");
    assert!(checkpoint::verify(claims.channel(), &claims.genesis.members, &renamed).is_err());
}

#[test]
fn a_series_of_samples_belongs_to_one_channel() {
    let (mut care, mut claims) = twins();
    let (series, samples) = super::samples::described(&mut care, 0, 20);
    care.commit(&[super::samples::batch(&care, &series, 0, &samples)]);
    let proof = super::samples::proof(&care, 2, &samples, 3);
    verify_sample_proof(&care.genesis, &proof).unwrap();
    let mut renamed = proof;
    renamed.genesis = claims.genesis.digest();
    assert_eq!(verify_sample_proof(&claims.genesis, &renamed), Err(ReceiptError::OtherChannel));
    // Not even its description is known there.
    let moved = super::samples::batch(&claims, &series, 0, &samples).to_canonical();
    claims.ledger().check_tx(&moved).unwrap_err();
    claims.commit(&[]);
}

#[test]
fn what_one_channel_counts_the_other_does_not_see() {
    let (mut care, mut claims) = twins();
    claims.commit(&[]);
    let before = claims.ledger().state_root();
    let txs = one_of_each(&mut care);
    care.commit(&txs);
    let ledger = claims.ledger();
    assert_eq!((ledger.state_root(), ledger.log_size(), ledger.head().height), (before, 0, Height(1)));
    for key in [crate::state::motions_key(), crate::state::evidence_key(&org(2))] {
        assert!(care.ledger().get(&key).unwrap().is_some());
        assert!(ledger.get(&key).unwrap().is_none());
    }
}
