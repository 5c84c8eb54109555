//! Receipts: everything a stranger needs to check a record offline, from genesis down to one leaf.

use crate::block::{CommitCertificate, Header, ValidatorSet};
use crate::digest::Digest;
use crate::genesis::hexbytes;
use crate::id::OrgId;
use crate::merkle::Inclusion;
use crate::record::{LeafKind, RecordCommitment};
use serde::{Deserialize, Serialize};

/// Name and version of the file format.
pub const RECEIPT_FORMAT: &str = "consilium-receipt/1";
/// Name and version of the file format of [`AuditProof`].
pub const AUDIT_FORMAT: &str = "consilium-audit-proof/1";
/// Name and version of the file format of [`StateProof`].
pub const STATE_FORMAT: &str = "consilium-state-proof/1";

/// A leaf laid open: salt, token and the way to the record's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    pub path: String,
    pub kind: LeafKind,
    pub salt: Digest,
    /// The exact JSON token.
    pub token: String,
    pub inclusion: Inclusion,
}

/// A transaction's place in a committed block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxProof {
    /// Canonical bytes of the transaction.
    #[serde(with = "hexbytes")]
    pub tx: Vec<u8>,
    pub inclusion: Inclusion,
    pub header: Header,
    pub certificate: CommitCertificate,
    /// Each change of the validator set between genesis and this block, oldest first: the header that
    /// announced it, its certificate by the set before, the new set.
    pub validator_changes: Vec<ValidatorChange>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorChange {
    pub header: Header,
    pub certificate: CommitCertificate,
    pub validators: ValidatorSet,
}

/// A record's receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`RECEIPT_FORMAT`].
    pub format: String,
    /// Digest of the genesis that the verifier must hold.
    pub genesis: Digest,
    pub record: RecordCommitment,
    /// The record's place in the batch.
    pub batch: Inclusion,
    pub transaction: TxProof,
    /// Leaves that the holder lays open; none = the commitment alone.
    pub openings: Vec<Opening>,
}

/// Proof that an audit event was in an organisation's log when the ledger anchored it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditProof {
    /// [`AUDIT_FORMAT`].
    pub format: String,
    /// Digest of the genesis that the verifier must hold.
    pub genesis: Digest,
    pub organisation: OrgId,
    /// The event's bytes, exactly as they were logged.
    pub event: String,
    /// The event's place in the log of the anchored size.
    pub inclusion: Inclusion,
    /// The anchor ([`crate::tx::AuditAnchor`]) on the ledger.
    pub transaction: TxProof,
}

/// Proof of a key of the state tree, or of its absence, after a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateProof {
    /// [`STATE_FORMAT`].
    pub format: String,
    /// Digest of the genesis that the verifier must hold.
    pub genesis: Digest,
    #[serde(with = "hexbytes")]
    pub key: Vec<u8>,
    /// Absent: the key is not in the tree.
    pub value: Option<HexBytes>,
    /// The tree's proof, as the ledger crate encodes it.
    #[serde(with = "hexbytes")]
    pub proof: Vec<u8>,
    /// Header of the block *after* the state: it carries the state's root.
    pub header: Header,
    pub certificate: CommitCertificate,
    pub validator_changes: Vec<ValidatorChange>,
}

/// Bytes that JSON shows as hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HexBytes(#[serde(with = "hexbytes")] pub Vec<u8>);
