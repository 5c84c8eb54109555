//! What goes into a step.

use crate::Body;
use crate::output::TimerTag;
use crate::rotation::Rotation;
use consilium_domain::block::ValidatorSet;
use consilium_domain::{ChannelId, Digest, OrgId};
use std::time::Duration;

/// How long to wait in each step. Local: members may differ. Grows by `delta` per round up to `cap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the proposal of round 0 (`timeoutPropose`, arXiv:1807.04938 line 57).
    pub propose: Duration,
    /// After more than two thirds of any prevotes (line 61).
    pub prevote: Duration,
    /// After more than two thirds of any precommits (line 65).
    pub precommit: Duration,
    /// Added per round.
    pub delta: Duration,
    /// Silence after which own votes and certificates are sent again.
    pub rebroadcast: Duration,
    /// Patience when a peer is one height ahead, before asking for the block.
    pub sync_grace: Duration,
    /// Wait for an answer to a sync request before asking the next peer.
    pub sync_retry: Duration,
    /// Ceiling of all of them.
    pub cap: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            propose: Duration::from_secs(3),
            prevote: Duration::from_secs(1),
            precommit: Duration::from_secs(1),
            delta: Duration::from_millis(500),
            rebroadcast: Duration::from_secs(5),
            sync_grace: Duration::from_millis(300),
            sync_retry: Duration::from_millis(1000),
            cap: Duration::from_secs(60),
        }
    }
}

/// Bounds on what others can make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest body in bytes.
    pub body: usize,
    /// How many heights ahead messages are kept.
    pub heights_ahead: u64,
    /// Messages kept per sender and future height.
    pub per_sender: usize,
    /// Proposals kept per sender and future height; each may carry a body.
    pub proposals_per_sender: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 2 * 1024 * 1024, heights_ahead: 2, per_sender: 32, proposals_per_sender: 2 }
    }
}

/// Fixed for a state's life.
#[derive(Debug, Clone)]
pub struct Config {
    /// Stands in every signature, so nothing from another channel counts here.
    pub channel: ChannelId,
    /// Who we are. Outside the validator set we follow and sign nothing.
    pub organisation: OrgId,
    pub timeouts: Timeouts,
    pub limits: Limits,
    /// The id of a body, `None` if the bytes are no body at all. Pure; two bodies never share an id.
    pub identify: fn(&[u8]) -> Option<Digest>,
}

/// Where a body came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A proposal that is up for a vote.
    Proposal,
    /// A proposal that more than two thirds have prevoted: honest voters among them have found its time right when
    /// it was new. Rules that bind only who sees it first (such as clock drift) do not apply any more; otherwise
    /// whoever received it late could never join those who are locked on it. A refusal is just a vote against it.
    Polka,
    /// More than two thirds have committed to it already: those rules do not apply either, and a refusal stops
    /// this node.
    Sync,
}

/// A body that was persisted for the height that is being recovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredBody {
    /// The round for which this node built it, if it did.
    pub built_for: Option<u32>,
    pub body: Body,
}

/// What a node finds on its disk for the height after its newest committed one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Entries of [`crate::Output::PersistWal`] for this height, in order.
    pub wal: Vec<Vec<u8>>,
    /// Bodies of [`crate::Output::PersistBody`] for this height.
    pub bodies: Vec<RecoveredBody>,
}

/// An event for [`crate::step`].
#[derive(Debug, Clone)]
pub enum Input {
    /// Begin a height. Only after the previous height's [`crate::Output::Decide`] is durably applied.
    StartHeight {
        height: u64,
        validators: ValidatorSet,
        /// Who proposes in which round.
        rotation: Rotation,
        /// `false` = follow and sync but sign nothing (lost log, see the ledger design).
        participate: bool,
        /// After a restart: what the disk holds of this height. Empty otherwise.
        recovery: Recovery,
    },
    /// The answer to [`crate::Output::RequestValue`]. Its body must be acceptable to the application.
    ProposeBody { height: u64, round: u32, body: Body },
    /// Bytes of a [`crate::Output::Send`] of some peer. Nothing in them is believed without a signature.
    NetworkMessage(Vec<u8>),
    /// A timer set by [`crate::Output::SetTimer`] ran out. Late and cancelled ones are ignored.
    TimerFired(TimerTag),
    /// The answer to [`crate::Output::RequestSync`]: bytes of [`crate::wire::SyncResponse`].
    SyncResponse { peer: OrgId, bytes: Vec<u8> },
    /// Messages may have been lost on the way here: find out at once whether anybody is ahead.
    Missed,
    /// The answer to [`crate::Output::ValidateBody`].
    BodyValidated { height: u64, id: Digest, origin: Origin, valid: bool },
}
