//! Date and time arithmetic, boundaries, durations.
//!
//! FHIRPath N1 "Date/Time Arithmetic"; boundaries, `duration()` and `difference()` from FHIRPath
//! 3.0 (STU).

use super::decimal::{Decimal, Rounding};
use super::temporal::{
    GREATEST_OFFSET, LEAST_OFFSET, NANOS_PER_SECOND, Precision, SECONDS_PER_DAY, Temporal, TemporalKind,
    days_from_civil, days_in_month,
};

/// A calendar unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CalendarUnit {
    /// `year`
    Year,
    /// `month`
    Month,
    /// `week`
    Week,
    /// `day`
    Day,
    /// `hour`
    Hour,
    /// `minute`
    Minute,
    /// `second`
    Second,
    /// `millisecond`
    Millisecond,
}

impl CalendarUnit {
    /// Reads the calendar duration keyword, singular or plural.
    pub fn from_keyword(word: &str) -> Option<Self> {
        Some(match word {
            "year" | "years" => Self::Year,
            "month" | "months" => Self::Month,
            "week" | "weeks" => Self::Week,
            "day" | "days" => Self::Day,
            "hour" | "hours" => Self::Hour,
            "minute" | "minutes" => Self::Minute,
            "second" | "seconds" => Self::Second,
            "millisecond" | "milliseconds" => Self::Millisecond,
            _ => return None,
        })
    }

    /// The definite UCUM duration that equals it; years and months have none (FHIRPath N1
    /// "Time-valued Quantities").
    pub fn ucum(self) -> Option<&'static str> {
        Some(match self {
            Self::Year | Self::Month => return None,
            Self::Week => "wk",
            Self::Day => "d",
            Self::Hour => "h",
            Self::Minute => "min",
            Self::Second => "s",
            Self::Millisecond => "ms",
        })
    }

    /// The calendar unit that a UCUM duration stands for in arithmetic; `a` and `mo` are definite
    /// and may not be added to a date.
    pub fn from_ucum(code: &str) -> Option<Self> {
        Some(match code {
            "wk" => Self::Week,
            "d" => Self::Day,
            "h" => Self::Hour,
            "min" => Self::Minute,
            "s" => Self::Second,
            "ms" => Self::Millisecond,
            _ => return None,
        })
    }

    /// The keyword, singular.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::Millisecond => "millisecond",
        }
    }

    /// Length in milliseconds by the conversion factors of FHIRPath: a month of 30 days, a year of
    /// 365 days.
    pub(crate) fn millis(self) -> i64 {
        const DAY: i64 = SECONDS_PER_DAY * 1000;
        match self {
            Self::Year => 365 * DAY,
            Self::Month => 30 * DAY,
            Self::Week => 7 * DAY,
            Self::Day => DAY,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1000,
            Self::Millisecond => 1,
        }
    }
}

fn floor_units(amount: i64, unit: CalendarUnit, into: CalendarUnit) -> Option<i64> {
    if unit == CalendarUnit::Month && into == CalendarUnit::Year {
        return Some(amount / 12);
    }
    if unit == CalendarUnit::Year && into == CalendarUnit::Month {
        return amount.checked_mul(12);
    }
    let millis = i128::from(amount) * i128::from(unit.millis());
    i64::try_from(millis / i128::from(into.millis())).ok()
}

impl Temporal {
    /// This value moved by `amount` units; `None` if the result leaves the years 1 to 9999, or a
    /// time is moved by days or more.
    ///
    /// `fractional` keeps the fraction of an amount of seconds or milliseconds; every other amount
    /// counts whole units only (FHIRPath N1 "Date/Time Arithmetic"). Units finer than the value's
    /// precision are first converted to it.
    pub fn moved(&self, amount: Decimal, unit: CalendarUnit, fractional: bool) -> Option<Self> {
        let whole = amount.rounded(0, Rounding::Truncate)?.to_integer()?;
        let finest = match (self.kind, self.precision) {
            (TemporalKind::Time, _) | (_, Precision::Hour | Precision::Minute | Precision::Second) => {
                CalendarUnit::Millisecond
            }
            (_, Precision::Year) => CalendarUnit::Year,
            (_, Precision::Month) => CalendarUnit::Month,
            (_, Precision::Day) => CalendarUnit::Day,
        };
        if self.kind == TemporalKind::Time && unit <= CalendarUnit::Day {
            return None;
        }
        let (whole, unit) =
            if unit > finest { (floor_units(whole, unit, finest)?, finest) } else { (whole, unit) };
        match unit {
            CalendarUnit::Year => self.plus_months(whole.checked_mul(12)?),
            CalendarUnit::Month => self.plus_months(whole),
            CalendarUnit::Week | CalendarUnit::Day if self.precision < Precision::Day => {
                let level =
                    if self.precision == Precision::Year { CalendarUnit::Year } else { CalendarUnit::Month };
                let moved = floor_units(whole, unit, level)?;
                self.plus_months(if level == CalendarUnit::Year { moved.checked_mul(12)? } else { moved })
            }
            _ => {
                let mut nanos = i128::from(whole) * i128::from(unit.millis()) * 1_000_000;
                let mut digits = 0;
                if unit >= CalendarUnit::Second && fractional {
                    let per_unit = Decimal::new(i128::from(unit.millis()) * 1_000_000, 0);
                    let exact = amount.checked_mul(per_unit)?.rounded(0, Rounding::Truncate)?;
                    nanos = exact.mantissa();
                    digits = if nanos % NANOS_PER_SECOND == 0 { 0 } else { 3 };
                }
                self.plus_nanos(nanos, digits, unit)
            }
        }
    }

    fn plus_nanos(&self, nanos: i128, digits: u8, unit: CalendarUnit) -> Option<Self> {
        let mut at = self.local_nanos().checked_add(nanos)?;
        if self.kind == TemporalKind::Time {
            let midnight = self.local_nanos() - self.local_nanos().rem_euclid(day_nanos());
            at = midnight + at.rem_euclid(day_nanos());
        }
        let mut moved = self.with_local_nanos(at)?;
        if self.precision == Precision::Second && (digits > 0 || unit == CalendarUnit::Millisecond) {
            let needed = if moved.nanos == 0 { 0 } else { 3 };
            moved.fraction_digits = moved.fraction_digits.max(needed);
        }
        // What is finer than the precision was never known and is not known now.
        Some(moved.cleared())
    }

    /// Fields after the precision at their least value.
    pub(crate) fn cleared(mut self) -> Self {
        let p = self.precision;
        if p < Precision::Second {
            (self.second, self.nanos, self.fraction_digits) = (0, 0, 0);
        }
        if p < Precision::Minute {
            self.minute = 0;
        }
        if p < Precision::Hour {
            self.hour = 0;
        }
        if self.kind == TemporalKind::Time {
            return self;
        }
        if p < Precision::Day {
            self.day = 1;
        }
        if p < Precision::Month {
            self.month = 1;
        }
        self
    }

    fn plus_months(&self, months: i64) -> Option<Self> {
        let index = (i64::from(self.year) * 12 + i64::from(self.month) - 1).checked_add(months)?;
        let year = u16::try_from(index.div_euclid(12)).ok().filter(|y| (1..=9999).contains(y))?;
        let month = u8::try_from(index.rem_euclid(12) + 1).ok()?;
        Some(Temporal { year, month, day: self.day.min(days_in_month(year, month)), ..*self })
    }

    /// The least (`low`) or greatest moment the value may stand for, to `digits` of precision as
    /// [`Temporal::digits`] counts them; `None` if the type has no such precision.
    ///
    /// A date-time without zone takes the zone that makes it least (+14:00) or greatest (-12:00).
    /// A date-time given to the hour counts as given to its first minute: FHIR R4 dateTime knows
    /// no hour precision, and the HL7 suite has it so.
    pub fn boundary(&self, digits: Option<i64>, low: bool) -> Option<Self> {
        let time = self.kind == TemporalKind::Time;
        let digits = match (digits, self.kind) {
            (Some(d), _) => d,
            (None, TemporalKind::Date) => 8,
            (None, TemporalKind::DateTime) => 17,
            (None, TemporalKind::Time) => 9,
        };
        let (precision, fraction_digits) = match if time { digits + 8 } else { digits } {
            4 => (Precision::Year, 0),
            6 => (Precision::Month, 0),
            8 if !time => (Precision::Day, 0),
            10 => (Precision::Hour, 0),
            12 => (Precision::Minute, 0),
            14 => (Precision::Second, 0),
            17 => (Precision::Second, 3),
            _ => return None,
        };
        if self.kind == TemporalKind::Date && precision > Precision::Day {
            return None;
        }
        let mut edge = self.cleared();
        if !low {
            if self.precision < Precision::Month {
                edge.month = 12;
            }
            if self.precision < Precision::Day {
                edge.day = days_in_month(edge.year, edge.month);
            }
            if self.precision < Precision::Hour {
                edge.hour = 23;
            }
            if self.precision < Precision::Minute && (time || self.precision != Precision::Hour) {
                edge.minute = 59;
            }
            if self.precision < Precision::Second {
                edge.second = 59;
            }
            if self.fraction_digits < 9 {
                let unit = 10u32.pow(9 - u32::from(self.fraction_digits));
                edge.nanos += unit - 1;
            }
            // The greatest value of the wanted precision, not of the clock's.
            edge.nanos -= edge.nanos % 1_000_000;
        }
        edge.precision = precision;
        edge.fraction_digits = fraction_digits;
        if fraction_digits == 0 {
            edge.nanos = 0;
        }
        if self.kind == TemporalKind::DateTime && precision > Precision::Day && edge.offset.is_none() {
            edge.offset = Some(if low { GREATEST_OFFSET } else { LEAST_OFFSET });
        }
        if precision <= Precision::Day {
            edge.offset = None;
        }
        Some(edge.cleared())
    }

    /// Whole calendar units from this value to `other` (FHIRPath 3.0 `duration()`), negative if
    /// `other` is earlier. `None` if either is less precise than `unit`.
    pub fn duration(&self, other: &Self, unit: CalendarUnit) -> Option<i64> {
        let (a, b) = self.aligned(other, unit)?;
        if unit <= CalendarUnit::Month {
            let months = month_index(&b) - month_index(&a);
            let rest = |t: &Temporal| {
                t.local_nanos() - day_nanos() * i128::from(days_from_civil(t.year, t.month, 1))
            };
            let whole = match months {
                m if m > 0 && rest(&b) < rest(&a) => m - 1,
                m if m < 0 && rest(&b) > rest(&a) => m + 1,
                m => m,
            };
            return Some(if unit == CalendarUnit::Year { whole / 12 } else { whole });
        }
        i64::try_from((b.local_nanos() - a.local_nanos()) / (i128::from(unit.millis()) * 1_000_000)).ok()
    }

    /// Boundaries of `unit` crossed from this value to `other` (FHIRPath 3.0 `difference()`); weeks
    /// begin on Sunday.
    pub fn difference(&self, other: &Self, unit: CalendarUnit) -> Option<i64> {
        let (a, b) = self.aligned(other, unit)?;
        let day = |t: &Temporal| days_from_civil(t.year, t.month, t.day);
        Some(match unit {
            CalendarUnit::Year => i64::from(b.year) - i64::from(a.year),
            CalendarUnit::Month => month_index(&b) - month_index(&a),
            // 1970-01-01 was a Thursday.
            CalendarUnit::Week => (day(&b) + 4).div_euclid(7) - (day(&a) + 4).div_euclid(7),
            CalendarUnit::Day => day(&b) - day(&a),
            _ => {
                let step = i128::from(unit.millis()) * 1_000_000;
                i64::try_from(b.local_nanos().div_euclid(step) - a.local_nanos().div_euclid(step)).ok()?
            }
        })
    }

    fn aligned(&self, other: &Self, unit: CalendarUnit) -> Option<(Self, Self)> {
        let needed = match unit {
            CalendarUnit::Year => Precision::Year,
            CalendarUnit::Month => Precision::Month,
            CalendarUnit::Week | CalendarUnit::Day => Precision::Day,
            CalendarUnit::Hour => Precision::Hour,
            CalendarUnit::Minute => Precision::Minute,
            CalendarUnit::Second | CalendarUnit::Millisecond => Precision::Second,
        };
        let times = (self.kind == TemporalKind::Time, other.kind == TemporalKind::Time);
        let dated_unit_of_time = times.0 && unit <= CalendarUnit::Day;
        if times.0 != times.1 || dated_unit_of_time || self.precision < needed || other.precision < needed {
            return None;
        }
        match (self.offset, other.offset) {
            (Some(a), Some(b)) if unit >= CalendarUnit::Hour => {
                let minute = 60 * NANOS_PER_SECOND;
                Some((
                    self.with_local_nanos(self.local_nanos() - i128::from(a) * minute)?,
                    other.with_local_nanos(other.local_nanos() - i128::from(b) * minute)?,
                ))
            }
            _ => Some((*self, *other)),
        }
    }
}

fn day_nanos() -> i128 {
    i128::from(SECONDS_PER_DAY) * NANOS_PER_SECOND
}

fn month_index(t: &Temporal) -> i64 {
    i64::from(t.year) * 12 + i64::from(t.month)
}
