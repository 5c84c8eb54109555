//! `enableWhen` (<https://hl7.org/fhir/R4/questionnaire-definitions.html#Questionnaire.item.enableWhen>).

use std::cmp::Ordering;

use super::value::{Key, Ordered, Typed, typed};
use crate::schema::text_of;
use crate::tape::Cursor;

/// <https://hl7.org/fhir/R4/valueset-questionnaire-enable-operator.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

/// One condition on the answers to another question.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// Link id.
    pub question: String,
    operator: Operator,
    key: Key,
    ordered: Option<Ordered>,
}

impl Condition {
    /// `None` if it is malformed: then it restricts nothing.
    pub(super) fn of(node: Cursor<'_, '_>) -> Option<Condition> {
        let operator = match text_of(node, "operator").as_str() {
            "exists" => Operator::Exists,
            "=" => Operator::Equal,
            "!=" => Operator::NotEqual,
            ">" => Operator::Greater,
            "<" => Operator::Less,
            ">=" => Operator::GreaterOrEqual,
            "<=" => Operator::LessOrEqual,
            _ => return None,
        };
        let answer = typed(node, "answer")?;
        Some(Condition {
            question: text_of(node, "question"),
            operator,
            key: answer.key(),
            ordered: Ordered::of(answer),
        })
    }

    /// It asks whether there is an answer; with the answer it wants.
    pub(super) fn exists(&self) -> Option<bool> {
        (self.operator == Operator::Exists).then_some(self.key.code == "true")
    }

    /// Whether one answer satisfies it. An answer of another type does not.
    pub(super) fn holds(&self, answer: Typed<'_, '_>) -> bool {
        let equal = || match (&self.ordered, Ordered::of(answer)) {
            (Some(wanted), Some(given)) => given.compare(wanted) == Some(Ordering::Equal),
            _ => self.same_code(answer),
        };
        let order = || self.ordered.as_ref().and_then(|wanted| Ordered::of(answer)?.compare(wanted));
        match self.operator {
            Operator::Exists => self.key.code == "true",
            Operator::Equal => equal(),
            Operator::NotEqual => !equal(),
            Operator::Greater => order() == Some(Ordering::Greater),
            Operator::Less => order() == Some(Ordering::Less),
            Operator::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
            Operator::LessOrEqual => order().is_some_and(Ordering::is_le),
        }
    }

    /// A system that only one of two codings names does not tell them apart.
    fn same_code(&self, answer: Typed<'_, '_>) -> bool {
        let given = answer.key();
        let systems = given.system == self.key.system
            || (given.ty == "Coding" && (given.system.is_empty() || self.key.system.is_empty()));
        given.ty == self.key.ty && given.code == self.key.code && systems
    }
}
