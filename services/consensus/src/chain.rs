//! Blocks, certificates, state and the index of transactions in the key-value store: everything of one block is
//! written in one batch.

use crate::recent::Recent;
use crate::wal::{self, Record};
use consilium_bft::Body;
use consilium_bft::wire::SyncResponse;
use consilium_domain::block::{Block, CommitCertificate, Header};
use consilium_domain::genesis::Genesis;
use consilium_domain::merkle::Levels;
use consilium_domain::port::kv::{Kv, KvError, KvView, Pair, Write};
use consilium_domain::receipt::{TxProof, ValidatorChange};
use consilium_domain::{CanonError, Canonical, Decoder, Digest, Encoder, Height};
use consilium_ledger::genesis::GenesisError;
use consilium_ledger::{Applied, BlockError, Ledger, ReadError, StateRead, genesis_state};
use std::sync::Arc;
use thiserror::Error;

/// The store failed, or holds what this service did not write. The node stops.
#[derive(Debug, Error)]
pub enum ChainError {
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the store holds a broken `{0}`: {1}")]
    Broken(&'static str, CanonError),
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    #[error(
        "the store has format `{0}`, and this version reads `4` only: move `data_dir` away (with `[tikv]`: take another \
         prefix) and start again; the node follows until it is safe to sign"
    )]
    Format(String),
    #[error("the store belongs to the channel with genesis {found}, the configured genesis is {expected}")]
    OtherGenesis { found: Digest, expected: Digest },
    #[error(
        "the store holds an unfinished snapshot: delete the folder `kv` (with `[tikv]`: take another prefix) and start \
             again"
    )]
    Unfinished,
    #[error("block {0} is decided, and neither the store nor the write-ahead log has what comes before it")]
    Gap(Height),
    #[error("block {0} of the write-ahead log cannot be executed: {1}")]
    Redo(Height, BlockError),
    #[error(
        "the store ends at height {store} and the write-ahead log has votes of height {log}: the store has lost blocks; \
         look for a failing disk, move `data_dir` away and start again"
    )]
    Behind { store: Height, log: Height },
}

const FORMAT: &[u8] = b"chain/format";
const GENESIS: &[u8] = b"chain/genesis";
/// The first height at which this node may sign (eight octets, big-endian), or nothing while nobody has told it; absent
/// where the write-ahead log tells the whole past.
const SIGNS_FROM: &[u8] = b"chain/signs-from";
/// There while a snapshot is being installed.
const UNFINISHED: &[u8] = b"chain/unfinished";
/// Below this height (eight octets, big-endian) all blocks that may be deleted are; absent until some were.
const KEPT_FROM: &[u8] = b"chain/kept-from";
/// Writes of a snapshot in one batch.
const PIECE: usize = 20_000;
/// Version of the keys below.
const VERSION: &[u8] = b"4";

// First octets of the keys of what there is much of: none is one of the ledger's (`state::KINDS`).

fn block_key(height: u64) -> Vec<u8> {
    [&b"b"[..], &height.to_be_bytes()].concat()
}

fn certificate_key(height: u64) -> Vec<u8> {
    [&b"q"[..], &height.to_be_bytes()].concat()
}

/// Header and certificate of a block that announced other members: kept when blocks are deleted, for every proof about
/// a later block carries them.
fn change_key(height: u64) -> Vec<u8> {
    [&b"m"[..], &height.to_be_bytes()].concat()
}

fn announcement(header: &Header, certificate: &CommitCertificate) -> Vec<u8> {
    let mut out = Encoder::default();
    out.value(header).value(certificate);
    out.into_bytes()
}

fn tx_key(id: &Digest) -> Vec<u8> {
    [&b"t"[..], &id.0].concat()
}

fn key_of(write: &Write) -> &[u8] {
    let (Write::Put(key, _) | Write::Delete(key)) = write;
    key
}

/// The committed chain. One writer; readers see whole blocks.
pub struct Chain {
    kv: Arc<dyn Kv>,
    recent: Arc<Recent>,
    /// The store was empty.
    pub new: bool,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

/// The chain at one moment: whole blocks, whatever is committed meanwhile.
pub struct View {
    kv: Box<dyn KvView>,
    recent: Arc<Recent>,
}

impl StateRead for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        match self.recent.get(key) {
            None => self.kv.get(key).map_err(|e| ReadError(e.to_string())),
            found => Ok(found),
        }
    }
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, ReadError> {
        self.kv.last(from, to).map_err(|e| ReadError(e.to_string()))
    }
}

impl View {
    /// The state after the newest block.
    pub fn ledger(&self) -> Result<Ledger<'_>, ReadError> {
        Ledger::open(self)
    }

    /// All pairs, as they are kept.
    pub fn kv(&self) -> &dyn KvView {
        self.kv.as_ref()
    }

    /// Up to `limit` pairs with `from <= key < to`, ascending.
    pub fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, ChainError> {
        Ok(self.kv.scan(from, to, limit)?)
    }

    /// Canonical bytes of a block.
    pub fn block_bytes(&self, height: u64) -> Result<Option<Vec<u8>>, ChainError> {
        Ok(self.kv.get(&block_key(height))?)
    }

    /// Canonical bytes of a block's certificate.
    pub fn certificate_bytes(&self, height: u64) -> Result<Option<Vec<u8>>, ChainError> {
        Ok(self.kv.get(&certificate_key(height))?)
    }

    fn certificate(&self, height: u64) -> Result<Option<CommitCertificate>, ChainError> {
        let Some(bytes) = self.certificate_bytes(height)? else { return Ok(None) };
        let certificate = CommitCertificate::from_canonical(&bytes);
        certificate.map(Some).map_err(|e| ChainError::Broken("certificate", e))
    }

    /// What a peer that is behind needs of a height.
    pub fn sync_response(&self, height: u64) -> Result<Option<SyncResponse>, ChainError> {
        let (Some(body), Some(certificate)) = (self.block_bytes(height)?, self.certificate(height)?) else {
            return Ok(None);
        };
        Ok(Some(SyncResponse { certificate, body: body.into() }))
    }

    /// Height and place in it of a committed transaction, also where the block was deleted.
    pub fn place(&self, id: &Digest) -> Result<Option<(u64, usize)>, ChainError> {
        let Some(place) = self.kv.get(&tx_key(id))? else { return Ok(None) };
        let mut input = Decoder::new(&place);
        let broken = |e| ChainError::Broken("transaction index", e);
        let height = input.u64("height").map_err(broken)?;
        Ok(Some((height, input.u32("index").map_err(broken)? as usize)))
    }

    /// A committed transaction with its proof; `None` also where its block was deleted.
    pub fn find(&self, id: &Digest) -> Result<Option<TxProof>, ChainError> {
        let Some((height, index)) = self.place(id)? else { return Ok(None) };
        let (Some(block), Some(certificate)) = (self.block_bytes(height)?, self.certificate(height)?) else {
            return Ok(None);
        };
        let block = Block::from_canonical(&block).map_err(|e| ChainError::Broken("block", e))?;
        let changes = self.changes_before(Height(height))?;
        Ok(prove(&block, &Levels::new(block.tx_leaves()), &certificate, index, &changes))
    }

    /// Each change of the members before a height, oldest first, as proofs about that height carry it.
    pub fn changes_before(&self, height: Height) -> Result<Vec<ValidatorChange>, ChainError> {
        let ledger = self.ledger()?;
        let mut changes = Vec::new();
        for at in ledger.changes_before(height)? {
            let broken = |e| ChainError::Broken("change of the members", e);
            let missing = || broken(CanonError::Truncated("change"));
            let bytes = self.kv.get(&change_key(at.0))?.ok_or_else(missing)?;
            let mut input = Decoder::new(&bytes);
            changes.push(ValidatorChange {
                header: input.value().map_err(broken)?,
                certificate: input.value().map_err(broken)?,
                members: ledger.members_at(at.next())?.ok_or_else(missing)?,
            });
        }
        Ok(changes)
    }
}

impl Chain {
    /// Opens the chain, writing the genesis state into an empty store. Refuses a store of another genesis.
    ///
    /// `first`: this node has never signed anything. Otherwise an empty store has forgotten what it may have signed.
    pub fn open(kv: Arc<dyn Kv>, genesis: &Genesis, first: bool) -> Result<Self, ChainError> {
        let expected = genesis.digest();
        let new = kv.get(FORMAT)?.is_none();
        if new {
            let mut writes = genesis_state(genesis)?.writes;
            writes.push(Write::Put(GENESIS.to_vec(), expected.0.to_vec()));
            writes.push(Write::Put(FORMAT.to_vec(), VERSION.to_vec()));
            if !first {
                writes.push(Write::Put(SIGNS_FROM.to_vec(), Vec::new()));
            }
            kv.write(&writes, true)?;
        }
        let format = kv.get(FORMAT)?.unwrap_or_default();
        if format != VERSION {
            return Err(ChainError::Format(String::from_utf8_lossy(&format).into_owned()));
        }
        if kv.get(UNFINISHED)?.is_some() {
            return Err(ChainError::Unfinished);
        }
        let found = kv.get(GENESIS)?.and_then(|b| Digest::from_slice(&b)).unwrap_or_default();
        if found != expected {
            return Err(ChainError::OtherGenesis { found, expected });
        }
        Ok(Self { kv, recent: Arc::default(), new })
    }

    /// The chain as it is now.
    pub fn view(&self) -> Result<View, ChainError> {
        Ok(View { kv: self.kv.view()?, recent: Arc::clone(&self.recent) })
    }

    /// The first height at which this node may sign; `None` while it is to be found out (`bft::rejoin`).
    pub fn signs_from(&self) -> Result<Option<u64>, ChainError> {
        let Some(bytes) = self.kv.get(SIGNS_FROM)? else { return Ok(Some(0)) };
        if bytes.is_empty() {
            return Ok(None);
        }
        let bytes = bytes.try_into();
        let broken = |_| ChainError::Broken("first height to sign", CanonError::NotCanonical("length"));
        bytes.map(|b| Some(u64::from_be_bytes(b))).map_err(broken)
    }

    /// From now on, and after every crash, this node does not sign before it is told where it may.
    pub fn forget(&self) -> Result<(), ChainError> {
        Ok(self.kv.write(&[Write::Put(SIGNS_FROM.to_vec(), Vec::new())], true)?)
    }

    /// This node may sign from `height` on.
    pub fn may_sign_from(&self, height: u64) -> Result<(), ChainError> {
        Ok(self.kv.write(&[Write::Put(SIGNS_FROM.to_vec(), height.to_be_bytes().to_vec())], true)?)
    }

    /// Whether a transaction is committed.
    pub fn has_tx(&self, id: &Digest) -> Result<bool, ChainError> {
        Ok(self.kv.get(&tx_key(id))?.is_some())
    }

    /// Writes a decided block with all that follows from it, whole or not at all. Durable only after
    /// [`Chain::persist`]: until then the write-ahead log holds the block.
    pub fn commit(
        &self,
        body: &[u8],
        certificate: &CommitCertificate,
        applied: Applied,
    ) -> Result<(), ChainError> {
        let height = applied.height.0;
        let mut writes = applied.writes;
        if applied.members_change {
            let block = Block::from_canonical(body).map_err(|e| ChainError::Broken("block", e))?;
            writes.push(Write::Put(change_key(height), announcement(&block.header, certificate)));
        }
        writes.push(Write::Put(block_key(height), body.to_vec()));
        writes.push(Write::Put(certificate_key(height), certificate.to_canonical()));
        for (index, outcome) in (0_u32..).zip(&applied.outcomes) {
            let mut place = Encoder::default();
            place.u64(height).u32(index);
            writes.push(Write::Put(tx_key(&outcome.id), place.into_bytes()));
        }
        // Neighbours one after the other: the store's way to the next is the way to the one before.
        writes.sort_unstable_by(|a, b| key_of(a).cmp(key_of(b)));
        self.kv.write(&writes, false)?;
        self.recent.keep(writes);
        Ok(())
    }

    /// Puts a state in the place of the genesis state, with the block that led to it and all changes of the members up
    /// to it. Durable when this returns; a
    /// crash in between leaves a store that [`Chain::open`] refuses as [`ChainError::Unfinished`].
    pub fn install(
        &self,
        body: &[u8],
        certificate: &CommitCertificate,
        applied: Applied,
        changes: &[ValidatorChange],
    ) -> Result<(), ChainError> {
        self.kv.write(&[Write::Put(UNFINISHED.to_vec(), Vec::new())], true)?;
        self.recent.clear();
        let (from, to) = consilium_ledger::state::key_range();
        loop {
            let old = self.kv.scan(&from, &to, PIECE)?;
            if old.is_empty() {
                break;
            }
            self.kv.write(&old.into_iter().map(|(key, _)| Write::Delete(key)).collect::<Vec<_>>(), false)?;
        }
        for piece in applied.writes.chunks(PIECE) {
            self.kv.write(piece, false)?;
        }
        let height = applied.height.0;
        let announced = |c: &ValidatorChange| {
            Write::Put(change_key(c.header.height.0), announcement(&c.header, &c.certificate))
        };
        let mut last: Vec<Write> = changes.iter().map(announced).collect();
        last.extend([
            Write::Put(block_key(height), body.to_vec()),
            Write::Put(certificate_key(height), certificate.to_canonical()),
            Write::Delete(UNFINISHED.to_vec()),
        ]);
        Ok(self.kv.write(&last, true)?)
    }

    /// Makes all blocks so far durable.
    pub fn persist(&self) -> Result<(), ChainError> {
        Ok(self.kv.write(&[], true)?)
    }

    /// Brings the store to where the write-ahead log is; says how many blocks were missing, and the height.
    ///
    /// Refuses a store that is behind it otherwise. A damaged journal of the store may look like one that ends early: then
    /// blocks are gone that were durable, and this node has voted on them.
    pub fn recover(&self, records: &[Record]) -> Result<(usize, Height), ChainError> {
        let redone = self.redo(wal::decided(records, identify))?;
        let store = self.view()?.ledger()?.head().height;
        let voted = |record: &Record| match record {
            Record::Entry { height, .. } => Some(Height(*height)),
            _ => None,
        };
        match records.iter().filter_map(voted).max() {
            Some(log) if log > store.next() => Err(ChainError::Behind { store, log }),
            _ => Ok((redone, store)),
        }
    }

    /// Executes and writes the decided blocks of the write-ahead log that the store has not kept; says how many.
    pub fn redo(&self, decided: Vec<(CommitCertificate, Option<Body>)>) -> Result<usize, ChainError> {
        let mut done = 0;
        for (certificate, body) in decided {
            let view = self.view()?;
            let ledger = view.ledger()?;
            let head = ledger.head().height;
            if certificate.height <= head {
                continue;
            }
            let Some(body) = body.filter(|_| certificate.height == head.next()) else {
                return Err(ChainError::Gap(certificate.height));
            };
            let block = Block::from_canonical(&body).map_err(|e| ChainError::Broken("block", e))?;
            let applied = ledger.apply_block(&block).map_err(|e| ChainError::Redo(certificate.height, e))?;
            drop(ledger);
            self.commit(&body, &certificate, applied)?;
            done += 1;
        }
        Ok(done)
    }

    /// Height from which on blocks are here; below it are at most those that are never deleted.
    pub fn kept_from(&self) -> Result<Option<u64>, ChainError> {
        if let Some(mark) = self.kv.get(KEPT_FROM)? {
            let broken = |_| ChainError::Broken("kept-from", CanonError::NotCanonical("length"));
            return mark.try_into().map(|m| Some(u64::from_be_bytes(m))).map_err(broken);
        }
        let found = self.kv.scan(&block_key(0), &block_key(u64::MAX), 1)?;
        let Some((key, _)) = found.first() else { return Ok(None) };
        let height = key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
        let broken = || ChainError::Broken("block", CanonError::NotCanonical("key"));
        height.map(Some).ok_or_else(broken)
    }

    /// Deletes the blocks with `from <= height < to` and their certificates, except those with a motion that changed the
    /// members.
    pub fn delete_blocks(&self, from: u64, to: u64) -> Result<(), ChainError> {
        let mut writes = vec![Write::Put(KEPT_FROM.to_vec(), to.to_be_bytes().to_vec())];
        for height in from..to {
            // The header after the motion's block announces the change.
            if self.kv.get(&change_key(height.saturating_add(1)))?.is_none() {
                writes.extend([Write::Delete(block_key(height)), Write::Delete(certificate_key(height))]);
            }
        }
        Ok(self.kv.write(&writes, false)?)
    }

    /// Deletes the state that `limit` blocks replaced and no reader of `oldest` or later needs; says whether there may be
    /// more. `swept` is the broom's place, empty at first: marks before it are gone, and looking for them again would mean
    /// to step over every one that was ever deleted and not yet cleared away.
    pub fn prune(&self, swept: &mut Vec<u8>, oldest: Height, limit: usize) -> Result<bool, ChainError> {
        let (from, to) = consilium_ledger::apply::prune_range(oldest);
        let marks = self.kv.scan(swept.as_slice().max(&from), &to, limit)?;
        self.kv.write(&consilium_ledger::apply::prune(&marks)?, false)?;
        if let Some((last, _)) = marks.last() {
            *swept = [last.as_slice(), &[0]].concat();
        }
        Ok(marks.len() == limit)
    }
}

/// A transaction's proof out of its block and the tree over it, with the changes of the members before it
/// ([`View::changes_before`]).
pub fn prove(
    block: &Block,
    tree: &Levels,
    certificate: &CommitCertificate,
    index: usize,
    changes: &[ValidatorChange],
) -> Option<TxProof> {
    Some(TxProof {
        tx: block.txs.get(index)?.clone(),
        inclusion: tree.inclusion(index)?,
        header: block.header.clone(),
        certificate: certificate.clone(),
        validator_changes: changes.to_vec(),
    })
}

/// The id of a block's canonical bytes; `None` unless the header's root commits to exactly these
/// transactions, so that no two bodies share an id.
pub fn identify(bytes: &[u8]) -> Option<Digest> {
    let (header, leaves) = Block::outline(bytes).ok()?;
    (consilium_domain::merkle::root(&leaves) == header.tx_root).then(|| header.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_domain::genesis::{Member, Params};
    use consilium_domain::{ChannelId, OrgId, Timestamp};
    use consilium_ledger::SigningKey;
    use consilium_testkit::MemoryKv;

    #[test]
    fn a_store_that_has_forgotten_blocks_or_votes_is_no_reason_to_vote_again() {
        let key = |role| SigningKey::from_seed([role; 32]).public();
        let member = Member {
            organisation: OrgId::new("hospital-a").unwrap(),
            consensus: key(1),
            validate: key(2),
            ingest: key(3),
            audit: key(4),
            governance: key(5),
            cosign: key(6),
            authority: Vec::new(),
        };
        let genesis = Genesis {
            channel: ChannelId::new("test").unwrap(),
            time: Timestamp(1),
            members: vec![member],
            schemas: Vec::new(),
            params: Params::default(),
        };
        let open = |kv: &Arc<MemoryKv>, first| Chain::open(Arc::clone(kv) as _, &genesis, first).unwrap();
        let kv = Arc::new(MemoryKv::default());
        assert_eq!(open(&kv, false).signs_from().unwrap(), None);
        // Nor does a later start know it, whatever it is told.
        let chain = open(&kv, true);
        assert_eq!(chain.signs_from().unwrap(), None);
        chain.may_sign_from(7).unwrap();
        assert_eq!(open(&kv, false).signs_from().unwrap(), Some(7));
        chain.forget().unwrap();
        assert_eq!(open(&kv, false).signs_from().unwrap(), None);
        // Votes of the height that is being decided are the newest that there can be.
        let vote = |height| Record::Entry { height, entry: Vec::new() };
        assert!(chain.recover(&[]).is_ok() && chain.recover(&[vote(1)]).is_ok());
        let behind = chain.recover(&[vote(1), vote(2)]).unwrap_err();
        assert!(matches!(behind, ChainError::Behind { store: Height(0), log: Height(2) }), "{behind}");
        kv.write(&[Write::Put(FORMAT.to_vec(), b"3".to_vec())], true).unwrap();
        let other = Chain::open(Arc::clone(&kv) as _, &genesis, false).map(|_| ());
        assert!(matches!(&other, Err(ChainError::Format(found)) if found == "3"), "{other:?}");
        let first = Arc::new(MemoryKv::default());
        assert_eq!(open(&first, true).signs_from().unwrap(), Some(0));
        assert_eq!(open(&first, false).signs_from().unwrap(), Some(0));
    }
}
