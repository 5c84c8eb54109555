//! Receipts: everything a stranger needs to check a record offline, from genesis down to one leaf.

use crate::block::{CommitCertificate, Header, ValidatorSet};
use crate::digest::Digest;
use crate::genesis::hexbytes;
use crate::merkle::Inclusion;
use crate::record::{LeafKind, RecordCommitment};
use serde::{Deserialize, Serialize};

/// Name and version of the file format.
pub const RECEIPT_FORMAT: &str = "consilium-receipt/1";

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
