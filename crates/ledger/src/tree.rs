//! The state tree: a Jellyfish Merkle tree (Diem, 2021; crate `jmt`) with SHA-256, version = height, kept in plain
//! key-value pairs.
//!
//! | key | value |
//! |---|---|
//! | `N` version depth path | tree node (borsh, as jmt defines it) |
//! | `V` key-hash | version that wrote it (8), then `1` value, or `0` for a deletion: the newest |
//! | `V` key-hash version | `1` value, or `0` for a deletion: what that version wrote, replaced since |
//! | `S` version | the keys (canonical list) of pairs that are of no use to readers at this version or later |
//! | `F` | size and peaks of the ledger log |

mod node;
mod update;
pub(crate) mod whole;

use crate::state::{self, ReadError, StateRead};
use consilium_domain::canon::Canonical;
use consilium_domain::merkle::Frontier;
use consilium_domain::port::kv::Write;
use consilium_domain::{Decoder, Digest, Encoder};
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader};
use jmt::{KeyHash, Sha256Jmt, ValueHash};
use std::collections::BTreeMap;

/// A proof against a state root, as jmt defines it.
pub(crate) type Proof = jmt::proof::SparseMerkleProof<sha2::Sha256>;

/// The tree's key of a state key.
pub(crate) fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(Digest::sha256(&[key]).0)
}

fn key(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>());
    out.push(kind);
    parts.iter().for_each(|p| out.extend_from_slice(p));
    out
}

fn newest_key(hash: KeyHash) -> Vec<u8> {
    key(b'V', &[&hash.0])
}

fn replaced_key(hash: KeyHash, version: u64) -> Vec<u8> {
    key(b'V', &[&hash.0, &version.to_be_bytes()])
}

fn encode_value(value: Option<&[u8]>, before: &[u8]) -> Vec<u8> {
    match value {
        None => [before, &[0]].concat(),
        Some(v) => [before, &[1], v].concat(),
    }
}

fn decode_value(bytes: &[u8]) -> Option<Option<&[u8]>> {
    match bytes.split_first()? {
        (0, []) => Some(None),
        (1, rest) => Some(Some(rest)),
        _ => None,
    }
}

fn node_key(node: &NodeKey) -> Result<Vec<u8>, ReadError> {
    let path = borsh::to_vec(node.nibble_path()).map_err(|e| ReadError(e.to_string()))?;
    // Number of nibbles (8, little-endian), number of octets (4), and these.
    let (depth, octets) = (path.first().copied().unwrap_or_default(), path.get(12..).unwrap_or_default());
    Ok(node::key_of(node.version(), depth, octets))
}

fn stale_key(since: u64) -> Vec<u8> {
    key(b'S', &[&since.to_be_bytes()])
}

/// Bounds (`from <= key < to`) of the marks of pairs that readers at `version` or later do not need.
pub(crate) fn stale_range(version: u64) -> (Vec<u8>, Vec<u8>) {
    (key(b'S', &[]), key(b'S', &[&version.saturating_add(1).to_be_bytes()]))
}

/// The keys of the pairs that a mark names.
pub(crate) fn stale_targets(mark: &[u8]) -> Result<Vec<Vec<u8>>, ReadError> {
    state::decode(mark, "the mark of stale pairs")
}

/// A value (`None`: a deletion) and the version that wrote it.
pub(crate) type Versioned = (u64, Option<Vec<u8>>);

/// The newest value of a state key at or before `version`. Of the newest state it costs one look-up of one key, which a
/// store's filters answer where there is none.
pub(crate) fn read(
    view: &dyn StateRead,
    hash: KeyHash,
    version: u64,
) -> Result<Option<Versioned>, ReadError> {
    let damaged = || ReadError("a value is damaged".to_owned());
    let Some(newest) = view.get(&newest_key(hash))? else { return Ok(None) };
    let (written, value) = newest.split_first_chunk::<8>().ok_or_else(damaged)?;
    let written = u64::from_be_bytes(*written);
    if written <= version {
        let value = decode_value(value).ok_or_else(damaged)?;
        return Ok(Some((written, value.map(<[u8]>::to_vec))));
    }
    let Some((found, value)) = view.last(&replaced_key(hash, 0), &replaced_key(hash, version))? else {
        return Ok(None);
    };
    let written = u64::from_be_bytes(*found.last_chunk::<8>().ok_or_else(damaged)?);
    let value = decode_value(&value).ok_or_else(damaged)?;
    Ok(Some((written, value.map(<[u8]>::to_vec))))
}

/// Bounds (`from <= key < to`) of all versions of all values.
pub(crate) fn value_range() -> (Vec<u8>, Vec<u8>) {
    (key(b'V', &[]), key(b'V' + 1, &[]))
}

/// Key hash, version and value (`None`: a deletion).
pub(crate) type Version = ([u8; 32], u64, Option<Vec<u8>>);

/// What a pair of [`value_range`] says. The newest version of a key comes first, then the others as they were written.
pub(crate) fn value_pair(key: &[u8], value: &[u8]) -> Result<Version, ReadError> {
    let parse = || {
        let (hash, version) = key.get(1..)?.split_first_chunk::<32>()?;
        let (version, value) = match version {
            [] => value.split_first_chunk::<8>()?,
            replaced => (replaced.try_into().ok()?, value),
        };
        Some((*hash, u64::from_be_bytes(*version), decode_value(value)?.map(<[u8]>::to_vec)))
    };
    parse().ok_or_else(|| ReadError("a value is damaged".to_owned()))
}

/// A view in which the tree is empty: its only node is the root, of whatever version is asked for.
#[cfg(test)]
struct Empty {
    null: Vec<u8>,
}

#[cfg(test)]
impl StateRead for Empty {
    fn get(&self, asked: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(asked.starts_with(&key(b'N', &[])).then(|| self.null.clone()))
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

/// Changes of a block: for each state key what it replaces, if anything, and the new value (`None` deletes).
pub(crate) type Changes = BTreeMap<Vec<u8>, (Option<Versioned>, Option<Vec<u8>>)>;

/// Writes the changes as `version` (which must be the one after the newest): the new root and all key-value writes.
///
/// What only sets values goes in at once ([`update`]); a block that deletes some, of which there are few, is left to jmt.
pub(crate) fn write(
    view: &dyn StateRead,
    version: u64,
    changes: Changes,
) -> Result<(Digest, Vec<Write>), ReadError> {
    let Some(before) = version.checked_sub(1) else { return write_singly(view, version, changes) };
    if changes.is_empty() || changes.values().any(|(_, value)| value.is_none()) {
        return write_singly(view, version, changes);
    }
    let (mut writes, mut stale, mut entries) = (Vec::new(), Vec::new(), Vec::with_capacity(changes.len()));
    for (state_key, (before, value)) in changes {
        let (hash, value) = (key_hash(&state_key), value.unwrap_or_default());
        if let Some((before, replaced)) = before {
            // Readers of earlier versions look for it here until it is pruned.
            let place = replaced_key(hash, before);
            writes.push(Write::Put(place.clone(), encode_value(replaced.as_deref(), &[])));
            stale.push(place);
        }
        let bytes = encode_value(Some(&value), &version.to_be_bytes());
        writes.push(Write::Put(newest_key(hash), bytes));
        entries.push((hash, ValueHash::with::<sha2::Sha256>(&value).0));
    }
    entries.sort_unstable();
    let tree = update::put(view, Some(before), version, &entries)?;
    writes.extend(tree.writes);
    stale.extend(tree.replaced);
    writes.push(Write::Put(stale_key(version), stale.to_canonical()));
    Ok((tree.root, writes))
}

/// [`write`] by jmt, one value after the other.
fn write_singly(
    view: &dyn StateRead,
    version: u64,
    changes: Changes,
) -> Result<(Digest, Vec<Write>), ReadError> {
    let (mut writes, mut stale) = (Vec::new(), Vec::new());
    let mut values = Vec::with_capacity(changes.len());
    for (state_key, (before, value)) in changes {
        let hash = key_hash(&state_key);
        if let Some((before, replaced)) = before {
            // Readers of earlier versions look for it here until it is pruned.
            let place = replaced_key(hash, before);
            writes.push(Write::Put(place.clone(), encode_value(replaced.as_deref(), &[])));
            stale.push(place);
        }
        values.push((hash, value));
    }
    let (root, more) = write_values(view, version, values, stale)?;
    writes.extend(more);
    Ok((root, writes))
}

/// The writes of a tree that holds nothing but these values, all of them at `version` (from 1), as jmt makes it: what
/// [`whole::write`] is held against.
#[cfg(test)]
pub(crate) fn write_alone(
    version: u64,
    values: Vec<(KeyHash, Option<Vec<u8>>)>,
) -> Result<(Digest, Vec<Write>), ReadError> {
    let null = borsh::to_vec(&Node::Null).map_err(|e| ReadError(e.to_string()))?;
    write_values(&Empty { null }, version, values, Vec::new())
}

/// `stale`: keys of pairs that this version makes useless, beside the nodes that it replaces.
fn write_values(
    view: &dyn StateRead,
    version: u64,
    values: Vec<(KeyHash, Option<Vec<u8>>)>,
    mut stale: Vec<Vec<u8>>,
) -> Result<(Digest, Vec<Write>), ReadError> {
    let mut writes = Vec::new();
    let reader = Reader(view);
    let (root, batch) = Sha256Jmt::new(&reader).put_value_set(values, version).map_err(failed)?;
    for (node, content) in batch.node_batch.nodes() {
        let bytes = borsh::to_vec(content).map_err(|e| ReadError(e.to_string()))?;
        writes.push(Write::Put(node_key(node)?, bytes));
    }
    for ((written, hash), value) in batch.node_batch.values() {
        let bytes = encode_value(value.as_deref(), &written.to_be_bytes());
        writes.push(Write::Put(newest_key(*hash), bytes));
    }
    for replaced in &batch.stale_node_index_batch {
        stale.push(node_key(&replaced.node_key)?);
    }
    if !stale.is_empty() {
        // One mark for all: a pair of its own for each would double what a block writes.
        writes.push(Write::Put(stale_key(version), stale.to_canonical()));
    }
    Ok((Digest(root.0), writes))
}

/// The ledger log's frontier; empty before genesis.
pub(crate) fn frontier(view: &dyn StateRead) -> Result<Frontier, ReadError> {
    let Some(bytes) = view.get(&key(b'F', &[]))? else { return Ok(Frontier::default()) };
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
    Write::Put(key(b'F', &[]), frontier_bytes(frontier))
}
