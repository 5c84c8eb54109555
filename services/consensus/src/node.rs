//! The driver: one thread that feeds the agreement, carries out what it asks for, and owns log, mempool and chain.

use crate::chain::{Chain, ChainError, identify, prove};
use crate::config::Config;
use crate::mempool::Mempool;
use crate::metrics::Metrics;
use crate::wal::{Record, Wal};
use consilium_bft::{self as bft, Body, Input, Origin, Output, Poisoned, Recovery, State, TimerTag};
use consilium_contracts::v1::Committed;
use consilium_domain::block::{Block, CommitCertificate};
use consilium_domain::genesis::{Genesis, Params};
use consilium_domain::receipt::TxProof;
use consilium_domain::tx::tx_id;
use consilium_domain::{CanonError, Canonical, ChannelId, Clock, Digest, Height, OrgId};
use consilium_ledger::{Applied, BlockError, CheckError, Ledger, ReadError, committee, state};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;

/// The node stops: what it holds in memory may no longer agree with the disk, or with the others.
#[derive(Debug, Error)]
pub enum NodeError {
    #[error("the write-ahead log cannot be written: {0}")]
    Wal(#[from] std::io::Error),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    #[error("the decided block {0} cannot be read: {1}")]
    Decided(Digest, CanonError),
    #[error("the decided block {0} cannot be executed: {1}")]
    Execute(Digest, BlockError),
}

/// What happens to the node.
#[derive(Debug)]
pub enum Event {
    /// Bytes of a member's agreement.
    Agreement(Vec<u8>),
    /// A transaction that a member has passed on.
    Gossiped(Vec<u8>),
    /// A transaction of our own organisation; answered when its fate is known.
    Submit { tx: Vec<u8>, answer: oneshot::Sender<Fate> },
    /// A peer's answer to a sync request.
    Synced { peer: OrgId, bytes: Vec<u8> },
}

/// What became of a submitted transaction.
#[derive(Debug)]
pub enum Fate {
    Committed(Box<TxProof>),
    Refused { code: &'static str, text: String },
}

/// What the node wants done outside its thread. None of it is waited for.
pub trait Outside: Send {
    /// To all members, at most once.
    fn agreement(&self, bytes: Vec<u8>);
    fn transaction(&self, tx: Vec<u8>);
    /// Fetch the block of `height` from `peer`; answered with [`Event::Synced`] or not at all.
    fn sync(&self, height: u64, peer: OrgId);
    /// To the own organisation.
    fn committed(&self, message: Committed);
}

/// Seen by the API.
#[derive(Debug, Default)]
pub struct Shared {
    pub mempool: AtomicU64,
    /// A member is more than one block ahead.
    pub syncing: AtomicBool,
}

/// What a node is made of.
pub struct Parts {
    pub config: Config,
    pub genesis: Genesis,
    pub organisation: OrgId,
    pub seed: [u8; 32],
    pub chain: Arc<Chain>,
    pub wal: Wal,
    pub recovery: Recovery,
    /// First height at which this node may sign.
    pub signs_from: u64,
    pub clock: Arc<dyn Clock>,
    pub outside: Box<dyn Outside>,
    pub shared: Arc<Shared>,
    pub metrics: Metrics,
}

/// A value that the agreement waits for.
struct Building {
    height: u64,
    round: u32,
    at: Duration,
}

pub struct Node {
    organisation: OrgId,
    params: Params,
    chain: Arc<Chain>,
    wal: Wal,
    agreement: State,
    signs_from: u64,
    mempool: Mempool,
    mempool_limit: (usize, usize),
    linger: Duration,
    /// Blocks of this height that are executed already.
    executed: BTreeMap<Digest, Applied>,
    waiting: BTreeMap<Digest, Vec<oneshot::Sender<Fate>>>,
    timers: BTreeSet<(Duration, TimerTag)>,
    building: Option<Building>,
    last_block: Duration,
    clock: Arc<dyn Clock>,
    outside: Box<dyn Outside>,
    shared: Arc<Shared>,
    metrics: Metrics,
}

/// Longest sleep: how late a shutdown may be noticed.
const NAP: Duration = Duration::from_millis(50);
/// Heights whose state can be read; older nodes of the tree are deleted.
const KEPT_STATES: u64 = 256;
/// Heights between two prunings, and tree nodes deleted at a time.
const PRUNE_EVERY: u64 = 64;
const PRUNE_AT_ONCE: usize = 20_000;

impl Node {
    /// Recovers from the log and enters the height after the newest block.
    pub fn start(parts: Parts) -> Result<Self, NodeError> {
        let channel: ChannelId = parts.genesis.channel.clone();
        let params = parts.genesis.params.clone();
        // The frame of a block around its transactions is a header and one length per transaction.
        let body = (params.max_block_bytes as usize).saturating_mul(2).saturating_add(64 * 1024);
        let agreement = State::new(
            bft::Config {
                channel,
                organisation: parts.organisation.clone(),
                timeouts: parts.config.timeouts.to_bft(),
                limits: bft::Limits { body, ..bft::Limits::default() },
                identify,
            },
            parts.seed,
        );
        let mempool = &parts.config.mempool;
        let mut node = Self {
            organisation: parts.organisation,
            params,
            chain: parts.chain,
            wal: parts.wal,
            agreement,
            signs_from: parts.signs_from,
            mempool: Mempool::default(),
            mempool_limit: (mempool.transactions, mempool.bytes),
            linger: Duration::from_millis(mempool.linger_ms),
            executed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            timers: BTreeSet::new(),
            building: None,
            last_block: parts.clock.monotonic(),
            clock: parts.clock,
            outside: parts.outside,
            shared: parts.shared,
            metrics: parts.metrics,
        };
        let start = node.next_height(parts.recovery)?;
        node.step(start)?;
        Ok(node)
    }

    /// Until `stop` says so, or the other end of `events` is gone.
    pub fn run(mut self, events: &Receiver<Event>, stop: impl Fn() -> bool) -> Result<(), NodeError> {
        while !stop() {
            let now = self.clock.monotonic();
            let due = self.timers.first().map(|(at, _)| *at).into_iter();
            let due = due.chain(self.building.as_ref().map(|b| b.at)).min();
            let wait = due.map_or(NAP, |at| at.saturating_sub(now).min(NAP));
            match events.recv_timeout(wait) {
                Ok(event) => self.happen(event)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.run_due()?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), NodeError> {
        match event {
            Event::Agreement(bytes) => self.step(Input::NetworkMessage(bytes)),
            Event::Synced { peer, bytes } => self.step(Input::SyncResponse { peer, bytes }),
            Event::Gossiped(tx) => self.admit(tx).map(|_| ()),
            Event::Submit { tx, answer } => self.submit(tx, answer),
        }
    }

    fn run_due(&mut self) -> Result<(), NodeError> {
        let now = self.clock.monotonic();
        while let Some((at, tag)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            self.step(Input::TimerFired(tag))?;
        }
        if self.building.as_ref().is_some_and(|b| b.at <= now) {
            self.build()?;
        }
        Ok(())
    }

    /// One event and all that follows from it.
    fn step(&mut self, input: Input) -> Result<(), NodeError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let outputs = bft::step(&mut self.agreement, self.clock.monotonic(), input)?;
            // Nothing that others can see leaves before the log that it rests on is durable. What only fills
            // the log may wait for the next sync: forgetting others' votes is harmless.
            let mut shown = false;
            for output in &outputs {
                match output {
                    Output::PersistWal { height, entry } => {
                        self.wal.append(&Record::Entry { height: *height, entry: entry.clone() })?;
                    }
                    Output::PersistBody { height, built_for, body, .. } => {
                        let (built_for, body) = (*built_for, body.clone());
                        self.wal.append(&Record::Body { height: *height, built_for, body })?;
                    }
                    Output::Send { .. } | Output::Decide { .. } | Output::RoundStarted { .. } => shown = true,
                    _ => {}
                }
            }
            if shown {
                self.wal.sync()?;
            }
            for output in outputs {
                self.carry_out(output, &mut inputs)?;
            }
        }
        let syncing = self.agreement.highest_seen() > self.agreement.height() + 1;
        self.shared.syncing.store(syncing, Ordering::Relaxed);
        Ok(())
    }

    fn carry_out(&mut self, output: Output, inputs: &mut VecDeque<Input>) -> Result<(), NodeError> {
        let now = self.clock.monotonic();
        match output {
            Output::PersistBody { .. } | Output::PersistWal { .. } => {}
            // Gossip reaches every member; whom it does not concern ignores it.
            Output::Send { bytes, .. } => self.outside.agreement(bytes),
            Output::SetTimer { tag, after } => {
                self.timers.insert((now + after, tag));
            }
            Output::CancelTimer { tag } => self.timers.retain(|(_, t)| *t != tag),
            Output::RequestValue { height, round, within } => {
                // Without work, only the heartbeat keeps the chain's clock going; later rounds hurry.
                let rest = Duration::from_millis(self.params.heartbeat_ms).min(within / 2);
                let at = match (round, self.mempool.is_empty()) {
                    (0, true) => (self.last_block + rest).max(now),
                    (0, false) => now + self.linger,
                    _ => now,
                };
                self.building = Some(Building { height, round, at });
            }
            Output::ValidateBody { height, id, body, origin, .. } => {
                let valid = self.judge(id, &body, origin)?;
                inputs.push_back(Input::BodyValidated { height, id, origin, valid });
            }
            Output::RequestSync { height, peer } => {
                self.metrics.syncs.inc(&[]);
                self.outside.sync(height, peer);
            }
            Output::RoundStarted { height, round, proposer } => {
                self.metrics.round.set(&[], f64::from(round));
                if round > 0 {
                    self.metrics.rounds.inc(&[]);
                    tracing::info!(height, round, %proposer, "a further round");
                }
                self.building = None;
            }
            Output::Decide { id, body, certificate, evidence, .. } => {
                for e in &evidence {
                    self.metrics.evidence.inc(&[e.validator.as_str()]);
                    tracing::warn!(validator = %e.validator, "a validator has contradicted itself");
                }
                self.commit(id, &body, &certificate)?;
                inputs.push_back(self.next_height(Recovery::default())?);
            }
            Output::Blame { peer, reason } => tracing::warn!(%peer, reason, "a member misbehaved"),
        }
        Ok(())
    }

    fn next_height(&mut self, recovery: Recovery) -> Result<Input, NodeError> {
        self.timers.clear();
        self.building = None;
        self.executed.clear();
        let ledger = self.chain.ledger()?;
        let height = ledger.head().height.next().0;
        let participate = height >= self.signs_from;
        let (validators, rotation) = (ledger.validators(), rotation(&ledger, Height(height))?);
        Ok(Input::StartHeight { height, validators, rotation, participate, recovery })
    }

    /// Whether the application accepts a body, which is executed at once.
    fn judge(&mut self, id: Digest, body: &Body, origin: Origin) -> Result<bool, NodeError> {
        if self.executed.contains_key(&id) {
            return Ok(true);
        }
        let Ok(block) = Block::from_canonical(body) else { return Ok(false) };
        let ledger = self.chain.ledger()?;
        let verdict = match origin {
            Origin::Proposal => {
                ledger.validate_block(&block, self.clock.now(), &|tx| self.mempool.is_verified(tx))
            }
            // Found in time by honest voters when it was new: only its own time counts.
            Origin::Polka => {
                ledger.validate_block(&block, block.header.time, &|tx| self.mempool.is_verified(tx))
            }
            Origin::Sync => ledger.apply_block(&block),
        };
        match verdict {
            Ok(applied) => {
                self.executed.insert(id, applied);
                Ok(true)
            }
            Err(BlockError::Read(e)) => Err(e.into()),
            Err(error) => {
                self.metrics.refused.inc(&[]);
                tracing::warn!(height = block.header.height.0, proposer = %block.header.proposer, %error,
                    "a proposed block is not acceptable");
                Ok(false)
            }
        }
    }

    fn build(&mut self) -> Result<(), NodeError> {
        let Some(Building { height, round, .. }) = self.building.take() else { return Ok(()) };
        let candidates = self.mempool.oldest(self.params.max_block_bytes as usize);
        let ledger = self.chain.ledger()?;
        let known = |tx: &Digest| self.mempool.is_verified(tx);
        let built = ledger.build_block(&self.organisation, &candidates, self.clock.now(), &known)?;
        drop(ledger);
        for (id, error) in built.dropped {
            self.drop_tx(&id, error.code(), &error.to_string());
        }
        self.executed.insert(built.block.id(), built.applied);
        let body = Body::from(built.block.to_canonical());
        self.step(Input::ProposeBody { height, round, body })
    }

    fn commit(&mut self, id: Digest, body: &[u8], certificate: &CommitCertificate) -> Result<(), NodeError> {
        let block = Block::from_canonical(body).map_err(|e| NodeError::Decided(id, e))?;
        let applied = match self.executed.remove(&id) {
            Some(applied) => applied,
            None => self.chain.ledger()?.apply_block(&block).map_err(|e| NodeError::Execute(id, e))?,
        };
        let ids: Vec<Digest> = applied.outcomes.iter().map(|o| o.id).collect();
        if applied.members_change {
            // What waits was verified against keys that may have been rotated out.
            self.mempool.distrust();
        }
        self.chain.commit(body, certificate, applied)?;
        self.wal.reset()?;
        let (now, height) = (self.clock.monotonic(), block.header.height.0);
        self.metrics.committed(height, ids.len(), now.saturating_sub(self.last_block));
        self.last_block = now;
        let waited_for = ids.iter().any(|id| self.waiting.contains_key(id));
        let changes = if waited_for { self.chain.changes_before(block.header.height)? } else { Vec::new() };
        for (index, tx) in ids.iter().enumerate() {
            self.mempool.remove(tx);
            for waiting in self.waiting.remove(tx).unwrap_or_default() {
                if let Some(proof) = prove(&block, certificate, index, &changes) {
                    // Nobody listens any more if the wait was over.
                    let _ = waiting.send(Fate::Committed(Box::new(proof)));
                }
            }
        }
        if !ids.is_empty() {
            self.recheck_waiting()?;
        }
        self.show_mempool();
        self.outside.committed(Committed {
            height,
            time_ms: block.header.time.0,
            tx_ids: ids.iter().map(|d| d.0.to_vec()).collect(),
        });
        if height.is_multiple_of(PRUNE_EVERY) && height > KEPT_STATES {
            self.chain.prune(Height(height - KEPT_STATES), PRUNE_AT_ONCE)?;
        }
        Ok(())
    }

    /// A block may have made a waiting transaction impossible: whoever waits for it should learn that now, not
    /// when this node next proposes.
    fn recheck_waiting(&mut self) -> Result<(), NodeError> {
        self.waiting.retain(|_, answers| {
            answers.retain(|a| !a.is_closed());
            !answers.is_empty()
        });
        let ledger = self.chain.ledger()?;
        let mut gone = Vec::new();
        for id in self.waiting.keys() {
            match self.mempool.get(id).map(|tx| ledger.check_tx(tx)) {
                None | Some(Ok(_)) => {}
                Some(Err(CheckError::Invalid(error))) => gone.push((*id, error)),
                Some(Err(CheckError::Read(error))) => return Err(error.into()),
            }
        }
        drop(ledger);
        for (id, error) in gone {
            self.drop_tx(&id, error.code(), &error.to_string());
        }
        Ok(())
    }

    fn drop_tx(&mut self, id: &Digest, code: &'static str, text: &str) {
        self.mempool.remove(id);
        for waiting in self.waiting.remove(id).unwrap_or_default() {
            let _ = waiting.send(Fate::Refused { code, text: text.to_owned() });
        }
        self.show_mempool();
    }

    fn submit(&mut self, tx: Vec<u8>, answer: oneshot::Sender<Fate>) -> Result<(), NodeError> {
        let id = tx_id(&tx);
        if let Some(proof) = self.chain.find(&id)? {
            let _ = answer.send(Fate::Committed(Box::new(proof)));
            return Ok(());
        }
        if let Some(fate) = self.admit(tx.clone())? {
            let _ = answer.send(fate);
            return Ok(());
        }
        self.waiting.entry(id).or_default().push(answer);
        self.outside.transaction(tx);
        Ok(())
    }

    /// Takes a transaction into the mempool; `Some` = why not.
    fn admit(&mut self, tx: Vec<u8>) -> Result<Option<Fate>, NodeError> {
        let id = tx_id(&tx);
        if self.mempool.contains(&id) || self.chain.has_tx(&id)? {
            return Ok(None);
        }
        let (most, bytes) = self.mempool_limit;
        if self.mempool.len() >= most || self.mempool.bytes().saturating_add(tx.len()) > bytes {
            let text = "too many transactions wait: try again later".to_owned();
            return Ok(Some(Fate::Refused { code: "busy", text }));
        }
        match self.chain.ledger()?.check_tx(&tx) {
            Ok(_) => {}
            Err(CheckError::Read(error)) => return Err(error.into()),
            Err(CheckError::Invalid(error)) => {
                let (code, text) = (error.code(), error.to_string());
                return Ok(Some(Fate::Refused { code, text }));
            }
        }
        self.mempool.add(id, tx);
        self.show_mempool();
        if let Some(building) = &mut self.building {
            building.at = building.at.min(self.clock.monotonic() + self.linger);
        }
        Ok(None)
    }

    fn show_mempool(&self) {
        let waiting = u64::try_from(self.mempool.len()).unwrap_or(u64::MAX);
        self.shared.mempool.store(waiting, Ordering::Relaxed);
        self.metrics.mempool.set(&[], waiting as f64);
    }
}

/// Who proposes at a height: drawn from the id of the last block before the epoch before, which was certified when
/// nobody could know this epoch; the genesis stands in for it in the first two.
fn rotation(ledger: &Ledger<'_>, height: Height) -> Result<bft::Rotation, NodeError> {
    let params = ledger.params();
    let epoch = committee::epoch_of(params, height);
    let seed = match epoch.checked_sub(1) {
        None | Some(0) => ledger.genesis(),
        Some(before) => ledger
            .get(&state::epoch_key(before))?
            .and_then(|id| Digest::from_slice(&id))
            .ok_or_else(|| ReadError(format!("the seed of epoch {before} is missing")))?,
    };
    let since = epoch.saturating_mul(params.epoch_blocks);
    Ok(bft::Rotation { seed, since, weights: Vec::new() })
}
