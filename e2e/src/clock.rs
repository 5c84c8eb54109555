//! Time of this process, read in one place.

use std::time::{Duration, Instant};

/// Measures from its making.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place where these tests read the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since it was started.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since it was started.
    pub fn ms(&self) -> f64 {
        self.elapsed().as_secs_f64() * 1000.0
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place where these tests read the clock")]
pub fn epoch_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}
