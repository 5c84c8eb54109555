//! The nouns of Consilium: organisations, records, commitments, interop proofs, consents, blocks,
//! receipts, and the one canonical byte encoding over which everything is hashed and signed.
//!
//! Nothing here does I/O, reads a clock or draws randomness; no crate of ours is imported.
#![deny(clippy::float_arithmetic)]

pub mod block;
pub mod canon;
pub mod digest;
pub mod dispute;
pub mod draws;
pub mod evidence;
pub mod genesis;
pub mod governance;
pub mod group;
pub mod id;
pub mod interop;
pub mod merkle;
pub mod message;
pub mod officers;
pub mod port;
pub mod receipt;
pub mod record;
pub mod samples;
pub mod sign;
pub mod time;
pub mod tx;

pub use canon::{CanonError, Canonical, Decoder, Encoder};
pub use digest::Digest;
pub use id::{ChannelId, Height, OrgId};
pub use sign::{PublicKey, Signature};
pub use time::{Clock, Timestamp};
