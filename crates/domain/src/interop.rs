//! Proof of interoperability (after Peterson et al. 2016): the signed verdicts of more than two thirds
//! of a batch's committee, without which no batch enters a block.

use crate::canonical_struct;
use crate::digest::Digest;
use crate::group::GroupSignature;
use crate::id::{Height, OrgId};
use serde::{Deserialize, Serialize};

/// What every attester of a batch signs (with [`crate::sign::Purpose::Attestation`], many of them together where there
/// are many): "each record under this
/// root conforms to this schema, as far as its projection shows".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub custodian: OrgId,
    /// RFC 6962 root over the records' commitment digests.
    pub batch_root: Digest,
    pub records: u32,
    /// Validator, profiles and terminology by which the verdict was reached.
    pub schema: Digest,
    /// Committee epoch of the attestation.
    pub epoch: u64,
    /// Last height at which the batch may enter a block.
    pub expires: Height,
}
canonical_struct!(Statement { custodian, batch_root, records, schema, epoch, expires });

/// One committee member's signature that covers a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    pub attester: OrgId,
    pub signed: GroupSignature,
}
canonical_struct!(Attestation { attester, signed });

/// Attestations of a quorum, sorted by attester, each attester once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InteropProof {
    pub attestations: Vec<Attestation>,
}
canonical_struct!(InteropProof { attestations });
