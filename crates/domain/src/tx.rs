//! Ledger transactions: what may enter a block.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::id::{ChannelId, OrgId};
use crate::interop::{InteropProof, Statement};
use crate::sign::{PublicKey, Purpose, Signature};
use serde::{Deserialize, Serialize};

/// Largest transaction, in bytes.
pub const MAX_TX: usize = 64 * 1024;

/// The records of one request under one root, with the proof that they are interoperable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    pub statement: Statement,
    pub proof: InteropProof,
}
canonical_struct!(Batch { statement, proof });

/// Whether a consent counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsentStatus {
    Active,
    /// Revoked, rejected or entered in error: FHIR says `inactive` and the like.
    Inactive,
}

impl Canonical for ConsentStatus {
    fn encode(&self, out: &mut Encoder) {
        out.u8(match self {
            Self::Active => 1,
            Self::Inactive => 2,
        });
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("consent status")? {
            1 => Ok(Self::Active),
            2 => Ok(Self::Inactive),
            value => Err(CanonError::Unknown { field: "consent status", value: u64::from(value) }),
        }
    }
}

/// The enforceable core of a FHIR Consent. The handle is random: it names no patient and links no two consents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentCore {
    pub handle: Digest,
    /// From 1; each change is exactly one more.
    pub version: u64,
    pub status: ConsentStatus,
    /// Commitment digest of the Consent resource in this version.
    pub content: Digest,
    /// Whoever holds this key may change the consent: the patient or a delegate. Fresh per consent.
    pub controller: PublicKey,
}
canonical_struct!(ConsentCore { handle, version, status, content, controller });

/// A consent core and the signature of the controller that the *previous* version named
/// (for version 1: its own), with [`Purpose::Consent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentChange {
    pub core: ConsentCore,
    pub signature: Signature,
}
canonical_struct!(ConsentChange { core, signature });

/// A checkpoint of the sender's audit log, with the proof that it extends the one anchored before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditAnchor {
    pub size: u64,
    pub root: Digest,
    pub consistency: Vec<Digest>,
}
canonical_struct!(AuditAnchor { size, root, consistency });

/// A vote to add a schema digest to (or take it from) the set by which batches may be attested.
/// It takes effect when more than two thirds of the organisations have cast it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileVote {
    pub schema: Digest,
    /// 1 = admit, 0 = withdraw.
    pub admit: u16,
    /// Distinguishes a later vote on the same digest from a replay; must grow per sender and digest.
    pub round: u64,
}
canonical_struct!(ProfileVote { schema, admit, round });

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TxBody {
    Batch(Batch),
    Consent(ConsentChange),
    AuditAnchor(AuditAnchor),
    ProfileVote(ProfileVote),
}

impl Canonical for TxBody {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Batch(v) => out.u8(1).value(v),
            Self::Consent(v) => out.u8(2).value(v),
            Self::AuditAnchor(v) => out.u8(3).value(v),
            Self::ProfileVote(v) => out.u8(4).value(v),
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("transaction kind")? {
            1 => input.value().map(Self::Batch),
            2 => input.value().map(Self::Consent),
            3 => input.value().map(Self::AuditAnchor),
            4 => input.value().map(Self::ProfileVote),
            value => Err(CanonError::Unknown { field: "transaction kind", value: u64::from(value) }),
        }
    }
}

/// The signed part of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsignedTx {
    pub sender: OrgId,
    pub body: TxBody,
}
canonical_struct!(UnsignedTx { sender, body });

impl UnsignedTx {
    /// The bytes that the sender's service key signs.
    pub fn signing_bytes(&self, channel: &ChannelId) -> Vec<u8> {
        Purpose::Transaction.bytes(channel, self)
    }
}

/// A transaction as it travels and as it stands in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tx {
    pub unsigned: UnsignedTx,
    /// By the sender's ingest key (batch, consent), audit key (anchor) or governance key (vote).
    pub signature: Signature,
}
canonical_struct!(Tx { unsigned, signature });

/// Identity of a transaction for deduplication: the digest of all its bytes.
pub fn tx_id(bytes: &[u8]) -> Digest {
    Digest::tagged("consilium/v1/tx", bytes)
}
