//! Profiles for the schema: their elements, reduced to what constrains a document.

use super::compile::{Build, items, text_of};
use super::model::{ProfileSource, Strength};
use super::terminology;
use crate::tape::Cursor;

/// What of an ElementDefinition a validator reads; `fixed[x]`, `pattern[x]` and the like by prefix.
const KEPT: &[&str] = &[
    "id",
    "path",
    "sliceName",
    "slicing",
    "min",
    "max",
    "type",
    "constraint",
    "contentReference",
    "maxLength",
];
const KEPT_PREFIXES: &[&str] = &["fixed", "pattern", "minValue", "maxValue"];

/// Extensions that constrain like elements of their own: url, their value, and the key under which
/// they are kept. The last two are elements of R5 in an R4 profile.
const EXTENSIONS: &[(&str, &str, &str)] = &[
    ("http://hl7.org/fhir/StructureDefinition/minLength", "valueInteger", "minLength"),
    (
        "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.valueAlternatives",
        "valueCanonical",
        "valueAlternatives",
    ),
    (
        "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.mustHaveValue",
        "valueBoolean",
        "valueAlternatives",
    ),
];

/// Keeps one constraint on a type, and compiles the value sets it binds.
pub(super) fn compile(build: &mut Build, sd: Cursor<'_, '_>) {
    let mut list = |key: &str| match sd.get(key) {
        Some(list) => reduced(build, list),
        None => String::new(),
    };
    let (differential, snapshot) = (list("differential"), list("snapshot"));
    let row = ProfileSource {
        url: build.text(&text_of(sd, "url")),
        version: build.text(&text_of(sd, "version")),
        ty: build.text(&text_of(sd, "type")),
        base: build.text(&text_of(sd, "baseDefinition")),
        differential: build.text(&differential),
        snapshot: build.text(if differential.is_empty() { &snapshot } else { "" }),
    };
    build.schema.profiles.push(row);
}

fn reduced(build: &mut Build, list: Cursor<'_, '_>) -> String {
    let mut out = String::from("[");
    for (at, element) in items(list, "element").enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push('{');
        let mut comma = "";
        for member in element.children() {
            let key = member.raw_key().unwrap_or_default();
            if KEPT.contains(&key) || KEPT_PREFIXES.iter().any(|p| key.starts_with(p)) {
                out.push_str(&format!("{comma}\"{key}\":{}", member.token()));
                comma = ",";
            }
        }
        for (url, value, as_key) in EXTENSIONS {
            let mut values = items(element, "extension")
                .filter(|x| x.get("url").is_some_and(|u| u.str_is(url)))
                .filter_map(|x| Some(x.get(value)?.token()).filter(|token| *token != "false"))
                .peekable();
            if values.peek().is_some() {
                let values: Vec<&str> = values.collect();
                let value = match *as_key {
                    "minLength" => values.concat(),
                    _ if *value == "valueBoolean" => "[]".to_owned(),
                    _ => format!("[{}]", values.join(",")),
                };
                out.push_str(&format!("{comma}\"{as_key}\":{value}"));
                comma = ",";
            }
        }
        if let Some(binding) = element.get("binding")
            && let Some(set) = binding.get("valueSet")
        {
            let strength = text_of(binding, "strength");
            if Strength::named(&strength).is_some() {
                terminology::compile(build, &text_of(binding, "valueSet"));
                let set = set.token();
                let most = terminology::maximum(binding).map_or(String::new(), |url| {
                    terminology::compile(build, &url);
                    format!(",\"most\":{}", serde_json::Value::String(url))
                });
                out.push_str(&format!(
                    "{comma}\"binding\":{{\"strength\":\"{strength}\",\"valueSet\":{set}{most}}}"
                ));
            }
        }
        out.push('}');
        for constraint in items(element, "constraint") {
            for set in members_of(&text_of(constraint, "expression")) {
                terminology::compile(build, set);
            }
        }
    }
    out.push(']');
    out
}

/// The value sets an expression asks for with `memberOf('url')`.
fn members_of(expression: &str) -> impl Iterator<Item = &str> {
    expression.split("memberOf('").skip(1).filter_map(|rest| rest.split('\'').next())
}
