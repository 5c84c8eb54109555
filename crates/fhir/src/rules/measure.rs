//! Measures, and reports against them (<https://hl7.org/fhir/R4/measure.html>,
//! <https://hl7.org/fhir/R4/measurereport.html>).

mod library;
mod report;

use std::sync::Arc;

pub(crate) use library::Library;
pub(crate) use report::check as report;

use crate::report::{IssueCode, Severity};
use crate::schema::{items, text_of};
use crate::tape::Cursor;
use crate::walk::Walk;

/// System and code of each coding.
pub(super) type Codings = Vec<(String, String)>;

/// A Measure, as far as reports are compared with it.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    /// `proportion`, `ratio`, `continuous-variable`, `cohort`; or another, or empty.
    pub(super) scoring: String,
    /// System and code of the unit of a score; from the extension `questionnaire-unit`.
    pub(super) unit: Option<(String, String)>,
    pub(super) groups: Vec<Group>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub code: Concept,
    pub populations: Vec<Concept>,
    pub stratifiers: Vec<Concept>,
}

/// A CodeableConcept.
#[derive(Debug, Default)]
pub(super) struct Concept {
    pub codings: Codings,
    pub text: String,
}

impl Concept {
    pub(super) fn of(node: Option<Cursor<'_, '_>>) -> Concept {
        let Some(node) = node else { return Concept::default() };
        let codings = items(node, "coding").map(|c| (text_of(c, "system"), text_of(c, "code"))).collect();
        Concept { codings, text: text_of(node, "text") }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.codings.is_empty() && self.text.is_empty()
    }

    /// They share a coding or, if neither has one, the text.
    pub(super) fn matches(&self, other: &Concept) -> bool {
        if self.codings.is_empty() && other.codings.is_empty() {
            return !self.text.is_empty() && self.text == other.text;
        }
        self.codings.iter().any(|c| other.codings.contains(c))
    }

    fn has_code(&self, code: &str) -> bool {
        self.codings.iter().any(|(_, c)| c == code)
    }
}

const UNIT: &str = "http://hl7.org/fhir/StructureDefinition/questionnaire-unit";

impl Measure {
    /// Reads a Measure; parts that are malformed count as absent.
    pub(crate) fn new(node: Cursor<'_, '_>) -> Measure {
        let scoring = Concept::of(node.get("scoring"));
        let groups = items(node, "group")
            .map(|g| Group {
                code: Concept::of(g.get("code")),
                populations: items(g, "population").map(|p| Concept::of(p.get("code"))).collect(),
                stratifiers: items(g, "stratifier").map(|s| Concept::of(s.get("code"))).collect(),
            })
            .collect();
        let unit = items(node, "extension")
            .find(|x| x.get("url").is_some_and(|u| u.str_is(UNIT)))
            .and_then(|x| x.get("valueCoding"))
            .map(|c| (text_of(c, "system"), text_of(c, "code")));
        let scoring = scoring.codings.into_iter().next().map_or_else(String::new, |(_, code)| code);
        Measure { scoring, unit, groups }
    }
}

/// A Measure as a document: criteria in CQL name definitions of its libraries.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if walk.holds_withheld() {
        walk.unevaluated.withheld += 1;
        return;
    }
    let named: Vec<_> = items(node, "library").collect();
    let mut libraries = Vec::new();
    for library in &named {
        let Some(url) = library.as_str() else { continue };
        let known = match walk.in_bundle("Library", &url) {
            Some(found) => Some(walk.library_at(found)),
            None => walk.registry.library(&url),
        };
        match known {
            Some(known) => libraries.push(known),
            None => {
                let text = "this library is neither in the document nor in the packages, so criteria are not \
                    checked against it";
                walk.note(*library, Severity::Warning, IssueCode::NotFound, "fhir.measure.library", text);
                walk.unevaluated.profiles += 1;
            }
        }
    }
    // One that is not known may define what the criteria name.
    let complete = libraries.len() == named.len();
    for group in items(node, "group") {
        for stratifier in items(group, "stratifier") {
            let components = items(stratifier, "component");
            for part in std::iter::once(stratifier).chain(components) {
                if let Some(criteria) = part.get("criteria")
                    && complete
                {
                    criterion(walk, criteria, &libraries);
                }
            }
        }
    }
}

/// `Library.Definition`, or a definition of the only library.
fn criterion<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, libraries: &[Arc<Library>]) {
    let language = text_of(node, "language");
    let name = text_of(node, "expression");
    let by_name = language == "text/cql.identifier" || (language == "text/cql" && is_reference(&name));
    if !by_name || name.is_empty() {
        return;
    }
    let (library, definition) = match name.split_once('.') {
        Some((library, definition)) => {
            let library = library.trim_matches('"');
            let mut same = libraries.iter().filter(|l| l.name == library);
            match (same.next(), same.next()) {
                (Some(found), None) => (found, definition),
                _ => {
                    let text = "the measure has not exactly one library of this name; correct it";
                    walk.error(node, IssueCode::NotFound, "fhir.measure.criteria.library", text);
                    return;
                }
            }
        }
        None => match libraries {
            [only] => (only, name.as_str()),
            _ => {
                let text = "the measure has not exactly one library, so the criteria must name one; add it";
                walk.error(node, IssueCode::BusinessRule, "fhir.measure.criteria.library", text);
                return;
            }
        },
    };
    match &library.definitions {
        Some(known) if known.contains(definition.trim_matches('"')) => {}
        Some(_) => {
            let text = "the library defines nothing of this name; correct it";
            walk.error(node, IssueCode::NotFound, "fhir.measure.criteria.definition", text);
        }
        None => walk.unevaluated.invariants += 1,
    }
}

/// A name, and no expression of CQL.
fn is_reference(text: &str) -> bool {
    let plain = |part: &str| {
        let quoted = part.len() > 2 && part.starts_with('"') && part.ends_with('"');
        quoted || part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    text.split('.').all(plain)
}
