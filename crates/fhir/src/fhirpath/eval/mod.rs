//! Evaluation: a walk over the tree with collections of ids.

mod codec;
mod collections;
mod convert;
mod dates;
mod equality;
mod fhir;
mod math;
mod navigate;
mod operators;
mod patterns;
mod scoped;
mod text;
mod types;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use super::ast::{BinaryOp, Expr, ExprKind};
use super::context::Context;
use super::error::{EvalError, EvalErrorKind};
use super::functions::Function;
use super::value::{Collection, Element, Item, Value};
use crate::schema::Schema;

pub(crate) use codec::decode;
pub(super) use patterns::compile as compile_pattern;
pub(super) use types::SYSTEM_TYPES;

type Evaluated<'e> = Result<Collection<'e>, EvalError>;

/// The variables that scoped functions set.
#[derive(Clone, Copy)]
struct Env<'x, 'e> {
    this: &'x [Item<'e>],
    index: Option<i32>,
    total: Option<&'x Collection<'e>>,
}

pub(super) struct Evaluator<'x, 'e> {
    ctx: &'x Context<'e>,
    lenient: bool,
    work: Cell<u64>,
    /// Variables of `defineVariable()` in scope.
    defined: RefCell<Vec<(Box<str>, Collection<'e>)>>,
}

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn new(ctx: &'x Context<'e>, lenient: bool) -> Self {
        Evaluator { ctx, lenient, work: Cell::new(0), defined: RefCell::new(Vec::new()) }
    }

    pub(super) fn run(&self, expr: &'e Expr) -> Evaluated<'e> {
        let env = Env { this: self.ctx.focus.items(), index: Some(0), total: None };
        self.eval(expr, env)
    }

    /// The result of an invariant.
    pub(super) fn truth(&self, result: &Collection<'e>) -> Result<Option<bool>, EvalError> {
        self.boolean(result.items(), Place::Text("the result"), 0)
    }

    pub(super) fn shown_type(&self, item: &Item<'e>) -> String {
        self.type_name(item).into_owned()
    }

    pub(super) fn system_value(&self, item: &Item<'e>) -> Option<Value<'e>> {
        self.value(item)
    }

    fn schema(&self) -> Option<&'e Schema> {
        self.ctx.schema
    }

    /// Counts work done; an error once the limit is passed.
    fn charge(&self, units: usize, at: u32) -> Result<(), EvalError> {
        let work = self.work.get().saturating_add(units as u64);
        self.work.set(work);
        if work > self.ctx.limits.work {
            return Err(EvalError::new(EvalErrorKind::Limit, "the evaluation exceeds its limit of work", at));
        }
        Ok(())
    }

    /// Checks the length of a text before it is made.
    fn check_text(&self, length: usize, at: u32) -> Result<(), EvalError> {
        if length > self.ctx.limits.text {
            return Err(EvalError::new(
                EvalErrorKind::Limit,
                "a computed text exceeds the limit of size",
                at,
            ));
        }
        self.charge(length / 16, at)
    }

    /// Evaluates an operand or argument: variables it defines end with it.
    fn eval_scoped(&self, expr: &'e Expr, env: Env<'_, 'e>) -> Evaluated<'e> {
        let mark = self.defined.borrow().len();
        let result = self.eval(expr, env);
        if self.defined.borrow().len() > mark {
            self.defined.borrow_mut().truncate(mark);
        }
        result
    }

    fn eval(&self, expr: &'e Expr, env: Env<'_, 'e>) -> Evaluated<'e> {
        self.charge(1, expr.at)?;
        match &expr.kind {
            ExprKind::Empty => Ok(Collection::new()),
            ExprKind::Literal(value) => Ok(Collection::one(borrowed(value))),
            ExprKind::This => Ok(env.this.iter().cloned().collect()),
            ExprKind::Index => match env.index {
                Some(index) => Ok(Collection::one(index)),
                None => Err(EvalError::new(EvalErrorKind::Unknown, "`$index` is not set here", expr.at)),
            },
            ExprKind::Total => match env.total {
                Some(total) => Ok(total.clone()),
                None => Err(EvalError::new(
                    EvalErrorKind::Unknown,
                    "`$total` is only set inside `aggregate`",
                    expr.at,
                )),
            },
            ExprKind::Variable(name) => self.variable(name, expr.at),
            ExprKind::Child { input, step } => match input {
                Some(input) => {
                    let input = self.eval(input, env)?;
                    self.step(input.items(), step, expr.at)
                }
                None => self.first_step(env.this, step, expr.at),
            },
            ExprKind::Call { input, function, args, pattern } => {
                if let Some(result) = self.existence_of_path(input.as_deref(), *function, args, env)? {
                    return Ok(result);
                }
                let evaluated;
                let input = match input {
                    Some(input) => {
                        evaluated = self.eval(input, env)?;
                        evaluated.items()
                    }
                    None => env.this,
                };
                let call = Call { function: *function, args, pattern: pattern.as_ref(), at: expr.at };
                self.call(input, &call, env)
            }
            ExprKind::Indexer { input, index } => {
                let items = self.eval(input, env)?;
                let index = self.eval_scoped(index, env)?;
                let Some(index) = self.integer(&index, Place::Text("the index"), expr.at)? else {
                    return Ok(Collection::new());
                };
                let item = usize::try_from(index).ok().and_then(|i| items.items().get(i).cloned());
                Ok(item.map_or_else(Collection::new, Collection::one))
            }
            ExprKind::Polarity { negative, operand } => {
                let operand = self.eval(operand, env)?;
                self.polarity(&operand, *negative, expr.at)
            }
            ExprKind::Binary { op, left, right } => self.binary(*op, left, right, env, expr.at),
            ExprKind::Type { op, input, specifier } => {
                self.type_operation(*op, input.as_deref(), specifier, env, expr.at)
            }
            ExprKind::Sort { input, keys } => match input {
                Some(input) => {
                    let input = self.eval(input, env)?;
                    self.sort(input.items(), keys, expr.at)
                }
                None => self.sort(env.this, keys, expr.at),
            },
        }
    }

    /// `path.exists()`, `path.empty()` and the like without building the collection's last step.
    fn existence_of_path(
        &self,
        input: Option<&'e Expr>,
        function: Function,
        args: &'e [Expr],
        env: Env<'_, 'e>,
    ) -> Result<Option<Collection<'e>>, EvalError> {
        let wanted = match function {
            Function::Exists if args.is_empty() => true,
            Function::Empty => false,
            _ => return Ok(None),
        };
        let Some(Expr { kind: ExprKind::Child { input, step }, at, .. }) = input else {
            return Ok(None);
        };
        if step.may_be_type {
            return Ok(None);
        }
        let evaluated;
        let parents = match input {
            Some(input) => {
                evaluated = self.eval(input, env)?;
                evaluated.items()
            }
            None => env.this,
        };
        self.charge(parents.len(), *at)?;
        let mut found = false;
        for parent in parents {
            if let Item::Element(element) = parent {
                found |= self.has_child(element, &step.name);
            } else {
                return Ok(None);
            }
        }
        Ok(Some(Collection::one(found == wanted)))
    }

    fn variable(&self, name: &str, at: u32) -> Evaluated<'e> {
        if let Some((_, value)) = self.defined.borrow().iter().rev().find(|(n, _)| &**n == name) {
            return Ok(value.clone());
        }
        if let Some((_, value)) = self.ctx.variables.iter().find(|(n, _)| *n == name) {
            return Ok(value.clone());
        }
        let element = |e: Option<Element>| e.map_or_else(Collection::new, Collection::one);
        // FHIR R4 fhirpath.html#variables.
        Ok(match name {
            "context" => self.ctx.focus.clone(),
            "resource" => element(self.ctx.resource),
            "rootResource" => element(self.ctx.root),
            "ucum" => Collection::one("http://unitsofmeasure.org"),
            "sct" => Collection::one("http://snomed.info/sct"),
            "loinc" => Collection::one("http://loinc.org"),
            _ => {
                let url = if let Some(id) = name.strip_prefix("vs-") {
                    format!("http://hl7.org/fhir/ValueSet/{id}")
                } else if let Some(id) = name.strip_prefix("ext-") {
                    format!("http://hl7.org/fhir/StructureDefinition/{id}")
                } else {
                    let message = format!("there is no variable `%{name}`");
                    return Err(EvalError::new(EvalErrorKind::Unknown, message, at));
                };
                Collection::one(url)
            }
        })
    }

    fn call(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        use Function as F;
        match call.function {
            F::Exists
            | F::All
            | F::Where
            | F::Select
            | F::Repeat
            | F::RepeatAll
            | F::Iif
            | F::Trace
            | F::Aggregate
            | F::DefineVariable
            | F::Coalesce => self.scoped(input, call, env),
            F::Empty
            | F::AllTrue
            | F::AnyTrue
            | F::AllFalse
            | F::AnyFalse
            | F::SubsetOf
            | F::SupersetOf
            | F::Count
            | F::Distinct
            | F::IsDistinct
            | F::Single
            | F::First
            | F::Last
            | F::Tail
            | F::Skip
            | F::Take
            | F::Intersect
            | F::Exclude
            | F::Union
            | F::Combine
            | F::Not
            | F::Children
            | F::Descendants => self.collection_function(input, call, env),
            F::ToBoolean
            | F::ConvertsToBoolean
            | F::ToInteger
            | F::ConvertsToInteger
            | F::ToLong
            | F::ConvertsToLong
            | F::ToDate
            | F::ConvertsToDate
            | F::ToDateTime
            | F::ConvertsToDateTime
            | F::ToTime
            | F::ConvertsToTime
            | F::ToDecimal
            | F::ConvertsToDecimal
            | F::ToQuantity
            | F::ConvertsToQuantity
            | F::ToString
            | F::ConvertsToString => self.conversion(input, call, env),
            F::IndexOf
            | F::LastIndexOf
            | F::Substring
            | F::StartsWith
            | F::EndsWith
            | F::Contains
            | F::Upper
            | F::Lower
            | F::Replace
            | F::Length
            | F::ToChars
            | F::Encode
            | F::Decode
            | F::Escape
            | F::Unescape
            | F::Trim
            | F::Split
            | F::Join => self.text_function(input, call, env),
            F::Matches | F::MatchesFull | F::ReplaceMatches => self.pattern_function(input, call, env),
            F::Abs
            | F::Ceiling
            | F::Exp
            | F::Floor
            | F::Ln
            | F::Log
            | F::Power
            | F::Round
            | F::Sqrt
            | F::Truncate
            | F::Sum
            | F::Min
            | F::Max
            | F::Avg => self.math_function(input, call, env),
            F::Now
            | F::TimeOfDay
            | F::Today
            | F::LowBoundary
            | F::HighBoundary
            | F::Precision
            | F::Comparable
            | F::YearOf
            | F::MonthOf
            | F::DayOf
            | F::HourOf
            | F::MinuteOf
            | F::SecondOf
            | F::MillisecondOf
            | F::TimezoneOffsetOf
            | F::DateOf
            | F::TimeOf
            | F::Duration
            | F::Difference => self.date_function(input, call, env),
            F::Type
            | F::Extension
            | F::HasExtension
            | F::HasValue
            | F::GetValue
            | F::Resolve
            | F::ConformsTo
            | F::MemberOf
            | F::Subsumes
            | F::SubsumedBy
            | F::ElementDefinition
            | F::Slice
            | F::CheckModifiers
            | F::HtmlChecks
            | F::GetResourceKey
            | F::GetReferenceKey => self.fhir_function(input, call, env),
        }
    }

    /// The argument at `n`, evaluated on `$this`; empty if not given.
    fn arg(&self, call: &Call<'_, 'e>, n: usize, env: Env<'_, 'e>) -> Evaluated<'e> {
        match call.args.get(n) {
            Some(arg) => self.eval_scoped(arg, env),
            None => Ok(Collection::new()),
        }
    }

    /// The only item, none, or an error if there are more.
    fn single<'i>(
        &self,
        items: &'i [Item<'e>],
        what: Place<'_>,
        at: u32,
    ) -> Result<Option<&'i Item<'e>>, EvalError> {
        match items {
            [] => Ok(None),
            [item] => Ok(Some(item)),
            _ => {
                let message = format!("{what} must be one item, not {}", items.len());
                Err(EvalError::new(EvalErrorKind::NotSingle, message, at))
            }
        }
    }

    fn wrong_type(&self, what: Place<'_>, wanted: &str, item: &Item<'e>, at: u32) -> EvalError {
        let message = format!("{what} must be {wanted}, not {}", self.type_name(item));
        EvalError::new(EvalErrorKind::WrongType, message, at)
    }

    /// The collection as a Boolean by singleton evaluation: a single item of another type counts
    /// as `true` (FHIRPath N1 "Singleton Evaluation of Collections"). Several elements are an error,
    /// but in constraints: authors write `telecom or endpoint` (US Core, pd-1) of elements that repeat.
    fn boolean(&self, items: &[Item<'e>], what: Place<'_>, at: u32) -> Result<Option<bool>, EvalError> {
        let flag = |item: &Item<'e>| matches!(self.value(item), Some(Value::Boolean(_)));
        if self.lenient && items.len() > 1 && !items.iter().any(flag) {
            return Ok(Some(true));
        }
        let Some(item) = self.single(items, what, at)? else { return Ok(None) };
        Ok(Some(match self.value(item) {
            Some(Value::Boolean(b)) => b,
            _ => true,
        }))
    }

    fn integer(&self, items: &Collection<'e>, what: Place<'_>, at: u32) -> Result<Option<i64>, EvalError> {
        let Some(item) = self.single(items.items(), what, at)? else { return Ok(None) };
        match self.value(item) {
            Some(Value::Integer(n)) => Ok(Some(i64::from(n))),
            Some(Value::Long(n)) => Ok(Some(n)),
            _ => Err(self.wrong_type(what, "an Integer", item, at)),
        }
    }

    fn string(
        &self,
        items: &[Item<'e>],
        what: Place<'_>,
        at: u32,
    ) -> Result<Option<Cow<'e, str>>, EvalError> {
        let Some(item) = self.single(items, what, at)? else { return Ok(None) };
        match self.text_value(item) {
            Some(text) => Ok(Some(text)),
            None if self.is_valueless(item) => Ok(None),
            None => Err(self.wrong_type(what, "a String", item, at)),
        }
    }

    fn string_arg(
        &self,
        call: &Call<'_, 'e>,
        n: usize,
        env: Env<'_, 'e>,
    ) -> Result<Option<Cow<'e, str>>, EvalError> {
        let arg = self.arg(call, n, env)?;
        self.string(arg.items(), Place::Argument(call.function), call.at)
    }

    fn integer_arg(&self, call: &Call<'_, 'e>, n: usize, env: Env<'_, 'e>) -> Result<Option<i64>, EvalError> {
        let arg = self.arg(call, n, env)?;
        self.integer(&arg, Place::Argument(call.function), call.at)
    }
}

/// A function call under way.
struct Call<'x, 'e> {
    function: Function,
    args: &'e [Expr],
    pattern: Option<&'x regex::Regex>,
    at: u32,
}

impl Call<'_, '_> {
    fn input(&self) -> Place<'static> {
        Place::Input(self.function)
    }
}

/// Where a rule on an item applies; becomes text only when it is broken.
#[derive(Clone, Copy)]
enum Place<'w> {
    Input(Function),
    Argument(Function),
    Criterion(Function),
    Left(BinaryOp),
    Right(BinaryOp),
    Sought(&'w str),
    Text(&'w str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Input(function) => write!(f, "the input of `{}`", function.name()),
            Place::Argument(function) => write!(f, "the argument of `{}`", function.name()),
            Place::Criterion(function) => write!(f, "the criterion of `{}`", function.name()),
            Place::Left(op) => write!(f, "the left side of `{}`", op.symbol()),
            Place::Right(op) => write!(f, "the right side of `{}`", op.symbol()),
            Place::Sought(op) => write!(f, "the item sought by `{op}`"),
            Place::Text(text) => f.write_str(text),
        }
    }
}

/// A literal without copying its text.
fn borrowed<'e>(value: &'e Value<'static>) -> Value<'e> {
    match value {
        Value::String(text) => Value::String(Cow::Borrowed(text)),
        other => other.clone(),
    }
}

fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
