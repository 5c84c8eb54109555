//! Items: elements of a tape, and computed values of the System types.

use std::borrow::Cow;

use super::decimal::Decimal;
use super::quantity::Quantity;
use super::temporal::{Temporal, TemporalKind};
use crate::schema::TypeId;
use crate::tape::NodeId;

/// An element of the record: ids into the tape, copied freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The JSON value; `None` for a primitive that has only an `_` companion.
    pub node: Option<NodeId>,
    /// The JSON object under the `_` companion of a primitive: its id and extensions.
    pub companion: Option<NodeId>,
    /// The FHIR type; `None` if evaluated without schema or where the schema knows no such element.
    pub ty: Option<TypeId>,
}

/// A computed value or literal.
#[derive(Clone, Debug)]
pub enum Value<'e> {
    /// `System.Boolean`
    Boolean(bool),
    /// `System.Integer`
    Integer(i32),
    /// `System.Long` (FHIRPath 3.0)
    Long(i64),
    /// `System.Decimal`
    Decimal(Decimal),
    /// `System.String`
    String(Cow<'e, str>),
    /// `System.Date`, `System.DateTime` or `System.Time`
    Temporal(Temporal),
    /// `System.Quantity`
    Quantity(Box<Quantity>),
    /// What `type()` yields.
    Type(Box<TypeInfo>),
}

/// `SimpleTypeInfo` of FHIRPath's reflection: a namespace and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// `System` or `FHIR`
    pub namespace: &'static str,
    /// Such as `Boolean` or `Patient`.
    pub name: Box<str>,
}

/// One member of a collection.
#[derive(Clone, Debug)]
pub enum Item<'e> {
    /// An element of the record.
    Element(Element),
    /// A computed value.
    Value(Value<'e>),
}

impl<'e> Value<'e> {
    /// The name of the System type.
    pub fn system_type(&self) -> &'static str {
        match self {
            Value::Boolean(_) => "Boolean",
            Value::Integer(_) => "Integer",
            Value::Long(_) => "Long",
            Value::Decimal(_) => "Decimal",
            Value::String(_) => "String",
            Value::Temporal(t) => match t.kind() {
                TemporalKind::Date => "Date",
                TemporalKind::DateTime => "DateTime",
                TemporalKind::Time => "Time",
            },
            Value::Quantity(_) => "Quantity",
            Value::Type(_) => "SimpleTypeInfo",
        }
    }

    /// The FHIR type of the same meaning, as the HL7 suite names results.
    pub fn fhir_type(&self) -> &'static str {
        match self {
            Value::Boolean(_) => "boolean",
            Value::Integer(_) => "integer",
            Value::Long(_) => "integer64",
            Value::Decimal(_) => "decimal",
            Value::String(_) => "string",
            Value::Temporal(t) => match t.kind() {
                TemporalKind::Date => "date",
                TemporalKind::DateTime => "dateTime",
                TemporalKind::Time => "time",
            },
            Value::Quantity(_) => "Quantity",
            Value::Type(_) => "SimpleTypeInfo",
        }
    }

    /// The value as text (FHIRPath `toString()`); `None` for a type.
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Value::Boolean(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
            Value::Integer(n) => Cow::Owned(n.to_string()),
            Value::Long(n) => Cow::Owned(n.to_string()),
            Value::Decimal(d) => Cow::Owned(d.to_string()),
            Value::String(s) => Cow::Borrowed(s),
            Value::Temporal(t) => Cow::Owned(t.to_string()),
            Value::Quantity(q) => Cow::Owned(q.to_string()),
            Value::Type(_) => return None,
        })
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<Decimal> {
        match self {
            Value::Integer(n) => Some(Decimal::from(i64::from(*n))),
            Value::Long(n) => Some(Decimal::from(*n)),
            Value::Decimal(d) => Some(*d),
            _ => None,
        }
    }

    /// The value as JSON text: numbers with their digits, everything else but booleans a string.
    pub(crate) fn to_json(&self) -> String {
        match self {
            Value::Boolean(_) | Value::Integer(_) | Value::Long(_) | Value::Decimal(_) => {
                self.to_text().unwrap_or_default().into_owned()
            }
            Value::Type(t) => json_string(&format!("{}.{}", t.namespace, t.name)),
            _ => json_string(&self.to_text().unwrap_or_default()),
        }
    }
}

/// `text` as a JSON string.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

impl<'e> From<Value<'e>> for Item<'e> {
    fn from(value: Value<'e>) -> Self {
        Item::Value(value)
    }
}

impl From<Element> for Item<'_> {
    fn from(element: Element) -> Self {
        Item::Element(element)
    }
}

impl From<bool> for Item<'_> {
    fn from(value: bool) -> Self {
        Item::Value(Value::Boolean(value))
    }
}

impl From<i32> for Item<'_> {
    fn from(value: i32) -> Self {
        Item::Value(Value::Integer(value))
    }
}

impl From<Decimal> for Item<'_> {
    fn from(value: Decimal) -> Self {
        Item::Value(Value::Decimal(value))
    }
}

impl From<Temporal> for Item<'_> {
    fn from(value: Temporal) -> Self {
        Item::Value(Value::Temporal(value))
    }
}

impl From<Quantity> for Item<'_> {
    fn from(value: Quantity) -> Self {
        Item::Value(Value::Quantity(Box::new(value)))
    }
}

impl From<String> for Item<'_> {
    fn from(value: String) -> Self {
        Item::Value(Value::String(Cow::Owned(value)))
    }
}

impl<'e> From<Cow<'e, str>> for Item<'e> {
    fn from(value: Cow<'e, str>) -> Self {
        Item::Value(Value::String(value))
    }
}

impl<'e> From<&'e str> for Item<'e> {
    fn from(value: &'e str) -> Self {
        Item::Value(Value::String(Cow::Borrowed(value)))
    }
}
