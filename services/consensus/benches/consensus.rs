//! The ledger as four validators: real processes, a real nats-server on loopback, blocks durable before they count,
//! all signatures verified. Beside CometBFT where its programs are installed (`scripts/cometbft.sh`).
//!
//! `cargo bench -p consilium-consensus --bench consensus -- [ledger-throughput] [ledger-records] [ledger-finality]`

#[path = "consensus/comet.rs"]
mod comet;
#[path = "consensus/figures.rs"]
mod figures;
#[path = "../tests/net/mod.rs"]
#[expect(dead_code, reason = "the test under faults asks more of the network")]
mod net;

use anyhow::{Context, Result, bail};
use comet::Comet;
use consilium_contracts::v1::submit_response::Status;
use consilium_domain::genesis::Params;
use consilium_testkit::bench::wanted;
use figures::{Figures, Level, Report};
use net::{Client, Net, batch, batches};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const VALIDATORS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);
/// Submissions under way per organisation in the throughput runs; the second one in the run with records.
const IN_FLIGHT: [usize; 3] = [256, 96, 512];
/// Transactions that the peer is offered, per second: at the beginning of each, as its own load tool does.
const OFFERED: [usize; 3] = [2000, 1000, 4000];
/// Transactions signed for each second of a throughput run; one that needs more ends early.
const ENOUGH: usize = 9000;
/// Batches that custodian and attesters sign together in the throughput runs: what `ingest` and `validate` gather in a
/// few milliseconds at such rates.
const TOGETHER: u64 = 8;
/// Time between two looks at whether a run has ended.
const TICK: Duration = Duration::from_millis(20);
/// Transactions of a second in the run at light load, all at its beginning: as CometBFT's load tool sends them.
const LIGHT: usize = 20;

fn main() -> Result<()> {
    let names = ["ledger-throughput", "ledger-records", "ledger-finality"];
    if !names.into_iter().any(wanted) {
        bail!("no such benchmark here; there are {}", names.join(", "));
    }
    let setting =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (length, rounds) = (setting("CONSILIUM_BENCH_SECONDS", 10), setting("CONSILIUM_BENCH_ROUNDS", 3));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let work = target.join("bench").join(format!("validators-{}", std::process::id()));
    let levels = setting("CONSILIUM_BENCH_LEVELS", 3).clamp(1, 3) as usize;
    let outcome = runtime.block_on(all(&work, Duration::from_secs(length), rounds, levels));
    let _ = std::fs::remove_dir_all(&work);
    outcome
}

async fn all(work: &Path, length: Duration, rounds: u64, levels: usize) -> Result<()> {
    let comet = Comet::find();
    if let Err(why) = &comet {
        println!("peer CometBFT is missing: {why}");
    }
    let comet = comet.ok();
    let loads: Vec<(usize, usize)> = IN_FLIGHT.into_iter().zip(OFFERED).take(levels).collect();
    let mut full: Vec<Level> =
        loads.iter().map(|(n, _)| Level::new(format!("{} in flight", n * VALIDATORS))).collect();
    let mut full_peer: Vec<Level> =
        loads.iter().map(|(_, n)| Level::new(format!("{n} offered per second"))).collect();
    let (mut light, mut light_peer) = (Vec::new(), Vec::new());
    let mut alone = Vec::new();
    let size = Sizes::new()?;
    for _ in 0..rounds {
        if wanted("ledger-throughput") {
            // In turn, so that what else the machine does meets both.
            let pairs = full.iter_mut().zip(full_peer.iter_mut());
            for ((ours, theirs), (n, offered)) in pairs.zip(&loads) {
                ours.runs.push(saturated(&work.join("full"), length, 1, *n, TOGETHER).await?);
                if let Some(comet) = &comet {
                    theirs.runs.push(comet.run(&work.join("comet"), *offered, 1024, length)?);
                }
                println!("{ours}");
                println!("CometBFT, {theirs}");
            }
            alone.push(saturated(&work.join("full"), length, 1, IN_FLIGHT[0], 1).await?);
        }
        if wanted("ledger-finality") {
            light.push(lightly(&work.join("light"), length).await?);
            if let Some(comet) = &comet {
                light_peer.push(comet.run(&work.join("comet"), LIGHT, 1024, length)?);
            }
        }
    }
    if wanted("ledger-throughput") {
        throughput(&full, &full_peer, &alone, &size, rounds)?;
    }
    if wanted("ledger-finality") {
        finality(&light, &light_peer, &size, rounds)?;
    }
    if wanted("ledger-records") {
        let mut runs = Vec::new();
        for _ in 0..rounds {
            runs.push(saturated(&work.join("records"), length, 100, IN_FLIGHT[1], TOGETHER).await?);
        }
        let rates: Vec<f64> = runs.iter().map(|r| r.rate() * 100.0).collect();
        conditions(Report::new("ledger-records", "records/s", true), size.together, TOGETHER)
            .condition("batch", "100 records per batch, one interop proof per batch, all verified")
            .condition("our CPU seconds (validators + nats-server), per run", seconds_of(&runs))
            .finish(&rates, &[], &[])?;
    }
    Ok(())
}

/// Bytes of a transaction.
struct Sizes {
    alone: usize,
    together: usize,
}

impl Sizes {
    fn new() -> Result<Self> {
        let genesis = net::genesis(VALIDATORS, Params::default(), consilium_domain::Timestamp(1))?;
        let together = batches(&genesis, 0, 0..TOGETHER, 1, 0)?;
        let together = together.first().context("no batch")?.len();
        Ok(Self { alone: batch(&genesis, 0, 0, 1)?.len(), together })
    }
}

fn conditions(report: Report, size: usize, together: u64) -> Report {
    report
        .condition("validators", "4 processes and one nats-server on loopback, all on this machine")
        .condition(
            "ours does",
            format!(
                "transactions of {size} bytes (a batch with the 3 attestations that its interop proof needs and the \
                 sender's signature, each an Ed25519 signature over {together} batches and the batch's place among \
                 them; every validator verifies every signature and every place); fdatasync of the \
                 write-ahead log before every vote, proposal and answer; the client waits for the commit and gets an \
                 inclusion proof"
            ),
        )
        .condition("load generators", "on the same machine as well, both sides; their CPU is not counted as the ledger's")
}

fn seconds_of(runs: &[Figures]) -> String {
    runs.iter().map(|r| format!("{:.1} + {:.1}", r.cpu, r.cpu_transport)).collect::<Vec<_>>().join(", ")
}

fn peer_conditions(report: Report) -> Report {
    report.condition(
        "peer does",
        "kvstore application, transactions of 1024 bytes without signatures, fsync of its write-ahead log and block \
         store (defaults), timeout_commit = 0s, broadcast_tx_sync: the client is answered before the commit; latency \
         as its own report tool gives it (block time minus sending time)",
    )
}

fn throughput(ours: &[Level], peer: &[Level], alone: &[Figures], size: &Sizes, rounds: u64) -> Result<()> {
    let report = Report::new("ledger-throughput", "transactions/s", true);
    let mut report = conditions(report, size.together, TOGETHER);
    let mut level = Level::new(format!("{} in flight", IN_FLIGHT[0] * VALIDATORS));
    level.runs.extend(alone.iter().cloned());
    let note = format!("{level}; transactions of {} bytes, four signatures each", size.alone);
    report = report.condition("ours, every batch signed alone", note);
    let best = Level::best(ours).context("no level")?;
    let rates: Vec<f64> = best.runs.iter().map(Figures::rate).collect();
    for level in ours {
        report = report.condition(&format!("ours, {}", level.load), level.to_string());
    }
    let mut theirs = Vec::new();
    if let Some(peer_best) = Level::best(peer).filter(|level| !level.runs.is_empty()) {
        for level in peer {
            report = report.condition(&format!("peer, {}", level.load), level.to_string());
        }
        let part = best.median(|r| r.latency(50)) / peer_best.median(|r| r.latency(50));
        report = peer_conditions(report)
            .condition(
                "compared",
                format!("ours with {}, the peer with {}: each at its best", best.load, peer_best.load),
            )
            .condition("our median latency as a part of the peer's", format!("{part:.2}"))
            .condition("the peer's CPU per transaction as a multiple of ours", {
                format!("{:.2}", peer_best.median(Figures::cost) / best.median(Figures::cost))
            });
        theirs = peer_best.runs.iter().map(Figures::rate).collect();
    }
    report.condition("rounds", format!("{rounds} of each level, ours and the peer in turn")).finish(
        &rates,
        &theirs,
        &[],
    )
}

fn finality(ours: &[Figures], peer: &[Figures], size: &Sizes, rounds: u64) -> Result<()> {
    let all = |runs: &[Figures]| runs.iter().flat_map(|r| r.latencies.clone()).collect::<Vec<_>>();
    let report = conditions(Report::new("ledger-finality", "ms", false), size.alone, 1);
    peer_conditions(report)
        .condition("our CPU seconds (validators + nats-server), per run", seconds_of(ours))
        .condition("load", format!("{LIGHT} transactions at the beginning of each second"))
        .condition(
            "measured",
            "from submitting to the answer that the transaction is committed, at the client",
        )
        .condition("rounds", format!("{rounds}, ours and the peer in turn"))
        .finish(&all(ours), &all(peer), &[99])
}

async fn consortium(dir: &Path) -> Result<(Net, Vec<Client>)> {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_consilium-consensus"));
    let mut net = Net::found(dir, VALIDATORS, Params::default(), &binary, false)?;
    let mut clients = Vec::new();
    for i in 0..VALIDATORS {
        net.start(i)?;
    }
    for i in 0..VALIDATORS {
        let client = net.client(i).await?;
        client.reach(3, PATIENCE).await.with_context(|| net.log(i))?;
        clients.push(client);
    }
    Ok((net, clients))
}

/// As many transactions as the validators take.
async fn saturated(
    dir: &Path,
    length: Duration,
    records: u32,
    in_flight: usize,
    together: u64,
) -> Result<Figures> {
    let (net, clients) = consortium(dir).await?;
    // Signed before the clock runs; more than will be needed.
    let most = usize::try_from(length.as_secs())? * ENOUGH / VALIDATORS;
    let mut all = Vec::new();
    for i in 0..VALIDATORS {
        let groups = (0..most as u64 / together).map(|g| g * together..(g + 1) * together);
        let group = |numbers| batches(&net.genesis, i, numbers, records, 0);
        all.push(Arc::new(groups.map(group).collect::<Result<Vec<_>>>()?.concat()));
    }
    let (stop, cpu) = (Arc::new(AtomicBool::new(false)), net.cpu()?);
    let start = net.clock.monotonic();
    let mut tasks = Vec::new();
    for (client, txs) in clients.iter().zip(&all) {
        let next = Arc::new(AtomicU64::new(0));
        for _ in 0..in_flight {
            let (client, txs, next, stop) =
                (client.clone(), Arc::clone(txs), Arc::clone(&next), Arc::clone(&stop));
            let clock = Arc::clone(&net.clock);
            tasks.push(tokio::spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                    let Some(tx) = txs.get(at).cloned() else {
                        stop.store(true, Ordering::Relaxed);
                        break;
                    };
                    let sent = clock.monotonic();
                    let answer = client.submit(tx, PATIENCE).await?;
                    if answer.status() != Status::Committed {
                        bail!("a transaction was not committed: {:?} {:?}", answer.status(), answer.failure);
                    }
                    latencies.push((clock.monotonic() - sent).as_secs_f64() * 1e3);
                }
                Ok(latencies)
            }));
        }
    }
    while net.clock.monotonic().saturating_sub(start) < length && !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(TICK).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let took = net.clock.monotonic() - start;
    let after = net.cpu()?;
    Ok(Figures { latencies, took, cpu: after.0 - cpu.0, cpu_transport: after.1 - cpu.1 })
}

/// A few transactions a second.
async fn lightly(dir: &Path, length: Duration) -> Result<Figures> {
    let (net, clients) = consortium(dir).await?;
    let cpu = net.cpu()?;
    let start = net.clock.monotonic();
    let mut tasks = Vec::new();
    for second in 0..length.as_secs() {
        for k in 0..LIGHT {
            let i = k % VALIDATORS;
            let tx = batch(&net.genesis, i, second * 1000 + k as u64, 1)?;
            let (client, clock) = (clients.get(i).context("a client")?.clone(), Arc::clone(&net.clock));
            tasks.push(tokio::spawn(async move {
                let sent = clock.monotonic();
                let answer = client.submit(tx, PATIENCE).await?;
                if answer.status() != Status::Committed {
                    bail!("a transaction was not committed: {:?}", answer.failure);
                }
                Ok((clock.monotonic() - sent).as_secs_f64() * 1e3)
            }));
        }
        let due = start + Duration::from_secs(second + 1);
        tokio::time::sleep(due.saturating_sub(net.clock.monotonic())).await;
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.push(task.await??);
    }
    let (took, after) = (net.clock.monotonic() - start, net.cpu()?);
    Ok(Figures { latencies, took, cpu: after.0 - cpu.0, cpu_transport: after.1 - cpu.1 })
}
