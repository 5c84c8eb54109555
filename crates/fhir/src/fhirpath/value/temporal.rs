//! Dates, date-times and times with the precision that was written.
//!
//! FHIRPath N1 sections "Date", "Time", "DateTime"; FHIR R4 datatypes.html#date, #dateTime,
//! #instant, #time. Comparison follows FHIRPath N1 "Date/Time Equality" and "Comparison": level by
//! level, seconds and their fraction being one level, empty (`None`) where a level is known on one
//! side only.

use std::cmp::Ordering;
use std::fmt;

/// Which of the three System types a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemporalKind {
    /// `System.Date`
    Date,
    /// `System.DateTime`
    DateTime,
    /// `System.Time`
    Time,
}

/// The last level that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// `yyyy`
    Year,
    /// `yyyy-MM`
    Month,
    /// `yyyy-MM-dd`
    Day,
    /// `hh`
    Hour,
    /// `hh:mm`
    Minute,
    /// `hh:mm:ss`, perhaps with a fraction
    Second,
}

/// A date, date-time or time. Fields after `precision` are at their least value.
#[derive(Clone, Copy, Debug)]
pub struct Temporal {
    pub(crate) kind: TemporalKind,
    pub(crate) precision: Precision,
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    /// Digits of the fraction of a second as written, at most 9.
    pub(crate) fraction_digits: u8,
    pub(crate) nanos: u32,
    /// Minutes east of UTC.
    pub(crate) offset: Option<i16>,
}

pub(crate) const NANOS_PER_SECOND: i128 = 1_000_000_000;
pub(crate) const SECONDS_PER_DAY: i64 = 86_400;
/// The zones in use lie between UTC-12 and UTC+14.
pub(crate) const LEAST_OFFSET: i16 = -12 * 60;
pub(crate) const GREATEST_OFFSET: i16 = 14 * 60;

pub(crate) fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of the proleptic Gregorian calendar.
pub(crate) fn days_from_civil(year: u16, month: u8, day: u8) -> i64 {
    let (y, m) = (i64::from(year) - i64::from(month <= 2), i64::from(month));
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * (m + if m > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Inverse of [`days_from_civil`]; `None` outside years 1 to 9999.
pub(crate) fn civil_from_days(days: i64) -> Option<(u16, u8, u8)> {
    let z = days.checked_add(719_468)?;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    if !(1..=9999).contains(&year) {
        return None;
    }
    Some((u16::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?))
}

/// Reads fixed-width fields off the front of a text.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self, width: usize) -> Option<u16> {
        let (head, tail) = self.0.split_at_checked(width)?;
        let mut value = 0u16;
        for b in head {
            if !b.is_ascii_digit() {
                return None;
            }
            value = value * 10 + u16::from(b - b'0');
        }
        self.0 = tail;
        Some(value)
    }

    fn two(&mut self) -> Option<u8> {
        self.number(2).and_then(|n| u8::try_from(n).ok())
    }

    fn skip(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, tail)) if *first == byte => {
                self.0 = tail;
                true
            }
            _ => false,
        }
    }

    fn done(&self) -> bool {
        self.0.is_empty()
    }
}

impl Temporal {
    const EMPTY: Temporal = Temporal {
        kind: TemporalKind::Date,
        precision: Precision::Year,
        year: 1,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        fraction_digits: 0,
        nanos: 0,
        offset: None,
    };

    /// Reads `yyyy[-MM[-dd]]`; `None` if it is not written so or no such day exists.
    pub fn parse_date(text: &str) -> Option<Self> {
        let mut fields = Fields(text.as_bytes());
        let date = Self::date_fields(&mut fields)?;
        fields.done().then_some(date)
    }

    /// Reads `yyyy[-MM[-dd]]`, optionally followed by `T` and then optionally by a time
    /// `hh[:mm[:ss[.f+]]]` with an optional zone `Z` or `(+|-)hh:mm`.
    pub fn parse_date_time(text: &str) -> Option<Self> {
        let mut fields = Fields(text.as_bytes());
        let mut value = Self::date_fields(&mut fields)?;
        value.kind = TemporalKind::DateTime;
        if !fields.skip(b'T') || fields.done() {
            return fields.done().then_some(value);
        }
        if value.precision != Precision::Day {
            return None;
        }
        value.time_fields(&mut fields)?;
        if fields.skip(b'Z') {
            value.offset = Some(0);
        } else if let Some(sign) = [b'+', b'-'].into_iter().find(|s| fields.skip(*s)) {
            let hours = i16::from(fields.two()?);
            if !fields.skip(b':') {
                return None;
            }
            let minutes = i16::from(fields.two()?);
            // FHIR R4 dateTime: the offset lies within fourteen hours.
            if hours > 14 || minutes > 59 || (hours == 14 && minutes > 0) {
                return None;
            }
            let offset = hours * 60 + minutes;
            value.offset = Some(if sign == b'-' { -offset } else { offset });
        }
        fields.done().then_some(value)
    }

    /// Reads `hh[:mm[:ss[.f+]]]`.
    pub fn parse_time(text: &str) -> Option<Self> {
        let mut fields = Fields(text.as_bytes());
        let mut value = Temporal { kind: TemporalKind::Time, ..Self::EMPTY };
        value.time_fields(&mut fields)?;
        fields.done().then_some(value)
    }

    fn date_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let mut value = Temporal { year: fields.number(4)?, ..Self::EMPTY };
        if value.year == 0 {
            return None;
        }
        if fields.skip(b'-') {
            value.month = fields.two()?;
            value.precision = Precision::Month;
            if !(1..=12).contains(&value.month) {
                return None;
            }
            if fields.skip(b'-') {
                value.day = fields.two()?;
                value.precision = Precision::Day;
                if !(1..=days_in_month(value.year, value.month)).contains(&value.day) {
                    return None;
                }
            }
        }
        Some(value)
    }

    fn time_fields(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        self.hour = fields.two()?;
        self.precision = Precision::Hour;
        if fields.skip(b':') {
            self.minute = fields.two()?;
            self.precision = Precision::Minute;
            if fields.skip(b':') {
                self.second = fields.two()?;
                self.precision = Precision::Second;
                if fields.skip(b'.') {
                    self.fraction(fields)?;
                }
            }
        }
        // A leap second (FHIR R4 instant allows :60) is read as the last second of its minute.
        if self.second == 60 {
            self.second = 59;
        }
        (self.hour < 24 && self.minute < 60 && self.second < 60).then_some(())
    }

    fn fraction(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let digits = fields.0.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let (head, tail) = fields.0.split_at_checked(digits)?;
        fields.0 = tail;
        self.fraction_digits = u8::try_from(digits.min(9)).ok()?;
        let mut nanos = 0u32;
        for i in 0..9 {
            nanos = nanos * 10 + head.get(i).map_or(0, |b| u32::from(b - b'0'));
        }
        self.nanos = nanos;
        Some(())
    }

    /// Which System type.
    pub fn kind(&self) -> TemporalKind {
        self.kind
    }

    /// The last level written.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Digits as FHIRPath `precision()` counts them: 4, 6, 8, 10, 12, 14, then 14 and the
    /// fraction's; for a time 2, 4, 6 and the fraction's.
    pub fn digits(&self) -> i64 {
        let level = match self.precision {
            Precision::Year => 4,
            Precision::Month => 6,
            Precision::Day => 8,
            Precision::Hour => 10,
            Precision::Minute => 12,
            Precision::Second => 14 + i64::from(self.fraction_digits),
        };
        if self.kind == TemporalKind::Time { level - 8 } else { level }
    }

    /// The date part of a date or date-time; `None` for a time.
    pub fn to_date(&self) -> Option<Self> {
        (self.kind != TemporalKind::Time).then(|| Temporal {
            kind: TemporalKind::Date,
            precision: self.precision.min(Precision::Day),
            year: self.year,
            month: self.month,
            day: self.day,
            ..Self::EMPTY
        })
    }

    /// A date as a date-time of the same precision; a date-time as it is; `None` for a time.
    pub fn to_date_time(&self) -> Option<Self> {
        (self.kind != TemporalKind::Time).then_some(Temporal { kind: TemporalKind::DateTime, ..*self })
    }

    /// The time part of a date-time that has one, or a time as it is.
    pub fn to_time(&self) -> Option<Self> {
        (self.precision > Precision::Day).then_some(Temporal {
            kind: TemporalKind::Time,
            offset: None,
            year: 1,
            month: 1,
            day: 1,
            ..*self
        })
    }

    /// Nanoseconds since the epoch as if the fields were UTC.
    pub(crate) fn local_nanos(&self) -> i128 {
        let days = days_from_civil(self.year, self.month, self.day);
        let seconds = days * SECONDS_PER_DAY
            + i64::from(self.hour) * 3600
            + i64::from(self.minute) * 60
            + i64::from(self.second);
        i128::from(seconds) * NANOS_PER_SECOND + i128::from(self.nanos)
    }

    /// The same fields set from nanoseconds since the epoch; `None` outside years 1 to 9999.
    pub(crate) fn with_local_nanos(&self, nanos: i128) -> Option<Self> {
        let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).ok()?;
        let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY))?;
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        Some(Temporal {
            year,
            month,
            day,
            hour: u8::try_from(of_day / 3600).ok()?,
            minute: u8::try_from(of_day / 60 % 60).ok()?,
            second: u8::try_from(of_day % 60).ok()?,
            nanos: u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).ok()?,
            ..*self
        })
    }

    /// Order level by level without regard to zones.
    fn compare_fields(&self, other: &Self) -> Option<Ordering> {
        let levels = [
            (Precision::Year, self.year.cmp(&other.year)),
            (Precision::Month, self.month.cmp(&other.month)),
            (Precision::Day, self.day.cmp(&other.day)),
            (Precision::Hour, self.hour.cmp(&other.hour)),
            (Precision::Minute, self.minute.cmp(&other.minute)),
            (Precision::Second, (self.second, self.nanos).cmp(&(other.second, other.nanos))),
        ];
        let last = self.precision.min(other.precision);
        for (level, order) in levels {
            if level > last {
                break;
            }
            if order != Ordering::Equal {
                return Some(order);
            }
        }
        (self.precision == other.precision).then_some(Ordering::Equal)
    }

    /// Order of two dates or date-times, or of two times; `None` where the precision or a missing
    /// zone leaves it open. A time and a date have no order.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if (self.kind == TemporalKind::Time) != (other.kind == TemporalKind::Time) {
            return None;
        }
        let timed = |t: &Self| t.precision > Precision::Day;
        match (self.offset, other.offset) {
            (Some(a), Some(b)) if timed(self) && timed(other) => {
                self.shifted(-a)?.compare_fields(&other.shifted(-b)?)
            }
            (Some(a), None) if timed(other) => {
                let at = self.shifted(-a)?;
                same(at.compare_unzoned(other))
            }
            (None, Some(b)) if timed(self) => {
                let at = other.shifted(-b)?;
                same(at.compare_unzoned(self)).map(Ordering::reverse)
            }
            _ => self.compare_fields(other),
        }
    }

    /// Order of this UTC value against a value of unknown zone, at both ends of the zones in use.
    fn compare_unzoned(&self, other: &Self) -> [Option<Ordering>; 2] {
        [LEAST_OFFSET, GREATEST_OFFSET]
            .map(|zone| other.shifted(-zone).and_then(|moved| self.compare_fields(&moved)))
    }

    fn shifted(&self, minutes: i16) -> Option<Self> {
        self.with_local_nanos(self.local_nanos() + i128::from(minutes) * 60 * NANOS_PER_SECOND)
    }
}

fn same(orders: [Option<Ordering>; 2]) -> Option<Ordering> {
    let [a, b] = orders;
    if a == b { a } else { None }
}

impl fmt::Display for Temporal {
    /// ISO 8601 as FHIR writes it, to the precision of the value, without the `@` of a literal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != TemporalKind::Time {
            write!(f, "{:04}", self.year)?;
            if self.precision >= Precision::Month {
                write!(f, "-{:02}", self.month)?;
            }
            if self.precision >= Precision::Day {
                write!(f, "-{:02}", self.day)?;
            }
            if self.precision <= Precision::Day {
                return Ok(());
            }
            f.write_str("T")?;
        }
        write!(f, "{:02}", self.hour)?;
        if self.precision >= Precision::Minute {
            write!(f, ":{:02}", self.minute)?;
        }
        if self.precision >= Precision::Second {
            write!(f, ":{:02}", self.second)?;
            if self.fraction_digits > 0 {
                let digits = usize::from(self.fraction_digits);
                let shown = self.nanos / 10u32.pow(9 - u32::from(self.fraction_digits.min(9)));
                write!(f, ".{shown:0digits$}")?;
            }
        }
        match self.offset {
            None => Ok(()),
            Some(0) => f.write_str("Z"),
            Some(offset) => {
                let sign = if offset < 0 { '-' } else { '+' };
                let minutes = offset.unsigned_abs();
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}
