//! A record rewritten for somebody who must not learn whom it is about.

use super::config::{Method, ShiftScope};
use super::policy::{At, Policy};
use super::transform::{self, Day};
use super::{Action, KEPT_EXTENSIONS, is_age_unit};
use crate::fhirpath::{Context, Element, EvalLimits};
use crate::schema::{Primitive, Schema, TypeId, TypeKind};
use crate::tape::{Cursor, Kind, Tape};

/// What an export depends on besides record and policy. Whoever knows the key can link pseudonyms
/// to identifiers and undo shifts of dates: it stays with the custodian.
#[derive(Clone, Copy)]
pub struct Secrets<'k> {
    /// Key of pseudonyms, shifts and noise; 32 random bytes.
    pub key: &'k [u8],
    /// The day (`YYYY-MM-DD`) against which ages over 89 are told.
    pub today: &'k str,
    /// Name of the document, for dates that are shifted by file.
    pub file: &'k str,
}

impl std::fmt::Debug for Secrets<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// Why there is no export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// `today` is no day.
    #[error("`today` is written `YYYY-MM-DD`")]
    Today,
    /// The document is no resource of R4.
    #[error("the document is no resource of FHIR R4, so nothing of it can be shown")]
    NoResource,
    /// Nested deeper than can be followed.
    #[error("the document is nested deeper than {MAX_DEPTH} levels")]
    Depth,
}

/// Deeper than this an export stops: its stack is the machine's.
const MAX_DEPTH: usize = 200;

impl Policy {
    /// The record as its receiver may see it: minified JSON, elements in their order. What is
    /// redacted is left out, and with it objects and arrays that have nothing left, so the result may
    /// lack mandatory elements. The result depends on the arguments alone.
    ///
    /// # Errors
    /// [`ExportError`] if the document is no resource.
    pub fn export(
        &self,
        schema: &Schema,
        tape: &Tape<'_>,
        secrets: &Secrets<'_>,
    ) -> Result<String, ExportError> {
        let today = Day::read(secrets.today).ok_or(ExportError::Today)?;
        let mut pass =
            Pass { policy: self, schema, secrets, today, scope: String::new(), depth: 0, deep: false };
        let root = tape.root();
        let ty = pass.resource_type(root).ok_or(ExportError::NoResource)?;
        let at = self.root(schema, ty);
        let out = pass.resource(root, ty, &at, Action::Keep);
        if pass.deep {
            return Err(ExportError::Depth);
        }
        out.ok_or(ExportError::NoResource)
    }
}

struct Pass<'x> {
    policy: &'x Policy,
    schema: &'x Schema,
    secrets: &'x Secrets<'x>,
    today: Day,
    /// What dates are shifted with.
    scope: String,
    depth: usize,
    deep: bool,
}

/// A value in its object.
#[derive(Clone, Copy)]
struct Member<'m> {
    /// Type of the object.
    holder: &'m str,
    name: &'m str,
    ty: TypeId,
    /// The rules at the object: the id and extensions of a primitive are not part of its value.
    outer: &'m At,
}

impl Pass<'_> {
    fn resource_type(&self, node: Cursor<'_, '_>) -> Option<TypeId> {
        self.schema.resource_type(&node.get("resourceType")?.as_str()?)
    }

    fn resource(&mut self, node: Cursor<'_, '_>, ty: TypeId, at: &At, builtin: Action) -> Option<String> {
        let id = node.get("id").and_then(Cursor::as_str).unwrap_or_default();
        let scope = match self.policy.shift_scope() {
            ShiftScope::Resource => format!("{}/{id}", self.schema.type_name(ty)),
            ShiftScope::File => self.secrets.file.to_owned(),
            ShiftScope::Folder => String::new(),
        };
        let outer = std::mem::replace(&mut self.scope, scope);
        let out = self.object(node, ty, at, builtin);
        self.scope = outer;
        out
    }

    fn object(&mut self, node: Cursor<'_, '_>, ty: TypeId, at: &At, builtin: Action) -> Option<String> {
        let schema = self.schema;
        let def = schema.def(ty)?;
        if self.depth >= MAX_DEPTH {
            self.deep = true;
            return None;
        }
        self.depth += 1;
        let resource = def.kind == TypeKind::Resource;
        let age = ["code", "unit"]
            .iter()
            .filter_map(|key| node.get(key).and_then(Cursor::as_str))
            .any(|unit| is_age_unit(&unit));
        let mut parts: Vec<String> = Vec::new();
        for member in node.children() {
            let raw = member.raw_key().unwrap_or_default();
            if raw == "resourceType" && resource {
                parts.push(format!("\"resourceType\":{}", member.token()));
                continue;
            }
            let (key, beside) = raw.strip_prefix('_').map_or((raw, false), |bare| (bare, true));
            let Some((_, slot)) = schema.slot(def, key.as_bytes()) else { continue };
            let Some(child) = schema.children(def).get(usize::from(slot.child)) else { continue };
            let primitive = schema.primitive(TypeId(slot.ty)).is_some();
            if beside && (!primitive || node.get(key).is_some()) {
                continue; // comes with its value
            }
            let mut own = if builtin == Action::Keep { Action::of(slot.action) } else { builtin };
            if age && key == "value" {
                own = Action::Withhold;
            }
            let place = Member {
                holder: schema.type_name(ty),
                name: schema.str(child.name),
                ty: TypeId(slot.ty),
                outer: at,
            };
            let below = self.policy.below(schema, at, place.name, place.ty);
            if primitive {
                let value = (!beside).then_some(member);
                let other = if beside { Some(member) } else { node.get(&format!("_{key}")) };
                self.primitives(&mut parts, key, value, other, place, &below, own, builtin);
                continue;
            }
            let written = if member.kind() == Kind::Array {
                let items: Vec<String> =
                    member.children().filter_map(|item| self.complex(item, place, &below, own)).collect();
                (!items.is_empty()).then(|| format!("[{}]", items.join(",")))
            } else {
                self.complex(member, place, &below, own)
            };
            parts.extend(written.map(|value| format!("\"{key}\":{value}")));
        }
        self.depth -= 1;
        let empty = parts.is_empty();
        (!empty).then(|| format!("{{{}}}", parts.join(",")))
    }

    /// An object; a resource where any may stand.
    fn complex(
        &mut self,
        node: Cursor<'_, '_>,
        place: Member<'_>,
        at: &At,
        builtin: Action,
    ) -> Option<String> {
        if node.kind() != Kind::Object {
            return None;
        }
        if self.schema.type_kind(place.ty) == Some(TypeKind::Resource) {
            let ty = self.resource_type(node)?;
            let inner = self.policy.below(self.schema, at, "", ty);
            return self.resource(node, ty, &inner, builtin);
        }
        let mut builtin = builtin;
        if matches!(place.name, "extension" | "modifierExtension") {
            let url = node.get("url").and_then(Cursor::as_str).unwrap_or_default();
            if !KEPT_EXTENSIONS.contains(&&*url) && !matches!(self.policy.method(at), Some(Method::Keep)) {
                return None;
            }
            builtin = Action::Keep;
        }
        self.object(node, place.ty, at, builtin)
    }

    /// A primitive or an array of them, each with its `_x`; both keep their common indices.
    #[expect(clippy::too_many_arguments, reason = "both halves of a member and what holds for each")]
    fn primitives(
        &mut self,
        parts: &mut Vec<String>,
        key: &str,
        value: Option<Cursor<'_, '_>>,
        beside: Option<Cursor<'_, '_>>,
        place: Member<'_>,
        at: &At,
        own: Action,
        above: Action,
    ) {
        let array = [value, beside].into_iter().flatten().any(|c| c.kind() == Kind::Array);
        if !array {
            let written = value.and_then(|v| self.leaf(v, place, at, own));
            parts.extend(written.map(|v| format!("\"{key}\":{v}")));
            let other = beside.and_then(|b| self.beside(b, place, above));
            parts.extend(other.map(|b| format!("\"_{key}\":{b}")));
            return;
        }
        let (mut values, mut besides) = (value.map(Cursor::children), beside.map(Cursor::children));
        let mut rows: Vec<(Option<String>, Option<String>)> = Vec::new();
        loop {
            let value = values.as_mut().and_then(Iterator::next);
            let other = besides.as_mut().and_then(Iterator::next);
            if value.is_none() && other.is_none() {
                break;
            }
            let value = value.and_then(|v| self.leaf(v, place, at, own));
            let other = other.and_then(|b| self.beside(b, place, above));
            if value.is_some() || other.is_some() {
                rows.push((value, other));
            }
        }
        let list = |rows: Vec<Option<String>>| {
            let cells: Vec<String> =
                rows.into_iter().map(|c| c.unwrap_or_else(|| "null".to_owned())).collect();
            cells.join(",")
        };
        let (values, besides): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        if values.iter().any(Option::is_some) {
            parts.push(format!("\"{key}\":[{}]", list(values)));
        }
        if besides.iter().any(Option::is_some) {
            parts.push(format!("\"_{key}\":[{}]", list(besides)));
        }
    }

    /// Id and extensions of a primitive, which decide for themselves.
    fn beside(&mut self, node: Cursor<'_, '_>, place: Member<'_>, above: Action) -> Option<String> {
        if node.kind() != Kind::Object {
            return None;
        }
        self.object(node, place.ty, place.outer, above)
    }

    /// The token that stands for a primitive value; `None`: it is left out.
    fn leaf(&mut self, node: Cursor<'_, '_>, place: Member<'_>, at: &At, builtin: Action) -> Option<String> {
        if !node.kind().is_scalar() || node.kind() == Kind::Null {
            return None;
        }
        let Some(method) = self.policy.method(at) else {
            return (builtin == Action::Keep).then(|| node.token().to_owned());
        };
        let primitive = self.schema.primitive(place.ty);
        let text = node.as_str().map_or_else(|| node.token().to_owned(), |s| s.into_owned());
        let key = self.secrets.key;
        let date = matches!(primitive, Some(Primitive::Date | Primitive::DateTime | Primitive::Instant));
        let instant = primitive == Some(Primitive::Instant);
        match method {
            Method::Keep => Some(node.token().to_owned()),
            Method::Redact => self.partial(node, place, &text, date, instant),
            Method::DateShift if date => {
                transform::shift(key, &self.scope, &text, instant, self.today).map(|t| quoted(&t))
            }
            Method::CryptoHash if node.kind() == Kind::String => {
                Some(quoted(&match (place.holder, place.name) {
                    ("Reference", "reference") | (_, "fullUrl") => {
                        transform::pseudonymous_reference(key, &text)
                    }
                    _ => transform::pseudonym(key, &text),
                }))
            }
            Method::Perturb { span, proportional, digits } if node.kind() == Kind::Number => {
                let scope = format!("{} {}.{}", self.scope, place.holder, place.name);
                transform::perturb(key, &scope, &text, *span, *proportional, *digits)
            }
            Method::Generalize { cases, otherwise_keep } => {
                let element = Element { node: Some(node.id()), companion: None, ty: Some(place.ty) };
                let context = Context::new(node.tape(), Some(self.schema))
                    .at(element)
                    .with_limits(EvalLimits { work: 20_000, text: 10_000 });
                for (condition, value) in cases {
                    if condition.holds(&context) == Ok(Some(true)) {
                        let found = value.evaluate(&context).ok()?;
                        return found.iter().next().map(|item| item.to_json(&context));
                    }
                }
                otherwise_keep.then(|| node.token().to_owned())
            }
            Method::Substitute(text) if node.kind() == Kind::String => Some(quoted(text)),
            // A method that does not suit the value hides it.
            _ => None,
        }
    }

    /// What may stay of a value that is redacted.
    fn partial(
        &self,
        node: Cursor<'_, '_>,
        place: Member<'_>,
        text: &str,
        date: bool,
        instant: bool,
    ) -> Option<String> {
        let parameters = &self.policy.parameters;
        if date && parameters.partial_dates {
            return transform::year(text, instant, self.today).map(|t| quoted(&t));
        }
        match (place.holder, place.name) {
            ("Address", "postalCode") if parameters.partial_zips => {
                Some(quoted(&transform::zip3(text, &parameters.restricted_zips)))
            }
            ("Age", "value") if parameters.partial_ages => transform::young_age(node.token()),
            _ => None,
        }
    }
}

/// A JSON string literal.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
