//! Time that moves when a test says so.

use consilium_domain::{Clock, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that starts at a given time and stands still between calls of [`VirtualClock::advance`]. Clones
/// share the time.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    start: u64,
    passed_ms: Arc<AtomicU64>,
}

impl VirtualClock {
    pub fn new(start: Timestamp) -> Self {
        Self { start: start.0, passed_ms: Arc::default() }
    }

    /// Moves both the wall and the monotonic clock; whole milliseconds.
    pub fn advance(&self, by: Duration) {
        self.passed_ms.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Default for VirtualClock {
    /// Starts on 2026-01-01.
    fn default() -> Self {
        Self::new(Timestamp(1_767_225_600_000))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.start.saturating_add(self.passed_ms.load(Ordering::SeqCst)))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_move_together_and_only_when_told() {
        let clock = VirtualClock::default();
        let shared = clock.clone();
        assert_eq!(clock.now().to_date(), "2026-01-01");
        shared.advance(Duration::from_secs(86_400));
        assert_eq!(clock.now().to_date(), "2026-01-02");
        assert_eq!(clock.monotonic(), Duration::from_secs(86_400));
    }
}
