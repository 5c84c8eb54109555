//! Why an attestation is refused, and how that is said on the bus.

use consilium_contracts::v1::Failure;
use consilium_domain::Digest;
use consilium_ledger::envelope::EnvelopeError;
use thiserror::Error;

/// A refusal. Its text goes to the custodian and holds no value of a record.
#[derive(Debug, Error)]
pub enum Refusal {
    #[error("the request's `{0}` is not readable")]
    Malformed(&'static str),
    #[error("the request is not acceptable: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("the statement is of another custodian than the sender")]
    NotCustodian,
    #[error(
        "the statement names schema {asked}, this organisation validates by {own}: load the same packages"
    )]
    OtherSchema { own: Digest, asked: Digest },
    #[error("the statement is about {claimed} records, {found} projections came with it")]
    RecordCount { claimed: u32, found: usize },
    #[error("the projections do not lead to the statement's batch root")]
    OtherRoot,
    #[error("the projection of record {record} is refused: {why}")]
    Projection { record: usize, why: &'static str },
    #[error("the records do not conform: {errors} errors, see the outcome")]
    NotConforming { outcome: String, errors: usize },
}

impl Refusal {
    /// Stable name for machines and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Envelope(_) => "envelope",
            Self::NotCustodian => "not-custodian",
            Self::OtherSchema { .. } => "other-schema",
            Self::RecordCount { .. } => "record-count",
            Self::OtherRoot => "other-root",
            Self::Projection { .. } => "projection",
            Self::NotConforming { .. } => "not-conforming",
        }
    }

    /// The failure for the wire.
    pub fn failure(&self) -> Failure {
        Failure::new(self.code(), self.to_string())
    }
}
