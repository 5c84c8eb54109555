//! What is known besides types and profiles: code systems with their concepts, and the
//! Questionnaires, Measures and Libraries that instances refer to.

use std::collections::BTreeSet;

use super::compile::{Build, items, text_of};
use super::model::{Run, Str};
use super::{Schema, terminology};
use crate::tape::Cursor;

/// A code system (<https://hl7.org/fhir/R4/codesystem.html>).
#[derive(Clone, Copy, Debug)]
pub(crate) struct System {
    pub url: Str,
    pub version: Str,
    /// `complete`, `fragment`, `example`, `not-present` or `supplement`.
    pub content: Str,
    /// The system this one only adds to; empty: it stands for itself.
    pub supplements: Str,
    pub case_sensitive: bool,
    /// Rows sorted by code in lower case, then by code.
    pub concepts: Run,
    /// `code:type` of each property.
    pub properties: Run,
    /// `code:op,op` of each filter.
    pub filters: Run,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Concept {
    pub code: Str,
    pub display: Str,
    /// Designations: other texts that may stand as display.
    pub also: Run,
}

/// A canonical resource kept as it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document {
    /// `Questionnaire`, `Measure`, `Library`.
    pub kind: Str,
    pub url: Str,
    pub version: Str,
    /// JSON.
    pub text: Str,
}

/// What the tables know of a code.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CodeState<'s> {
    /// It is in the system.
    Known(&'s Concept),
    /// The system is complete, and it is not in it.
    Unknown,
    /// The packages do not hold the system, not this version of it, or not all of it.
    NotHeld,
}

/// Resource types kept as [`Document`].
pub(super) const KEPT: [&str; 3] = ["Questionnaire", "Measure", "Library"];

/// One row per url and version.
pub(super) fn systems<'t, 'a: 't>(build: &mut Build, systems: impl Iterator<Item = Cursor<'t, 'a>>) {
    let mut seen = BTreeSet::new();
    for node in systems {
        let (url, version) = (text_of(node, "url"), text_of(node, "version"));
        if url.is_empty() || !seen.insert((url.clone(), version.clone())) {
            continue;
        }
        let mut listed = Vec::new();
        collect(node, &mut listed);
        listed.sort_by_cached_key(|c| {
            let code = text_of(*c, "code");
            (folded(&code).collect::<String>(), code)
        });
        let at = build.schema.concepts.len();
        for concept in &listed {
            let also = items(*concept, "designation").map(|d| text_of(d, "value")).collect();
            let row = Concept {
                code: build.text(&text_of(*concept, "code")),
                display: build.text(&text_of(*concept, "display")),
                also: build.names(also),
            };
            build.schema.concepts.push(row);
        }
        let properties = items(node, "property")
            .map(|p| format!("{}:{}", text_of(p, "code"), text_of(p, "type")))
            .collect();
        let filters = items(node, "filter")
            .map(|f| {
                let operators: Vec<_> =
                    items(f, "operator").filter_map(Cursor::as_str).map(|o| o.into_owned()).collect();
                format!("{}:{}", text_of(f, "code"), operators.join(","))
            })
            .collect();
        let run = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let row = System {
            url: build.text(&url),
            version: build.text(&version),
            content: build.text(&text_of(node, "content")),
            supplements: build.text(&text_of(node, "supplements")),
            case_sensitive: node.get("caseSensitive").and_then(Cursor::as_bool).unwrap_or(false),
            concepts: Run { at: run(at), len: run(listed.len()) },
            properties: build.names(properties),
            filters: build.names(filters),
        };
        build.schema.systems.push(row);
    }
}

fn collect<'t, 'a>(node: Cursor<'t, 'a>, into: &mut Vec<Cursor<'t, 'a>>) {
    for concept in items(node, "concept") {
        into.push(concept);
        collect(concept, into);
    }
}

/// Keeps the documents of one kind.
pub(super) fn documents<'t, 'a: 't>(
    build: &mut Build,
    kind: &str,
    documents: impl Iterator<Item = Cursor<'t, 'a>>,
) {
    let mut seen = BTreeSet::new();
    for node in documents {
        let (url, version) = (text_of(node, "url"), text_of(node, "version"));
        if url.is_empty() || !seen.insert((url.clone(), version.clone())) {
            continue;
        }
        let row = Document {
            kind: build.text(kind),
            url: build.text(&url),
            version: build.text(&version),
            text: build.text(node.token()),
        };
        build.schema.documents.push(row);
    }
}

/// Expands every value set, so that those that only instances name are known too.
pub(super) fn value_sets(build: &mut Build) {
    for url in build.terms.urls() {
        terminology::compile(build, &url);
    }
}

/// Sorts what is looked up by url.
pub(super) fn index(schema: &mut Schema) {
    let pool = std::mem::take(&mut schema.pool);
    let text = |s: Str| pool.get(s.at as usize..(s.at + s.len) as usize).unwrap_or_default();
    schema.systems.sort_by(|a, b| (text(a.url), text(a.version)).cmp(&(text(b.url), text(b.version))));
    let mut rows: Vec<u16> = (0..schema.value_sets.len()).filter_map(|row| u16::try_from(row).ok()).collect();
    rows.sort_by_key(|row| schema.value_sets.get(usize::from(*row)).map_or("", |set| text(set.url)));
    schema.sets_by_url = rows;
    schema.pool = pool;
}

/// Letter by letter in lower case.
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

impl Schema {
    /// All versions of a code system, in the order of their versions as text.
    pub(crate) fn systems_at(&self, url: &str) -> &[System] {
        let from = self.systems.partition_point(|s| self.str(s.url) < url);
        let rest = self.systems.get(from..).unwrap_or_default();
        let to = rest.partition_point(|s| self.str(s.url) == url);
        rest.get(..to).unwrap_or_default()
    }

    /// The system of this url, in this version if one is named.
    pub(crate) fn system(&self, url: &str, version: Option<&str>) -> Option<&System> {
        let all = self.systems_at(url);
        match version {
            Some(version) => all.iter().find(|s| self.str(s.version) == version),
            None => all.last(),
        }
    }

    /// The concept `code` of a system, by its rule on upper and lower case.
    pub(crate) fn concept(&self, system: &System, code: &str) -> Option<&Concept> {
        let rows = system.concepts.of(&self.concepts);
        let from = rows.partition_point(|c| folded(self.str(c.code)).lt(folded(code)));
        let mut same = rows.iter().skip(from).take_while(|c| folded(self.str(c.code)).eq(folded(code)));
        if system.case_sensitive {
            return same.find(|c| self.str(c.code) == code);
        }
        same.next()
    }

    /// Whether `code` is in the system at `url`.
    pub(crate) fn code_state(&self, url: &str, version: Option<&str>, code: &str) -> CodeState<'_> {
        match self.system(url, version) {
            Some(system) => self.code_in(system, code),
            None => CodeState::NotHeld,
        }
    }

    /// Whether `code` is in the system.
    pub(crate) fn code_in(&self, system: &System, code: &str) -> CodeState<'_> {
        if !self.str(system.supplements).is_empty() {
            return CodeState::NotHeld;
        }
        match self.concept(system, code) {
            Some(concept) => CodeState::Known(concept),
            None if self.str(system.content) == "complete" => CodeState::Unknown,
            None => CodeState::NotHeld,
        }
    }

    /// All concepts of a system.
    pub(crate) fn concepts_of(&self, system: &System) -> impl Iterator<Item = &Concept> {
        system.concepts.of(&self.concepts).iter()
    }

    pub(crate) fn documents(&self) -> &[Document] {
        &self.documents
    }
}
