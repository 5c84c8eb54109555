//! The driver: one thread that feeds the agreement, carries out what it asks for, and owns log, mempool and chain.

use crate::admission::refuse;
use crate::aftermath::{Aftermath, Decided};
use crate::chain::{Chain, ChainError, identify};
use crate::config::Config;
use crate::evidence::Reporter;
use crate::mempool::Pool;
use crate::metrics::Metrics;
use crate::snapshot::Snapshots;
use crate::wal::{Record, Wal};
use consilium_bft::{self as bft, Body, Input, Origin, Output, Poisoned, Recovery, State, TimerTag};
use consilium_contracts::v1::Committed;
use consilium_domain::block::{Block, CommitCertificate};
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::tx::tx_id;
use consilium_domain::{CanonError, Canonical, ChannelId, Clock, Digest, Height, OrgId, PublicKey};
use consilium_ledger::{
    Applied, BlockError, CheckError, Ledger, ReadError, SignatureMemory, SigningKey, committee, state,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use thiserror::Error;

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
    /// Messages of the members may have been lost.
    Missed,
    /// The mempool has grown.
    Pooled,
    /// A peer's answer to a sync request.
    Synced { peer: OrgId, bytes: Vec<u8> },
}

/// What the node wants done outside its thread. None of it is waited for.
pub trait Outside: Send + Sync {
    /// To all members, at most once.
    fn agreement(&self, bytes: Vec<u8>);
    /// To all members, at most once.
    fn transactions(&self, txs: Vec<Vec<u8>>);
    /// Fetch the block of `height` from `peer`; answered with [`Event::Synced`] or not at all.
    fn sync(&self, height: u64, peer: OrgId);
    /// To the own organisation.
    fn committed(&self, message: Committed);
}

/// Seen by the API.
#[derive(Debug, Default)]
pub struct Shared {
    /// A member is more than one block ahead.
    pub syncing: AtomicBool,
    /// The greatest height at which this node may have voted or has decided; 0 while it may have forgotten votes.
    pub voted: AtomicU64,
    /// Height of the newest block.
    pub applied: AtomicU64,
    /// First height at which this node may sign; the greatest number while that is to be found out.
    pub signs_from: AtomicU64,
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
    pub clock: Arc<dyn Clock>,
    pub outside: Arc<dyn Outside>,
    pub pool: Arc<Pool>,
    pub snapshots: Snapshots,
    pub aftermath: Aftermath,
    pub reporter: Reporter,
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
    key: PublicKey,
    params: Params,
    chain: Arc<Chain>,
    wal: Wal,
    agreement: State,
    pool: Arc<Pool>,
    snapshots: Snapshots,
    snapshot_blocks: u64,
    aftermath: Aftermath,
    reporter: Reporter,
    linger: Duration,
    /// Bytes of transactions in a block of our own.
    block_bytes: usize,
    /// Those whose keys the mempool's signatures were verified with.
    members: Vec<Member>,
    /// Blocks of this height that the log holds.
    logged: BTreeSet<Digest>,
    /// Blocks of this height that are executed already.
    executed: BTreeMap<Digest, (Block, Applied)>,
    timers: BTreeSet<(Duration, TimerTag)>,
    building: Option<Building>,
    /// Height and proposer of the newest round.
    proposing: Option<(u64, OrgId)>,
    /// Blocks that a member has and this node has not, as it was last shown.
    lag: u64,
    last_block: Duration,
    clock: Arc<dyn Clock>,
    outside: Arc<dyn Outside>,
    shared: Arc<Shared>,
    metrics: Metrics,
}

/// Longest sleep: how late a shutdown may be noticed.
const NAP: Duration = Duration::from_millis(50);

impl Node {
    /// Recovers from the log and enters the height after the newest block.
    pub fn start(parts: Parts) -> Result<Self, NodeError> {
        let channel: ChannelId = parts.genesis.channel.clone();
        let params = parts.genesis.params.clone();
        // The frame of a block around its transactions is a header and one length per transaction.
        let max_block_bytes = params.max_block_bytes as usize;
        let body = max_block_bytes.saturating_mul(2).saturating_add(64 * 1024);
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
            key: SigningKey::from_seed(parts.seed).public(),
            params,
            chain: parts.chain,
            wal: parts.wal,
            agreement,
            pool: parts.pool,
            snapshots: parts.snapshots,
            snapshot_blocks: parts.config.snapshot_blocks,
            aftermath: parts.aftermath,
            reporter: parts.reporter,
            linger: Duration::from_millis(mempool.linger_ms),
            block_bytes: mempool.block_bytes.min(max_block_bytes),
            members: Vec::new(),
            logged: BTreeSet::new(),
            executed: BTreeMap::new(),
            timers: BTreeSet::new(),
            building: None,
            proposing: None,
            lag: 0,
            last_block: parts.clock.monotonic(),
            clock: parts.clock,
            outside: parts.outside,
            shared: parts.shared,
            metrics: parts.metrics,
        };
        let replayed = !parts.recovery.wal.is_empty();
        let start = node.next_height(parts.recovery)?;
        if let Input::StartHeight { height, participate, .. } = &start {
            node.shared.applied.store(height - 1, Ordering::SeqCst);
            if *participate && replayed {
                node.shared.voted.fetch_max(*height, Ordering::SeqCst);
            }
        }
        node.step(start)?;
        Ok(node)
    }

    /// Until `stop` says so, or the other end of `events` is gone.
    pub fn run(mut self, events: &Receiver<Event>, stop: impl Fn() -> bool) -> Result<(), NodeError> {
        while !stop() {
            let now = self.clock.monotonic();
            let due = self.timers.first().map(|(at, _)| *at).into_iter();
            let due = due.chain(self.building_at()).min();
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
            Event::Missed => self.step(Input::Missed),
            Event::Synced { peer, bytes } => self.step(Input::SyncResponse { peer, bytes }),
            Event::Pooled => {
                self.metrics.mempool.set(&[], self.pool.lock().len() as f64);
                Ok(())
            }
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
        if self.building_at().is_some_and(|at| at <= now) {
            self.build()?;
        }
        Ok(())
    }

    /// When the block is built that the agreement waits for: with work, as soon as there is enough of it or the first
    /// of it is old enough; without, as heartbeat.
    fn building_at(&self) -> Option<Duration> {
        let building = self.building.as_ref()?;
        let pool = self.pool.lock();
        let enough = pool.bytes() >= self.block_bytes;
        let work = pool.oldest().map(|at| if enough { Duration::ZERO } else { at + self.linger });
        Some(work.map_or(building.at, |at| at.min(building.at)))
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
                    Output::PersistBody { height, id, built_for, body } => {
                        let (built_for, body) = (*built_for, body.clone());
                        self.logged.insert(*id);
                        self.wal.append(&Record::Body { height: *height, built_for, body })?;
                    }
                    Output::Send { .. } | Output::Decide { .. } | Output::RoundStarted { .. } => shown = true,
                    _ => {}
                }
            }
            if shown {
                self.wal.sync()?;
            }
            let votes = |o: &Output| matches!(o, Output::Send { class: bft::Class::Vote, .. });
            if outputs.iter().any(votes) {
                // Before the vote leaves: see `fresh`.
                self.shared.voted.fetch_max(self.agreement.height(), Ordering::SeqCst);
            }
            for output in outputs {
                self.carry_out(output, &mut inputs)?;
            }
        }
        // Whoever works on a height has the one before it.
        let lag = self.agreement.highest_seen().saturating_sub(self.agreement.height());
        if std::mem::replace(&mut self.lag, lag) != lag {
            self.metrics.lag.set(&[], lag as f64);
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
                let at = if round == 0 { (self.last_block + rest).max(now) } else { now };
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
                let before = self.proposing.replace((height, proposer.clone()));
                if round > 0 {
                    self.metrics.rounds.inc(&[]);
                    if let Some((_, missed)) = before.filter(|(at, _)| *at == height) {
                        self.metrics.missed.inc(&[missed.as_str()]);
                    }
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
                self.reporter.report(&self.chain, &evidence)?;
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
        self.logged.clear();
        let view = self.chain.view()?;
        let ledger = view.ledger()?;
        let height = ledger.head().height.next().0;
        let (validators, members) = (ledger.validators(), ledger.members().to_vec());
        let named = |m: &Member| m.organisation == self.organisation && m.consensus == self.key;
        let participate =
            height >= self.shared.signs_from.load(Ordering::SeqCst) && members.iter().any(named);
        let rotation = rotation(&ledger, Height(height))?;
        drop(ledger);
        if participate {
            // From here on this node knows again whatever it votes for.
            self.shared.voted.fetch_max(height - 1, Ordering::SeqCst);
        }
        self.watch_members(&members)?;
        Ok(Input::StartHeight { height, validators, rotation, participate, recovery })
    }

    /// Whether the application accepts a body, which is executed at once.
    fn judge(&mut self, id: Digest, body: &Body, origin: Origin) -> Result<bool, NodeError> {
        if self.executed.contains_key(&id) {
            return Ok(true);
        }
        let Ok(block) = Block::from_canonical(body) else { return Ok(false) };
        let view = self.chain.view()?;
        let ledger = view.ledger()?;
        let verdict = match origin {
            Origin::Proposal | Origin::Polka => {
                // What the door has not seen yet is verified here, all at once.
                let strange = self.pool.strange(block.txs.iter().map(|tx| tx_id(tx)));
                let unseen: Vec<&[u8]> = if strange.is_empty() {
                    Vec::new()
                } else {
                    block.txs.iter().map(Vec::as_slice).filter(|tx| strange.contains(&tx_id(tx))).collect()
                };
                let signed = ledger.signed_txs(&unseen);
                let known = |tx: &Digest| !strange.contains(tx) || signed.contains(tx);
                // With a polka, honest voters found it in time when it was new: only its own time counts.
                let now = if origin == Origin::Proposal { self.clock.now() } else { block.header.time };
                ledger.validate_block(&block, now, &known)
            }
            Origin::Sync => ledger.apply_block(&block),
        };
        match verdict {
            Ok(applied) => {
                self.executed.insert(id, (block, applied));
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
        let candidates = self.pool.lock().first(self.block_bytes);
        let view = self.chain.view()?;
        let ledger = view.ledger()?;
        // All of them come out of the mempool.
        let built = ledger.build_block(&self.organisation, &candidates, self.clock.now(), &|_| true)?;
        drop(ledger);
        for (id, error) in built.dropped {
            // One that came in again just when it was committed is answered by the door.
            if !self.chain.has_tx(&id)? {
                let waiting = self.pool.lock().remove(&id);
                refuse(waiting, error.code(), &error.to_string());
            }
        }
        let body = Body::from(built.block.to_canonical());
        self.executed.insert(built.block.id(), (built.block, built.applied));
        self.step(Input::ProposeBody { height, round, body })
    }

    fn commit(&mut self, id: Digest, body: &Body, certificate: &CommitCertificate) -> Result<(), NodeError> {
        let (block, mut applied) = match self.executed.remove(&id) {
            Some(executed) => executed,
            None => {
                let block = Block::from_canonical(body).map_err(|e| NodeError::Decided(id, e))?;
                let applied = self.chain.view()?.ledger()?.apply_block(&block);
                (block, applied.map_err(|e| NodeError::Execute(id, e))?)
            }
        };
        let height = block.header.height.0;
        // The log makes the block durable; the store may follow in its own time, for it is filled from the log again.
        if !self.logged.contains(&id) {
            self.wal.append(&Record::Body { height, built_for: None, body: body.clone() })?;
        }
        self.wal.append(&Record::Decided(certificate.clone()))?;
        self.wal.sync()?;
        let ids: Vec<Digest> = applied.outcomes.iter().map(|o| o.id).collect();
        let leaves = std::mem::take(&mut applied.leaves);
        self.chain.commit(body, certificate, applied)?;
        if self.wal.is_long() {
            self.chain.persist()?;
            self.wal.reset()?;
        }
        self.shared.applied.store(height, Ordering::SeqCst);
        let now = self.clock.monotonic();
        self.metrics.committed(height, ids.len(), now.saturating_sub(self.last_block));
        self.last_block = now;
        let mut pool = self.pool.lock();
        if let Some(at) = ids.first().and_then(|id| pool.since(id)) {
            self.metrics.finality.observe(&[], now.saturating_sub(at));
        }
        let waiting = ids.iter().enumerate().map(|(index, tx)| (index, pool.remove(tx)));
        let waiting = waiting.filter(|(_, answers)| !answers.is_empty()).collect();
        self.metrics.mempool.set(&[], pool.len() as f64);
        drop(pool);
        self.outside.committed(Committed {
            height,
            time_ms: block.header.time.0,
            tx_ids: ids.iter().map(|d| d.0.to_vec()).collect(),
        });
        if self.snapshot_blocks > 0 && height.is_multiple_of(self.snapshot_blocks) {
            self.make_snapshot()?;
        }
        self.aftermath.of(Decided { block, leaves, certificate: certificate.clone(), waiting });
        Ok(())
    }

    /// Beside the agreement, on a thread of its own: the view stays as it is now.
    fn make_snapshot(&self) -> Result<(), NodeError> {
        let (view, snapshots) = (self.chain.view()?, self.snapshots.clone());
        let work = move || match snapshots.make(&view) {
            Ok(made) => tracing::info!(height = made.height.0, chunks = made.chunks.len(), "made a snapshot"),
            Err(error) => tracing::warn!("a snapshot was not made: {error:#}"),
        };
        let spawned = std::thread::Builder::new().name("snapshot".to_owned()).spawn(work);
        if let Err(error) = spawned {
            tracing::warn!(%error, "a snapshot was not made");
        }
        Ok(())
    }

    /// The mempool's signatures were verified with the members' keys of then; when those change, so may the verdicts.
    fn watch_members(&mut self, members: &[Member]) -> Result<(), NodeError> {
        if self.members == members {
            return Ok(());
        }
        self.members = members.to_vec();
        let all = self.pool.lock().all();
        let txs: Vec<&[u8]> = all.iter().map(|(_, tx)| tx.as_slice()).collect();
        for ((id, _), verdict) in
            all.iter().zip(self.chain.view()?.ledger()?.check_txs(&txs, &mut SignatureMemory::default()))
        {
            match verdict {
                Ok(()) => {}
                Err(CheckError::Read(error)) => return Err(error.into()),
                Err(CheckError::Invalid(error)) => {
                    let waiting = self.pool.lock().remove(id);
                    refuse(waiting, error.code(), &error.to_string());
                }
            }
        }
        Ok(())
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
