//! Blocks: genesis, validity, execution, building.

use crate::check::{self, CheckError, Context, Look, TxError, check_with_state, find};
use crate::session::Session;
use crate::state::{self, EvidenceHead, EvidenceRecord, HeadRecord, PendingMembers, ReadError, StateRead};
use crate::tree;
use consilium_domain::block::{BLOCK_VERSION, Block, Header, ValidatorSet};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::{Genesis, Member, Params, members_digest, validators_of};
use consilium_domain::merkle::{self, Frontier};
use consilium_domain::port::kv::{Pair, Write};
use consilium_domain::tx::{ErasedKind, ErasureGround, Tx, tx_id};
use consilium_domain::{ChannelId, Digest, Height, OrgId, Timestamp};
use thiserror::Error;

/// Most transactions of one block.
pub const MAX_BLOCK_TXS: usize = 65_536;
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
    /// New members, in force from a height on.
    Members {
        /// Number of the motion.
        sequence: u64,
        from: Height,
    },
    Sanction {
        /// Number of the motion.
        sequence: u64,
        organisation: OrgId,
        until: Height,
    },
    /// Somebody contradicted itself at a height.
    Evidence {
        offender: OrgId,
        height: Height,
    },
    /// Attestations of a record were shown to be false.
    Dispute {
        batch: Digest,
        record: Digest,
        attesters: Vec<OrgId>,
    },
    Policy {
        version: u64,
    },
    KeyEpoch {
        epoch: u64,
    },
    Erasure {
        kind: ErasedKind,
        ground: ErasureGround,
        count: u32,
    },
    Samples {
        series: Digest,
        first: u64,
        count: u32,
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
    /// Whether other members are in force from the next height on. Signatures that were verified against the old
    /// members' keys say nothing then: a mempool must verify what waits in it again.
    pub members_change: bool,
    /// One per transaction, in order.
    pub outcomes: Vec<Outcome>,
    /// Leaf hashes of the block's transactions, in order.
    pub leaves: Vec<Digest>,
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
    pub(crate) view: &'v dyn StateRead,
    /// With the members of the next height.
    pub(crate) context: Context,
    head: HeadRecord,
    state_root: Digest,
    pub(crate) log: Frontier,
    /// Members of a later height, if a change is in flight.
    pub(crate) pending: Option<PendingMembers>,
    /// What the next header has to say of the members of the height after it.
    next_members: Digest,
}

/// Reads state keys after the newest block.
struct Committed<'l>(&'l Ledger<'l>);

impl Look for Committed<'_> {
    fn look(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.get(key)
    }
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
        let state_root = tree::root(view, head.height.0)?;
        let mut ledger = Self {
            view,
            next_members: members_digest(&context.members),
            context,
            head,
            state_root,
            log: tree::frontier(view)?,
            pending: None,
        };
        let pending: Option<PendingMembers> = find(&mut Committed(&ledger), &state::pending_key())?;
        if let Some(p) = &pending
            && p.from == ledger.head.height.next().next()
        {
            ledger.next_members = members_digest(&p.members);
        }
        ledger.pending = pending;
        Ok(ledger)
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn log(&self) -> &Frontier {
        &self.log
    }

    pub fn channel(&self) -> &ChannelId {
        &self.context.channel
    }
    /// Digest of the genesis.
    pub fn genesis(&self) -> Digest {
        self.context.genesis
    }
    /// The members of the next height.
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
    /// Root of the ledger log over all of them (RFC 6962).
    pub fn log_root(&self) -> Digest {
        self.log.root()
    }
    /// The validators of the next height.
    pub fn validators(&self) -> ValidatorSet {
        validators_of(&self.context.members)
    }

    /// The members in force at a height: from 1 to two after the newest block, later ones are not decided yet
    /// (`None`). A motion in block H counts from H + 2 on, so the members of H + 1 and H + 2 are known with block H.
    pub fn members_at(&self, height: Height) -> Result<Option<Vec<Member>>, ReadError> {
        let next = self.head.height.next();
        if height == Height(0) || height > next.next() {
            return Ok(None);
        }
        if height >= next {
            let pending = self.pending.as_ref().filter(|p| p.from <= height);
            return Ok(Some(pending.map_or_else(|| self.context.members.clone(), |p| p.members.clone())));
        }
        state::members_at(&mut Committed(self), height).map(Some)
    }

    /// The validators of a height, as [`Ledger::members_at`]: they certify its block.
    pub fn validators_at(&self, height: Height) -> Result<Option<ValidatorSet>, ReadError> {
        Ok(self.members_at(height)?.map(|m| validators_of(&m)))
    }

    /// Heights below `height` whose headers announced other members for the height after them, oldest first. A proof
    /// about the block at `height` carries, of each such height `a`, the header, its certificate and
    /// `members_at(a + 1)` ([`consilium_domain::receipt::ValidatorChange`]).
    pub fn changes_before(&self, height: Height) -> Result<Vec<Height>, ReadError> {
        let mut all: Vec<Height> = find(&mut Committed(self), &state::changes_key())?.unwrap_or_default();
        all.retain(|a| *a < height);
        Ok(all)
    }

    /// Whether batches attested by a schema may enter the next block.
    pub fn admits(&self, schema: &Digest) -> Result<bool, ReadError> {
        let record: Option<state::SchemaRecord> = find(&mut Committed(self), &state::schema_key(schema))?;
        Ok(record.is_some_and(|r| r.in_force(self.head.height.next())))
    }

    /// Evidence against an organisation, the last reported first, at most `limit`: the height that it is about and
    /// its record.
    pub fn evidence(
        &self,
        organisation: &OrgId,
        limit: usize,
    ) -> Result<Vec<(Height, EvidenceRecord)>, ReadError> {
        let mut look = Committed(self);
        let head: EvidenceHead = find(&mut look, &state::evidence_key(organisation))?.unwrap_or_default();
        let (mut out, mut at) = (Vec::new(), head.newest);
        while at > Height(0) && out.len() < limit {
            let record: Option<EvidenceRecord> = find(&mut look, &state::evidence_at_key(organisation, at))?;
            let Some(record) = record else { break };
            let about = std::mem::replace(&mut at, record.previous);
            out.push((about, record));
        }
        Ok(out)
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
            next_members: self.next_members,
        };
        let applied = session.finish(&header, leaves)?;
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
        Ok(session.finish(&block.header, leaves)?)
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
            ("next_members", header.next_members == self.next_members),
        ]
        .into_iter()
        .find(|(_, right)| !right);
        wrong.map_or(Ok(()), |(name, _)| Err(BlockError::Header(name)))
    }
}

/// Key range (`from <= key < to`) of the marks left by pairs that no reader of the state at `oldest` or later needs.
/// The consensus service scans it now and then and passes what it finds to [`prune`].
pub fn prune_range(oldest: Height) -> (Vec<u8>, Vec<u8>) {
    tree::stale_range(oldest.0)
}

/// Deletes the pairs that these marks name, and the marks. A block leaves one mark, which names all that it replaced.
///
/// # Errors
/// When a pair is no mark.
pub fn prune(marks: &[Pair]) -> Result<Vec<Write>, ReadError> {
    let mut writes = Vec::new();
    for (key, mark) in marks {
        writes.extend(tree::stale_targets(mark)?.into_iter().map(Write::Delete));
        writes.push(Write::Delete(key.clone()));
    }
    Ok(writes)
}
