//! The clock, boundaries, precision, components and intervals.

use super::{Call, Collection, Env, Evaluated, Evaluator, Item, Place, Value};
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::functions::Function as F;
use crate::fhirpath::value::{CalendarUnit, Decimal, Precision, Quantity, Temporal, TemporalKind};

/// Digits after the point of a decimal boundary if none are asked for (FHIRPath 3.0: at least 8).
const BOUNDARY_DIGITS: i64 = 8;

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn date_function(
        &self,
        input: &[Item<'e>],
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Evaluated<'e> {
        let some = |item: Option<Item<'e>>| item.map_or_else(Collection::new, Collection::one);
        if matches!(call.function, F::Now | F::Today | F::TimeOfDay) {
            let now = self.ctx.now.ok_or_else(|| {
                let message = format!("`{}` has no time to tell", call.function.name());
                EvalError::new(EvalErrorKind::Unsupported, message, call.at)
            })?;
            return Ok(some(match call.function {
                F::Now => Some(now.into()),
                F::Today => now.to_date().map(Item::from),
                _ => now.to_time().map(Item::from),
            }));
        }
        let Some(item) = self.single(input, call.input(), call.at)? else {
            return Ok(Collection::new());
        };
        match call.function {
            F::LowBoundary | F::HighBoundary => return self.boundary(item, call, env),
            F::Comparable => {
                let other = self.arg(call, 0, env)?;
                let other =
                    self.single(other.items(), Place::Text("the argument of `comparable`"), call.at)?;
                let (Some(a), Some(b)) = (self.quantity(item), other.and_then(|o| self.quantity(o))) else {
                    return Ok(Collection::new());
                };
                return Ok(Collection::one(a.comparable(&b)));
            }
            _ => {}
        }
        let value = self.value(item);
        if let (F::Precision, Some(number)) = (call.function, value.as_ref().and_then(Value::number)) {
            return Ok(Collection::one(i32::from(number.scale())));
        }
        let Some(t) = value.as_ref().and_then(temporal) else {
            return match call.function {
                F::Precision | F::Duration | F::Difference => {
                    Err(self.wrong_type(call.input(), "a Date, DateTime or Time", item, call.at))
                }
                _ => Ok(Collection::new()),
            };
        };
        if matches!(call.function, F::Duration | F::Difference) {
            return self.interval(&t, call, env);
        }
        Ok(some(component(&t, call.function)))
    }

    fn boundary(&self, item: &Item<'e>, call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let low = call.function == F::LowBoundary;
        let precision = match call.args.is_empty() {
            true => None,
            false => match self.integer_arg(call, 0, env)? {
                Some(n) => Some(n),
                None => return Ok(Collection::new()),
            },
        };
        let digits = precision.unwrap_or(BOUNDARY_DIGITS);
        let value = self.value(item);
        let result: Option<Item<'e>> = if let Some(t) = value.as_ref().and_then(temporal) {
            t.boundary(precision, low).map(Item::from)
        } else if let Some(number) = value.as_ref().and_then(Value::number) {
            number.boundary(digits, low).map(Item::from)
        } else if let Some(Quantity { value, unit }) = self.quantity(item) {
            value.boundary(digits, low).map(|value| Quantity { value, unit }.into())
        } else {
            return Err(self.wrong_type(call.input(), "a number, Quantity, date or time", item, call.at));
        };
        Ok(result.map_or_else(Collection::new, Collection::one))
    }

    fn interval(&self, from: &Temporal, call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let other = self.arg(call, 0, env)?;
        let what = Place::Argument(call.function);
        let Some(item) = self.single(other.items(), what, call.at)? else { return Ok(Collection::new()) };
        let Some(to) = self.value(item).as_ref().and_then(temporal) else {
            return Err(self.wrong_type(what, "a Date, DateTime or Time", item, call.at));
        };
        let Some(unit) = self.string_arg(call, 1, env)? else { return Ok(Collection::new()) };
        let unit = CalendarUnit::from_keyword(&unit).ok_or_else(|| {
            EvalError::new(EvalErrorKind::BadArgument, "the precision must be a calendar unit", call.at)
        })?;
        let count = match call.function {
            F::Duration => from.duration(&to, unit),
            _ => from.difference(&to, unit),
        };
        let item = count.map(|n| i32::try_from(n).map_or_else(|_| Value::Long(n).into(), Item::from));
        Ok(item.map_or_else(Collection::new, Collection::one))
    }
}

fn temporal(value: &Value<'_>) -> Option<Temporal> {
    match value {
        Value::Temporal(t) => Some(*t),
        _ => None,
    }
}

fn component<'e>(t: &Temporal, function: F) -> Option<Item<'e>> {
    let dated = t.kind() != TemporalKind::Time;
    let field =
        |present: bool, value: u32| present.then(|| i32::try_from(value).ok().map(Item::from)).flatten();
    let p = t.precision();
    match function {
        F::Precision => i32::try_from(t.digits()).ok().map(Item::from),
        F::YearOf => field(dated, u32::from(t.year)),
        F::MonthOf => field(dated && p >= Precision::Month, u32::from(t.month)),
        F::DayOf => field(dated && p >= Precision::Day, u32::from(t.day)),
        F::HourOf => field(p >= Precision::Hour, u32::from(t.hour)),
        F::MinuteOf => field(p >= Precision::Minute, u32::from(t.minute)),
        F::SecondOf => field(p >= Precision::Second, u32::from(t.second)),
        F::MillisecondOf => field(t.fraction_digits > 0, t.nanos / 1_000_000),
        F::TimezoneOffsetOf => {
            Decimal::from(i64::from(t.offset?)).checked_div(Decimal::from(60)).map(Item::from)
        }
        F::DateOf => t.to_date().map(Item::from),
        F::TimeOf if dated => t.to_time().map(Item::from),
        _ => None,
    }
}
