//! FHIR `dateTime` and `Period` as spans of milliseconds. Partial dates span what they leave open;
//! `Period.end` is inclusive (hl7.org/fhir/R4/datatypes.html#Period).

use consilium_domain::Timestamp;

/// An inclusive span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Span {
    /// All of time.
    pub const ALWAYS: Self = Self { from: Timestamp(0), to: Timestamp(u64::MAX) };

    pub fn contains(&self, t: Timestamp) -> bool {
        self.from <= t && t <= self.to
    }
    pub fn overlaps(&self, other: &Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn leap(y: i64) -> bool {
    (y % 4 == 0 && y % 100 != 0) || y % 400 == 0
}

fn month_length(y: i64, m: i64) -> i64 {
    match m {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap(y)),
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date.
fn days(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + d - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

const DAY: i64 = 86_400_000;

fn stamp(ms: i64) -> Timestamp {
    Timestamp(u64::try_from(ms).unwrap_or(0))
}

/// The span of a FHIR date, dateTime or instant; `zone_minutes` (east positive) is the custodian's zone, used
/// where the text has none. `None` when the text is no such value. Times before 1970 count as 1970.
pub fn span(text: &str, zone_minutes: i64) -> Option<Span> {
    let (date, time) = match text.split_once('T') {
        Some((d, t)) => (d, Some(t)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let y = number(parts.next()?, 4)?;
    let m = parts.next().map(|p| number(p, 2).ok_or(())).transpose().ok()?;
    let d = parts.next().map(|p| number(p, 2).ok_or(())).transpose().ok()?;
    if parts.next().is_some() || m.is_some_and(|m| !(1..=12).contains(&m)) {
        return None;
    }
    let zone = zone_minutes * 60_000;
    let whole =
        |from: i64, to: i64| Some(Span { from: stamp(from * DAY - zone), to: stamp(to * DAY - zone - 1) });
    let (Some(month), Some(day)) = (m, d) else {
        return match (m, time) {
            (None, None) => whole(days(y, 1, 1), days(y + 1, 1, 1)),
            (Some(mo), None) => whole(days(y, mo, 1), days(y, mo, 1) + month_length(y, mo)),
            _ => None,
        };
    };
    if !(1..=month_length(y, month)).contains(&day) {
        return None;
    }
    let first = days(y, month, day);
    let Some(time) = time else { return whole(first, first + 1) };
    let (clock, offset) = if let Some(c) = time.strip_suffix('Z') {
        (c, 0)
    } else {
        let at = time.rfind(['+', '-'])?;
        let (c, o) = time.split_at_checked(at)?;
        let (sign, o) = o.split_at_checked(1)?;
        let (h, mi) = o.split_once(':')?;
        let minutes = number(h, 2)? * 60 + number(mi, 2)?;
        (c, if sign == "-" { -minutes } else { minutes } * 60_000)
    };
    let (hms, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut hms = hms.split(':');
    let (h, mi, s) = (number(hms.next()?, 2)?, number(hms.next()?, 2)?, number(hms.next()?, 2)?);
    if hms.next().is_some() || h > 23 || mi > 59 || s > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let start = first * DAY + ((h * 60 + mi) * 60 + s) * 1000 - offset;
    if fraction.is_empty() {
        return Some(Span { from: stamp(start), to: stamp(start + 999) });
    }
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some(Span { from: stamp(start + ms), to: stamp(start + ms) })
}

/// The span of a Period's start and end, either of which may be open.
pub fn period(start: Option<&str>, end: Option<&str>, zone_minutes: i64) -> Option<Span> {
    let from = start.map_or(Some(Timestamp(0)), |t| Some(span(t, zone_minutes)?.from))?;
    let to = end.map_or(Some(Timestamp(u64::MAX)), |t| Some(span(t, zone_minutes)?.to))?;
    (from <= to).then_some(Span { from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_dates_span_what_they_leave_open() {
        let s = span("2024", 0).unwrap();
        assert_eq!(s.from.to_instant(), "2024-01-01T00:00:00.000Z");
        assert_eq!(s.to.to_instant(), "2024-12-31T23:59:59.999Z");
        assert_eq!(span("2024-02", 0).unwrap().to.to_instant(), "2024-02-29T23:59:59.999Z");
        assert_eq!(span("2024-06-30", 120).unwrap().to.to_instant(), "2024-06-30T21:59:59.999Z");
        assert_eq!(
            span("2024-01-01T00:00:00+01:00", 0).unwrap().from.to_instant(),
            "2023-12-31T23:00:00.000Z"
        );
        assert_eq!(span("2024-01-01T00:00:00.25Z", 0).unwrap().to.to_instant(), "2024-01-01T00:00:00.250Z");
    }

    #[test]
    fn what_is_no_date_has_no_span() {
        for bad in
            ["", "24", "2024-13", "2023-02-29", "2024-01-01T10:00", "2024-01-01T10:00:00", "2024-1-1", "x"]
        {
            assert_eq!(span(bad, 0), None, "{bad}");
        }
        assert_eq!(period(Some("2024-07-01"), Some("2024-06-30"), 0), None);
    }

    #[test]
    fn the_end_of_a_period_is_inclusive() {
        let p = period(Some("2024-06-01"), Some("2024-06-30"), 0).unwrap();
        assert!(p.contains(span("2024-06-30T23:59:59.999Z", 0).unwrap().from));
        assert!(!p.contains(span("2024-07-01T00:00:00.000Z", 0).unwrap().from));
        assert!(!p.contains(span("2024-05-31T23:59:59.999Z", 0).unwrap().from));
    }
}
