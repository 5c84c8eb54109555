//! ConceptMap (<https://hl7.org/fhir/R4/conceptmap.html>): codes are in their systems and value sets.

use super::coding;
use super::expand::{Membership, membership};
use crate::report::{IssueCode, Severity};
use crate::schema::{CodeState, items, text_of};
use crate::tape::Cursor;
use crate::walk::Walk;

/// One side of a map.
struct Side {
    system: String,
    version: String,
    /// Canonical of the value set; empty: not told.
    value_set: String,
    /// Of a code outside the value set. A map may lead to more than its target set holds.
    outside: Severity,
}

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if walk.holds_withheld() {
        walk.unevaluated.withheld += 1;
        return;
    }
    let set = |side: &str| {
        let canonical = text_of(node, &format!("{side}Canonical"));
        if canonical.is_empty() { text_of(node, &format!("{side}Uri")) } else { canonical }
    };
    let (source_set, target_set) = (set("source"), set("target"));
    for group in items(node, "group") {
        let side = |name: &str, set: &str, outside| Side {
            system: text_of(group, name),
            version: text_of(group, &format!("{name}Version")),
            value_set: set.to_owned(),
            outside,
        };
        let source = side("source", &source_set, Severity::Error);
        let target = side("target", &target_set, Severity::Warning);
        for element in items(group, "element") {
            one(walk, element, &source);
            for to in items(element, "target") {
                one(walk, to, &target);
            }
        }
    }
}

fn one<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, side: &Side) {
    let Some(code_node) = node.get("code") else { return };
    let Some(code) = code_node.as_str() else { return };
    if side.system.is_empty() {
        return;
    }
    let version = Some(side.version.as_str()).filter(|v| !v.is_empty());
    match walk.schema.code_state(&side.system, version, &code) {
        CodeState::Unknown => {
            let text = "this code is not in the code system of its group; correct it";
            let severity = coding::severity(&side.system);
            walk.note(code_node, severity, IssueCode::CodeInvalid, "fhir.concept-map.code", text);
        }
        CodeState::Known(_) | CodeState::NotHeld => {
            if side.value_set.is_empty() {
                return;
            }
            match membership(walk.schema, &side.value_set, &side.system, &code) {
                Membership::Out => {
                    let text = "this code is not in the value set that the map speaks of; correct it";
                    let id = "fhir.concept-map.value-set";
                    walk.note(code_node, side.outside, IssueCode::CodeInvalid, id, text);
                }
                Membership::In => {}
                Membership::NotHeld => walk.unevaluated.terminology += 1,
            }
        }
    }
}
