//! The ledger log's hashes, kept so that tiles of it (c2sp.org/tlog-tiles) can be served as files that never change.
//!
//! | key | value |
//! |---|---|
//! | `L` 0 first | leaf hashes of one block's transactions, the first of which has index `first` |
//! | `L` level index | root of the perfect subtree of 256^level leaves at `index` |

use crate::state::{ReadError, StateRead};
use consilium_domain::Digest;
use consilium_domain::merkle::Frontier;
use consilium_domain::port::kv::Write;

/// Hashes of a full tile.
pub const WIDTH: u64 = 256;
/// Highest tile level: 256^8 leaves are more than a `u64` counts.
pub const MAX_LEVEL: u32 = 7;

fn key(level: u32, index: u64) -> Vec<u8> {
    let level = u8::try_from(level).unwrap_or(u8::MAX);
    [b"L", &[level][..], &index.to_be_bytes()].concat()
}

/// Appends leaves to the log; the hashes to keep.
pub(crate) fn append(log: &mut Frontier, leaves: &[Digest]) -> Vec<Write> {
    let mut writes = Vec::new();
    if !leaves.is_empty() {
        let bytes = leaves.iter().flat_map(|l| l.0).collect();
        writes.push(Write::Put(key(0, log.size()), bytes));
    }
    for leaf in leaves {
        log.push_seen(*leaf, |level, index, root| {
            if level.is_multiple_of(8) {
                writes.push(Write::Put(key(level / 8, index), root.0.to_vec()));
            }
        });
    }
    writes
}

/// The hashes of tile `index` of a level, `width` (1 to [`WIDTH`]) of them, 32 octets each; `None` while the log is
/// not that long.
pub fn tile(view: &dyn StateRead, level: u32, index: u64, width: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let (Some(from), 1..=WIDTH, 0..=MAX_LEVEL) = (index.checked_mul(WIDTH), width, level) else {
        return Ok(None);
    };
    let Some(to) = from.checked_add(width) else { return Ok(None) };
    if level == 0 { leaves(view, from, to) } else { subtrees(view, level, from, to) }
}

fn subtrees(view: &dyn StateRead, level: u32, from: u64, to: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let mut out = Vec::new();
    for index in from..to {
        let Some(hash) = view.get(&key(level, index))? else { return Ok(None) };
        out.extend_from_slice(&hash);
    }
    Ok(Some(out))
}

/// The leaf hashes `from..to`, gathered block by block from the end.
fn leaves(view: &dyn StateRead, from: u64, to: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let damaged = || ReadError("the log's leaf hashes are damaged".to_owned());
    let (mut parts, mut end) = (Vec::new(), to);
    while end > from {
        let Some((found, hashes)) = view.last(&key(0, 0), &key(0, end - 1))? else { return Ok(None) };
        let first = found.last_chunk::<8>().map(|b| u64::from_be_bytes(*b)).ok_or_else(damaged)?;
        let skip = usize::try_from(from.saturating_sub(first)).map_err(|_| damaged())?;
        let take = usize::try_from(end.saturating_sub(first)).map_err(|_| damaged())?;
        let octets = |n: usize| n.saturating_mul(32);
        let Some(part) = hashes.get(octets(skip)..octets(take)) else {
            // Only the newest block may end before what was asked for.
            return if end == to { Ok(None) } else { Err(damaged()) };
        };
        parts.push(part.to_vec());
        end = first;
    }
    parts.reverse();
    Ok(Some(parts.concat()))
}

/// An entry bundle: each transaction with its length in two octets before it (c2sp.org/tlog-tiles, "Log Entries").
pub fn entries(transactions: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for tx in transactions {
        // `MAX_TX` is what fits into two octets.
        out.extend_from_slice(&u16::try_from(tx.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(tx);
    }
    out
}
