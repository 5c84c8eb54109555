//! Editing a resource in its own bytes: id, version and time are set and references rewritten, everything else stays
//! exactly as it was posted.

use consilium_fhir::tape::{Cursor, Kind};
use std::collections::BTreeMap;

/// A change of the bytes `from..to` (empty = insertion).
struct Edit {
    from: usize,
    to: usize,
    text: String,
}

/// Reads `resourceType` of an object.
pub fn type_of(root: Cursor<'_, '_>) -> Option<String> {
    root.get("resourceType")?.as_str().map(|s| s.into_owned())
}

/// Reads `id` of an object.
pub fn id_of(root: Cursor<'_, '_>) -> Option<String> {
    root.get("id")?.as_str().map(|s| s.into_owned())
}

/// Whether this can be a logical id (hl7.org/fhir/R4/datatypes.html#id).
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// Keys of string elements of type uri, url, oid and uuid that can hold a bundle-local reference
/// (hl7.org/fhir/R4/http.html#trules: "elements of type uri, url, oid, uuid").
const REFERRING: [&str; 5] = ["reference", "valueUri", "valueUrl", "valueUuid", "valueOid"];

/// Calls `found` with each reference-like string below `at` (the whole subtree), as (cursor, decoded text).
pub fn references<'t, 'a>(at: Cursor<'t, 'a>, found: &mut impl FnMut(Cursor<'t, 'a>, &str)) {
    for child in at.children() {
        match child.kind() {
            Kind::Object | Kind::Array => references(child, found),
            Kind::String if child.raw_key().is_some_and(|k| REFERRING.contains(&k)) => {
                if let Some(text) = child.as_str() {
                    found(child, &text);
                }
            }
            _ => {}
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The resource at `root` with id, `meta.versionId` and `meta.lastUpdated` set and every reference that stands in
/// `map` replaced. `root` must be an object with a `resourceType`; `None` otherwise.
pub fn assign(
    root: Cursor<'_, '_>,
    id: &str,
    version: u64,
    last_updated: &str,
    map: &BTreeMap<String, String>,
) -> Option<String> {
    let resource_type = root.get("resourceType")?;
    let mut edits: Vec<Edit> = Vec::new();
    let mut after_type = String::new();
    match root.get("id") {
        Some(c) => edits.push(Edit { from: c.start(), to: c.end(), text: quoted(id) }),
        None => after_type.push_str(&format!(",\"id\":{}", quoted(id))),
    }
    let version = format!("\"{version}\"");
    let updated = quoted(last_updated);
    match root.get("meta").filter(|m| m.kind() == Kind::Object) {
        None => {
            after_type.push_str(&format!(",\"meta\":{{\"versionId\":{version},\"lastUpdated\":{updated}}}"))
        }
        Some(meta) => {
            let mut inserted = Vec::new();
            for (key, text) in [("versionId", &version), ("lastUpdated", &updated)] {
                match meta.get(key) {
                    Some(c) => edits.push(Edit { from: c.start(), to: c.end(), text: text.clone() }),
                    None => inserted.push(format!("\"{key}\":{text}")),
                }
            }
            if !inserted.is_empty() {
                let comma = if meta.has_no_children() { "" } else { "," };
                let at = meta.start() + 1;
                edits.push(Edit { from: at, to: at, text: format!("{}{comma}", inserted.join(",")) });
            }
        }
    }
    if !after_type.is_empty() {
        let at = resource_type.end();
        edits.push(Edit { from: at, to: at, text: after_type });
    }
    if !map.is_empty() {
        references(root, &mut |cursor, text| {
            // A fragment or version after the local name stays.
            if let Some(to) = map.get(text) {
                edits.push(Edit { from: cursor.start(), to: cursor.end(), text: quoted(to) });
            }
        });
    }
    edits.sort_by_key(|e| e.from);
    let source = root.tape().input();
    let mut out = String::with_capacity(root.end() - root.start() + 256);
    let mut at = root.start();
    for edit in edits {
        out.push_str(source.get(at..edit.from)?);
        out.push_str(&edit.text);
        at = edit.to;
    }
    out.push_str(source.get(at..root.end())?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_fhir::tape::{Limits, Tape};

    fn assigned(text: &str, map: &[(&str, &str)]) -> String {
        let tape = Tape::parse(text.as_bytes(), &Limits::default()).unwrap();
        let map = map.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assign(tape.root(), "new", 3, "T", &map).unwrap()
    }

    #[test]
    fn only_what_the_server_assigns_changes() {
        assert_eq!(
            assigned(r#"{ "resourceType" : "Patient", "x": 1.50 }"#, &[]),
            r#"{ "resourceType" : "Patient","id":"new","meta":{"versionId":"3","lastUpdated":"T"}, "x": 1.50 }"#
        );
        assert_eq!(
            assigned(r#"{"resourceType":"Patient","id":"old","meta":{"profile":["p"]},"x":"a"}"#, &[]),
            r#"{"resourceType":"Patient","id":"new","meta":{"versionId":"3","lastUpdated":"T","profile":["p"]},"x":"a"}"#
        );
        assert_eq!(
            assigned(
                r#"{"id":"old","meta":{"lastUpdated":"y","versionId":"9"},"resourceType":"Patient"}"#,
                &[]
            ),
            r#"{"id":"new","meta":{"lastUpdated":"T","versionId":"3"},"resourceType":"Patient"}"#
        );
    }

    #[test]
    fn references_are_rewritten_wherever_they_stand_and_nothing_else_is() {
        let text = r#"{"resourceType":"Observation","identifier":[{"value":"urn:uuid:1"}],"subject":{"reference":"urn:uuid:1"},"extension":[{"url":"u","valueUri":"urn:uuid:1"},{"valueReference":{"reference":"Practitioner?identifier=s|v"}}]}"#;
        let out =
            assigned(text, &[("urn:uuid:1", "Patient/p"), ("Practitioner?identifier=s|v", "Practitioner/q")]);
        assert!(out.contains(r#""subject":{"reference":"Patient/p"}"#));
        assert!(out.contains(r#""valueUri":"Patient/p""#));
        assert!(out.contains(r#""valueReference":{"reference":"Practitioner/q"}"#));
        assert!(out.contains(r#""identifier":[{"value":"urn:uuid:1"}]"#), "an identifier is no reference");
    }
}
