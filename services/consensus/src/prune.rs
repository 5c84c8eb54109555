//! Old blocks that a node need not keep: those below the newest `keep_blocks`, and below every snapshot that it offers, for
//! whoever loads one asks for the blocks from its height on.
//!
//! What stays: the state and its proofs, the hashes of the ledger log, the index of transactions, and of each change of the
//! members its announcement and the motion's block. What goes: other blocks with their certificates, and so what only
//! they can answer.

use crate::chain::{Chain, ChainError};
use crate::snapshot::Snapshots;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fewest blocks that a configuration may keep: as long as the own `ingest` does not run, nobody fetches the receipts of
/// what it has submitted.
pub const FEWEST: u64 = 10_000;
/// What whoever asks for a committed transaction is told when its block is gone.
pub const DELETED: &str = "committed in a block that this node has deleted: ask a member that keeps more blocks, or use \
                           the receipt that was given at the time";
/// Blocks deleted in one batch.
const AT_ONCE: u64 = 256;

/// What a node keeps.
#[derive(Debug)]
pub struct Keep {
    /// Blocks; absent: all.
    blocks: Option<u64>,
    snapshots: Snapshots,
    /// Below it there is nothing to be deleted.
    from: AtomicU64,
}

impl Keep {
    pub fn new(blocks: Option<u64>, snapshots: Snapshots) -> Self {
        Self { blocks, snapshots, from: AtomicU64::new(0) }
    }

    /// Deletes some of what `head` allows; whether there may be more.
    ///
    /// # Errors
    /// When the store fails.
    pub fn step(&self, chain: &Chain, head: u64) -> Result<bool, ChainError> {
        let Some(keep) = self.blocks else { return Ok(false) };
        let below = head.saturating_sub(keep);
        let mut from = self.from.load(Ordering::Relaxed);
        if below <= from {
            return Ok(false);
        }
        if from == 0 {
            from = chain.kept_from()?.unwrap_or(1);
        }
        // Without a snapshot nobody could join.
        let oldest = self.snapshots.oldest().unwrap_or(0);
        let to = below.min(oldest).min(from.saturating_add(AT_ONCE));
        let more = to > from;
        if more {
            chain.delete_blocks(from, to)?;
            from = to;
        }
        self.from.store(from, Ordering::Relaxed);
        Ok(more)
    }
}
