//! Extensions (<https://hl7.org/fhir/R4/extensibility.html>).

use crate::report::IssueCode;
use crate::rules::primitive::is_absolute;
use crate::schema::{Definition, Special};
use crate::tape::Cursor;
use crate::validate::UnknownExtensions;
use crate::walk::{Reached, Walk};

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, reached: Reached) {
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
        walk.error(url_node, IssueCode::Extension, "fhir.extension.relative-url", text);
        return;
    }
    let schema = walk.schema;
    match schema.definition(&url) {
        Some(definition) if schema.str(definition.ty) == "Extension" => {
            known(walk, node, value, definition, reached);
        }
        _ => unknown(walk, node, &url, reached),
    }
}

/// The object that holds this extension is an extension itself.
fn inside_extension(walk: &Walk<'_, '_, '_>) -> bool {
    walk.trail.last().and_then(|s| walk.schema.def(s.ty)).is_some_and(|d| d.special == Special::Extension)
}

fn unknown<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, url: &str, reached: Reached) {
    let allowed = walk.options.extension_domains.iter().any(|d| url.starts_with(d.as_str()));
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
    if !in_context(walk, definition) {
        let text = "the definition of this extension does not allow it on this element; move or \
            remove it";
        walk.error(node, IssueCode::Extension, "fhir.extension.context", text);
    }
}

/// Whether one of the contexts of the definition fits
/// (<https://hl7.org/fhir/R4/defining-extensions.html#context>).
fn in_context(walk: &Walk<'_, '_, '_>, definition: &Definition) -> bool {
    let schema = walk.schema;
    let mut contexts = schema.names(definition.contexts).peekable();
    if contexts.peek().is_none() {
        return true;
    }
    // The last step leads to the extension itself; the one before to the element that holds it.
    let Some(holder) = walk.trail.last() else { return true };
    let mut types = Vec::new();
    let mut at = Some(holder.ty);
    while let Some(ty) = at.filter(|_| types.len() < 16) {
        types.push(schema.type_name(ty));
        at = schema.base_type(ty);
    }
    let path = walk.element_path();
    let path = path.rsplit_once('.').map_or("", |(holder, _)| holder);
    contexts.any(|context| match context.split_once(':') {
        Some(("element", expression)) => {
            let expression = expression.rsplit('#').next().unwrap_or_default();
            expression == path
                || types.contains(&expression)
                || matches!(expression, "Element" | "*")
                || ends_in(walk, expression)
        }
        // Contexts on other extensions and FHIRPath contexts are not decided here.
        _ => true,
    })
}

/// `ElementDefinition.type` matches wherever an ElementDefinition stands: compare the expression
/// with the trail from each step on.
fn ends_in(walk: &Walk<'_, '_, '_>, expression: &str) -> bool {
    let steps = walk.trail.get(..walk.trail.len().saturating_sub(1)).unwrap_or_default();
    (0..steps.len()).any(|from| {
        let mut path = String::new();
        for step in steps.get(from..).unwrap_or_default() {
            let Some(def) = walk.schema.def(step.ty) else { return false };
            if path.is_empty() {
                path.push_str(walk.schema.str(def.name));
            }
            if let Some(child) = walk.schema.children(def).get(usize::from(step.child)) {
                path.push('.');
                path.push_str(walk.schema.str(child.name));
            }
        }
        path == expression.strip_suffix("[x]").unwrap_or(expression)
    })
}
