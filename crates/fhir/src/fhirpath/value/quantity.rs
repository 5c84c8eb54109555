//! Quantities: an exact value with a UCUM code or a calendar duration.

use std::cmp::Ordering;
use std::fmt;

use super::calendar::CalendarUnit;
use super::decimal::Decimal;
use super::ucum;

/// The unit of a quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A UCUM code, or any other text that is compared as it stands.
    Code(Box<str>),
    /// A calendar duration (FHIRPath N1 "Time-valued Quantities").
    Calendar(CalendarUnit),
}

impl Unit {
    /// The unit written in quotes: a quoted calendar word is the calendar unit, as FHIRPath's
    /// table of unit representations has it; anything else is a UCUM code.
    pub fn quoted(text: &str) -> Self {
        match CalendarUnit::from_keyword(text) {
            Some(unit) => Unit::Calendar(unit),
            None => Unit::Code(text.into()),
        }
    }

    /// The code by which the unit takes part in conversions; a calendar year or month has none.
    fn definite(&self) -> Option<&str> {
        match self {
            Unit::Code(code) => Some(code),
            Unit::Calendar(unit) => unit.ucum(),
        }
    }
}

/// A `System.Quantity`.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// The number.
    pub value: Decimal,
    /// The unit; `1` if none was given.
    pub unit: Unit,
}

impl Quantity {
    /// A plain number as a quantity of unit `1`.
    pub fn unity(value: Decimal) -> Self {
        Quantity { value, unit: Unit::Code("1".into()) }
    }

    /// Reads `number ['unit' | word]` (FHIRPath N1 `toQuantity()`); `None` if it is not written so.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text
            .char_indices()
            .find(|(i, c)| !(c.is_ascii_digit() || *c == '.' || (*i == 0 && (*c == '+' || *c == '-'))))
            .map_or(text.len(), |(i, _)| i);
        let value = Decimal::parse(text.get(..end)?)?;
        let unit = text.get(end..)?.trim_start();
        if unit.is_empty() {
            return Some(Quantity::unity(value));
        }
        if let Some(code) = unit.strip_prefix('\'').and_then(|u| u.strip_suffix('\'')) {
            return (!code.is_empty() && !code.contains('\''))
                .then(|| Quantity { value, unit: Unit::quoted(code) });
        }
        Some(Quantity { value, unit: Unit::Calendar(CalendarUnit::from_keyword(unit)?) })
    }

    /// The factor from this quantity's unit to another's; `None` if there is none.
    fn factor(&self, to: &Unit) -> Option<Factor> {
        if self.unit == *to {
            return Some(Factor::One);
        }
        if let (Unit::Calendar(a), Unit::Calendar(b)) = (&self.unit, to) {
            let months = |u: &CalendarUnit| match u {
                CalendarUnit::Year => Some(12),
                CalendarUnit::Month => Some(1),
                _ => None,
            };
            if let (Some(a), Some(b)) = (months(a), months(b)) {
                return Some(Factor::Of(a, b));
            }
            return Some(Factor::Of(a.millis(), b.millis()));
        }
        ucum::conversion(self.unit.definite()?, to.definite()?).map(Factor::Ratio)
    }

    /// The same amount in another unit; `None` if the units are not commensurable.
    pub fn converted(&self, to: &Unit) -> Option<Self> {
        // A number without unit takes the unit asked for (FHIRPath 3.0 `toQuantity(unit)`).
        if self.unit == Unit::Code("1".into()) {
            return Some(Quantity { value: self.value, unit: to.clone() });
        }
        Some(Quantity { value: self.factor(to)?.apply(self.value)?, unit: to.clone() })
    }

    /// Whether the two can be compared.
    pub fn comparable(&self, other: &Self) -> bool {
        self.factor(&other.unit).is_some()
    }

    /// Order of the amounts; `None` if the units are not commensurable.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        let factor = self.factor(&other.unit)?;
        // Towards the smaller unit the product is exact.
        if factor.above_one() {
            Some(factor.apply(self.value)?.cmp(&other.value))
        } else {
            let back = other.factor(&self.unit)?;
            Some(self.value.cmp(&back.apply(other.value)?))
        }
    }

    /// FHIRPath `~`: compared in the greater unit, rounded to the less precise value. A calendar
    /// year is equivalent to `1 'a'`, a month to `1 'mo'`.
    pub fn equivalent(&self, other: &Self) -> Option<bool> {
        let (a, b) = (self.equivalent_unit(), other.equivalent_unit());
        let factor = a.factor(&b.unit)?;
        if factor.above_one() {
            let back = b.factor(&a.unit)?;
            Some(a.value.equivalent(back.apply(b.value)?))
        } else {
            Some(factor.apply(a.value)?.equivalent(b.value))
        }
    }

    fn equivalent_unit(&self) -> Self {
        let code = match &self.unit {
            Unit::Calendar(CalendarUnit::Year) => "a",
            Unit::Calendar(CalendarUnit::Month) => "mo",
            _ => return self.clone(),
        };
        Quantity { value: self.value, unit: Unit::Code(code.into()) }
    }

    /// Sum (or difference) in the unit of the left operand. A plain number takes the unit of the
    /// other operand (implicit conversion to unit `1`). `None` if not commensurable, or for
    /// calendar years and months of another unit, whose factors are approximate.
    pub fn sum(&self, other: &Self, subtract: bool) -> Option<Self> {
        let approximate = |u: &Unit| matches!(u, Unit::Calendar(CalendarUnit::Year | CalendarUnit::Month));
        if self.unit != other.unit && (approximate(&self.unit) || approximate(&other.unit)) {
            return None;
        }
        let right = if subtract { other.value.negated() } else { other.value };
        let one = Unit::Code("1".into());
        if self.unit == one {
            return Some(Quantity { value: self.value.checked_add(right)?, unit: other.unit.clone() });
        }
        let right = match other.unit == one {
            true => right,
            false => other.factor(&self.unit)?.apply(right)?,
        };
        Some(Quantity { value: self.value.checked_add(right)?, unit: self.unit.clone() })
    }

    /// Product or quotient with the unit UCUM gives it; `None` for calendar units other than by
    /// plain numbers, division by zero or overflow.
    pub fn product(&self, other: &Self, divide: bool) -> Option<Self> {
        let value = match divide {
            true => self.value.checked_div(other.value)?,
            false => self.value.checked_mul(other.value)?,
        };
        let one = Unit::Code("1".into());
        let unit = if other.unit == one {
            self.unit.clone()
        } else if self.unit == one && !divide {
            other.unit.clone()
        } else {
            match (&self.unit, &other.unit) {
                (Unit::Code(a), Unit::Code(b)) => Unit::Code(ucum::product(a, b, divide)?.into()),
                _ => return None,
            }
        };
        Some(Quantity { value, unit })
    }

    /// Equal value and unit, converted where needed; `None` if not commensurable.
    pub fn equal(&self, other: &Self) -> Option<bool> {
        self.compare(other).map(|o| o == Ordering::Equal)
    }
}

/// A conversion factor.
#[derive(Clone, Copy)]
enum Factor {
    One,
    Of(i64, i64),
    Ratio(ucum::Ratio),
}

impl Factor {
    fn above_one(self) -> bool {
        match self {
            Factor::One => false,
            Factor::Of(a, b) => a > b,
            Factor::Ratio(r) => r.above_one(),
        }
    }

    fn apply(self, value: Decimal) -> Option<Decimal> {
        match self {
            Factor::One => Some(value),
            Factor::Of(a, b) => value.checked_mul(Decimal::from(a))?.checked_div(Decimal::from(b)),
            Factor::Ratio(r) => r.apply(value),
        }
    }
}

impl fmt::Display for Quantity {
    /// `4 days`, `1.5 'mg'` (FHIRPath N1 `toString()`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Unit::Code(code) => write!(f, "{} '{code}'", self.value),
            Unit::Calendar(unit) => {
                let plural = if self.value == Decimal::ONE { "" } else { "s" };
                write!(f, "{} {}{plural}", self.value, unit.keyword())
            }
        }
    }
}
