//! A whole tree at once, from its sorted values: what a snapshot is restored with. jmt inserts keys one after the other
//! into a tree that it keeps in memory, which for a million of them takes minutes; here every node is made once, from
//! below. The nodes are the same.

use super::{encode_value, key, newest_key};
use crate::state::ReadError;
use consilium_domain::Digest;
use consilium_domain::port::kv::Write;
use jmt::storage::{LeafNode, Node};
use jmt::{KeyHash, ValueHash};
use sha2::Sha256;

/// Nibbles of a key.
const DEPTH: usize = 64;
/// Children of an inner node.
const WIDTH: usize = 16;

/// What an inner node says of a child.
struct Child {
    hash: [u8; 32],
    /// `None`: the child is a leaf.
    leaves: Option<u64>,
}

/// The writes of a tree that holds nothing but these values, sorted by key, each key once, at least one of them, all at
/// `version`; and its root.
pub(crate) fn write(version: u64, values: &[(KeyHash, Vec<u8>)]) -> Result<(Digest, Vec<Write>), ReadError> {
    let mut out = Vec::with_capacity(values.len().saturating_mul(9) / 4);
    for (hash, value) in values {
        out.push(Write::Put(newest_key(*hash), encode_value(Some(value), &version.to_be_bytes())));
    }
    let root = subtree(version, values, 0, &mut out)?;
    Ok((Digest(root.hash), out))
}

fn nibble(hash: &KeyHash, depth: usize) -> usize {
    let byte = hash.0.get(depth / 2).copied().unwrap_or_default();
    usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f })
}

/// Writes the nodes over these values, which share their first `depth` nibbles.
fn subtree(
    version: u64,
    values: &[(KeyHash, Vec<u8>)],
    depth: usize,
    out: &mut Vec<Write>,
) -> Result<Child, ReadError> {
    let (Some((first, value)), true) = (values.first(), depth <= DEPTH) else {
        return Err(ReadError("a key of the snapshot is there twice, or there is none".to_owned()));
    };
    if values.len() == 1 {
        let leaf = LeafNode::new(*first, ValueHash::with::<Sha256>(value));
        let hash = leaf.hash::<Sha256>();
        out.push(Write::Put(node_key(version, first, depth), encoded(&Node::Leaf(leaf))?));
        return Ok(Child { hash, leaves: None });
    }
    let mut children: [Option<Child>; WIDTH] = [const { None }; WIDTH];
    let mut rest = values;
    while let Some((head, _)) = rest.first() {
        let at = nibble(head, depth);
        let (same, others) = rest.split_at(rest.partition_point(|(k, _)| nibble(k, depth) <= at));
        if let Some(slot) = children.get_mut(at) {
            *slot = Some(subtree(version, same, depth + 1, out)?);
        }
        rest = others;
    }
    let leaves = values.len() as u64;
    let bytes = inner(version, &children, leaves);
    let Ok(Node::Internal(node)) = borsh::from_slice::<Node>(&bytes) else {
        return Err(ReadError("an inner node of the tree is not in jmt's form".to_owned()));
    };
    out.push(Write::Put(node_key(version, first, depth), bytes));
    Ok(Child { hash: node.hash::<Sha256>(), leaves: Some(leaves) })
}

fn encoded(node: &Node) -> Result<Vec<u8>, ReadError> {
    borsh::to_vec(node).map_err(|e| ReadError(e.to_string()))
}

/// The key of the node under the first `depth` nibbles: version and path (borsh of jmt's `NibblePath`: number of nibbles,
/// then two of them per octet, the last half empty where the number is odd).
fn node_key(version: u64, hash: &KeyHash, depth: usize) -> Vec<u8> {
    let octets = depth.div_ceil(2);
    let mut path = hash.0.get(..octets).unwrap_or_default().to_vec();
    if let (Some(last), false) = (path.last_mut(), depth.is_multiple_of(2)) {
        *last &= 0xf0;
    }
    let length = u32::try_from(octets).unwrap_or(u32::MAX);
    key(b'n', &[&version.to_be_bytes(), &(depth as u64).to_le_bytes(), &length.to_le_bytes(), &path])
}

/// An inner node in borsh, as jmt derives it: its children are of a type that jmt does not let one make.
fn inner(version: u64, children: &[Option<Child>; WIDTH], leaves: u64) -> Vec<u8> {
    const INTERNAL: u8 = 1;
    let mut out = vec![INTERNAL];
    for child in children {
        let Some(child) = child else {
            out.push(0);
            continue;
        };
        out.push(1);
        out.extend_from_slice(&child.hash);
        out.extend_from_slice(&version.to_le_bytes());
        match child.leaves {
            None => out.push(0),
            Some(leaves) => {
                out.push(1);
                out.extend_from_slice(&leaves.to_le_bytes());
            }
        }
    }
    let count = children.iter().flatten().count() as u64;
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&leaves.to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn sorted(writes: Vec<Write>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let pair = |w| match w {
            Write::Put(key, value) => (key, value),
            Write::Delete(_) => panic!("a deletion"),
        };
        writes.into_iter().map(pair).collect()
    }

    fn both(mut values: Vec<(KeyHash, Vec<u8>)>) {
        values.sort();
        let (root, writes) = write(7, &values).unwrap();
        let singly = values.iter().map(|(k, v)| (*k, Some(v.clone()))).collect();
        let (expected, nodes) = super::super::write_alone(7, singly).unwrap();
        assert_eq!(root, expected, "{} values", values.len());
        let number = writes.len();
        let (ours, theirs) = (sorted(writes), sorted(nodes));
        assert_eq!((ours.len(), &ours), (number, &theirs), "{} values", values.len());
    }

    #[test]
    fn the_nodes_are_those_of_jmt() {
        for count in [1_u32, 2, 3, 16, 17, 300, 2_000] {
            let value = |i: u32| (KeyHash(Digest::sha256(&[&i.to_be_bytes()]).0), i.to_be_bytes().to_vec());
            both((0..count).map(value).collect());
        }
        // Long common prefixes: inner nodes with one child, down to the last nibble.
        let ends = |a: u8, b: u8| {
            let mut key = [0x5a; 32];
            (key[20], key[31]) = (a, b);
            (KeyHash(key), vec![a, b])
        };
        both(vec![ends(0, 0), ends(0, 1), ends(0, 0x10), ends(9, 0)]);
        assert!(write(1, &[]).is_err());
        assert!(write(1, &[ends(1, 1), ends(1, 1)]).is_err(), "a key twice");
    }
}
