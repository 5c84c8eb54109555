//! The state tree: a Jellyfish Merkle tree (Diem, 2021; crate `jmt`) with SHA-256, version = height, kept in plain
//! key-value pairs.
//!
//! | key after the prefix | value |
//! |---|---|
//! | `n` version path | tree node (borsh, as jmt defines it) |
//! | `v` key-hash version | `1` value, or `0` for a deletion |
//! | `s` version key | nothing: the named pair is of no use to readers at this version or later |
//! | `f` | size and peaks of the ledger log |

use crate::state::{PREFIX, ReadError, StateRead};
use consilium_domain::merkle::Frontier;
use consilium_domain::port::kv::Write;
use consilium_domain::{Decoder, Digest, Encoder};
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, Sha256Jmt};
use std::collections::BTreeMap;

/// A proof against a state root, as jmt defines it.
pub(crate) type Proof = jmt::proof::SparseMerkleProof<sha2::Sha256>;

/// The tree's key of a state key.
pub(crate) fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(Digest::sha256(&[key]).0)
}

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = PREFIX.to_vec();
    out.push(kind);
    parts.iter().for_each(|p| out.extend_from_slice(p));
    out
}

fn value_key(hash: KeyHash, version: u64) -> Vec<u8> {
    key(b'v', &[&hash.0, &version.to_be_bytes()])
}

fn node_key(node: &NodeKey) -> Result<Vec<u8>, ReadError> {
    let path = borsh::to_vec(node.nibble_path()).map_err(|e| ReadError(e.to_string()))?;
    Ok(key(b'n', &[&node.version().to_be_bytes(), &path]))
}

fn stale_key(since: u64, stale: &[u8]) -> Vec<u8> {
    key(b's', &[&since.to_be_bytes(), stale])
}

/// Bounds (`from <= key < to`) of the marks of pairs that readers at `version` or later do not need.
pub(crate) fn stale_range(version: u64) -> (Vec<u8>, Vec<u8>) {
    (key(b's', &[]), key(b's', &[&version.saturating_add(1).to_be_bytes()]))
}

/// The pair that a mark names.
pub(crate) fn stale_target(mark: &[u8]) -> Option<&[u8]> {
    mark.get(PREFIX.len() + 1 + 8..)
}

/// A value (`None`: a deletion) and the version that wrote it.
pub(crate) type Versioned = (u64, Option<Vec<u8>>);

/// The newest value of a state key at or before `version`.
pub(crate) fn read(
    view: &dyn StateRead,
    hash: KeyHash,
    version: u64,
) -> Result<Option<Versioned>, ReadError> {
    let Some((found, value)) = view.last(&value_key(hash, 0), &value_key(hash, version))? else {
        return Ok(None);
    };
    let damaged = || ReadError("a value is damaged".to_owned());
    let tail = found.last_chunk::<8>().ok_or_else(damaged)?;
    let written = u64::from_be_bytes(*tail);
    match value.split_first() {
        Some((0, [])) => Ok(Some((written, None))),
        Some((1, rest)) => Ok(Some((written, Some(rest.to_vec())))),
        _ => Err(damaged()),
    }
}

/// Bounds (`from <= key < to`) of all versions of all values.
pub(crate) fn value_range() -> (Vec<u8>, Vec<u8>) {
    (key(b'v', &[]), key(b'v' + 1, &[]))
}

/// Key hash, version and value (`None`: a deletion).
pub(crate) type Version = ([u8; 32], u64, Option<Vec<u8>>);

/// What a pair of [`value_range`] says.
pub(crate) fn value_pair(key: &[u8], value: &[u8]) -> Result<Version, ReadError> {
    let parse = || {
        let (hash, version) = key.get(PREFIX.len() + 1..)?.split_first_chunk::<32>()?;
        let version = u64::from_be_bytes(version.try_into().ok()?);
        match value.split_first()? {
            (0, []) => Some((*hash, version, None)),
            (1, rest) => Some((*hash, version, Some(rest.to_vec()))),
            _ => None,
        }
    };
    parse().ok_or_else(|| ReadError("a value is damaged".to_owned()))
}

/// A view in which the tree is empty: its only node is the root, of whatever version is asked for.
struct Empty {
    null: Vec<u8>,
}

impl StateRead for Empty {
    fn get(&self, asked: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(asked.starts_with(&key(b'n', &[])).then(|| self.null.clone()))
    }
    fn last(&self, _: &[u8], _: &[u8]) -> Result<Option<consilium_domain::port::kv::Pair>, ReadError> {
        Ok(None)
    }
}

/// Adapts a view to jmt's reader.
struct Reader<'v>(&'v dyn StateRead);

impl TreeReader for Reader<'_> {
    fn get_node_option(&self, node: &NodeKey) -> anyhow::Result<Option<Node>> {
        match self.0.get(&node_key(node)?)? {
            None => Ok(None),
            Some(bytes) => Ok(Some(borsh::from_slice(&bytes)?)),
        }
    }
    fn get_value_option(&self, version: u64, hash: KeyHash) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(read(self.0, hash, version)?.and_then(|(_, value)| value))
    }
    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        // Asked for only when a tree is restored from a snapshot, which nobody does here.
        Err(anyhow::anyhow!("trees are not restored leaf by leaf"))
    }
}

fn failed(error: anyhow::Error) -> ReadError {
    match error.downcast::<ReadError>() {
        Ok(read) => read,
        Err(other) => ReadError(format!("{other:#}")),
    }
}

/// Root of the state after the block at `version`.
pub(crate) fn root(view: &dyn StateRead, version: u64) -> Result<Digest, ReadError> {
    let reader = Reader(view);
    Sha256Jmt::new(&reader).get_root_hash(version).map(|r| Digest(r.0)).map_err(failed)
}

/// The value of a state key at `version` and the proof of it, or of its absence.
pub(crate) fn prove(
    view: &dyn StateRead,
    version: u64,
    key: &[u8],
) -> Result<(Option<Vec<u8>>, Proof), ReadError> {
    let reader = Reader(view);
    Sha256Jmt::new(&reader).get_with_proof(key_hash(key), version).map_err(failed)
}

/// Changes of a block: for each state key the new value (`None` deletes) and the version of the one before.
pub(crate) type Changes = BTreeMap<Vec<u8>, (Option<u64>, Option<Vec<u8>>)>;

/// Writes the changes as `version` (which must be the one after the newest): the new root and all key-value writes.
pub(crate) fn write(
    view: &dyn StateRead,
    version: u64,
    changes: Changes,
) -> Result<(Digest, Vec<Write>), ReadError> {
    let mut writes = Vec::new();
    let mut values = Vec::with_capacity(changes.len());
    for (state_key, (before, value)) in changes {
        let hash = key_hash(&state_key);
        if let Some(before) = before {
            writes.push(Write::Put(stale_key(version, &value_key(hash, before)), Vec::new()));
        }
        values.push((hash, value));
    }
    let (root, more) = write_values(view, version, values)?;
    writes.extend(more);
    Ok((root, writes))
}

/// The writes of a tree that holds nothing but these values, all of them at `version` (from 1).
pub(crate) fn write_alone(
    version: u64,
    values: Vec<(KeyHash, Option<Vec<u8>>)>,
) -> Result<(Digest, Vec<Write>), ReadError> {
    let null = borsh::to_vec(&Node::Null).map_err(|e| ReadError(e.to_string()))?;
    write_values(&Empty { null }, version, values)
}

fn write_values(
    view: &dyn StateRead,
    version: u64,
    values: Vec<(KeyHash, Option<Vec<u8>>)>,
) -> Result<(Digest, Vec<Write>), ReadError> {
    let mut writes = Vec::new();
    let reader = Reader(view);
    let (root, batch) = Sha256Jmt::new(&reader).put_value_set(values, version).map_err(failed)?;
    for (node, content) in batch.node_batch.nodes() {
        let bytes = borsh::to_vec(content).map_err(|e| ReadError(e.to_string()))?;
        writes.push(Write::Put(node_key(node)?, bytes));
    }
    for ((written, hash), value) in batch.node_batch.values() {
        let bytes = match value {
            None => vec![0],
            Some(v) => [&[1], v.as_slice()].concat(),
        };
        writes.push(Write::Put(value_key(*hash, *written), bytes));
    }
    for stale in &batch.stale_node_index_batch {
        let target = node_key(&stale.node_key)?;
        writes.push(Write::Put(stale_key(stale.stale_since_version, &target), Vec::new()));
    }
    Ok((Digest(root.0), writes))
}

/// The ledger log's frontier; empty before genesis.
pub(crate) fn frontier(view: &dyn StateRead) -> Result<Frontier, ReadError> {
    let Some(bytes) = view.get(&key(b'f', &[]))? else { return Ok(Frontier::default()) };
    frontier_of(&bytes).ok_or_else(|| ReadError("the log's frontier is damaged".to_owned()))
}

/// The frontier of [`frontier_bytes`].
pub(crate) fn frontier_of(bytes: &[u8]) -> Option<Frontier> {
    let mut input = Decoder::new(bytes);
    let size = input.u64("log size").ok()?;
    let peaks = input.list(64, "log peaks").ok()?;
    input.finish().ok()?;
    Frontier::from_parts(size, peaks)
}

/// Size and peaks.
pub(crate) fn frontier_bytes(frontier: &Frontier) -> Vec<u8> {
    let mut out = Encoder::default();
    out.u64(frontier.size()).list(frontier.peaks());
    out.into_bytes()
}

/// The write that stores the frontier.
pub(crate) fn frontier_write(frontier: &Frontier) -> Write {
    Write::Put(key(b'f', &[]), frontier_bytes(frontier))
}
