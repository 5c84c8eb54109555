//! Attribute epochs: weeks by the clock, the same for every member of a channel.
//!
//! A key of one week opens no header of another, so a custodian's headers have to name a week that the reader's
//! authority still issues for. Everybody derives it from UTC alone: nothing is announced, nothing can be late.

use consilium_domain::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

const DAY_MS: u64 = 86_400_000;
/// How far the clock of a custodian may run ahead of ours.
const AHEAD: Duration = Duration::from_secs(3600);

/// The ISO 8601 week of a moment in UTC, e.g. `2026W47`: weeks begin on Monday and belong to the year of their
/// Thursday.
pub fn week(at: Timestamp) -> String {
    let days = at.0 / DAY_MS;
    // 1970-01-01 was a Thursday: three days after a Monday.
    let thursday = days + 3 - (days + 3) % 7;
    let date = Timestamp(thursday * DAY_MS).to_date();
    let year: u64 = date.get(..4).and_then(|year| year.parse().ok()).unwrap_or(1970);
    let before = year.saturating_sub(1);
    // Days from 1970 to the first of January: leap years by the Gregorian rule; 477 were before 1970.
    let first = 365 * year.saturating_sub(1970) + (before / 4 - before / 100 + before / 400) - 477;
    format!("{year:04}W{:02}", thursday.saturating_sub(first) / 7 + 1)
}

/// The weeks for which attribute keys are issued at a moment: the current one, the one before while it overlaps,
/// and the next shortly before it begins.
pub fn accepted(now: Timestamp, overlap: Duration) -> BTreeSet<String> {
    let overlap = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
    [now, now.plus(AHEAD), Timestamp(now.0.saturating_sub(overlap))].into_iter().map(week).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(date_ms: u64) -> Timestamp {
        Timestamp(date_ms)
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        // Days since 1970 of dates with known weeks (ISO 8601-1:2019, and `date -d … +%GW%V`).
        for (days, expected) in [
            (0, "1970W01"),
            (3, "1970W01"),
            (4, "1970W02"),
            (12_418, "2004W01"), // 2004-01-01
            (12_783, "2004W53"), // 2004-12-31
            (12_785, "2004W53"), // 2005-01-02, a Sunday
            (12_786, "2005W01"), // 2005-01-03
            (13_877, "2007W52"), // 2007-12-30
            (13_878, "2008W01"), // 2007-12-31
            (20_454, "2026W01"), // 2026-01-01
            (20_779, "2026W47"), // 2026-11-22, a Sunday
            (20_780, "2026W48"),
            (20_820, "2026W53"), // 2027-01-02
            (47_541, "2100W09"), // 2100-03-01, no leap year
        ] {
            assert_eq!(week(at(days * DAY_MS)), expected, "{days}");
            assert_eq!(week(at((days + 1) * DAY_MS - 1)), expected, "{days}");
        }
    }

    #[test]
    fn weeks_overlap_at_the_border_only() {
        let monday = 20_780 * DAY_MS;
        let overlap = Duration::from_secs(86_400);
        let weeks = |ms: u64| accepted(at(ms), overlap).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(weeks(monday - 2 * 3_600_000), "2026W47");
        assert_eq!(weeks(monday - 600_000), "2026W47 2026W48", "a custodian's clock may run ahead");
        assert_eq!(weeks(monday), "2026W47 2026W48");
        assert_eq!(weeks(monday + DAY_MS - 1), "2026W47 2026W48");
        assert_eq!(weeks(monday + DAY_MS), "2026W48");
    }
}
