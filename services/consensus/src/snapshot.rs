//! State snapshots: a node that joins loads the state of a recent height instead of executing every block.
//!
//! Every member makes one at the same heights, from the same state, in the same chunks, so that chunks can be fetched
//! from all of them at once. Nobody is trusted: a chunk must have the digest that the list names, and the whole must
//! have the root that the header of the next block certifies.

use crate::backup::Backups;
use crate::chain::{Chain, ChainError, View};
use crate::members::{self, Members};
use crate::sync::{self, PATIENCE};
use anyhow::{Context, bail, ensure};
use consilium_domain::block::{Block, CommitCertificate};
use consilium_domain::port::kv::KvError;
use consilium_domain::{CanonError, Canonical, Digest, Height, OrgId, canonical_struct};
use consilium_ledger::snapshot::{
    Gather, Leaf, chunk_digest, decode_chunk, encode_chunk, restore, value_range,
};
use consilium_runtime::Kit;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of values after which a chunk is full: one message carries it.
const CHUNK: usize = 400 * 1024;
/// Most leaves of a chunk, and most chunks.
const MOST_LEAVES: usize = 100_000;
const MOST_CHUNKS: usize = 1_000_000;
/// Pairs read from the store at a time.
const READ: usize = 20_000;
/// Chunks under way at a time.
const FETCHES: usize = 8;
/// Snapshots kept on the disk: one may be on its way to somebody while the next is made.
const KEPT: usize = 2;
/// Blocks that are sooner executed than a snapshot is loaded.
const NEAR: u64 = 500;

/// What a snapshot consists of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manifest {
    pub height: Height,
    /// Size and peaks of the ledger log.
    pub frontier: Vec<u8>,
    pub chunks: Vec<Digest>,
}
canonical_struct!(Manifest { height, frontier, chunks });

/// The snapshots of a node, and the backups that it makes at the same heights.
#[derive(Debug, Clone)]
pub struct Snapshots(PathBuf, Option<Backups>);

impl Snapshots {
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("snapshots"), None)
    }

    /// Makes a backup beside every snapshot.
    #[must_use]
    pub fn with_backups(self, backups: Option<Backups>) -> Self {
        Self(self.0, backups)
    }

    fn folder(&self, height: u64) -> PathBuf {
        self.0.join(format!("{height:020}"))
    }

    /// Heights of whole snapshots, ascending.
    fn heights(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut all: Vec<u64> =
            entries.filter_map(|e| e.file_name().to_str().and_then(|n| n.parse().ok())).collect();
        all.sort_unstable();
        all
    }

    /// Height of the oldest one that is offered.
    pub fn oldest(&self) -> Option<u64> {
        self.heights().first().copied()
    }

    /// Writes the snapshot of the state that `view` shows, whole or not at all, and deletes old ones.
    ///
    /// # Errors
    /// When the store or the disk fails.
    pub fn make(&self, view: &View) -> anyhow::Result<Manifest> {
        let (height, frontier) = {
            let ledger = view.ledger()?;
            (ledger.head().height, ledger.log_frontier())
        };
        let unfinished = self.0.join("unfinished");
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir_all(&unfinished)?;
        let mut manifest = Manifest { height, frontier, chunks: Vec::new() };
        let (mut chunk, mut bytes) = (Vec::<Leaf>::new(), 0);
        let mut flush = |chunk: &mut Vec<Leaf>| -> anyhow::Result<()> {
            let content = encode_chunk(chunk);
            let mut file = std::fs::File::create(unfinished.join(manifest.chunks.len().to_string()))?;
            file.write_all(&content)?;
            manifest.chunks.push(chunk_digest(&content));
            chunk.clear();
            Ok(())
        };
        let mut gather = Gather::new(height);
        let (mut from, to) = value_range();
        loop {
            let pairs = view.scan(&from, &to, READ)?;
            for pair in &pairs {
                if let Some(leaf) = gather.pair(pair)? {
                    bytes += leaf.value.len() + 36;
                    chunk.push(leaf);
                    if bytes >= CHUNK {
                        flush(&mut chunk)?;
                        bytes = 0;
                    }
                }
            }
            match pairs.last() {
                // The next key after this one.
                Some((key, _)) => from = [key.as_slice(), &[0]].concat(),
                None => break,
            }
        }
        chunk.extend(gather.end());
        flush(&mut chunk)?;
        std::fs::write(unfinished.join("manifest"), manifest.to_canonical())?;
        let folder = self.folder(height.0);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(&unfinished, &folder)?;
        let heights = self.heights();
        for old in heights.iter().take(heights.len().saturating_sub(KEPT)) {
            std::fs::remove_dir_all(self.folder(*old))?;
        }
        if let Some(backups) = &self.1 {
            let made = backups.make(view).context("make a backup")?;
            tracing::info!(height = height.0, file = %made.display(), "made a backup");
        }
        Ok(manifest)
    }

    /// Canonical bytes of the newest manifest.
    pub fn newest(&self) -> Option<Vec<u8>> {
        let height = self.heights().pop()?;
        std::fs::read(self.folder(height).join("manifest")).ok()
    }

    /// A chunk's bytes.
    pub fn chunk(&self, height: u64, index: u32) -> Option<Vec<u8>> {
        std::fs::read(self.folder(height).join(index.to_string())).ok()
    }
}

/// What a joining node asks besides blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Manifest,
    Chunk {
        height: u64,
        index: u32,
    },
    /// Changes of the members above a height.
    Changes {
        after: u64,
    },
}

impl Ask {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Manifest => vec![b'm'],
            Self::Changes { after } => [&b"v"[..], &after.to_be_bytes()].concat(),
            Self::Chunk { height, index } => {
                [&b"c"[..], &height.to_be_bytes(), &index.to_be_bytes()].concat()
            }
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (b'm', []) => Some(Self::Manifest),
            (b'v', after) => Some(Self::Changes { after: u64::from_be_bytes(after.try_into().ok()?) }),
            (b'c', rest) => {
                let (height, index) = rest.split_first_chunk::<8>()?;
                let index = u32::from_be_bytes(index.try_into().ok()?);
                Some(Self::Chunk { height: u64::from_be_bytes(*height), index })
            }
            _ => None,
        }
    }

    pub(crate) fn answer(self, snapshots: &Snapshots, chain: &Chain) -> Result<Option<Vec<u8>>, ChainError> {
        Ok(match self {
            Self::Manifest => snapshots.newest(),
            Self::Chunk { height, index } => snapshots.chunk(height, index),
            Self::Changes { after } => {
                let view = chain.view()?;
                let next = view.ledger()?.head().height.next();
                let mut changes = view.changes_before(next)?;
                changes.retain(|c| c.header.height.0 > after);
                Some(members::encode(&changes))
            }
        })
    }
}

/// Loads the newest snapshot of the members into an empty store, if there is one that is worth it. Gives its height.
///
/// # Errors
/// When the store fails. Members that answer wrongly are passed over.
pub async fn join(kit: &Kit, chain: &Chain, members: &Members) -> anyhow::Result<Option<u64>> {
    let me = &kit.common.organisation.name;
    let mut offers: BTreeMap<Manifest, Vec<OrgId>> = BTreeMap::new();
    for org in members.newest().iter().map(|m| m.organisation.clone()).filter(|org| org != me) {
        let subject = kit.subjects.at(&org).consensus_sync();
        let asked = kit.bus.request(&subject, Ask::Manifest.to_bytes(), Duration::from_secs(1)).await;
        if let Ok(answer) = asked
            && let Some(bytes) = sync::answer(&answer)
            && let Ok(manifest) = Manifest::from_canonical(bytes)
            && manifest.height.0 >= NEAR
            && manifest.chunks.len() <= MOST_CHUNKS
        {
            offers.entry(manifest).or_default().push(org);
        }
    }
    // The greatest height first.
    for (manifest, peers) in offers.into_iter().rev() {
        let height = manifest.height.0;
        tracing::info!(height, chunks = manifest.chunks.len(), peers = peers.len(), "loading a snapshot");
        match load(kit, chain, members, &manifest, &peers).await {
            Ok(()) => return Ok(Some(height)),
            // A store that fails is no member's fault.
            Err(error) if error.is::<ChainError>() || error.is::<KvError>() => return Err(error),
            Err(error) => tracing::warn!(height, ?peers, "a snapshot is of no use: {error:#}"),
        }
    }
    Ok(None)
}

async fn load(
    kit: &Kit,
    chain: &Chain,
    members: &Members,
    manifest: &Manifest,
    peers: &[OrgId],
) -> anyhow::Result<()> {
    let height = manifest.height.0;
    let certified = async |height: u64| -> anyhow::Result<(Vec<u8>, Block, CommitCertificate)> {
        for org in peers {
            let subject = kit.subjects.at(org).consensus_sync();
            let Ok(answer) = kit.bus.request(&subject, sync::request(height), PATIENCE).await else {
                continue;
            };
            let Some(bytes) = sync::answer(&answer) else { continue };
            let Ok(response) = consilium_bft::wire::SyncResponse::from_bytes(bytes, 96 * 1024 * 1024) else {
                continue;
            };
            let Ok(block) = Block::from_canonical(&response.body) else { continue };
            if members.verify(&block.header, &response.certificate).is_ok()
                && block.header.height.0 == height
                && crate::chain::identify(&response.body) == Some(response.certificate.block)
            {
                return Ok((response.body.to_vec(), block, response.certificate));
            }
        }
        bail!("nobody has a certified block {height}")
    };
    let (_, next, _) = certified(height + 1).await?;
    let (body, _, certificate) = certified(height).await?;
    ensure!(next.header.previous == certificate.block, "the next block does not follow");
    let start = kit.clock.monotonic();
    let mut leaves = Vec::new();
    let fetches = manifest.chunks.clone().into_iter().enumerate().map(|(index, digest)| async move {
        for attempt in 0..peers.len() * 2 {
            let org = peers.get((index + attempt) % peers.len()).context("no peer")?;
            let subject = kit.subjects.at(org).consensus_sync();
            let ask = Ask::Chunk { height, index: u32::try_from(index)? };
            let Ok(answer) = kit.bus.request(&subject, ask.to_bytes(), PATIENCE).await else { continue };
            if let Some(chunk) = sync::answer(&answer).filter(|chunk| chunk_digest(chunk) == digest) {
                return decode_chunk(chunk, MOST_LEAVES).map_err(|e: CanonError| anyhow::anyhow!(e));
            }
        }
        bail!("chunk {index} is not to be had")
    });
    let mut fetched = futures::stream::iter(fetches).buffered(FETCHES);
    while let Some(chunk) = fetched.next().await {
        leaves.extend(chunk?);
    }
    let (count, got) = (leaves.len(), kit.clock.monotonic());
    let applied = restore(leaves, &manifest.frontier, &next.header)?;
    let verified = kit.clock.monotonic();
    let before: Vec<_> = members.changes().iter().filter(|c| c.header.height.0 <= height).cloned().collect();
    chain.install(&body, &certificate, applied, &before)?;
    let seconds = |from: Duration, to: Duration| (to - from).as_secs_f64();
    tracing::info!(
        leaves = count,
        fetched_s = seconds(start, got),
        verified_s = seconds(got, verified),
        installed_s = seconds(verified, kit.clock.monotonic()),
        "loaded a snapshot"
    );
    Ok(())
}
