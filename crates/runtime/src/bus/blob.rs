//! Payloads above the inline limit: the sender keeps them for a while, the receiver pulls the chunks.

use super::error::BusError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Name of a blob: random, so knowing it is the right to fetch it.
pub(super) type Id = [u8; 16];

/// Blobs that this process has offered.
pub(super) struct Offered {
    total: usize,
    lifetime: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: usize,
    blobs: BTreeMap<Id, Held>,
}

struct Held {
    data: Arc<Vec<u8>>,
    /// Monotonic time.
    expires: Duration,
}

impl Offered {
    /// Keeps at most `total` bytes, each blob for `lifetime`.
    pub(super) fn new(total: usize, lifetime: Duration) -> Self {
        Self { total, lifetime, state: Mutex::default() }
    }

    /// Keeps a payload until it is withdrawn or its time is over.
    pub(super) fn keep(&self, id: Id, data: Vec<u8>, now: Duration) -> Result<(), BusError> {
        self.purge(now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.bytes.saturating_add(data.len()) > self.total {
            return Err(BusError::Busy);
        }
        state.bytes += data.len();
        let expires = now.saturating_add(self.lifetime);
        state.blobs.insert(id, Held { data: Arc::new(data), expires });
        Ok(())
    }

    /// Forgets a blob.
    pub(super) fn withdraw(&self, id: &Id) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = state.blobs.remove(id) {
            state.bytes = state.bytes.saturating_sub(held.data.len());
        }
    }

    /// Up to `length` bytes from `offset`; empty when there is no such blob (any more) or no such place.
    pub(super) fn chunk(&self, id: &[u8], offset: u64, length: usize, now: Duration) -> Vec<u8> {
        let data = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            Id::try_from(id)
                .ok()
                .and_then(|id| state.blobs.get(&id))
                .filter(|held| held.expires > now)
                .map(|held| Arc::clone(&held.data))
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        data.and_then(|data| {
            let end = start.saturating_add(length).min(data.len());
            data.get(start..end).map(<[u8]>::to_vec)
        })
        .unwrap_or_default()
    }

    /// Drops what is past its time.
    pub(super) fn purge(&self, now: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.blobs.retain(|_, held| held.expires > now);
        state.bytes = state.blobs.values().map(|held| held.data.len()).sum();
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().unwrap().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn memory_and_lifetime_are_bounded() {
        let offered = Offered::new(100, SECOND);
        offered.keep([1; 16], vec![7; 60], Duration::ZERO).unwrap();
        assert_eq!(offered.keep([2; 16], vec![7; 41], Duration::ZERO), Err(BusError::Busy));
        assert_eq!(offered.chunk(&[1; 16], 50, 20, Duration::ZERO), [7; 10]);
        assert!(offered.chunk(&[1; 16], 60, 20, Duration::ZERO).is_empty());
        assert!(offered.chunk(&[1; 16], u64::MAX, 20, Duration::ZERO).is_empty());
        assert!(offered.chunk(&[1; 15], 0, 20, Duration::ZERO).is_empty());
        assert!(offered.chunk(&[1; 16], 0, 20, SECOND).is_empty(), "past its time");
        offered.keep([2; 16], vec![7; 100], SECOND).unwrap();
        offered.withdraw(&[2; 16]);
        assert_eq!(offered.bytes(), 0);
    }
}
