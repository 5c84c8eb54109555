//! A transaction's place in the log by tiles.

use crate::log_proof::{self, LogProofError, entries_path, path, tiles_of, verify};
use consilium_domain::Digest;
use consilium_domain::merkle::{leaf_hash, root};
use std::collections::BTreeMap;

type Tiles = BTreeMap<(u32, u64, u64), Vec<u8>>;

/// The tiles of a log, made from the definition: a tile of level L holds the roots of 256^L leaves each.
fn tiles(leaves: &[Digest]) -> Tiles {
    let mut levels = vec![leaves.to_vec()];
    while levels.last().unwrap().len() >= 256 {
        let next = levels.last().unwrap().chunks_exact(256).map(root).collect();
        levels.push(next);
    }
    let one = |(level, index, width): (u32, u64, u64)| {
        let from = usize::try_from(index).unwrap() * 256;
        let hashes = &levels[level as usize][from..from + usize::try_from(width).unwrap()];
        ((level, index, width), hashes.iter().flat_map(|h| h.0).collect())
    };
    tiles_of(leaves.len() as u64).into_iter().map(one).collect()
}

fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn check(all: &Tiles, size: u64, top: &Digest, index: u64, leaf: &Digest) -> Result<(), LogProofError> {
    verify((size, top), index, leaf, |level, index, width| all.get(&(level, index, width)).cloned())
}

#[test]
fn every_leaf_is_proven_whatever_the_size_of_the_log() {
    for size in [1, 2, 3, 255, 256, 257, 511, 512, 600, 65_535, 65_536, 65_537, 66_000] {
        let leaves = leaves(size);
        let (all, top) = (tiles(&leaves), root(&leaves));
        for index in [0, 1, 2, size / 3, size / 2, size.saturating_sub(257), size.saturating_sub(2), size - 1]
        {
            if let Some(leaf) = leaves.get(usize::try_from(index).unwrap()) {
                assert_eq!(check(&all, size, &top, index, leaf), Ok(()), "{index} of {size}");
            }
        }
    }
}

#[test]
fn what_is_forged_is_refused() {
    let size = 66_000;
    let leaves = leaves(size);
    let (all, top) = (tiles(&leaves), root(&leaves));
    for index in [0, 300, 65_535, 65_600, 65_999] {
        let leaf = leaves[usize::try_from(index).unwrap()];
        // Another transaction, another place, another root, another size.
        assert!(check(&all, size, &top, index, &Digest([7; 32])).is_err());
        assert!(check(&all, size, &top, (index + 1) % size, &leaf).is_err());
        assert_eq!(check(&all, size, &Digest([7; 32]), index, &leaf), Err(LogProofError::OtherRoot));
        assert!(check(&all, size - 1, &top, index, &leaf).is_err());
        // Every tile that is read counts, in each of its octets.
        let mut read = Vec::new();
        verify((size, &top), index, &leaf, |level, place, width| {
            read.push((level, place, width));
            all.get(&(level, place, width)).cloned()
        })
        .unwrap();
        for name in read {
            for octet in [0, 31, all[&name].len() - 1] {
                let mut forged = all.clone();
                forged.get_mut(&name).unwrap()[octet] ^= 1;
                assert!(check(&forged, size, &top, index, &leaf).is_err(), "{name:?} {octet}");
            }
            let mut forged = all.clone();
            forged.get_mut(&name).unwrap().pop();
            let error = LogProofError::Length(path(name.0, name.1, name.2));
            assert_eq!(check(&forged, size, &top, index, &leaf), Err(error));
            forged.remove(&name);
            let error = LogProofError::Missing(path(name.0, name.1, name.2));
            assert_eq!(check(&forged, size, &top, index, &leaf), Err(error));
        }
    }
    let young = LogProofError::TooYoung { index: size, size };
    assert_eq!(check(&all, size, &top, size, &leaves[0]), Err(young));
}

#[test]
fn a_chain_of_forged_tiles_ends_at_the_root() {
    // The forger writes a leaf of its own and every tile above it anew, but the root is not its own.
    let mut mine = leaves(70_000);
    let top = root(&mine);
    mine[300] = leaf_hash(b"forged");
    assert_eq!(check(&tiles(&mine), 70_000, &top, 300, &mine[300]), Err(LogProofError::OtherRoot));
    mine[69_999] = leaf_hash(b"forged");
    assert_eq!(check(&tiles(&mine), 70_000, &top, 69_999, &mine[69_999]), Err(LogProofError::OtherRoot));
}

#[test]
fn paths_are_those_of_c2sp() {
    assert_eq!(path(0, 0, 256), "0/000");
    assert_eq!(path(1, 1234, 256), "1/x001/234");
    assert_eq!(path(0, 1_234_067, 17), "0/x001/x234/067.p/17");
    assert_eq!(entries_path(1_234_067, 256), "entries/x001/x234/067");
    assert_eq!(tiles_of(0), []);
    assert_eq!(tiles_of(256), [(0, 0, 256), (1, 0, 1)]);
    assert_eq!(log_proof::tiles_of(600), [(0, 0, 256), (0, 1, 256), (0, 2, 88), (1, 0, 2)]);
}
