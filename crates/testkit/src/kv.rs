//! A key-value store in memory.

use consilium_domain::port::kv::{Kv, KvError, KvView, Pair, Write};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

/// Forgets everything when dropped; otherwise keeps the contract of [`Kv`].
#[derive(Debug, Default)]
pub struct MemoryKv(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemoryKv {
    pub fn new() -> Self {
        Self::default()
    }
}

impl KvView for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Kv::get(self, key)
    }
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        Kv::scan(self, from, to, limit)
    }
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError> {
        Kv::last(self, from, to)
    }
}

impl Kv for MemoryKv {
    fn view(&self) -> Result<Box<dyn KvView>, KvError> {
        let copy = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Box::new(Self(Mutex::new(copy))))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let range = map.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(range.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError> {
        if from > to {
            return Ok(None);
        }
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut range = map.range::<[u8], _>((Bound::Included(from), Bound::Included(to)));
        Ok(range.next_back().map(|(k, v)| (k.clone(), v.clone())))
    }

    fn write(&self, batch: &[Write], _durable: bool) -> Result<(), KvError> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for write in batch {
            match write {
                Write::Put(key, value) => map.insert(key.clone(), value.clone()),
                Write::Delete(key) => map.remove(key),
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_store_keeps_the_contract() {
        crate::kv_contract(&MemoryKv::new());
    }
}
