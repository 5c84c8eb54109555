//! Receipts: everything a stranger needs to check a record offline, from genesis down to one leaf.

use crate::block::{CommitCertificate, Header};
use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::genesis::{Member, hexbytes};
use crate::id::OrgId;
use crate::merkle::Inclusion;
use crate::record::{LeafKind, MAX_PATH, RecordCommitment};
use crate::samples::Sample;
use serde::{Deserialize, Serialize};

/// Name and version of the file format.
pub const RECEIPT_FORMAT: &str = "consilium-receipt/3";
/// Name and version of the file format of [`AuditProof`].
pub const AUDIT_FORMAT: &str = "consilium-audit-proof/3";
/// Name and version of the file format of [`StateProof`].
pub const STATE_FORMAT: &str = "consilium-state-proof/2";
/// Name and version of the file format of [`SampleProof`].
pub const SAMPLE_FORMAT: &str = "consilium-sample-proof/2";
/// Name and version of the file format of [`CheckpointProof`].
pub const CHECKPOINT_FORMAT: &str = "consilium-checkpoint-proof/1";
/// Name and version of the file format of [`TransactionProof`].
pub const TRANSACTION_FORMAT: &str = "consilium-transaction-proof/2";

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

impl Canonical for Opening {
    fn encode(&self, out: &mut Encoder) {
        out.str(&self.path).value(&self.kind).value(&self.salt).str(&self.token).value(&self.inclusion);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(Self {
            path: input.str(MAX_PATH, "leaf path")?.to_owned(),
            kind: input.value()?,
            salt: input.value()?,
            token: input.value()?,
            inclusion: input.value()?,
        })
    }
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
    /// Each change of the members between genesis and this block, oldest first.
    pub validator_changes: Vec<ValidatorChange>,
}

/// A change of the members: the header that announced it, its certificate by the set before, the members after.
/// They are in force from the height after that header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorChange {
    pub header: Header,
    pub certificate: CommitCertificate,
    pub members: Vec<Member>,
}
canonical_struct!(ValidatorChange { header, certificate, members });

/// Proof that a transaction of any kind is on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionProof {
    /// [`TRANSACTION_FORMAT`].
    pub format: String,
    /// Digest of the genesis that the verifier must hold.
    pub genesis: Digest,
    pub transaction: TxProof,
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

/// Proof of one sample of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleProof {
    /// [`SAMPLE_FORMAT`].
    pub format: String,
    /// Digest of the genesis that the verifier must hold.
    pub genesis: Digest,
    pub sample: Sample,
    /// The sample's place among those of its transaction.
    pub inclusion: Inclusion,
    /// The [`crate::samples::SampleBatch`] on the ledger.
    pub transaction: TxProof,
}

/// A cosigned checkpoint of the ledger log and the committed header that says the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointProof {
    /// [`CHECKPOINT_FORMAT`].
    pub format: String,
    /// Digest of the genesis that the verifier must hold.
    pub genesis: Digest,
    /// The checkpoint as a C2SP signed note.
    pub note: String,
    /// A header with this size and root.
    pub header: Header,
    pub certificate: CommitCertificate,
    pub validator_changes: Vec<ValidatorChange>,
}
