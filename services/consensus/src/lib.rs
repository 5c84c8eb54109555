//! The consensus service: one validator of the channel. It drives `consilium-bft`, applies `consilium-ledger`, and
//! keeps blocks, state and the write-ahead log.
//!
//! - [`node`]: the thread that does all of it, one event at a time.
//! - [`wal`], [`chain`]: what survives a crash.
//! - [`api`]: what the own organisation asks; `sync`: what other members ask.

pub mod api;
pub mod chain;
pub mod config;
pub mod mempool;
pub mod metrics;
pub mod node;
mod sync;
pub mod wal;

pub use config::Config;

use crate::api::Api;
use crate::chain::Chain;
use crate::metrics::Metrics;
use crate::node::{Event, Node, Outside, Parts, Shared};
use anyhow::{Context, bail};
use consilium_contracts::v1::Committed;
use consilium_domain::OrgId;
use consilium_domain::genesis::Genesis;
use consilium_ledger::SigningKey;
use consilium_runtime::{Kit, Service};
use consilium_store::FjallKv;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::mpsc;

/// Events that may wait for the node; network messages beyond are dropped, as the network may do anyway.
const EVENTS: usize = 16_384;
/// Messages that may wait to be sent.
const OUTGOING: usize = 16_384;
/// First octet of a gossiped message.
const AGREEMENT: u8 = 1;
const TRANSACTION: u8 = 2;

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
        let me = genesis.member(&organisation).context("the organisation is not in the genesis")?;
        if me.consensus != SigningKey::from_seed(seed).public() {
            bail!("`key_file` is not the consensus key that the genesis names for this organisation");
        }
        if genesis.channel != kit.common.organisation.channel {
            bail!("`genesis_file` is of the channel {}", genesis.channel);
        }
        let ready = kit.health.check("ledger");
        ready.not_ready("opening the store");
        std::fs::create_dir_all(&config.data_dir).context("make `data_dir`")?;
        let kv = FjallKv::open(&config.data_dir.join("kv")).context("open the store in `data_dir`")?;
        let chain = Arc::new(Chain::open(Arc::new(kv), &genesis)?);
        let opened = wal::Wal::open(&config.data_dir.join("wal")).context("open the write-ahead log")?;
        let metrics = Metrics::new(&kit.meter)?;
        let (height, set) = {
            let ledger = chain.ledger()?;
            (ledger.head().height.0, ledger.validators())
        };
        metrics.at(height);
        sync::serve(&kit, Arc::clone(&chain)).await?;

        let (events, inbox) = sync_channel(EVENTS);
        let shared = Arc::new(Shared::default());
        let api = Api { chain: Arc::clone(&chain), shared: Arc::clone(&shared), events: events.clone() };
        api.serve(&kit).await?;
        listen(&kit, events.clone(), metrics.clone()).await?;

        let mut signs_from = 0;
        if opened.lost || chain.new {
            ready.not_ready("asking the members how far they are, before signing anything");
            let limit = genesis.params.max_block_bytes as usize * 2 + 64 * 1024;
            signs_from = sync::first_safe_height(&kit, &genesis.channel, &set, limit).await?;
            tracing::info!(signs_from, "this node starts without a memory of its votes");
        }
        let outside = Bridge::new(&kit, events, metrics.clone());
        let parts = Parts {
            config,
            genesis,
            organisation,
            seed,
            recovery: wal::recovery(opened.records, height + 1),
            wal: opened.wal,
            chain,
            signs_from,
            clock: Arc::clone(&kit.clock),
            outside: Box::new(outside),
            shared,
            metrics,
        };
        ready.ready();
        let shutdown = kit.shutdown.clone();
        let node =
            tokio::task::spawn_blocking(move || Node::start(parts)?.run(&inbox, || shutdown.triggered()));
        node.await.context("the node's thread")??;
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

/// Hands the members' gossip to the node.
async fn listen(kit: &Kit, events: SyncSender<Event>, metrics: Metrics) -> anyhow::Result<()> {
    let mut gossip = kit.bus.subscribe(&kit.subjects.consensus_gossip_of_all(), None).await?;
    let (subjects, own) = (kit.subjects.clone(), kit.common.organisation.name.clone());
    tokio::spawn(async move {
        while let Some(incoming) = gossip.next().await {
            if subjects.owner_of(&incoming.subject).is_none_or(|org| org == own) {
                continue;
            }
            let (event, kind) = match incoming.payload.split_first() {
                Some((&AGREEMENT, bytes)) => (Event::Agreement(bytes.to_vec()), "agreement"),
                Some((&TRANSACTION, bytes)) => (Event::Gossiped(bytes.to_vec()), "transaction"),
                _ => continue,
            };
            if events.try_send(event).is_err() {
                metrics.dropped.inc(&[kind]);
            }
        }
    });
    Ok(())
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

    fn transaction(&self, tx: Vec<u8>) {
        self.send(Outgoing::Gossip([&[TRANSACTION], tx.as_slice()].concat()), "outgoing");
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
