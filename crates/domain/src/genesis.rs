//! Genesis: all that an offline verifier has to trust.

use crate::block::{Validator, ValidatorSet};
use crate::canon::{Canonical, Encoder};
use crate::canonical_struct;
use crate::digest::Digest;
use crate::id::{ChannelId, OrgId};
use crate::sign::PublicKey;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Bytes shown as hexadecimal in JSON.
pub mod hexbytes {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        hex::decode(text).map_err(|_| serde::de::Error::custom("expected bytes in hexadecimal"))
    }
}

/// Where the ledger's state has the members of the next block, a canonical `Vec<Member>` in the order of their names.
pub const MEMBERS_KEY: &[u8] = b"members";

/// One organisation and the keys of its services. Each service holds its own private key and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub organisation: OrgId,
    /// Votes and proposals of the consensus service.
    pub consensus: PublicKey,
    /// Attestations of the validate service.
    pub validate: PublicKey,
    /// Batches, consents and exchange messages of the ingest service.
    pub ingest: PublicKey,
    /// Anchors of the audit service.
    pub audit: PublicKey,
    /// Votes on profile sets and motions: an offline key of the organisation's officers.
    pub governance: PublicKey,
    /// Cosignatures of the ledger log's checkpoints (C2SP tlog-cosignature), by the consensus service. It never signs a
    /// vote, and the consensus key never signs a checkpoint.
    pub cosign: PublicKey,
    /// Public key of the organisation's attribute authority, as the abe crate encodes it.
    #[serde(with = "hexbytes")]
    pub authority: Vec<u8>,
}
canonical_struct!(Member { organisation, consensus, validate, ingest, audit, governance, cosign, authority });

impl Member {
    /// All signature keys.
    pub fn keys(&self) -> [PublicKey; 6] {
        [self.consensus, self.validate, self.ingest, self.audit, self.governance, self.cosign]
    }
}

/// What a header says of the members of the next height.
pub fn members_digest(members: &[Member]) -> Digest {
    let mut out = Encoder::default();
    out.list(members);
    Digest::tagged("consilium/v1/members", &out.into_bytes())
}

/// The validators of these members, in their order: one of power 1 per organisation.
pub fn validators_of(members: &[Member]) -> ValidatorSet {
    let one = |m: &Member| Validator { organisation: m.organisation.clone(), key: m.consensus, power: 1 };
    ValidatorSet { validators: members.iter().map(one).collect() }
}

/// Numbers that all members must agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Members of a batch's committee; 0 = all.
    pub committee: u32,
    /// Blocks per committee epoch.
    pub epoch_blocks: u64,
    /// Most blocks between attestation and commit.
    pub attestation_blocks: u64,
    /// Largest block body in bytes.
    pub max_block_bytes: u32,
    /// Age of the newest block, in milliseconds, above which the exchange refuses.
    pub staleness_ms: u64,
    /// Milliseconds without transactions after which an empty block is proposed.
    pub heartbeat_ms: u64,
    /// Most that a block's time may differ from a voter's clock, in milliseconds.
    pub drift_ms: u64,
}
canonical_struct!(Params {
    committee,
    epoch_blocks,
    attestation_blocks,
    max_block_bytes,
    staleness_ms,
    heartbeat_ms,
    drift_ms,
});

impl Default for Params {
    fn default() -> Self {
        Self {
            committee: 0,
            epoch_blocks: 1000,
            attestation_blocks: 10_000,
            max_block_bytes: 1024 * 1024,
            staleness_ms: 2000,
            heartbeat_ms: 400,
            drift_ms: 5000,
        }
    }
}

/// The first state of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    pub channel: ChannelId,
    pub time: Timestamp,
    /// Sorted by organisation; a validator's index is its place here.
    pub members: Vec<Member>,
    /// Schema digests by which batches may be attested.
    pub schemas: Vec<Digest>,
    pub params: Params,
}
canonical_struct!(Genesis { channel, time, members, schemas, params });

impl Genesis {
    /// What stands in place of a parent in block 1.
    pub fn digest(&self) -> Digest {
        Digest::tagged("consilium/v1/genesis", &self.to_canonical())
    }
    pub fn member(&self, organisation: &OrgId) -> Option<&Member> {
        self.members.iter().find(|m| m.organisation == *organisation)
    }
    /// The validator set of the first blocks: one validator of power 1 per organisation.
    pub fn validators(&self) -> ValidatorSet {
        validators_of(&self.members)
    }
}
