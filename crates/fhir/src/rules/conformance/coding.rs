//! Codes and displays against the code systems that the packages hold
//! (<https://hl7.org/fhir/R4/terminologies.html#code-system>).

use super::sctid;
use crate::report::{IssueCode, Severity};
use crate::schema::{CodeState, Concept, Schema, System};
use crate::tape::Cursor;
use crate::walk::Walk;

/// Code systems that are looked up once.
const REMEMBERED: usize = 12;

/// Systems of this host go on growing after a release of FHIR, and their texts change: the version
/// that the packages hold does not say that a code or display is wrong, so it is only a warning.
const GROWING: &str = "http://terminology.hl7.org/";

/// Whether an unknown code of this system is an error.
pub(super) fn severity(system: &str) -> Severity {
    if system.starts_with(GROWING) { Severity::Warning } else { Severity::Error }
}

/// A Coding as a whole.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let (Some(system_node), Some(code_node)) = (node.get("system"), node.get("code")) else { return };
    let Some(system) = system_node.as_str() else { return };
    let schema = walk.schema;
    let held = systems(walk, &system);
    if held.is_empty() {
        unknown_system(walk, system_node, code_node, &system);
        return;
    }
    let version = node.get("version");
    let withheld = [Some(system_node), Some(code_node), version, node.get("display")];
    if withheld.into_iter().flatten().any(|n| walk.withholds(n.id())) {
        walk.unevaluated.withheld += 1;
        return;
    }
    let version = version.and_then(Cursor::as_str);
    let known = match version.as_deref() {
        Some(version) => held.iter().find(|s| schema.str(s.version) == version),
        None => held.last(),
    };
    let Some(known) = known else { return };
    if !schema.str(known.supplements).is_empty() {
        let text = "this code system only supplements another one; give the url of that one";
        walk.error(system_node, IssueCode::CodeInvalid, "fhir.coding.supplement", text);
        return;
    }
    let Some(code) = code_node.as_str() else { return };
    match schema.code_in(known, &code) {
        CodeState::Known(concept) => display(walk, node, concept, &system),
        CodeState::Unknown => {
            let text = "this code is not in its code system; correct it";
            walk.note(code_node, severity(&system), IssueCode::CodeInvalid, "fhir.coding.code", text);
        }
        CodeState::NotHeld => unknown_system(walk, system_node, code_node, &system),
    }
}

/// All versions that the packages hold of a system; a document uses few, so the last ones are
/// remembered.
fn systems<'v>(walk: &mut Walk<'v, '_, '_>, url: &str) -> &'v [System] {
    if let Some((_, held)) = walk.systems_met.iter().find(|(known, _)| known == url) {
        return held;
    }
    let held = walk.schema.systems_at(url);
    if walk.systems_met.len() >= REMEMBERED {
        walk.systems_met.clear();
    }
    walk.systems_met.push((url.to_owned(), held));
    held
}

/// What can be told of a code without its system.
fn unknown_system<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    system_node: Cursor<'t, 'a>,
    code_node: Cursor<'t, 'a>,
    system: &str,
) {
    if system == sctid::SYSTEM {
        if walk.withholds(code_node.id()) {
            return;
        }
        // An expression is no identifier.
        let plain = |code: &str| code.bytes().all(|b| b.is_ascii_alphanumeric());
        if code_node.as_str().is_some_and(|code| plain(&code) && !sctid::is_concept(&code)) {
            let text = "this is no SNOMED CT concept identifier; correct it";
            let id = "fhir.coding.snomed";
            walk.note(code_node, Severity::Warning, IssueCode::CodeInvalid, id, text);
        }
    } else if system.starts_with("http") && walk.schema.value_set_row(system).is_some() {
        let text = "this is the url of a value set; give that of the code system";
        walk.note(system_node, Severity::Warning, IssueCode::CodeInvalid, "fhir.coding.value-set", text);
    }
}

fn display<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, concept: &Concept, system: &str) {
    let Some(display_node) = node.get("display") else { return };
    let Some(display) = display_node.as_str() else { return };
    let schema = walk.schema;
    if schema.str(concept.display).is_empty() || is_name(schema, concept, &display) {
        return;
    }
    walk.reaches_out(); // to the language of the resource
    if translated(walk) {
        return;
    }
    let text = format!("the display of this code is `{}`; correct it", schema.str(concept.display));
    walk.note(display_node, severity(system), IssueCode::CodeInvalid, "fhir.coding.display", text);
}

/// The display or a designation, whatever the case of its letters and its blanks.
fn is_name(schema: &Schema, concept: &Concept, display: &str) -> bool {
    let same = |name: &str| words(name).eq(words(display));
    same(schema.str(concept.display)) || schema.names(concept.also).any(same)
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(str::to_lowercase)
}

/// The resource is in another language than English, and its displays may be.
fn translated(walk: &Walk<'_, '_, '_>) -> bool {
    let language = walk.tape.cursor(walk.resource).get("language").and_then(Cursor::as_str);
    language.is_some_and(|l| !l.starts_with("en"))
}
