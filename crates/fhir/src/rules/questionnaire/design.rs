//! Rules of a Questionnaire itself, beside its constraints que-*
//! (<https://hl7.org/fhir/R4/questionnaire-definitions.html>).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::form::Kind;
use super::value::typed;
use crate::report::{IssueCode, Severity};
use crate::schema::{items, text_of};
use crate::tape::{Cursor, NodeId};
use crate::walk::Walk;

/// A link id's first item: where it is and how far it reaches.
struct Place {
    node: NodeId,
    end: u32,
    kind: Kind,
}

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if walk.holds_withheld() {
        walk.unevaluated.withheld += 1;
        return;
    }
    let mut places = BTreeMap::new();
    collect(node, &mut places);
    level(walk, node, &places);
}

fn collect<'a>(node: Cursor<'_, 'a>, places: &mut BTreeMap<Cow<'a, str>, Place>) {
    for item in items(node, "item") {
        if let Some(link) = item.get("linkId").and_then(Cursor::as_str) {
            places.entry(link).or_insert_with(|| Place {
                node: item.id(),
                end: item.node().next,
                kind: Kind::of(&text_of(item, "type")),
            });
        }
        collect(item, places);
    }
}

fn level<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, places: &BTreeMap<Cow<'a, str>, Place>) {
    for item in items(node, "item") {
        conditions(walk, item, places);
        values(walk, item);
        level(walk, item, places);
    }
}

fn conditions<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    item: Cursor<'t, 'a>,
    places: &BTreeMap<Cow<'a, str>, Place>,
) {
    let count = items(item, "enableWhen").count();
    // que-12 as published counts to more than two; its text says more than one.
    if count == 2 && item.get("enableBehavior").is_none() {
        let text = "there are several `enableWhen`; say with `enableBehavior` whether all or any must hold";
        walk.invariant(item, "http://hl7.org/fhir/StructureDefinition/Questionnaire#que-12", text);
    }
    for condition in items(item, "enableWhen") {
        let Some(question) = condition.get("question").and_then(Cursor::as_str) else { continue };
        let Some(place) = places.get(&question) else {
            let text = "no item has the link id that `question` names; correct it";
            walk.error(condition, IssueCode::NotFound, "fhir.questionnaire.enable-when.question", text);
            continue;
        };
        let own = item.id();
        if place.node == own {
            let text = "an item cannot depend on its own answer; name another question";
            walk.error(condition, IssueCode::BusinessRule, "fhir.questionnaire.enable-when.self", text);
        } else if place.node > own && place.node.0 < item.node().next {
            let text = "an item cannot depend on a question inside it; name another question";
            walk.error(condition, IssueCode::BusinessRule, "fhir.questionnaire.enable-when.inner", text);
        } else if place.node > own && place.end > item.node().next {
            let text = "this condition depends on a question that comes later; put that question first";
            let id = "fhir.questionnaire.enable-when.later";
            walk.note(condition, Severity::Warning, IssueCode::BusinessRule, id, text);
        }
        let wanted = place.kind.answers();
        let exists = condition.get("operator").is_some_and(|o| o.str_is("exists"));
        if let Some(answer) = typed(condition, "answer")
            && !exists
            && !wanted.is_empty()
            && !wanted.contains(&answer.ty)
        {
            let text = "the question has answers of another type, so this condition never holds; correct it";
            let id = "fhir.questionnaire.enable-when.type";
            walk.note(answer.node, Severity::Warning, IssueCode::BusinessRule, id, text);
        }
    }
}

/// Options and initial values have the type of the item.
fn values<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, item: Cursor<'t, 'a>) {
    let kind = Kind::of(&text_of(item, "type"));
    let wanted = kind.answers();
    if wanted.is_empty() {
        return;
    }
    for (list, id) in
        [("answerOption", "fhir.questionnaire.option.type"), ("initial", "fhir.questionnaire.initial.type")]
    {
        for entry in items(item, list) {
            if let Some(value) = typed(entry, "value")
                && !wanted.contains(&value.ty)
            {
                let text = format!("an item of this type takes {}, not {}", wanted.join(" or "), value.ty);
                walk.error(value.node, IssueCode::Structure, id, text);
            }
        }
    }
}
