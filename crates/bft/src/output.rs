//! What comes out of a step.

use crate::Body;
use crate::input::Origin;
use consilium_domain::block::CommitCertificate;
use consilium_domain::{Digest, OrgId};
use std::time::Duration;
use thiserror::Error;

/// Names a timer of one height; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerTag {
    pub height: u64,
    pub generation: u64,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    All,
    One(OrgId),
}

/// What kind of message it is, for subjects and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Vote,
    Proposal,
    Certificate,
    Control,
}

/// Two signed messages of one validator that contradict each other. Both are wire messages that anyone can
/// check. Recorded and shown, never punished by itself: a node that lost its log does this honestly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub validator: OrgId,
    pub first: Vec<u8>,
    pub second: Vec<u8>,
}

/// An instruction to the driver. See the crate documentation for the order in which to carry them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Keep this body of this height until the height is applied. `built_for` = we built it for that round.
    PersistBody {
        height: u64,
        id: Digest,
        built_for: Option<u32>,
        body: Body,
    },
    /// Append to the log of this height.
    PersistWal {
        height: u64,
        entry: Vec<u8>,
    },
    /// At most once is enough, order does not matter.
    Send {
        to: Recipient,
        class: Class,
        bytes: Vec<u8>,
    },
    SetTimer {
        tag: TimerTag,
        after: Duration,
    },
    CancelTimer {
        tag: TimerTag,
    },
    /// Build a body and answer with [`crate::Input::ProposeBody`] well within `within`.
    RequestValue {
        height: u64,
        round: u32,
        within: Duration,
    },
    /// Judge this body and answer with [`crate::Input::BodyValidated`].
    ValidateBody {
        height: u64,
        round: u32,
        id: Digest,
        body: Body,
        proposer: OrgId,
        origin: Origin,
    },
    /// Fetch this height's body and certificate from `peer`; answer with [`crate::Input::SyncResponse`].
    RequestSync {
        height: u64,
        peer: OrgId,
    },
    /// For logs and metrics.
    RoundStarted {
        height: u64,
        round: u32,
        proposer: OrgId,
    },
    /// Final. Apply it durably (body, certificate, state in one batch), drop the log and the bodies of this
    /// height, then give [`crate::Input::StartHeight`] of the next.
    Decide {
        height: u64,
        id: Digest,
        body: Body,
        certificate: CommitCertificate,
        evidence: Vec<Evidence>,
    },
    /// A peer sent something that no correct node sends.
    Blame {
        peer: OrgId,
        reason: &'static str,
    },
}

impl Output {
    /// Whether it must be durable before any other output of its step is carried out.
    pub fn is_persist(&self) -> bool {
        matches!(self, Self::PersistBody { .. } | Self::PersistWal { .. })
    }
}

/// The state can no longer be trusted to sign: drop it, stop the node, look at the cause, restart from disk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Poisoned {
    #[error("the consensus core failed: {0}")]
    Core(String),
    #[error("the write-ahead log of height {0} cannot be read: {1}")]
    Log(u64, String),
    #[error("the body of block {0} at height {1} is in the log but not on the disk")]
    MissingBody(Digest, u64),
    #[error("more than two thirds committed to block {0} at height {1}, which the application refuses")]
    RefusedCommit(Digest, u64),
    #[error("the validator set of height {0} is unusable: {1}")]
    Validators(u64, crate::SetError),
    #[error("height {asked} was started while height {current} is undecided or ahead")]
    Order { asked: u64, current: u64 },
}
