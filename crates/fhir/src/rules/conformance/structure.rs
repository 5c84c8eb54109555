//! StructureDefinition: the elements of a profile against the type it constrains
//! (<https://hl7.org/fhir/R4/profiling.html>, <https://hl7.org/fhir/R4/elementdefinition.html>).

use crate::fhirpath::{CompileOptions, compile};
use crate::report::IssueCode;
use crate::rules::reference;
use crate::schema::{Child, NONE, Schema, Slot, TypeId, TypeKind, items, text_of};
use crate::tape::Cursor;
use crate::walk::Walk;

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";

/// What the type says of an element.
struct Known<'s> {
    child: &'s Child,
    /// One for each type that it may have.
    slots: Vec<&'s Slot>,
}

enum Found<'s> {
    /// The root of the structure.
    Root,
    Element(Known<'s>),
    /// Below something that may be of several types, or of one that is not known.
    Open,
    Missing,
}

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if walk.holds_withheld() {
        walk.unevaluated.withheld += 1;
        return;
    }
    let Some(list) = node.get("differential").or_else(|| node.get("snapshot")) else { return };
    let constraint = node.get("derivation").is_some_and(|d| d.str_is("constraint"));
    let root = walk.schema.type_named(&text_of(node, "type"));
    for element in items(list, "element") {
        expressions(walk, element);
        if let Some(root) = root.filter(|_| constraint) {
            one(walk, element, root);
        }
    }
}

/// Constraints are FHIRPath.
fn expressions<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, element: Cursor<'t, 'a>) {
    for constraint in items(element, "constraint") {
        let Some(expression) = constraint.get("expression") else { continue };
        let Some(text) = expression.as_str() else { continue };
        let options =
            CompileOptions { lenient: true, schema: Some(walk.schema), ..CompileOptions::default() };
        if compile(&text, &options).is_err() {
            let text = "this is no FHIRPath expression; correct it";
            walk.error(expression, IssueCode::Value, "fhir.definition.expression", text);
        }
    }
}

fn one<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, element: Cursor<'t, 'a>, root: TypeId) {
    let schema = walk.schema;
    let Some(path) = element.get("path").and_then(Cursor::as_str) else { return };
    let known = match find(schema, root, &path) {
        Found::Element(known) => known,
        Found::Root | Found::Open => return,
        Found::Missing => {
            let text = "the type that is constrained has no element of this path; correct it";
            walk.error(element, IssueCode::Structure, "fhir.definition.path", text);
            return;
        }
    };
    cardinality(walk, element, known.child);
    types(walk, element, &known);
    values(walk, element, &known);
}

fn find<'s>(schema: &'s Schema, root: TypeId, path: &str) -> Found<'s> {
    let mut names = path.split('.');
    if names.next() != Some(schema.type_name(root)) {
        return Found::Open; // sdf-8
    }
    let mut found = Found::Root;
    let mut at = Some(root);
    for name in names {
        let Some(def) = at.and_then(|ty| schema.def(ty)) else { return Found::Open };
        let slots = schema.slots(def);
        let children = schema.children(def);
        let child_of = |slot: &Slot| children.get(usize::from(slot.child));
        // `value[x]` is all of them, `valueQuantity` one.
        let of: Vec<&Slot> = match name.strip_suffix("[x]") {
            Some(stem) => slots
                .iter()
                .filter(|s| child_of(s).is_some_and(|c| c.choice && schema.str(c.name) == stem))
                .collect(),
            None => slots.iter().filter(|s| schema.str(s.name) == name).collect(),
        };
        let Some(child) = of.first().and_then(|slot| child_of(slot)) else {
            // Any resource may stand there; a primitive's value is no member.
            let open = def.is_abstract || (def.primitive.is_some() && name == "value");
            return if open { Found::Open } else { Found::Missing };
        };
        at = match of.as_slice() {
            [only] if only.ty != NONE => Some(TypeId(only.ty)),
            _ => None,
        };
        found = Found::Element(Known { child, slots: of });
    }
    found
}

/// Profiles narrow (<https://hl7.org/fhir/R4/profiling.html#cardinality>).
fn cardinality<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, element: Cursor<'t, 'a>, child: &Child) {
    const ID: &str = "fhir.definition.cardinality";
    let max = element.get("max").and_then(Cursor::as_str);
    let most = max.map(|m| m.parse::<u32>().unwrap_or(u32::MAX));
    let widest = if child.max == u16::MAX { u32::MAX } else { u32::from(child.max) };
    if most.is_some_and(|most| most > widest) {
        let text = "the maximum is greater than that of the type; a profile cannot allow more";
        walk.error(element, IssueCode::BusinessRule, ID, text);
    }
    // A slice is one of several ways to fill the element.
    let sliced = element.get("sliceName").is_some()
        || element.get("id").and_then(Cursor::as_str).is_some_and(|id| id.contains(':'));
    let least = element.get("min").and_then(Cursor::number).and_then(|n| n.parse::<u32>().ok());
    if !sliced && least.is_some_and(|least| least < u32::from(child.min)) {
        let text = "the minimum is less than that of the type; a profile cannot demand less";
        walk.error(element, IssueCode::BusinessRule, ID, text);
    }
}

/// Types, their profiles and their targets are among those of the type that is constrained.
fn types<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, element: Cursor<'t, 'a>, known: &Known<'_>) {
    let schema = walk.schema;
    for ty in items(element, "type") {
        let Some(code_node) = ty.get("code") else { continue };
        let Some(code) = code_node.as_str() else { continue };
        let Some(id) = schema.type_named(&code) else { continue };
        let fits = |slot: &&&Slot| {
            let own = TypeId(slot.ty);
            slot.ty == NONE || schema.is_a(id, own) || schema.is_a(own, id)
        };
        let Some(slot) = known.slots.iter().find(fits) else {
            let text = "the element is never of this type; correct it";
            walk.error(code_node, IssueCode::Structure, "fhir.definition.type", text);
            continue;
        };
        for profile in items(ty, "profile") {
            let named = profile.as_str().and_then(|url| profiled(schema, &url));
            if named.is_some_and(|named| named != id && !(is_abstract(schema, id) && schema.is_a(named, id)))
            {
                let text = "this profile is one of another type than the element has; correct it";
                walk.error(profile, IssueCode::Structure, "fhir.definition.type.profile", text);
            }
        }
        if !matches!(&*code, "Reference" | "canonical") {
            continue;
        }
        for target in items(ty, "targetProfile") {
            let named = target.as_str().and_then(|url| profiled(schema, &url));
            if let Some(named) = named
                && schema.type_kind(named) == Some(TypeKind::Resource)
                && !is_abstract(schema, named)
                && !reference::allowed(schema, slot.targets, schema.type_name(named))
            {
                let text = "the element never refers to a resource of this type; correct it";
                walk.error(target, IssueCode::Structure, "fhir.definition.type.target", text);
            }
        }
    }
}

fn is_abstract(schema: &Schema, ty: TypeId) -> bool {
    schema.def(ty).is_none_or(|d| d.is_abstract)
}

/// The type that the profile at `canonical` constrains, or that stands there itself.
fn profiled(schema: &Schema, canonical: &str) -> Option<TypeId> {
    let url = canonical.split('|').next().unwrap_or(canonical);
    match schema.definition(url) {
        Some(definition) => schema.type_named(schema.str(definition.ty)),
        None => schema.type_named(url.strip_prefix(CORE)?),
    }
}

/// `fixed[x]` and `pattern[x]` are of a type that the element has.
fn values<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, element: Cursor<'t, 'a>, known: &Known<'_>) {
    let schema = walk.schema;
    let own: Vec<String> = items(element, "type").map(|t| text_of(t, "code")).collect();
    for member in element.children() {
        let key = member.raw_key().unwrap_or_default();
        let Some(suffix) = key.strip_prefix("fixed").or_else(|| key.strip_prefix("pattern")) else {
            continue;
        };
        let names = |code: &str| {
            // Elements whose type is one of FHIRPath's (ids, urls of extensions) take what they show as.
            let bare = code.rsplit('.').next().unwrap_or(code);
            bare.eq_ignore_ascii_case(suffix) || code.starts_with("http://hl7.org/fhirpath/")
        };
        let fits = if own.is_empty() {
            known.slots.iter().any(|slot| {
                let ty = TypeId(slot.ty);
                slot.ty == NONE
                    || names(schema.type_name(ty))
                    // `SimpleQuantity` is a Quantity.
                    || (schema.primitive(ty).is_none()
                        && schema.base_type(ty).is_some_and(|base| names(schema.type_name(base))))
            })
        } else {
            own.iter().any(|code| names(code))
        };
        if !fits {
            let text = "this value is of a type that the element never has; correct it";
            walk.error(member, IssueCode::Structure, "fhir.definition.value", text);
        }
    }
}
