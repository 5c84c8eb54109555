//! The mempool's door, on a thread of its own: what the organisation submits and what members pass on is checked in
//! groups (one reading of the state, one equation for all signatures) while the node goes on agreeing.

use crate::chain::{Chain, ChainError};
use crate::config::MempoolConfig;
use crate::mempool::{Fate, Pool};
use crate::node::{Event, Outside, Shared};
use crate::prune::DELETED;
use consilium_domain::tx::tx_id;
use consilium_domain::{Clock, Digest};
use consilium_ledger::{CheckError, SignatureMemory, TxError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;
use tokio::sync::oneshot;

/// Transactions checked together at most.
const GROUP: usize = 1024;
/// A group of this size says that more will come: the next one waits for company, as a signature checked among many
/// costs half of one checked among few.
const BUSY: usize = 32;
/// How long.
const COMPANY: Duration = Duration::from_millis(8);
/// Bytes passed on in one message at most.
const PACK: usize = 256 * 1024;
/// Longest sleep: how late a shutdown may be noticed.
const NAP: Duration = Duration::from_millis(50);
/// Time between two looks at whether awaited transactions can still enter a block, and how long one must have waited
/// to be looked at: most enter one of the next blocks.
const RECHECK: Duration = Duration::from_millis(200);
const OVERDUE: Duration = Duration::from_millis(1000);

/// What comes to the door.
#[derive(Debug)]
pub enum Arrival {
    /// A transaction of our own organisation; answered when its fate is known.
    Submit { tx: Vec<u8>, answer: oneshot::Sender<Fate> },
    /// Transactions that a member has passed on.
    Gossiped(Vec<Vec<u8>>),
}

struct Candidate {
    id: Digest,
    tx: Vec<u8>,
    answer: Option<oneshot::Sender<Fate>>,
}

/// The door.
pub struct Admission {
    pub chain: Arc<Chain>,
    pub pool: Arc<Pool>,
    pub limits: MempoolConfig,
    pub clock: Arc<dyn Clock>,
    pub outside: Arc<dyn Outside>,
    pub shared: Arc<Shared>,
    /// Wakes the node.
    pub node: SyncSender<Event>,
}

impl Admission {
    /// Until `stop` says so, or the other end of `inbox` is gone.
    ///
    /// # Errors
    /// When the chain cannot be read.
    pub fn run(self, inbox: &Receiver<Arrival>, stop: impl Fn() -> bool) -> Result<(), ChainError> {
        let mut rechecked = (self.clock.monotonic(), 0);
        let mut busy = false;
        // Signatures over several transactions, which come in one after the other.
        let mut verified = SignatureMemory::default();
        while !stop() {
            let mut group = Vec::new();
            // Blocks that are committed from here on may hold what this group finds nowhere.
            let height = self.shared.applied.load(Ordering::SeqCst);
            match inbox.recv_timeout(NAP) {
                Ok(arrival) => self.take(arrival, &mut group)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let until = self.clock.monotonic().saturating_add(if busy { COMPANY } else { Duration::ZERO });
            while group.len() < GROUP {
                let arrival = inbox.try_recv().ok().or_else(|| {
                    let left = until.saturating_sub(self.clock.monotonic());
                    (!left.is_zero()).then(|| inbox.recv_timeout(left).ok()).flatten()
                });
                let Some(arrival) = arrival else { break };
                self.take(arrival, &mut group)?;
            }
            busy = group.len() >= BUSY;
            if !group.is_empty() {
                self.admit(group, height, &mut verified)?;
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(rechecked.0) >= RECHECK {
                rechecked = (now, self.recheck(rechecked.1)?);
            }
        }
        Ok(())
    }

    /// Sorts out what waits already. What is committed already is refused by the state, as every transaction is at its
    /// second coming.
    fn take(&self, arrival: Arrival, group: &mut Vec<Candidate>) -> Result<(), ChainError> {
        let mut one = |tx: Vec<u8>, answer: Option<oneshot::Sender<Fate>>| {
            let id = tx_id(&tx);
            let mut pool = self.pool.lock();
            if pool.contains(&id) {
                if let Some(answer) = answer {
                    pool.wait(id, answer);
                }
                drop(pool);
                return self.settle(&id);
            }
            drop(pool);
            group.push(Candidate { id, tx, answer });
            Ok::<(), ChainError>(())
        };
        match arrival {
            Arrival::Submit { tx, answer } => one(tx, Some(answer)),
            Arrival::Gossiped(txs) => txs.into_iter().try_for_each(|tx| one(tx, None)),
        }
    }

    /// `height`: the newest block when the group was begun.
    fn admit(
        &self,
        group: Vec<Candidate>,
        height: u64,
        verified: &mut SignatureMemory,
    ) -> Result<(), ChainError> {
        let mut twice = BTreeSet::new();
        let (mut fresh, mut repeated) = (Vec::with_capacity(group.len()), Vec::new());
        for candidate in group {
            if twice.insert(candidate.id) { fresh.push(candidate) } else { repeated.push(candidate) }
        }
        let txs: Vec<&[u8]> = fresh.iter().map(|c| c.tx.as_slice()).collect();
        let verdicts = self.chain.view()?.ledger()?.check_txs(&txs, verified);
        let (mut pass_on, mut added) = (Vec::new(), Vec::new());
        let now = self.clock.monotonic();
        for (candidate, verdict) in fresh.into_iter().zip(verdicts) {
            let Candidate { id, tx, answer } = candidate;
            match verdict {
                Ok(()) => {}
                Err(CheckError::Read(error)) => return Err(error.into()),
                Err(CheckError::Invalid(error)) => {
                    if let Some(answer) = answer {
                        let _ = answer.send(self.fate(&id, &error)?);
                    }
                    continue;
                }
            }
            let mut pool = self.pool.lock();
            if pool.len() >= self.limits.transactions
                || pool.bytes().saturating_add(tx.len()) > self.limits.bytes
            {
                drop(pool);
                if let Some(answer) = answer {
                    let text = "too many transactions wait: try again later".to_owned();
                    let _ = answer.send(Fate::Refused { code: "busy", text });
                }
                continue;
            }
            if let Some(answer) = answer {
                pool.wait(id, answer);
                pass_on.push(tx.clone());
            }
            pool.add(id, tx, now);
            drop(pool);
            added.push(id);
        }
        for candidate in repeated {
            if let Some(answer) = candidate.answer {
                let mut pool = self.pool.lock();
                pool.wait(candidate.id, answer);
                if !pool.contains(&candidate.id) {
                    // Its twin was refused: so is this one.
                    let waiting = pool.remove(&candidate.id);
                    drop(pool);
                    refuse(waiting, "busy", "submitted twice at once: try again");
                }
            }
        }
        // Whoever wakes the node first need not wait until others are told.
        let _ = self.node.try_send(Event::Pooled);
        self.gossip(pass_on);
        // The node tells of a block after it has written it and before it takes its transactions out of the mempool: at
        // the same height, it will take out what has come in here.
        if self.shared.applied.load(Ordering::SeqCst) != height {
            for id in added {
                self.settle(&id)?;
            }
        }
        Ok(())
    }

    /// What became of a transaction that the state refuses: perhaps because it is committed.
    fn fate(&self, id: &Digest, error: &TxError) -> Result<Fate, ChainError> {
        let view = self.chain.view()?;
        Ok(match view.find(id)? {
            Some(proof) => Fate::Committed(Box::new(proof)),
            None if view.place(id)?.is_some() => Fate::Refused { code: "deleted", text: DELETED.to_owned() },
            None => Fate::Refused { code: error.code(), text: error.to_string() },
        })
    }

    /// A block may have taken a transaction between the look into the chain and its way into the mempool.
    fn settle(&self, id: &Digest) -> Result<(), ChainError> {
        if !self.chain.has_tx(id)? {
            return Ok(());
        }
        let waiting = self.pool.lock().remove(id);
        if waiting.is_empty() {
            return Ok(());
        }
        let Some(proof) = self.chain.view()?.find(id)? else { return Ok(()) };
        for answer in waiting {
            let _ = answer.send(Fate::Committed(Box::new(proof.clone())));
        }
        Ok(())
    }

    fn gossip(&self, txs: Vec<Vec<u8>>) {
        let (mut pack, mut bytes) = (Vec::new(), 0);
        for tx in txs {
            if bytes + tx.len() > PACK && !pack.is_empty() {
                self.outside.transactions(std::mem::take(&mut pack));
                bytes = 0;
            }
            bytes += tx.len();
            pack.push(tx);
        }
        if !pack.is_empty() {
            self.outside.transactions(pack);
        }
    }

    /// A block may have made a waiting transaction impossible: whoever waits for it should learn that soon, not when
    /// this node next proposes. Gives the height of then.
    fn recheck(&self, before: u64) -> Result<u64, ChainError> {
        let height = self.shared.applied.load(Ordering::SeqCst);
        if height == before {
            return Ok(height);
        }
        let awaited = self.pool.lock().awaited(self.clock.monotonic().saturating_sub(OVERDUE));
        if awaited.is_empty() {
            return Ok(height);
        }
        let view = self.chain.view()?;
        let ledger = view.ledger()?;
        let txs: Vec<&[u8]> = awaited.iter().map(|(_, tx)| tx.as_slice()).collect();
        for ((id, _), verdict) in awaited.iter().zip(ledger.recheck_txs(&txs)) {
            match verdict {
                Ok(()) => {}
                Err(CheckError::Read(error)) => return Err(error.into()),
                // Committed since: then the node answers.
                Err(CheckError::Invalid(_)) if self.chain.has_tx(id)? => {}
                Err(CheckError::Invalid(error)) => {
                    let waiting = self.pool.lock().remove(id);
                    refuse(waiting, error.code(), &error.to_string());
                }
            }
        }
        Ok(height)
    }
}

/// Tells everyone who waits that a transaction will not be committed.
pub(crate) fn refuse(waiting: crate::mempool::Waiting, code: &'static str, text: &str) {
    for answer in waiting {
        // Nobody listens any more if the wait was over.
        let _ = answer.send(Fate::Refused { code, text: text.to_owned() });
    }
}
