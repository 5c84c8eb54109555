//! Commit certificates: more than two thirds of the voting power signed one block's precommit.

use crate::sign;
use consilium_domain::block::{CommitCertificate, Header, Precommit, ValidatorSet};
use consilium_domain::{ChannelId, Digest, Height};
use thiserror::Error;

/// Why a certificate commits nothing.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CertificateError {
    #[error("the certificate is for height {0}, the header for another")]
    OtherHeight(Height),
    #[error("the certificate is for block {0}, the header has another id")]
    OtherBlock(Digest),
    #[error("the certificate's signatures are not sorted by validator, each validator once")]
    NotSorted,
    #[error("the certificate names validator {0}, which the set does not have")]
    UnknownValidator(u16),
    #[error("the precommit of validator {0} does not verify")]
    BadSignature(u16),
    #[error("the signers do not hold more than two thirds of the voting power")]
    NoQuorum,
}

/// Checks that `certificate` commits `header` by this validator set on this channel.
pub fn verify(
    channel: &ChannelId,
    validators: &ValidatorSet,
    header: &Header,
    certificate: &CommitCertificate,
) -> Result<(), CertificateError> {
    if certificate.height != header.height {
        return Err(CertificateError::OtherHeight(certificate.height));
    }
    if certificate.block != header.id() {
        return Err(CertificateError::OtherBlock(certificate.block));
    }
    if !certificate.signatures.is_sorted_by(|a, b| a.validator < b.validator) {
        return Err(CertificateError::NotSorted);
    }
    // Power first: a certificate below the quorum costs its reader no signature checks.
    let mut power = 0_u64;
    for s in &certificate.signatures {
        let validator = validators
            .validators
            .get(usize::from(s.validator))
            .ok_or(CertificateError::UnknownValidator(s.validator))?;
        power = power.saturating_add(validator.power);
    }
    if !validators.is_quorum(power) {
        return Err(CertificateError::NoQuorum);
    }
    for s in &certificate.signatures {
        let vote = Precommit {
            height: certificate.height,
            round: certificate.round,
            block: Some(certificate.block),
            validator: s.validator,
        };
        let key = validators.validators.get(usize::from(s.validator)).map(|v| v.key);
        if !key.is_some_and(|k| sign::verify(&k, &vote.signing_bytes(channel), &s.signature)) {
            return Err(CertificateError::BadSignature(s.validator));
        }
    }
    Ok(())
}
