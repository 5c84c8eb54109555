//! What ingest needs to know of a resource: its patient, its sensitivity, the values by which it is found.

use crate::resource::references;
use consilium_fhir::tape::{Cursor, Kind};
use std::collections::BTreeSet;

/// Elements that name the patient whose record this is, in the order in which they are believed
/// (after the Patient CompartmentDefinition, hl7.org/fhir/R4/compartmentdefinition-patient.html).
pub const SUBJECTS: [&str; 5] = ["patient", "subject", "beneficiary", "individual", "for"];

/// Confidentiality codes, lowest first.
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
const LEVELS: [&str; 6] = ["U", "L", "M", "N", "R", "V"];

/// What is indexed and by which class of keys a resource is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Id of the patient whose compartment it is in.
    pub patient: Option<String>,
    /// Confidentiality level: one of U L M N R V.
    pub sensitivity: String,
    /// (search parameter, value in the form in which it is compared).
    pub values: BTreeSet<(String, String)>,
}

/// Id of a reference to a local patient: `Patient/x`, also with a version or below our base URL.
fn patient_id(reference: &str, base_url: &str) -> Option<String> {
    let local = local_reference(reference, base_url);
    let rest = local.strip_prefix("Patient/")?;
    let id = rest.split('/').next().unwrap_or(rest);
    crate::resource::is_id(id).then(|| id.to_owned())
}

/// A reference relative to our base URL where it is one of ours.
pub fn local_reference<'r>(reference: &'r str, base_url: &str) -> &'r str {
    reference.strip_prefix(base_url).and_then(|r| r.strip_prefix('/')).unwrap_or(reference)
}

/// Forms of a token value under which it is found (hl7.org/fhir/R4/search.html#token): `value` in any system,
/// `system|value`, `|value` without a system, `system|` with any value.
pub fn token_forms(system: Option<&str>, value: &str) -> Vec<String> {
    let mut forms = vec![format!("any\n{value}")];
    match system {
        Some(s) => {
            forms.push(format!("both\n{s}\n{value}"));
            forms.push(format!("system\n{s}"));
        }
        None => forms.push(format!("none\n{value}")),
    }
    forms
}

/// The form that a token in a query asks for.
pub fn token_query(text: &str) -> String {
    match text.split_once('|') {
        None => format!("any\n{text}"),
        Some(("", value)) => format!("none\n{value}"),
        Some((system, "")) => format!("system\n{system}"),
        Some((system, value)) => format!("both\n{system}\n{value}"),
    }
}

/// Forms of a reference under which it is found: `Type/id`, and `id` alone.
fn reference_forms(reference: &str, base_url: &str) -> Vec<String> {
    let local = local_reference(reference, base_url);
    let mut parts = local.split('/');
    match (parts.next(), parts.next()) {
        (Some(t), Some(id)) if !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphabetic()) => {
            vec![format!("{t}/{id}"), id.to_owned()]
        }
        _ => vec![reference.to_owned()],
    }
}

/// Calls `each` with the objects of an element that may be single or repeated.
fn each<'t, 'a>(root: Cursor<'t, 'a>, key: &str, mut f: impl FnMut(Cursor<'t, 'a>)) {
    match root.get(key) {
        Some(one) if one.kind() == Kind::Object => f(one),
        Some(many) if many.kind() == Kind::Array => many.children().for_each(f),
        _ => {}
    }
}

fn text<'a>(at: Cursor<'_, 'a>, key: &str) -> Option<std::borrow::Cow<'a, str>> {
    at.get(key)?.as_str()
}

/// Reads the facts of a resource as it will be stored: with its id, its references resolved.
pub fn facts(root: Cursor<'_, '_>, resource_type: &str, id: &str, base_url: &str) -> Facts {
    let mut out = Facts { sensitivity: sensitivity(root), ..Facts::default() };
    each(root, "identifier", |identifier| {
        if let Some(value) = text(identifier, "value") {
            for form in token_forms(text(identifier, "system").as_deref(), &value) {
                out.values.insert(("identifier".to_owned(), form));
            }
        }
    });
    if resource_type == "Patient" {
        out.patient = Some(id.to_owned());
        return out;
    }
    let mut named = None;
    for key in SUBJECTS {
        each(root, key, |at| {
            let Some(reference) = text(at, "reference") else { return };
            for form in reference_forms(&reference, base_url) {
                if key == "subject" {
                    out.values.insert(("subject".to_owned(), form));
                }
            }
            if let Some(patient) = patient_id(&reference, base_url) {
                for form in [format!("Patient/{patient}"), patient.clone()] {
                    out.values.insert(("patient".to_owned(), form));
                }
                named.get_or_insert(patient);
            }
        });
    }
    out.patient = named.or_else(|| only_patient(root, base_url));
    if let Some(patient) = &out.patient {
        for form in [format!("Patient/{patient}"), patient.clone()] {
            out.values.insert(("patient".to_owned(), form));
        }
    }
    out
}

/// The patient that a resource without a subject speaks of (a Provenance, say), if it is exactly one.
fn only_patient(root: Cursor<'_, '_>, base_url: &str) -> Option<String> {
    let mut all = BTreeSet::new();
    references(root, &mut |_, reference| {
        if let Some(id) = patient_id(reference, base_url) {
            all.insert(id);
        }
    });
    if all.len() == 1 { all.into_iter().next() } else { None }
}

/// The highest confidentiality label; normal without one.
fn sensitivity(root: Cursor<'_, '_>) -> String {
    let mut highest = None;
    if let Some(meta) = root.get("meta") {
        each(meta, "security", |label| {
            if text(label, "system").as_deref() == Some(CONFIDENTIALITY)
                && let Some(code) = text(label, "code")
            {
                // A code that we do not know is treated as the highest.
                let level = LEVELS.iter().position(|l| *l == code).unwrap_or(LEVELS.len() - 1);
                highest = highest.max(Some(level));
            }
        });
    }
    highest.and_then(|l| LEVELS.get(l)).copied().unwrap_or("N").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_fhir::tape::{Limits, Tape};

    fn facts_of(json: &str, resource_type: &str) -> Facts {
        let tape = Tape::parse(json.as_bytes(), &Limits::default()).unwrap();
        facts(tape.root(), resource_type, "own", "http://h/fhir")
    }

    #[test]
    fn identifiers_are_found_in_every_form_that_a_query_may_take() {
        let f = facts_of(r#"{"identifier":[{"system":"s","value":"1"},{"value":"2"}]}"#, "Patient");
        assert_eq!(f.patient.as_deref(), Some("own"));
        for (query, found) in [
            ("1", true),
            ("s|1", true),
            ("s|", true),
            ("|1", false),
            ("|2", true),
            ("2", true),
            ("s|2", false),
        ] {
            assert_eq!(f.values.contains(&("identifier".into(), token_query(query))), found, "{query}");
        }
    }

    #[test]
    fn a_record_is_in_the_compartment_of_the_patient_it_names() {
        let f = facts_of(r#"{"subject":{"reference":"http://h/fhir/Patient/p"}}"#, "Observation");
        assert_eq!(f.patient.as_deref(), Some("p"));
        for form in ["Patient/p", "p"] {
            assert!(f.values.contains(&("subject".into(), form.into())));
            assert!(f.values.contains(&("patient".into(), form.into())));
        }
        assert_eq!(
            facts_of(r#"{"subject":{"reference":"http://other/fhir/Patient/p"}}"#, "Observation").patient,
            None
        );
        assert_eq!(
            facts_of(r#"{"target":[{"reference":"Patient/p"},{"reference":"Encounter/e"}]}"#, "Provenance")
                .patient
                .as_deref(),
            Some("p")
        );
        let two = r#"{"target":[{"reference":"Patient/p"},{"reference":"Patient/q"}]}"#;
        assert_eq!(facts_of(two, "Provenance").patient, None, "two patients: nobody's compartment");
    }

    #[test]
    fn the_highest_label_decides_the_class() {
        let label =
            |codes: &str| facts_of(&format!(r#"{{"meta":{{"security":[{codes}]}}}}"#), "Patient").sensitivity;
        let c = |code: &str| format!(r#"{{"system":"{CONFIDENTIALITY}","code":"{code}"}}"#);
        assert_eq!(label(""), "N");
        assert_eq!(label(&format!("{},{}", c("L"), c("R"))), "R");
        assert_eq!(label(&c("unknown")), "V");
    }
}
