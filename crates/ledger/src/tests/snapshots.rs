//! Snapshots of the state.

use super::fixture::{MemoryView, World};
use crate::Ledger;
use crate::snapshot::{Gather, Leaf, SnapshotError, decode_chunk, encode_chunk, restore, value_range};
use consilium_domain::block::Block;
use consilium_domain::{Digest, Height};

/// A world of some blocks, the snapshot before its last one, and the last one.
fn snapshot() -> (World, Vec<Leaf>, Vec<u8>, Block) {
    let mut world = World::new(4);
    for n in 0..5 {
        let tx = world.any_batch(&format!("batch {n}"));
        world.commit(&[tx]);
    }
    let frontier = world.ledger().log_frontier();
    let height = world.ledger().head().height;
    let tx = world.any_batch("one more");
    let next = world.commit(&[tx]).0;
    let (from, to) = value_range();
    let mut gather = Gather::new(height);
    let mut leaves = Vec::new();
    for (key, value) in world.view.0.range(from..to) {
        leaves.extend(gather.pair(&(key.clone(), value.clone())).unwrap());
    }
    leaves.extend(gather.end());
    (world, leaves, frontier, next)
}

#[test]
fn a_restored_state_is_the_state_and_goes_on() {
    let (world, leaves, frontier, next) = snapshot();
    let bytes = encode_chunk(&leaves);
    let leaves = decode_chunk(&bytes, leaves.len()).unwrap();
    let applied = restore(leaves, &frontier, &next.header).unwrap();
    let mut view = MemoryView::default();
    view.write(&applied.writes);
    let ledger = Ledger::open(&view).unwrap();
    assert_eq!((ledger.head().height, ledger.state_root()), (Height(5), next.header.state_root));
    assert_eq!(ledger.members(), world.ledger().members());
    // The next block applies to it and leads to the same state.
    assert_eq!(ledger.apply_block(&next).unwrap().state_root, world.ledger().state_root());
}

#[test]
fn every_change_to_a_snapshot_is_refused() {
    let (_, leaves, frontier, next) = snapshot();
    for i in 0..leaves.len() {
        let mut changed = leaves.clone();
        changed[i].value.push(0);
        assert!(restore(changed, &frontier, &next.header).is_err(), "leaf {i} changed");
        let mut missing = leaves.clone();
        missing.remove(i);
        assert!(restore(missing, &frontier, &next.header).is_err(), "leaf {i} missing");
    }
    let mut more = leaves.clone();
    more.push(Leaf { key: Digest([0xff; 32]), value: vec![1] });
    assert_eq!(restore(more, &frontier, &next.header), Err(SnapshotError::Differs("state root")));
    let mut swapped = leaves.clone();
    swapped.swap(0, 1);
    assert_eq!(restore(swapped, &frontier, &next.header), Err(SnapshotError::NotSorted));
    let mut other = frontier.clone();
    *other.last_mut().unwrap() ^= 1;
    assert!(restore(leaves.clone(), &other, &next.header).is_err());
    assert_eq!(restore(leaves, &[], &next.header), Err(SnapshotError::Frontier));
}
