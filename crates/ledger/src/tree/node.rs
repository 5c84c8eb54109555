//! Nodes of the tree as they are stored: keys and bytes are those of jmt (borsh), whose types do not let one make inner
//! nodes.

use super::key;
use crate::state::NODE;
use jmt::storage::LeafNode;
use jmt::{KeyHash, ValueHash};
use sha2::{Digest as _, Sha256};

/// Children of an inner node.
pub(super) const WIDTH: usize = 16;
/// Hash of a subtree without leaves.
const EMPTY: [u8; 32] = *b"SPARSE_MERKLE_PLACEHOLDER_HASH__";
const NULL: u8 = 0;
const INNER: u8 = 1;
const LEAF: u8 = 2;

/// What an inner node says of a child.
pub(super) struct Child {
    pub hash: [u8; 32],
    pub version: u64,
    /// `None`: the child is a leaf.
    pub leaves: Option<u64>,
}

/// A stored node.
pub(super) enum Node {
    Null,
    Inner(Box<[Option<Child>; WIDTH]>),
    /// Key, and hash of the value.
    Leaf(KeyHash, [u8; 32]),
}

/// The key of the node under the first `depth` nibbles: version, depth and path.
pub(super) fn node_key(version: u64, hash: &KeyHash, depth: usize) -> Vec<u8> {
    let octets = hash.0.get(..depth.div_ceil(2)).unwrap_or_default();
    let mut key = key_of(version, u8::try_from(depth).unwrap_or(u8::MAX), octets);
    if let (Some(last), false) = (key.last_mut(), depth.is_multiple_of(2)) {
        *last &= 0xf0;
    }
    key
}

/// As [`node_key`], from the octets of the path: two nibbles each, the last half empty where their number is odd. The
/// version is written as the number of its octets and these, big-endian: in order, and short.
pub(super) fn key_of(version: u64, depth: u8, path: &[u8]) -> Vec<u8> {
    let octets = version.to_be_bytes();
    let (_, significant) = octets.split_at((version.leading_zeros() / 8) as usize);
    let length = u8::try_from(significant.len()).unwrap_or(u8::MAX);
    key(NODE, &[&[length], significant, &[depth], path])
}

/// Hash and bytes of a leaf.
pub(super) fn leaf(hash: &KeyHash, value: &[u8; 32]) -> ([u8; 32], Vec<u8>) {
    let bytes = [&[LEAF][..], &hash.0, value].concat();
    (LeafNode::new(*hash, ValueHash(*value)).hash::<Sha256>(), bytes)
}

/// Hash, number of leaves, and bytes of an inner node.
pub(super) fn inner(children: &[Option<Child>; WIDTH]) -> ([u8; 32], u64, Vec<u8>) {
    let mut out = Vec::with_capacity(2 + WIDTH * 50 + 16);
    out.push(INNER);
    let (mut count, mut leaves) = (0_u64, 0_u64);
    for child in children {
        let Some(child) = child else {
            out.push(0);
            continue;
        };
        out.push(1);
        out.extend_from_slice(&child.hash);
        out.extend_from_slice(&child.version.to_le_bytes());
        match child.leaves {
            None => out.push(0),
            Some(below) => {
                out.push(1);
                out.extend_from_slice(&below.to_le_bytes());
            }
        }
        count += 1;
        leaves = leaves.saturating_add(child.leaves.unwrap_or(1));
    }
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&leaves.to_le_bytes());
    (merkle(children), leaves, out)
}

/// An inner node is a binary tree of four levels over its children; one without a neighbour below it stands for the whole
/// if it is a leaf.
fn merkle(children: &[Option<Child>]) -> [u8; 32] {
    let mut there = children.iter().flatten();
    match (there.next(), there.next()) {
        (None, _) => EMPTY,
        (Some(only), None) if children.len() == 1 || only.leaves.is_none() => only.hash,
        _ => {
            let (left, right) = children.split_at(children.len() / 2);
            let hash = Sha256::new().chain_update(b"JMT::IntrnalNode");
            hash.chain_update(merkle(left)).chain_update(merkle(right)).finalize().into()
        }
    }
}

/// Reads octets off the front.
struct Input<'b>(&'b [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn flag(&mut self) -> Option<bool> {
        match self.array::<1>()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

impl Node {
    /// `None`: these bytes are no node.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let mut input = Input(rest);
        let node = match *tag {
            NULL => Self::Null,
            LEAF => Self::Leaf(KeyHash(input.array()?), input.array()?),
            INNER => {
                let mut children = [const { None }; WIDTH];
                for slot in &mut children {
                    if input.flag()? {
                        let (hash, version) = (input.array()?, input.number()?);
                        let leaves = if input.flag()? { Some(input.number()?) } else { None };
                        *slot = Some(Child { hash, version, leaves });
                    }
                }
                let (_count, _leaves) = (input.number()?, input.number()?);
                Self::Inner(Box::new(children))
            }
            _ => return None,
        };
        input.0.is_empty().then_some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_nodes_are_in_the_order_of_their_versions_and_each_is_one_nodes() {
        let versions = [0, 1, 2, 255, 256, 258, 513, 65_535, 65_536, 1 << 40, u64::MAX];
        // All zero, so that a version's last octets look like a depth and a path, and the other way round.
        let paths = (0..=64_usize).map(|depth| (KeyHash([0; 32]), depth));
        let paths: Vec<_> = paths.chain((1..=64).map(|depth| (KeyHash([0x12; 32]), depth))).collect();
        let mut before = Vec::new();
        for version in versions {
            let mut keys: Vec<_> =
                paths.iter().map(|(hash, depth)| node_key(version, hash, *depth)).collect();
            keys.sort();
            let count = keys.len();
            keys.dedup();
            assert_eq!(keys.len(), count, "two nodes of version {version} have one key");
            assert!(keys.first() > before.last(), "version {version}");
            before = keys;
        }
    }
}
