//! How long things take, on this machine and with everything on it.

use super::World;
use super::load::{sample_bundles, still_there};
use crate::clock::Stopwatch;
use crate::http::FHIR_JSON;
use crate::report::percentiles;
use anyhow::{Context, Result};
use serde_json::{Value, json};

const POSTS: usize = 100;

pub fn measure(world: &mut World) -> Result<String> {
    let base = world.a()?.fhir();
    let patients: Vec<Value> = sample_bundles(world, 9_001, POSTS)?
        .iter()
        .map(|bytes| -> Result<Value> {
            let bundle: Value = serde_json::from_slice(bytes)?;
            let entries = bundle.get("entry").and_then(Value::as_array).context("no entries")?;
            let patient = entries
                .iter()
                .filter_map(|e| e.get("resource"))
                .find(|r| r.get("resourceType") == Some(&json!("Patient")));
            let mut patient = patient.context("a sample without Patient")?.clone();
            if let Some(object) = patient.as_object_mut() {
                // It refers to an entry of its bundle.
                object.remove("managingOrganization");
            }
            Ok(patient)
        })
        .collect::<Result<_>>()?;
    let (mut posts, mut reads) = (Vec::new(), Vec::new());
    for patient in &patients {
        let watch = Stopwatch::start();
        let created = world
            .http
            .post(&format!("{base}/Patient"), Some(&world.ehr), FHIR_JSON, patient.to_string().as_bytes())?
            .expect(201, "a Patient")?;
        posts.push(watch.ms());
        let id = created.json()?.get("id").and_then(Value::as_str).context("no id")?.to_owned();
        let watch = Stopwatch::start();
        world.http.get(&format!("{base}/Patient/{id}"), Some(&world.ehr), &[])?.expect(200, "the Patient")?;
        reads.push(watch.ms());
    }
    for (what, ms) in [("POST Patient, committed", posts), ("GET Patient", reads)] {
        let (p50, p99) = percentiles(ms);
        world.report.time(
            what,
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms"),
            json!({ "p50_ms": p50, "p99_ms": p99, "n": POSTS }),
        );
    }
    let watch = Stopwatch::start();
    world.cluster.stop_for_restart()?;
    let down = watch.elapsed().as_secs_f64();
    let watch = Stopwatch::start();
    world.cluster.start()?;
    let up = watch.elapsed().as_secs_f64();
    world.report.time(
        "stop, and warm start of the four hospitals with their data",
        format!("{down:.1} s, {up:.1} s"),
        json!({ "down_s": down, "up_s": up }),
    );
    let kept = still_there(world).context("after a restart of everything")?;
    Ok(format!(
        "{POSTS} posts and reads one by one; all four hospitals stopped and started; {kept} records still there"
    ))
}
