//! Patients come in, and what is read back is what was posted.

use super::{Breadth, World, save};
use crate::clock::Stopwatch;
use crate::cluster::Hospital;
use crate::http::{FHIR_JSON, Http};
use crate::records::{Acknowledged, Loaded, pair, same_content};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Patients of `consilium sample`.
const SAMPLES: usize = 20;
/// Patients of the real data in a quick run.
const QUICK: usize = 6;

/// Posts a bundle and matches the answer with it.
pub fn post_bundle(http: &Http, to: &Hospital, token: &str, name: &str, bundle: &[u8]) -> Result<Loaded> {
    let answer = http.post(&to.fhir(), Some(token), FHIR_JSON, bundle)?.expect(200, name)?;
    pair(name, bundle, &answer.json()?)
}

/// Compares what a hospital acknowledged with what was posted, and remembers it for later.
fn remember(world: &mut World, loaded: Loaded) -> Result<()> {
    let records = compare(world, &world.a()?, &world.ehr, loaded)?;
    world.acknowledged.extend(records);
    Ok(())
}

fn sample_files(world: &World, seed: u64, patients: usize) -> Result<Vec<PathBuf>> {
    let dir = world.file(&format!("sample-{seed}"));
    let (seed, count) = (seed.to_string(), patients.to_string());
    world
        .cluster
        .consilium(&["sample", "--seed", &seed, "--patients", &count, "--out", &dir.display().to_string()])?
        .good()?;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    if files.len() != patients {
        bail!("{patients} patients were asked of `consilium sample`, {} came", files.len());
    }
    Ok(files)
}

/// Bundles of `consilium sample` with another seed.
pub fn sample_bundles(world: &World, seed: u64, patients: usize) -> Result<Vec<Vec<u8>>> {
    sample_files(world, seed, patients)?.iter().map(|f| std::fs::read(f).map_err(Into::into)).collect()
}

fn patients_of(bundle: &Value) -> impl Iterator<Item = &Value> {
    let entries = bundle.get("entry").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|e| e.get("resource"))
        .filter(|r| r.get("resourceType").and_then(Value::as_str) == Some("Patient"))
}

pub fn samples(world: &mut World) -> Result<String> {
    let a = world.a()?;
    let before: u64 = world.counts()?.values().sum();
    let watch = Stopwatch::start();
    let (mut loads, mut ms) = (Vec::new(), Vec::new());
    for file in sample_files(world, 1, SAMPLES)? {
        let bytes = std::fs::read(&file)?;
        for patient in patients_of(&serde_json::from_slice(&bytes)?) {
            world.secrets.add_patient(patient);
        }
        let one = Stopwatch::start();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        loads.push(post_bundle(&world.http, &a, &world.ehr, &name, &bytes)?);
        ms.push(one.ms());
    }
    let seconds = watch.elapsed().as_secs_f64();
    let (created, existing) = tally(&loads);
    let (p50, p99) = crate::report::percentiles(ms);
    world.report.time(
        "one sample patient's bundle",
        format!("p50 {p50:.0} ms, p99 {p99:.0} ms"),
        json!({ "p50_ms": p50, "p99_ms": p99, "n": SAMPLES }),
    );
    let rate = created as f64 / seconds;
    world.report.time(
        "records per second, sample patients one by one",
        format!("{rate:.0}"),
        json!({ "per_s": rate }),
    );
    let after: u64 = world.counts()?.values().sum();
    if after - before != created {
        bail!("{created} resources were created, but there are {} more records", after - before);
    }
    save(&world.file("existing-samples.txt"), existing.join("\n").as_bytes())?;
    for load in loads {
        remember(world, load)?;
    }
    Ok(format!(
        "{SAMPLES} bundles in {seconds:.1} s, {created} records created = records counted; {} conditional creates found theirs",
        existing.len()
    ))
}

/// Created, and the names of those that were already there.
fn tally(loads: &[Loaded]) -> (u64, Vec<String>) {
    let records = || loads.iter().flat_map(|l| &l.records);
    let created = records().filter(|r| r.posted.is_some()).count() as u64;
    let existing = records()
        .filter(|r| r.posted.is_none())
        .map(|r| {
            format!("{}: {} ({})", r.place, r.reference(), r.condition.as_deref().unwrap_or("no condition"))
        })
        .collect();
    (created, existing)
}

/// Two patients whose every identifying value can be recognised anywhere.
pub fn planted(world: &mut World) -> Result<String> {
    let a = world.a()?;
    let bundles = sample_bundles(world, 7_001, 2)?;
    let values = [
        (
            "Quillfeatherzz",
            "Ottiliezzplant",
            "MRNPLANT-77-8899",
            "+1-555-019-7731",
            "4711 Plantedthorn Crescent",
            "Zyzzogeton Bay",
            "98127-4471",
            "1913-02-17",
        ),
        (
            "Vraskoljevicqx",
            "Bartholomewqx",
            "MRNPLANT-55-1122",
            "+1-555-016-4482",
            "0815 Unmistakable Alley",
            "Quuxborough",
            "97301-6612",
            "1909-09-23",
        ),
    ];
    let mut loads = Vec::new();
    for (i, (bytes, (family, given, number, phone, line, city, postal, birth))) in
        bundles.iter().zip(values).enumerate()
    {
        let mut bundle: Value = serde_json::from_slice(bytes)?;
        let mail = format!("{}@{}.example", given.to_lowercase(), family.to_lowercase());
        for (kind, value) in [
            ("family name", family),
            ("given name", given),
            ("identifier", number),
            ("telecom", phone),
            ("telecom", &mail),
            ("address", line),
            ("address", city),
            ("address", postal),
            ("birth date", birth),
        ] {
            world.secrets.add(kind, value);
        }
        for entry in bundle.get_mut("entry").and_then(Value::as_array_mut).into_iter().flatten() {
            plant(entry, (family, given, number, phone, &mail, line, city, postal, birth))?;
        }
        let bytes = serde_json::to_vec(&bundle)?;
        let load = post_bundle(&world.http, &a, &world.ehr, &format!("planted {i}"), &bytes)?;
        let patient =
            load.records.iter().find(|r| r.resource_type == "Patient").context("no patient was planted")?;
        world.planted.push(patient.reference());
        loads.push(load);
    }
    let (created, _) = tally(&loads);
    for load in loads {
        remember(world, load)?;
    }
    Ok(format!("{created} records; the values stand in Patient, narratives, notes and display texts"))
}

type Person<'p> = (&'p str, &'p str, &'p str, &'p str, &'p str, &'p str, &'p str, &'p str, &'p str);

/// Puts a person's values where EHRs put them: the Patient's elements, narrative, notes, `display` of references.
fn plant(
    entry: &mut Value,
    (family, given, number, phone, mail, line, city, postal, birth): Person<'_>,
) -> Result<()> {
    let kind = entry.pointer("/resource/resourceType").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind == "Patient" {
        let system = entry
            .pointer("/resource/identifier/0/system")
            .and_then(Value::as_str)
            .context("no identifier")?;
        let condition = format!("identifier={system}|{number}");
        let request = entry.get_mut("request").and_then(Value::as_object_mut).context("no request")?;
        request.insert("ifNoneExist".to_owned(), json!(condition));
        let patient = entry.get_mut("resource").and_then(Value::as_object_mut).context("no resource")?;
        if let Some(value) = patient.get_mut("identifier").and_then(|i| i.pointer_mut("/0/value")) {
            *value = json!(number);
        }
        patient.insert("name".to_owned(), json!([{ "use": "official", "family": family, "given": [given] }]));
        patient.insert(
            "telecom".to_owned(),
            json!([{ "system": "phone", "value": phone }, { "system": "email", "value": mail }]),
        );
        patient.insert("birthDate".to_owned(), json!(birth));
        patient.insert(
            "address".to_owned(),
            json!([{ "line": [line], "city": city, "state": "MA", "postalCode": postal, "country": "US" }]),
        );
        patient.insert("contact".to_owned(), json!([{ "name": { "family": family, "text": format!("{given} {family}, parent") }, "telecom": [{ "system": "phone", "value": phone }] }]));
        let div = format!(
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">{given} {family}, born {birth}, {line}, {city}</div>"
        );
        patient.insert("text".to_owned(), json!({ "status": "generated", "div": div }));
        return Ok(());
    }
    let note = json!([{ "text": format!("{given} {family} ({number}) asked to be called at {phone}") }]);
    let subject = if kind == "Immunization" { "patient" } else { "subject" };
    if let Some(resource) = entry.get_mut("resource").and_then(Value::as_object_mut) {
        if let Some(reference) = resource.get_mut(subject).and_then(Value::as_object_mut) {
            reference.insert("display".to_owned(), json!(format!("{given} {family}")));
        }
        if matches!(kind.as_str(), "Observation" | "Condition" | "Procedure" | "Immunization") {
            resource.insert("note".to_owned(), note);
        }
    }
    Ok(())
}

/// Reads records back, a few requests in flight; `look` gets each with the answer's body.
fn read_all(
    world: &World,
    from: &Hospital,
    token: &str,
    records: &[Acknowledged],
    look: impl Fn(&Acknowledged, Vec<u8>) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(record) = records.get(next.fetch_add(1, Ordering::Relaxed)) {
            let url = format!("{}/{}", from.fhir(), record.reference());
            let read = world.http.get(&url, Some(token), &[])?.expect(200, &record.place)?;
            if read.etag.as_deref() != Some(format!("W/\"{}\"", record.version).as_str()) {
                bail!(
                    "{}: acknowledged as version {}, read with ETag {:?}",
                    record.place,
                    record.version,
                    read.etag
                );
            }
            look(record, read.body).with_context(|| format!("{} ({})", record.place, record.reference()))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| anyhow::anyhow!("a reader panicked"))?)
    })
}

/// Reads a load back for the first time: equal to what was posted. Names are bundle-local, so each load by itself.
pub fn compare(world: &World, from: &Hospital, token: &str, loaded: Loaded) -> Result<Vec<Acknowledged>> {
    let searched: Mutex<BTreeMap<String, Option<String>>> = Mutex::new(BTreeMap::new());
    let bodies: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let names = Names { world, from, token, local: &loaded.names, searched: &searched };
    read_all(world, from, token, &loaded.records, |record, body| {
        if let Some(posted) = &record.posted {
            same_content(posted.as_bytes(), &body, |reference| names.resolve(reference))?;
        }
        lock(&bodies).insert(record.place.clone(), body);
        Ok(())
    })?;
    let mut bodies = bodies.into_inner().unwrap_or_else(PoisonError::into_inner);
    let keep = |mut record: Acknowledged| {
        record.read = bodies.remove(&record.place).unwrap_or_default();
        record.posted = None;
        record
    };
    Ok(loaded.records.into_iter().map(keep).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the references of a bundle stand for.
struct Names<'n> {
    world: &'n World,
    from: &'n Hospital,
    token: &'n str,
    local: &'n BTreeMap<String, String>,
    searched: &'n Mutex<BTreeMap<String, Option<String>>>,
}

impl Names<'_> {
    /// An entry's `fullUrl`, a relative form of it, or a search with exactly one match.
    fn resolve(&self, reference: &str) -> Result<Option<String>> {
        if let Some(local) = self.local.get(reference) {
            return Ok(Some(local.clone()));
        }
        let Some((kind, condition)) = reference.split_once('?') else {
            let tail = format!("/{reference}");
            return Ok(self
                .local
                .iter()
                .find(|(url, _)| url.ends_with(&tail))
                .map(|(_, local)| local.clone()));
        };
        if let Some(found) = lock(self.searched).get(reference) {
            return Ok(found.clone());
        }
        let (name, value) = condition.split_once('=').context("a condition without value")?;
        let url = format!("{}/{kind}?{name}={}", self.from.fhir(), crate::http::encode(value));
        let found = self
            .world
            .http
            .get(&url, Some(self.token), &[])?
            .expect(200, "a conditional reference")?
            .json()?;
        let id = found.pointer("/entry/0/resource/id").and_then(Value::as_str);
        let one = id
            .filter(|_| found.get("total").and_then(Value::as_u64) == Some(1))
            .map(|id| format!("{kind}/{id}"));
        lock(self.searched).insert(reference.to_owned(), one.clone());
        Ok(one)
    }
}

/// The records were compared as they came; now once more, byte for byte.
pub fn read_back(world: &mut World) -> Result<String> {
    let count = still_there(world)?;
    Ok(format!(
        "{count} records: every leaf with its exact token, but for id, version, time and resolved references"
    ))
}

/// Reads everything that hospital A acknowledged: the same bytes as the first time. Gives the number.
pub fn still_there(world: &World) -> Result<usize> {
    read_all(world, &world.a()?, &world.ehr, &world.acknowledged, |record, body| {
        if record.read != body {
            bail!("it changed since it was first read");
        }
        Ok(())
    })?;
    Ok(world.acknowledged.len())
}

/// `consilium load` with several requests in flight.
pub fn in_parallel(world: &mut World) -> Result<String> {
    const PATIENTS: usize = 60;
    let folder = world.file("sample-2");
    sample_files(world, 2, PATIENTS)?;
    let before: u64 = world.counts()?.values().sum();
    let watch = Stopwatch::start();
    let base = world.a()?.fhir();
    let said = world
        .cluster
        .consilium(&[
            "load",
            &folder.display().to_string(),
            "--to",
            &base,
            "--token",
            &world.ehr,
            "--parallel",
            "4",
        ])?
        .good()
        .context("consilium load")?;
    let seconds = watch.elapsed().as_secs_f64();
    let more = world.counts()?.values().sum::<u64>() - before;
    let rate = more as f64 / seconds;
    world.report.time(
        "records per second, `consilium load --parallel 4` of sample patients",
        format!("{rate:.0}"),
        json!({ "per_s": rate }),
    );
    Ok(format!("{} in {seconds:.1} s; {more} more records", said.trim()))
}

/// The real bundles: catalogues of hospitals and practitioners first, because patients refer to them.
pub fn synthea(world: &mut World) -> Result<String> {
    let Some(folder) = world.data.clone().map(|d| d.join("fhir/synthea")).filter(|d| d.is_dir()) else {
        if std::env::var("CONSILIUM_REQUIRE_TEST_DATA").is_ok_and(|v| v == "1") {
            bail!("the test data is missing: set CONSILIUM_TEST_DATA to its folder");
        }
        return Ok("SKIPPED: the test data is not there (CONSILIUM_TEST_DATA)".to_owned());
    };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    let (first, mut patients): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|f| f.file_name().is_some_and(|n| n.to_string_lossy().contains("Information")));
    if world.breadth == Breadth::Quick {
        // The smaller ones of either generation of Synthea.
        let size = |f: &PathBuf| std::fs::metadata(f).map(|m| m.len()).unwrap_or(u64::MAX);
        patients.sort_by_key(|f| (size(f), f.clone()));
        let of = |g: &str| {
            patients
                .iter()
                .filter(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with(g)))
                .take(QUICK / 2)
                .cloned()
                .collect::<Vec<_>>()
        };
        patients = [of("a-"), of("b-")].concat();
    }
    // Some bundles bring organisations of their own, without a condition. A conditional reference to one of these would
    // then have several matches: bundles with such references go first.
    let refers = |f: &PathBuf| std::fs::read(f).is_ok_and(|b| b.windows(12).any(|w| w == b"?identifier="));
    patients.sort_by_cached_key(|f| (!refers(f), f.clone()));
    let before: u64 = world.counts()?.values().sum();
    let (mut created, mut resources, mut existing, mut lines) = (0, 0, Vec::new(), Vec::new());
    let (mut seconds, mut patient_ms) = (0.0, Vec::new());
    for (file, is_patient) in first.iter().map(|f| (f, false)).chain(patients.iter().map(|f| (f, true))) {
        let bytes = std::fs::read(file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for patient in patients_of(&serde_json::from_slice(&bytes)?) {
            world.secrets.add_patient(patient);
        }
        let watch = Stopwatch::start();
        let load = post_bundle(&world.http, &world.a()?, &world.ehr, &name, &bytes)?;
        let took = watch.elapsed().as_secs_f64();
        let (new, found) = tally(std::slice::from_ref(&load));
        let rate = load.records.len() as f64 / took;
        lines.push(format!(
            "{:>6} KB {:>5} resources {took:>6.2} s {rate:>5.0}/s  {new} created, {} already there  {}",
            bytes.len() / 1024,
            load.records.len(),
            found.len(),
            name.get(..24).unwrap_or(&name)
        ));
        created += new;
        resources += load.records.len() as u64;
        seconds += took;
        if is_patient {
            patient_ms.push(took * 1000.0);
        }
        existing.extend(found);
        remember(world, load)?;
    }
    let after: u64 = world.counts()?.values().sum();
    if after - before != created || created + existing.len() as u64 != resources {
        bail!(
            "{resources} resources, {created} created, {} already there, but {} more records",
            existing.len(),
            after - before
        );
    }
    let named = world.file("existing-synthea.txt");
    save(&named, existing.join("\n").as_bytes())?;
    let (p50, p99) = crate::report::percentiles(patient_ms.clone());
    world.report.time(
        "one whole-patient Synthea bundle",
        format!("p50 {p50:.0} ms, p99 {p99:.0} ms ({} bundles)", patient_ms.len()),
        json!({ "p50_ms": p50, "p99_ms": p99, "n": patient_ms.len() }),
    );
    let rate = resources as f64 / seconds;
    world.report.time(
        "records per second, Synthea bundles one by one",
        format!("{rate:.0}"),
        json!({ "per_s": rate }),
    );
    lines.push(format!(
        "{resources} resources = {created} records + {} found by conditional creates, each named in {}",
        existing.len(),
        named.display()
    ));
    Ok(lines.join("\n"))
}
