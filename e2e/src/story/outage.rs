//! All five processes of a hospital die at once, in the middle of everybody's work.

use super::load::{post_bundle, sample_bundles, still_there};
use super::World;
use crate::clock::Stopwatch;
use crate::cluster::Hospital;
use crate::http::FHIR_JSON;
use crate::records::{Acknowledged, Loaded};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What was acknowledged to a loader, how long each answer took, and what failed.
#[derive(Default)]
struct Journal {
    records: Vec<Acknowledged>,
    bundles: usize,
    slowest_ms: f64,
    failures: usize,
}

/// Posts bundles one by one until told to stop.
fn keep_loading(world: &World, to: &Hospital, token: &str, bundles: &[Vec<u8>], stop: &AtomicBool, done: &AtomicUsize) -> Journal {
    let mut journal = Journal::default();
    for (i, bundle) in bundles.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let watch = Stopwatch::start();
        match post_bundle(&world.http, to, token, &format!("outage {} {i}", to.name), bundle) {
            Ok(Loaded { records, .. }) => {
                journal.records.extend(records);
                journal.bundles += 1;
                done.fetch_add(1, Ordering::Relaxed);
                journal.slowest_ms = journal.slowest_ms.max(watch.ms());
            }
            Err(_) => {
                journal.failures += 1;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    journal
}

pub fn story(world: &mut World) -> Result<String> {
    let (a, c) = (world.a()?, world.c()?);
    let token = world.cluster.token("hospital-c", "system/*.cruds", &["--sub", "ehr-c"])?;
    let at_a = sample_bundles(world, 8_001, 400)?;
    let at_c = sample_bundles(world, 8_002, 400)?;
    let (stop, done_a, done_c) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let shared = &*world;
    let (journal_a, journal_c, alone) = std::thread::scope(|scope| -> Result<_> {
        let loader_a = scope.spawn(|| keep_loading(shared, &a, &shared.ehr, &at_a, &stop, &done_a));
        let loader_c = scope.spawn(|| keep_loading(shared, &c, &token, &at_c, &stop, &done_c));
        let story = (|| -> Result<usize> {
            let count = |n: &AtomicUsize| n.load(Ordering::Relaxed);
            let minute = Duration::from_secs(60);
            shared.cluster.wait(minute, "both loads run", || Ok(count(&done_a) >= 3 && count(&done_c) >= 3))?;
            shared.cluster.kill("hospital-c")?;
            let killed_at = count(&done_a);
            shared.cluster.wait(minute, "the three others go on", || Ok(count(&done_a) >= killed_at + 5))?;
            Ok(count(&done_a) - killed_at)
        })();
        stop.store(true, Ordering::Relaxed);
        let journal_a = loader_a.join().map_err(|_| anyhow::anyhow!("a loader panicked"))?;
        let journal_c = loader_c.join().map_err(|_| anyhow::anyhow!("a loader panicked"))?;
        Ok((journal_a, journal_c, story?))
    })?;
    if journal_a.failures > 0 {
        bail!("hospital A refused {} bundles while hospital C was dead", journal_a.failures);
    }
    world.acknowledged.extend(journal_a.records.iter().map(|r| Acknowledged { posted: None, ..r.clone() }));
    let kept = still_there(world).context("hospital A while C is dead")?;
    let back = recovery(world, &c, &token, &journal_c.records)?;
    Ok(format!(
        "killed with both loading; A went on with {alone} bundles (slowest answer {:.0} ms), none refused; its {kept} acknowledged records all read back\n\
         C had acknowledged {} bundles; {back}",
        journal_a.slowest_ms, journal_c.bundles
    ))
}

/// C starts again, catches up, has what it acknowledged, and takes part.
fn recovery(world: &mut World, c: &Hospital, token: &str, acknowledged: &[Acknowledged]) -> Result<String> {
    let watch = Stopwatch::start();
    world.cluster.start_only("hospital-c")?;
    let ready = watch.elapsed().as_secs_f64();
    let target = world.cluster.height("hospital-a")?.context("hospital A does not say its height")?;
    world.cluster.wait(Duration::from_secs(60), "hospital C catches up", || {
        Ok(world.cluster.height("hospital-c")?.is_some_and(|h| h >= target))
    })?;
    let caught_up = watch.elapsed().as_secs_f64();
    for record in acknowledged {
        let url = format!("{}/{}", c.fhir(), record.reference());
        let read = world.http.get(&url, Some(token), &[])?;
        if read.status != 200 {
            bail!("{} was acknowledged by C and is not there: {} {}", record.reference(), read.status, read.head());
        }
    }
    let patient = json!({ "resourceType": "Patient", "active": true });
    world
        .http
        .post(&format!("{}/Patient", c.fhir()), Some(token), FHIR_JSON, patient.to_string().as_bytes())?
        .expect(201, "a create at hospital C after its return")?;
    world.report.time(
        "a killed hospital: ready, and at the others' height",
        format!("{ready:.1} s, {caught_up:.1} s"),
        json!({ "ready_s": ready, "caught_up_s": caught_up }),
    );
    Ok(format!(
        "after restart it was ready in {ready:.1} s and at height {target} in {caught_up:.1} s; its {} acknowledged records all read back; a new one was committed",
        acknowledged.len()
    ))
}
