//! What can go wrong on the bus.

use thiserror::Error;

/// A message could not be sent, answered or received whole.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BusError {
    #[error("nobody answers at `{0}`")]
    NoResponder(String),
    #[error("no answer from `{0}` in time")]
    Timeout(String),
    #[error("the bus is not connected")]
    Disconnected,
    #[error("this service may not use `{0}`: add it to the table in crates/contracts/src/subjects.rs")]
    Forbidden(String),
    #[error("a payload of {size} bytes is above the limit of {limit}")]
    TooLarge { size: u64, limit: u64 },
    #[error("too many large payloads are waiting to be fetched")]
    Busy,
    #[error("a large payload could not be fetched: {0}")]
    Blob(&'static str),
    #[error("the other side's bus refused: `{0}`")]
    Remote(String),
    #[error("the message is not what the subject carries: {0}")]
    Decode(String),
    #[error("the bus failed: {0}")]
    Transport(String),
}

impl BusError {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NoResponder(_) | Self::Timeout(_) | Self::Disconnected | Self::Busy | Self::Blob(_)
        )
    }
}
