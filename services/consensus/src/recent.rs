//! The nodes of the state tree that were written last, in memory. A block reads the nodes on the way to what it writes,
//! and most of them are of the blocks just before it. A node never changes under its key, so it is right in every view.

use consilium_domain::port::kv::Write;
use consilium_ledger::state::is_node;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Bytes of one of the two generations.
const GENERATION: usize = 16 << 20;

#[derive(Default)]
struct Generations {
    new: HashMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
    old: HashMap<Vec<u8>, Vec<u8>>,
}

/// Bounded: the nodes of the last 16 to 32 MiB.
#[derive(Default)]
pub struct Recent(Mutex<Generations>);

impl Recent {
    /// A node; `None` for other keys, and where it is not here.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        if !is_node(key) {
            return None;
        }
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.new.get(key).or_else(|| all.old.get(key)).cloned()
    }

    /// Keeps the nodes among what was written.
    pub fn keep(&self, written: Vec<Write>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for write in written {
            match write {
                Write::Put(key, value) if is_node(&key) => {
                    all.bytes += key.len() + value.len();
                    all.new.insert(key, value);
                }
                _ => {}
            }
        }
        if all.bytes > GENERATION {
            all.old = std::mem::take(&mut all.new);
            all.bytes = 0;
        }
    }

    /// Another state has taken the place of the one whose nodes are here.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u32, len: usize) -> Write {
        Write::Put([b"N", &n.to_be_bytes()[..]].concat(), vec![n as u8; len])
    }

    #[test]
    fn nodes_are_kept_until_two_generations_have_passed() {
        let recent = Recent::default();
        let key = |n: u32| [b"N", &n.to_be_bytes()[..]].concat();
        recent.keep(vec![node(1, 10), Write::Put(b"V1".to_vec(), vec![1]), Write::Delete(key(2))]);
        assert_eq!(recent.get(&key(1)), Some(vec![1; 10]));
        assert_eq!((recent.get(b"V1"), recent.get(&key(2))), (None, None));
        recent.keep(vec![node(3, GENERATION)]);
        assert!(recent.get(&key(1)).is_some() && recent.get(&key(3)).is_some());
        recent.keep(vec![node(4, GENERATION)]);
        assert!(recent.get(&key(1)).is_none() && recent.get(&key(3)).is_none());
        assert!(recent.get(&key(4)).is_some());
        recent.clear();
        assert!(recent.get(&key(4)).is_none());
    }
}
