//! What the node proves to strangers: tiles of the log's hashes and bundles of its transactions (c2sp.org/tlog-tiles),
//! and keys of the state.

use crate::chain::{ChainError, View};
use consilium_domain::block::Block;
use consilium_domain::receipt::{HexBytes, STATE_FORMAT, StateProof};
use consilium_domain::{CanonError, Canonical};
use consilium_ledger::proof;
use consilium_ledger::tiles::{self, WIDTH};

/// The hashes of a tile; `None` while the log is not that long.
///
/// # Errors
/// When the store cannot be read.
pub fn tile(view: &View, level: u32, index: u64, width: u64) -> Result<Option<Vec<u8>>, ChainError> {
    Ok(tiles::tile(view, level, index, width)?)
}

/// The transactions of a tile of level 0; `None` while the log is not that long, or where the node no longer has the
/// blocks.
///
/// # Errors
/// When the store cannot be read.
pub fn entries(view: &View, index: u64, width: u64) -> Result<Option<Vec<u8>>, ChainError> {
    let (head, size) = {
        let ledger = view.ledger()?;
        (ledger.head().height.0, ledger.log_size())
    };
    let from = index.saturating_mul(WIDTH);
    let to = from.saturating_add(width);
    if !(1..=WIDTH).contains(&width) || to > size {
        return Ok(None);
    }
    let Some(mut height) = block_of(view, from, head)? else { return Ok(None) };
    let mut txs = Vec::new();
    while (txs.len() as u64) < width {
        let Some(block) = block(view, height)? else { return Ok(None) };
        let skip = usize::try_from(from.saturating_sub(block.header.log_size)).unwrap_or(usize::MAX);
        let room = usize::try_from(width).unwrap_or(0).saturating_sub(txs.len());
        txs.extend(block.txs.into_iter().skip(skip).take(room));
        height += 1;
    }
    Ok(Some(tiles::entries(&txs)))
}

/// The block that holds transaction `number` of the log: the last one before which the log was not longer.
fn block_of(view: &View, number: u64, head: u64) -> Result<Option<u64>, ChainError> {
    let (mut low, mut high) = (1, head);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match block(view, middle)? {
            Some(block) if block.header.log_size <= number => low = middle,
            Some(_) => high = middle - 1,
            // Pruned, or before the snapshot from which the node began: only later ones are there.
            None => low = middle,
        }
    }
    Ok(block(view, low)?.filter(|b| b.header.log_size <= number).map(|b| b.header.height.0))
}

fn block(view: &View, height: u64) -> Result<Option<Block>, ChainError> {
    let Some(bytes) = view.block_bytes(height)? else { return Ok(None) };
    let block = Block::from_canonical(&bytes);
    block.map(Some).map_err(|e: CanonError| ChainError::Broken("block", e))
}

/// A key of the state before the newest block, proven by that block's header; `None` while there is no block.
///
/// # Errors
/// When the store cannot be read.
pub fn state_proof(view: &View, key: &[u8]) -> Result<Option<StateProof>, ChainError> {
    let (height, genesis) = {
        let ledger = view.ledger()?;
        (ledger.head().height, ledger.genesis())
    };
    let Some(block) = block(view, height.0)? else { return Ok(None) };
    let missing = || ChainError::Broken("certificate", CanonError::Truncated("certificate"));
    let certificate = view.certificate_bytes(height.0)?.ok_or_else(missing)?;
    let (value, proof) = proof::prove(view, height.previous(), key)?;
    Ok(Some(StateProof {
        format: STATE_FORMAT.to_owned(),
        genesis,
        key: key.to_vec(),
        value: value.map(HexBytes),
        proof,
        header: block.header,
        certificate: Canonical::from_canonical(&certificate)
            .map_err(|e| ChainError::Broken("certificate", e))?,
        validator_changes: view.changes_before(height)?,
    }))
}
