//! CodeSystem (<https://hl7.org/fhir/R4/codesystem.html>).

use std::collections::BTreeMap;

use super::coding;
use crate::report::{IssueCode, Severity};
use crate::schema::{CodeState, items, text_of};
use crate::tape::Cursor;
use crate::walk::Walk;

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if walk.holds_withheld() {
        walk.unevaluated.withheld += 1;
        return;
    }
    let content = text_of(node, "content");
    let supplements = text_of(node, "supplements");
    let place = node.get("content").unwrap_or(node);
    if supplements.is_empty() && content == "supplement" {
        let text = "a supplement names the code system that it supplements; add `supplements`";
        walk.error(place, IssueCode::BusinessRule, "fhir.code-system.supplement", text);
    }
    if !supplements.is_empty() {
        if content != "supplement" {
            let text = "a code system that supplements another has the content `supplement`; correct it";
            walk.error(place, IssueCode::BusinessRule, "fhir.code-system.supplement", text);
        }
        for key in ["caseSensitive", "hierarchyMeaning"] {
            if let Some(own) = node.get(key) {
                let text = format!("`{key}` is that of the code system supplemented; remove it");
                walk.error(own, IssueCode::BusinessRule, "fhir.code-system.supplement", text);
            }
        }
    }
    if content == "not-present"
        && let Some(first) = items(node, "concept").next()
    {
        let text = "the content says that no concepts are present, but here they are; correct one";
        walk.error(first, IssueCode::BusinessRule, "fhir.code-system.not-present", text);
    }
    let properties: BTreeMap<String, String> =
        items(node, "property").map(|p| (text_of(p, "code"), text_of(p, "type"))).collect();
    let count = concepts(walk, node, &properties, &supplements);
    if let Some(stated) = node.get("count")
        && let Some(number) = stated.number().and_then(|n| n.parse::<usize>().ok())
    {
        let partial = matches!(content.as_str(), "fragment" | "example");
        let text = format!("`count` differs from the number of concepts, which is {count}; correct it");
        let id = "fhir.code-system.count";
        if content == "complete" && count != number {
            walk.error(stated, IssueCode::BusinessRule, id, text);
        } else if partial && count >= number {
            walk.note(stated, Severity::Warning, IssueCode::BusinessRule, id, text);
        }
    }
}

/// Checks the concepts below `node` and gives their number.
fn concepts<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    properties: &BTreeMap<String, String>,
    supplements: &str,
) -> usize {
    let mut count = 0;
    for concept in items(node, "concept") {
        count += 1;
        if !supplements.is_empty() {
            let (url, version) = supplements.split_once('|').unwrap_or((supplements, ""));
            let version = Some(version).filter(|v| !v.is_empty());
            if let CodeState::Unknown = walk.schema.code_state(url, version, &text_of(concept, "code")) {
                let text = "the code system supplemented has no such code; a supplement adds none";
                let id = "fhir.code-system.supplement.code";
                walk.note(concept, coding::severity(url), IssueCode::BusinessRule, id, text);
            }
        }
        for property in items(concept, "property") {
            one_property(walk, property, properties);
        }
        count += concepts(walk, concept, properties, supplements);
    }
    count
}

/// <https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.concept.property.value_x_>
fn one_property<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    property: Cursor<'t, 'a>,
    properties: &BTreeMap<String, String>,
) {
    let Some(declared) = properties.get(&text_of(property, "code")) else {
        let text = "the code system declares no property of this code; add it to `property`";
        let id = "fhir.code-system.property";
        walk.note(property, Severity::Warning, IssueCode::BusinessRule, id, text);
        return;
    };
    let given = property.children().find_map(|c| c.raw_key()?.strip_prefix("value"));
    if let Some(given) = given
        && !declared.is_empty()
        && !given.eq_ignore_ascii_case(declared)
    {
        let text = "the value of this property is not of the type that the code system declares for it";
        walk.error(property, IssueCode::BusinessRule, "fhir.code-system.property.type", text);
    }
}
