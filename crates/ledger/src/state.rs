//! What the state tree holds, under which keys, and the view through which it is read.
//!
//! State keys are readable text (`consent/<handle>`); the tree holds them by SHA-256. The key-value keys of tree
//! nodes, values and the log's frontier all begin with [`PREFIX`] and are private to this crate.

use consilium_domain::canon::Canonical;
use consilium_domain::canonical_struct;
use consilium_domain::port::kv::Pair;
use consilium_domain::tx::ConsentCore;
use consilium_domain::{Digest, Height, OrgId, Timestamp};
use thiserror::Error;

/// First bytes of every key-value key that this crate writes.
pub const PREFIX: &[u8] = b"ledger/";

/// The view could not be read, or holds something that this crate did not write. The node stops: it must not decide
/// on a state that it cannot see.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the ledger state cannot be read: {0}")]
pub struct ReadError(pub String);

/// A consistent read-only view of the key-value pairs that [`crate::Applied::writes`] have built up. It must not
/// change while a [`crate::Ledger`] uses it.
pub trait StateRead {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;
    /// The pair with the greatest key in `from <= key <= to`.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, ReadError>;
}

/// Key of the [`HeadRecord`], written by every block.
pub fn head_key() -> Vec<u8> {
    b"head".to_vec()
}
/// Key of the canonical `Genesis`.
pub fn genesis_key() -> Vec<u8> {
    b"genesis".to_vec()
}
/// Key of the canonical `Vec<Member>`, sorted by organisation.
pub fn members_key() -> Vec<u8> {
    b"members".to_vec()
}
/// Key of the canonical `Params`.
pub fn params_key() -> Vec<u8> {
    b"params".to_vec()
}
/// Key of a schema's [`SchemaRecord`]; absent unless batches may be attested by it.
pub fn schema_key(schema: &Digest) -> Vec<u8> {
    format!("schema/{schema}").into_bytes()
}
/// Key of a batch's [`BatchRecord`] by its root.
pub fn batch_key(root: &Digest) -> Vec<u8> {
    format!("batch/{root}").into_bytes()
}
/// Key of a consent's [`ConsentRecord`] by its handle.
pub fn consent_key(handle: &Digest) -> Vec<u8> {
    format!("consent/{handle}").into_bytes()
}
/// Key of an organisation's newest [`AnchorRecord`].
pub fn anchor_key(organisation: &OrgId) -> Vec<u8> {
    format!("anchor/{organisation}").into_bytes()
}
/// Key of an organisation's newest [`VoteRecord`] on a schema.
pub fn vote_key(schema: &Digest, organisation: &OrgId) -> Vec<u8> {
    format!("vote/{schema}/{organisation}").into_bytes()
}
/// Key of an epoch's committee seed: the `Digest` of the last block before it. The current and the previous epoch's
/// are kept; epoch 0 has none, its seed is the genesis digest.
pub fn epoch_key(epoch: u64) -> Vec<u8> {
    format!("epoch/{epoch}").into_bytes()
}

/// The newest block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRecord {
    pub height: Height,
    pub time: Timestamp,
    /// Id of the block; the genesis digest at height 0.
    pub block: Digest,
}
canonical_struct!(HeadRecord { height, time, block });

/// A schema by which batches may be attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaRecord {
    /// Height at which it was admitted.
    pub since: Height,
}
canonical_struct!(SchemaRecord { since });

/// A committed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRecord {
    pub height: Height,
    pub custodian: OrgId,
    pub records: u32,
}
canonical_struct!(BatchRecord { height, custodian, records });

/// A consent as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRecord {
    pub core: ConsentCore,
    /// Height of this version.
    pub height: Height,
    /// Who brought it to the ledger.
    pub sender: OrgId,
}
canonical_struct!(ConsentRecord { core, height, sender });

/// The newest anchored checkpoint of an audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorRecord {
    pub size: u64,
    pub root: Digest,
    pub height: Height,
}
canonical_struct!(AnchorRecord { size, root, height });

/// An organisation's standing vote on a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRecord {
    pub admit: u16,
    pub round: u64,
}
canonical_struct!(VoteRecord { admit, round });

/// Decodes what this crate wrote.
pub(crate) fn decode<T: Canonical>(bytes: &[u8], what: &str) -> Result<T, ReadError> {
    T::from_canonical(bytes).map_err(|e| ReadError(format!("`{what}`: {e}")))
}
