//! All five processes of a hospital die at once, in the middle of everybody's work.

use super::World;
use super::exchange::{ask, clinician, consent};
use super::load::{compare, post_bundle, sample_bundles};
use crate::clock::Stopwatch;
use crate::cluster::Hospital;
use crate::http::{FHIR_JSON, encode};
use crate::records::Loaded;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long hospital C stays dead while the others work.
const DEAD: Duration = Duration::from_secs(15);
/// Longest time for which the living may keep a clinician waiting meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of the bundles of one loader.
#[derive(Default)]
struct Journal {
    loads: Vec<Loaded>,
    slowest_ms: f64,
    /// Places of the bundles that were not acknowledged.
    failed: Vec<usize>,
}

/// Posts bundles one by one until told to stop.
fn keep_loading(
    world: &World,
    to: &Hospital,
    token: &str,
    bundles: &[Vec<u8>],
    stop: &AtomicBool,
    done: &AtomicUsize,
) -> Journal {
    let mut journal = Journal::default();
    for (i, bundle) in bundles.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let watch = Stopwatch::start();
        match post_bundle(&world.http, to, token, &format!("outage {} {i}", to.name), bundle) {
            Ok(load) => {
                journal.loads.push(load);
                journal.slowest_ms = journal.slowest_ms.max(watch.ms());
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                journal.failed.push(i);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    journal
}

pub fn story(world: &mut World) -> Result<String> {
    let (a, c) = (world.a()?, world.c()?);
    let token = world.cluster.token("hospital-c", "system/*.cruds", &["--sub", "ehr-c"])?;
    let (at_a, at_c) = (sample_bundles(world, 8_001, 400)?, sample_bundles(world, 8_002, 400)?);
    let patient = world.planted.get(1).cloned().context("no second patient")?;
    let id = patient.trim_start_matches("Patient/").to_owned();
    consent(world, &["grant", "--patient", &id, "--to", "hospital-b"])?;
    let (stop, done_a, done_c) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let shared = &*world;
    let (journal_a, journal_c, meanwhile) = std::thread::scope(|scope| -> Result<_> {
        let loader_a = scope.spawn(|| keep_loading(shared, &a, &shared.ehr, &at_a, &stop, &done_a));
        let loader_c = scope.spawn(|| keep_loading(shared, &c, &token, &at_c, &stop, &done_c));
        let story = killing(shared, &patient, &done_a, &done_c);
        stop.store(true, Ordering::Relaxed);
        let journal_a = loader_a.join().map_err(|_| anyhow::anyhow!("a loader panicked"))?;
        let journal_c = loader_c.join().map_err(|_| anyhow::anyhow!("a loader panicked"))?;
        Ok((journal_a, journal_c, story?))
    })?;
    if !journal_a.failed.is_empty() {
        bail!("hospital A refused {} bundles while hospital C was dead", journal_a.failed.len());
    }
    let mut kept = 0;
    for load in journal_a.loads {
        let records = compare(world, &a, &world.ehr, load).context("hospital A while C is dead")?;
        kept += records.len();
        world.acknowledged.extend(records);
    }
    world.report.time(
        "slowest bundle at a living hospital while one is dead",
        format!("{:.0} ms", journal_a.slowest_ms),
        json!({ "ms": journal_a.slowest_ms }),
    );
    let back = recovery(world, &c, &token, journal_c, &at_c)?;
    Ok(format!(
        "killed while both were loading; {meanwhile}; none refused; the {kept} records that A acknowledged read back equal\n{back}"
    ))
}

/// Kills hospital C and watches the others: A's load goes on, and B's clinician goes on reading at A.
fn killing(world: &World, patient: &str, done_a: &AtomicUsize, done_c: &AtomicUsize) -> Result<String> {
    let count = |n: &AtomicUsize| n.load(Ordering::Relaxed);
    let doctor = clinician(world)?;
    world.cluster.wait(Duration::from_secs(60), "both loads run, and B reads at A", || {
        Ok(count(done_a) >= 3
            && count(done_c) >= 3
            && ask(world, &doctor, patient, Some("TREAT"))?.status == 200)
    })?;
    world.cluster.kill("hospital-c")?;
    let (before, watch) = (count(done_a), Stopwatch::start());
    let (mut asked, mut answered, mut last, mut longest) = (0, 0, Duration::ZERO, Duration::ZERO);
    while watch.elapsed() < DEAD {
        asked += 1;
        if ask(world, &doctor, patient, Some("TREAT"))?.status == 200 {
            answered += 1;
            last = watch.elapsed();
        }
        longest = longest.max(watch.elapsed().saturating_sub(last));
        std::thread::sleep(Duration::from_millis(100));
    }
    let bundles = count(done_a) - before;
    if bundles == 0 {
        bail!("hospital A committed nothing in {} s without hospital C", DEAD.as_secs());
    }
    if longest > PATIENCE {
        bail!(
            "hospital B's clinician got nothing for {:.1} s while hospital C was dead",
            longest.as_secs_f64()
        );
    }
    Ok(format!(
        "in {} s without C, A committed {bundles} bundles and B's clinician read at A {answered} of {asked} times (longest without: {:.1} s)",
        DEAD.as_secs(),
        longest.as_secs_f64()
    ))
}

/// C starts again, catches up, has what it acknowledged, has what was in flight whole or not at all, and takes part.
fn recovery(
    world: &mut World,
    c: &Hospital,
    token: &str,
    journal: Journal,
    bundles: &[Vec<u8>],
) -> Result<String> {
    let watch = Stopwatch::start();
    world.cluster.start_only("hospital-c")?;
    let ready = watch.elapsed().as_secs_f64();
    let target = world.cluster.height("hospital-a")?.context("hospital A does not say its height")?;
    world.cluster.wait(Duration::from_secs(60), "hospital C catches up", || {
        Ok(world.cluster.height("hospital-c")?.is_some_and(|h| h >= target))
    })?;
    let caught_up = watch.elapsed().as_secs_f64();
    let (acknowledged, mut records) = (journal.loads.len(), 0);
    for load in journal.loads {
        records += compare(world, c, token, load).context("acknowledged by hospital C before it died")?.len();
    }
    let first = journal
        .failed
        .first()
        .and_then(|i| bundles.get(*i))
        .context("nothing was in flight at hospital C")?;
    let in_flight = whole_or_nothing(world, c, token, first)?;
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
        "C after restart: ready in {ready:.1} s, at height {target} in {caught_up:.1} s; its {acknowledged} acknowledged bundles ({records} records) read back equal; \
         of the bundle in flight {in_flight}; a new record was committed"
    ))
}

/// How much there is of a bundle that was never acknowledged: all of it or nothing.
fn whole_or_nothing(world: &World, c: &Hospital, token: &str, bundle: &[u8]) -> Result<String> {
    let bundle: Value = serde_json::from_slice(bundle)?;
    let entries = bundle.get("entry").and_then(Value::as_array).context("no entries")?;
    let kind = |e: &Value| {
        e.pointer("/resource/resourceType").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let observations = entries.iter().filter(|e| kind(e) == "Observation").count() as u64;
    let patient = entries.iter().find(|e| kind(e) == "Patient").context("no Patient")?;
    let text = |at: &str| patient.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let identifier =
        format!("{}|{}", text("/resource/identifier/0/system"), text("/resource/identifier/0/value"));
    let find = |query: String| -> Result<Value> {
        world
            .http
            .get(&format!("{}/{query}", c.fhir()), Some(token), &[])?
            .expect(200, "a search at hospital C")?
            .json()
    };
    let found = find(format!("Patient?identifier={}", encode(&identifier)))?;
    match found.get("total").and_then(Value::as_u64) {
        Some(0) => Ok("there is nothing".to_owned()),
        Some(1) => {
            let id = found
                .pointer("/entry/0/resource/id")
                .and_then(Value::as_str)
                .context("a Patient without id")?;
            let there = find(format!("Observation?subject=Patient/{id}&_summary=count"))?;
            if there.get("total").and_then(Value::as_u64) != Some(observations) {
                bail!("the bundle in flight was stored in part: {there}, wanted {observations} Observations");
            }
            Ok("all is there, once".to_owned())
        }
        other => bail!("the bundle in flight was stored {other:?} times"),
    }
}
