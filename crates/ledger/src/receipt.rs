//! The offline verifier: from the genesis file down to one leaf, trusting nothing else.
//!
//! Limit: validator keys of a past set, stolen later, can sign another history from there on. Members destroy the
//! keys of sets that they left; a verifier who wants more holds a recent block id beside the genesis.

use crate::certificate::{self, CertificateError};
use crate::check::{self, TxError};
use crate::checkpoint::{self, CheckpointError};
use crate::commitment::{self, CommitmentError, Leaf};
use crate::committee;
use crate::interop::{self, InteropError};
use crate::proof::{self, ProofError};
use crate::samples;
use crate::sign;
use consilium_domain::block::{CommitCertificate, Header};
use consilium_domain::genesis::{Genesis, Member, members_digest, validators_of};
use consilium_domain::interop::{InteropProof, Statement};
use consilium_domain::merkle;
use consilium_domain::receipt::{
    AUDIT_FORMAT, AuditProof, CHECKPOINT_FORMAT, CheckpointProof, RECEIPT_FORMAT, Receipt, SAMPLE_FORMAT,
    STATE_FORMAT, SampleProof, StateProof, TRANSACTION_FORMAT, TransactionProof, TxProof, ValidatorChange,
};
use consilium_domain::tx::{Tx, TxBody, tx_id};
use consilium_domain::{Digest, Height, OrgId, Timestamp};
use thiserror::Error;

/// The first step of a verification that fails.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ReceiptError {
    #[error("format: expected `{0}`")]
    Format(&'static str),
    #[error("genesis: the file is of another consortium than the genesis given")]
    OtherGenesis,
    #[error("record: it is not in the batch that the transaction names")]
    NotInBatch,
    #[error("opening: {0}")]
    Opening(CommitmentError),
    #[error("opening: leaf {0} is laid open twice")]
    RepeatedOpening(u64),
    #[error("record: the leaf `{0}` is not as the receipt has it")]
    OtherLeaf(String),
    #[error("record: it has {given} leaves, the receipt is for {committed}")]
    OtherLeafCount { given: usize, committed: u32 },
    #[error("transaction: {0}")]
    Transaction(TxError),
    #[error("transaction: it is of another kind")]
    OtherKind,
    #[error("proof of interoperability: {0}")]
    Interop(InteropError),
    #[error("block: the transaction is not in it")]
    NotInBlock,
    #[error("block: it is of another channel")]
    OtherChannel,
    #[error("commit certificate: {0}")]
    Certificate(CertificateError),
    #[error("members {0}: the header does not announce them, or comes out of order")]
    ValidatorChange(usize),
    #[error("members {index}: {error}")]
    ValidatorCertificate { index: usize, error: CertificateError },
    #[error("audit event: it is not in the log that was anchored")]
    NotInLog,
    #[error("state: {0}")]
    State(ProofError),
    #[error("sample: it is not among those of the transaction")]
    NotInSamples,
    #[error("checkpoint: {0}")]
    Checkpoint(CheckpointError),
    #[error("checkpoint: the header has another size or root of the log")]
    OtherLog,
}

/// What a receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Block that holds the record's batch.
    pub height: Height,
    pub block: Digest,
    /// Time of that block.
    pub time: Timestamp,
    pub custodian: OrgId,
    /// Id of the transaction.
    pub transaction: Digest,
    pub batch_root: Digest,
    /// Schema by which the batch was attested.
    pub schema: Digest,
    /// Members whose attestations stand under it.
    pub attesters: Vec<OrgId>,
    /// How many members the channel had at that height.
    pub members: usize,
    pub resource_type: String,
    /// Leaves of the record, and how many of them the receipt lays open.
    pub leaves: u32,
    pub opened: usize,
}

/// A transaction that is on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTx {
    pub tx: Tx,
    pub id: Digest,
    pub height: Height,
    pub block: Digest,
    pub time: Timestamp,
}

/// What an audit proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAudit {
    pub organisation: OrgId,
    /// Position of the event in the log, and the log's size when it was anchored.
    pub index: u64,
    pub size: u64,
    /// Block of the anchor: the event existed before its time.
    pub height: Height,
    pub block: Digest,
    pub time: Timestamp,
}

/// What a state proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedState {
    /// Height after whose block the state was so.
    pub height: Height,
    /// Time of the block after it: the state held from the block at `height` until then.
    pub until: Timestamp,
}

/// What a sample proof proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSample {
    pub custodian: OrgId,
    /// Commitment digest of the record that describes the series.
    pub series: Digest,
    /// Block of the sample's transaction.
    pub height: Height,
    pub block: Digest,
    pub time: Timestamp,
}

/// What a cosigned checkpoint proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    /// Transactions in the log, and its root.
    pub size: u64,
    pub root: Digest,
    /// Height of the header that says so: the log is as it was after the block before.
    pub height: Height,
    /// Members whose cosignatures stand under it.
    pub cosigners: Vec<OrgId>,
}

/// Verifies a receipt against a genesis. With `record`, the leaves of the whole record in document order, each of
/// them must be laid open in the receipt with the very same token.
///
/// That attesters formed the epoch's committee is what the validators checked before they signed the block; here each
/// attestation is verified to be a member's, and that there are enough for a committee.
pub fn verify_receipt(
    genesis: &Genesis,
    receipt: &Receipt,
    record: Option<&[Leaf<'_>]>,
) -> Result<Verified, ReceiptError> {
    check_format(&receipt.format, RECEIPT_FORMAT)?;
    check_genesis(genesis, &receipt.genesis)?;
    let (verified, members) = verify_tx(genesis, &receipt.transaction)?;
    let TxBody::Batch(batch) = &verified.tx.unsigned.body else { return Err(ReceiptError::OtherKind) };
    let statement = &batch.statement;
    check_interop(genesis, &members, statement, &batch.proof)?;
    let fits = receipt.batch.size == u64::from(statement.records);
    if !fits || !receipt.batch.verify(&receipt.record.digest(), &statement.batch_root) {
        return Err(ReceiptError::NotInBatch);
    }
    let mut seen = std::collections::BTreeSet::new();
    for opening in &receipt.openings {
        commitment::verify_opening(opening, &receipt.record).map_err(ReceiptError::Opening)?;
        if !seen.insert(opening.inclusion.index) {
            return Err(ReceiptError::RepeatedOpening(opening.inclusion.index));
        }
    }
    if let Some(leaves) = record {
        check_record(receipt, leaves)?;
    }
    Ok(Verified {
        height: verified.height,
        block: verified.block,
        time: verified.time,
        custodian: statement.custodian.clone(),
        transaction: verified.id,
        batch_root: statement.batch_root,
        schema: statement.schema,
        attesters: batch.proof.attestations.iter().map(|a| a.attester.clone()).collect(),
        members: members.len(),
        resource_type: receipt.record.resource_type.clone(),
        leaves: receipt.record.leaf_count,
        opened: receipt.openings.len(),
    })
}

/// Verifies that a transaction is in a committed block, signed by its sender.
pub fn verify_tx_proof(genesis: &Genesis, proof: &TxProof) -> Result<VerifiedTx, ReceiptError> {
    verify_tx(genesis, proof).map(|(verified, _)| verified)
}

/// Verifies the file of a transaction's proof.
pub fn verify_transaction_proof(
    genesis: &Genesis,
    proof: &TransactionProof,
) -> Result<VerifiedTx, ReceiptError> {
    check_format(&proof.format, TRANSACTION_FORMAT)?;
    check_genesis(genesis, &proof.genesis)?;
    verify_tx_proof(genesis, &proof.transaction)
}

/// The transaction and the members of its height.
fn verify_tx(genesis: &Genesis, proof: &TxProof) -> Result<(VerifiedTx, Vec<Member>), ReceiptError> {
    let tx = check::check(&proof.tx).map_err(ReceiptError::Transaction)?;
    let members = verify_header(genesis, &proof.header, &proof.certificate, &proof.validator_changes)?;
    if !proof.inclusion.verify(&merkle::leaf_hash(&proof.tx), &proof.header.tx_root) {
        return Err(ReceiptError::NotInBlock);
    }
    let sender = &tx.unsigned.sender;
    let member = members
        .iter()
        .find(|m| m.organisation == *sender)
        .ok_or_else(|| ReceiptError::Transaction(TxError::UnknownSender(sender.clone())))?;
    let role = check::signer(&tx.unsigned.body);
    if !sign::verify_tx(&genesis.channel, &role.key(member), &tx) {
        return Err(ReceiptError::Transaction(TxError::BadSignature(role)));
    }
    let verified = VerifiedTx {
        id: tx_id(&proof.tx),
        tx,
        height: proof.header.height,
        block: proof.header.id(),
        time: proof.header.time,
    };
    Ok((verified, members))
}

/// Verifies that an audit event was in an organisation's log when it was anchored.
pub fn verify_audit_proof(genesis: &Genesis, proof: &AuditProof) -> Result<VerifiedAudit, ReceiptError> {
    check_format(&proof.format, AUDIT_FORMAT)?;
    check_genesis(genesis, &proof.genesis)?;
    let verified = verify_tx_proof(genesis, &proof.transaction)?;
    let TxBody::AuditAnchor(anchor) = &verified.tx.unsigned.body else { return Err(ReceiptError::OtherKind) };
    let leaf = merkle::leaf_hash(proof.event.as_bytes());
    let fits = verified.tx.unsigned.sender == proof.organisation && proof.inclusion.size == anchor.size;
    if !fits || !proof.inclusion.verify(&leaf, &anchor.root) {
        return Err(ReceiptError::NotInLog);
    }
    Ok(VerifiedAudit {
        organisation: proof.organisation.clone(),
        index: proof.inclusion.index,
        size: anchor.size,
        height: verified.height,
        block: verified.block,
        time: verified.time,
    })
}

/// Verifies a state key's value, or its absence, after the block before the proof's header.
pub fn verify_state_proof(genesis: &Genesis, proof: &StateProof) -> Result<VerifiedState, ReceiptError> {
    check_format(&proof.format, STATE_FORMAT)?;
    check_genesis(genesis, &proof.genesis)?;
    verify_header(genesis, &proof.header, &proof.certificate, &proof.validator_changes)?;
    let value = proof.value.as_ref().map(|v| v.0.as_slice());
    proof::verify(&proof.header.state_root, &proof.key, value, &proof.proof).map_err(ReceiptError::State)?;
    Ok(VerifiedState { height: proof.header.height.previous(), until: proof.header.time })
}

/// Verifies that a sample of a device is on the ledger.
pub fn verify_sample_proof(genesis: &Genesis, proof: &SampleProof) -> Result<VerifiedSample, ReceiptError> {
    check_format(&proof.format, SAMPLE_FORMAT)?;
    check_genesis(genesis, &proof.genesis)?;
    let verified = verify_tx_proof(genesis, &proof.transaction)?;
    let TxBody::Samples(batch) = &verified.tx.unsigned.body else { return Err(ReceiptError::OtherKind) };
    if !samples::verify(batch, &proof.sample, &proof.inclusion) {
        return Err(ReceiptError::NotInSamples);
    }
    Ok(VerifiedSample {
        custodian: verified.tx.unsigned.sender.clone(),
        series: batch.series.digest(),
        height: verified.height,
        block: verified.block,
        time: verified.time,
    })
}

/// Verifies a checkpoint of the ledger log: a committed header says the same, and more than two thirds of the members
/// of its height have cosigned it.
pub fn verify_checkpoint_proof(
    genesis: &Genesis,
    proof: &CheckpointProof,
) -> Result<VerifiedCheckpoint, ReceiptError> {
    check_format(&proof.format, CHECKPOINT_FORMAT)?;
    check_genesis(genesis, &proof.genesis)?;
    let members = verify_header(genesis, &proof.header, &proof.certificate, &proof.validator_changes)?;
    let (checkpoint, cosigners) =
        checkpoint::verify(&genesis.channel, &members, &proof.note).map_err(ReceiptError::Checkpoint)?;
    if (checkpoint.size, checkpoint.root) != (proof.header.log_size, proof.header.log_root) {
        return Err(ReceiptError::OtherLog);
    }
    Ok(VerifiedCheckpoint {
        size: checkpoint.size,
        root: checkpoint.root,
        height: proof.header.height,
        cosigners,
    })
}

/// Verifies that a header is committed by the validators that genesis leads to; the members of its height.
pub fn verify_header(
    genesis: &Genesis,
    header: &Header,
    certificate: &CommitCertificate,
    changes: &[ValidatorChange],
) -> Result<Vec<Member>, ReceiptError> {
    let (members, since) = follow(genesis, changes)?;
    if header.channel != genesis.channel {
        return Err(ReceiptError::OtherChannel);
    }
    if header.height <= since {
        return Err(ReceiptError::ValidatorChange(changes.len().saturating_sub(1)));
    }
    certificate::verify(&genesis.channel, &validators_of(&members), header, certificate)
        .map_err(ReceiptError::Certificate)?;
    Ok(members)
}

/// The members after all changes and the height of the header that announced the last one: they are in force from
/// the height after it.
fn follow(genesis: &Genesis, changes: &[ValidatorChange]) -> Result<(Vec<Member>, Height), ReceiptError> {
    let (mut members, mut since) = (&genesis.members, Height(0));
    for (index, change) in changes.iter().enumerate() {
        let announced = change.header.next_members == members_digest(&change.members);
        if !announced || change.header.height <= since || change.header.channel != genesis.channel {
            return Err(ReceiptError::ValidatorChange(index));
        }
        certificate::verify(&genesis.channel, &validators_of(members), &change.header, &change.certificate)
            .map_err(|error| ReceiptError::ValidatorCertificate { index, error })?;
        members = &change.members;
        since = change.header.height;
    }
    Ok((members.clone(), since))
}

/// Signatures of distinct members, as many as the channel's committee needs at least.
fn check_interop(
    genesis: &Genesis,
    members: &[Member],
    statement: &Statement,
    proof: &InteropProof,
) -> Result<(), ReceiptError> {
    let attesters = &proof.attestations;
    let committee: Vec<usize> = (0..members.len())
        .filter(|i| members.get(*i).is_some_and(|m| attesters.iter().any(|a| a.attester == m.organisation)))
        .collect();
    interop::verify(&genesis.channel, members, &committee, statement, proof)
        .map_err(ReceiptError::Interop)?;
    let size = match usize::try_from(genesis.params.committee) {
        Ok(c) if c > 0 => c.min(members.len()),
        _ => members.len(),
    };
    let need = committee::quorum(size);
    if attesters.len() < need {
        return Err(ReceiptError::Interop(InteropError::NoQuorum { have: attesters.len(), need }));
    }
    Ok(())
}

/// The record as given is the one laid open, leaf by leaf and with none left out.
fn check_record(receipt: &Receipt, leaves: &[Leaf<'_>]) -> Result<(), ReceiptError> {
    if u32::try_from(leaves.len()) != Ok(receipt.record.leaf_count) {
        return Err(ReceiptError::OtherLeafCount {
            given: leaves.len(),
            committed: receipt.record.leaf_count,
        });
    }
    let by_index: std::collections::BTreeMap<u64, _> =
        receipt.openings.iter().map(|o| (o.inclusion.index, o)).collect();
    for (index, leaf) in (0..).zip(leaves) {
        let same = by_index
            .get(&index)
            .is_some_and(|o| o.path == leaf.path && o.kind == leaf.kind && o.token.as_bytes() == leaf.token);
        if !same {
            return Err(ReceiptError::OtherLeaf(leaf.path.to_owned()));
        }
    }
    Ok(())
}

fn check_format(found: &str, expected: &'static str) -> Result<(), ReceiptError> {
    if found == expected { Ok(()) } else { Err(ReceiptError::Format(expected)) }
}

fn check_genesis(genesis: &Genesis, named: &Digest) -> Result<(), ReceiptError> {
    if genesis.digest() == *named { Ok(()) } else { Err(ReceiptError::OtherGenesis) }
}
