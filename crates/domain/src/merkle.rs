//! Merkle trees of RFC 6962 §2: roots, inclusion and consistency proofs.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::digest::Digest;
use serde::{Deserialize, Serialize};

/// Hash of a leaf: SHA-256(0x00 ‖ leaf).
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::sha256(&[&[0], leaf])
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::sha256(&[&[1], &left.0, &right.0])
}

/// Largest power of two smaller than `n` (n ≥ 2).
fn split(n: usize) -> usize {
    let p = n.next_power_of_two();
    p / 2
}

/// Root of the tree over leaf hashes; SHA-256 of nothing for the empty tree.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::sha256(&[]),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// Audit path of leaf `index` (RFC 6962 §2.1.1), or `None` when there is no such leaf.
pub fn inclusion_path(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let mut path = if index < k {
        let mut p = inclusion_path(left, index)?;
        p.push(root(right));
        p
    } else {
        let mut p = inclusion_path(right, index - k)?;
        p.push(root(left));
        p
    };
    path.shrink_to_fit();
    Some(path)
}

/// A leaf's place in a tree and the hashes that lead from it to the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// Position of the leaf, from 0.
    pub index: u64,
    /// Number of leaves of the tree.
    pub size: u64,
    /// Sibling hashes from the leaf upwards.
    pub path: Vec<Digest>,
}

impl Canonical for Inclusion {
    fn encode(&self, out: &mut Encoder) {
        out.u64(self.index).u64(self.size).list(&self.path);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        let (index, size) = (input.u64("index")?, input.u64("size")?);
        // A tree of 2^64 leaves has no longer path.
        Ok(Self { index, size, path: input.list(64, "path")? })
    }
}

impl Inclusion {
    /// Builds the proof of a leaf.
    pub fn of(leaves: &[Digest], index: usize) -> Option<Self> {
        Some(Self { index: index as u64, size: leaves.len() as u64, path: inclusion_path(leaves, index)? })
    }

    /// Hashes on the path of leaf `index` in a tree of `size` leaves; `None` where there is no such leaf.
    pub fn path_length(index: u64, size: u64) -> Option<usize> {
        let (mut fnode, mut snode) = (index, size.checked_sub(1).filter(|last| index <= *last)?);
        let mut length = 0;
        while snode > 0 {
            length += 1;
            if fnode == snode {
                // Without a sibling on these levels (RFC 9162 §2.1.3.2).
                let shift = fnode.trailing_zeros();
                (fnode, snode) = (fnode >> shift, snode >> shift);
            }
            (fnode, snode) = (fnode >> 1, snode >> 1);
        }
        Some(length)
    }

    /// The root that the path leads to (RFC 9162 §2.1.3.2), or `None` when the path does not fit the tree.
    pub fn root(&self, leaf: &Digest) -> Option<Digest> {
        if self.index >= self.size {
            return None;
        }
        let (mut fnode, mut snode) = (self.index, self.size - 1);
        let mut hash = *leaf;
        for sibling in &self.path {
            if snode == 0 {
                return None;
            }
            if fnode & 1 == 1 || fnode == snode {
                hash = node_hash(sibling, &hash);
                while fnode & 1 == 0 && fnode != 0 {
                    fnode >>= 1;
                    snode >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            fnode >>= 1;
            snode >>= 1;
        }
        (snode == 0).then_some(hash)
    }

    /// Whether `leaf` is in the tree of this root.
    pub fn verify(&self, leaf: &Digest, expected: &Digest) -> bool {
        self.root(leaf).as_ref() == Some(expected)
    }
}

/// A whole tree with its inner hashes: each proof costs its own length, not a pass over all leaves.
#[derive(Debug, Clone)]
pub struct Levels(Vec<Vec<Digest>>);

impl Levels {
    /// Hashes the tree over these leaf hashes once.
    pub fn new(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            // A node without a sibling is its own parent: that is how RFC 6962 §2.1 splits a tree whose size is no
            // power of two.
            let above = below
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => node_hash(left, right),
                    alone => alone.first().copied().unwrap_or_default(),
                })
                .collect();
            levels.push(above);
        }
        Self(levels)
    }

    /// Root of the tree; SHA-256 of nothing for the empty tree.
    pub fn root(&self) -> Digest {
        self.0.last().and_then(|top| top.first()).copied().unwrap_or_else(|| root(&[]))
    }

    /// The proof of leaf `index`, `None` when there is no such leaf; the same as [`Inclusion::of`].
    pub fn inclusion(&self, index: usize) -> Option<Inclusion> {
        let size = self.0.first()?.len();
        if index >= size {
            return None;
        }
        let siblings = self.0.iter().enumerate().map(|(height, level)| level.get((index >> height) ^ 1));
        let path = siblings.flatten().copied().collect();
        Some(Inclusion { index: index as u64, size: size as u64, path })
    }
}

/// Consistency proof between the first `old` leaves and all of them (RFC 6962 §2.1.2).
pub fn consistency_path(leaves: &[Digest], old: usize) -> Option<Vec<Digest>> {
    if old > leaves.len() {
        return None;
    }
    if old == 0 || old == leaves.len() {
        return Some(Vec::new());
    }
    Some(subproof(leaves, old, true))
}

fn subproof(leaves: &[Digest], old: usize, whole: bool) -> Vec<Digest> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    if old <= k {
        let mut p = subproof(left, old, whole);
        p.push(root(right));
        p
    } else {
        let mut p = subproof(right, old - k, false);
        p.push(root(left));
        p
    }
}

/// Checks that the tree (`new_size`, `new_root`) extends the tree (`old_size`, `old_root`) (RFC 9162 §2.1.4.2).
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    path: &[Digest],
) -> bool {
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return path.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return path.is_empty() && *old_root == root(&[]);
    }
    let seeded: Vec<Digest>;
    let path = if old_size.is_power_of_two() {
        seeded = std::iter::once(*old_root).chain(path.iter().copied()).collect();
        seeded.as_slice()
    } else {
        path
    };
    let Some((first, rest)) = path.split_first() else { return false };
    let (mut fnode, mut snode) = (old_size - 1, new_size - 1);
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    let (mut from, mut to) = (*first, *first);
    for sibling in rest {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            from = node_hash(sibling, &from);
            to = node_hash(sibling, &to);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            to = node_hash(&to, sibling);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    snode == 0 && from == *old_root && to == *new_root
}

/// An append-only tree of which only the peaks are kept: enough to append and to know the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the perfect subtrees, largest first.
    peaks: Vec<Digest>,
}

impl Frontier {
    /// Restores a frontier; `None` unless there is one peak per set bit of the size.
    pub fn from_parts(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() as u32 == size.count_ones()).then_some(Self { size, peaks })
    }
    pub fn size(&self) -> u64 {
        self.size
    }
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }
    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Digest) {
        self.push_seen(leaf, |_, _, _| {});
    }
    /// Appends a leaf hash and tells of every perfect subtree above it that this completes: its level (its leaves are
    /// 2^level), its index among those of its level, its root.
    pub fn push_seen(&mut self, leaf: Digest, mut seen: impl FnMut(u32, u64, &Digest)) {
        let mut hash = leaf;
        let (mut size, mut level) = (self.size, 0);
        while size & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
            size >>= 1;
            level += 1;
            seen(level, size, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => root(&[]),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: usize) -> Vec<Digest> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_provable_and_nothing_else() {
        for n in 1..40 {
            let l = leaves(n);
            let r = root(&l);
            let levels = Levels::new(l.clone());
            assert_eq!((levels.root(), levels.inclusion(n)), (r, None));
            for i in 0..n {
                let p = Inclusion::of(&l, i).unwrap();
                assert!(p.verify(&l[i], &r), "{i} of {n}");
                assert_eq!(levels.inclusion(i).as_ref(), Some(&p));
                assert_eq!(Inclusion::path_length(i as u64, n as u64), Some(p.path.len()), "{i} of {n}");
                assert!(!p.verify(&leaf_hash(b"x"), &r));
                for other in 0..n + 2 {
                    let moved = Inclusion { index: other as u64, ..p.clone() };
                    assert_eq!(moved.verify(&l[i], &r), other == i, "{i} as {other} of {n}");
                }
                assert_eq!(Inclusion::path_length(n as u64, n as u64), None);
                let mut long = p.clone();
                long.path.push(r);
                assert!(!long.verify(&l[i], &r));
            }
        }
    }

    #[test]
    fn consistency_holds_for_prefixes_only() {
        let l = leaves(33);
        for new in 0..=33 {
            for old in 0..=new {
                let p = consistency_path(&l[..new], old).unwrap();
                let (ro, rn) = (root(&l[..old]), root(&l[..new]));
                assert!(verify_consistency(old as u64, &ro, new as u64, &rn, &p), "{old} to {new}");
                if old > 0 && old < new {
                    let forged = leaf_hash(b"forged");
                    assert!(!verify_consistency(old as u64, &forged, new as u64, &rn, &p));
                    assert!(!verify_consistency(old as u64, &ro, new as u64, &forged, &p));
                }
            }
        }
    }

    #[test]
    fn the_frontier_agrees_with_the_tree() {
        let mut f = Frontier::default();
        for n in 0..70 {
            assert_eq!(f.root(), root(&leaves(n)));
            assert_eq!(Frontier::from_parts(f.size(), f.peaks().to_vec()), Some(f.clone()));
            f.push_seen(leaf_hash(&n.to_be_bytes()), |level, index, hash| {
                let (width, all) = (1 << level, leaves(n + 1));
                let from = index as usize * width;
                assert_eq!(*hash, root(&all[from..from + width]), "{level} {index}");
            });
        }
    }

    #[test]
    fn the_empty_tree_is_sha256_of_nothing() {
        assert_eq!(root(&[]).to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
