//! A long chain with a large state, made as four validators would make it, but in one process: every transaction is
//! signed, attested, checked and executed, every block built by the ledger and certified by three precommits. What is
//! left out is the agreement and the second verification of signatures that this process has just made.

use crate::net::{self, Net};
use anyhow::{Context, Result, ensure};
use consilium_consensus::chain::Chain;
use consilium_consensus::snapshot::Snapshots;
use consilium_consensus::wal::Wal;
use consilium_domain::block::{CommitCertificate, CommitSignature, Precommit};
use consilium_domain::genesis::{Genesis, Params};
use consilium_domain::{Canonical, Height};
use consilium_store::FjallKv;
use consilium_testkit::bench::Report;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const ORGANISATIONS: usize = 4;
const CONSENSUS: u8 = 1;
/// Heights whose state a node keeps.
const KEPT_STATES: u64 = 256;

/// One epoch and an expiry beyond the end, so that attestations can be made before their block is known.
pub fn params() -> Params {
    Params { epoch_blocks: 1 << 40, attestation_blocks: 1 << 20, ..Params::default() }
}

/// What was made.
#[derive(Debug, Serialize, Deserialize)]
pub struct Made {
    pub height: u64,
    pub snapshot: u64,
    /// Batches, each a leaf of the state tree.
    pub batches: u64,
    pub chunks: usize,
    /// Of all chunks.
    pub bytes: u64,
    pub making_s: f64,
    /// Size of a node's folder on the disk.
    pub disk: u64,
    pub executing_s: f64,
}

impl Made {
    pub fn conditions(&self, report: Report) -> Report {
        report
            .condition(
                "state",
                format!("{} batches of one record: as many leaves of the state tree", self.batches),
            )
            .condition("chain", format!("{} blocks, snapshot at {}", self.height, self.snapshot))
            .condition(
                "executing all of it took",
                format!("{:.0} s, signing in the same process", self.executing_s),
            )
            .condition("a node's folder", format!("{} MB with the snapshot", self.disk / 1_000_000))
    }
}

/// Makes the chain, or takes it from the folder `CONSILIUM_BENCH_STATE` if there is one in it, and puts it into the
/// folders of the first `nodes` members.
pub fn make(net: &mut Net, nodes: usize, blocks: u64, batches: u64, tail: u64) -> Result<Made> {
    let kept = std::env::var_os("CONSILIUM_BENCH_STATE").map(PathBuf::from);
    let made = match kept.as_ref().filter(|k| k.join("made.json").exists()) {
        Some(kept) => {
            let text = std::fs::read(kept.join("genesis.json"))?;
            std::fs::write(net.dir.join("genesis.json"), &text)?;
            net.genesis = serde_json::from_slice(&text)?;
            copy(&kept.join("data"), &net.data(0))?;
            serde_json::from_slice(&std::fs::read(kept.join("made.json"))?)?
        }
        None => make_anew(net, blocks, batches, tail)?,
    };
    if let Some(kept) = kept.filter(|k| !k.join("made.json").exists()) {
        std::fs::create_dir_all(&kept)?;
        std::fs::copy(net.dir.join("genesis.json"), kept.join("genesis.json"))?;
        copy(&net.data(0), &kept.join("data"))?;
        std::fs::write(kept.join("made.json"), serde_json::to_vec(&made)?)?;
    }
    for i in 1..nodes {
        copy(&net.data(0), &net.data(i))?;
    }
    Ok(made)
}

/// Copies a folder. Tables of the store and chunks of snapshots are linked: nobody ever writes to them again.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let final_files = from.ends_with("tables") || from.parent().is_some_and(|p| p.ends_with("snapshots"));
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        if entry.metadata()?.is_dir() {
            copy(&old, &new)?;
        } else if final_files {
            std::fs::hard_link(&old, &new)?;
        } else {
            std::fs::copy(&old, &new)?;
        }
    }
    Ok(())
}

/// Into the folder of the first member, with an empty write-ahead log.
fn make_anew(net: &Net, blocks: u64, batches: u64, tail: u64) -> Result<Made> {
    let data = net.data(0);
    std::fs::create_dir_all(&data)?;
    let kv = FjallKv::open(&data.join("kv"))?;
    let chain = Chain::open(Arc::new(kv), &net.genesis, true)?;
    let (sender, inbox) = sync_channel(64);
    let genesis = net.genesis.clone();
    let signer = std::thread::spawn(move || sign(&genesis, blocks, batches, tail, &sender));
    let start = net.clock.monotonic();
    extend(net, &chain, &inbox, blocks)?;
    chain.persist()?;
    let before = net.clock.monotonic();
    let manifest = Snapshots::new(&data).make(&chain.view()?)?;
    let after = net.clock.monotonic();
    extend(net, &chain, &inbox, tail)?;
    chain.persist()?;
    let executing = net.clock.monotonic() - after + (before - start);
    signer.join().map_err(|_| anyhow::anyhow!("the signing thread has ended"))??;
    let head = chain.view()?.ledger()?.head().clone();
    ensure!(head.height.0 == blocks + tail, "the chain has {} blocks", head.height);
    drop(chain);
    drop(Wal::open(&data.join("wal"), || Ok(()))?);
    // Each block's time is later than that of the one before: wait until it is in nobody's future.
    while net.clock.now() < head.time {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(Made {
        height: head.height.0,
        snapshot: manifest.height.0,
        batches: blocks * batches + tail,
        chunks: manifest.chunks.len(),
        bytes: size(&data.join("snapshots"))?,
        making_s: (after - before).as_secs_f64(),
        disk: size(&data)?,
        executing_s: executing.as_secs_f64(),
    })
}

fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += if found.is_dir() { size(&entry.path())? } else { found.len() };
    }
    Ok(sum)
}

/// The transactions of each block, in order.
fn sign(
    genesis: &Genesis,
    blocks: u64,
    batches: u64,
    tail: u64,
    out: &std::sync::mpsc::SyncSender<Vec<Vec<u8>>>,
) -> Result<()> {
    let mut number = 0;
    for block in 0..blocks + tail {
        let count = if block < blocks { batches } else { 1 };
        let mut txs = Vec::new();
        for _ in 0..count {
            number += 1;
            txs.push(net::batch(genesis, usize::try_from(number % 4)?, number, 1)?);
        }
        if out.send(txs).is_err() {
            break;
        }
    }
    Ok(())
}

fn extend(net: &Net, chain: &Chain, inbox: &Receiver<Vec<Vec<u8>>>, blocks: u64) -> Result<()> {
    let mut swept = Vec::new();
    for _ in 0..blocks {
        let txs = inbox.recv().context("the signing thread has ended")?;
        let view = chain.view()?;
        let ledger = view.ledger()?;
        let height = ledger.head().height.next().0;
        let proposer = net::org(usize::try_from(height)? % ORGANISATIONS)?;
        let built = ledger.build_block(&proposer, &txs, net.genesis.time, &|_| true)?;
        ensure!(built.dropped.is_empty(), "a batch was refused: {:?}", built.dropped.first());
        let certificate = certify(net, &built.block.header)?;
        chain.commit(&built.block.to_canonical(), &certificate, built.applied)?;
        if height.is_multiple_of(100) {
            while chain.prune(&mut swept, Height(height.saturating_sub(KEPT_STATES)), 20_000)? {}
        }
        if height.is_multiple_of(10_000) {
            println!("{height} blocks after {:.0} s", net.clock.monotonic().as_secs_f64());
        }
    }
    Ok(())
}

/// Three of four.
fn certify(net: &Net, header: &consilium_domain::block::Header) -> Result<CommitCertificate> {
    let (height, block) = (header.height, header.id());
    let mut signatures = Vec::new();
    for validator in 0..3_u16 {
        let vote = Precommit { height, round: 0, block: Some(block), validator };
        let key = net::key(usize::from(validator), CONSENSUS);
        let signature = key.sign(&vote.signing_bytes(&net.genesis.channel));
        signatures.push(CommitSignature { validator, signature });
    }
    Ok(CommitCertificate { height, round: 0, block, signatures })
}
