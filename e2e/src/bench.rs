//! Wall time of requests to four hospitals as real processes, several requests in flight.
//!
//! A serial round trip on a virtual machine measures how soon a core wakes up; with several requests in flight the
//! cores stay awake and a figure tells what a busy server gives its clients.

use crate::clock::Stopwatch;
use crate::cluster::Cluster;
use crate::http::{Answer, FHIR_JSON, Http};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consilium_testkit::bench::{Report, Series, Unit, wanted};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The benchmarks of this file.
pub const NAMES: [&str; 6] =
    ["ingest-create", "ingest-transaction", "ingest-read", "ingest-search", "exchange-read", "audit-query"];

/// Patients whose bundles are loaded as transactions, and those posted as single resources.
const BUNDLES: usize = 40;
const CREATES: usize = 200;
const READS: usize = 400;
const SEARCHES: usize = 200;
const EXCHANGES: usize = 200;
const QUERIES: usize = 100;

/// Requests that are under way at any time; each is a thread with a connection of its own.
const IN_FLIGHT: usize = 4;

/// Sends requests `0..count`, always [`IN_FLIGHT`] at a time, each of which must be answered with `status`. Gives the
/// series of their wall times, the answers in order, and the requests per second.
fn drive(
    label: &str,
    count: usize,
    status: u16,
    send: impl Fn(&Http, usize) -> Result<Answer> + Sync,
) -> Result<(Series, Vec<Answer>, f64)> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(count)));
    let worker = || -> Result<()> {
        let http = Http::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return Ok(());
            }
            let watch = Stopwatch::start();
            let answer = send(&http, at)?;
            let nanos = u64::try_from(watch.elapsed().as_nanos())?;
            let answer = answer.expect(status, label)?;
            done.lock().map_err(|_| anyhow::anyhow!("another request panicked"))?.push((at, nanos, answer));
        }
    };
    let watch = Stopwatch::start();
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(worker)).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a request panicked"))??;
        }
        Ok(())
    })?;
    let rate = count as f64 / watch.elapsed().as_secs_f64();
    let mut done = done.into_inner().map_err(|_| anyhow::anyhow!("a request panicked"))?;
    done.sort_by_key(|(at, _, _)| *at);
    let mut series = Series::new(label);
    for (_, nanos, _) in &done {
        series.push(1, *nanos);
    }
    Ok((series, done.into_iter().map(|(_, _, answer)| answer).collect(), rate))
}

fn report(name: &'static str) -> Report {
    let why = "needs a Java runtime and the HAPI FHIR JPA server; no set-up installs them yet";
    Report::new(name, Unit::Milliseconds).missing("HAPI FHIR", why)
}

fn finish(
    report: Report,
    (series, _, rate): &(Series, Vec<Answer>, f64),
    data: &str,
    checks: &str,
) -> Result<()> {
    if series.len() < 10 {
        bail!("fewer than ten requests are no benchmark");
    }
    report
        .condition("measured", "wall time of a request at the client, from sending to the last byte of the answer")
        .condition("data", data)
        .condition("threads", format!("{IN_FLIGHT} requests in flight, one blocking client thread and connection each"))
        .condition("throughput", format!("{rate:.1} requests per second over all {} requests", series.len()))
        .condition(
            "servers",
            "four hospitals (twenty services) and nats-server on this machine, SQLite and the embedded key-value store; \
             clients share the cores with them",
        )
        .condition("checks", checks)
        .finish(series, &[])?;
    Ok(())
}

/// Runs the benchmarks asked for on the command line against a consortium that is founded and not yet started.
pub fn run(cluster: &Cluster, work: &Path) -> Result<()> {
    let ours: Vec<Report> = NAMES.into_iter().map(report).collect();
    let mut ours = ours.into_iter();
    let mut next = || ours.next().context("a benchmark without report");
    cluster.start()?;
    let ehr = cluster.token("hospital-a", "system/*.cruds", &["--sub", "ehr-a"])?;
    let base = cluster.hospital(0)?.fhir();
    let bundles = samples(cluster, work, 1, BUNDLES)?;
    let singles = patients(&samples(cluster, work, 2, CREATES)?)?;

    let create = next()?;
    let url = format!("{base}/Patient");
    let created = drive("create of a Patient", CREATES, 201, |http, at| {
        let body = singles.get(at).context("no such patient")?;
        http.post(&url, Some(&ehr), FHIR_JSON, body)
    })?;
    let ids = created.1.iter().map(id).collect::<Result<Vec<_>>>()?;
    let written = "validation by the committee's quorum, proof of interoperability, block committed by a quorum of \
                   the validators, sealing and audit are all done before the answer";
    if wanted("ingest-create") {
        let data = format!("{CREATES} different Patients of `consilium sample`, one POST each");
        finish(create, &created, &data, &format!("every answer is 201; {written}"))?;
    }

    let transaction = next()?;
    let loaded = drive("transaction of a patient's bundle", BUNDLES, 200, |http, at| {
        http.post(&base, Some(&ehr), FHIR_JSON, bundles.get(at).context("no such bundle")?)
    })?;
    if wanted("ingest-transaction") {
        let entries: usize = bundles.iter().map(|b| entries(b).map(|e| e.len())).sum::<Result<usize>>()?;
        let bytes: usize = bundles.iter().map(Vec::len).sum();
        let data = format!(
            "{BUNDLES} transaction bundles of `consilium sample`, {entries} entries, {bytes} bytes in all"
        );
        finish(transaction, &loaded, &data, &format!("every answer is 200; {written}"))?;
    }

    let read = next()?;
    if wanted("ingest-read") {
        let reads = drive("read of a Patient", READS, 200, |http, at| {
            http.get(&format!("{url}/{}", pick(&ids, at)?), Some(&ehr), &[])
        })?;
        let data = format!("{READS} reads over {CREATES} Patients");
        finish(read, &reads, &data, "every answer is 200; bearer token verified, record unsealed, audited")?;
    }

    let search = next()?;
    let subjects = loaded.1.iter().map(patient_of).collect::<Result<Vec<_>>>()?;
    if wanted("ingest-search") {
        let found = drive("search of a patient's Observations", SEARCHES, 200, |http, at| {
            http.get(&format!("{base}/Observation?subject={}", pick(&subjects, at)?), Some(&ehr), &[])
        })?;
        let mut matches = 0;
        for answer in &found.1 {
            matches +=
                answer.json()?.get("total").and_then(Value::as_u64).context("a search without total")?;
        }
        if matches == 0 {
            bail!("the searches found nothing");
        }
        let data =
            format!("Observation?subject=Patient/… for {BUNDLES} patients; {matches} matches in all answers");
        finish(
            search,
            &found,
            &data,
            "every answer is 200 with a total; token verified, records unsealed, audited",
        )?;
    }

    let exchange = next()?;
    if wanted("exchange-read") {
        exchange_read(cluster, exchange, &base, &ehr, pick(&ids, 0)?)?;
    }
    let audit = next()?;
    if wanted("audit-query") {
        audit_query(cluster, audit, &ids)?;
    }
    Ok(())
}

fn exchange_read(cluster: &Cluster, report: Report, base: &str, ehr: &str, patient: &str) -> Result<()> {
    let grant = [
        "--json",
        "consent",
        "grant",
        "--patient",
        patient,
        "--to",
        "hospital-b",
        "--at",
        base,
        "--token",
        ehr,
    ];
    cluster.consilium(&grant)?.good().context("consilium consent")?;
    let more = ["--sub", "dr-b", "--role", "clinician", "--user", "Practitioner/b1"];
    let token = cluster.token("hospital-b", "user/*.rs", &more)?;
    let url = format!("{}/Patient/{patient}", cluster.hospital(1)?.exchange("hospital-a"));
    let ask = |http: &Http| http.get(&url, Some(&token), &[("x-purpose-of-use", "TREAT")]);
    let http = cluster.http();
    cluster.wait(Duration::from_secs(10), "the consent counts", || Ok(ask(&http)?.status == 200))?;
    let reads = drive("read through another hospital", EXCHANGES, 200, |http, _| ask(http))?;
    let data =
        format!("{EXCHANGES} reads of one Patient of hospital A by a clinician of hospital B, with consent");
    finish(
        report,
        &reads,
        &data,
        "every answer is 200; token, purpose of use and consent checked, both sides audited",
    )
}

fn audit_query(cluster: &Cluster, report: Report, ids: &[String]) -> Result<()> {
    let password = std::fs::read_to_string(cluster.secret("hospital-a", "officer.password"))?;
    let basic = format!("Basic {}", STANDARD.encode(format!("officer:{}", password.trim())));
    let page = format!("{}/", cluster.hospital(0)?.dashboard());
    let shown = drive("overview page: numbers of the day and newest events", QUERIES, 200, |http, _| {
        http.get(&page, None, &[("authorization", basic.as_str())])
    })?;
    let data = format!(
        "{QUERIES} times the dashboard's overview of hospital A's audit log, which holds at least the {} creates of this \
         run",
        ids.len()
    );
    finish(
        report,
        &shown,
        &data,
        "every answer is 200; officer's password verified, the look itself logged first",
    )
}

/// Bundles of `consilium sample`.
fn samples(cluster: &Cluster, work: &Path, seed: u64, patients: usize) -> Result<Vec<Vec<u8>>> {
    let dir = work.join(format!("sample-{seed}"));
    let (seed, count, out) = (seed.to_string(), patients.to_string(), dir.display().to_string());
    cluster.consilium(&["sample", "--seed", &seed, "--patients", &count, "--out", &out])?.good()?;
    let mut files = std::fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    files.iter().map(|file| std::fs::read(file).map_err(Into::into)).collect()
}

fn entries(bundle: &[u8]) -> Result<Vec<Value>> {
    let bundle: Value = serde_json::from_slice(bundle)?;
    bundle.get("entry").and_then(Value::as_array).cloned().context("a bundle without entries")
}

/// The Patients of the bundles, without their references to other entries.
fn patients(bundles: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let one = |bundle: &Vec<u8>| {
        let all = entries(bundle)?;
        let patient = all
            .iter()
            .filter_map(|e| e.get("resource"))
            .find(|r| r.get("resourceType") == Some(&json!("Patient")));
        let mut patient = patient.context("a sample without Patient")?.clone();
        patient.as_object_mut().context("a Patient that is no object")?.remove("managingOrganization");
        Ok(patient.to_string().into_bytes())
    };
    bundles.iter().map(one).collect()
}

fn id(answer: &Answer) -> Result<String> {
    Ok(answer.json()?.get("id").and_then(Value::as_str).context("a record without id")?.to_owned())
}

/// `Patient/…` of a transaction's answer.
fn patient_of(answer: &Answer) -> Result<String> {
    let bundle = answer.json()?;
    let entries = bundle.get("entry").and_then(Value::as_array).context("an answer without entries")?;
    let places = entries.iter().filter_map(|e| e.pointer("/response/location").and_then(Value::as_str));
    let found = places
        .filter_map(|place| place.split_once("Patient/"))
        .next()
        .context("an answer without Patient")?;
    Ok(format!("Patient/{}", found.1.split('/').next().unwrap_or_default()))
}

fn pick(all: &[String], at: usize) -> Result<&str> {
    let index = at.checked_rem(all.len()).context("nothing to ask for")?;
    all.get(index).map(String::as_str).context("nothing to ask for")
}
