//! A state as one list of pairs: what a joining node loads instead of executing every block since genesis.
//!
//! The pairs are the tree's keys (SHA-256 of the state keys) in ascending order with their values. The root over them
//! depends on nothing else, so whoever has them can compare it with a header that validators have certified: the one of
//! the next block holds this state's root and the log's.

use crate::apply::{Applied, Ledger};
use crate::state::{self, HeadRecord, ReadError};
use crate::tree;
use consilium_domain::block::Header;
use consilium_domain::merkle::Frontier;
use consilium_domain::port::kv::Pair;
use consilium_domain::{Canonical, Digest, Height};
use jmt::KeyHash;
use thiserror::Error;

/// Why a snapshot is not the state that it claims to be.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SnapshotError {
    #[error("the snapshot's `{0}` is not what the certified header says")]
    Differs(&'static str),
    #[error("the snapshot's keys do not ascend")]
    NotSorted,
    #[error("the snapshot's log frontier is damaged")]
    Frontier,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// One value of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// SHA-256 of the state key.
    pub key: Digest,
    pub value: Vec<u8>,
}
consilium_domain::canonical_struct!(Leaf { key, value });

/// Bounds (`from <= key < to`) of the key-value pairs that hold the state's values, old versions included.
pub fn value_range() -> (Vec<u8>, Vec<u8>) {
    tree::value_range()
}

/// Gathers the leaves of the state at one height out of the pairs of [`value_range`] in ascending order.
#[derive(Debug)]
pub struct Gather {
    height: Height,
    /// Key, version and value of the newest version of a key so far.
    newest: Option<(Digest, u64, Option<Vec<u8>>)>,
}

impl Gather {
    pub fn new(height: Height) -> Self {
        Self { height, newest: None }
    }

    /// Takes the next pair in; gives a leaf when it is certain.
    ///
    /// # Errors
    /// When the pair is not one that this crate has written.
    pub fn pair(&mut self, (key, value): &Pair) -> Result<Option<Leaf>, ReadError> {
        let (hash, version, value) = tree::value_pair(key, value)?;
        let hash = Digest(hash);
        if version > self.height.0 {
            return Ok(None);
        }
        match &mut self.newest {
            Some((same, newest, kept)) if *same == hash => {
                if version > *newest {
                    (*newest, *kept) = (version, value);
                }
                Ok(None)
            }
            _ => Ok(leaf(self.newest.replace((hash, version, value)))),
        }
    }

    /// The last leaf.
    pub fn end(self) -> Option<Leaf> {
        leaf(self.newest)
    }
}

fn leaf(newest: Option<(Digest, u64, Option<Vec<u8>>)>) -> Option<Leaf> {
    let (key, _, value) = newest?;
    Some(Leaf { key, value: value? })
}

impl Ledger<'_> {
    /// Size and peaks of the ledger log, for a snapshot of this state.
    pub fn log_frontier(&self) -> Vec<u8> {
        tree::frontier_bytes(self.log())
    }
}

/// The writes that make an empty store hold the state after `next.height - 1`, if it is the one that `next` certifies.
/// `next` must have been checked with its certificate.
///
/// # Errors
/// When keys, root or log are not those of the header: then the snapshot is useless, whoever sent it.
pub fn restore(leaves: Vec<Leaf>, frontier: &[u8], next: &Header) -> Result<Applied, SnapshotError> {
    if !leaves.is_sorted_by(|a, b| a.key < b.key) {
        return Err(SnapshotError::NotSorted);
    }
    let height = Height(next.height.0.saturating_sub(1));
    let log: Frontier = tree::frontier_of(frontier).ok_or(SnapshotError::Frontier)?;
    if (log.size(), log.root()) != (next.log_size, next.log_root) {
        return Err(SnapshotError::Differs("log"));
    }
    let head_hash = Digest(tree::key_hash(&state::head_key()).0);
    let head = leaves.iter().find(|l| l.key == head_hash).ok_or(SnapshotError::Differs("head"))?;
    let head = HeadRecord::from_canonical(&head.value).map_err(|_| SnapshotError::Differs("head"))?;
    if (head.height, head.block) != (height, next.previous) {
        return Err(SnapshotError::Differs("head"));
    }
    let values: Vec<_> = leaves.into_iter().map(|leaf| (KeyHash(leaf.key.0), leaf.value)).collect();
    let (root, mut writes) = tree::whole::write(height.0, &values)?;
    drop(values);
    if root != next.state_root {
        return Err(SnapshotError::Differs("state root"));
    }
    writes.push(tree::frontier_write(&log));
    Ok(Applied {
        height,
        block: head.block,
        time: head.time,
        writes,
        state_root: root,
        log_size: log.size(),
        log_root: log.root(),
        outcomes: Vec::new(),
        leaves: Vec::new(),
        members_change: false,
    })
}

/// A digest of what a snapshot holds, in chunks: what its receivers compare chunk by chunk.
pub fn chunk_digest(chunk: &[u8]) -> Digest {
    Digest::tagged("consilium/v1/snapshot-chunk", chunk)
}

/// Leaves of a chunk as bytes.
pub fn encode_chunk(leaves: &[Leaf]) -> Vec<u8> {
    let mut out = consilium_domain::Encoder::default();
    out.list(leaves);
    out.into_bytes()
}

/// The leaves of a chunk.
///
/// # Errors
/// When the bytes are no chunk of at most `most` leaves.
pub fn decode_chunk(bytes: &[u8], most: usize) -> Result<Vec<Leaf>, consilium_domain::CanonError> {
    let mut input = consilium_domain::Decoder::new(bytes);
    let leaves = input.list(most, "leaves")?;
    input.finish()?;
    Ok(leaves)
}
