//! Extensions (<https://hl7.org/fhir/R4/extensibility.html>).

use crate::fhirpath::{CompileOptions, Context, Element, EvalLimits, Item, compile};
use crate::report::IssueCode;
use crate::rules::is_example_url;
use crate::rules::primitive::is_absolute;
use crate::schema::{Definition, Special, TypeId};
use crate::tape::Cursor;
use crate::validate::UnknownExtensions;
use crate::walk::{Reached, Step, Walk};

/// Extensions of our own reports (and of those of the HL7 validator) that the core package does not
/// define; they stand on OperationOutcome.issue.
const OF_OUTCOMES: &[&str] = &[
    "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-line",
    "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-col",
    "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-server",
    "http://hl7.org/fhir/StructureDefinition/operationoutcome-message-id",
];

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, reached: Reached) {
    walk.reaches_out(); // where it stands decides whether it may
    let value = node.children().find(|c| {
        let key = c.raw_key().unwrap_or_default();
        key.strip_prefix('_').unwrap_or(key).starts_with("value")
    });
    let nested = node.get("extension");
    if value.is_some() == nested.is_some() {
        let text = if value.is_some() {
            "an extension has a value or extensions, not both; keep one"
        } else {
            "an extension needs a value or extensions of its own; add one or remove it"
        };
        walk.invariant(node, "http://hl7.org/fhir/StructureDefinition/Extension#ext-1", text);
    }
    let Some(url_node) = node.get("url") else { return };
    if walk.is_withheld(url_node.id()) {
        return;
    }
    let Some(url) = url_node.as_str().filter(|u| !u.is_empty()) else { return };
    if inside_extension(walk) {
        return; // its url is relative to the outer extension
    }
    if !is_absolute(&url) {
        let text = "the url of an extension is absolute; write it with `http://`, `https://` or `urn:`";
        walk.error_above(url_node, IssueCode::Extension, "fhir.extension.relative-url", text);
        return;
    }
    let schema = walk.schema;
    match schema.definition(&url) {
        Some(definition) if schema.str(definition.ty) == "Extension" => {
            known(walk, node, value, definition, reached);
            crate::profile::extension(walk, node, &url);
        }
        _ => unknown(walk, node, &url, reached),
    }
}

/// The object that holds this extension is an extension itself.
fn inside_extension(walk: &Walk<'_, '_, '_>) -> bool {
    walk.trail.last().and_then(|s| walk.schema.def(s.ty)).is_some_and(|d| d.special == Special::Extension)
}

/// The space of HL7's own publishing tools (obligations, additional bindings). Definitions carry such
/// extensions everywhere, whether or not the package of the tools is loaded; the HL7 validator takes
/// them too.
const OF_TOOLS: &str = "http://hl7.org/fhir/tools/StructureDefinition/";

/// HL7's space for tests. Like the domains of RFC 2606, it names what is made up.
const OF_TESTS: &str = "http://hl7.org/fhir/test/";

fn unknown<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, url: &str, reached: Reached) {
    let allowed = walk.options.extension_domains.iter().any(|d| url.starts_with(d.as_str()))
        || url.starts_with(OF_TOOLS)
        || (walk.options.example_urls && (is_example_url(url) || url.starts_with(OF_TESTS)))
        || (OF_OUTCOMES.contains(&url) && on_element(walk, "OperationOutcome.issue"));
    if reached.modifier && !allowed {
        let text = "no loaded package defines this modifier extension, so the element cannot be \
            understood; load its package or remove it";
        walk.error(node, IssueCode::Extension, "fhir.extension.unknown-modifier", text);
    } else if !allowed && walk.options.unknown_extensions == UnknownExtensions::Refuse {
        let text = "no loaded package defines this extension; load its package or remove it";
        walk.error(node, IssueCode::Extension, "fhir.extension.unknown", text);
    } else {
        walk.unevaluated.extensions += 1;
    }
}

fn known<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    value: Option<Cursor<'t, 'a>>,
    definition: &Definition,
    reached: Reached,
) {
    let schema = walk.schema;
    if definition.modifier != reached.modifier {
        let text = if definition.modifier {
            "this extension changes the meaning of its element; move it to `modifierExtension`"
        } else {
            "this extension modifies nothing; move it to `extension`"
        };
        walk.error(node, IssueCode::Extension, "fhir.extension.modifier", text);
    }
    if let Some(value) = value {
        let key = value.raw_key().unwrap_or_default();
        let key = key.strip_prefix('_').unwrap_or(key).strip_prefix("value").unwrap_or_default();
        let fits = schema.names(definition.values).any(|name| {
            let mut chars = name.chars();
            let first = chars.next().map(|c| c.to_ascii_uppercase());
            key.chars().next() == first && key.get(1..) == Some(chars.as_str())
        });
        if !fits {
            let text = "the definition of this extension does not allow this type of value";
            walk.error(value, IssueCode::Extension, "fhir.extension.value-type", text);
        }
    }
    parts(walk, node, definition);
    if !in_context(walk, definition) {
        let text = "the definition of this extension does not allow it on this element; move or \
            remove it";
        walk.error_above(node, IssueCode::Extension, "fhir.extension.context", text);
    }
}

/// The extensions inside a complex extension are those its definition names.
fn parts<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, definition: &Definition) {
    let schema = walk.schema;
    if definition.parts.len == 0 {
        return;
    }
    for part in node.get("extension").into_iter().flat_map(Cursor::children) {
        let Some(url) = part.get("url").filter(|u| !walk.is_withheld(u.id())) else { continue };
        let known = url
            .as_str()
            .is_none_or(|u| is_absolute(&u) || schema.names(definition.parts).any(|name| name == u));
        if !known {
            let text = "the definition of the outer extension names no part with this url; correct it";
            walk.error_above(url, IssueCode::Extension, "fhir.extension.part", text);
        }
    }
}

/// Contexts of 4.0.1 that are wrong as published: url of the extension, context that holds.
///
/// `structuredefinition-fhir-type` is declared for ElementDefinition.type.code, and the core package
/// itself puts it on ElementDefinition.type everywhere, as later releases declare it.
const CONTEXT_ERRATA: &[(&str, &str)] =
    &[("http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type", "ElementDefinition.type")];

/// Whether one of the contexts of the definition fits
/// (<https://hl7.org/fhir/R4/defining-extensions.html#context>).
fn in_context(walk: &Walk<'_, '_, '_>, definition: &Definition) -> bool {
    let schema = walk.schema;
    let mut contexts = schema.names(definition.contexts).peekable();
    let url = schema.str(definition.url);
    contexts.peek().is_none()
        || CONTEXT_ERRATA.iter().any(|(u, context)| *u == url && on_element(walk, context))
        || contexts.any(|context| match context.split_once(':') {
            Some(("element", expression)) => on_element(walk, expression),
            Some(("extension", url)) => on_extension(walk, url),
            Some(("fhirpath", expression)) => on_path(walk, expression),
            _ => true,
        })
}

/// The trail leads from the resource to the extension; its last step starts at the holder.
fn on_element(walk: &Walk<'_, '_, '_>, expression: &str) -> bool {
    let expression = expression.rsplit('#').next().unwrap_or_default();
    let wanted: Vec<&str> = expression.split('.').collect();
    let (Some((first, rest)), Some((last, steps))) = (wanted.split_first(), walk.trail.split_last()) else {
        return true;
    };
    // In R4 the context Element is anywhere, resources included.
    if *first == "*" || expression == "Element" {
        return true;
    }
    if rest.is_empty() {
        return is_type(walk, last.ty, first);
    }
    // `Patient.contact.name`, `ElementDefinition.type` or `DomainResource.text`: the same steps,
    // from an element of the named type on.
    let Some(tail) = steps.len().checked_sub(rest.len()).and_then(|at| steps.get(at..)) else {
        return false;
    };
    let same = tail.iter().zip(rest).all(|(step, wanted)| {
        let name = step_name(walk, step).unwrap_or_default();
        wanted.strip_suffix("[x]").unwrap_or(wanted) == name
    });
    let starts = tail.first().is_some_and(|step| is_type(walk, step.ty, first));
    // Steps through backbone elements change the type on the way: compare with their names too.
    same && (starts || tail.first().is_some_and(|s| walk.schema.type_name(s.ty).starts_with(first)))
}

fn step_name<'v>(walk: &Walk<'v, '_, '_>, step: &Step) -> Option<&'v str> {
    let def = walk.schema.def(step.ty)?;
    let child = walk.schema.children(def).get(usize::from(step.child))?;
    Some(walk.schema.str(child.name))
}

fn is_type(walk: &Walk<'_, '_, '_>, ty: TypeId, name: &str) -> bool {
    let schema = walk.schema;
    if matches!(name, "CanonicalResource" | "MetadataResource") {
        // Interfaces of later releases: whatever has the elements of a canonical resource.
        let has = |key| schema.member(ty, key).is_some();
        return has("url") && has("version") && has("status") && has("date");
    }
    name == schema.type_name(ty) || schema.type_named(name).is_some_and(|wanted| schema.is_a(ty, wanted))
}

fn on_extension(walk: &Walk<'_, '_, '_>, url: &str) -> bool {
    // The holder is the extension itself or, for an extension on its value, just inside it.
    walk.trail
        .iter()
        .rev()
        .take(2)
        .any(|step| walk.tape.cursor(step.node).get("url").is_some_and(|u| u.str_is(url)))
}

/// A FHIRPath context selects the holder from the resource. What cannot be evaluated cheaply is
/// taken as fitting.
fn on_path(walk: &Walk<'_, '_, '_>, expression: &str) -> bool {
    let (Some(first), Some(last)) = (walk.trail.first(), walk.trail.last()) else { return true };
    let options = CompileOptions { lenient: true, schema: Some(walk.schema), ..CompileOptions::default() };
    let Ok(program) = compile(expression, &options) else { return true };
    let root = Element { node: Some(first.node), companion: None, ty: Some(first.ty) };
    let context = Context::new(walk.tape, Some(walk.schema))
        .at(root)
        .with_resource(first.node)
        .with_limits(EvalLimits { work: 20_000, text: 10_000 });
    let Ok(found) = program.evaluate(&context) else { return true };
    found.iter().any(|item| match item {
        Item::Element(e) => e.node == Some(last.node) || e.companion == Some(last.node),
        Item::Value(_) => false,
    })
}
