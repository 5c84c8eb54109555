//! Values of answers, options and conditions.

use std::cmp::Ordering;

use crate::fhirpath::{Decimal, Quantity, Temporal, Unit};
use crate::schema::text_of;
use crate::search::DateRange;
use crate::tape::Cursor;

pub(super) const UCUM: &str = "http://unitsofmeasure.org";

/// What identifies a value among the options of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// `Coding`, `integer`, …
    pub ty: String,
    /// Of a Coding.
    pub system: String,
    /// The code of a Coding; else the value as it is written.
    pub code: String,
}

/// The value of an answer, condition or option, and its FHIR type.
#[derive(Clone, Copy)]
pub(super) struct Typed<'t, 'a> {
    pub node: Cursor<'t, 'a>,
    /// `Coding` of `valueCoding`, `boolean` of `valueBoolean`.
    pub ty: &'static str,
}

/// The types an answer may have
/// (<https://hl7.org/fhir/R4/questionnaireresponse-definitions.html#QuestionnaireResponse.item.answer.value_x_>).
const TYPES: &[(&str, &str)] = &[
    ("Boolean", "boolean"),
    ("Decimal", "decimal"),
    ("Integer", "integer"),
    ("Date", "date"),
    ("DateTime", "dateTime"),
    ("Time", "time"),
    ("String", "string"),
    ("Uri", "uri"),
    ("Attachment", "Attachment"),
    ("Coding", "Coding"),
    ("Quantity", "Quantity"),
    ("Reference", "Reference"),
];

/// The member of `node` whose name is `stem` and a type: `valueCoding`, `answerBoolean`.
pub(super) fn typed<'t, 'a>(node: Cursor<'t, 'a>, stem: &str) -> Option<Typed<'t, 'a>> {
    node.children().find_map(|child| {
        let suffix = child.raw_key()?.strip_prefix(stem)?;
        let (_, ty) = TYPES.iter().find(|(name, _)| *name == suffix)?;
        Some(Typed { node: child, ty })
    })
}

impl Typed<'_, '_> {
    pub(super) fn key(&self) -> Key {
        let ty = self.ty.to_owned();
        match self.ty {
            "Coding" => Key { ty, system: text_of(self.node, "system"), code: text_of(self.node, "code") },
            "Reference" => Key { ty, system: String::new(), code: text_of(self.node, "reference") },
            _ => Key { ty, system: String::new(), code: self.text() },
        }
    }

    /// A primitive as it is written.
    pub(super) fn text(&self) -> String {
        self.node.as_str().map_or_else(|| self.node.token().to_owned(), |s| s.into_owned())
    }
}

/// A value with an order, kept apart from its document.
#[derive(Clone, Debug)]
pub(super) enum Ordered {
    Number(Decimal),
    /// Start of what a date of limited precision may mean, in milliseconds.
    Instant(i64),
    Time(Temporal),
    Amount(Amount),
}

/// A Quantity.
#[derive(Clone, Debug)]
pub(super) struct Amount {
    pub value: Decimal,
    /// Empty: not coded.
    pub system: String,
    pub code: String,
}

impl Amount {
    pub(super) fn of(node: Cursor<'_, '_>) -> Option<Amount> {
        Some(Amount {
            value: Decimal::parse(node.get("value").and_then(Cursor::number)?)?,
            system: text_of(node, "system"),
            code: text_of(node, "code"),
        })
    }

    /// `None` if the units are not coded in UCUM, or not commensurable.
    pub(super) fn compare(&self, other: &Amount) -> Option<Ordering> {
        if self.code.is_empty() || self.system != other.system {
            return None;
        }
        if self.code == other.code {
            return Some(self.value.cmp(&other.value));
        }
        if self.system != UCUM {
            return None;
        }
        self.quantity().compare(&other.quantity())
    }

    fn quantity(&self) -> Quantity {
        Quantity { value: self.value, unit: Unit::Code(self.code.as_str().into()) }
    }
}

impl Ordered {
    pub(super) fn of(value: Typed<'_, '_>) -> Option<Ordered> {
        match value.ty {
            "decimal" | "integer" => Decimal::parse(value.node.number()?).map(Ordered::Number),
            "date" | "dateTime" => {
                DateRange::parse(&value.node.as_str()?).map(|range| Ordered::Instant(range.start))
            }
            "time" => Temporal::parse_time(&value.node.as_str()?).map(Ordered::Time),
            "Quantity" => Amount::of(value.node).map(Ordered::Amount),
            _ => None,
        }
    }

    /// `None` if the two have no order.
    pub(super) fn compare(&self, other: &Ordered) -> Option<Ordering> {
        match (self, other) {
            (Ordered::Number(a), Ordered::Number(b)) => Some(a.cmp(b)),
            (Ordered::Instant(a), Ordered::Instant(b)) => Some(a.cmp(b)),
            (Ordered::Time(a), Ordered::Time(b)) => a.compare(b),
            (Ordered::Amount(a), Ordered::Amount(b)) => a.compare(b),
            _ => None,
        }
    }
}
