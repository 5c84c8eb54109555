//! Evidence: two messages of one validator that no correct validator signs both.
//!
//! It is recorded and shown, never punished by the ledger itself: a validator that lost its write-ahead log looks the
//! same. What follows from it is for a motion to say.

use crate::block::{Precommit, Proposal};
use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::id::{ChannelId, Height};
use crate::sign::{Purpose, Signature};
use serde::{Deserialize, Serialize};

/// What a validator signs in a round (Buchman, Kwon, Milosevic 2018, algorithm 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Prevote(Precommit),
    Precommit(Precommit),
    Proposal(Proposal),
}

impl Step {
    /// The bytes under the signature.
    pub fn signing_bytes(&self, channel: &ChannelId) -> Vec<u8> {
        match self {
            Self::Prevote(v) => Purpose::Prevote.bytes(channel, v),
            Self::Precommit(v) => Purpose::Precommit.bytes(channel, v),
            Self::Proposal(v) => v.signing_bytes(channel),
        }
    }
    pub fn height(&self) -> Height {
        match self {
            Self::Prevote(v) | Self::Precommit(v) => v.height,
            Self::Proposal(v) => v.height,
        }
    }
    pub fn round(&self) -> u32 {
        match self {
            Self::Prevote(v) | Self::Precommit(v) => v.round,
            Self::Proposal(v) => v.round,
        }
    }
    /// Index of the validator in the set of the height.
    pub fn validator(&self) -> u16 {
        match self {
            Self::Prevote(v) | Self::Precommit(v) => v.validator,
            Self::Proposal(v) => v.validator,
        }
    }
    /// The block that it is for; `None` = nil.
    pub fn block(&self) -> Option<Digest> {
        match self {
            Self::Prevote(v) | Self::Precommit(v) => v.block,
            Self::Proposal(v) => Some(v.block),
        }
    }
}

impl Canonical for Step {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Prevote(v) => out.u8(1).value(v),
            Self::Precommit(v) => out.u8(2).value(v),
            Self::Proposal(v) => out.u8(3).value(v),
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("step")? {
            1 => input.value().map(Self::Prevote),
            2 => input.value().map(Self::Precommit),
            3 => input.value().map(Self::Proposal),
            value => Err(CanonError::Unknown { field: "step", value: u64::from(value) }),
        }
    }
}

/// A step and the signature of its validator's consensus key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStep {
    pub step: Step,
    pub signature: Signature,
}
canonical_struct!(SignedStep { step, signature });

/// Two steps of the same kind, height, round and validator for different blocks; the smaller encoding first, so that a
/// pair has one form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    pub first: SignedStep,
    pub second: SignedStep,
}
canonical_struct!(Evidence { first, second });

impl Evidence {
    /// Puts the two in their order.
    pub fn new(a: SignedStep, b: SignedStep) -> Self {
        if a.step.to_canonical() <= b.step.to_canonical() {
            Self { first: a, second: b }
        } else {
            Self { first: b, second: a }
        }
    }

    /// Whether the two contradict each other. Their signatures are another matter.
    pub fn contradicts(&self) -> bool {
        let (a, b) = (&self.first.step, &self.second.step);
        std::mem::discriminant(a) == std::mem::discriminant(b)
            && (a.height(), a.round(), a.validator()) == (b.height(), b.round(), b.validator())
            && a.block() != b.block()
            && a.to_canonical() < b.to_canonical()
    }
}
