//! Blocks, commit certificates and the bytes that validators sign.

use crate::canon::{CanonError, Canonical, Decoder, MAX_BYTES, MAX_ITEMS};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::id::{ChannelId, Height, OrgId};
use crate::merkle;
use crate::sign::{PublicKey, Purpose, Signature};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the block format.
pub const BLOCK_VERSION: u16 = 3;

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

    /// Header and leaf hashes of a block's canonical bytes, without copying the transactions.
    ///
    /// # Errors
    /// For the same bytes as [`Canonical::from_canonical`].
    pub fn outline(bytes: &[u8]) -> Result<(Header, Vec<Digest>), CanonError> {
        let mut input = Decoder::new(bytes);
        let header = input.value()?;
        let count = input.u32("list")? as usize;
        if count > MAX_ITEMS {
            return Err(CanonError::TooLong("list"));
        }
        let mut leaves = Vec::new();
        for _ in 0..count {
            leaves.push(merkle::leaf_hash(input.bytes(MAX_BYTES, "bytes")?));
        }
        input.finish()?;
        Ok((header, leaves))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_is_given_for_what_decodes_and_for_nothing_else() {
        let header = Header {
            version: BLOCK_VERSION,
            channel: ChannelId::new("care").unwrap(),
            height: Height(3),
            previous: Digest([1; 32]),
            proposer: OrgId::new("general").unwrap(),
            time: Timestamp(7),
            tx_root: Digest([2; 32]),
            state_root: Digest([3; 32]),
            log_size: 5,
            log_root: Digest([4; 32]),
            next_members: Digest([5; 32]),
        };
        let block = Block { header, txs: vec![vec![1; 3], Vec::new(), vec![2; 40]] };
        let bytes = block.to_canonical();
        assert_eq!(Block::outline(&bytes), Ok((block.header.clone(), block.tx_leaves())));
        let longer = [bytes.as_slice(), &[0]].concat();
        for other in (0..bytes.len()).map(|cut| &bytes[..cut]).chain([longer.as_slice()]) {
            let decoded = Block::from_canonical(other);
            assert_eq!(Block::outline(other).unwrap_err(), decoded.unwrap_err());
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            let decoded = Block::from_canonical(&changed).map(|b| (b.header.clone(), b.tx_leaves()));
            assert_eq!(Block::outline(&changed), decoded, "byte {at}");
        }
    }
}
