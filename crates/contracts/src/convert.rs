//! Wire messages from and to the nouns of `consilium_domain`.

use crate::v1::{CommittedTx, Failure, StateRequest, StateResponse};
use consilium_domain::block::{CommitCertificate, Header};
use consilium_domain::genesis::{MEMBERS_KEY, Member};
use consilium_domain::merkle::Inclusion;
use consilium_domain::receipt::{TxProof, ValidatorChange};
use consilium_domain::{CanonError, Canonical, Digest};
use thiserror::Error;

/// A wire message whose parts are not what they should be.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConvertError {
    #[error("`{field}` is not canonical: {cause}")]
    Canonical { field: &'static str, cause: CanonError },
    #[error("`{field}` has {length} bytes, a digest has 32")]
    Digest { field: &'static str, length: usize },
}

impl Failure {
    /// A failure for the wire. `code` is stable and kebab-case; `text` is for a person and holds no
    /// patient's value.
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.to_owned(), text: text.into() }
    }
}

impl StateRequest {
    /// The question who the members are.
    pub fn members() -> Self {
        Self { key: MEMBERS_KEY.to_vec(), current: false, prove: false }
    }
}

impl StateResponse {
    /// The members in the answer to [`StateRequest::members`]; none where the node did not say.
    pub fn members(&self) -> Option<Vec<Member>> {
        self.has_value.then(|| Vec::from_canonical(&self.value).ok()).flatten()
    }
}

impl From<&TxProof> for CommittedTx {
    fn from(proof: &TxProof) -> Self {
        Self {
            tx: proof.tx.clone(),
            index: proof.inclusion.index,
            size: proof.inclusion.size,
            path: proof.inclusion.path.iter().map(|d| d.0.to_vec()).collect(),
            header: proof.header.to_canonical(),
            certificate: proof.certificate.to_canonical(),
            validator_changes: proof.validator_changes.iter().map(Canonical::to_canonical).collect(),
        }
    }
}

impl TryFrom<CommittedTx> for TxProof {
    type Error = ConvertError;

    /// Checks forms only: the proof itself is for `ledger` to verify.
    fn try_from(wire: CommittedTx) -> Result<Self, ConvertError> {
        Ok(Self {
            tx: wire.tx,
            inclusion: Inclusion {
                index: wire.index,
                size: wire.size,
                path: wire.path.iter().map(|d| digest("path", d)).collect::<Result<_, _>>()?,
            },
            header: Header::from_canonical(&wire.header)
                .map_err(|cause| ConvertError::Canonical { field: "header", cause })?,
            certificate: CommitCertificate::from_canonical(&wire.certificate)
                .map_err(|cause| ConvertError::Canonical { field: "certificate", cause })?,
            validator_changes: wire
                .validator_changes
                .iter()
                .map(|c| ValidatorChange::from_canonical(c))
                .collect::<Result<_, _>>()
                .map_err(|cause| ConvertError::Canonical { field: "validator_changes", cause })?,
        })
    }
}

fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, ConvertError> {
    Digest::from_slice(bytes).ok_or(ConvertError::Digest { field, length: bytes.len() })
}
