//! Functions whose arguments are expressions evaluated per item, or not at all.

use super::{Call, Collection, Env, Evaluated, Evaluator, Item, Place, int};
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::functions::Function as F;

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn scoped(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        match call.function {
            F::Exists if call.args.is_empty() => Ok(Collection::one(!input.is_empty())),
            F::Exists => {
                for (i, item) in input.iter().enumerate() {
                    if self.criterion(item, i, call, env)? == Some(true) {
                        return Ok(Collection::one(true));
                    }
                }
                Ok(Collection::one(false))
            }
            F::All => {
                for (i, item) in input.iter().enumerate() {
                    if self.criterion(item, i, call, env)? != Some(true) {
                        return Ok(Collection::one(false));
                    }
                }
                Ok(Collection::one(true))
            }
            F::Where => {
                let mut out = Collection::new();
                for (i, item) in input.iter().enumerate() {
                    if self.criterion(item, i, call, env)? == Some(true) {
                        out.push(item.clone());
                    }
                }
                Ok(out)
            }
            F::Select => {
                let Some(projection) = call.args.first() else { return Ok(Collection::new()) };
                let mut out = Collection::new();
                for (i, item) in input.iter().enumerate() {
                    let items = self.eval_scoped(projection, per_item(item, i, env))?;
                    self.charge(items.len(), call.at)?;
                    out.append(items);
                }
                Ok(out)
            }
            F::Repeat => self.repeat(input, call, env, true),
            F::RepeatAll => self.repeat(input, call, env, false),
            F::Iif => self.iif(input, call, env),
            F::Trace => self.trace(input, call, env),
            F::Aggregate => self.aggregate(input, call, env),
            F::DefineVariable => self.define_variable(input, call, env),
            _ => {
                for arg in call.args {
                    let items = self.eval_scoped(arg, Env { this: input, ..env })?;
                    if !items.is_empty() {
                        return Ok(items);
                    }
                }
                Ok(Collection::new())
            }
        }
    }

    fn criterion(
        &self,
        item: &Item<'e>,
        index: usize,
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Result<Option<bool>, EvalError> {
        let Some(criterion) = call.args.first() else { return Ok(None) };
        let result = self.eval_scoped(criterion, per_item(item, index, env))?;
        if let [only] = result.items()
            && let Some(b) = self.as_boolean(only)
        {
            return Ok(Some(b));
        }
        self.boolean(result.items(), Place::Criterion(call.function), call.at)
    }

    fn as_boolean(&self, item: &Item<'e>) -> Option<bool> {
        match item {
            Item::Value(super::Value::Boolean(b)) => Some(*b),
            _ => None,
        }
    }

    /// Only the branch taken is evaluated; `$this` is the input, `$index` stays what it was.
    fn iif(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        self.single(input, call.input(), call.at)?;
        let env = Env { this: input, ..env };
        let [criterion, branches @ ..] = call.args else { return Ok(Collection::new()) };
        let criterion = self.eval_scoped(criterion, env)?;
        let truth = self.boolean(criterion.items(), Place::Text("the criterion of `iif`"), call.at)?;
        match branches.get(usize::from(truth != Some(true))) {
            Some(branch) => self.eval_scoped(branch, env),
            None => Ok(Collection::new()),
        }
    }

    fn trace(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let name = self.string_arg(call, 0, env)?.unwrap_or_default();
        let mut seen = Collection::new();
        match call.args.get(1) {
            Some(projection) => {
                for (i, item) in input.iter().enumerate() {
                    seen.append(self.eval_scoped(projection, per_item(item, i, env))?);
                }
            }
            None => seen = input.iter().cloned().collect(),
        }
        if let Some(services) = self.ctx.services {
            services.trace(&name, &seen);
        }
        Ok(input.iter().cloned().collect())
    }

    fn aggregate(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let Some(aggregator) = call.args.first() else { return Ok(Collection::new()) };
        let mut total = self.arg(call, 1, env)?;
        for (i, item) in input.iter().enumerate() {
            let next = self.eval_scoped(aggregator, Env { total: Some(&total), ..per_item(item, i, env) })?;
            self.charge(next.len(), call.at)?;
            total = next;
        }
        Ok(total)
    }

    fn define_variable(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let input: Collection<'e> = input.iter().cloned().collect();
        let Some(name) = self.string_arg(call, 0, env)? else { return Ok(input) };
        let reserved = ["context", "resource", "rootResource", "ucum", "sct", "loinc"];
        let taken = reserved.contains(&&*name)
            || self.defined.borrow().iter().any(|(n, _)| **n == *name)
            || self.ctx.variables.iter().any(|(n, _)| *n == name);
        if taken {
            let message = format!("the variable `%{name}` exists already");
            return Err(EvalError::new(EvalErrorKind::BadArgument, message, call.at));
        }
        let value = match call.args.get(1) {
            Some(projection) => self.eval_scoped(projection, Env { this: input.items(), ..env })?,
            None => input.clone(),
        };
        self.defined.borrow_mut().push((name.as_ref().into(), value));
        Ok(input)
    }
}

fn per_item<'i, 'e>(item: &'i Item<'e>, index: usize, env: Env<'i, 'e>) -> Env<'i, 'e> {
    Env { this: std::slice::from_ref(item), index: Some(int(index)), ..env }
}
