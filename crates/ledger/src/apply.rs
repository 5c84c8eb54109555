//! Blocks: genesis, validity, execution, building.

use crate::check::{self, CheckError, Context, Look, TxError, check_with_state, find};
use crate::committee;
use crate::state::{
    self, AnchorRecord, BatchRecord, ConsentRecord, HeadRecord, ReadError, SchemaRecord, StateRead,
    VoteRecord,
};
use crate::tree;
use consilium_domain::block::{BLOCK_VERSION, Block, Header, ValidatorSet};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::merkle::{self, Frontier};
use consilium_domain::port::kv::{Pair, Write};
use consilium_domain::tx::{ProfileVote, Tx, TxBody, tx_id};
use consilium_domain::{ChannelId, Digest, Height, OrgId, PublicKey, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Most transactions of one block.
pub const MAX_BLOCK_TXS: usize = 65_536;
/// Most members of a channel.
pub const MAX_MEMBERS: usize = check::MAX_ATTESTATIONS;

/// Why a block is not the next one.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BlockError {
    #[error("the block's `{0}` is not what the state before it demands")]
    Header(&'static str),
    #[error("the block's time is {0} ms from this node's clock")]
    Drift(u64),
    #[error("the block's body is larger than this channel allows")]
    TooLarge,
    #[error("transaction {index} of the block is invalid: {error}")]
    Tx { index: usize, error: TxError },
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a genesis is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum GenesisError {
    #[error("a channel has 1 to {MAX_MEMBERS} members, found {0}")]
    MemberCount(usize),
    #[error("the members are not sorted by organisation, each once")]
    NotSorted,
    #[error("the key {0} is listed twice: each service of each member has its own")]
    SharedKey(PublicKey),
    #[error("the schemas are not sorted, each once")]
    SchemasNotSorted,
    #[error("`{0}` must not be 0")]
    Zero(&'static str),
    #[error("`max_block_bytes` is at least {0}: one transaction of the largest size")]
    BlockBytes(usize),
    #[error("a committee of {found} is too small for these members: 0 (all) or at least {least}")]
    Committee { found: u32, least: usize },
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What a transaction changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Batch {
        root: Digest,
        records: u32,
    },
    Consent {
        handle: Digest,
        version: u64,
    },
    AuditAnchor {
        size: u64,
    },
    /// `decided`: whether this vote was the one that changed the schema set.
    ProfileVote {
        schema: Digest,
        admit: bool,
        decided: bool,
    },
}

/// One executed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub id: Digest,
    pub sender: OrgId,
    pub effect: Effect,
}

/// An executed block: everything that its commit writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub height: Height,
    pub block: Digest,
    pub time: Timestamp,
    /// All key-value writes, to be applied in one durable batch.
    pub writes: Vec<Write>,
    /// State root after this block: stands in the next header.
    pub state_root: Digest,
    pub log_size: u64,
    pub log_root: Digest,
    /// One per transaction, in order.
    pub outcomes: Vec<Outcome>,
}

/// A block of one's own and what became of the candidates.
#[derive(Debug, Clone)]
pub struct Built {
    pub block: Block,
    /// The block already executed: no need to validate it again.
    pub applied: Applied,
    /// Candidates that can no longer enter a block, by transaction id. Those that found no room are not among them.
    pub dropped: Vec<(Digest, TxError)>,
}

/// The state after the newest block, as one reads it.
pub struct Ledger<'v> {
    view: &'v dyn StateRead,
    context: Context,
    head: HeadRecord,
    state_root: Digest,
    log: Frontier,
    validators: Digest,
}

/// First state of a channel (height 0). Refuses a genesis that no consortium could run on.
pub fn genesis_state(genesis: &Genesis) -> Result<Applied, GenesisError> {
    check_genesis(genesis)?;
    let digest = genesis.digest();
    let head = HeadRecord { height: Height(0), time: genesis.time, block: digest };
    let mut changes = tree::Changes::new();
    let mut put = |key: Vec<u8>, value: Vec<u8>| changes.insert(key, (None, Some(value)));
    put(state::genesis_key(), genesis.to_canonical());
    put(state::members_key(), genesis.members.to_canonical());
    put(state::params_key(), genesis.params.to_canonical());
    put(state::head_key(), head.to_canonical());
    for schema in &genesis.schemas {
        put(state::schema_key(schema), SchemaRecord { since: Height(0) }.to_canonical());
    }
    let (state_root, mut writes) = tree::write(&Nothing, 0, changes)?;
    let log = Frontier::default();
    writes.push(tree::frontier_write(&log));
    Ok(Applied {
        height: Height(0),
        block: digest,
        time: genesis.time,
        writes,
        state_root,
        log_size: 0,
        log_root: log.root(),
        outcomes: Vec::new(),
    })
}

/// The view before genesis.
struct Nothing;

impl StateRead for Nothing {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(None)
    }
    fn last(&self, _: &[u8], _: &[u8]) -> Result<Option<Pair>, ReadError> {
        Ok(None)
    }
}

fn check_genesis(genesis: &Genesis) -> Result<(), GenesisError> {
    let n = genesis.members.len();
    if n == 0 || n > MAX_MEMBERS {
        return Err(GenesisError::MemberCount(n));
    }
    if !genesis.members.is_sorted_by(|a, b| a.organisation < b.organisation) {
        return Err(GenesisError::NotSorted);
    }
    let mut keys = BTreeSet::new();
    for m in &genesis.members {
        for key in [m.consensus, m.validate, m.ingest, m.audit, m.governance] {
            if !keys.insert(key) {
                return Err(GenesisError::SharedKey(key));
            }
        }
    }
    if !genesis.schemas.is_sorted_by(|a, b| a < b) {
        return Err(GenesisError::SchemasNotSorted);
    }
    let p = &genesis.params;
    for (name, value) in [
        ("epoch_blocks", p.epoch_blocks),
        ("attestation_blocks", p.attestation_blocks),
        ("staleness_ms", p.staleness_ms),
        ("heartbeat_ms", p.heartbeat_ms),
        ("drift_ms", p.drift_ms),
    ] {
        if value == 0 {
            return Err(GenesisError::Zero(name));
        }
    }
    let room = consilium_domain::tx::MAX_TX + 4;
    if (p.max_block_bytes as usize) < room {
        return Err(GenesisError::BlockBytes(room));
    }
    let least = committee::smallest(n).max(1);
    if p.committee != 0 && (p.committee as usize) < least {
        return Err(GenesisError::Committee { found: p.committee, least });
    }
    Ok(())
}

impl<'v> Ledger<'v> {
    /// Reads what every block needs from a view in which genesis and all blocks so far have been written.
    pub fn open(view: &'v dyn StateRead) -> Result<Self, ReadError> {
        fn must<T: Canonical>(view: &dyn StateRead, key: &[u8]) -> Result<T, ReadError> {
            let name = String::from_utf8_lossy(key);
            let (_, value) = tree::read(view, tree::key_hash(key), u64::MAX)?
                .ok_or_else(|| ReadError(format!("`{name}` is missing: write the genesis state first")))?;
            let bytes = value.ok_or_else(|| ReadError(format!("`{name}` was deleted")))?;
            state::decode(&bytes, &name)
        }
        let genesis: Genesis = must(view, &state::genesis_key())?;
        let head: HeadRecord = must(view, &state::head_key())?;
        let context = Context {
            members: must(view, &state::members_key())?,
            params: must(view, &state::params_key())?,
            ..Context::of(&genesis)
        };
        let validators = validators(&context.members).digest();
        let state_root = tree::root(view, head.height.0)?;
        Ok(Self { view, context, head, state_root, log: tree::frontier(view)?, validators })
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub fn channel(&self) -> &ChannelId {
        &self.context.channel
    }
    /// Digest of the genesis.
    pub fn genesis(&self) -> Digest {
        self.context.genesis
    }
    pub fn members(&self) -> &[Member] {
        &self.context.members
    }
    pub fn params(&self) -> &Params {
        &self.context.params
    }
    /// Height, time and id of the newest block.
    pub fn head(&self) -> &HeadRecord {
        &self.head
    }
    /// State root after the newest block.
    pub fn state_root(&self) -> Digest {
        self.state_root
    }
    /// Transactions on the ledger so far.
    pub fn log_size(&self) -> u64 {
        self.log.size()
    }
    /// The validators of the next height.
    pub fn validators(&self) -> ValidatorSet {
        validators(&self.context.members)
    }

    /// The value of a state key (see [`crate::state`]) after the newest block.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let found = tree::read(self.view, tree::key_hash(key), self.head.height.0)?;
        Ok(found.and_then(|(_, value)| value))
    }

    /// Whether a transaction could enter the next block: for a mempool's door.
    pub fn check_tx(&self, bytes: &[u8]) -> Result<Tx, CheckError> {
        let tx = check::check(bytes)?;
        let mut session = Session::new(self);
        check_with_state(&self.context, &mut session, self.head.height.next(), &tx, false)?;
        Ok(tx)
    }

    /// Whether a proposed block is the next one, and what it does. `now` is the voter's clock; `known` says of a
    /// transaction id whether this node has verified all its signatures before ([`Ledger::check_tx`] has).
    pub fn validate_block(
        &self,
        block: &Block,
        now: Timestamp,
        known: &dyn Fn(&Digest) -> bool,
    ) -> Result<Applied, BlockError> {
        let apart = block.header.time.0.abs_diff(now.0);
        if apart > self.context.params.drift_ms {
            return Err(BlockError::Drift(apart));
        }
        self.execute(block, known)
    }

    /// Executes a block whose commit certificate has been verified: more than two thirds have checked the signatures
    /// and the clock, so neither is looked at again; all rules of state are.
    pub fn apply_block(&self, block: &Block) -> Result<Applied, BlockError> {
        self.execute(block, &|_| true)
    }

    /// Builds the next block from candidates in the order given.
    pub fn build_block(
        &self,
        proposer: &OrgId,
        candidates: &[Vec<u8>],
        now: Timestamp,
        known: &dyn Fn(&Digest) -> bool,
    ) -> Result<Built, ReadError> {
        let mut session = Session::new(self);
        let (mut txs, mut dropped, mut room) =
            (Vec::new(), Vec::new(), self.context.params.max_block_bytes as usize);
        for bytes in candidates {
            let Some(left) = room.checked_sub(bytes.len().saturating_add(4)) else { continue };
            if txs.len() >= MAX_BLOCK_TXS {
                break;
            }
            match session.run(bytes, known) {
                Ok(()) => {
                    room = left;
                    txs.push(bytes.clone());
                }
                Err(CheckError::Invalid(error)) => dropped.push((tx_id(bytes), error)),
                Err(CheckError::Read(error)) => return Err(error),
            }
        }
        let leaves: Vec<Digest> = txs.iter().map(|t| merkle::leaf_hash(t)).collect();
        // Greater than the parent's even where this node's clock lags behind it.
        let time = now.max(Timestamp(self.head.time.0.saturating_add(1)));
        let header = Header {
            version: BLOCK_VERSION,
            channel: self.context.channel.clone(),
            height: self.head.height.next(),
            previous: self.head.block,
            proposer: proposer.clone(),
            time,
            tx_root: merkle::root(&leaves),
            state_root: self.state_root,
            log_size: self.log.size(),
            log_root: self.log.root(),
            next_validators: self.validators,
        };
        let applied = session.finish(&header, &leaves)?;
        Ok(Built { block: Block { header, txs }, applied, dropped })
    }

    fn execute(&self, block: &Block, known: &dyn Fn(&Digest) -> bool) -> Result<Applied, BlockError> {
        self.check_header(&block.header)?;
        let size = block.txs.iter().fold(0_usize, |sum, t| sum.saturating_add(t.len()).saturating_add(4));
        if size > self.context.params.max_block_bytes as usize || block.txs.len() > MAX_BLOCK_TXS {
            return Err(BlockError::TooLarge);
        }
        let leaves = block.tx_leaves();
        if merkle::root(&leaves) != block.header.tx_root {
            return Err(BlockError::Header("tx_root"));
        }
        let mut session = Session::new(self);
        for (index, bytes) in block.txs.iter().enumerate() {
            session.run(bytes, known).map_err(|e| match e {
                CheckError::Invalid(error) => BlockError::Tx { index, error },
                CheckError::Read(error) => BlockError::Read(error),
            })?;
        }
        Ok(session.finish(&block.header, &leaves)?)
    }

    /// The first field that does not continue the state.
    fn check_header(&self, header: &Header) -> Result<(), BlockError> {
        let proposer = self.context.members.iter().any(|m| m.organisation == header.proposer);
        let wrong = [
            ("version", header.version == BLOCK_VERSION),
            ("channel", header.channel == self.context.channel),
            ("height", header.height == self.head.height.next()),
            ("previous", header.previous == self.head.block),
            ("proposer", proposer),
            ("time", header.time > self.head.time),
            ("state_root", header.state_root == self.state_root),
            ("log_size", header.log_size == self.log.size()),
            ("log_root", header.log_root == self.log.root()),
            ("next_validators", header.next_validators == self.validators),
        ]
        .into_iter()
        .find(|(_, right)| !right);
        wrong.map_or(Ok(()), |(name, _)| Err(BlockError::Header(name)))
    }
}

fn validators(members: &[Member]) -> ValidatorSet {
    let one = |m: &Member| consilium_domain::block::Validator {
        organisation: m.organisation.clone(),
        key: m.consensus,
        power: 1,
    };
    ValidatorSet { validators: members.iter().map(one).collect() }
}

/// A state key as a block finds it and as it leaves it.
struct Slot {
    /// Version that wrote the value before this block.
    before: Option<u64>,
    value: Option<Vec<u8>>,
    changed: bool,
}

/// The state in the middle of a block.
pub(crate) struct Session<'l> {
    ledger: &'l Ledger<'l>,
    height: Height,
    slots: BTreeMap<Vec<u8>, Slot>,
    outcomes: Vec<Outcome>,
}

impl Look for Session<'_> {
    fn look(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.slot(key)?.value.clone())
    }
}

impl<'l> Session<'l> {
    pub(crate) fn new(ledger: &'l Ledger<'l>) -> Self {
        Self { ledger, height: ledger.head.height.next(), slots: BTreeMap::new(), outcomes: Vec::new() }
    }

    fn slot(&mut self, key: &[u8]) -> Result<&mut Slot, ReadError> {
        if !self.slots.contains_key(key) {
            let found = tree::read(self.ledger.view, tree::key_hash(key), self.ledger.head.height.0)?;
            let (before, value) = found.map_or((None, None), |(version, value)| (Some(version), value));
            self.slots.insert(key.to_vec(), Slot { before, value, changed: false });
        }
        self.slots.get_mut(key).ok_or_else(|| ReadError("a slot is missing".to_owned()))
    }

    fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), ReadError> {
        let slot = self.slot(key)?;
        slot.value = value;
        slot.changed = true;
        Ok(())
    }

    /// Checks and executes one transaction; one that is refused leaves no trace.
    fn run(&mut self, bytes: &[u8], known: &dyn Fn(&Digest) -> bool) -> Result<(), CheckError> {
        let tx = check::check(bytes)?;
        let id = tx_id(bytes);
        let context = &self.ledger.context;
        check_with_state(context, self, self.height, &tx, known(&id))?;
        let sender = tx.unsigned.sender;
        let height = self.height;
        let effect = match tx.unsigned.body {
            TxBody::Batch(batch) => {
                let s = batch.statement;
                let record = BatchRecord { height, custodian: s.custodian, records: s.records };
                self.set(&state::batch_key(&s.batch_root), Some(record.to_canonical()))?;
                Effect::Batch { root: s.batch_root, records: s.records }
            }
            TxBody::Consent(change) => {
                let (handle, version) = (change.core.handle, change.core.version);
                let record = ConsentRecord { core: change.core, height, sender: sender.clone() };
                self.set(&state::consent_key(&handle), Some(record.to_canonical()))?;
                Effect::Consent { handle, version }
            }
            TxBody::AuditAnchor(anchor) => {
                let record = AnchorRecord { size: anchor.size, root: anchor.root, height };
                self.set(&state::anchor_key(&sender), Some(record.to_canonical()))?;
                Effect::AuditAnchor { size: anchor.size }
            }
            TxBody::ProfileVote(vote) => {
                let decided = self.vote(&sender, &vote)?;
                Effect::ProfileVote { schema: vote.schema, admit: vote.admit == 1, decided }
            }
        };
        self.outcomes.push(Outcome { id, sender, effect });
        Ok(())
    }

    /// Records a vote; true when it carries the motion and changes the schema set.
    fn vote(&mut self, sender: &OrgId, vote: &ProfileVote) -> Result<bool, ReadError> {
        let record = VoteRecord { admit: vote.admit, round: vote.round };
        self.set(&state::vote_key(&vote.schema, sender), Some(record.to_canonical()))?;
        let ledger = self.ledger;
        let mut alike = 0_usize;
        for member in &ledger.context.members {
            let cast: Option<VoteRecord> = find(self, &state::vote_key(&vote.schema, &member.organisation))?;
            alike += usize::from(cast.is_some_and(|c| c.admit == vote.admit));
        }
        if alike < committee::quorum(ledger.context.members.len()) {
            return Ok(false);
        }
        let key = state::schema_key(&vote.schema);
        let admitted = self.look(&key)?.is_some();
        match (vote.admit == 1, admitted) {
            (true, false) => self.set(&key, Some(SchemaRecord { since: self.height }.to_canonical()))?,
            (false, true) => self.set(&key, None)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Closes the block: head, committee seed, log, tree.
    fn finish(mut self, header: &Header, leaves: &[Digest]) -> Result<Applied, ReadError> {
        let block = header.id();
        let head = HeadRecord { height: header.height, time: header.time, block };
        self.set(&state::head_key(), Some(head.to_canonical()))?;
        let params = &self.ledger.context.params;
        let (epoch, next) =
            (committee::epoch_of(params, header.height), committee::epoch_of(params, header.height.next()));
        if next != epoch {
            self.set(&state::epoch_key(next), Some(block.to_canonical()))?;
            // Attestations of the epoch that is now the one before are still accepted, older ones are not.
            if let Some(old) = next.checked_sub(2)
                && self.look(&state::epoch_key(old))?.is_some()
            {
                self.set(&state::epoch_key(old), None)?;
            }
        }
        let mut log = self.ledger.log.clone();
        leaves.iter().for_each(|leaf| log.push(*leaf));
        let changes = self
            .slots
            .into_iter()
            .filter(|(_, slot)| slot.changed)
            .map(|(key, slot)| (key, (slot.before, slot.value)))
            .collect();
        let (state_root, mut writes) = tree::write(self.ledger.view, header.height.0, changes)?;
        writes.push(tree::frontier_write(&log));
        Ok(Applied {
            height: header.height,
            block,
            time: header.time,
            writes,
            state_root,
            log_size: log.size(),
            log_root: log.root(),
            outcomes: self.outcomes,
        })
    }
}

/// Key range (`from <= key < to`) of the marks left by pairs that no reader of the state at `oldest` or later needs.
/// The consensus service scans it now and then and passes what it finds to [`prune`].
pub fn prune_range(oldest: Height) -> (Vec<u8>, Vec<u8>) {
    tree::stale_range(oldest.0)
}

/// Deletes the pairs that these marks name, and the marks.
pub fn prune(marks: &[Pair]) -> Vec<Write> {
    let mut writes = Vec::with_capacity(marks.len().saturating_mul(2));
    for (mark, _) in marks {
        if let Some(target) = tree::stale_target(mark) {
            writes.push(Write::Delete(target.to_vec()));
            writes.push(Write::Delete(mark.clone()));
        }
    }
    writes
}
