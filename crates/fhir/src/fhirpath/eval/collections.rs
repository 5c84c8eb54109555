//! Functions on whole collections: existence, subsetting, combining, tree navigation.

use std::cmp::Ordering;

use super::{Call, Collection, Env, Evaluated, Evaluator, Item, Place, Value, int};
use crate::fhirpath::ast::SortKey;
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::functions::Function as F;

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn collection_function(
        &self,
        input: &[Item<'e>],
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Evaluated<'e> {
        let at = call.at;
        let some = |item: Option<&Item<'e>>| item.cloned().map_or_else(Collection::new, Collection::one);
        Ok(match call.function {
            F::Empty => Collection::one(input.is_empty()),
            F::AllTrue => Collection::one(self.booleans(input, call)?.iter().all(|b| *b)),
            F::AnyTrue => Collection::one(self.booleans(input, call)?.iter().any(|b| *b)),
            F::AllFalse => Collection::one(self.booleans(input, call)?.iter().all(|b| !*b)),
            F::AnyFalse => Collection::one(self.booleans(input, call)?.iter().any(|b| !*b)),
            F::SubsetOf => Collection::one(self.is_subset(input, self.arg(call, 0, env)?.items(), at)?),
            F::SupersetOf => Collection::one(self.is_subset(self.arg(call, 0, env)?.items(), input, at)?),
            F::Count => Collection::one(int(input.len())),
            F::Distinct => self.distinct(input.iter().cloned(), at)?,
            F::IsDistinct => Collection::one(self.distinct(input.iter().cloned(), at)?.len() == input.len()),
            F::Single => some(self.single(input, call.input(), at)?),
            F::First => some(input.first()),
            F::Last => some(input.last()),
            F::Tail => input.iter().skip(1).cloned().collect(),
            F::Skip => match self.integer_arg(call, 0, env)? {
                Some(n) => input.iter().skip(usize::try_from(n).unwrap_or(0)).cloned().collect(),
                None => Collection::new(),
            },
            F::Take => match self.integer_arg(call, 0, env)? {
                Some(n) => input.iter().take(usize::try_from(n).unwrap_or(0)).cloned().collect(),
                None => Collection::new(),
            },
            F::Intersect => {
                let other = self.arg(call, 0, env)?;
                let mut both = Vec::new();
                for item in input {
                    if self.is_member(item, other.items(), at)? {
                        both.push(item.clone());
                    }
                }
                self.distinct(both.into_iter(), at)?
            }
            F::Exclude => {
                let other = self.arg(call, 0, env)?;
                let mut kept = Collection::new();
                for item in input {
                    if !self.is_member(item, other.items(), at)? {
                        kept.push(item.clone());
                    }
                }
                kept
            }
            F::Union => {
                let other = self.arg(call, 0, env)?;
                self.distinct(input.iter().chain(other.iter()).cloned(), at)?
            }
            F::Combine => {
                let other = self.arg(call, 0, env)?;
                self.charge(input.len() + other.len(), at)?;
                input.iter().cloned().chain(other).collect()
            }
            F::Not => match self.boolean(input, call.input(), at)? {
                Some(b) => Collection::one(!b),
                None => Collection::new(),
            },
            F::Children => self.children(input, at)?,
            _ => self.descendants(input, at)?,
        })
    }

    fn booleans(&self, input: &[Item<'e>], call: &Call<'_, 'e>) -> Result<Vec<bool>, EvalError> {
        let mut all = Vec::with_capacity(input.len());
        for item in input {
            match self.value(item) {
                Some(Value::Boolean(b)) => all.push(b),
                None if self.is_valueless(item) => {}
                _ => return Err(self.wrong_type(call.input(), "Booleans", item, call.at)),
            }
        }
        Ok(all)
    }

    fn is_subset(&self, part: &[Item<'e>], whole: &[Item<'e>], at: u32) -> Result<bool, EvalError> {
        for item in part {
            if !self.is_member(item, whole, at)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn children(&self, input: &[Item<'e>], at: u32) -> Evaluated<'e> {
        let mut out = Collection::new();
        for item in input {
            if let Item::Element(element) = item {
                self.all_children(element, &mut out);
            }
        }
        self.charge(out.len(), at)?;
        Ok(out)
    }

    /// All levels below the input, each level after the one above it.
    fn descendants(&self, input: &[Item<'e>], at: u32) -> Evaluated<'e> {
        let mut out = Collection::new();
        let mut level = self.children(input, at)?;
        while !level.is_empty() {
            let next = self.children(level.items(), at)?;
            out.append(level);
            level = next;
        }
        Ok(out)
    }

    /// `repeat()` and `repeatAll()`.
    pub(super) fn repeat(
        &self,
        input: &[Item<'e>],
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
        unique: bool,
    ) -> Evaluated<'e> {
        let Some(projection) = call.args.first() else { return Ok(Collection::new()) };
        let mut out = Collection::new();
        let mut queue: Vec<Item<'e>> = input.to_vec();
        while !queue.is_empty() {
            let mut found = Vec::new();
            for item in &queue {
                let env = Env { this: std::slice::from_ref(item), ..env };
                for new in self.eval_scoped(projection, env)? {
                    self.charge(1, call.at)?;
                    if !unique || !self.is_member(&new, out.items(), call.at)? {
                        out.push(new.clone());
                        found.push(new);
                    }
                }
            }
            queue = found;
        }
        Ok(out)
    }

    /// Items in the order of their keys; empty keys come first (FHIRPath 3.0 `sort()`).
    pub(super) fn sort(&self, input: &[Item<'e>], keys: &'e [SortKey], at: u32) -> Evaluated<'e> {
        let mut rows: Vec<(Vec<Option<Item<'e>>>, Item<'e>)> = Vec::with_capacity(input.len());
        for item in input {
            let env = Env { this: std::slice::from_ref(item), index: None, total: None };
            let mut row = Vec::with_capacity(keys.len());
            for SortKey { key, .. } in keys {
                let key = self.eval_scoped(key, env)?;
                row.push(self.single(key.items(), Place::Text("a key of `sort`"), at)?.cloned());
            }
            if keys.is_empty() {
                row.push(Some(item.clone()));
            }
            rows.push((row, item.clone()));
        }
        let mut failure: Option<EvalError> = None;
        rows.sort_by(|(a, _), (b, _)| {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                let key = keys.get(i);
                let order = match (x, y) {
                    (Some(x), Some(y)) => {
                        let order = self.order(x, y, "sort", at).unwrap_or_else(|error| {
                            failure.get_or_insert(error);
                            None
                        });
                        let order = order.unwrap_or(Ordering::Equal);
                        if key.is_some_and(|k| k.negated) { order.reverse() } else { order }
                    }
                    (x, y) => x.is_some().cmp(&y.is_some()),
                };
                let order = if key.is_some_and(|k| k.descending) { order.reverse() } else { order };
                if order.is_ne() {
                    return order;
                }
            }
            Ordering::Equal
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(rows.into_iter().map(|(_, item)| item).collect()),
        }
    }

    pub(super) fn unsupported(&self, call: &Call<'_, 'e>) -> EvalError {
        let message = format!("`{}` needs a service that is not there", call.function.name());
        EvalError::new(EvalErrorKind::Unsupported, message, call.at)
    }
}
