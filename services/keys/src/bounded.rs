//! A map that forgets: by age, and the oldest first when it is full.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Values live for a fixed time and there are never more than `capacity`. Times are monotonic.
pub(crate) struct Bounded<K, V> {
    capacity: usize,
    lifetime: Duration,
    next: u64,
    values: BTreeMap<K, Entry<V>>,
    order: VecDeque<(K, u64)>,
}

struct Entry<V> {
    value: V,
    expires: Duration,
    number: u64,
}

impl<K: Ord + Clone, V> Bounded<K, V> {
    pub(crate) fn new(capacity: usize, lifetime: Duration) -> Self {
        Self { capacity, lifetime, next: 0, values: BTreeMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn get(&self, key: &K, now: Duration) -> Option<&V> {
        self.values.get(key).filter(|entry| entry.expires > now).map(|entry| &entry.value)
    }

    /// Removes a value and gives it, if it is there and not too old.
    pub(crate) fn take(&mut self, key: &K, now: Duration) -> Option<V> {
        self.values.remove(key).filter(|entry| entry.expires > now).map(|entry| entry.value)
    }

    /// Removes every value whose key is one of these.
    pub(crate) fn forget(&mut self, these: impl Fn(&K) -> bool) {
        self.values.retain(|key, _| !these(key));
    }

    pub(crate) fn insert(&mut self, key: K, value: V, now: Duration) {
        if self.capacity == 0 {
            return;
        }
        self.next += 1;
        let expires = now.saturating_add(self.lifetime);
        self.values.insert(key.clone(), Entry { value, expires, number: self.next });
        self.order.push_back((key, self.next));
        // Entries age in the order of insertion, so the front is the oldest; a number that is no longer the
        // entry's own belongs to one that was replaced.
        while let Some((key, number)) = self.order.front() {
            let present = self.values.get(key).filter(|entry| entry.number == *number);
            let keep = present.is_some_and(|entry| entry.expires > now) && self.values.len() <= self.capacity;
            if keep {
                break;
            }
            if present.is_some() {
                self.values.remove(key);
            }
            self.order.pop_front();
        }
    }

    #[cfg(test)]
    fn len(&self) -> (usize, usize) {
        (self.values.len(), self.order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_forgets_by_age_and_by_number() {
        let mut map = Bounded::new(3, 10 * S);
        for key in 0..5 {
            map.insert(key, key, S * key);
        }
        assert_eq!(map.len(), (3, 3));
        assert_eq!((map.get(&1, 5 * S), map.get(&2, 5 * S), map.get(&4, 5 * S)), (None, Some(&2), Some(&4)));
        assert_eq!(map.get(&2, 12 * S), None, "too old");
        map.insert(9, 9, 30 * S);
        assert_eq!(map.len(), (1, 1));
        assert_eq!((map.take(&9, 31 * S), map.take(&9, 31 * S)), (Some(9), None));
        map.insert(7, 7, 32 * S);
        assert_eq!(map.take(&7, 42 * S), None, "too old");
    }

    #[test]
    fn replacing_for_ever_does_not_grow() {
        let mut map = Bounded::new(3, 10 * S);
        for second in 0..1000 {
            map.insert(1, second, S * second);
        }
        assert_eq!(map.get(&1, S * 999), Some(&999));
        assert!(map.len().1 <= 11, "{:?}", map.len());
    }
}
