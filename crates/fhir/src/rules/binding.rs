//! Bindings (<https://hl7.org/fhir/R4/terminologies.html#strength>).

use crate::report::{IssueCode, Severity};
use crate::schema::{Membership, Special, ValueSet};
use crate::tape::Cursor;
use crate::walk::Walk;

const ID: &str = "fhir.binding.required";

/// A code without a system: `code`, `string`, `uri`.
pub(crate) fn code<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, row: u16, text: &str) {
    let schema = walk.schema;
    let Some(set) = schema.value_set(row) else { return };
    match holds(walk, set, text, None) {
        Some(true) => walk.evaluated += 1,
        Some(false) => refuse(walk, node, set),
        None => walk.unevaluated.terminology += 1,
    }
}

/// A Coding, CodeableConcept or Quantity.
pub(crate) fn complex<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, special: Special, row: u16) {
    of_profile(walk, node, special, row, true);
}

/// A binding of a profile: required, or extensible and then only a warning.
pub(crate) fn of_profile<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    special: Special,
    row: u16,
    required: bool,
) {
    let schema = walk.schema;
    let Some(set) = schema.value_set(row) else { return };
    match verdict(walk, node, special, row) {
        Some(true) => walk.evaluated += 1,
        Some(false) if required => refuse(walk, node, set),
        Some(false) => {
            let text = format!(
                "no code of the value set `{}` is given here; use one of its codes if one fits",
                schema.str(set.url),
            );
            walk.note(node, Severity::Warning, IssueCode::CodeInvalid, "fhir.binding.extensible", text);
        }
        None => walk.unevaluated.terminology += 1,
    }
}

/// Whether a coded value has a code of the value set; `None`: the packages cannot tell, or the code
/// is withheld. What is not coded at all passes.
pub(crate) fn verdict(
    walk: &Walk<'_, '_, '_>,
    node: Cursor<'_, '_>,
    special: Special,
    row: u16,
) -> Option<bool> {
    let set = walk.schema.value_set(row)?;
    match special {
        Special::Coding => coding(walk, node, set),
        Special::Quantity => match node.get("code") {
            // A quantity without coded unit makes no claim about its unit.
            None => Some(true),
            Some(_) => coding(walk, node, set),
        },
        Special::CodeableConcept => {
            let mut any = Some(false);
            for item in node.get("coding").into_iter().flat_map(Cursor::children) {
                any = match (any, coding(walk, item, set)) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (None, _) | (_, None) => None,
                    _ => Some(false),
                };
            }
            any
        }
        _ if walk.withholds(node.id()) => None,
        _ => node.as_str().map_or(Some(true), |text| holds(walk, set, &text, None)),
    }
}

fn coding(walk: &Walk<'_, '_, '_>, node: Cursor<'_, '_>, set: &ValueSet) -> Option<bool> {
    let (code, system) = (node.get("code"), node.get("system"));
    let unknown = [code, system].into_iter().flatten().any(|n| walk.withholds(n.id()));
    if unknown {
        return None;
    }
    let Some(code) = code.and_then(Cursor::as_str) else { return Some(false) };
    let system = system.and_then(Cursor::as_str).unwrap_or_default();
    holds(walk, set, &code, Some(&system))
}

/// `None`: the packages cannot tell.
fn holds(walk: &Walk<'_, '_, '_>, set: &ValueSet, code: &str, system: Option<&str>) -> Option<bool> {
    let schema = walk.schema;
    match set.membership {
        Membership::Listed => {
            Some(schema.codes(set, code).any(|c| system.is_none_or(|s| schema.str(c.system) == s)))
        }
        Membership::MediaType => {
            // https://hl7.org/fhir/R4/http.html#mime-type: `xml`, `json` and `ttl` are short forms.
            let short = matches!(code, "xml" | "json" | "ttl") && system.is_none();
            Some(short || (is_media_type(code) && system.is_none_or(|s| s == "urn:ietf:bcp:13")))
        }
        Membership::Ucum => Some(is_unit(code) && system.is_none_or(|s| s == "http://unitsofmeasure.org")),
        Membership::Language => Some(is_language(code) && system.is_none_or(|s| s == "urn:ietf:bcp:47")),
        Membership::Unknown => None,
    }
}

fn refuse<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, set: &ValueSet) {
    let text = format!(
        "no code of the value set `{}` is given here, and one is required; use one of its codes",
        walk.schema.str(set.url),
    );
    walk.error(node, IssueCode::CodeInvalid, ID, text);
}

/// `type/subtype` with parameters, names of RFC 6838 section 4.2.
pub(crate) fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let name = |n: &str| {
        (1..=127).contains(&n.len())
            && n.starts_with(|c: char| c.is_ascii_alphanumeric())
            && n.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    essence.split_once('/').is_some_and(|(ty, sub)| name(ty) && name(sub))
}

/// The shape of a UCUM term (<https://ucum.org/ucum> section 2): printable ASCII without blanks,
/// brackets in pairs.
pub(crate) fn is_unit(text: &str) -> bool {
    let mut open = Vec::new();
    for b in text.bytes() {
        match b {
            b'(' | b'[' | b'{' if open.last() != Some(&b'{') => open.push(b),
            b')' | b']' | b'}' => {
                let wanted = match b {
                    b')' => b'(',
                    b']' => b'[',
                    _ => b'{',
                };
                if open.last() == Some(&wanted) {
                    open.pop();
                } else if open.last() != Some(&b'{') {
                    return false;
                }
            }
            0x21..=0x7e => {}
            _ => return false,
        }
    }
    open.is_empty() && !text.is_empty()
}

/// The shape of a BCP 47 tag (RFC 5646 section 2.1).
pub(crate) fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    let primary = (2..=8).contains(&first.len()) || matches!(first, "x" | "i");
    primary
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && parts.all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()))
}
