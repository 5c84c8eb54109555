//! One member of an object: array or not, JSON kind, value, the `_x` beside it.

use super::{Reached, Walk};
use crate::report::IssueCode;
use crate::rules::{self, primitive};
use crate::schema::{Child, NONE, Primitive, Slot, Special, TypeId, TypeKind};
use crate::tape::{Cursor, Kind};

impl<'t, 'a> Walk<'_, 't, 'a> {
    pub(super) fn member(
        &mut self,
        object: Cursor<'t, 'a>,
        member: Cursor<'t, 'a>,
        child: &Child,
        slot: &Slot,
        beside: bool,
    ) {
        let array = member.kind() == Kind::Array;
        if array != child.array {
            let name = self.schema.str(slot.name);
            let (id, text) = if child.array {
                (
                    "fhir.json.array-missing",
                    format!("`{name}` may repeat, so it is an array: put the value into `[` and `]`"),
                )
            } else {
                (
                    "fhir.json.array",
                    format!("`{name}` does not repeat, so it is no array: remove `[` and `]`"),
                )
            };
            self.error(member, IssueCode::Structure, id, text);
            if !array || member.has_no_children() {
                if !array {
                    let partner = if beside { self.partner(object, slot, true) } else { None };
                    self.item(member, child, slot, beside, partner, false);
                }
                return;
            }
        }
        if !array {
            let partner = if beside { self.partner(object, slot, true) } else { None };
            self.item(member, child, slot, beside, partner, false);
            return;
        }
        if member.has_no_children() {
            let text = "this array is empty; leave the property out if there is no value";
            self.error(member, IssueCode::Structure, "fhir.empty.array", text);
            return;
        }
        let primitive = self.schema.primitive(TypeId(slot.ty)).is_some();
        let paired = primitive && (beside || member.children().any(|c| c.kind() == Kind::Null));
        let other = if paired { self.partner(object, slot, beside) } else { None };
        let mut partners = other.filter(|o| o.kind() == Kind::Array).map(Cursor::children);
        let mut count = 0usize;
        for item in member.children() {
            let partner = partners.as_mut().and_then(Iterator::next);
            self.item(item, child, slot, beside, partner, true);
            count += 1;
        }
        if let Some(other) = other
            && beside
            && other.kind() == Kind::Array
            && other.count() != count
        {
            let text = "this array and the one without `_` differ in length; fill the shorter one \
                with `null`";
            self.error(member, IssueCode::Structure, "fhir.json.array-length", text);
        }
        if child.array {
            if count > usize::from(child.max) && child.max != u16::MAX {
                let text = format!("there are {count} values, at most {} are allowed", child.max);
                self.error(member, IssueCode::Structure, "fhir.card.max", text);
            }
            if count < usize::from(child.min) {
                let text = format!("there are {count} values, at least {} are needed", child.min);
                self.error(member, IssueCode::Required, "fhir.card.min", text);
            }
        }
    }

    /// The other half of a primitive: the value of an `_x`, or the `_x` of a value.
    fn partner(&self, object: Cursor<'t, 'a>, slot: &Slot, beside: bool) -> Option<Cursor<'t, 'a>> {
        let name = self.schema.str(slot.name);
        object.children().find(|c| {
            let key = c.key_bytes();
            if beside { key == name.as_bytes() } else { key.strip_prefix(b"_") == Some(name.as_bytes()) }
        })
    }

    /// One value: the member itself or an item of its array.
    fn item(
        &mut self,
        value: Cursor<'t, 'a>,
        child: &Child,
        slot: &Slot,
        beside: bool,
        partner: Option<Cursor<'t, 'a>>,
        in_array: bool,
    ) {
        let schema = self.schema;
        let ty = TypeId(slot.ty);
        let Some(def) = schema.def(ty) else { return };
        match def.primitive {
            Some(_) if beside => self.beside(value, child, slot, partner, in_array),
            Some(primitive) => {
                if value.kind() == Kind::Null {
                    self.null(value, partner, in_array);
                } else {
                    self.primitive(value, primitive, Some(child));
                    rules::invariant::check(self, value, ty, child.invariants);
                }
            }
            None if beside => {
                let text = "only primitive elements have a property with `_`; remove the underscore";
                self.error(value, IssueCode::Structure, "fhir.json.underscore", text);
            }
            None if value.kind() != Kind::Object => {
                let text = format!("this must be a JSON object ({})", schema.str(def.name));
                self.error(value, IssueCode::Structure, "fhir.json.kind", text);
            }
            None if def.kind == TypeKind::Resource && def.is_abstract => {
                self.polymorphic(value, child);
            }
            None => {
                let modifier = slot.name.len == 17 && schema.str(slot.name) == "modifierExtension";
                let reached = Reached { slot: Some(*slot), modifier, beside_value: false };
                self.object(value, ty, def, reached);
                rules::invariant::check(self, value, ty, child.invariants);
                if child.binding != NONE {
                    rules::binding::element(self, value, def.special, child.binding, child.strength);
                }
                if child.most != NONE {
                    rules::binding::maximum(self, value, def.special, child.most);
                }
            }
        }
    }

    /// A member of type Resource: `contained`, or a resource of its own in a Bundle or Parameters.
    fn polymorphic(&mut self, value: Cursor<'t, 'a>, child: &Child) {
        if self.schema.str(child.name) == "contained" {
            if self.options.contained {
                rules::contained::check(self, value);
                self.resource(value, true);
            }
        } else {
            self.resource(value, false);
        }
    }

    /// The value of a primitive. `child`: with its binding, if there may be one.
    pub(super) fn primitive(&mut self, value: Cursor<'t, 'a>, primitive: Primitive, child: Option<&Child>) {
        let (kind, plain) = (value.kind(), value.is_plain());
        if !primitive::is_written_as(primitive, kind) {
            let text = format!("this must be {} ({})", primitive::written(primitive), primitive.name());
            self.error(value, IssueCode::Structure, "fhir.json.kind", text);
            return;
        }
        if self.is_withheld(value.id()) {
            return;
        }
        if kind != Kind::String {
            if let Some(fault) = primitive::fault(primitive, value.token()) {
                self.error(value, IssueCode::Value, "fhir.value.form", fault);
            }
            return;
        }
        let raw = value.raw_bytes();
        if raw.is_empty() {
            let text = "this string is empty; leave the property out if there is no value";
            self.error(value, IssueCode::Value, "fhir.empty.string", text);
            return;
        }
        let fault = if plain { primitive::fault_of_plain(primitive, raw) } else { None };
        let bound = child.filter(|child| child.binding != NONE);
        if plain && fault.is_none() && bound.is_none() && !rules::reads_text(self.options, primitive, raw) {
            return;
        }
        let Some(text) = value.as_str() else { return };
        if primitive == Primitive::Xhtml {
            rules::narrative::check(self, value, &text);
            return;
        }
        let fault = if plain { fault } else { primitive::fault(primitive, &text) };
        if let Some(fault) = fault {
            self.error(value, IssueCode::Value, "fhir.value.form", fault);
            return;
        }
        rules::text(self, value, primitive, &text);
        if let Some(child) = bound {
            rules::binding::code(self, value, child.binding, child.strength, &text);
            if child.most != NONE {
                rules::binding::maximum(self, value, Special::None, child.most);
            }
        }
    }

    /// `null` stands only in an array whose `_x` has an object at that index
    /// (<https://hl7.org/fhir/R4/json.html#primitive>).
    fn null(&mut self, value: Cursor<'t, 'a>, partner: Option<Cursor<'t, 'a>>, in_array: bool) {
        let filled = in_array && partner.is_some_and(|p| p.kind() == Kind::Object);
        if !filled {
            let text = "`null` stands only in an array of a primitive, where the `_` array holds an \
                 extension; leave the property out if there is no value";
            self.error(value, IssueCode::Structure, "fhir.json.null", text);
        }
    }

    /// Id and extensions of a primitive.
    fn beside(
        &mut self,
        value: Cursor<'t, 'a>,
        child: &Child,
        slot: &Slot,
        partner: Option<Cursor<'t, 'a>>,
        in_array: bool,
    ) {
        let schema = self.schema;
        let has_value = partner.is_some_and(|p| p.kind() != Kind::Null);
        if value.kind() == Kind::Null && in_array {
            if !has_value {
                let text = "there is neither a value nor an extension at this index; remove both";
                self.error(value, IssueCode::Structure, "fhir.json.null", text);
            }
            return;
        }
        if value.kind() != Kind::Object {
            let text = "a property with `_` holds an object with `id` or `extension`";
            self.error(value, IssueCode::Structure, "fhir.json.kind", text);
            return;
        }
        let ty = TypeId(slot.ty);
        if let Some(def) = schema.def(ty) {
            let reached = Reached { slot: None, modifier: false, beside_value: has_value };
            self.object(value, ty, def, reached);
            if !has_value && def.primitive == Some(Primitive::Code) {
                rules::binding::absent(self, value, child.binding, child.strength);
            }
        }
    }
}
