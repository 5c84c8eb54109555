//! Bindings (<https://hl7.org/fhir/R4/terminologies.html#strength>).

use crate::report::{IssueCode, Severity};
use crate::schema::{Membership, Special, Strength, ValueSet};
use crate::tape::Cursor;
use crate::walk::Walk;

/// A code without a system: `code`, `string`, `uri`.
pub(crate) fn code<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    row: u16,
    strength: Strength,
    text: &str,
) {
    if !asked(walk, strength) {
        return;
    }
    let Some(set) = walk.schema.value_set(row) else { return };
    let verdict = holds(walk, set, text, None);
    settle(walk, node, row, strength, verdict);
}

/// A `code` that has an extension and no value. A required binding asks for one of its codes
/// (<https://hl7.org/fhir/R4/terminologies.html#required>), and the reason why there is none is no code.
pub(crate) fn absent<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    row: u16,
    strength: Strength,
) {
    let required = strength == Strength::Required && asked(walk, strength);
    let Some(set) = walk.schema.value_set(row).filter(|_| required) else { return };
    let url = walk.schema.str(set.url);
    let text = format!("there is no code here, and one of the value set `{url}` is required; give one");
    walk.note(node, Severity::Error, IssueCode::CodeInvalid, "fhir.binding.no-code", text);
}

/// A Coding, CodeableConcept or Quantity, or a primitive under the binding of a profile.
pub(crate) fn element<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    special: Special,
    row: u16,
    strength: Strength,
) {
    if !asked(walk, strength) {
        return;
    }
    // A concept without codes says in its text what is meant, and only a required binding forbids that
    // (https://hl7.org/fhir/R4/terminologies.html#extensible).
    let coded = special != Special::CodeableConcept || node.get("coding").is_some();
    if coded || strength == Strength::Required {
        let verdict = verdict(walk, node, special, row);
        settle(walk, node, row, strength, verdict);
    }
}

/// The maximum value set of a binding: codes outside of it are wrong even where the binding is a recommendation
/// (<https://hl7.org/fhir/R4/extension-elementdefinition-maxvalueset.html>).
pub(crate) fn maximum<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, special: Special, row: u16) {
    let coded = match special {
        Special::CodeableConcept => {
            node.get("coding").into_iter().flat_map(Cursor::children).any(|c| c.get("code").is_some())
        }
        Special::Coding => node.get("code").is_some(),
        _ => true,
    };
    if !walk.options.terminology || !coded {
        return;
    }
    match verdict(walk, node, special, row) {
        Some(true) => walk.evaluated += 1,
        Some(false) => {
            walk.evaluated += 1;
            let url = walk.schema.value_set(row).map_or("", |set| walk.schema.str(set.url));
            let text =
                format!("no code of the value set `{url}` is given here, and there are no others; use one");
            walk.note(node, Severity::Error, IssueCode::CodeInvalid, "fhir.binding.maximum", text);
        }
        None => walk.unchecked_binding(row),
    }
}

/// Whether bindings of this strength are checked.
fn asked(walk: &Walk<'_, '_, '_>, strength: Strength) -> bool {
    walk.options.terminology && (strength != Strength::Preferred || walk.options.preferred_bindings)
}

fn settle<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    row: u16,
    strength: Strength,
    verdict: Option<bool>,
) {
    let schema = walk.schema;
    match verdict {
        Some(true) => walk.evaluated += 1,
        Some(false) => {
            walk.evaluated += 1;
            let url = schema.value_set(row).map_or("", |set| schema.str(set.url));
            let (severity, id, advice) = match strength {
                Strength::Required => {
                    (Severity::Error, "fhir.binding.required", ", and one is required; use one of its codes")
                }
                Strength::Extensible => {
                    (Severity::Warning, "fhir.binding.extensible", "; use one of its codes if one fits")
                }
                Strength::Preferred => {
                    (Severity::Information, "fhir.binding.preferred", "; its codes are preferred")
                }
            };
            let text = format!("no code of the value set `{url}` is given here{advice}");
            walk.note(node, severity, IssueCode::CodeInvalid, id, text);
        }
        None => walk.unchecked_binding(row),
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
        Membership::Partial => {
            if schema.codes(set, code).any(|c| system.is_none_or(|s| schema.str(c.system) == s)) {
                return Some(true);
            }
            let open = |name: &str| name.is_empty() || system.is_none_or(|s| s == name);
            if schema.names(set.unknown).any(open) { None } else { Some(false) }
        }
        Membership::Unknown => None,
    }
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

/// A term of UCUM (<https://ucum.org/ucum> section 2) of units that it defines.
pub(crate) fn is_unit(text: &str) -> bool {
    crate::fhirpath::is_unit(text)
}

/// A well-formed tag of BCP 47 (RFC 5646 section 2.1): language with extended language, script,
/// region, variants, extensions and private use, or one of the irregular grandfathered tags. Whether
/// the parts are registered is not decided.
pub(crate) fn is_language(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if GRANDFATHERED.split(' ').any(|tag| tag == lower) {
        return true;
    }
    let parts: Vec<&str> = lower.split('-').collect();
    let sound = |p: &&str| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric());
    let Some((language, mut rest)) = parts.split_first().filter(|_| parts.iter().all(sound)) else {
        return false;
    };
    let letters = |p: &str| p.bytes().all(|b| b.is_ascii_alphabetic());
    let digits = |p: &str| p.bytes().all(|b| b.is_ascii_digit());
    if *language == "x" {
        return !rest.is_empty();
    }
    if language.len() < 2 || !letters(language) {
        return false;
    }
    let mut take = |most: usize, fits: &dyn Fn(&str) -> bool| {
        let count = rest.iter().take(most).take_while(|p| fits(p)).count();
        rest = rest.get(count..).unwrap_or_default();
    };
    if language.len() <= 3 {
        take(3, &|p| p.len() == 3 && letters(p));
    }
    take(1, &|p| p.len() == 4 && letters(p));
    take(1, &|p| (p.len() == 2 && letters(p)) || (p.len() == 3 && digits(p)));
    let digit_first = |p: &str| p.starts_with(|c: char| c.is_ascii_digit());
    take(usize::MAX, &|p| p.len() >= 5 || (p.len() == 4 && digit_first(p)));
    // Extensions: a letter or digit and parts of two characters or more; `x` takes all that follows.
    while let Some((single, more)) = rest.split_first() {
        let private = *single == "x";
        let count = if private { more.len() } else { more.iter().take_while(|p| p.len() >= 2).count() };
        if single.len() != 1 || count == 0 {
            return false;
        }
        rest = more.get(count..).unwrap_or_default();
    }
    true
}

const GRANDFATHERED: &str = "en-gb-oed i-ami i-bnn i-default i-enochian i-hak i-klingon i-lux i-mingo \
    i-navajo i-pwn i-tao i-tay i-tsu sgn-be-fr sgn-be-nl sgn-ch-de";

#[cfg(test)]
mod tests {
    use super::{is_language, is_media_type, is_unit};

    #[test]
    fn languages_are_well_formed_tags() {
        let good = "en de-CH zh-Hant-TW sr-Latn de-CH-1996 sl-rozaj-biske es-419 x-private zh-cmn-Hans-CN \
            de-a-value-b-other-x-1 i-klingon en-GB-oed";
        for tag in good.split(' ') {
            assert!(is_language(tag), "{tag}");
        }
        for tag in
            ["", "e", "en_US", "en-", "-en", "en-a", "englishlanguage", "de-DE-DE", "x", "en-US-x", "123"]
        {
            assert!(!is_language(tag), "{tag}");
        }
    }

    #[test]
    fn units_are_terms_of_ucum() {
        let good = "mg mm[Hg] kg/m2 10*9/L {score} /min mL/min/{1.73_m2} Cel % [iU]/mL ug/(24.h) 1 [pH] \
            10^3/uL m.s-2 mmol/mol{creat}";
        for unit in good.split(' ') {
            assert!(is_unit(unit), "{unit}");
        }
        for unit in ["", "mgg", "kilogram", "mg/", "mm[Hg", "mg mL", "(mg", "{open", "Kg", "m^2"] {
            assert!(!is_unit(unit), "{unit}");
        }
    }

    #[test]
    fn media_types_have_two_names() {
        for ty in ["text/plain", "application/fhir+json; fhirVersion=4.0", "image/svg+xml"] {
            assert!(is_media_type(ty), "{ty}");
        }
        for ty in ["", "text", "text/", "/plain", "te xt/plain", "text/pl/ain"] {
            assert!(!is_media_type(ty), "{ty}");
        }
    }
}
