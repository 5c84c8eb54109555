//! Joining and restarting with a large state: real processes, a real nats-server on loopback, a chain that is wholly
//! signed and certified and has been executed block by block.
//!
//! `cargo bench -p consilium-consensus --bench state -- [ledger-join] [ledger-restart]`
//!
//! `CONSILIUM_BENCH_BLOCKS` (100,000) blocks of `CONSILIUM_BENCH_BATCHES` (10) batches each, one record and one interop
//! proof of four attestations per batch: one leaf of the state tree per record, the dearest state there is (batches of
//! many records cost one leaf each, however many records they have). Then a snapshot, and half a snapshot interval more
//! of blocks with one batch each, which a joining node fetches one by one. Making all that takes a while: with
//! `CONSILIUM_BENCH_STATE` it is kept in that folder and taken from there the next time.

#[path = "state/made.rs"]
mod made;
#[path = "../tests/net/mod.rs"]
#[expect(dead_code, reason = "the test under faults asks more of the network")]
mod net;

use anyhow::{Context, Result, bail};
use consilium_testkit::bench::{Report, Series, Unit, wanted};
use made::Made;
use net::{Client, Net};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);
/// The member that joins from nothing.
const JOINING: usize = 3;
/// Restarts that are measured.
const RESTARTS: usize = 5;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn main() -> Result<()> {
    let names = ["ledger-join", "ledger-restart"];
    if !names.into_iter().any(wanted) {
        bail!("no such benchmark here; there are {}", names.join(", "));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let work = target.join("bench").join(format!("state-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(all(&work));
    if std::env::var_os("CONSILIUM_BENCH_KEEP").is_none() {
        let _ = std::fs::remove_dir_all(&work);
    }
    outcome
}

async fn all(work: &Path) -> Result<()> {
    let (blocks, batches) =
        (number("CONSILIUM_BENCH_BLOCKS", 100_000), number("CONSILIUM_BENCH_BATCHES", 10));
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_consilium-consensus"));
    let mut net = Net::found(work, 4, made::params(), &binary, false)?;
    let tail = 5_000.min(blocks / 2);
    let made = made::make(&mut net, JOINING, blocks, batches, tail)?;
    println!("{made:#?}");
    let mut clients = Vec::new();
    for i in 0..JOINING {
        net.start(i)?;
        clients.push(net.client(i).await?);
    }
    for (i, client) in clients.iter().enumerate() {
        client.reach(made.height + 2, PATIENCE).await.with_context(|| net.log(i))?;
    }
    if wanted("ledger-restart") {
        restart(&mut net, &clients, &made).await?;
    }
    if wanted("ledger-join") {
        join(&mut net, &clients, &made).await?;
    }
    Ok(())
}

fn nanos(time: Duration) -> Result<u64> {
    Ok(u64::try_from(time.as_nanos())?)
}

/// With one of the three away there is no quorum: a new block means that the restarted node has voted.
async fn restart(net: &mut Net, clients: &[Client], made: &Made) -> Result<()> {
    let client = clients.first().context("a client")?;
    let (mut answers, mut votes) = (Series::new("ours"), Series::new("until a block with its vote"));
    for _ in 0..RESTARTS {
        let before = client.head().await?.height;
        client.reach(before + 2, PATIENCE).await?;
        net.kill(0)?;
        let others = clients.get(1).context("a client")?.head().await?.height;
        let start = net.clock.monotonic();
        net.start(0)?;
        client.reach(1, PATIENCE).await.with_context(|| net.log(0))?;
        answers.push(1, nanos(net.clock.monotonic() - start)?);
        client.reach(others + 1, PATIENCE).await.with_context(|| net.log(0))?;
        votes.push(1, nanos(net.clock.monotonic() - start)?);
    }
    let report = Report::new("ledger-restart", Unit::Milliseconds)
        .condition(
            "measured",
            "from starting the process after kill -9 to its first answer about its head, wall clock",
        )
        .condition("heartbeat", "400 ms: part of the wait for a block with its vote");
    made.conditions(report).finish(&answers, &[votes])?;
    Ok(())
}

async fn join(net: &mut Net, clients: &[Client], made: &Made) -> Result<()> {
    let data = net.data(JOINING);
    let _ = std::fs::remove_dir_all(&data);
    let client = net.client(JOINING).await?;
    let start = net.clock.monotonic();
    net.start(JOINING)?;
    let since = |then: Duration| nanos(then - start);
    client.reach(made.snapshot, PATIENCE).await.with_context(|| net.log(JOINING))?;
    let installed = net.clock.monotonic();
    let (mut level, mut peak, mut spent) = (None, 0, 0.0);
    while level.is_none() {
        let tip = clients.first().context("a client")?.head().await?.height;
        let own = client.reach(tip.saturating_sub(1), PATIENCE).await.with_context(|| net.log(JOINING))?;
        level = (own + 1 >= tip).then(|| net.clock.monotonic());
        let pid = net.pid(JOINING).context("the node has ended")?;
        (peak, spent) = (peak_of(pid), net::cpu_of(pid)?);
    }
    let level = level.context("the node is not level")?;
    let (mut ours, mut state) = (Series::new("ours"), Series::new("until the snapshot is installed"));
    ours.push(1, since(level)?);
    state.push(1, since(installed)?);
    let report = Report::new("ledger-join", Unit::Milliseconds)
        .condition(
            "measured",
            "from starting the process with an empty folder until it is level with the others, wall clock: snapshot \
             fetched from three members over the bus, verified against a certified header, installed, then blocks",
        )
        .condition("blocks fetched one by one", (made.height - made.snapshot).to_string())
        .condition("CPU time of the joining node", format!("{spent:.1} s"))
        .condition("peak memory of the joining node", format!("{} MB", peak / 1024))
        .condition("making the snapshot took", format!("{:.1} s", made.making_s))
        .condition("snapshot", format!("{} chunks, {} bytes", made.chunks, made.bytes));
    made.conditions(report).finish(&ours, &[state])?;
    Ok(())
}

/// Peak resident memory in KiB (`VmHWM`, proc(5)).
fn peak_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
