//! One bundle with many mistakes: all are named at once, nothing is stored.

use super::World;
use crate::cluster::Hospital;
use crate::http::{FHIR_JSON, Issue};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::collections::BTreeMap;

/// What tells that something was stored or proposed: the numbers of records by type, and of records and batches that
/// ingest stored, validate attested.
#[derive(Debug, PartialEq, Eq)]
pub struct Stock {
    counts: BTreeMap<String, u64>,
    counters: Vec<String>,
}

/// Takes stock at hospital A.
pub fn stock(world: &World) -> Result<Stock> {
    let mut counters = Vec::new();
    for (service, name) in [
        ("ingest", "consilium_ingest_records_total"),
        ("validate", "consilium_validate_attested_records_total"),
    ] {
        counters.extend(samples(world, &world.a()?, service, name)?);
    }
    Ok(Stock { counts: world.counts()?, counters })
}

/// The lines of a metric, or an error where it has none.
fn samples(world: &World, at: &Hospital, service: &str, name: &str) -> Result<Vec<String>> {
    let text = world.http.get(&at.metrics(service), None, &[])?.expect(200, "metrics")?;
    let text = String::from_utf8_lossy(&text.body).into_owned();
    let lines: Vec<String> = text.lines().filter(|l| l.starts_with(name)).map(str::to_owned).collect();
    if lines.is_empty() {
        bail!("{service} has no metric {name}");
    }
    Ok(lines)
}

/// Fails if something was stored since.
pub fn unchanged(world: &World, before: &Stock) -> Result<()> {
    let after = stock(world)?;
    if after != *before {
        bail!("something was stored:\nbefore {before:?}\nafter  {after:?}");
    }
    Ok(())
}

/// A mistake: which entry, what the expression or the text of its issue must contain.
const MISTAKES: [(&str, usize, &str); 9] = [
    ("a code outside a required binding", 0, "gender"),
    ("a date that does not exist", 0, "birthDate"),
    ("a string where a boolean belongs", 0, "active"),
    ("an element that FHIR does not know", 0, "favouriteColour"),
    ("a required element that is missing", 1, "status"),
    ("two choices of one element", 1, "value"),
    ("a reference to nothing in the bundle", 1, "subject"),
    ("an empty array", 1, "category"),
    ("an invariant that does not hold", 2, "contact"),
];

pub fn wrong_bundle(world: &mut World) -> Result<String> {
    let request = |kind: &str| json!({ "method": "POST", "url": kind });
    let bundle = json!({
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            { "fullUrl": "urn:uuid:5ffa1ea9-0000-4000-8000-000000000001", "request": request("Patient"), "resource": {
                "resourceType": "Patient", "gender": "purple", "birthDate": "1980-13-45", "active": "yes", "favouriteColour": "green"
            } },
            { "fullUrl": "urn:uuid:5ffa1ea9-0000-4000-8000-000000000002", "request": request("Observation"), "resource": {
                "resourceType": "Observation", "code": { "text": "x" }, "category": [],
                "subject": { "reference": "urn:uuid:5ffa1ea9-0000-4000-8000-00000000dead" },
                "valueString": "a", "valueBoolean": true
            } },
            // pat-1: "SHALL at least contain a contact's details or a reference to an organization".
            { "fullUrl": "urn:uuid:5ffa1ea9-0000-4000-8000-000000000003", "request": request("Patient"), "resource": {
                "resourceType": "Patient", "contact": [{ "gender": "male" }]
            } }
        ]
    });
    let before = stock(world)?;
    let base = world.a()?.fhir();
    let answer = world
        .http
        .post(&base, Some(&world.ehr), FHIR_JSON, &serde_json::to_vec(&bundle)?)?
        .expect(422, "the wrong bundle")?;
    let issues: Vec<Issue> =
        answer.issues()?.into_iter().filter(|i| matches!(i.severity.as_str(), "error" | "fatal")).collect();
    for (mistake, entry, word) in MISTAKES {
        let place = format!("entry[{entry}]");
        issues
            .iter()
            .find(|i| i.expression.contains(&place) && (i.expression.contains(word) || i.text.contains(word)))
            .with_context(|| {
                format!("nobody names {mistake} (`{word}` in {place}); named were {issues:#?}")
            })?;
    }
    if let Some(bare) = issues.iter().find(|i| i.expression.is_empty()) {
        bail!("an issue without expression: {}", bare.text);
    }
    unchanged(world, &before)?;
    Ok(format!(
        "422 with {} errors for {} mistakes, each with its FHIRPath; no record and no attestation more",
        issues.len(),
        MISTAKES.len()
    ))
}
