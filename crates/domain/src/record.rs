//! Records, their salted leaves and what is left of them for the eyes of others.
//!
//! A leaf is one primitive of a resource: its FHIR path with all indices and its exact JSON token.
//! `value = SHA-256(tag ‖ salt ‖ token)`, `leaf = RFC 6962 leaf hash of (path, kind, value)`. A withheld leaf
//! shows its path, its JSON kind and `value`, so a projection leads to the same root as the record.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::id::OrgId;
use serde::{Deserialize, Serialize};

/// Most leaves that one record may have.
pub const MAX_LEAVES: usize = 200_000;
/// Longest path of a leaf, in bytes.
pub const MAX_PATH: usize = 1024;

/// One version of one FHIR resource at its custodian.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId {
    pub custodian: OrgId,
    pub resource_type: String,
    pub id: String,
    pub version: u64,
}
canonical_struct!(RecordId { custodian, resource_type, id, version });

/// JSON kind of a leaf's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeafKind {
    String,
    Number,
    Boolean,
    /// `null` beside a sibling with extensions in an array of primitives.
    Null,
}

impl Canonical for LeafKind {
    fn encode(&self, out: &mut Encoder) {
        out.u8(match self {
            Self::String => 1,
            Self::Number => 2,
            Self::Boolean => 3,
            Self::Null => 4,
        });
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("leaf kind")? {
            1 => Ok(Self::String),
            2 => Ok(Self::Number),
            3 => Ok(Self::Boolean),
            4 => Ok(Self::Null),
            value => Err(CanonError::Unknown { field: "leaf kind", value: u64::from(value) }),
        }
    }
}

/// What a projection shows of a leaf's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafValue {
    /// The salt and the exact JSON token.
    Shown { salt: Digest, token: Vec<u8> },
    /// Only the salted hash of the token.
    Withheld { value: Digest },
}

impl Canonical for LeafValue {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Shown { salt, token } => out.u8(1).value(salt).bytes(token),
            Self::Withheld { value } => out.u8(2).value(value),
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("leaf value")? {
            1 => Ok(Self::Shown { salt: input.value()?, token: input.value()? }),
            2 => Ok(Self::Withheld { value: input.value()? }),
            value => Err(CanonError::Unknown { field: "leaf value", value: u64::from(value) }),
        }
    }
}

/// One leaf of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectedLeaf {
    /// FHIR path with indices, e.g. `Patient.name[0].family`.
    pub path: String,
    pub kind: LeafKind,
    pub value: LeafValue,
}

impl Canonical for ProjectedLeaf {
    fn encode(&self, out: &mut Encoder) {
        out.str(&self.path).value(&self.kind).value(&self.value);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(Self {
            path: input.str(MAX_PATH, "leaf path")?.to_owned(),
            kind: input.value()?,
            value: input.value()?,
        })
    }
}

/// A record with the leaves that identify a person withheld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    pub resource_type: String,
    /// In document order.
    pub leaves: Vec<ProjectedLeaf>,
}

impl Canonical for Projection {
    fn encode(&self, out: &mut Encoder) {
        out.str(&self.resource_type).list(&self.leaves);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(Self {
            resource_type: input.str(64, "resource type")?.to_owned(),
            leaves: input.list(MAX_LEAVES, "leaves")?,
        })
    }
}

/// What a record's commitment is the digest of: type, number of leaves, root over the leaf hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCommitment {
    pub resource_type: String,
    pub leaf_count: u32,
    pub root: Digest,
}
canonical_struct!(RecordCommitment { resource_type, leaf_count, root });

impl RecordCommitment {
    /// The leaf of the batch tree.
    pub fn digest(&self) -> Digest {
        Digest::tagged("consilium/v1/record", &self.to_canonical())
    }
}
