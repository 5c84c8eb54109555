//! From elements to their children, types and values.

use std::borrow::Cow;

use super::{Collection, Element, Evaluated, Evaluator, Item, Value};
use crate::fhirpath::ast::Step;
use crate::fhirpath::error::EvalError;
use crate::fhirpath::value::{CalendarUnit, Decimal, Quantity, Temporal, TypeInfo, Unit};
use crate::schema::{Primitive, TypeId, TypeKind};
use crate::tape::{Cursor, Kind, NodeId};

const UCUM: &str = "http://unitsofmeasure.org";

/// Types that the name of a choice element may end in (FHIR R4 datatypes.html#open), for
/// evaluation without schema.
const CHOICE_TYPES: [&str; 50] = [
    "Base64Binary",
    "Boolean",
    "Canonical",
    "Code",
    "Date",
    "DateTime",
    "Decimal",
    "Id",
    "Instant",
    "Integer",
    "Markdown",
    "Oid",
    "PositiveInt",
    "String",
    "Time",
    "UnsignedInt",
    "Uri",
    "Url",
    "Uuid",
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "CodeableConcept",
    "Coding",
    "ContactPoint",
    "Count",
    "Distance",
    "Duration",
    "HumanName",
    "Identifier",
    "Money",
    "Period",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "SampledData",
    "Signature",
    "Timing",
    "ContactDetail",
    "Contributor",
    "DataRequirement",
    "Expression",
    "ParameterDefinition",
    "RelatedArtifact",
    "TriggerDefinition",
    "UsageContext",
    "Dosage",
    "Meta",
];

/// One property of an object with its `_` companion.
struct Property<'t, 'a> {
    value: Option<Cursor<'t, 'a>>,
    companion: Option<Cursor<'t, 'a>>,
    ty: Option<TypeId>,
}

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn cursor(&self, node: NodeId) -> Option<Cursor<'e, 'e>> {
        self.ctx.tape.map(|tape| tape.cursor(node))
    }

    /// The JSON objects that hold the children: the value, or the companion of a primitive.
    fn objects(&self, element: &Element) -> impl Iterator<Item = Cursor<'e, 'e>> {
        let tape = self.ctx.tape;
        [element.node, element.companion]
            .into_iter()
            .flatten()
            .filter_map(move |node| tape.map(|t| t.cursor(node)))
            .filter(|c| c.kind() == Kind::Object)
    }

    /// Whether JSON property `bare` (no underscore) of an element of type `parent` holds the member
    /// `name`; with its type if known.
    fn holds(&self, parent: Option<TypeId>, bare: &str, name: &str) -> Option<Option<TypeId>> {
        // The name alone, or the name and a type: `value`, `valueQuantity`.
        let rest = bare.strip_prefix(name)?;
        let exact = rest.is_empty();
        if !exact && !rest.starts_with(|c: char| c.is_ascii_uppercase()) {
            return None;
        }
        match (self.schema(), parent) {
            (Some(schema), Some(parent)) => match schema.member(parent, bare) {
                Some(member) if member.name == name || (exact && self.lenient) => Some(Some(member.ty)),
                Some(_) => None,
                // Not of the model: visible, as the validator reports it elsewhere.
                None => (exact && bare != "resourceType").then_some(None),
            },
            _ if exact => (bare != "resourceType").then_some(None),
            _ => CHOICE_TYPES.contains(&rest).then(|| self.choice_type(rest)),
        }
    }

    /// The type that a choice suffix names: `Quantity`, or `dateTime` for `DateTime`.
    fn choice_type(&self, suffix: &str) -> Option<TypeId> {
        let schema = self.schema()?;
        schema.type_named(suffix).or_else(|| {
            let (head, tail) = suffix.split_at_checked(1)?;
            schema.type_named(&format!("{}{tail}", head.to_ascii_lowercase()))
        })
    }

    pub(super) fn has_child(&self, element: &Element, name: &str) -> bool {
        self.objects(element).any(|object| {
            object.children().any(|c| {
                let key = c.raw_key().unwrap_or_default();
                let bare = key.strip_prefix('_').unwrap_or(key);
                bare.starts_with(name) && self.holds(element.ty, bare, name).is_some()
            })
        })
    }

    /// The children of `element` called `name`.
    pub(super) fn children_named(&self, element: &Element, name: &str, out: &mut Collection<'e>) {
        for object in self.objects(element) {
            let mut property = Property { value: None, companion: None, ty: None };
            for c in object.children() {
                let key = c.raw_key().unwrap_or_default();
                let bare = key.strip_prefix('_').unwrap_or(key);
                if !bare.starts_with(name) {
                    continue;
                }
                if let Some(ty) = self.holds(element.ty, bare, name) {
                    property.ty = ty;
                    if bare.len() < key.len() {
                        property.companion = Some(c);
                    } else {
                        property.value = Some(c);
                    }
                }
            }
            self.emit(&property, out);
        }
    }

    /// All children in the order of the document.
    pub(super) fn all_children(&self, element: &Element, out: &mut Collection<'e>) {
        for object in self.objects(element) {
            // Few objects have companions: then nothing is looked up.
            let paired = object.children().any(|c| c.raw_key().is_some_and(|k| k.starts_with('_')));
            for c in object.children() {
                let Some(key) = c.key() else { continue };
                if key == "resourceType" || key == "fhir_comments" {
                    continue;
                }
                let (value, companion) = match key.strip_prefix('_') {
                    // The pair is emitted with the value, or here if there is none.
                    Some(bare) if object.get(bare).is_some() => continue,
                    Some(_) => (None, Some(c)),
                    None if paired => (Some(c), object.get(&format!("_{key}"))),
                    None => (Some(c), None),
                };
                let bare = key.strip_prefix('_').unwrap_or(&key);
                let ty = match (self.schema(), element.ty) {
                    (Some(schema), Some(parent)) => schema.member(parent, bare).map(|m| m.ty),
                    _ => None,
                };
                self.emit(&Property { value, companion, ty }, out);
            }
        }
    }

    fn emit(&self, property: &Property<'e, 'e>, out: &mut Collection<'e>) {
        let Property { value, companion, ty } = property;
        let is_array = |c: &Option<Cursor<'e, 'e>>| c.is_some_and(|c| c.kind() == Kind::Array);
        if !is_array(value) && !is_array(companion) {
            self.emit_one(*value, *companion, *ty, out);
            return;
        }
        let mut values = value.map(Cursor::children);
        let mut companions = companion.map(Cursor::children);
        loop {
            let v = values.as_mut().and_then(Iterator::next);
            let c = companions.as_mut().and_then(Iterator::next);
            if v.is_none() && c.is_none() {
                return;
            }
            self.emit_one(v, c, *ty, out);
        }
    }

    fn emit_one(
        &self,
        value: Option<Cursor<'e, 'e>>,
        companion: Option<Cursor<'e, 'e>>,
        ty: Option<TypeId>,
        out: &mut Collection<'e>,
    ) {
        let value = value.filter(|c| c.kind() != Kind::Null);
        let companion = companion.filter(|c| c.kind() == Kind::Object);
        if value.is_none() && companion.is_none() {
            return;
        }
        let mut ty = ty;
        if let (Some(schema), Some(value)) = (self.schema(), value)
            && value.kind() == Kind::Object
            && ty.is_none_or(|t| schema.type_kind(t) == Some(TypeKind::Resource))
            && let Some(name) = value.get("resourceType").and_then(Cursor::as_str)
        {
            ty = schema.type_named(&name).or(ty);
        }
        let element = Element { node: value.map(Cursor::id), companion: companion.map(Cursor::id), ty };
        out.push(Item::Element(element));
    }

    /// A member step on every item.
    pub(super) fn step(&self, items: &[Item<'e>], step: &Step, at: u32) -> Evaluated<'e> {
        let mut out = Collection::new();
        for item in items {
            match item {
                Item::Element(element) => self.children_named(element, &step.name, &mut out),
                Item::Value(Value::Type(info)) => match &*step.name {
                    "namespace" => out.push(info.namespace.into()),
                    "name" => out.push(info.name.to_string().into()),
                    _ => {}
                },
                Item::Value(_) => {}
            }
            self.charge(4, at)?;
        }
        self.charge(out.len(), at)?;
        Ok(out)
    }

    /// The first step of a path: the name of the context's type, or a member of it.
    pub(super) fn first_step(
        &self,
        this: &[Item<'e>],
        step: &Step,
        at: u32,
    ) -> Result<Collection<'e>, EvalError> {
        if step.may_be_type && this.iter().any(|item| self.is_named(item, &step.name)) {
            return Ok(this.iter().filter(|item| self.is_named(item, &step.name)).cloned().collect());
        }
        self.step(this, step, at)
    }

    /// Whether a path may start with `name` at this item: its type or a supertype.
    fn is_named(&self, item: &Item<'e>, name: &str) -> bool {
        let Item::Element(element) = item else { return false };
        match (self.schema(), element.ty) {
            (Some(schema), Some(ty)) => schema.type_named(name).is_some_and(|named| schema.is_a(ty, named)),
            _ => {
                let own = self.type_name(item);
                own == name || (matches!(name, "Resource" | "DomainResource") && self.is_resource(element))
            }
        }
    }

    fn is_resource(&self, element: &Element) -> bool {
        element.node.and_then(|n| self.cursor(n)).is_some_and(|c| c.get("resourceType").is_some())
    }

    /// The FHIR type name of an element, or the FHIR name of a System type.
    pub(super) fn type_name(&self, item: &Item<'e>) -> Cow<'e, str> {
        match item {
            Item::Value(value) => Cow::Borrowed(value.fhir_type()),
            Item::Element(element) => self.element_type(element),
        }
    }

    pub(super) fn element_type(&self, element: &Element) -> Cow<'e, str> {
        if let (Some(schema), Some(ty)) = (self.schema(), element.ty) {
            return Cow::Borrowed(public_name(schema, ty));
        }
        let Some(cursor) = element.node.and_then(|n| self.cursor(n)) else {
            return Cow::Borrowed("Element");
        };
        match cursor.kind() {
            Kind::True | Kind::False => Cow::Borrowed("boolean"),
            Kind::Number if is_whole(cursor.token()) => Cow::Borrowed("integer"),
            Kind::Number => Cow::Borrowed("decimal"),
            Kind::String => Cow::Borrowed("string"),
            _ => cursor.get("resourceType").and_then(Cursor::as_str).unwrap_or(Cow::Borrowed("Element")),
        }
    }

    /// What `type()` says.
    pub(super) fn type_info(&self, item: &Item<'e>) -> TypeInfo {
        match item {
            Item::Value(value) => TypeInfo { namespace: "System", name: value.system_type().into() },
            Item::Element(element) => TypeInfo { namespace: "FHIR", name: self.element_type(element).into() },
        }
    }

    /// An element that holds no value and is no complex element: only extensions, or nothing.
    pub(super) fn is_valueless(&self, item: &Item<'e>) -> bool {
        matches!(item, Item::Element(Element { node: None, .. }))
    }

    /// The item as text, if its value is a String. A date or time of the record is none, unless it
    /// was read without schema.
    pub(super) fn text_value(&self, item: &Item<'e>) -> Option<Cow<'e, str>> {
        match item {
            Item::Value(Value::String(text)) => Some(text.clone()),
            Item::Value(_) => None,
            Item::Element(element) => {
                let cursor = self.cursor(element.node?)?;
                // Dates are written as text; string functions see what is written.
                cursor.as_str()
            }
        }
    }

    /// The value of an item as a System type; `None` for complex elements and primitives without
    /// value. FHIR R4 fhirpath.html#types lists which primitive is which System type.
    pub(super) fn value(&self, item: &Item<'e>) -> Option<Value<'e>> {
        match item {
            Item::Value(value) => Some(value.clone()),
            Item::Element(element) => self.element_value(element),
        }
    }

    pub(super) fn element_value(&self, element: &Element) -> Option<Value<'e>> {
        let cursor = self.cursor(element.node?)?;
        match cursor.kind() {
            Kind::True => return Some(Value::Boolean(true)),
            Kind::False => return Some(Value::Boolean(false)),
            Kind::Number | Kind::String => {}
            _ => return None,
        }
        let primitive = match (self.schema(), element.ty) {
            (Some(schema), Some(ty)) => schema.primitive(ty),
            _ => None,
        };
        if cursor.kind() == Kind::Number {
            let text = cursor.token();
            if primitive != Some(Primitive::Decimal)
                && let Ok(n) = text.parse::<i32>()
            {
                return Some(Value::Integer(n));
            }
            return Decimal::parse(text).map(Value::Decimal);
        }
        let text = cursor.as_str()?;
        let temporal = match primitive {
            Some(Primitive::Date) => Temporal::parse_date(&text),
            Some(Primitive::DateTime | Primitive::Instant) => Temporal::parse_date_time(&text),
            Some(Primitive::Time) => Temporal::parse_time(&text),
            _ => None,
        };
        Some(temporal.map_or(Value::String(text), Value::Temporal))
    }

    /// The item as a quantity: a System.Quantity, a number (unit `1`) or a FHIR Quantity.
    pub(super) fn quantity(&self, item: &Item<'e>) -> Option<Quantity> {
        match item {
            Item::Value(Value::Quantity(q)) => Some((**q).clone()),
            Item::Value(value) => value.number().map(Quantity::unity),
            Item::Element(element) => match self.element_value(element) {
                Some(value) => value.number().map(Quantity::unity),
                None => self.fhir_quantity(element),
            },
        }
    }

    /// A FHIR Quantity by the mapping of FHIR R4 fhirpath.html#quantity: a UCUM code is the unit,
    /// years and months of UCUM being calendar ones; without code the unit's text; a code of
    /// another system stands with it and equals itself only.
    pub(super) fn fhir_quantity(&self, element: &Element) -> Option<Quantity> {
        let cursor = self.cursor(element.node?)?;
        if let (Some(schema), Some(ty)) = (self.schema(), element.ty)
            && !schema.type_named("Quantity").is_some_and(|q| schema.is_a(ty, q))
        {
            return None;
        }
        let value = Decimal::parse(cursor.get("value")?.number()?)?;
        let text = |key: &str| cursor.get(key).and_then(Cursor::as_str);
        let unit = match (text("system"), text("code")) {
            (Some(system), Some(code)) if system == UCUM => match &*code {
                "a" => Unit::Calendar(CalendarUnit::Year),
                "mo" => Unit::Calendar(CalendarUnit::Month),
                _ => Unit::Code(code.into()),
            },
            (Some(system), Some(code)) => Unit::Code(format!("{system}|{code}").into()),
            (None, Some(code)) => Unit::Code(code.into()),
            (_, None) => Unit::Code(text("unit").unwrap_or(Cow::Borrowed("1")).into()),
        };
        Some(Quantity { value, unit })
    }
}

fn is_whole(token: &str) -> bool {
    token.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

/// The name FHIRPath shows for a schema type: backbone elements and the profiled quantities go by
/// the type they are.
pub(in crate::fhirpath) fn public_name(schema: &crate::schema::Schema, ty: TypeId) -> &str {
    let name = schema.type_name(ty);
    match schema.type_kind(ty) {
        Some(TypeKind::Backbone) => schema.base_type(ty).map_or("BackboneElement", |b| schema.type_name(b)),
        _ if matches!(name, "SimpleQuantity" | "MoneyQuantity") => "Quantity",
        _ => name,
    }
}
