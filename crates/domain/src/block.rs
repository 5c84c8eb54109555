//! Blocks, commit certificates and the bytes that validators sign.

use crate::canon::Canonical;
use crate::canonical_struct;
use crate::digest::Digest;
use crate::id::{ChannelId, Height, OrgId};
use crate::merkle;
use crate::sign::{PublicKey, Purpose, Signature};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the block format.
pub const BLOCK_VERSION: u16 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    pub organisation: OrgId,
    pub key: PublicKey,
    pub power: u64,
}
canonical_struct!(Validator { organisation, key, power });

/// The validators of a height, in a fixed order: a validator's address is its index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorSet {
    pub validators: Vec<Validator>,
}
canonical_struct!(ValidatorSet { validators });

impl ValidatorSet {
    pub fn digest(&self) -> Digest {
        Digest::tagged("consilium/v1/validators", &self.to_canonical())
    }
    pub fn total_power(&self) -> u64 {
        self.validators.iter().fold(0, |sum, v| sum.saturating_add(v.power))
    }
    /// Whether this power is more than two thirds of the whole.
    pub fn is_quorum(&self, power: u64) -> bool {
        u128::from(power) * 3 > u128::from(self.total_power()) * 2
    }
    pub fn index_of(&self, organisation: &OrgId) -> Option<u16> {
        let i = self.validators.iter().position(|v| v.organisation == *organisation)?;
        u16::try_from(i).ok()
    }
}

/// Block header. `state_root`, `log_size` and `log_root` are those *after the previous* block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub version: u16,
    pub channel: ChannelId,
    pub height: Height,
    /// Id of the block before; the genesis digest at height 1.
    pub previous: Digest,
    pub proposer: OrgId,
    pub time: Timestamp,
    /// RFC 6962 root over the transactions' bytes.
    pub tx_root: Digest,
    pub state_root: Digest,
    /// Number of transactions in the ledger log.
    pub log_size: u64,
    pub log_root: Digest,
    /// [`crate::genesis::members_digest`] of the members of the next height: its validators and all service keys.
    pub next_members: Digest,
}
canonical_struct!(Header {
    version,
    channel,
    height,
    previous,
    proposer,
    time,
    tx_root,
    state_root,
    log_size,
    log_root,
    next_members,
});

impl Header {
    /// The block's id: what validators vote on.
    pub fn id(&self) -> Digest {
        Digest::tagged("consilium/v1/block", &self.to_canonical())
    }
}

/// A header and its transactions' canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub header: Header,
    pub txs: Vec<Vec<u8>>,
}
canonical_struct!(Block { header, txs });

impl Block {
    pub fn id(&self) -> Digest {
        self.header.id()
    }
    pub fn tx_leaves(&self) -> Vec<Digest> {
        self.txs.iter().map(|t| merkle::leaf_hash(t)).collect()
    }
}

/// What a validator signs to commit a block, with [`Purpose::Precommit`]; with [`Purpose::Prevote`] it is a prevote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precommit {
    pub height: Height,
    pub round: u32,
    pub block: Option<Digest>,
    /// Index of the validator in its set.
    pub validator: u16,
}
canonical_struct!(Precommit { height, round, block, validator });

impl Precommit {
    pub fn signing_bytes(&self, channel: &ChannelId) -> Vec<u8> {
        Purpose::Precommit.bytes(channel, self)
    }
}

/// What a proposer signs, with [`Purpose::Proposal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    pub height: Height,
    pub round: u32,
    /// Round in which more than two thirds had prevoted this block before, if any.
    pub pol_round: Option<u32>,
    pub block: Digest,
    /// Index of the proposer in its set.
    pub validator: u16,
}
canonical_struct!(Proposal { height, round, pol_round, block, validator });

impl Proposal {
    pub fn signing_bytes(&self, channel: &ChannelId) -> Vec<u8> {
        Purpose::Proposal.bytes(channel, self)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitSignature {
    /// Index of the validator in its set.
    pub validator: u16,
    pub signature: Signature,
}
canonical_struct!(CommitSignature { validator, signature });

/// Precommits of more than two thirds for one block, sorted by validator, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitCertificate {
    pub height: Height,
    pub round: u32,
    pub block: Digest,
    pub signatures: Vec<CommitSignature>,
}
canonical_struct!(CommitCertificate { height, round, block, signatures });
