//! Binary and unary operators.

use std::cmp::Ordering;

use super::{Collection, Env, Evaluated, Evaluator, Item, Place, Value};
use crate::fhirpath::ast::{BinaryOp, Expr};
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::value::{CalendarUnit, Decimal, Quantity, Temporal, TemporalKind, Unit};

/// Three-valued logic: `None` is empty.
fn truth<'e>(value: Option<bool>) -> Collection<'e> {
    value.map_or_else(Collection::new, Collection::one)
}

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn binary(
        &self,
        op: BinaryOp,
        left: &'e Expr,
        right: &'e Expr,
        env: Env<'_, 'e>,
        at: u32,
    ) -> Evaluated<'e> {
        use BinaryOp as B;
        if matches!(op, B::And | B::Or | B::Xor | B::Implies) {
            return self.logic(op, left, right, env, at);
        }
        let left = self.eval_scoped(left, env)?;
        let right = self.eval_scoped(right, env)?;
        match op {
            B::Union => self.distinct(left.iter().chain(right.iter()).cloned(), at),
            B::Equal => Ok(truth(self.collections_equal(left.items(), right.items(), at)?)),
            B::NotEqual => Ok(truth(self.collections_equal(left.items(), right.items(), at)?.map(|e| !e))),
            B::Equivalent => {
                Ok(Collection::one(self.collections_equivalent(left.items(), right.items(), at)?))
            }
            B::NotEquivalent => {
                Ok(Collection::one(!self.collections_equivalent(left.items(), right.items(), at)?))
            }
            B::In => self.membership(&left, &right, "in", at),
            B::Contains => self.membership(&right, &left, "contains", at),
            B::Concat => self.concat(&left, &right, at),
            _ => {
                let left = self.single(left.items(), Place::Left(op), at)?;
                let right = self.single(right.items(), Place::Right(op), at)?;
                let (Some(left), Some(right)) = (left, right) else { return Ok(Collection::new()) };
                if self.is_valueless(left) || self.is_valueless(right) {
                    return Ok(Collection::new());
                }
                match op {
                    B::Less => self.compared(left, right, op, Ordering::is_lt, at),
                    B::LessOrEqual => self.compared(left, right, op, Ordering::is_le, at),
                    B::Greater => self.compared(left, right, op, Ordering::is_gt, at),
                    B::GreaterOrEqual => self.compared(left, right, op, Ordering::is_ge, at),
                    _ => self.arithmetic(op, left, right, at),
                }
            }
        }
    }

    /// FHIRPath N1 "Boolean logic". The right operand is not evaluated if the left one decides.
    fn logic(
        &self,
        op: BinaryOp,
        left: &'e Expr,
        right: &'e Expr,
        env: Env<'_, 'e>,
        at: u32,
    ) -> Evaluated<'e> {
        let l = self.boolean(self.eval_scoped(left, env)?.items(), Place::Left(op), at)?;
        match (op, l) {
            (BinaryOp::And, Some(false)) => return Ok(Collection::one(false)),
            (BinaryOp::Or, Some(true)) | (BinaryOp::Implies, Some(false)) => {
                return Ok(Collection::one(true));
            }
            _ => {}
        }
        let r = self.boolean(self.eval_scoped(right, env)?.items(), Place::Right(op), at)?;
        Ok(truth(match op {
            BinaryOp::And => match (l, r) {
                (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            BinaryOp::Or => match (l, r) {
                (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            BinaryOp::Xor => l.zip(r).map(|(l, r)| l != r),
            _ => match (l, r) {
                (_, Some(true)) => Some(true),
                (Some(true), r) => r,
                _ => None,
            },
        }))
    }

    fn membership(&self, item: &Collection<'e>, items: &Collection<'e>, op: &str, at: u32) -> Evaluated<'e> {
        match self.single(item.items(), Place::Sought(op), at)? {
            None => Ok(Collection::new()),
            Some(item) => Ok(Collection::one(self.is_member(item, items.items(), at)?)),
        }
    }

    fn concat(&self, left: &Collection<'e>, right: &Collection<'e>, at: u32) -> Evaluated<'e> {
        let mut out = String::new();
        for side in [left, right] {
            let Some(item) = self.single(side.items(), Place::Text("each side of `&`"), at)? else {
                continue;
            };
            if self.is_valueless(item) {
                continue;
            }
            let value = self
                .value(item)
                .ok_or_else(|| self.wrong_type(Place::Text("each side of `&`"), "a String", item, at))?;
            let text = value.to_text().unwrap_or_default();
            self.check_text(out.len() + text.len(), at)?;
            out.push_str(&text);
        }
        Ok(Collection::one(out))
    }

    fn compared(
        &self,
        left: &Item<'e>,
        right: &Item<'e>,
        op: BinaryOp,
        holds: fn(Ordering) -> bool,
        at: u32,
    ) -> Evaluated<'e> {
        Ok(truth(self.order(left, right, op.symbol(), at)?.map(holds)))
    }

    pub(super) fn arithmetic(
        &self,
        op: BinaryOp,
        left: &Item<'e>,
        right: &Item<'e>,
        at: u32,
    ) -> Evaluated<'e> {
        let some = |item: Option<Item<'e>>| item.map_or_else(Collection::new, Collection::one);
        let (l, r) = (self.value(left), self.value(right));
        if let (Some(l), Some(r)) = (&l, &r) {
            if let (Some(a), Some(b)) = (l.number(), r.number()) {
                return Ok(some(numbers(op, l, r, a, b)));
            }
            if let (BinaryOp::Add, Value::String(a), Value::String(b)) = (op, l, r) {
                self.check_text(a.len() + b.len(), at)?;
                return Ok(Collection::one(format!("{a}{b}")));
            }
        }
        if let (BinaryOp::Add | BinaryOp::Subtract, Some(Value::Temporal(date))) = (op, &l)
            && let Some(amount) = self.quantity(right)
        {
            return self.moved(date, &amount, op == BinaryOp::Subtract, at).map(Collection::one);
        }
        if let (Some(a), Some(b)) = (self.quantity(left), self.quantity(right)) {
            let result = match op {
                BinaryOp::Add => a.sum(&b, false),
                BinaryOp::Subtract => a.sum(&b, true),
                BinaryOp::Multiply => a.product(&b, false),
                BinaryOp::Divide => a.product(&b, true),
                _ => return Err(self.no_operator(op, left, right, at)),
            };
            return Ok(some(result.map(Item::from)));
        }
        Err(self.no_operator(op, left, right, at))
    }

    fn no_operator(&self, op: BinaryOp, left: &Item<'e>, right: &Item<'e>, at: u32) -> EvalError {
        let (l, r) = (self.type_name(left), self.type_name(right));
        let message = format!("`{}` is not defined for {l} and {r}", op.symbol());
        EvalError::new(EvalErrorKind::WrongType, message, at)
    }

    /// A date or time moved by a time-valued quantity (FHIRPath N1 "Date/Time Arithmetic").
    fn moved(&self, date: &Temporal, amount: &Quantity, back: bool, at: u32) -> Result<Temporal, EvalError> {
        let (unit, calendar) = match &amount.unit {
            Unit::Calendar(unit) => (Some(*unit), true),
            Unit::Code(code) => (CalendarUnit::from_ucum(code), false),
        };
        let bad = |message: &str| EvalError::new(EvalErrorKind::BadArgument, message, at);
        let unit = unit.ok_or_else(|| {
            bad("a date or time moves by a calendar duration or `wk`, `d`, `h`, `min`, `s`, `ms`")
        })?;
        if date.kind() == TemporalKind::Time && unit <= CalendarUnit::Day {
            return Err(bad("a time moves by hours and less"));
        }
        let value = if back { amount.value.negated() } else { amount.value };
        // A fraction counts for calendar seconds; the HL7 suite cuts it from UCUM durations.
        date.moved(value, unit, calendar).ok_or_else(|| bad("the date leaves the years 1 to 9999"))
    }

    pub(super) fn polarity(&self, operand: &Collection<'e>, negative: bool, at: u32) -> Evaluated<'e> {
        let Some(item) = self.single(operand.items(), Place::Text("the operand of a sign"), at)? else {
            return Ok(Collection::new());
        };
        let signed: Option<Item<'e>> = match self.value(item) {
            Some(Value::Integer(n)) if negative => n.checked_neg().map(Item::from),
            Some(Value::Long(n)) if negative => n.checked_neg().map(|n| Value::Long(n).into()),
            Some(Value::Decimal(d)) if negative => Some(d.negated().into()),
            Some(value @ (Value::Integer(_) | Value::Long(_) | Value::Decimal(_))) => Some(value.into()),
            _ => match self.quantity(item) {
                Some(q) if negative => Some(Quantity { value: q.value.negated(), unit: q.unit }.into()),
                Some(q) => Some(q.into()),
                None => {
                    return Err(self.wrong_type(
                        Place::Text("the operand of a sign"),
                        "a number or Quantity",
                        item,
                        at,
                    ));
                }
            },
        };
        Ok(signed.map_or_else(Collection::new, Collection::one))
    }
}

/// Arithmetic on numbers; `None` on overflow and division by zero, which are empty.
fn numbers<'e>(op: BinaryOp, l: &Value<'e>, r: &Value<'e>, a: Decimal, b: Decimal) -> Option<Item<'e>> {
    let exact = match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Subtract => a.checked_sub(b),
        BinaryOp::Multiply => a.checked_mul(b),
        BinaryOp::Divide => return a.checked_div(b).map(Item::from),
        BinaryOp::Div => a.checked_whole_div(b),
        BinaryOp::Mod => a.checked_rem(b),
        _ => None,
    }?;
    match (l, r) {
        (Value::Integer(_), Value::Integer(_)) => i32::try_from(exact.to_integer()?).ok().map(Item::from),
        (Value::Decimal(_), _) | (_, Value::Decimal(_)) if op == BinaryOp::Div => {
            // The quotient of `div` is whole: an Integer where it fits.
            match exact.to_integer().and_then(|n| i32::try_from(n).ok()) {
                Some(n) => Some(n.into()),
                None => Some(exact.into()),
            }
        }
        (Value::Decimal(_), _) | (_, Value::Decimal(_)) => Some(exact.into()),
        _ => exact.to_integer().map(|n| Value::Long(n).into()),
    }
}
