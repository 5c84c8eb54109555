//! What could not be checked, by name: each becomes one information issue of the report, so that a
//! reader knows what the verdict does not cover.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Walk;
use crate::report::{Issue, IssueCode, Severity, Unevaluated};
use crate::rules::primitive::is_absolute;
use crate::schema::Schema;
use crate::tape::NodeId;

#[derive(Clone, Default)]
pub(crate) struct Unchecked {
    /// Rows of value sets.
    bindings: Vec<(u16, u64)>,
    /// Canonicals of profiles.
    profiles: BTreeMap<String, u64>,
    /// Definition url, `#` and key.
    invariants: BTreeMap<String, u64>,
}

impl Walk<'_, '_, '_> {
    /// A code was not checked against the value set of this row.
    pub(crate) fn unchecked_binding(&mut self, row: u16) {
        self.unevaluated.terminology += 1;
        // A document meets few such value sets.
        match self.unchecked.bindings.iter_mut().find(|(r, _)| *r == row) {
            Some((_, count)) => *count += 1,
            None => self.unchecked.bindings.push((row, 1)),
        }
    }

    /// A profile that no package brings.
    pub(crate) fn unchecked_profile(&mut self, url: &str) {
        self.unevaluated.profiles += 1;
        // What is no canonical may be anything, and is not repeated.
        let canonical = is_absolute(url) && url.bytes().all(|b| b.is_ascii_graphic());
        let shown = if canonical && url.len() <= 200 { url } else { "" };
        // Most resources of a bundle claim the same few.
        match self.unchecked.profiles.get_mut(shown) {
            Some(count) => *count += 1,
            None => {
                self.unchecked.profiles.insert(shown.to_owned(), 1);
            }
        }
    }

    /// A constraint that could not be evaluated.
    pub(crate) fn unchecked_invariant(&mut self, id: String) {
        self.unevaluated.invariants += 1;
        *self.unchecked.invariants.entry(id).or_default() += 1;
    }
}

impl Unchecked {
    /// One information issue for each thing that was not checked, about the document as a whole.
    pub(super) fn issues(mut self, schema: &Schema, counts: &Unevaluated, root: &str) -> Vec<Issue> {
        let mut out = Vec::new();
        let mut note = |id: Cow<'static, str>, text: String| {
            out.push(Issue {
                severity: Severity::Information,
                code: IssueCode::Informational,
                message_id: id,
                node: NodeId::ROOT,
                expression: root.to_owned(),
                line: 1,
                col: 1,
                text,
            });
        };
        self.bindings.sort_by_key(|(row, _)| schema.value_set(*row).map(|set| schema.str(set.url)));
        for (row, count) in &self.bindings {
            let Some(set) = schema.value_set(*row) else { continue };
            let url = schema.str(set.url);
            let systems: Vec<&str> = schema.names(set.unknown).filter(|s| !s.is_empty()).collect();
            let lacks = match systems.as_slice() {
                [] => "its content".to_owned(),
                systems => format!("codes of `{}`", systems.join("`, `")),
            };
            note(
                format!("fhir.not-checked.binding#{url}").into(),
                format!(
                    "Not checked: {count} times a code against the value set `{url}`; the loaded packages \
                     lack {lacks}."
                ),
            );
        }
        for (url, count) in &self.profiles {
            let name = if url.is_empty() { String::new() } else { format!(" `{url}`") };
            note(
                format!("fhir.not-checked.profile#{url}").into(),
                format!("Not checked: {count} times the profile{name}; no loaded package decides it."),
            );
        }
        for (id, count) in &self.invariants {
            note(
                format!("fhir.not-checked.invariant#{id}").into(),
                format!("Not checked: {count} times the constraint `{id}`; it cannot be evaluated here."),
            );
        }
        if counts.extensions > 0 {
            note(
                Cow::Borrowed("fhir.not-checked.extension"),
                format!("Not checked: {} extensions that no loaded package defines.", counts.extensions),
            );
        }
        if counts.withheld > 0 {
            note(
                Cow::Borrowed("fhir.not-checked.withheld"),
                format!("Not checked: {} rules on values that are withheld.", counts.withheld),
            );
        }
        out
    }
}
