//! Ledger transactions: what may enter a block.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::dispute::Dispute;
use crate::evidence::Evidence;
use crate::governance::Governance;
use crate::group::GroupSignature;
use crate::id::{Height, OrgId};
use crate::interop::{InteropProof, Statement};
use crate::samples::SampleBatch;
use crate::sign::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

/// Largest transaction, in bytes: an entry of a C2SP tile log has no more (c2sp.org/tlog-tiles).
pub const MAX_TX: usize = 65_535;

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
/// (for version 1: its own), with [`crate::sign::Purpose::Consent`].
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
    /// First height at which the decision counts, at the earliest the one after the block that carries it. Votes for
    /// different heights are not votes for the same thing.
    pub activates: Height,
    /// Distinguishes a later vote on the same digest from a replay; must grow per sender and digest.
    pub round: u64,
}
canonical_struct!(ProfileVote { schema, admit, activates, round });

/// The sender's access policies in force from a height on: whoever is refused can later ask by which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyNotice {
    /// From 1; each notice is exactly one more.
    pub version: u64,
    /// Digest of the policies as the sender evaluates them. It says nothing of a patient.
    pub digest: Digest,
    /// First height at which they are in force; not before the block of the notice.
    pub activates: Height,
}
canonical_struct!(PolicyNotice { version, digest, activates });

/// The sender's attribute authority begins an epoch: what is encrypted from now on is closed to keys of earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEpoch {
    /// From 1; each announcement is exactly one more.
    pub epoch: u64,
    /// Digest of the authority's public keys of this epoch.
    pub keys: Digest,
}
canonical_struct!(KeyEpoch { epoch, keys });

/// Defines an enum of unit variants with one octet each and its canonical form.
macro_rules! octet_enum {
    ($(#[$doc:meta])* $type:ident, $field:literal { $($(#[$vdoc:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $type { $($(#[$vdoc])* $variant),+ }

        impl Canonical for $type {
            fn encode(&self, out: &mut Encoder) {
                out.u8(match self { $(Self::$variant => $value),+ });
            }
            fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
                match input.u8($field)? {
                    $($value => Ok(Self::$variant),)+
                    value => Err(CanonError::Unknown { field: $field, value: u64::from(value) }),
                }
            }
        }
    };
}

octet_enum!(
    /// A class of things whose destruction makes data unreadable for good (crypto-shredding).
    ErasedKind, "erased kind" {
        /// Seeds of record commitments: nobody can tie the commitment to a value again.
        RecordSeed = 1,
        /// Data keys of records.
        DataKey = 2,
        /// Class keys: all records of a compartment, sensitivity and epoch.
        ClassKey = 3,
        /// Secrets of an attribute authority's epoch.
        AuthorityKey = 4,
        /// Backups, destroyed or proven unreadable.
        Backup = 5,
    }
);

octet_enum!(
    /// Why something was destroyed.
    ErasureGround, "erasure ground" {
        /// The person asked for it (GDPR Art. 17).
        Request = 1,
        /// The time for which it had to be kept is over.
        Retention = 2,
        /// It should never have been stored.
        Mistake = 3,
        /// A court or an authority ordered it.
        Order = 4,
    }
);

/// What class of thing the sender has destroyed, how much of it and why; the block says when. Never whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// From 1; each record of a sender is exactly one more.
    pub sequence: u64,
    pub kind: ErasedKind,
    pub ground: ErasureGround,
    /// How many were destroyed.
    pub count: u32,
    /// Digest of the sender's own record: by whom, when, and a salted commitment to what. Who is shown that record sees
    /// by this that it is the one; the digest alone tells nothing.
    pub record: Digest,
}
canonical_struct!(Erasure { sequence, kind, ground, count, record });

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TxBody {
    Batch(Batch),
    Consent(ConsentChange),
    AuditAnchor(AuditAnchor),
    ProfileVote(ProfileVote),
    Governance(Governance),
    Evidence(Evidence),
    Dispute(Dispute),
    Policy(PolicyNotice),
    KeyEpoch(KeyEpoch),
    Erasure(Erasure),
    Samples(SampleBatch),
}

impl Canonical for TxBody {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Batch(v) => out.u8(1).value(v),
            Self::Consent(v) => out.u8(2).value(v),
            Self::AuditAnchor(v) => out.u8(3).value(v),
            Self::ProfileVote(v) => out.u8(4).value(v),
            Self::Governance(v) => out.u8(5).value(v),
            Self::Evidence(v) => out.u8(6).value(v),
            Self::Dispute(v) => out.u8(7).value(v),
            Self::Policy(v) => out.u8(8).value(v),
            Self::KeyEpoch(v) => out.u8(9).value(v),
            Self::Erasure(v) => out.u8(10).value(v),
            Self::Samples(v) => out.u8(11).value(v),
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("transaction kind")? {
            1 => input.value().map(Self::Batch),
            2 => input.value().map(Self::Consent),
            3 => input.value().map(Self::AuditAnchor),
            4 => input.value().map(Self::ProfileVote),
            5 => input.value().map(Self::Governance),
            6 => input.value().map(Self::Evidence),
            7 => input.value().map(Self::Dispute),
            8 => input.value().map(Self::Policy),
            9 => input.value().map(Self::KeyEpoch),
            10 => input.value().map(Self::Erasure),
            11 => input.value().map(Self::Samples),
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

/// A transaction as it travels and as it stands in a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tx {
    /// By the key of the sender's service that speaks in transactions of this kind (`consilium_ledger::check::signer`),
    /// with [`crate::sign::Purpose::Transaction`]; many at once where there are many.
    pub signed: GroupSignature,
    pub unsigned: UnsignedTx,
}
canonical_struct!(Tx { signed, unsigned });

/// Identity of a transaction for deduplication: the digest of all its bytes.
pub fn tx_id(bytes: &[u8]) -> Digest {
    Digest::tagged("consilium/v1/tx", bytes)
}
