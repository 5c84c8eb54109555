//! Real whole-patient bundles: what is loaded is what is read back.

use super::world::World;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn folder() -> Option<PathBuf> {
    let root = std::env::var("CONSILIUM_TEST_DATA").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = root.join("fhir/synthea");
    if path.is_dir() {
        return Some(path);
    }
    assert!(
        std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref() != Ok("1"),
        "{} is missing",
        path.display()
    );
    eprintln!("SKIPPED: {} is missing: no real bundle was loaded", path.display());
    None
}

/// Replaces every reference that the server resolved by what it stands for, and drops what the server assigned.
fn posted_form(mut v: Value, map: &BTreeMap<String, String>) -> Value {
    fn walk(v: &mut Value, map: &BTreeMap<String, String>) {
        match v {
            Value::Object(o) => {
                if let Some(Value::String(r)) = o.get_mut("reference")
                    && let Some(to) = map.get(r.as_str())
                {
                    *r = to.clone();
                }
                o.values_mut().for_each(|x| walk(x, map));
            }
            Value::Array(a) => a.iter_mut().for_each(|x| walk(x, map)),
            _ => {}
        }
    }
    walk(&mut v, map);
    let o = v.as_object_mut().unwrap();
    o.remove("id");
    if let Some(meta) = o.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("versionId");
        meta.remove("lastUpdated");
        if meta.is_empty() {
            o.remove("meta");
        }
    }
    v
}

#[actix_web::test]
async fn whole_patients_load_and_read_back_equal() {
    let (Some(folder), Some(w)) = (folder(), World::start("committed").await) else { return };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    // The organisations' and practitioners' bundles first: the patients refer to them.
    let information = |f: &PathBuf| f.to_string_lossy().contains("Information");
    files.sort_by_key(|f| (!information(f), std::fs::metadata(f).unwrap().len()));
    let some = files.iter().filter(|f| information(f)).count() + 6;
    let token = w.system("org-a");
    let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/fhir+json")];
    let (mut resources, mut created) = (0, 0);
    for file in files.iter().take(some) {
        let body = std::fs::read(file).unwrap();
        let bundle: Value = serde_json::from_slice(&body).unwrap();
        if bundle["type"] != "transaction" && bundle["type"] != "batch" {
            continue;
        }
        let start = w.apps["org-a"].clock.monotonic();
        let got = w.send("org-a", actix_web::http::Method::POST, "/fhir", &headers, &body).await;
        assert_eq!(
            got.status,
            200,
            "{}: {}",
            file.display(),
            got.body.chars().take(2000).collect::<String>()
        );
        let took = w.apps["org-a"].clock.monotonic() - start;
        let entries = bundle["entry"].as_array().unwrap();
        println!("{}: {} resources in {took:?}", file.file_name().unwrap().to_string_lossy(), entries.len());
        let answer = got.json();
        let mut back: BTreeMap<String, String> = BTreeMap::new();
        let mut forth: BTreeMap<String, String> = BTreeMap::new();
        for (sent, done) in entries.iter().zip(answer["entry"].as_array().unwrap()) {
            let location = done["response"]["location"].as_str().unwrap();
            let local =
                location.split("/fhir/").nth(1).unwrap().split("/_history").next().unwrap().to_owned();
            back.insert(local.clone(), sent["fullUrl"].as_str().unwrap().to_owned());
            forth.insert(sent["fullUrl"].as_str().unwrap().to_owned(), local);
        }
        for (sent, done) in entries.iter().zip(answer["entry"].as_array().unwrap()) {
            resources += 1;
            let status = done["response"]["status"].as_str().unwrap();
            if status.starts_with("200") {
                continue;
            }
            created += 1;
            let local = &forth[sent["fullUrl"].as_str().unwrap()];
            let read = w.get("org-a", &token, &format!("/fhir/{local}")).await;
            assert_eq!(read.status, 200, "{local}");
            let mut expected = posted_form(sent["resource"].clone(), &BTreeMap::new());
            let mut actual = posted_form(read.json(), &back);
            // A conditional reference became the one resource that it matched.
            conditional(&mut expected, &mut actual);
            assert_eq!(actual, expected, "{local} of {}", file.display());
        }
    }
    let stored: u64 = w.apps["org-a"].records.counts().await.unwrap().iter().map(|(_, n)| n).sum();
    assert_eq!(stored, created, "of {resources} resources sent");
    assert!(created > 500, "{created}");
    w.check_events();
}

/// Where a conditional reference was sent, the answer must have a literal one of that type: then both are dropped.
fn conditional(sent: &mut Value, read: &mut Value) {
    match (sent, read) {
        (Value::Object(s), Value::Object(r)) => {
            if let (Some(Value::String(a)), Some(Value::String(b))) = (s.get("reference"), r.get("reference"))
                && let Some((kind, _)) = a.split_once('?')
            {
                assert!(b.starts_with(&format!("{kind}/")), "{a} became {b}");
                s.remove("reference");
                r.remove("reference");
            }
            for (key, value) in s.iter_mut() {
                if let Some(other) = r.get_mut(key) {
                    conditional(value, other);
                }
            }
        }
        (Value::Array(s), Value::Array(r)) => s.iter_mut().zip(r).for_each(|(s, r)| conditional(s, r)),
        _ => {}
    }
}
