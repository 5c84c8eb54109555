//! Libraries: the names their compiled CQL (ELM, <https://cql.hl7.org/elm.html>) defines.

use std::collections::BTreeSet;

use crate::fhirpath::decode;
use crate::schema::{items, text_of};
use crate::tape::{Cursor, Limits, Tape};

/// A Library, as far as criteria refer to it.
#[derive(Debug)]
pub(crate) struct Library {
    pub name: String,
    /// `None`: it carries no ELM that can be read.
    pub definitions: Option<BTreeSet<String>>,
}

impl Library {
    /// Reads a Library; parts that are malformed count as absent.
    pub(crate) fn new(node: Cursor<'_, '_>) -> Library {
        let definitions = items(node, "content").find_map(|content| {
            let data = decode(&text_of(content, "data"), "base64")?;
            match text_of(content, "contentType").as_str() {
                "application/elm+xml" => of_xml(&data),
                "application/elm+json" => of_json(&data),
                _ => None,
            }
        });
        Library { name: text_of(node, "name"), definitions }
    }
}

fn of_json(text: &str) -> Option<BTreeSet<String>> {
    let tape = Tape::parse(text.as_bytes(), &Limits::default()).ok()?;
    let statements = tape.root().get("library")?.get("statements")?;
    Some(items(statements, "def").map(|d| text_of(d, "name")).collect())
}

/// `<statements>` holds `<def name="…">`; other elements have no part in it.
fn of_xml(text: &str) -> Option<BTreeSet<String>> {
    if !text.contains("urn:hl7-org:elm:r1") {
        return None;
    }
    let (_, statements) = text.split_once("<statements")?;
    let (statements, _) = statements.split_once("</statements>")?;
    let mut names = BTreeSet::new();
    for tag in statements.split("<def").skip(1) {
        // Another element may begin with these letters.
        if !tag.starts_with(|c: char| c.is_ascii_whitespace()) {
            continue;
        }
        names.extend(attribute(tag, "name"));
    }
    Some(names)
}

/// Value of an attribute of the tag that `text` starts inside of.
fn attribute(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.starts_with(['>', '/']) {
            return None;
        }
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, tail) = after.get(1..)?.split_once(quote)?;
        if key.trim() == name {
            return Some(unescaped(value));
        }
        rest = tail;
    }
}

fn unescaped(text: &str) -> String {
    let mut out = text.to_owned();
    // `&amp;` last: what it stands for is no entity again.
    for (entity, character) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
    {
        out = out.replace(entity, character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{of_json, of_xml};

    #[test]
    fn names_of_definitions_are_found_in_both_forms() {
        let xml = r#"<library xmlns="urn:hl7-org:elm:r1"><usings><def localIdentifier="FHIR"/></usings>
            <statements><def locator="1" name="Initial Population" context="Patient"><expression/></def>
            <default name="no"/><def name='A &amp; B'/></statements></library>"#;
        let names = of_xml(xml).expect("ELM");
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["A & B", "Initial Population"]);
        assert!(of_xml("<library><statements><def name=\"x\"/></statements></library>").is_none());
        let json = r#"{"library":{"statements":{"def":[{"name":"Numerator"}]}}}"#;
        assert!(of_json(json).expect("ELM").contains("Numerator"));
    }
}
