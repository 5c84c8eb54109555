//! `=`, `~` and order.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::{Collection, Evaluator, Item, Value};
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::value::{Decimal, Temporal};
use crate::tape::{Cursor, Kind};

/// Deepest structure that is compared; the tape's own limit is lower by default.
const MAX_DEPTH: usize = 256;

impl<'x, 'e> Evaluator<'x, 'e> {
    /// Collections by `=`: item by item in order; `None` is empty.
    pub(super) fn collections_equal(
        &self,
        left: &[Item<'e>],
        right: &[Item<'e>],
        at: u32,
    ) -> Result<Option<bool>, EvalError> {
        if left.is_empty() || right.is_empty() {
            return Ok(None);
        }
        if left.len() != right.len() {
            return Ok(Some(false));
        }
        let mut all = Some(true);
        for (l, r) in left.iter().zip(right) {
            match self.equal(l, r, at)? {
                Some(true) => {}
                Some(false) => return Ok(Some(false)),
                None => all = None,
            }
        }
        Ok(all)
    }

    /// Collections by `~`: the same items in any order.
    pub(super) fn collections_equivalent(
        &self,
        left: &[Item<'e>],
        right: &[Item<'e>],
        at: u32,
    ) -> Result<bool, EvalError> {
        if left.len() != right.len() {
            return Ok(false);
        }
        let mut open: Vec<&Item<'e>> = right.iter().collect();
        for l in left {
            let mut found = None;
            for (i, r) in open.iter().enumerate() {
                if self.equivalent(l, r, at)? {
                    found = Some(i);
                    break;
                }
            }
            match found {
                Some(i) => {
                    open.swap_remove(i);
                }
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// `left = right` for single items; `None` where precision, zone or unit leave it open.
    pub(super) fn equal(
        &self,
        left: &Item<'e>,
        right: &Item<'e>,
        at: u32,
    ) -> Result<Option<bool>, EvalError> {
        self.charge(1, at)?;
        if let (Item::Element(l), Item::Element(r)) = (left, right)
            && l == r
        {
            return Ok(Some(true));
        }
        if let (Some(l), Some(r)) = (self.text_or_none(left), self.text_or_none(right)) {
            return Ok(Some(l == r));
        }
        match (self.value(left), self.value(right)) {
            (Some(l), Some(r)) => Ok(self.values_equal(&l, &r)),
            _ => {
                if let (Some(l), Some(r)) = (self.quantity(left), self.quantity(right)) {
                    return Ok(l.equal(&r));
                }
                let (Item::Element(l), Item::Element(r)) = (left, right) else { return Ok(Some(false)) };
                let cursor = |e: &super::Element| e.node.or(e.companion).and_then(|n| self.cursor(n));
                match (cursor(l), cursor(r)) {
                    (Some(a), Some(b)) => self.same_json(a, b, false, 0, at).map(Some),
                    _ => Ok(Some(false)),
                }
            }
        }
    }

    /// Text of two items whose comparison needs nothing but text: spares parsing.
    fn text_or_none(&self, item: &Item<'e>) -> Option<std::borrow::Cow<'e, str>> {
        match item {
            Item::Value(Value::String(text)) => Some(text.clone()),
            Item::Value(_) => None,
            Item::Element(element) => match self.element_value(element)? {
                Value::String(text) => Some(text),
                _ => None,
            },
        }
    }

    fn values_equal(&self, left: &Value<'e>, right: &Value<'e>) -> Option<bool> {
        match (left, right) {
            (Value::Boolean(l), Value::Boolean(r)) => Some(l == r),
            (Value::String(l), Value::String(r)) => Some(l == r),
            (Value::Type(l), Value::Type(r)) => Some(l == r),
            (Value::Quantity(l), Value::Quantity(r)) => l.equal(r),
            (Value::Quantity(l), other) | (other, Value::Quantity(l)) => match other.number() {
                Some(n) => l.equal(&super::super::value::Quantity::unity(n)),
                None => Some(false),
            },
            _ => {
                if let (Some(l), Some(r)) = (left.number(), right.number()) {
                    return Some(l == r);
                }
                match self.temporals(left, right) {
                    Some((l, r)) if (l.kind() == TIME) != (r.kind() == TIME) => Some(false),
                    Some((l, r)) => l.compare(&r).map(|o| o == Ordering::Equal),
                    None => Some(false),
                }
            }
        }
    }

    /// Two temporal values. Without schema a date of the record is text: then the other side tells
    /// how to read it.
    fn temporals(&self, left: &Value<'e>, right: &Value<'e>) -> Option<(Temporal, Temporal)> {
        let read = |text: &str, like: &Temporal| match like.kind() {
            TIME => Temporal::parse_time(text),
            _ => Temporal::parse_date(text).or_else(|| Temporal::parse_date_time(text)),
        };
        match (left, right) {
            (Value::Temporal(l), Value::Temporal(r)) => Some((*l, *r)),
            (Value::Temporal(l), Value::String(r)) if self.schema().is_none() => Some((*l, read(r, l)?)),
            (Value::String(l), Value::Temporal(r)) if self.schema().is_none() => Some((read(l, r)?, *r)),
            _ => None,
        }
    }

    pub(super) fn equivalent(&self, left: &Item<'e>, right: &Item<'e>, at: u32) -> Result<bool, EvalError> {
        self.charge(1, at)?;
        if let (Item::Element(l), Item::Element(r)) = (left, right)
            && l == r
        {
            return Ok(true);
        }
        match (self.value(left), self.value(right)) {
            (Some(Value::String(l)), Some(Value::String(r))) => Ok(same_text(&l, &r)),
            (Some(l), Some(r)) => {
                if let (Some(l), Some(r)) = (l.number(), r.number()) {
                    return Ok(l.equivalent(r));
                }
                if let (Some(l), Some(r)) = (self.quantity(left), self.quantity(right)) {
                    return Ok(l.equivalent(&r) == Some(true));
                }
                Ok(self.values_equal(&l, &r) == Some(true))
            }
            _ => {
                if let (Some(l), Some(r)) = (self.quantity(left), self.quantity(right)) {
                    return Ok(l.equivalent(&r) == Some(true));
                }
                let (Item::Element(l), Item::Element(r)) = (left, right) else { return Ok(false) };
                let cursor = |e: &super::Element| e.node.or(e.companion).and_then(|n| self.cursor(n));
                match (cursor(l), cursor(r)) {
                    (Some(a), Some(b)) => self.same_json(a, b, true, 0, at),
                    _ => Ok(false),
                }
            }
        }
    }

    /// Whether two JSON values have the same members and items; `loose` compares by `~`.
    fn same_json(
        &self,
        a: Cursor<'e, 'e>,
        b: Cursor<'e, 'e>,
        loose: bool,
        depth: usize,
        at: u32,
    ) -> Result<bool, EvalError> {
        self.charge(1, at)?;
        if depth > MAX_DEPTH {
            return Err(EvalError::new(EvalErrorKind::Limit, "a structure is too deep to compare", at));
        }
        if a == b {
            return Ok(true);
        }
        if a.kind() != b.kind() {
            return Ok(false);
        }
        match a.kind() {
            Kind::Object => {
                let mut members = 0;
                for c in a.children() {
                    members += 1;
                    let key = c.key().unwrap_or_default();
                    self.charge(4, at)?;
                    match b.get(&key) {
                        Some(d) if self.same_json(c, d, loose, depth + 1, at)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(members == b.count())
            }
            Kind::Array if loose => {
                let mut open: Vec<_> = b.children().collect();
                for c in a.children() {
                    let mut found = None;
                    for (i, d) in open.iter().enumerate() {
                        if self.same_json(c, *d, loose, depth + 1, at)? {
                            found = Some(i);
                            break;
                        }
                    }
                    match found {
                        Some(i) => {
                            open.swap_remove(i);
                        }
                        None => return Ok(false),
                    }
                }
                Ok(open.is_empty())
            }
            Kind::Array => {
                let (mut left, mut right) = (a.children(), b.children());
                loop {
                    match (left.next(), right.next()) {
                        (None, None) => return Ok(true),
                        (Some(c), Some(d)) if self.same_json(c, d, loose, depth + 1, at)? => {}
                        _ => return Ok(false),
                    }
                }
            }
            Kind::String => {
                let (l, r) = (a.as_str().unwrap_or_default(), b.as_str().unwrap_or_default());
                Ok(if loose { same_text(&l, &r) } else { l == r })
            }
            Kind::Number => Ok(match (Decimal::parse(a.token()), Decimal::parse(b.token())) {
                (Some(l), Some(r)) if loose => l.equivalent(r),
                (Some(l), Some(r)) => l == r,
                _ => a.token() == b.token(),
            }),
            Kind::True | Kind::False | Kind::Null => Ok(true),
        }
    }

    /// Order of two items; the inner `None` is empty. An error if the types have no common order.
    pub(super) fn order(
        &self,
        left: &Item<'e>,
        right: &Item<'e>,
        what: &str,
        at: u32,
    ) -> Result<Option<Ordering>, EvalError> {
        self.charge(1, at)?;
        if let (Some(l), Some(r)) = (self.value(left), self.value(right)) {
            if let (Some(l), Some(r)) = (l.number(), r.number()) {
                return Ok(Some(l.cmp(&r)));
            }
            if let (Value::String(l), Value::String(r)) = (&l, &r) {
                return Ok(Some(l.cmp(r)));
            }
            if let Some((l, r)) = self.temporals(&l, &r)
                && (l.kind() == TIME) == (r.kind() == TIME)
            {
                return Ok(l.compare(&r));
            }
        }
        if let (Some(l), Some(r)) = (self.quantity(left), self.quantity(right)) {
            return Ok(l.compare(&r));
        }
        let message =
            format!("`{what}` has no order for {} and {}", self.type_name(left), self.type_name(right));
        Err(EvalError::new(EvalErrorKind::WrongType, message, at))
    }

    /// Whether `item` equals one of `items`.
    pub(super) fn is_member(&self, item: &Item<'e>, items: &[Item<'e>], at: u32) -> Result<bool, EvalError> {
        for other in items {
            if self.equal(item, other, at)? == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The items without later equals.
    pub(super) fn distinct(
        &self,
        items: impl Iterator<Item = Item<'e>> + Clone,
        at: u32,
    ) -> Result<Collection<'e>, EvalError> {
        // Text is compared by hash; the general case is quadratic.
        let texts: Option<Vec<_>> = items.clone().map(|i| self.text_or_none(&i)).collect();
        if let Some(texts) = texts.filter(|t| t.len() > 8) {
            self.charge(texts.len(), at)?;
            let mut seen = HashSet::with_capacity(texts.len());
            let kept = items.zip(texts).filter(|(_, text)| seen.insert(text.clone())).map(|(item, _)| item);
            return Ok(kept.collect());
        }
        let mut out = Collection::new();
        for item in items {
            if !self.is_member(&item, out.items(), at)? {
                out.push(item);
            }
        }
        Ok(out)
    }
}

const TIME: crate::fhirpath::value::TemporalKind = crate::fhirpath::value::TemporalKind::Time;

/// Equal but for case, and for which white space stands where (FHIRPath "String Equivalence").
fn same_text(a: &str, b: &str) -> bool {
    let fold = |text: &str| -> Vec<char> {
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).flat_map(char::to_lowercase).collect()
    };
    a == b || fold(a) == fold(b)
}
