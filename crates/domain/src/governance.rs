//! Motions: what more than two thirds of the organisations decide together.
//!
//! Approvals are collected outside the ledger, signed by each organisation's offline governance key, and enter as one
//! transaction. A motion carries the number of the next motion, so it can be carried once; all others that were being
//! signed at the time lapse.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::genesis::Member;
use crate::id::{ChannelId, Height, OrgId};
use crate::sign::{Purpose, Signature};
use serde::{Deserialize, Serialize};

/// An organisation's batches and samples are refused and its attestations do not count below a height. It still
/// votes on blocks: taking that away is [`Action::Remove`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sanction {
    pub organisation: OrgId,
    /// First height at which it is over. One that is not ahead lifts the sanction in force.
    pub until: Height,
    /// Id of the transaction that gave the grounds (evidence, dispute); all zeros when they lie outside the ledger.
    pub grounds: Digest,
}
canonical_struct!(Sanction { organisation, until, grounds });

/// What is decided. Changes of the members take effect two heights after their block, one at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A new organisation joins.
    Admit(Member),
    /// An organisation leaves. What it signed stays verifiable.
    Remove(OrgId),
    /// A member's services get new keys: the whole entry is replaced.
    Rotate(Member),
    Sanction(Sanction),
}

impl Canonical for Action {
    fn encode(&self, out: &mut Encoder) {
        match self {
            Self::Admit(v) => out.u8(1).value(v),
            Self::Remove(v) => out.u8(2).value(v),
            Self::Rotate(v) => out.u8(3).value(v),
            Self::Sanction(v) => out.u8(4).value(v),
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        match input.u8("action")? {
            1 => input.value().map(Self::Admit),
            2 => input.value().map(Self::Remove),
            3 => input.value().map(Self::Rotate),
            4 => input.value().map(Self::Sanction),
            value => Err(CanonError::Unknown { field: "action", value: u64::from(value) }),
        }
    }
}

/// What the organisations sign, with [`Purpose::Motion`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Motion {
    /// One more than the motions carried so far on this ledger.
    pub sequence: u64,
    /// Last height at which it may enter a block.
    pub expires: Height,
    pub action: Action,
}
canonical_struct!(Motion { sequence, expires, action });

impl Motion {
    /// The bytes that each approving organisation's governance key signs.
    pub fn signing_bytes(&self, channel: &ChannelId) -> Vec<u8> {
        Purpose::Motion.bytes(channel, self)
    }
}

/// One organisation's signature under a motion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    pub organisation: OrgId,
    pub signature: Signature,
}
canonical_struct!(Approval { organisation, signature });

/// A motion with its approvals, sorted by organisation, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Governance {
    pub motion: Motion,
    pub approvals: Vec<Approval>,
}
canonical_struct!(Governance { motion, approvals });
