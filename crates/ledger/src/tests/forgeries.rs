//! Forged receipts, kind by kind. In each of them at least 2f + 1 honest validators have signed the true block, and the
//! forger holds everything public: all blocks, certificates, receipts, and where it says so the keys of f members.

use super::fixture::{Keys, World, org};
use crate::certificate::CertificateError;
use crate::check::TxError;
use crate::commitment::CommitmentError;
use crate::interop::InteropError;
use crate::proof::{self, ProofError};
use crate::receipt::{ReceiptError, verify_receipt, verify_state_proof};
use crate::state;
use consilium_domain::block::{CommitSignature, Precommit};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::members_digest;
use consilium_domain::governance::Action;
use consilium_domain::merkle::{self, Inclusion};
use consilium_domain::receipt::{HexBytes, Receipt, STATE_FORMAT, StateProof};
use consilium_domain::sign::Purpose;
use consilium_domain::tx::{Tx, TxBody};
use consilium_domain::{ChannelId, Digest, Height, Timestamp};

/// A world with a receipt of block 4, which the members of a second set have signed (org 4 joined in block 1).
fn receipt() -> (World, Receipt) {
    let mut world = World::new(4);
    world.keys.push(Keys::new(org(4), 0));
    let tx = world.motion(Action::Admit(world.keys[4].member()), &[0, 1, 2]);
    world.commit(&[tx]);
    world.commit(&[]);
    world.commit(&[]);
    let receipt = world.receipt_by(&[0, 1, 2, 3]);
    verify_receipt(&world.genesis, &receipt, None).unwrap();
    (world, receipt)
}

/// Signs the receipt's header anew, by these validators of its height.
fn recertify(world: &World, receipt: &mut Receipt, signers: &[u16]) {
    let header = receipt.transaction.header.clone();
    let block = consilium_domain::block::Block { header, txs: vec![] };
    receipt.transaction.certificate = world.certificate(&block, signers);
}

/// Replaces the transaction's bytes within the receipt by those of another.
fn with_tx(receipt: &mut Receipt, change: impl FnOnce(&mut Tx)) {
    let mut tx = Tx::from_canonical(&receipt.transaction.tx).unwrap();
    change(&mut tx);
    receipt.transaction.tx = tx.to_canonical();
}

/// A block of the forger's own with this transaction, in the receipt's place.
fn own_block(world: &World, receipt: &mut Receipt, tx: Vec<u8>, signers: &[u16]) {
    let leaf = merkle::leaf_hash(&tx);
    receipt.transaction.tx = tx;
    receipt.transaction.header.tx_root = leaf;
    receipt.transaction.inclusion = Inclusion { index: 0, size: 1, path: vec![] };
    recertify(world, receipt, signers);
}

macro_rules! refused {
    ($($name:ident => $error:pat, |$world:ident, $receipt:ident| $forge:expr;)+) => {$(
        #[test]
        fn $name() {
            let (mut world, mut forged) = receipt();
            {
                let ($world, $receipt) = (&mut world, &mut forged);
                $forge;
                let _ = &$world;
            }
            let error = verify_receipt(&world.genesis, &forged, None).unwrap_err();
            assert!(matches!(error, $error), "{error}");
        }
    )+};
}

refused! {
    // The record.
    another_record_of_the_same_type => ReceiptError::NotInBatch, |w, r| r.record.root = Digest::default();
    another_type => ReceiptError::NotInBatch, |w, r| r.record.resource_type = "Person".into();
    fewer_leaves => ReceiptError::NotInBatch, |w, r| r.record.leaf_count -= 1;
    a_neighbours_place_in_the_batch => ReceiptError::NotInBatch, |w, r| r.batch.index = 0;
    a_larger_batch => ReceiptError::NotInBatch, |w, r| r.batch.size += 1;
    a_shorter_way_to_the_batch => ReceiptError::NotInBatch, |w, r| r.batch.path.truncate(1);
    an_inner_node_as_a_record => ReceiptError::NotInBatch, |w, r| {
        // The path's upper part proves a node that is no record (RFC 6962 §2.1 keeps the two apart).
        r.batch.path.remove(0);
        r.batch.index = 0;
    };
    // The leaves.
    a_value_that_was_never_there => ReceiptError::Opening(_), |w, r| r.openings[2].token = "\"Mallory\"".into();
    a_leaf_under_another_path => ReceiptError::Opening(_), |w, r| r.openings[1].path = "Patient.deceasedBoolean".into();
    a_leaf_of_another_kind => ReceiptError::Opening(CommitmentError::KindMismatch(_)), |w, r| {
        r.openings[1].kind = consilium_domain::record::LeafKind::String;
    };
    another_salt => ReceiptError::Opening(_), |w, r| r.openings[0].salt = Digest::default();
    a_leaf_in_anothers_place => ReceiptError::Opening(_), |w, r| r.openings[0].inclusion.index = 1;
    one_leaf_twice => ReceiptError::RepeatedOpening(1), |w, r| r.openings[0] = r.openings[1].clone();
    // The transaction.
    a_transaction_that_is_in_no_block => ReceiptError::NotInBlock, |w, r| {
        let tx = w.any_batch("never committed").to_canonical();
        r.transaction.tx = tx;
    };
    another_transaction_of_the_block => ReceiptError::NotInBatch, |w, r| {
        let block = &w.chain[3].0;
        r.transaction.tx = block.txs[0].clone();
        r.transaction.inclusion = Inclusion::of(&block.tx_leaves(), 0).unwrap();
        r.batch = Inclusion { index: 0, size: 1, path: vec![] };
    };
    a_transaction_of_another_kind => ReceiptError::OtherKind, |w, r| {
        let (block, certificate) = w.chain[0].clone();
        r.transaction.tx = block.txs[0].clone();
        r.transaction.inclusion = Inclusion::of(&block.tx_leaves(), 0).unwrap();
        r.transaction.header = block.header;
        r.transaction.certificate = certificate;
        r.transaction.validator_changes.clear();
    };
    another_root_in_the_statement => ReceiptError::NotInBlock, |w, r| {
        with_tx(r, |tx| if let TxBody::Batch(b) = &mut tx.unsigned.body { b.statement.batch_root = Digest::default() });
    };
    a_transaction_that_is_no_transaction => ReceiptError::Transaction(TxError::NotCanonical(_)), |w, r| {
        r.transaction.tx.push(0);
    };
    // The block. Its header is what was signed.
    another_time => ReceiptError::Certificate(CertificateError::OtherBlock(_)), |w, r| r.transaction.header.time = Timestamp(1);
    another_proposer => ReceiptError::Certificate(CertificateError::OtherBlock(_)), |w, r| r.transaction.header.proposer = org(3);
    another_height => ReceiptError::Certificate(CertificateError::OtherHeight(_)), |w, r| r.transaction.header.height = Height(5);
    another_root_of_transactions => ReceiptError::Certificate(CertificateError::OtherBlock(_)), |w, r| {
        let tx = w.any_batch("own").to_canonical();
        r.transaction.inclusion = Inclusion { index: 0, size: 1, path: vec![] };
        r.transaction.header.tx_root = merkle::leaf_hash(&tx);
        r.transaction.tx = tx;
    };
    an_inner_node_as_a_transaction => ReceiptError::Transaction(_), |w, r| {
        let leaves = w.chain[3].0.tx_leaves();
        r.transaction.tx = [leaves[0].0, leaves[1].0].concat();
        r.transaction.inclusion = Inclusion { index: 0, size: 2, path: vec![leaves[2]] };
    };
    another_channel => ReceiptError::OtherChannel, |w, r| r.transaction.header.channel = ChannelId::new("claims").unwrap();
    another_genesis => ReceiptError::OtherGenesis, |w, r| r.genesis = Digest::default();
    another_format => ReceiptError::Format(_), |w, r| r.format = "consilium-receipt/1".into();
    // The certificate. f = 1 of these five members is the forger.
    a_block_of_ones_own_signed_by_f => ReceiptError::Certificate(CertificateError::NoQuorum), |w, r| {
        let tx = w.any_batch("own").to_canonical();
        own_block(w, r, tx, &[3]);
    };
    two_thirds_exactly => ReceiptError::Certificate(CertificateError::NoQuorum), |w, r| {
        r.transaction.certificate.signatures.truncate(3);
    };
    one_signer_twice => ReceiptError::Certificate(CertificateError::NotSorted), |w, r| {
        let first = r.transaction.certificate.signatures[0].clone();
        r.transaction.certificate.signatures[1] = first;
    };
    one_signer_under_two_names => ReceiptError::Certificate(CertificateError::BadSignature(1)), |w, r| {
        let mut first = r.transaction.certificate.signatures[0].clone();
        first.validator = 1;
        r.transaction.certificate.signatures[1] = first;
    };
    a_signer_outside_the_set => ReceiptError::Certificate(CertificateError::UnknownValidator(5)), |w, r| {
        r.transaction.certificate.signatures.push(CommitSignature {
            validator: 5,
            signature: w.keys[0].consensus.sign(b"x"),
        });
    };
    nil_votes_as_precommits => ReceiptError::Certificate(CertificateError::BadSignature(0)), |w, r| {
        resign(w, r, |w, v| Purpose::Precommit.bytes(w.channel(), &Precommit { block: None, ..v }));
    };
    prevotes_as_precommits => ReceiptError::Certificate(CertificateError::BadSignature(0)), |w, r| {
        resign(w, r, |w, v| Purpose::Prevote.bytes(w.channel(), &v));
    };
    precommits_of_another_round => ReceiptError::Certificate(CertificateError::BadSignature(0)), |w, r| {
        r.transaction.certificate.round += 1;
    };
    precommits_of_another_block => ReceiptError::Certificate(CertificateError::OtherBlock(_)), |w, r| {
        r.transaction.certificate = w.chain[2].1.clone();
        r.transaction.certificate.height = Height(4);
    };
    // The members.
    members_of_ones_own => ReceiptError::ValidatorCertificate { index: 0, .. }, |w, r| {
        let change = &mut r.transaction.validator_changes[0];
        change.members = vec![w.keys[3].member()];
        change.header.next_members = members_digest(&change.members);
    };
    members_that_no_header_announces => ReceiptError::ValidatorChange(0), |w, r| {
        r.transaction.validator_changes[0].members.truncate(1);
    };
    a_change_of_members_left_out => ReceiptError::Certificate(CertificateError::UnknownValidator(4)), |w, r| {
        recertify(w, r, &[1, 2, 3, 4]);
        r.transaction.validator_changes.clear();
    };
    a_change_of_members_too_early => ReceiptError::ValidatorChange(0), |w, r| {
        let (block, certificate) = w.chain[0].clone();
        r.transaction.header = block.header;
        r.transaction.certificate = certificate;
    };
    // The proof of interoperability, in a block of villains: even more than 2f + 1 signatures do not make up for it.
    fewer_attestations_than_a_quorum => ReceiptError::Interop(InteropError::NoQuorum { .. }), |w, r| {
        let tx = w.batch(w.statement(0, r.record.digest(), 1), &[0, 1, 2]).to_canonical();
        r.batch = Inclusion { index: 0, size: 1, path: vec![] };
        own_block(w, r, tx, &[0, 1, 2, 3, 4]);
    };
    attestations_of_strangers => ReceiptError::Interop(InteropError::NotMember(_)), |w, r| {
        w.keys.extend((5..9).map(|i| Keys::new(org(i), 0)));
        let tx = w.batch(w.statement(0, r.record.digest(), 1), &[5, 6, 7, 8]).to_canonical();
        own_block(w, r, tx, &[0, 1, 2, 3, 4]);
    };
    attestations_of_another_statement => ReceiptError::Interop(InteropError::BadSignature(_)), |w, r| {
        let mut other = w.statement(0, r.record.digest(), 1);
        let proof = w.attest(&other, &[0, 1, 2, 3]);
        other.schema = Digest::default();
        let body = TxBody::Batch(consilium_domain::tx::Batch { statement: other, proof });
        let tx = w.sign(0, body).to_canonical();
        own_block(w, r, tx, &[0, 1, 2, 3, 4]);
    };
    a_batch_signed_by_another_service => ReceiptError::Transaction(TxError::BadSignature(_)), |w, r| {
        let tx = w.batch(w.statement(0, r.record.digest(), 1), &[0, 1, 2, 3]);
        let tx = w.keys[0].validate.sign_tx(w.channel(), tx.unsigned).to_canonical();
        own_block(w, r, tx, &[0, 1, 2, 3, 4]);
    };
    a_batch_of_somebody_who_is_no_member => ReceiptError::Transaction(TxError::UnknownSender(_)), |w, r| {
        w.keys.push(Keys::new(org(5), 0));
        let tx = w.batch(w.statement(5, r.record.digest(), 1), &[0, 1, 2, 3]).to_canonical();
        own_block(w, r, tx, &[0, 1, 2, 3, 4]);
    };
}

/// Replaces the certificate's signatures by those over other bytes.
fn resign(world: &World, receipt: &mut Receipt, bytes: impl Fn(&World, Precommit) -> Vec<u8>) {
    let certificate = &mut receipt.transaction.certificate;
    for s in &mut certificate.signatures {
        let vote = Precommit {
            height: certificate.height,
            round: certificate.round,
            block: Some(certificate.block),
            validator: s.validator,
        };
        s.signature = world.keys[usize::from(s.validator)].consensus.sign(&bytes(world, vote));
    }
}

/// A consent's state and the absence of another, as of block 2.
fn states() -> (World, [StateProof; 2]) {
    let mut world = World::new(4);
    let key = crate::SigningKey::from_seed([9; 32]);
    world.commit(&[world.any_batch("x"), world.consent("here", 1, &key, &key)]);
    world.commit(&[world.consent("here", 2, &key, &key)]);
    let (block, _) = world.commit(&[]);
    let one = |handle: &[u8]| {
        let key = state::consent_key(&Digest::tagged("test/consent", handle));
        let (value, proof) = proof::prove(&world.view, Height(2), &key).unwrap();
        StateProof {
            format: STATE_FORMAT.to_owned(),
            genesis: world.genesis.digest(),
            key,
            value: value.map(HexBytes),
            proof,
            header: block.header.clone(),
            certificate: world.certificate(&block, &[0, 1, 2]),
            validator_changes: vec![],
        }
    };
    let proofs = [one(b"here"), one(b"gone")];
    for p in &proofs {
        verify_state_proof(&world.genesis, p).unwrap();
    }
    (world, proofs)
}

macro_rules! state_refused {
    ($($name:ident => $error:pat, |$world:ident, $here:ident, $gone:ident| $forge:expr;)+) => {$(
        #[test]
        fn $name() {
            let (world, [here, gone]) = states();
            let ($world, $here, $gone) = (&world, here, gone);
            let forged: StateProof = $forge;
            let error = verify_state_proof(&world.genesis, &forged).unwrap_err();
            assert!(matches!(error, $error), "{error}");
        }
    )+};
}

state_refused! {
    another_value_of_a_key => ReceiptError::State(ProofError::Mismatch), |_w, here, _gone| StateProof {
        value: Some(HexBytes(vec![1])),
        ..here
    };
    absence_of_a_key_that_is_there => ReceiptError::State(ProofError::Mismatch), |_w, here, _gone| StateProof {
        value: None,
        ..here
    };
    absence_of_a_key_by_anothers_proof => ReceiptError::State(ProofError::Mismatch), |_w, here, gone| StateProof {
        key: here.key,
        ..gone
    };
    presence_of_a_key_that_is_not_there => ReceiptError::State(ProofError::Mismatch), |_w, here, gone| StateProof {
        value: here.value,
        ..gone
    };
    the_value_of_another_key => ReceiptError::State(ProofError::Mismatch), |_w, here, gone| StateProof {
        key: gone.key,
        ..here
    };
    an_old_value_under_a_new_header => ReceiptError::State(ProofError::Mismatch), |w, here, _gone| {
        let (value, proof) = proof::prove(&w.view, Height(1), &here.key).unwrap();
        StateProof { value: value.map(HexBytes), proof, ..here }
    };
    a_state_root_that_nobody_signed => ReceiptError::Certificate(CertificateError::OtherBlock(_)), |_w, here, _gone| {
        let mut forged = here;
        forged.header.state_root = Digest::default();
        forged
    };
    two_proofs_in_one => ReceiptError::State(ProofError::Malformed), |_w, here, gone| StateProof {
        proof: [here.proof.clone(), gone.proof].concat(),
        ..here
    };
}

/// The other kinds, and where they are refused: audit events in `receipts`, samples in `samples`, checkpoints in
/// `checkpoints`, chains of members in `membership`, other channels in `channels`.
#[test]
fn the_genesis_is_all_that_is_trusted() {
    let (world, receipt) = receipt();
    let mut own = world.genesis.clone();
    own.members = (0..4).map(|i| Keys::new(org(i), 1).member()).collect();
    let mut rewritten = receipt.clone();
    rewritten.genesis = own.digest();
    assert!(verify_receipt(&own, &rewritten, None).is_err());
    assert_eq!(verify_receipt(&world.genesis, &rewritten, None), Err(ReceiptError::OtherGenesis));
}
