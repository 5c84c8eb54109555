//! Time as an argument.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }
    /// FHIR `instant` in UTC with milliseconds (`2026-11-22T13:47:49.000Z`).
    pub fn to_instant(self) -> String {
        let (days, rest) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (y, m, d) = civil(days);
        let (s, ms) = (rest / 1000, rest % 1000);
        format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
    }
    /// FHIR `date` in UTC.
    pub fn to_date(self) -> String {
        let (y, m, d) = civil(self.0 / 86_400_000);
        format!("{y:04}-{m:02}-{d:02}")
    }
}

/// Proleptic Gregorian date of a day count since 1970-01-01, by 400-year eras that begin on 1 March.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, day)
}

impl Canonical for Timestamp {
    fn encode(&self, out: &mut Encoder) {
        out.u64(self.0);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        input.u64("time").map(Self)
    }
}

/// The only way to learn the time. Production passes the machine's clocks, tests a virtual one.
pub trait Clock: Send + Sync {
    /// Wall clock.
    fn now(&self) -> Timestamp;
    /// Monotonic time since an arbitrary start, for measuring and for timers.
    fn monotonic(&self) -> Duration;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_follow_the_calendar() {
        assert_eq!(Timestamp(0).to_instant(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(951_782_400_000).to_date(), "2000-02-29");
        assert_eq!(Timestamp(1_795_355_269_001).to_instant(), "2026-11-22T13:47:49.001Z");
        assert_eq!(Timestamp(4_107_542_400_000).to_date(), "2100-03-01");
    }
}
