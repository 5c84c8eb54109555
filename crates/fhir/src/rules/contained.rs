//! Contained resources (<https://hl7.org/fhir/R4/references.html#contained>, dom-2 to dom-5).

use crate::report::IssueCode;
use crate::tape::Cursor;
use crate::walk::{Contained, Walk};

/// What one contained resource must and must not have.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if let Some(nested) = node.get("contained") {
        let text = "a contained resource contains no resources; move them to the outer one";
        walk.invariant(nested, "http://hl7.org/fhir/StructureDefinition/DomainResource#dom-2", text);
    }
    if node.get("id").is_none() {
        let text = "a contained resource needs an id; add it and refer to it with `#id`";
        walk.error(node, IssueCode::Required, "fhir.contained.id", text);
    }
    let Some(meta) = node.get("meta") else { return };
    for key in ["versionId", "lastUpdated"] {
        if let Some(found) = meta.get(key) {
            let text = "a contained resource has no version of its own; remove it";
            let id = "http://hl7.org/fhir/StructureDefinition/DomainResource#dom-4";
            walk.invariant(found, id, text);
        }
    }
    if let Some(found) = meta.get("security") {
        let text = "a contained resource has no security labels of its own; remove them";
        walk.invariant(found, "http://hl7.org/fhir/StructureDefinition/DomainResource#dom-5", text);
    }
}

/// dom-3: every contained resource is referred to, or refers to its container.
pub(crate) fn unused(walk: &mut Walk<'_, '_, '_>, contained: &[Contained<'_>]) {
    if !walk.options.contained {
        return;
    }
    if walk.holds_withheld() {
        // A withheld reference may be the one that uses it.
        walk.unevaluated.withheld += contained.iter().filter(|c| !c.used).count() as u64;
        return;
    }
    for c in contained.iter().filter(|c| !c.used) {
        let text = "nothing in this resource refers to this contained resource; refer to it or \
            remove it";
        let node = walk.tape.cursor(c.node);
        walk.invariant(node, "http://hl7.org/fhir/StructureDefinition/DomainResource#dom-3", text);
    }
}
