//! References (<https://hl7.org/fhir/R4/references.html>).

use std::borrow::Cow;

use crate::report::{IssueCode, Severity};
use crate::rules::primitive::{is_absolute, is_id};
use crate::schema::{NONE, Run, Schema, TypeId};
use crate::tape::Cursor;
use crate::walk::{Reached, ReferenceUse, Walk};

/// A Reference as a whole.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, reached: Reached) {
    let targets = reached.slot.map_or_else(Run::default, |s| s.targets);
    let declared = node.get("type").filter(|t| !walk.is_withheld(t.id()));
    if let Some(declared) = declared
        && let Some(name) = declared.as_str()
        && !allowed(walk.schema, targets, &name)
    {
        wrong_target(walk, declared);
    }
    let Some(reference) = node.get("reference") else { return };
    if walk.is_withheld(reference.id()) {
        return;
    }
    let Some(url) = reference.as_str().filter(|u| !u.is_empty()) else { return };
    if let Some(id) = url.strip_prefix('#') {
        local(walk, reference, id, targets);
        return;
    }
    // Most references inside bundles are uuids; they hold no type.
    if url.starts_with("urn:uuid:") {
        walk.reaches_out();
        if let Some(container) = walk.containers.last_mut() {
            container.uses.push(ReferenceUse { node: reference.id(), url, targets });
        }
        return;
    }
    let named = implied_type(&url);
    if let Some(name) = named {
        if walk.schema.resource_type(name).is_some() {
            if !allowed(walk.schema, targets, name) {
                wrong_target(walk, reference);
            }
            if let Some(ty) = declared.and_then(Cursor::as_str)
                && ty != name
            {
                let text = "`type` and the type in `reference` differ; correct one of them";
                walk.error(node, IssueCode::Structure, "fhir.reference.type-differs", text);
            }
        } else if !is_absolute(&url) {
            let text = "a relative reference is written `Type/id` with a resource type of FHIR R4";
            walk.error_above(reference, IssueCode::Value, "fhir.reference.form", text);
        }
    } else if !is_absolute(&url) && !is_conditional(&url) {
        let text = "a reference is a url, `Type/id`, or `#` and the id of a contained resource";
        let severity = if url.contains('/') { Severity::Warning } else { Severity::Error };
        walk.note_above(reference, severity, IssueCode::Value, "fhir.reference.form", text);
    }
    walk.reaches_out();
    if let Some(container) = walk.containers.last_mut() {
        container.uses.push(ReferenceUse { node: reference.id(), url, targets });
    }
}

/// ref-1: `#id` names a contained resource of the same container.
fn local<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, id: &str, targets: Run) {
    if id.is_empty() {
        walk.use_container(node.id());
        return;
    }
    match walk.use_contained(id, node.id()) {
        Some(ty) => {
            if !allowed(walk.schema, targets, &ty) {
                wrong_target(walk, node);
            }
        }
        None if walk.holds_withheld() => walk.unevaluated.withheld += 1,
        None => {
            let text = "there is no contained resource with this id; add it or correct the reference";
            let id = "http://hl7.org/fhir/StructureDefinition/Reference#ref-1";
            walk.error_above(node, IssueCode::Invariant, id, text);
        }
    }
}

/// `node` is the member of the Reference that names the target.
pub(crate) fn wrong_target<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let text = "this element may not refer to a resource of this type";
    walk.error_above(node, IssueCode::Structure, "fhir.reference.target", text);
}

/// Whether the definition lets the element point to the type `name`.
pub(crate) fn allowed(schema: &Schema, targets: Run, name: &str) -> bool {
    // An unknown type is reported elsewhere.
    targets.len == 0 || allows(schema, targets, schema.type_named(name))
}

/// As [`allowed`], of a type that is looked up already.
pub(crate) fn allows(schema: &Schema, targets: Run, ty: Option<TypeId>) -> bool {
    let rows = schema.target_rows(targets);
    let Some(ty) = ty.filter(|_| !rows.is_empty()) else { return true };
    // Most are named themselves. A target that the packages do not define (a profile, a logical model) may be anything.
    rows.contains(&ty.0) || rows.iter().any(|&row| row == NONE || schema.is_a(ty, TypeId(row)))
}

/// `Type` of `Type/id`, also at the end of an absolute url and before `/_history/v`.
pub(crate) fn implied_type(url: &str) -> Option<&str> {
    if url.starts_with("urn:uuid:") || url.starts_with("urn:oid:") {
        return None; // most references inside bundles; they hold no type
    }
    let url = unversioned(url);
    let (head, id) = url.rsplit_once('/')?;
    let name = head.rsplit('/').next()?;
    let typed =
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(|b| b.is_ascii_alphabetic());
    (typed && is_id(id)).then_some(name)
}

/// Without `/_history/v` and fragment.
pub(crate) fn unversioned(url: &str) -> &str {
    let url = match memchr::memchr(b'#', url.as_bytes()) {
        Some(at) => url.get(..at).unwrap_or(url),
        None => url,
    };
    match version_at(url) {
        Some(at) => url.get(..at).unwrap_or(url),
        None => url,
    }
}

/// Where `/_history/` stands.
pub(crate) fn version_at(url: &str) -> Option<usize> {
    let bytes = url.as_bytes();
    memchr::memchr_iter(b'_', bytes).find_map(|at| {
        let slash = at.checked_sub(1)?;
        bytes.get(slash..)?.starts_with(b"/_history/").then_some(slash)
    })
}

/// `Type?search`: resolved by the server that processes the transaction
/// (<https://hl7.org/fhir/R4/http.html#trules>).
pub(crate) fn is_conditional(url: &str) -> bool {
    url.split_once('?').is_some_and(|(name, query)| {
        !query.is_empty()
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_alphabetic())
    })
}

/// A resource is done: its references go to the bundle entry that holds it, if any.
pub(crate) fn collect<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    uses: &mut Vec<ReferenceUse<'a>>,
) {
    match walk.bundles.last_mut() {
        Some(bundle) => bundle.add(node.id(), uses.drain(..)),
        None => {
            for used in uses.iter().filter(|u| is_conditional(&u.url) && !is_absolute(&u.url)) {
                let at = walk.tape.cursor(used.node);
                conditional_outside(walk, at);
            }
        }
    }
}

pub(crate) fn conditional_outside<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let text = "a conditional reference (`Type?…`) stands only in a transaction or batch; name the \
        resource by `Type/id`";
    walk.error_above(node, IssueCode::Value, "fhir.reference.conditional", text);
}

/// Base, type and id of a RESTful url: `http://a/fhir/`, `Patient/1`.
pub(crate) fn rest_base(full_url: &str) -> Option<&str> {
    let name = implied_type(full_url)?;
    let id = full_url.rsplit('/').next()?;
    let tail = name.len() + 1 + id.len();
    if !is_absolute(full_url) {
        return None;
    }
    full_url.get(..full_url.len().checked_sub(tail)?)
}

/// Joined to be looked up among full urls.
pub(crate) fn absolute<'u>(base: Option<&str>, url: &'u str) -> Option<Cow<'u, str>> {
    if is_absolute(url) {
        return Some(Cow::Borrowed(url));
    }
    base.map(|base| Cow::Owned(format!("{base}{url}")))
}
