//! Disputes: the leaf that proves attestations false.
//!
//! A verdict is a pure function of schema and bytes, so whoever attested a record in which a leaf does not conform has
//! lied or not looked. Either the fault can be seen by the ledger itself in the opened leaf, or more than two thirds of
//! the organisations, to whom the leaf was opened outside the ledger, sign that it does not conform: then only its hash
//! stands here, since a value that identifies a person must not.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::interop::Attestation;
use crate::merkle::Inclusion;
use crate::receipt::Opening;
use crate::record::RecordCommitment;
use crate::tx::MAX_TX;
use serde::{Deserialize, Serialize};

/// What an organisation signs, with [`crate::sign::Purpose::Finding`] and its validate key: "this leaf of this record does not
/// conform to this schema".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    pub batch_root: Digest,
    /// Commitment digest of the record.
    pub record: Digest,
    /// Leaf hash.
    pub leaf: Digest,
    pub schema: Digest,
}
canonical_struct!(Finding { batch_root, record, leaf, schema });

/// Where the fault is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The ledger sees it: the path is of another resource type, `resourceType` is not the committed type, or a number
    /// is no JSON number.
    Evident(Opening),
    /// Findings of more than two thirds of all members, sorted by organisation, each once.
    Judged { leaf: Digest, inclusion: Inclusion, findings: Vec<Attestation> },
}

impl Canonical for Fault {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Evident(v) => out.u8(1).value(v),
            Self::Judged { leaf, inclusion, findings } => {
                out.u8(2).value(leaf).value(inclusion).list(findings)
            }
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("fault")? {
            1 => input.value().map(Self::Evident),
            2 => Ok(Self::Judged {
                leaf: input.value()?,
                inclusion: input.value()?,
                findings: input.list(1024, "findings")?,
            }),
            value => Err(CanonError::Unknown { field: "fault", value: u64::from(value) }),
        }
    }
}

/// A dispute of one record of a committed batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispute {
    /// The batch's transaction as it stands on the ledger: it names the attesters.
    #[serde(with = "crate::genesis::hexbytes")]
    pub batch: Vec<u8>,
    pub record: RecordCommitment,
    /// The record's place in the batch.
    pub place: Inclusion,
    pub fault: Fault,
}

impl Canonical for Dispute {
    fn encode(&self, out: &mut Encoder) {
        out.bytes(&self.batch).value(&self.record).value(&self.place).value(&self.fault);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(Self {
            batch: input.bytes(MAX_TX, "batch")?.to_vec(),
            record: input.value()?,
            place: input.value()?,
            fault: input.value()?,
        })
    }
}
