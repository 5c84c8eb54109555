//! How often one caller may ask: a token bucket for each.

use std::collections::BTreeMap;
use std::time::Duration;

/// Callers that are remembered; beyond that, those with a full bucket are forgotten, which changes nothing
/// for them.
const CALLERS: usize = 10_000;

/// Millionths of a token, so that slow rates add up exactly.
const TOKEN: u64 = 1_000_000;

/// Buckets of `per_minute` tokens that refill within a minute.
pub(crate) struct Limit {
    per_minute: u64,
    buckets: BTreeMap<String, Bucket>,
}

struct Bucket {
    level: u64,
    at: Duration,
}

impl Limit {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: u64::from(per_minute), buckets: BTreeMap::new() }
    }

    /// Takes a token of `caller`'s; `false` when there is none. `now` is monotonic.
    pub(crate) fn take(&mut self, caller: &str, now: Duration) -> bool {
        let full = self.per_minute * TOKEN;
        let per_minute = self.per_minute;
        let refilled = |bucket: &Bucket| {
            let ms = u64::try_from(now.saturating_sub(bucket.at).as_millis()).unwrap_or(u64::MAX);
            bucket
                .level
                .saturating_add(ms.saturating_mul(per_minute).saturating_mul(TOKEN) / 60_000)
                .min(full)
        };
        if self.buckets.len() >= CALLERS && !self.buckets.contains_key(caller) {
            self.buckets.retain(|_, bucket| refilled(bucket) < full);
            if self.buckets.len() >= CALLERS {
                return false;
            }
        }
        let bucket = self.buckets.entry(caller.to_owned()).or_insert(Bucket { level: full, at: now });
        bucket.level = refilled(bucket);
        bucket.at = now;
        match bucket.level.checked_sub(TOKEN) {
            Some(level) => {
                bucket.level = level;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_average() {
        let mut limit = Limit::new(60);
        let taken = (0..100).filter(|_| limit.take("a", Duration::ZERO)).count();
        assert_eq!(taken, 60);
        assert!(limit.take("b", Duration::ZERO), "another caller has a bucket of their own");
        assert!(!limit.take("a", Duration::from_millis(900)));
        assert!(limit.take("a", Duration::from_secs(2)));
        let taken = (0..100).filter(|_| limit.take("a", Duration::from_secs(3600))).count();
        assert_eq!(taken, 60);
    }

    #[test]
    fn memory_is_bounded_and_a_flood_of_callers_is_refused() {
        let mut limit = Limit::new(60);
        for caller in 0..CALLERS {
            assert!(limit.take(&caller.to_string(), Duration::ZERO));
        }
        assert!(!limit.take("one more", Duration::ZERO));
        assert!(limit.take("one more", Duration::from_secs(60)), "the idle ones were forgotten");
        assert!(limit.buckets.len() <= CALLERS);
    }
}
