//! All values of a block put into the tree at once: each node on their way is read once, written once and hashed once.
//! jmt puts one value after the other and hashes the way to the root for each. The nodes are the same.

use super::node::{Child, Node, WIDTH, inner, leaf, node_key};
use crate::state::{ReadError, StateRead};
use consilium_domain::Digest;
use consilium_domain::port::kv::{Pair, Write};
use jmt::KeyHash;

/// Nibbles of a key.
const DEPTH: usize = 64;

/// What a block does to the nodes.
pub(super) struct Update {
    pub root: Digest,
    pub writes: Vec<Write>,
    /// Keys of the nodes that are replaced.
    pub replaced: Vec<Vec<u8>>,
}

/// A key of the tree and the hash of its value.
pub(super) type Entry = (KeyHash, [u8; 32]);

/// Puts entries, sorted by key, each key once, at least one of them, into the tree at `before` (`None`: an empty one),
/// as `version`.
pub(super) fn put(
    view: &dyn StateRead,
    before: Option<u64>,
    version: u64,
    entries: &[Entry],
) -> Result<Update, ReadError> {
    let mut work = Work { view, version, writes: Vec::new(), replaced: Vec::new() };
    let root = work.insert(before, entries, 0)?;
    Ok(Update { root: Digest(root.hash), writes: work.writes, replaced: work.replaced })
}

/// A view of nothing: what an empty tree grows from.
pub(super) struct Nothing;

impl StateRead for Nothing {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(None)
    }
    fn last(&self, _: &[u8], _: &[u8]) -> Result<Option<Pair>, ReadError> {
        Ok(None)
    }
}

fn nibble(hash: &KeyHash, depth: usize) -> usize {
    let byte = hash.0.get(depth / 2).copied().unwrap_or_default();
    usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f })
}

struct Work<'v> {
    view: &'v dyn StateRead,
    version: u64,
    writes: Vec<Write>,
    replaced: Vec<Vec<u8>>,
}

impl Work<'_> {
    /// The node over the entries, which share their first `depth` nibbles, and over what the node of version `old` there
    /// has.
    fn insert(&mut self, old: Option<u64>, entries: &[Entry], depth: usize) -> Result<Child, ReadError> {
        let (Some((first, _)), true) = (entries.first(), depth <= DEPTH) else {
            return Err(ReadError("a key is to be written twice, or none is".to_owned()));
        };
        let Some(version) = old else { return self.grow(entries, depth) };
        let key = node_key(version, first, depth);
        let bytes =
            self.view.get(&key)?.ok_or_else(|| ReadError("a node of the tree is missing".to_owned()))?;
        let node =
            Node::parse(&bytes).ok_or_else(|| ReadError("a node of the tree is damaged".to_owned()))?;
        if !matches!(node, Node::Null) {
            self.replaced.push(key);
        }
        match node {
            Node::Null => self.grow(entries, depth),
            Node::Inner(children) => self.branch(*children, entries, depth),
            Node::Leaf(hash, value) => match entries.binary_search_by_key(&hash, |(key, _)| *key) {
                Ok(_) => self.grow(entries, depth),
                // It moves down, out of the way of what comes in.
                Err(at) => {
                    let mut all = entries.to_vec();
                    all.insert(at, (hash, value));
                    self.grow(&all, depth)
                }
            },
        }
    }

    /// A node where there was none.
    fn grow(&mut self, entries: &[Entry], depth: usize) -> Result<Child, ReadError> {
        if let [(key, value)] = entries {
            let (hash, bytes) = leaf(key, value);
            self.writes.push(Write::Put(node_key(self.version, key, depth), bytes));
            return Ok(Child { hash, version: self.version, leaves: None });
        }
        self.branch([const { None }; WIDTH], entries, depth)
    }

    fn branch(
        &mut self,
        mut children: [Option<Child>; WIDTH],
        entries: &[Entry],
        depth: usize,
    ) -> Result<Child, ReadError> {
        let mut rest = entries;
        while let Some((head, _)) = rest.first() {
            let at = nibble(head, depth);
            let (same, others) = rest.split_at(rest.partition_point(|(key, _)| nibble(key, depth) <= at));
            if let Some(slot) = children.get_mut(at) {
                let old = slot.as_ref().map(|child| child.version);
                *slot = Some(self.insert(old, same, depth + 1)?);
            }
            rest = others;
        }
        let (hash, leaves, bytes) = inner(&children);
        if let Some((first, _)) = entries.first() {
            self.writes.push(Write::Put(node_key(self.version, first, depth), bytes));
        }
        Ok(Child { hash, version: self.version, leaves: Some(leaves) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Changes, root, write};
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Default)]
    struct Store(BTreeMap<Vec<u8>, Vec<u8>>);

    impl StateRead for Store {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
            Ok(self.0.get(key).cloned())
        }
        fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, ReadError> {
            let found = self.0.range(from.to_vec()..=to.to_vec()).next_back();
            Ok(found.map(|(k, v)| (k.clone(), v.clone())))
        }
    }

    impl Store {
        fn take(&mut self, writes: &[Write]) {
            for write in writes {
                match write {
                    Write::Put(key, value) => self.0.insert(key.clone(), value.clone()),
                    Write::Delete(key) => self.0.remove(key),
                };
            }
        }
    }

    /// Node writes, and marks of replaced pairs in any order.
    fn comparable(writes: Vec<Write>) -> (BTreeSet<Pair>, BTreeSet<Vec<u8>>) {
        let (mut pairs, mut stale) = (BTreeSet::new(), BTreeSet::new());
        for write in writes {
            let Write::Put(key, value) = write else { panic!("a deletion") };
            if key.starts_with(&super::super::stale_key(0)[..1]) {
                stale.extend(super::super::stale_targets(&value).unwrap());
            } else {
                assert!(pairs.insert((key, value)), "a pair is written twice");
            }
        }
        (pairs, stale)
    }

    #[test]
    fn nodes_values_and_marks_are_those_of_jmt() {
        // A small multiplicative generator: keys come again, so that values are replaced, leaves pushed down.
        let mut state = 7_u64;
        let mut roll = move |sides: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        for size in [1, 3, 40, 600] {
            let mut store = Store::default();
            store.take(&[Write::Put(node_key(0, &KeyHash([0; 32]), 0), vec![0])]);
            let mut known: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)> = BTreeMap::new();
            for version in 1..30_u64 {
                let mut changes = Changes::new();
                for _ in 0..=roll(size) {
                    let key = format!("key/{}", roll(4 * size)).into_bytes();
                    let value = Some(roll(1 << 20).to_be_bytes().to_vec());
                    changes.insert(key.clone(), (known.get(&key).cloned(), value));
                }
                let ours = write(&store, version, changes.clone()).unwrap();
                let theirs = super::super::write_singly(&store, version, changes.clone()).unwrap();
                assert_eq!(ours.0, theirs.0, "root of version {version}, {size}");
                assert_eq!(comparable(ours.1.clone()), comparable(theirs.1), "version {version}, {size}");
                store.take(&ours.1);
                assert_eq!(root(&store, version).unwrap(), ours.0);
                for (key, (_, value)) in changes {
                    known.insert(key, (version, value));
                }
            }
        }
    }

    #[test]
    fn keys_that_share_all_but_their_last_nibble_are_told_apart() {
        let entry = |last: u8| {
            let mut key = [0x5a; 32];
            key[31] = last;
            (KeyHash(key), [last; 32])
        };
        let mut store = Store::default();
        let mut before = None;
        for (version, last) in (1..).zip([0x00, 0x01, 0x10, 0x01]) {
            let update = put(&store, before, version, &[entry(last)]).unwrap();
            store.take(&update.writes);
            before = Some(version);
        }
        let all = [entry(0x00), entry(0x01), entry(0x10)];
        let whole = put(&Store::default(), None, 9, &all).unwrap();
        assert_eq!(whole.root, root(&store, 4).unwrap());
        assert!(put(&store, before, 5, &[]).is_err());
        assert!(put(&store, before, 5, &[entry(0), entry(0)]).is_err(), "a key twice");
        assert!(put(&store, Some(77), 78, &[entry(0)]).is_err(), "a missing node");
    }
}
