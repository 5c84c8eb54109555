//! The consensus service: one validator of the channel. It drives `consilium-bft`, applies `consilium-ledger`, and
//! keeps blocks, state and the write-ahead log.
//!
//! - [`node`]: the thread that agrees, executes and commits, one event at a time; [`admission`]: the thread that
//!   checks transactions before they wait in the [`mempool`]; [`aftermath`]: the thread that answers who waits.
//! - [`wal`], [`chain`]: what survives a crash.
//! - [`api`]: what the own organisation asks; `sync`: what other members ask.

pub mod admission;
pub mod aftermath;
pub mod api;
pub mod backup;
pub mod catchup;
pub mod chain;
pub mod config;
pub mod cosign;
mod delivery;
pub mod evidence;
pub mod fresh;
mod gaps;
pub mod log;
pub mod members;
pub mod mempool;
pub mod metrics;
pub mod node;
mod place;
pub mod prune;
mod recent;
pub mod snapshot;
mod sync;
pub mod wal;

pub use config::Config;

use crate::admission::{Admission, Arrival};
use crate::aftermath::Aftermath;
use crate::api::Api;
use crate::backup::Backups;
use crate::chain::Chain;
use crate::cosign::Cosigner;
use crate::delivery::Delivery;
use crate::evidence::Reporter;
use crate::members::Members;
use crate::mempool::Pool;
use crate::metrics::Metrics;
use crate::node::{Event, Node, Outside, Parts, Shared};
use crate::prune::Keep;
use crate::snapshot::Snapshots;
use anyhow::{Context, bail};
use consilium_contracts::v1::Committed;
use consilium_domain::genesis::Genesis;
use consilium_domain::tx::MAX_TX;
use consilium_domain::{CanonError, Decoder, Encoder, OrgId};
use consilium_ledger::SigningKey;
use consilium_runtime::{Kit, Service};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::{Notify, mpsc};

/// Events that may wait for the node; network messages beyond are dropped, as the network may do anyway.
const EVENTS: usize = 16_384;
/// Submissions and packs of transactions that may wait at the mempool's door.
const ARRIVALS: usize = 8_192;
/// Messages that may wait to be sent.
const OUTGOING: usize = 16_384;
/// First octet of a gossiped message.
const AGREEMENT: u8 = 1;
const TRANSACTIONS: u8 = 2;
/// Transactions of one gossiped message at most.
const MOST_PACKED: usize = 4_096;

/// The service.
pub struct Consensus;

impl Service for Consensus {
    const NAME: &'static str = "consensus";
    type Config = Config;

    async fn run(config: Config, kit: Kit) -> anyhow::Result<()> {
        let genesis = std::fs::read(&config.genesis_file).context("read `genesis_file`")?;
        let genesis: Genesis = serde_json::from_slice(&genesis).context("`genesis_file` is no genesis")?;
        let organisation = kit.common.organisation.name.clone();
        let seed = seed(&config.key_file)?;
        if genesis.channel != kit.common.organisation.channel {
            bail!("`genesis_file` is of the channel {}", genesis.channel);
        }
        config.check()?;
        let ready = kit.health.check("ledger");
        ready.not_ready("opening the store");
        std::fs::create_dir_all(&config.data_dir).context("make `data_dir`")?;
        let kv = place::open(&config, &kit.common.organisation).await?;
        let log = config.data_dir.join("wal");
        let first = config.first_start_until.as_ref().is_some_and(|until| until.is_ahead(kit.clock.now()))
            && !log.exists();
        let chain = Arc::new(Chain::open(kv, &genesis, first)?);
        let opened = wal::Wal::open(&log, || match first && chain.new {
            true => Ok(()),
            false => chain.forget().map_err(std::io::Error::other),
        });
        let opened = opened.context("open the write-ahead log")?;
        let (redone, _) = chain.recover(&opened.records)?;
        if redone > 0 {
            tracing::info!(blocks = redone, "blocks of the write-ahead log were executed again");
        }
        let metrics = Metrics::new(&kit.meter)?;
        let (events, inbox) = sync_channel(EVENTS);
        let (door, arrivals) = sync_channel(ARRIVALS);
        let (shared, pool) = (Arc::new(Shared::default()), Arc::new(Pool::default()));
        let backups = config.backup_dir.clone().map(Backups::new);
        let snapshots = Snapshots::new(&config.data_dir).with_backups(backups);
        let cosigner = Cosigner::new(organisation.clone(), seed);
        let answers = (Arc::clone(&chain), Arc::clone(&shared), snapshots.clone(), cosigner.clone());
        sync::serve(&kit, answers.0, answers.1, answers.2, answers.3).await?;
        let checkpoint = cosign::Newest::default();
        let api = Api {
            chain: Arc::clone(&chain),
            shared: Arc::clone(&shared),
            pool: Arc::clone(&pool),
            kit: kit.clone(),
            door: door.clone(),
            checkpoint: checkpoint.clone(),
        };
        api.serve(&kit).await?;
        if chain.new {
            ready.not_ready("looking for a snapshot of the state");
            let mut members = Members::known(&genesis, &chain)?;
            members.ask(&kit).await;
            if let Some(height) = snapshot::join(&kit, &chain, &members).await? {
                tracing::info!(height, "the state was loaded from a snapshot");
            }
        }
        ready.not_ready("fetching blocks");
        let limit = genesis.params.max_block_bytes as usize * 2 + 64 * 1024;
        let fetched = catchup::run(&kit, &chain, limit).await?;
        if fetched > 0 {
            tracing::info!(blocks = fetched, "caught up");
        }
        let height = {
            let view = chain.view()?;
            let ledger = view.ledger()?;
            let named = ledger.members().iter().find(|m| m.organisation == organisation);
            if named.is_none_or(|m| m.consensus != SigningKey::from_seed(seed).public()) {
                tracing::warn!(
                    "`key_file` is not the consensus key that the ledger names for this organisation \
                    at the newest height known here: this node follows, and signs once it is"
                );
            }
            ledger.head().height.0
        };
        metrics.at(height);
        let reporter = Reporter::new(genesis.channel.clone(), organisation.clone(), seed, door.clone());
        listen(&kit, &chain, events.clone(), door, metrics.clone()).await?;
        match chain.signs_from()? {
            Some(height) => shared.signs_from.store(height, Ordering::SeqCst),
            None => {
                tracing::info!(
                    "this node starts without a memory of its votes: it follows, and does not sign"
                );
                shared.signs_from.store(u64::MAX, Ordering::SeqCst);
                let (kit, chain, shared) = (kit.clone(), Arc::clone(&chain), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Err(error) = sync::rejoin(&kit, &chain, &shared, limit).await {
                        tracing::error!("this node goes on without signing: {error:#}");
                    }
                });
            }
        }
        tokio::spawn(cosign::collect(kit.clone(), Arc::clone(&chain), cosigner, checkpoint));
        let outside: Arc<dyn Outside> = Arc::new(Bridge::new(&kit, events.clone(), metrics.clone()));
        let admission = Admission {
            chain: Arc::clone(&chain),
            pool: Arc::clone(&pool),
            limits: config.mempool.clone(),
            clock: Arc::clone(&kit.clock),
            outside: Arc::clone(&outside),
            shared: Arc::clone(&shared),
            node: events,
        };
        let keep = Keep::new(config.keep_blocks, snapshots.clone());
        let stop = kit.shutdown.clone();
        let admission = tokio::task::spawn_blocking(move || admission.run(&arrivals, || stop.triggered()));
        let aftermath = Aftermath::start(Arc::clone(&chain), keep).context("start a thread")?;
        let parts = Parts {
            config,
            genesis,
            organisation,
            seed,
            recovery: wal::recovery(&opened.records, height + 1),
            wal: opened.wal,
            chain,
            clock: Arc::clone(&kit.clock),
            outside,
            pool,
            snapshots,
            aftermath,
            reporter,
            shared,
            metrics,
        };
        ready.ready();
        let shutdown = kit.shutdown.clone();
        let node =
            tokio::task::spawn_blocking(move || Node::start(parts)?.run(&inbox, || shutdown.triggered()));
        // Whichever ends first, both have let go of the store before this returns.
        let (node, admission) = async {
            tokio::pin!(node, admission);
            tokio::select! {
                ended = &mut node => {
                    kit.shutdown.trigger();
                    (ended, admission.await)
                }
                ended = &mut admission => {
                    if !matches!(ended, Ok(Ok(()))) {
                        kit.shutdown.trigger();
                    }
                    (node.await, ended)
                }
            }
        }
        .await;
        node.context("the node's thread")??;
        admission.context("the mempool's thread")??;
        if !kit.shutdown.triggered() {
            bail!("the node has ended by itself");
        }
        Ok(())
    }
}

/// A 32-byte key from a file of 64 hexadecimal digits.
fn seed(path: &Path) -> anyhow::Result<[u8; 32]> {
    let text = consilium_runtime::config::read_secret(path)?;
    let mut out = [0; 32];
    if hex::decode_to_slice(text.trim(), &mut out).is_err() {
        bail!("{} must hold 64 hexadecimal digits", path.display());
    }
    Ok(out)
}

/// Hands the members' gossip to the node, and lets it know when some may have been lost.
async fn listen(
    kit: &Kit,
    chain: &Arc<Chain>,
    events: SyncSender<Event>,
    door: SyncSender<Arrival>,
    metrics: Metrics,
) -> anyhow::Result<()> {
    let mut readied = kit.bus.readied();
    let mut gossip = kit.bus.subscribe_all(&kit.subjects.consensus_gossip_of_all(), None).await?;
    readied.mark_unchanged();
    let queue = Arc::new(Notify::new());
    let watched = (gossip.lost(), Arc::clone(&queue), events.clone());
    let shutdown = kit.shutdown.clone();
    tokio::spawn(gaps::watch(watched.0, readied, watched.1, watched.2, metrics.clone(), shutdown));
    let (subjects, own) = (kit.subjects.clone(), kit.common.organisation.name.clone());
    let mut delivery = Delivery::new(
        subjects.channel().clone(),
        own.clone(),
        Arc::downgrade(chain),
        Arc::clone(&kit.clock),
        metrics.clone(),
    );
    tokio::spawn(async move {
        while let Some(incoming) = gossip.next().await {
            let Some(from) = subjects.owner_of(&incoming.subject).filter(|org| *org != own) else { continue };
            let dropped = match incoming.payload.split_first() {
                Some((&AGREEMENT, bytes)) => {
                    delivery.look(&from, bytes, &incoming);
                    events.try_send(Event::Agreement(bytes.to_vec())).is_err().then_some("agreement")
                }
                Some((&TRANSACTIONS, bytes)) => match unpack(bytes) {
                    Ok(txs) => door.try_send(Arrival::Gossiped(txs)).is_err().then_some("transaction"),
                    Err(_) => Some("malformed"),
                },
                _ => Some("malformed"),
            };
            if let Some(kind) = dropped {
                metrics.dropped.inc(&[kind]);
                if kind == "agreement" {
                    queue.notify_one();
                }
            }
        }
    });
    Ok(())
}

/// Number (four octets), then each transaction with its length.
fn unpack(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CanonError> {
    let mut input = Decoder::new(bytes);
    let count = input.u32("transactions")? as usize;
    if count > MOST_PACKED {
        return Err(CanonError::TooLong("transactions"));
    }
    let txs =
        (0..count).map(|_| Ok(input.bytes(MAX_TX, "transaction")?.to_vec())).collect::<Result<_, _>>()?;
    input.finish()?;
    Ok(txs)
}

enum Outgoing {
    Gossip(Vec<u8>),
    Committed(Committed),
}

/// From the node's thread to the bus.
struct Bridge {
    outgoing: mpsc::Sender<Outgoing>,
    handle: tokio::runtime::Handle,
    kit: Kit,
    events: SyncSender<Event>,
    metrics: Metrics,
}

impl Bridge {
    fn new(kit: &Kit, events: SyncSender<Event>, metrics: Metrics) -> Self {
        let (outgoing, mut queue) = mpsc::channel(OUTGOING);
        let (bus, gossip) = (kit.bus.clone(), kit.subjects.consensus_gossip());
        let committed = kit.subjects.consensus_committed();
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                let sent = match message {
                    Outgoing::Gossip(bytes) => bus.publish(&gossip, bytes).await,
                    Outgoing::Committed(message) => bus.publish_message(&committed, &message).await,
                };
                if let Err(error) = sent {
                    // The agreement repeats what matters.
                    tracing::debug!(%error, "a message was not sent");
                }
            }
        });
        Self { outgoing, handle: tokio::runtime::Handle::current(), kit: kit.clone(), events, metrics }
    }

    fn send(&self, message: Outgoing, kind: &str) {
        if self.outgoing.try_send(message).is_err() {
            self.metrics.dropped.inc(&[kind]);
        }
    }
}

impl Outside for Bridge {
    fn agreement(&self, bytes: Vec<u8>) {
        self.send(Outgoing::Gossip([&[AGREEMENT], bytes.as_slice()].concat()), "outgoing");
    }

    fn transactions(&self, txs: Vec<Vec<u8>>) {
        let mut out = Encoder::default();
        out.u8(TRANSACTIONS).u32(u32::try_from(txs.len()).unwrap_or(u32::MAX));
        for tx in &txs {
            out.bytes(tx);
        }
        self.send(Outgoing::Gossip(out.into_bytes()), "outgoing");
    }

    fn sync(&self, height: u64, peer: OrgId) {
        let subject = self.kit.subjects.at(&peer).consensus_sync();
        let (bus, events) = (self.kit.bus.clone(), self.events.clone());
        self.handle.spawn(async move {
            match bus.request(&subject, sync::request(height), sync::PATIENCE).await {
                Ok(bytes) => {
                    if let Some(response) = sync::answer(&bytes) {
                        // Asked again if the queue is full.
                        let _ = events.try_send(Event::Synced { peer, bytes: response.to_vec() });
                    }
                }
                Err(error) => tracing::debug!(%peer, height, %error, "no block from a peer"),
            }
        });
    }

    fn committed(&self, message: Committed) {
        self.send(Outgoing::Committed(message), "committed");
    }
}
