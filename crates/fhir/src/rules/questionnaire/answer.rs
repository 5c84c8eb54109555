//! One answer: its type, and whether it is among the options.

use super::form::{Item, Kind};
use super::limits;
use super::response::{Pass, shown};
use super::value::{Typed, typed};
use crate::report::{IssueCode, Severity};
use crate::rules::conformance::expand::{self, Membership};
use crate::schema::text_of;
use crate::tape::Cursor;

const OPTION: &str = "fhir.questionnaire-response.option";

/// `count`: how many answers there are to the question.
pub(super) fn check<'t, 'a>(
    pass: &mut Pass<'_, '_, 't, 'a>,
    answer: Cursor<'t, 'a>,
    item: &Item,
    count: usize,
) {
    let Some(value) = typed(answer, "value") else { return };
    let wanted = item.kind.answers();
    if !wanted.is_empty() && !wanted.contains(&value.ty) {
        let text = format!("{} takes {}, not {}", shown(item), wanted.join(" or "), value.ty);
        pass.error(value.node, IssueCode::Structure, "fhir.questionnaire-response.type", text);
        return;
    }
    if pass.hides(value.node) {
        pass.walk.unevaluated.withheld += 1;
        return;
    }
    if !item.exclusive.is_empty() && count > 1 && item.exclusive.binary_search(&value.key()).is_ok() {
        let text = format!("this answer to {} excludes all others; remove them or it", shown(item));
        pass.error(answer, IssueCode::BusinessRule, "fhir.questionnaire-response.exclusive", text);
    }
    options(pass, answer, value, item);
    limits::check(pass, answer, value, item);
}

fn options<'t, 'a>(
    pass: &mut Pass<'_, '_, 't, 'a>,
    answer: Cursor<'t, 'a>,
    value: Typed<'t, 'a>,
    item: &Item,
) {
    let choice = matches!(item.kind, Kind::Choice | Kind::OpenChoice);
    // https://hl7.org/fhir/R4/valueset-item-type.html: open-choice is a coding drawn from a list of
    // possible answers, or a free-text entry captured as a string.
    let free = item.kind == Kind::OpenChoice
        && (value.ty == "string" || (value.ty == "Coding" && uncoded(value.node)));
    if free {
        if value.ty == "string" && item.displays.binary_search(&value.text()).is_ok() {
            let text = "this text is that of an option; give the option's code instead";
            let id = "fhir.questionnaire-response.text-of-option";
            pass.walk.note(answer, Severity::Warning, IssueCode::BusinessRule, id, text);
        }
        return;
    }
    if !item.options.is_empty() {
        if item.options.binary_search(&value.key()).is_err() {
            let text = format!("{} offers options, and this is none of them; choose one", shown(item));
            let place = if choice { answer } else { value.node };
            pass.error(place, IssueCode::CodeInvalid, OPTION, text);
        }
        return;
    }
    if value.ty != "Coding" || item.value_set.is_empty() {
        return;
    }
    let coding = (text_of(value.node, "system"), text_of(value.node, "code"));
    match member(pass, &item.value_set, &coding.0, &coding.1) {
        Membership::In => {}
        Membership::Out => {
            let text = format!("this code is not in the value set that {} takes; choose one", shown(item));
            pass.error(answer, IssueCode::CodeInvalid, OPTION, text);
        }
        Membership::NotHeld => pass.walk.unevaluated.terminology += 1,
    }
}

/// Membership in a value set of the packages or one that the questionnaire contains.
pub(super) fn member(pass: &Pass<'_, '_, '_, '_>, set: &str, system: &str, code: &str) -> Membership {
    match set.strip_prefix('#') {
        Some(id) => match pass.form.contained_set(id) {
            Some(Some(codes)) => codes.membership(system, code),
            _ => Membership::NotHeld,
        },
        None => expand::membership(pass.walk.schema, set, system, code),
    }
}

/// Only a display.
fn uncoded(node: Cursor<'_, '_>) -> bool {
    node.get("code").is_none() && node.get("system").is_none() && node.get("display").is_some()
}
