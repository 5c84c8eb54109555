//! Why a request was refused, and what of it the caller is told.

use consilium_abe::{AbeError, PolicyError};
use consilium_contracts::v1::Failure;
use thiserror::Error;

/// A key operation was refused or failed.
#[derive(Debug, Error)]
pub enum KeysError {
    #[error("`{field}` {rule}")]
    Invalid { field: &'static str, rule: &'static str },
    #[error("the policy is not acceptable: {0}")]
    Policy(#[from] PolicyError),
    #[error("there is no such class")]
    UnknownClass,
    #[error("the class has no such epoch")]
    UnknownEpoch,
    /// Attributes that do not satisfy, and headers that do not open: not told apart.
    #[error("the caller's attributes do not open this class")]
    Denied,
    #[error("too many class keys were asked for by one caller: wait a minute")]
    RateLimited,
    #[error(transparent)]
    Abe(#[from] AbeError),
    #[error(transparent)]
    Vault(#[from] crate::vault::VaultError),
    #[error("the class was destroyed: no key of it exists any more")]
    Erased,
    #[error(transparent)]
    Seal(#[from] crate::seal::SealError),
    /// What the authority's own key or the members' keys are wrong about.
    #[error(transparent)]
    Authority(#[from] crate::authority::AuthorityError),
    #[error("{0}")]
    Refused(String),
    #[error("a key operation was interrupted")]
    Interrupted,
}

impl KeysError {
    /// The stable code of the wire's `Failure`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::Policy(_) | Self::Abe(_) => "invalid",
            Self::Erased => "erased",
            Self::Refused(_) | Self::Seal(_) => "refused",
            Self::UnknownClass | Self::UnknownEpoch => "not-found",
            Self::Denied => "denied",
            Self::RateLimited => "rate-limited",
            Self::Vault(_) | Self::Authority(_) | Self::Interrupted => "unavailable",
        }
    }

    /// What the caller is told; what went wrong inside stays in the log.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Vault(_) | Self::Authority(_) | Self::Interrupted => {
                Failure::new(self.code(), "the key store is not available")
            }
            told => Failure::new(told.code(), told.to_string()),
        }
    }
}
