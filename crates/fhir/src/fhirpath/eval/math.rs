//! Math functions and aggregates.

use super::{Call, Collection, Env, Evaluated, Evaluator, Item, Place, Value};
use crate::fhirpath::ast::BinaryOp;
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::functions::Function as F;
use crate::fhirpath::value::{Decimal, MAX_SCALE, Quantity, Rounding};

/// A whole decimal as an Integer, or as it is where it does not fit.
fn whole<'e>(value: Decimal) -> Item<'e> {
    match value.to_integer().and_then(|n| i32::try_from(n).ok()) {
        Some(n) => n.into(),
        None => value.into(),
    }
}

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn math_function(
        &self,
        input: &[Item<'e>],
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Evaluated<'e> {
        if matches!(call.function, F::Sum | F::Min | F::Max | F::Avg) {
            return self.aggregated(input, call);
        }
        let some = |item: Option<Item<'e>>| item.map_or_else(Collection::new, Collection::one);
        let Some(item) = self.single(input, call.input(), call.at)? else {
            return Ok(Collection::new());
        };
        if self.is_valueless(item) {
            return Ok(Collection::new());
        }
        let value = self.value(item);
        let Some(number) = value.as_ref().and_then(Value::number) else {
            return self.quantity_math(item, call, env);
        };
        let integer = matches!(value, Some(Value::Integer(_) | Value::Long(_)));
        Ok(match call.function {
            F::Abs => match value {
                Some(Value::Integer(n)) => some(n.checked_abs().map(Item::from)),
                Some(Value::Long(n)) => some(n.checked_abs().map(|n| Value::Long(n).into())),
                _ => Collection::one(number.abs()),
            },
            F::Ceiling => some(number.rounded(0, Rounding::Ceiling).map(whole)),
            F::Floor => some(number.rounded(0, Rounding::Floor).map(whole)),
            F::Truncate => some(number.rounded(0, Rounding::Truncate).map(whole)),
            F::Round => match self.places(call, env)? {
                Some(places) if places >= number.scale() => Collection::one(number),
                Some(places) => some(number.rounded(places, Rounding::HalfUp).map(Item::from)),
                None => Collection::new(),
            },
            F::Exp => some(Decimal::from_f64(number.to_f64().exp()).map(Item::from)),
            F::Sqrt => some(Decimal::from_f64(number.to_f64().sqrt()).map(Item::from)),
            F::Ln => some(Decimal::from_f64(number.to_f64().ln()).map(Item::from)),
            F::Log => match self.number_arg(call, env)? {
                Some((base, _)) => {
                    let log = number.to_f64().ln() / base.to_f64().ln();
                    some(Decimal::from_f64(log).map(Item::from))
                }
                None => Collection::new(),
            },
            _ => match self.number_arg(call, env)? {
                Some((exponent, whole_exponent)) => some(power(number, exponent, integer && whole_exponent)),
                None => Collection::new(),
            },
        })
    }

    /// `abs`, `ceiling`, `floor`, `truncate` and `round` keep the unit of a quantity.
    fn quantity_math(&self, item: &Item<'e>, call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let Some(Quantity { value, unit }) = self.quantity(item) else {
            return Err(self.wrong_type(call.input(), "a number or Quantity", item, call.at));
        };
        let value = match call.function {
            F::Abs => Some(value.abs()),
            F::Ceiling => value.rounded(0, Rounding::Ceiling),
            F::Floor => value.rounded(0, Rounding::Floor),
            F::Truncate => value.rounded(0, Rounding::Truncate),
            F::Round => {
                let Some(places) = self.places(call, env)? else { return Ok(Collection::new()) };
                value.rounded(places.min(value.scale()), Rounding::HalfUp)
            }
            _ => return Err(self.wrong_type(call.input(), "a number", item, call.at)),
        };
        Ok(value.map_or_else(Collection::new, |value| Collection::one(Quantity { value, unit })))
    }

    /// The argument of `round()`: 0 if not given, `None` if empty.
    fn places(&self, call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Result<Option<u8>, EvalError> {
        if call.args.is_empty() {
            return Ok(Some(0));
        }
        match self.integer_arg(call, 0, env)? {
            None => Ok(None),
            Some(n) if n < 0 => Err(EvalError::new(
                EvalErrorKind::BadArgument,
                "the precision of `round` must not be negative",
                call.at,
            )),
            Some(n) => Ok(Some(u8::try_from(n).unwrap_or(MAX_SCALE).min(MAX_SCALE))),
        }
    }

    /// A number as argument, and whether it is an Integer.
    fn number_arg(
        &self,
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Result<Option<(Decimal, bool)>, EvalError> {
        let arg = self.arg(call, 0, env)?;
        let what = Place::Argument(call.function);
        let Some(item) = self.single(arg.items(), what, call.at)? else { return Ok(None) };
        match self.value(item) {
            Some(value) => match value.number() {
                Some(n) => Ok(Some((n, matches!(value, Value::Integer(_) | Value::Long(_))))),
                None => Err(self.wrong_type(what, "a number", item, call.at)),
            },
            None => Err(self.wrong_type(what, "a number", item, call.at)),
        }
    }

    /// `sum`, `min`, `max`, `avg` (FHIRPath 3.0).
    fn aggregated(&self, input: &[Item<'e>], call: &Call<'_, 'e>) -> Evaluated<'e> {
        let [first, rest @ ..] = input else { return Ok(Collection::new()) };
        let as_value = |item: &Item<'e>| match self.value(item) {
            Some(value) => Some(Item::from(value)),
            None => self.quantity(item).map(Item::from),
        };
        let wrong = |item: &Item<'e>| self.wrong_type(call.input(), "numbers or Quantities", item, call.at);
        let mut total = as_value(first).ok_or_else(|| wrong(first))?;
        for item in rest {
            let item = as_value(item).ok_or_else(|| wrong(item))?;
            match call.function {
                F::Sum | F::Avg => {
                    let sum = self.arithmetic(BinaryOp::Add, &total, &item, call.at)?;
                    match sum.into_iter().next() {
                        Some(sum) => total = sum,
                        None => return Ok(Collection::new()),
                    }
                }
                _ => match self.order(&item, &total, call.function.name(), call.at)? {
                    Some(order) if order.is_lt() == (call.function == F::Min) && order.is_ne() => {
                        total = item
                    }
                    Some(_) => {}
                    None => return Ok(Collection::new()),
                },
            }
        }
        if call.function == F::Avg {
            let count = Item::from(Decimal::from(input.len() as i64));
            return self.arithmetic(BinaryOp::Divide, &total, &count, call.at);
        }
        Ok(Collection::one(total))
    }
}

/// A whole exponent is exact; Integers give an Integer where it fits (FHIRPath N1 `power()`).
fn power<'e>(base: Decimal, exponent: Decimal, integers: bool) -> Option<Item<'e>> {
    if let Some(n) = exponent.to_integer().and_then(|n| i32::try_from(n).ok())
        && n.abs() <= 4096
    {
        let exact = base.checked_powi(n)?;
        return Some(if integers && n >= 0 { whole(exact) } else { exact.into() });
    }
    Decimal::from_f64(base.to_f64().powf(exponent.to_f64())).map(Item::from)
}
