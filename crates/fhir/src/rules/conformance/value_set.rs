//! ValueSet (<https://hl7.org/fhir/R4/valueset.html>): what it is composed of.

use super::{coding, ecl, sctid};
use crate::fhirpath::Decimal;
use crate::report::{IssueCode, Severity};
use crate::rules::primitive::is_absolute;
use crate::schema::{CodeState, Schema, items, text_of};
use crate::search::DateRange;
use crate::tape::Cursor;
use crate::walk::Walk;

const FILTER: &str = "fhir.value-set.filter";

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let Some(compose) = node.get("compose") else { return };
    if walk.holds_withheld() {
        walk.unevaluated.withheld += 1;
        return;
    }
    for part in items(compose, "include").chain(items(compose, "exclude")) {
        included(walk, part);
    }
}

fn included<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, part: Cursor<'t, 'a>) {
    let Some(system) = part.get("system").and_then(Cursor::as_str) else { return };
    if !is_absolute(&system) {
        let text = "the system is an absolute url; for a contained code system give its url, and its \
            id with the extension `valueset-system`";
        walk.error(part, IssueCode::Value, "fhir.value-set.system", text);
        return;
    }
    if system.contains('|') {
        let text = "the version of the system stands in `version`, not behind its url; move it there";
        walk.error(part, IssueCode::BusinessRule, "fhir.value-set.version", text);
        return;
    }
    let schema = walk.schema;
    let version = part.get("version").and_then(Cursor::as_str);
    let version = version.as_deref();
    if schema.systems_at(&system).is_empty() && schema.value_set_row(&system).is_some() {
        let text =
            "this is the url of a value set; give that of the code system, or import it with `valueSet`";
        walk.error(part, IssueCode::BusinessRule, "fhir.value-set.system", text);
        return;
    }
    if schema.system(&system, version).is_some_and(|s| !schema.str(s.supplements).is_empty()) {
        let text = "this code system only supplements another one; give the url of that one";
        walk.error(part, IssueCode::BusinessRule, "fhir.value-set.system", text);
        return;
    }
    for concept in items(part, "concept") {
        let Some(code) = concept.get("code").and_then(Cursor::as_str) else { continue };
        if let Some(severity) = wrong_code(schema, &system, version, &code) {
            let text = "this code is not in the system; correct or remove it";
            walk.note(concept, severity, IssueCode::CodeInvalid, "fhir.value-set.concept", text);
        }
    }
    for filter in items(part, "filter") {
        one_filter(walk, filter, &system, version);
    }
}

/// `None`: it is in the system, or nobody here knows.
fn wrong_code(schema: &Schema, system: &str, version: Option<&str>, code: &str) -> Option<Severity> {
    if system == sctid::SYSTEM {
        let plain = code.bytes().all(|b| b.is_ascii_alphanumeric());
        return (plain && !sctid::is_concept(code)).then_some(Severity::Error);
    }
    match schema.code_state(system, version, code) {
        CodeState::Unknown => Some(coding::severity(system)),
        CodeState::Known(_) | CodeState::NotHeld => None,
    }
}

/// The value that a filter compares with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Code,
    Boolean,
    Integer,
    Decimal,
    DateTime,
    Coding,
    Any,
}

/// <https://hl7.org/fhir/R4/valueset-definitions.html#ValueSet.compose.include.filter>
fn one_filter<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    filter: Cursor<'t, 'a>,
    system: &str,
    version: Option<&str>,
) {
    let (property, op, value) =
        (text_of(filter, "property"), text_of(filter, "op"), text_of(filter, "value"));
    if value.is_empty() {
        return;
    }
    let schema = walk.schema;
    let mut fail = |text: &'static str| walk.error(filter, IssueCode::Value, FILTER, text);
    match op.as_str() {
        "exists" => {
            if !matches!(value.as_str(), "true" | "false") {
                fail("a filter with `exists` has the value `true` or `false`; correct it");
            }
            return;
        }
        "regex" => {
            if regex::RegexBuilder::new(&value).size_limit(1 << 20).build().is_err() {
                let text = "this regular expression cannot be read here; check it";
                walk.note(filter, Severity::Warning, IssueCode::Value, FILTER, text);
            }
            return;
        }
        _ => {}
    }
    if system == sctid::SYSTEM && property == "constraint" {
        if !ecl::is_expression(&value) {
            fail("the value is no expression of the Expression Constraint Language; correct it");
        }
        return;
    }
    let Some(ty) = filter_type(schema, system, version, &property, &op) else {
        let text = "the code system has neither property nor filter of this name; correct it";
        walk.note(filter, Severity::Warning, IssueCode::Value, FILTER, text);
        return;
    };
    let list = matches!(op.as_str(), "in" | "not-in");
    let values: Vec<&str> = if list { value.split(',').collect() } else { vec![value.as_str()] };
    for value in values {
        match wrong_value(schema, system, version, ty, value) {
            Some(Severity::Error) => {
                walk.error(
                    filter,
                    IssueCode::Value,
                    FILTER,
                    "the value does not fit this property; correct it",
                );
            }
            Some(severity) => {
                let text = "the value does not fit this property as far as the packages know; check it";
                walk.note(filter, severity, IssueCode::Value, FILTER, text);
            }
            None => {}
        }
    }
}

/// `None`: the system is held and has nothing of this name.
fn filter_type(
    schema: &Schema,
    system: &str,
    version: Option<&str>,
    property: &str,
    op: &str,
) -> Option<Type> {
    // Properties that all code systems have: https://hl7.org/fhir/R4/codesystem.html#defined-props
    match property {
        "concept" | "code" if matches!(op, "is-a" | "is-not-a" | "descendent-of" | "generalizes" | "=") => {
            return Some(Type::Code);
        }
        "concept" | "code" | "display" | "definition" => return Some(Type::Any),
        "inactive" | "notSelectable" => return Some(Type::Boolean),
        _ => {}
    }
    let Some(known) = schema.system(system, version) else { return Some(Type::Any) };
    let named = |entry: &str| entry.rsplit_once(':').is_some_and(|(code, _)| code == property);
    if schema.names(known.filters).any(named) {
        return Some(Type::Any);
    }
    let declared = schema.names(known.properties).find(|entry| named(entry))?;
    Some(match declared.rsplit_once(':').map_or("", |(_, ty)| ty) {
        "boolean" => Type::Boolean,
        "integer" => Type::Integer,
        "decimal" => Type::Decimal,
        "dateTime" => Type::DateTime,
        "Coding" => Type::Coding,
        _ => Type::Any,
    })
}

fn wrong_value(
    schema: &Schema,
    system: &str,
    version: Option<&str>,
    ty: Type,
    value: &str,
) -> Option<Severity> {
    // Numbers and dates may have a prefix, as in searches.
    let bare = match value.get(..2) {
        Some("eq" | "ne" | "gt" | "lt" | "ge" | "le" | "sa" | "eb" | "ap") => {
            value.get(2..).unwrap_or_default()
        }
        _ => value,
    };
    let fits = match ty {
        Type::Any => true,
        Type::Boolean => matches!(value, "true" | "false"),
        Type::Integer => bare.parse::<i64>().is_ok(),
        Type::Decimal => Decimal::parse(bare).is_some(),
        Type::DateTime => DateRange::parse(bare).is_some(),
        Type::Code => return wrong_code(schema, system, version, value),
        Type::Coding => {
            let (system, code) = value.split_once('#')?;
            return wrong_code(schema, system, None, code);
        }
    };
    (!fits).then_some(Severity::Error)
}
