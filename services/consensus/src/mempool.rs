//! Transactions that wait for a block, in the order in which they came.

use consilium_domain::Digest;
use std::collections::BTreeMap;

/// Bounded by number and bytes; each transaction once.
#[derive(Debug, Default)]
pub struct Mempool {
    queue: BTreeMap<u64, (Digest, Vec<u8>)>,
    places: BTreeMap<Digest, u64>,
    next: u64,
    /// Transactions that came before this one were verified by keys that no longer count.
    verified_from: u64,
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

    /// Whether a transaction waits whose signatures were verified against the members in force.
    pub fn is_verified(&self, id: &Digest) -> bool {
        self.places.get(id).is_some_and(|place| *place >= self.verified_from)
    }

    /// The members have changed: the signatures of all that waits must be verified again before a block holds it.
    pub fn distrust(&mut self) {
        self.verified_from = self.next;
    }

    /// Adds a transaction whose signatures are verified; the caller has looked for room.
    pub fn add(&mut self, id: Digest, tx: Vec<u8>) {
        if self.contains(&id) {
            return;
        }
        self.bytes += tx.len();
        self.places.insert(id, self.next);
        self.queue.insert(self.next, (id, tx));
        self.next += 1;
    }

    pub fn remove(&mut self, id: &Digest) -> Option<Vec<u8>> {
        let (_, tx) = self.queue.remove(&self.places.remove(id)?)?;
        self.bytes -= tx.len();
        Some(tx)
    }

    pub fn get(&self, id: &Digest) -> Option<&[u8]> {
        self.queue.get(self.places.get(id)?).map(|(_, tx)| tx.as_slice())
    }

    /// The oldest transactions, up to `bytes` together.
    pub fn oldest(&self, bytes: usize) -> Vec<Vec<u8>> {
        let mut room = bytes;
        let fits = |tx: &&Vec<u8>| match room.checked_sub(tx.len()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        self.queue.values().map(|(_, tx)| tx).take_while(fits).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_come_first_and_each_once() {
        let mut pool = Mempool::default();
        for n in [3_u8, 1, 2, 1] {
            pool.add(Digest([n; 32]), vec![n; 10]);
        }
        assert_eq!((pool.len(), pool.bytes()), (3, 30));
        assert_eq!(pool.oldest(25), vec![vec![3; 10], vec![1; 10]]);
        assert_eq!(pool.remove(&Digest([3; 32])), Some(vec![3; 10]));
        assert_eq!(pool.remove(&Digest([3; 32])), None);
        assert_eq!((pool.len(), pool.bytes()), (2, 20));
        assert_eq!(pool.oldest(100), vec![vec![1; 10], vec![2; 10]]);
        assert!(pool.is_verified(&Digest([1; 32])));
        pool.distrust();
        pool.add(Digest([4; 32]), vec![4]);
        assert!(pool.contains(&Digest([1; 32])) && !pool.is_verified(&Digest([1; 32])));
        assert!(pool.is_verified(&Digest([4; 32])));
    }
}
