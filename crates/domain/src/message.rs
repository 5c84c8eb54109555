//! The envelope of every message between organisations: NATS can drop, delay, reorder and repeat it, not forge it.

use crate::canonical_struct;
use crate::digest::Digest;
use crate::id::{ChannelId, Height, OrgId};
use crate::sign::{Purpose, Signature};
use crate::time::Timestamp;

/// The signed part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub sender: OrgId,
    pub recipient: OrgId,
    /// What the payload is, e.g. `exchange/read`.
    pub subject: String,
    /// Height of the sender's newest block.
    pub height: Height,
    pub time: Timestamp,
    /// Random: a recipient accepts it once within its window. An answer carries its request's.
    pub nonce: Digest,
    pub payload: Vec<u8>,
}
canonical_struct!(Sealed { sender, recipient, subject, height, time, nonce, payload });

impl Sealed {
    /// The bytes that the sending service's key signs.
    pub fn signing_bytes(&self, channel: &ChannelId) -> Vec<u8> {
        Purpose::Message.bytes(channel, self)
    }
}

/// A sealed message and its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub sealed: Sealed,
    pub signature: Signature,
}
canonical_struct!(Envelope { sealed, signature });
