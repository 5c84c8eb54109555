//! SearchParameter definitions (<https://hl7.org/fhir/R4/searchparameter.html>).

use super::compile::{Build, items, text_of};
use super::model::SearchParam;
use crate::tape::Cursor;

/// One row per base type; the expression keeps only what applies to that type.
pub(super) fn compile<'t, 'a: 't>(build: &mut Build, definitions: impl Iterator<Item = Cursor<'t, 'a>>) {
    for sp in definitions {
        let expression = text_of(sp, "expression");
        if expression.is_empty() {
            continue;
        }
        let components: Vec<String> = items(sp, "component")
            .map(|part| format!("{}\t{}", text_of(part, "definition"), text_of(part, "expression")))
            .collect();
        let components = components.join("\n");
        for base in items(sp, "base") {
            let Some(base) = base.as_str() else { continue };
            let own = alternatives_of(&expression, &base);
            if own.is_empty() {
                continue;
            }
            let row = SearchParam {
                code: build.text(&text_of(sp, "code")),
                kind: build.text(&text_of(sp, "type")),
                base: build.text(&base),
                expression: build.text(&own),
                url: build.text(&text_of(sp, "url")),
                components: build.text(&components),
            };
            build.schema.search.push(row);
        }
    }
}

/// The alternatives of a union that start at `base` (or at no type at all).
fn alternatives_of(expression: &str, base: &str) -> String {
    let mut kept = Vec::new();
    for part in top_level_alternatives(expression) {
        let name: String =
            part.trim_start_matches('(').chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        let typed = name.starts_with(|c: char| c.is_ascii_uppercase());
        if !typed || name == base || matches!(name.as_str(), "Resource" | "DomainResource") {
            kept.push(part);
        }
    }
    kept.join(" | ")
}

/// Splits at `|` outside of parentheses and quotes.
pub(crate) fn top_level_alternatives(expression: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut depth = 0usize;
    let mut quoted = false;
    let mut from = 0;
    for (at, c) in expression.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            '|' if !quoted && depth == 0 => {
                parts.push(expression.get(from..at).unwrap_or_default().trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(expression.get(from..).unwrap_or_default().trim());
    parts
}
