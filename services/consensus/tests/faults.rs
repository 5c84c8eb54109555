//! Real processes under faults: nodes killed, cut off and frozen, nats-server restarted, all under load. In the end no
//! acknowledged transaction may be missing or there twice on any node, the chains must be one, and all reads of
//! consents must fit one order.
//!
//! `cargo test -p consilium-consensus --test faults -- --include-ignored --nocapture`; settings from the environment:
//! `CONSILIUM_FAULT_SECONDS` (default 60), `CONSILIUM_FAULT_SEED` (default 1).

#[cfg(test)]
mod history;
#[cfg(test)]
#[path = "net/mod.rs"]
#[expect(dead_code, reason = "the benchmark measures with what this test does not need")]
mod net;

#[cfg(test)]
mod run {
    use crate::history::{Operation, What, linearizable};
    use crate::net::{Client, INGEST, Net, batch_at, key, org};
    use anyhow::{Context, Result, bail, ensure};
    use consilium_consensus::chain::Chain;
    use consilium_contracts::v1::submit_response::Status;
    use consilium_domain::block::Block;
    use consilium_domain::genesis::Params;
    use consilium_domain::tx::{ConsentCore, ConsentStatus, TxBody, UnsignedTx, tx_id};
    use consilium_domain::{Canonical, Clock, Digest};
    use consilium_ledger::SigningKey;
    use consilium_ledger::state::{ConsentRecord, consent_key};
    use consilium_store::FjallKv;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    const NODES: usize = 4;
    const HANDLES: u64 = 4;
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Everything that the clients have seen.
    #[derive(Default)]
    pub struct Seen {
        pub acknowledged: BTreeSet<Digest>,
        pub operations: BTreeMap<u64, Vec<Operation>>,
        pub unsure: u64,
        pub refused: BTreeMap<String, u64>,
    }

    type Record = Arc<Mutex<Seen>>;

    fn seen(record: &Record) -> std::sync::MutexGuard<'_, Seen> {
        record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// xorshift64*, Vigna 2014: the order of faults follows from the seed.
    pub struct Dice(pub u64);

    impl Dice {
        pub fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
        }
    }

    /// Submits batches of its organisation one after the other, each until its fate is known.
    async fn write_batches(
        net: Arc<Net0>,
        client: Client,
        i: usize,
        record: Record,
        stop: Arc<AtomicBool>,
    ) -> Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        while !stop.load(Ordering::Relaxed) {
            let Ok(head) = client.head().await else { continue };
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let tx = batch_at(&net.genesis, i, number, 10, head.height)?;
            loop {
                match client.submit(tx.clone(), PATIENCE).await {
                    Ok(answer) if answer.status() == Status::Committed => {
                        seen(&record).acknowledged.insert(tx_id(&tx));
                        break;
                    }
                    Ok(answer) if answer.status() == Status::Refused => {
                        let code = answer.failure.map(|f| f.code).unwrap_or_default();
                        *seen(&record).refused.entry(code.clone()).or_default() += 1;
                        // Nobody else sends this batch: it can be on the ledger only by being acknowledged.
                        let again = code == "busy" || code == "unavailable";
                        // Its attestations have grown old in the faults: the next ones are asked for.
                        let old = code == "wrong-epoch" || code == "expired";
                        ensure!(again || old, "a batch was refused: {code}");
                        if old {
                            break;
                        }
                    }
                    _ => seen(&record).unsure += 1,
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn handle(n: u64) -> Digest {
        Digest::sha256(&[b"handle", &n.to_be_bytes()])
    }

    /// Whoever changes the consent: the patient's key, in the hands of all clients.
    fn controller(n: u64) -> SigningKey {
        let mut seed = [77; 32];
        seed[..8].copy_from_slice(&n.to_be_bytes());
        SigningKey::from_seed(seed)
    }

    /// Reads consents and writes their next versions, in competition with the other organisations.
    async fn use_consents(
        net: Arc<Net0>,
        client: Client,
        i: usize,
        record: Record,
        stop: Arc<AtomicBool>,
    ) -> Result<()> {
        let mut dice = Dice(0x9e37_79b9 + i as u64);
        let mut content = (i as u64) << 32;
        while !stop.load(Ordering::Relaxed) {
            let n = dice.roll(HANDLES);
            let called = net.clock.monotonic();
            let Ok(state) = client.state(consent_key(&handle(n))).await else {
                tokio::time::sleep(Duration::from_millis(30)).await;
                continue;
            };
            let answered = net.clock.monotonic();
            if state.failure.is_some() {
                continue;
            }
            let value = state.has_value.then(|| ConsentRecord::from_canonical(&state.value)).transpose()?;
            let number = |d: &Digest| u64::from_be_bytes(*d.0.first_chunk::<8>().unwrap());
            let value = value.map(|r| (r.core.version, number(&r.core.content)));
            seen(&record).operations.entry(n).or_default().push(Operation {
                called,
                answered,
                what: What::Read(value),
            });
            if dice.roll(3) == 0 {
                content += 1;
                let version = value.map_or(0, |(v, _)| v) + 1;
                let mut digest = [0; 32];
                digest[..8].copy_from_slice(&content.to_be_bytes());
                let core = ConsentCore {
                    handle: handle(n),
                    version,
                    status: ConsentStatus::Active,
                    content: Digest(digest),
                    controller: controller(n).public(),
                };
                let change = controller(n).sign_consent(&net.genesis.channel, core);
                let unsigned = UnsignedTx { sender: org(i)?, body: TxBody::Consent(change) };
                let tx = key(i, INGEST).sign_tx(&net.genesis.channel, unsigned).to_canonical();
                let called = net.clock.monotonic();
                let outcome = client.submit(tx.clone(), PATIENCE).await;
                let answered = net.clock.monotonic();
                let sure = match outcome {
                    Ok(answer) if answer.status() == Status::Committed => {
                        seen(&record).acknowledged.insert(tx_id(&tx));
                        true
                    }
                    // Refused at the first door it came to, or pushed out by another's version: as unsure as silence.
                    _ => false,
                };
                seen(&record).unsure += u64::from(!sure);
                let what = What::Write { version, content, sure };
                seen(&record).operations.entry(n).or_default().push(Operation { called, answered, what });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// What the clients need of the net while the faults have it.
    pub struct Net0 {
        genesis: consilium_domain::genesis::Genesis,
        clock: Arc<dyn Clock>,
    }

    fn home() -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}", std::process::id()))
    }

    /// The whole run; gives what is to be said about it.
    pub async fn all(seconds: u64, seed: u64) -> Result<String> {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_consilium-consensus"));
        let dir = home();
        let params = Params::default;
        let (mut net, spaces) = match Net::found(&dir, NODES, params(), &binary, true) {
            Ok(net) => (net, true),
            Err(why) => {
                println!("no network namespaces here ({why:#}): nodes are frozen instead of cut off");
                (Net::found(&dir, NODES, params(), &binary, false)?, false)
            }
        };
        let mut clients = Vec::new();
        for i in 0..NODES {
            net.start(i)?;
        }
        for i in 0..NODES {
            let client = net.client(i).await?;
            client.reach(2, Duration::from_secs(60)).await.with_context(|| net.log(i))?;
            clients.push(client);
        }
        let shared = Arc::new(Net0 { genesis: net.genesis.clone(), clock: Arc::clone(&net.clock) });
        let (record, stop) = (Record::default(), Arc::new(AtomicBool::new(false)));
        let mut tasks = Vec::new();
        for (i, client) in clients.iter().enumerate() {
            for _ in 0..4 {
                let work = write_batches(
                    Arc::clone(&shared),
                    client.clone(),
                    i,
                    Arc::clone(&record),
                    Arc::clone(&stop),
                );
                tasks.push(tokio::spawn(work));
            }
            let work =
                use_consents(Arc::clone(&shared), client.clone(), i, Arc::clone(&record), Arc::clone(&stop));
            tasks.push(tokio::spawn(work));
        }
        let faults = torment(&mut net, seconds, seed, spaces).await;
        // Everything is healed now: the consortium must get going by itself.
        let outcome = async {
            let faults = faults?;
            let highest = clients[0].reach(1, Duration::from_secs(60)).await?;
            for (i, client) in clients.iter().enumerate() {
                client.reach(highest + 3, Duration::from_secs(60)).await.with_context(|| net.log(i))?;
            }
            stop.store(true, Ordering::Relaxed);
            for task in tasks {
                task.await??;
            }
            Ok::<_, anyhow::Error>(faults)
        };
        let faults = outcome.await?;
        let highest = clients[0].head().await?.height;
        for client in &clients {
            client.reach(highest, Duration::from_secs(30)).await?;
        }
        for i in 0..NODES {
            net.kill(i)?;
        }
        let chains = check_chains(&net, &record, highest)?;
        let told = check_history(&record)?;
        Ok(format!("{seconds} s, seed {seed}: {faults}; {chains}; {told}"))
    }

    async fn torment(net: &mut Net, seconds: u64, seed: u64, spaces: bool) -> Result<String> {
        let mut dice = Dice(seed.max(1));
        let until = net.clock.monotonic() + Duration::from_secs(seconds);
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let nap = |ms: u64| tokio::time::sleep(Duration::from_millis(ms));
        while net.clock.monotonic() < until {
            nap(800 + dice.roll(1500)).await;
            for i in 0..NODES {
                ensure!(!net.crashed(i)?, "node {i} has ended by itself:\n{}", tail(&net.log(i)));
            }
            let one = usize::try_from(dice.roll(NODES as u64))?;
            let two = (one + 1 + usize::try_from(dice.roll(NODES as u64 - 1))?) % NODES;
            let kind = dice.roll(8);
            let rest = 300 + dice.roll(2500);
            let name = match kind {
                0..=2 => {
                    net.kill(one)?;
                    nap(rest).await;
                    net.start(one)?;
                    "kill -9 of a node"
                }
                3 => {
                    net.kill(one)?;
                    net.kill(two)?;
                    nap(rest).await;
                    net.start(one)?;
                    net.start(two)?;
                    "kill -9 of two nodes at once"
                }
                4 | 5 if spaces => {
                    net.cut(one, true)?;
                    if kind == 5 {
                        net.cut(two, true)?;
                    }
                    nap(rest + 1500).await;
                    net.cut(one, false)?;
                    if kind == 5 {
                        net.cut(two, false)?;
                    }
                    if kind == 5 { "two nodes cut off" } else { "a node cut off" }
                }
                6 => {
                    net.kill_nats()?;
                    nap(rest.min(1000)).await;
                    net.start_nats()?;
                    "nats-server killed and restarted"
                }
                _ => {
                    net.signal(one, "STOP")?;
                    nap(rest + 500).await;
                    net.signal(one, "CONT")?;
                    "a node frozen"
                }
            };
            *counts.entry(name).or_default() += 1;
        }
        Ok(counts.iter().map(|(name, n)| format!("{n} x {name}")).collect::<Vec<_>>().join(", "))
    }

    fn tail(log: &str) -> String {
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// From the disks: one chain on all nodes, each acknowledged transaction on it, none twice.
    fn check_chains(net: &Net, record: &Record, highest: u64) -> Result<String> {
        let mut first: Vec<Digest> = Vec::new();
        let mut transactions = 0;
        for i in 0..NODES {
            let folder = net.data(i);
            let chain = Chain::open(Arc::new(FjallKv::open(&folder.join("kv"))?), &net.genesis, false)?;
            let opened = consilium_consensus::wal::Wal::open(&folder.join("wal"), || Ok(()))?;
            chain.redo(consilium_consensus::wal::decided(
                &opened.records,
                consilium_consensus::chain::identify,
            ))?;
            let view = chain.view()?;
            let (mut ids, mut previous, mut blocks) = (BTreeSet::new(), net.genesis.digest(), Vec::new());
            for height in 1..=highest {
                let bytes =
                    view.block_bytes(height)?.with_context(|| format!("node {i} lacks block {height}"))?;
                let block = Block::from_canonical(&bytes)?;
                ensure!(block.header.previous == previous, "block {height} of node {i} does not follow");
                previous = block.id();
                blocks.push(previous);
                for tx in &block.txs {
                    ensure!(ids.insert(tx_id(tx)), "a transaction is on node {i} twice, again at {height}");
                }
            }
            for id in &seen(record).acknowledged {
                ensure!(ids.contains(id), "the acknowledged transaction {id} is not on node {i}");
            }
            transactions = ids.len();
            if first.is_empty() {
                first = blocks;
            } else if first != blocks {
                bail!("node {i} has another chain");
            }
        }
        let seen = seen(record);
        Ok(format!(
            "{highest} blocks and {transactions} transactions, the same on all nodes; {} acknowledged, none lost, none \
             doubled; {} answers were unsure; refused {:?}",
            seen.acknowledged.len(),
            seen.unsure,
            seen.refused
        ))
    }

    fn check_history(record: &Record) -> Result<String> {
        let seen = seen(record);
        let (mut reads, mut writes, mut unsure) = (0, 0, 0);
        for (n, operations) in &seen.operations {
            linearizable(operations).map_err(anyhow::Error::msg).with_context(|| format!("consent {n}"))?;
            for op in operations {
                match op.what {
                    What::Read(_) => reads += 1,
                    What::Write { sure: true, .. } => writes += 1,
                    What::Write { .. } => unsure += 1,
                }
            }
        }
        ensure!(reads > 0 && writes > 0, "nothing was read or written");
        Ok(format!(
            "{reads} reads, {writes} acknowledged and {unsure} unsure writes of consents are linearizable"
        ))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs for a minute, and needs nats-server: make e2e, make fault"]
async fn nothing_acknowledged_is_lost_or_doubled_and_reads_fit_one_order() {
    if net::nats_server().is_none() {
        assert!(
            std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref() != Ok("1"),
            "nats-server is required"
        );
        eprintln!("SKIPPED: no nats-server; run scripts/setup.sh to install it");
        return;
    }
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let said =
        run::all(number("CONSILIUM_FAULT_SECONDS", 60), number("CONSILIUM_FAULT_SEED", 1)).await.unwrap();
    println!("{said}");
}
