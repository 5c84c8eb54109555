//! One trace leads from the EHR's request through every service that took part, in all hospitals.

use super::World;
use crate::collector::Span;
use crate::http::FHIR_JSON;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Trace and span of the EHR, which records nothing with our collector.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// A caller's own notes (W3C Trace Context 3.3): they may hold anything and go nowhere.
const STATE: &str = "ehr=zznotesofthecallerzz";

pub fn story(world: &mut World) -> Result<String> {
    world.secrets.add("tracestate", STATE);
    let patient = json!({ "resourceType": "Patient", "gender": "female" }).to_string();
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let url = format!("{}/Patient", world.a()?.fhir());
    let headers = [("traceparent", parent.as_str()), ("tracestate", STATE)];
    world
        .http
        .post_with(&url, Some(&world.ehr), &headers, FHIR_JSON, patient.as_bytes())?
        .expect(201, "create")?;

    let mut wanted: BTreeSet<(String, &str)> =
        ["ingest", "validate", "keys", "consensus"].map(|s| ("hospital-a".to_owned(), s)).into();
    // Two of the other three: a quorum does not wait for the last.
    let others = |spans: &[Span]| {
        let seen = spans.iter().filter(|s| s.service == "consilium-validate").map(|s| s.organisation.clone());
        seen.filter(|o| o != "hospital-a").collect::<BTreeSet<_>>()
    };
    let collector = world.cluster.collector()?;
    let mut spans = Vec::new();
    // Exporters send every five seconds.
    let waited = world.cluster.wait(Duration::from_secs(20), "the spans of a create", || {
        spans = collector.trace(TRACE);
        wanted.retain(|(o, s)| {
            !spans.iter().any(|x| x.organisation == *o && x.service == format!("consilium-{s}"))
        });
        Ok(wanted.is_empty() && others(&spans).len() >= 2 && orphans(&spans).is_empty())
    });
    waited.with_context(|| {
        let seen: Vec<String> =
            spans.iter().map(|s| format!("{} {} {}", s.organisation, s.service, s.name)).collect();
        format!(
            "still missing: {wanted:?}; spans without their parent: {:?}; seen: {seen:?}",
            orphans(&spans)
        )
    })?;
    let roots: Vec<&Span> = spans.iter().filter(|s| s.parent == CALLER).collect();
    match roots.as_slice() {
        [root] if root.service == "consilium-ingest" && root.organisation == "hospital-a" => {}
        other => bail!("the caller's span should have one child, the request at hospital A: {other:?}"),
    }
    let services: BTreeSet<(&str, &str)> =
        spans.iter().map(|s| (s.organisation.as_str(), s.service.as_str())).collect();
    Ok(format!(
        "{} spans of one create, from {} services of {} hospitals, each span below its caller's",
        spans.len(),
        services.len(),
        services.iter().map(|(o, _)| o).collect::<BTreeSet<_>>().len()
    ))
}

/// Spans whose parent neither arrived nor is the caller's: somewhere the context was lost, or not all has arrived.
fn orphans(spans: &[Span]) -> Vec<&Span> {
    let known: BTreeSet<&str> = spans.iter().map(|s| s.id.as_str()).chain([CALLER]).collect();
    spans.iter().filter(|s| !known.contains(s.parent.as_str())).collect()
}
