//! Transactions that wait for a block, in the order in which they came, and those who wait for their fate.

use consilium_domain::Digest;
use consilium_domain::receipt::TxProof;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// What became of a submitted transaction.
#[derive(Debug)]
pub enum Fate {
    Committed(Box<TxProof>),
    Refused { code: &'static str, text: String },
}

/// Who waits for a transaction's fate.
pub type Waiting = Vec<oneshot::Sender<Fate>>;

/// The mempool, shared by the door (`admission`) and the node. Held for moments only.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Mempool>);

impl Pool {
    pub fn lock(&self) -> MutexGuard<'_, Mempool> {
        // Every change is whole before the guard is dropped, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the ids whose transactions' signatures were not all verified at the door.
    pub fn strange(&self, ids: impl Iterator<Item = Digest>) -> HashSet<Digest> {
        let pool = self.lock();
        ids.filter(|id| !pool.contains(id)).collect()
    }
}

#[derive(Debug)]
struct Entry {
    id: Digest,
    tx: Vec<u8>,
    /// When it came, on the node's monotonic clock.
    at: Duration,
}

/// Bounded by number and bytes; each transaction once.
#[derive(Debug, Default)]
pub struct Mempool {
    queue: BTreeMap<u64, Entry>,
    places: HashMap<Digest, u64>,
    waiting: HashMap<Digest, Waiting>,
    next: u64,
    bytes: usize,
}

impl Mempool {
    pub fn len(&self) -> usize {
        self.queue.len()
    }
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
    pub fn bytes(&self) -> usize {
        self.bytes
    }
    pub fn contains(&self, id: &Digest) -> bool {
        self.places.contains_key(id)
    }

    /// When the transaction came that waits longest.
    pub fn oldest(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|(_, entry)| entry.at)
    }

    /// When a transaction came.
    pub fn since(&self, id: &Digest) -> Option<Duration> {
        self.places.get(id).and_then(|place| self.queue.get(place)).map(|entry| entry.at)
    }

    /// Adds a transaction whose signatures are verified; the caller has looked for room.
    pub fn add(&mut self, id: Digest, tx: Vec<u8>, at: Duration) {
        if self.contains(&id) {
            return;
        }
        self.bytes += tx.len();
        self.places.insert(id, self.next);
        self.queue.insert(self.next, Entry { id, tx, at });
        self.next += 1;
    }

    /// Someone waits for a transaction's fate.
    pub fn wait(&mut self, id: Digest, answer: oneshot::Sender<Fate>) {
        self.waiting.entry(id).or_default().push(answer);
    }

    /// Takes a transaction out; gives those who wait for its fate.
    pub fn remove(&mut self, id: &Digest) -> Waiting {
        if let Some(entry) = self.places.remove(id).and_then(|place| self.queue.remove(&place)) {
            self.bytes -= entry.tx.len();
        }
        self.waiting.remove(id).unwrap_or_default()
    }

    /// The oldest transactions, up to `bytes` together.
    pub fn first(&self, bytes: usize) -> Vec<Vec<u8>> {
        let mut room = bytes;
        let fits = |entry: &&Entry| match room.checked_sub(entry.tx.len()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        self.queue.values().take_while(fits).map(|entry| entry.tx.clone()).collect()
    }

    /// All transactions with their ids.
    pub fn all(&self) -> Vec<(Digest, Vec<u8>)> {
        self.queue.values().map(|entry| (entry.id, entry.tx.clone())).collect()
    }

    /// Those for whose fate someone still waits, if they came at `since` or before.
    pub fn awaited(&mut self, since: Duration) -> Vec<(Digest, Vec<u8>)> {
        self.waiting.retain(|_, answers| {
            answers.retain(|a| !a.is_closed());
            !answers.is_empty()
        });
        let overdue = self.queue.values().take_while(|entry| entry.at <= since);
        let awaited = overdue.filter(|entry| self.waiting.contains_key(&entry.id));
        awaited.map(|entry| (entry.id, entry.tx.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_come_first_and_each_once() {
        let mut pool = Mempool::default();
        for n in [3_u8, 1, 2, 1] {
            pool.add(Digest([n; 32]), vec![n; 10], Duration::from_secs(n.into()));
        }
        assert_eq!((pool.len(), pool.bytes()), (3, 30));
        assert_eq!(pool.oldest(), Some(Duration::from_secs(3)));
        assert_eq!(pool.since(&Digest([2; 32])), Some(Duration::from_secs(2)));
        assert_eq!(pool.since(&Digest([9; 32])), None);
        assert_eq!(pool.first(25), vec![vec![3; 10], vec![1; 10]]);
        assert!(pool.remove(&Digest([3; 32])).is_empty());
        assert!(pool.remove(&Digest([3; 32])).is_empty());
        assert_eq!((pool.len(), pool.bytes()), (2, 20));
        assert_eq!(pool.first(100), vec![vec![1; 10], vec![2; 10]]);
        assert_eq!(pool.all().len(), 2);
    }

    #[test]
    fn who_waits_is_given_back_once_and_who_left_is_forgotten() {
        let mut pool = Mempool::default();
        let (here, _keep) = oneshot::channel();
        let (left, _) = oneshot::channel();
        for (n, answer) in [(1_u8, here), (2, left)] {
            pool.add(Digest([n; 32]), vec![n], Duration::from_secs(1));
            pool.wait(Digest([n; 32]), answer);
        }
        assert!(pool.awaited(Duration::ZERO).is_empty(), "it has only just come");
        assert_eq!(pool.awaited(Duration::from_secs(1)), [(Digest([1; 32]), vec![1])]);
        assert_eq!(pool.remove(&Digest([1; 32])).len(), 1);
        assert!(pool.awaited(Duration::from_secs(1)).is_empty());
    }
}
