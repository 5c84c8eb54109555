//! Proofs over a log whose complete subtrees are stored: O(log n) hashes, whatever the log's length (RFC 6962 §2.1).

use consilium_domain::Digest;
use consilium_domain::merkle::{Frontier, node_hash, root};
use consilium_store::sql::audit::TreeHash;

/// A complete subtree: level 0 = leaves; `position` counts the subtrees of its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub level: u32,
    pub position: u64,
}

/// A hash of a proof as the complete subtrees from which it is folded, leftmost first.
pub type Term = Vec<Node>;

/// Largest power of two below `n` (n ≥ 2).
fn split(n: u64) -> u64 {
    n.next_power_of_two() / 2
}

/// The complete subtrees that make up the leaves `start..end`, where `start` is a boundary that RFC 6962 splits at.
pub fn range(start: u64, end: u64) -> Term {
    let mut nodes = Vec::new();
    let mut at = start;
    while at < end {
        let level = 63 - (end - at).leading_zeros();
        nodes.push(Node { level, position: at >> level });
        at += 1 << level;
    }
    nodes
}

/// Folds the hashes of a term, which is never empty; the empty tree has its own root.
pub fn fold(hashes: &[Digest]) -> Digest {
    match hashes.split_last() {
        None => root(&[]),
        Some((last, rest)) => rest.iter().rev().fold(*last, |right, left| node_hash(left, &right)),
    }
}

/// Terms of the audit path of leaf `index` in a tree of `size` leaves.
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Term>> {
    if index >= size {
        return None;
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(range(middle, end));
            end = middle;
        } else {
            path.push(range(start, middle));
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// Terms of the consistency proof from `old` to `new` leaves.
pub fn consistency(old: u64, new: u64) -> Option<Vec<Term>> {
    if old > new {
        return None;
    }
    if old == 0 || old == new {
        return Some(Vec::new());
    }
    let (mut start, mut end) = (0, new);
    let mut whole = true;
    let mut path = Vec::new();
    // The old tree's end, seen from inside the subtree `start..end`.
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range(middle, end));
            end = middle;
        } else {
            path.push(range(start, middle));
            start = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(range(start, end));
    }
    path.reverse();
    Some(path)
}

/// Appends a leaf and lists the subtrees that it completes.
pub fn push(frontier: &mut Frontier, leaf: Digest, out: &mut Vec<TreeHash>) {
    let mut position = frontier.size();
    let mut hash = leaf;
    let mut peaks = frontier.peaks().iter().rev();
    let mut level = 0;
    out.push(TreeHash { level, position, hash });
    while position & 1 == 1 {
        let Some(left) = peaks.next() else { break };
        hash = node_hash(left, &hash);
        position >>= 1;
        level += 1;
        out.push(TreeHash { level, position, hash });
    }
    frontier.push(leaf);
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_domain::merkle::{
        Inclusion, consistency_path, inclusion_path, leaf_hash, verify_consistency,
    };
    use std::collections::BTreeMap;

    #[test]
    fn stored_subtrees_give_the_same_proofs_as_the_whole_tree() {
        let leaves: Vec<Digest> = (0..67u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let mut frontier = Frontier::default();
        let mut store = BTreeMap::new();
        for (n, leaf) in leaves.iter().enumerate() {
            let mut out = Vec::new();
            push(&mut frontier, *leaf, &mut out);
            store.extend(out.into_iter().map(|h| (Node { level: h.level, position: h.position }, h.hash)));
            let size = n + 1;
            let term = |t: &Term| fold(&t.iter().map(|x| store[x]).collect::<Vec<_>>());
            let whole = root(&leaves[..size]);
            assert_eq!(term(&range(0, size as u64)), whole);
            for i in 0..size {
                let path: Vec<Digest> = inclusion(i as u64, size as u64).unwrap().iter().map(term).collect();
                assert_eq!(path, inclusion_path(&leaves[..size], i).unwrap());
                let p = Inclusion { index: i as u64, size: size as u64, path };
                assert!(p.verify(&leaves[i], &whole));
            }
            for old in 0..=size {
                let path: Vec<Digest> =
                    consistency(old as u64, size as u64).unwrap().iter().map(term).collect();
                assert_eq!(path, consistency_path(&leaves[..size], old).unwrap(), "{old} to {size}");
                assert!(verify_consistency(old as u64, &root(&leaves[..old]), size as u64, &whole, &path));
            }
        }
        assert_eq!(inclusion(5, 5), None);
        assert_eq!(consistency(6, 5), None);
    }
}
