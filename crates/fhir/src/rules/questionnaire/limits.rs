//! What extensions of a question demand of its answers: lengths, ranges, units, media types.

use std::cmp::Ordering;

use super::answer::member;
use super::form::{Item, Limits};
use super::response::{Pass, shown};
use super::value::{Amount, Ordered, Typed};
use crate::report::IssueCode;
use crate::rules::conformance::expand::Membership;
use crate::rules::primitive;
use crate::rules::reference;
use crate::schema::text_of;
use crate::tape::Cursor;

/// Message ids.
const RANGE: &str = "fhir.questionnaire-response.range";
const LENGTH: &str = "fhir.questionnaire-response.length";
const UNIT: &str = "fhir.questionnaire-response.unit";

pub(super) fn check<'t, 'a>(
    pass: &mut Pass<'_, '_, 't, 'a>,
    answer: Cursor<'t, 'a>,
    value: Typed<'t, 'a>,
    item: &Item,
) {
    let limits = &item.limits;
    match value.ty {
        "string" | "uri" => text(pass, value, item),
        "decimal" | "integer" | "date" | "dateTime" | "time" => {
            range(pass, value, item);
            decimals(pass, value, item);
        }
        "Quantity" => quantity(pass, value, item),
        "Attachment" => attachment(pass, answer, value, item),
        "Reference" if !limits.targets.is_empty() => target(pass, value, item),
        _ => {}
    }
}

fn text<'t, 'a>(pass: &mut Pass<'_, '_, 't, 'a>, value: Typed<'t, 'a>, item: &Item) {
    let limits = &item.limits;
    let text = value.text();
    let length = text.chars().count();
    if let Some(max) = limits.max_length.filter(|max| length > *max) {
        let text = format!("{} takes at most {max} characters; shorten the answer", shown(item));
        pass.error(value.node, IssueCode::Value, LENGTH, text);
    }
    if let Some(min) = limits.min_length.filter(|min| length < *min) {
        let text = format!("{} takes at least {min} characters; complete the answer", shown(item));
        pass.error(value.node, IssueCode::Value, LENGTH, text);
    }
    if limits.pattern.as_ref().is_some_and(|p| !p.is_match(&text)) {
        let text = format!("the answer has not the form that {} demands; correct it", shown(item));
        pass.error(value.node, IssueCode::Value, "fhir.questionnaire-response.pattern", text);
    }
    if limits.unread_pattern {
        pass.walk.unevaluated.invariants += 1;
    }
}

/// A date of limited precision counts by its first instant, the answer as the bound: with
/// `maxValue` 2022-06, 2022-06-30 is too late. So has it the HL7 validator.
fn range<'t, 'a>(pass: &mut Pass<'_, '_, 't, 'a>, value: Typed<'t, 'a>, item: &Item) {
    let Some(given) = Ordered::of(value) else { return };
    let against = |bound: &Option<Ordered>| bound.as_ref().and_then(|b| given.compare(b));
    let (below, above) = (against(&item.limits.min), against(&item.limits.max));
    if below == Some(Ordering::Less) {
        let text = format!("the answer is less than the least that {} takes; correct it", shown(item));
        pass.error(value.node, IssueCode::BusinessRule, RANGE, text);
    }
    if above == Some(Ordering::Greater) {
        let text = format!("the answer is greater than the most that {} takes; correct it", shown(item));
        pass.error(value.node, IssueCode::BusinessRule, RANGE, text);
    }
}

fn decimals<'t, 'a>(pass: &mut Pass<'_, '_, 't, 'a>, value: Typed<'t, 'a>, item: &Item) {
    let Some(max) = item.limits.max_decimals else { return };
    let Some(number) = value.node.number() else { return };
    let places =
        number.split_once('.').map_or(0, |(_, tail)| tail.split(['e', 'E']).next().unwrap_or_default().len());
    if places > max {
        let text = format!("{} takes at most {max} decimal places; round the answer", shown(item));
        pass.error(value.node, IssueCode::Value, "fhir.questionnaire-response.decimals", text);
    }
}

fn quantity<'t, 'a>(pass: &mut Pass<'_, '_, 't, 'a>, value: Typed<'t, 'a>, item: &Item) {
    let limits = &item.limits;
    let node = value.node;
    let (system, code) = (text_of(node, "system"), text_of(node, "code"));
    if !limits.units.is_empty() && !known_unit(limits, &system, &code, &text_of(node, "unit")) {
        let text = format!("the unit is none of those that {} takes; choose one", shown(item));
        pass.error(node, IssueCode::CodeInvalid, UNIT, text);
    }
    if !limits.unit_set.is_empty() {
        let found =
            if code.is_empty() { Membership::Out } else { member(pass, &limits.unit_set, &system, &code) };
        match found {
            Membership::In => {}
            Membership::Out => {
                let text = format!("the unit is not in the value set that {} takes; choose one", shown(item));
                pass.error(node, IssueCode::CodeInvalid, UNIT, text);
            }
            Membership::NotHeld => pass.walk.unevaluated.terminology += 1,
        }
    }
    let Some(given) = Amount::of(node) else { return };
    let bounds = [
        (&limits.min_quantity, Ordering::Less, "less than the least"),
        (&limits.max_quantity, Ordering::Greater, "greater than the most"),
    ];
    for (bound, wrong, how) in bounds {
        let Some(bound) = bound else { continue };
        match given.compare(bound) {
            Some(order) if order == wrong => {
                let text = format!("the quantity is {how} that {} takes; correct it", shown(item));
                pass.error(node, IssueCode::BusinessRule, RANGE, text);
            }
            Some(_) => {}
            None => {
                let text = format!(
                    "the quantity cannot be compared with the limit of {}: give both a unit coded in UCUM",
                    shown(item),
                );
                pass.error(node, IssueCode::BusinessRule, UNIT, text);
            }
        }
    }
    // An ordinary minValue may be a quantity as well.
    range(pass, value, item);
}

/// Codes decide; without one the unit is compared with what the options display.
fn known_unit(limits: &Limits, system: &str, code: &str, unit: &str) -> bool {
    limits.units.iter().any(|(s, c, display)| {
        if code.is_empty() {
            !unit.is_empty() && (display == unit || c == unit)
        } else {
            s == system && c == code
        }
    })
}

fn attachment<'t, 'a>(
    pass: &mut Pass<'_, '_, 't, 'a>,
    answer: Cursor<'t, 'a>,
    value: Typed<'t, 'a>,
    item: &Item,
) {
    let limits = &item.limits;
    if !limits.mime_types.is_empty() {
        let given = text_of(value.node, "contentType");
        let bare = given.split(';').next().unwrap_or_default().trim();
        if !bare.is_empty() && !limits.mime_types.iter().any(|m| m.eq_ignore_ascii_case(bare)) {
            let text = format!("{} takes no attachment of this media type", shown(item));
            pass.error(answer, IssueCode::Value, "fhir.questionnaire-response.media-type", text);
        }
    }
    let Some(max) = limits.max_size else { return };
    let data = value.node.get("data").and_then(Cursor::as_str);
    let stated = || value.node.get("size").and_then(Cursor::number).and_then(|n| n.parse().ok());
    let size = data.map(|d| primitive::base64_len(&d)).or_else(stated);
    if size.is_some_and(|s| s > max) {
        let text = format!("{} takes attachments of at most {max} bytes", shown(item));
        pass.error(answer, IssueCode::TooCostly, "fhir.questionnaire-response.size", text);
    }
}

/// `questionnaire-referenceResource`.
fn target<'t, 'a>(pass: &mut Pass<'_, '_, 't, 'a>, value: Typed<'t, 'a>, item: &Item) {
    let Some(url) = value.node.get("reference").and_then(Cursor::as_str) else { return };
    let declared = text_of(value.node, "type");
    let name = reference::implied_type(&url).unwrap_or(&declared);
    if !name.is_empty()
        && pass.walk.schema.resource_type(name).is_some()
        && !item.limits.targets.iter().any(|t| t == name)
    {
        let text = format!("{} takes no reference to a resource of this type", shown(item));
        pass.error(value.node, IssueCode::Structure, "fhir.questionnaire-response.target", text);
    }
}
