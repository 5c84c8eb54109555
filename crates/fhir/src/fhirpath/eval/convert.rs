//! `toX()` and `convertsToX()` (FHIRPath N1 "Conversion").

use super::{Call, Collection, Env, Evaluated, Evaluator, Item, Value};
use crate::fhirpath::functions::Function as F;
use crate::fhirpath::value::{Decimal, Quantity, Temporal, TemporalKind, Unit};

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn conversion(
        &self,
        input: &[Item<'e>],
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Evaluated<'e> {
        let Some(item) = self.single(input, call.input(), call.at)? else {
            return Ok(Collection::new());
        };
        let unit = match call.args.is_empty() {
            true => None,
            false => match self.string_arg(call, 0, env)? {
                Some(unit) => Some(Unit::quoted(&unit)),
                None => return Ok(Collection::new()),
            },
        };
        let converted: Option<Item<'e>> = match call.function {
            F::ToQuantity | F::ConvertsToQuantity => self.to_quantity(item, unit.as_ref()).map(Item::from),
            F::ToString | F::ConvertsToString => match self.value(item) {
                Some(value) => value.to_text().map(|t| Item::from(t.into_owned())),
                None => self.quantity(item).map(|q| Item::from(q.to_string())),
            },
            function => self.value(item).and_then(|value| convert(&value, function)),
        };
        let test = matches!(
            call.function,
            F::ConvertsToBoolean
                | F::ConvertsToInteger
                | F::ConvertsToLong
                | F::ConvertsToDate
                | F::ConvertsToDateTime
                | F::ConvertsToTime
                | F::ConvertsToDecimal
                | F::ConvertsToQuantity
                | F::ConvertsToString
        );
        if test {
            return Ok(Collection::one(converted.is_some()));
        }
        Ok(converted.map_or_else(Collection::new, Collection::one))
    }

    fn to_quantity(&self, item: &Item<'e>, unit: Option<&Unit>) -> Option<Quantity> {
        let quantity = match self.value(item) {
            Some(Value::Boolean(b)) => Quantity::unity(Decimal::new(if b { 10 } else { 0 }, 1)),
            Some(Value::String(text)) => Quantity::parse(&text)?,
            _ => self.quantity(item)?,
        };
        match unit {
            Some(unit) => quantity.converted(unit),
            None => Some(quantity),
        }
    }
}

fn convert<'e>(value: &Value<'e>, function: F) -> Option<Item<'e>> {
    match function {
        F::ToBoolean | F::ConvertsToBoolean => match value {
            Value::Boolean(b) => Some((*b).into()),
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "1" | "1.0" => Some(true.into()),
                "false" | "f" | "no" | "n" | "0" | "0.0" => Some(false.into()),
                _ => None,
            },
            _ => match value.number()? {
                n if n == Decimal::ONE => Some(true.into()),
                n if n == Decimal::ZERO => Some(false.into()),
                _ => None,
            },
        },
        F::ToInteger | F::ConvertsToInteger => {
            let n = whole_number(value)?;
            i32::try_from(n).ok().map(Item::from)
        }
        F::ToLong | F::ConvertsToLong => whole_number(value).map(|n| Value::Long(n).into()),
        F::ToDecimal | F::ConvertsToDecimal => match value {
            Value::Boolean(b) => Some(Decimal::new(if *b { 10 } else { 0 }, 1).into()),
            Value::String(text) => match text.contains(['e', 'E']) {
                true => None,
                false => Decimal::parse(text).map(Item::from),
            },
            _ => value.number().map(Item::from),
        },
        F::ToDate | F::ConvertsToDate => match value {
            Value::Temporal(t) => t.to_date().map(Item::from),
            Value::String(text) => Temporal::parse_date(text).map(Item::from),
            _ => None,
        },
        F::ToDateTime | F::ConvertsToDateTime => match value {
            Value::Temporal(t) => t.to_date_time().map(Item::from),
            Value::String(text) => Temporal::parse_date_time(text).map(Item::from),
            _ => None,
        },
        _ => match value {
            Value::Temporal(t) if t.kind() == TemporalKind::Time => Some((*t).into()),
            Value::String(text) => {
                Temporal::parse_time(text.strip_prefix('T').unwrap_or(text)).map(Item::from)
            }
            _ => None,
        },
    }
}

/// A Boolean, whole number, or text `(\+|-)?\d+`.
fn whole_number(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Boolean(b) => Some(i64::from(*b)),
        Value::Integer(n) => Some(i64::from(*n)),
        Value::Long(n) => Some(*n),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
