//! Blocks, certificates, state and the index of transactions in the key-value store: everything of one block is
//! written in one durable batch.

use consilium_bft::wire::SyncResponse;
use consilium_domain::block::{Block, CommitCertificate};
use consilium_domain::genesis::Genesis;
use consilium_domain::merkle::Inclusion;
use consilium_domain::port::kv::{Kv, KvError, Write};
use consilium_domain::receipt::{TxProof, ValidatorChange};
use consilium_domain::{CanonError, Canonical, Decoder, Digest, Encoder, Height};
use consilium_ledger::genesis::GenesisError;
use consilium_ledger::{Applied, Ledger, ReadError, StateRead, genesis_state};
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
    #[error("the store belongs to the channel with genesis {found}, the configured genesis is {expected}")]
    OtherGenesis { found: Digest, expected: Digest },
}

const FORMAT: &[u8] = b"chain/format";
const GENESIS: &[u8] = b"chain/genesis";
/// Version of the keys below.
const VERSION: &[u8] = b"2";

fn block_key(height: u64) -> Vec<u8> {
    [&b"chain/block/"[..], &height.to_be_bytes()].concat()
}

fn certificate_key(height: u64) -> Vec<u8> {
    [&b"chain/certificate/"[..], &height.to_be_bytes()].concat()
}

fn tx_key(id: &Digest) -> Vec<u8> {
    [&b"chain/tx/"[..], &id.0].concat()
}

/// The committed chain. One writer; readers see whole blocks.
pub struct Chain {
    kv: Arc<dyn Kv>,
    /// The store was empty: this node knows nothing of what it may have signed before.
    pub new: bool,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chain")
    }
}

impl StateRead for Chain {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.kv.get(key).map_err(|e| ReadError(e.to_string()))
    }
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, ReadError> {
        self.kv.last(from, to).map_err(|e| ReadError(e.to_string()))
    }
}

impl Chain {
    /// Opens the chain, writing the genesis state into an empty store. Refuses a store of another genesis.
    pub fn open(kv: Arc<dyn Kv>, genesis: &Genesis) -> Result<Self, ChainError> {
        let expected = genesis.digest();
        let new = kv.get(FORMAT)?.is_none();
        if new {
            let mut writes = genesis_state(genesis)?.writes;
            writes.push(Write::Put(GENESIS.to_vec(), expected.0.to_vec()));
            writes.push(Write::Put(FORMAT.to_vec(), VERSION.to_vec()));
            kv.write(&writes, true)?;
        }
        if kv.get(FORMAT)?.as_deref() != Some(VERSION) {
            return Err(ChainError::Broken("format", CanonError::NotCanonical("format")));
        }
        let found = kv.get(GENESIS)?.and_then(|b| Digest::from_slice(&b)).unwrap_or_default();
        if found != expected {
            return Err(ChainError::OtherGenesis { found, expected });
        }
        Ok(Self { kv, new })
    }

    /// The state after the newest block.
    pub fn ledger(&self) -> Result<Ledger<'_>, ReadError> {
        Ledger::open(self)
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

    /// Whether a transaction is committed.
    pub fn has_tx(&self, id: &Digest) -> Result<bool, ChainError> {
        Ok(self.kv.get(&tx_key(id))?.is_some())
    }

    /// A committed transaction with its proof.
    pub fn find(&self, id: &Digest) -> Result<Option<TxProof>, ChainError> {
        let Some(place) = self.kv.get(&tx_key(id))? else { return Ok(None) };
        let mut input = Decoder::new(&place);
        let broken = |e| ChainError::Broken("transaction index", e);
        let height = input.u64("height").map_err(broken)?;
        let index = input.u32("index").map_err(broken)? as usize;
        let (Some(block), Some(certificate)) = (self.block_bytes(height)?, self.certificate(height)?) else {
            return Err(broken(CanonError::Truncated("block")));
        };
        let block = Block::from_canonical(&block).map_err(|e| ChainError::Broken("block", e))?;
        Ok(prove(&block, &certificate, index, &self.changes_before(Height(height))?))
    }

    /// Each change of the members before a height, oldest first, as proofs about that height carry it.
    pub fn changes_before(&self, height: Height) -> Result<Vec<ValidatorChange>, ChainError> {
        let ledger = self.ledger()?;
        let mut changes = Vec::new();
        for at in ledger.changes_before(height)? {
            let missing = || ChainError::Broken("block", CanonError::Truncated("block"));
            let block = self.block_bytes(at.0)?.ok_or_else(missing)?;
            let block = Block::from_canonical(&block).map_err(|e| ChainError::Broken("block", e))?;
            changes.push(ValidatorChange {
                header: block.header,
                certificate: self.certificate(at.0)?.ok_or_else(missing)?,
                members: ledger.members_at(at.next())?.ok_or_else(missing)?,
            });
        }
        Ok(changes)
    }

    /// Writes a decided block with all that follows from it. Durable when this returns.
    pub fn commit(
        &self,
        body: &[u8],
        certificate: &CommitCertificate,
        applied: Applied,
    ) -> Result<(), ChainError> {
        let height = applied.height.0;
        let mut writes = applied.writes;
        writes.push(Write::Put(block_key(height), body.to_vec()));
        writes.push(Write::Put(certificate_key(height), certificate.to_canonical()));
        for (index, outcome) in (0_u32..).zip(&applied.outcomes) {
            let mut place = Encoder::default();
            place.u64(height).u32(index);
            writes.push(Write::Put(tx_key(&outcome.id), place.into_bytes()));
        }
        Ok(self.kv.write(&writes, true)?)
    }

    /// Deletes up to `limit` state nodes that no reader of `oldest` or later needs; says how many.
    pub fn prune(&self, oldest: Height, limit: usize) -> Result<usize, ChainError> {
        let (from, to) = consilium_ledger::apply::prune_range(oldest);
        let marks = self.kv.scan(&from, &to, limit)?;
        self.kv.write(&consilium_ledger::apply::prune(&marks), false)?;
        Ok(marks.len())
    }
}

/// A transaction's proof out of its block, with the changes of the members before it ([`Chain::changes_before`]).
pub fn prove(
    block: &Block,
    certificate: &CommitCertificate,
    index: usize,
    changes: &[ValidatorChange],
) -> Option<TxProof> {
    Some(TxProof {
        tx: block.txs.get(index)?.clone(),
        inclusion: Inclusion::of(&block.tx_leaves(), index)?,
        header: block.header.clone(),
        certificate: certificate.clone(),
        validator_changes: changes.to_vec(),
    })
}

/// The id of a block's canonical bytes; `None` unless the header's root commits to exactly these
/// transactions, so that no two bodies share an id.
pub fn identify(bytes: &[u8]) -> Option<Digest> {
    let block = Block::from_canonical(bytes).ok()?;
    let root = consilium_domain::merkle::root(&block.tx_leaves());
    (root == block.header.tx_root).then(|| block.id())
}
