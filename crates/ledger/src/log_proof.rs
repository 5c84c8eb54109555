//! A transaction's place in the ledger log, checked against a cosigned checkpoint and tiles (c2sp.org/tlog-tiles).
//!
//! Nothing is trusted but the checkpoint: the tiles of the log's right edge must hash to its root, and every other tile
//! that is read must have the hash that the level above it says.

use crate::tiles::{MAX_LEVEL, WIDTH};
use consilium_domain::Digest;
use consilium_domain::merkle::{Frontier, root};
use thiserror::Error;

/// Why tiles show nothing.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LogProofError {
    #[error("the log has {size} transactions: number {index} is not among them; get a newer checkpoint")]
    TooYoung { index: u64, size: u64 },
    #[error("the tile `{0}` is missing: get the tiles that belong to the checkpoint")]
    Missing(String),
    #[error("the tile `{0}` has another length than its name says")]
    Length(String),
    #[error("the tiles do not hash to the root of the checkpoint")]
    OtherRoot,
    #[error("the tile `{0}` has another hash than the tile above it says")]
    OtherTile(String),
    #[error("another transaction has number {0} in the log")]
    OtherLeaf(u64),
}

/// Path of a tile below `tile/`: `<L>/<N>[.p/<W>]`, N in groups of three digits, all but the last preceded by `x`.
pub fn path(level: u32, index: u64, width: u64) -> String {
    format!("{level}/{}", file(index, width))
}

/// Path of an entry bundle below `tile/`.
pub fn entries_path(index: u64, width: u64) -> String {
    format!("entries/{}", file(index, width))
}

fn file(index: u64, width: u64) -> String {
    let mut name = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1000);
        rest /= 1000;
    }
    if width < WIDTH { format!("{name}.p/{width}") } else { name }
}

/// All tiles of a log of `size` leaves: level, index, width.
pub fn tiles_of(size: u64) -> Vec<(u32, u64, u64)> {
    let mut out = Vec::new();
    let mut left = size;
    for level in 0..=MAX_LEVEL {
        let full = left / WIDTH;
        out.extend((0..full).map(|index| (level, index, WIDTH)));
        if !left.is_multiple_of(WIDTH) {
            out.push((level, full, left % WIDTH));
        }
        left = full;
    }
    out
}

/// Checks that `leaf` has the number `index` (from 0) in the log of `size` leaves with this root. `fetch` gives the
/// tile of a level, index and width; it is asked at most twice per level.
///
/// # Errors
/// When tiles are missing, or do not lead from the leaf to the root.
pub fn verify(
    (size, expected): (u64, &Digest),
    index: u64,
    leaf: &Digest,
    mut fetch: impl FnMut(u32, u64, u64) -> Option<Vec<u8>>,
) -> Result<(), LogProofError> {
    if index >= size {
        return Err(LogProofError::TooYoung { index, size });
    }
    let mut read = |level, index, width| {
        let name = || path(level, index, width);
        let bytes = fetch(level, index, width).ok_or_else(|| LogProofError::Missing(name()))?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if hashes.len() as u64 != width || !rest.is_empty() {
            return Err(LogProofError::Length(name()));
        }
        Ok(hashes.iter().map(|h| Digest(*h)).collect::<Vec<_>>())
    };
    // From the leaf up through full tiles, until one of the right edge has the hash.
    let (mut hash, mut place, mut on_edge) = (*leaf, index, false);
    let mut peaks = Vec::new();
    for level in 0..=MAX_LEVEL {
        let count = size >> (8 * level);
        let (tile, full) = (place / WIDTH, count / WIDTH);
        let wrong = || match level {
            0 => LogProofError::OtherLeaf(index),
            _ => LogProofError::OtherTile(path(level - 1, place, WIDTH)),
        };
        let at = usize::try_from(place % WIDTH).unwrap_or(usize::MAX);
        let width = count % WIDTH;
        let edge = if width == 0 { Vec::new() } else { read(level, full, width)? };
        if !on_edge && tile == full {
            if edge.get(at) != Some(&hash) {
                return Err(wrong());
            }
            on_edge = true;
        } else if !on_edge {
            let hashes = read(level, tile, WIDTH)?;
            if hashes.get(at) != Some(&hash) {
                return Err(wrong());
            }
            hash = root(&hashes);
            place = tile;
        }
        peaks.push(edge);
        if full == 0 {
            break;
        }
    }
    // The right edge's tiles, highest level first, are the perfect subtrees of which the log consists.
    let mut all = Vec::new();
    for edge in peaks.iter().rev() {
        let (mut rest, mut width) = (edge.as_slice(), edge.len());
        while width > 0 {
            let perfect = 1 << width.ilog2();
            let (one, others) = rest.split_at_checked(perfect).ok_or(LogProofError::OtherRoot)?;
            all.push(root(one));
            (rest, width) = (others, width - perfect);
        }
    }
    match Frontier::from_parts(size, all) {
        Some(log) if on_edge && log.root() == *expected => Ok(()),
        _ => Err(LogProofError::OtherRoot),
    }
}
