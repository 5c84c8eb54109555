//! Dates of any precision as ranges of instants.

/// The instants that a date of limited precision may mean, in milliseconds since 1970-01-01 UTC:
/// from `start` up to, and without, `end`. A date without zone is taken as UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateRange {
    /// First instant.
    pub start: i64,
    /// First instant after the range; `i64::MAX` if it is open.
    pub end: i64,
}

const DAY: i64 = 86_400_000;

impl DateRange {
    /// Reads a FHIR date, dateTime or instant; also what search queries add: a time without seconds
    /// and a time without zone (then UTC). `None` if it is none.
    pub fn parse(text: &str) -> Option<DateRange> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year: i64 = number(parts.next()?, 4)?;
        let month = parts.next().map(|m| number(m, 2)).map_or(Some(None), |m| m.map(Some))?;
        let day = parts.next().map(|d| number(d, 2)).map_or(Some(None), |d| d.map(Some))?;
        if parts.next().is_some() || year == 0 {
            return None;
        }
        let (start, end) = match (month, day) {
            (None, _) => (days(year, 1, 1), days(year + 1, 1, 1)),
            (Some(m @ 1..=12), None) => (days(year, m, 1), next_month(year, m)),
            (Some(m @ 1..=12), Some(d)) if d >= 1 && days(year, m, d) < next_month(year, m) => {
                (days(year, m, d), days(year, m, d) + 1)
            }
            _ => return None,
        };
        let whole = DateRange { start: start * DAY, end: end * DAY };
        match time {
            None => Some(whole),
            Some(time) if day.is_some() => within_day(whole.start, time),
            Some(_) => None,
        }
    }

    /// The period from the start of `self` to the end of `other`; without `other` it is open.
    pub fn until(self, other: Option<DateRange>) -> DateRange {
        DateRange { start: self.start, end: other.map_or(i64::MAX, |o| o.end) }
    }
}

fn within_day(day: i64, time: &str) -> Option<DateRange> {
    let (clock, offset) = match time.find(['Z', '+', '-']) {
        Some(at) => {
            let zone = time.get(at..)?;
            let offset = match zone.strip_prefix('Z') {
                Some("") => 0,
                Some(_) => return None,
                None => {
                    let (h, m) = zone.get(1..)?.split_once(':')?;
                    let minutes = number(h, 2)? * 60 + number(m, 2)?;
                    if zone.starts_with('-') { -minutes } else { minutes }
                }
            };
            (time.get(..at)?, offset)
        }
        None => (time, 0),
    };
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let (second, fraction) = match parts.next() {
        Some(s) => match s.split_once('.') {
            Some((s, f)) => (Some(number(s, 2)?), f),
            None => (Some(number(s, 2)?), ""),
        },
        None => (None, ""),
    };
    if hour > 23 || minute > 59 || second.is_some_and(|s| s > 60) || parts.next().is_some() {
        return None;
    }
    let mut start = day + ((hour * 60 + minute - offset) * 60 + second.unwrap_or(0)) * 1000;
    let mut length = if second.is_some() { 1000 } else { 60_000 };
    let mut digit = 100;
    for b in fraction.bytes() {
        start += i64::from(b.checked_sub(b'0').filter(|d| *d < 10)?) * digit;
        length = digit.max(1);
        digit /= 10;
    }
    Some(DateRange { start, end: start + length })
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn next_month(year: i64, month: i64) -> i64 {
    if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (years counted from March, so that the
/// leap day comes last).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::DateRange;

    fn range(text: &str) -> Option<(i64, i64)> {
        DateRange::parse(text).map(|r| (r.start, r.end))
    }

    #[test]
    fn precision_is_a_range() {
        assert_eq!(range("1970"), Some((0, 365 * 86_400_000)));
        assert_eq!(range("1970-01-01"), Some((0, 86_400_000)));
        assert_eq!(range("2000-02"), Some((949_363_200_000, 951_868_800_000)));
        assert_eq!(range("2000-02-29"), Some((951_782_400_000, 951_868_800_000)));
        assert_eq!(range("1970-01-01T00:00:00Z"), Some((0, 1000)));
        assert_eq!(range("1970-01-01T00:00Z"), Some((0, 60_000)));
        assert_eq!(range("1970-01-01T01:00:00.5+01:00"), Some((500, 600)));
        assert_eq!(range("1969-12-31T23:59:59.999Z"), Some((-1, 0)));
        assert_eq!(range("2024-01-01T00:00:00+01:00"), range("2023-12-31T23:00:00Z"));
    }

    #[test]
    fn no_dates_are_refused() {
        for text in [
            "",
            "19",
            "1999-13",
            "1999-02-29",
            "1999-00",
            "0000",
            "1999-1-1",
            "1999T00:00:00Z",
            "1999-01-01T24:00:00Z",
            "1999-01-01T00:00:00+1",
            "1999-01-01T",
            "1999-01-01T00:00:00ZZ",
            "1999-01-01-01",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
