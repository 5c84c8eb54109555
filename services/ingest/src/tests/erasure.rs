//! Destroyed is destroyed: for readers, on the disk, and on the ledger.

use super::story::{consent, id_of, patient};
use super::world::{Got, World};
use actix_web::http::Method;
use consilium_domain::canon::Canonical;
use consilium_domain::tx::{ErasedKind, ErasureGround, Tx, TxBody};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}");
}

/// The erasures on the ledger: number, kind, ground, count, and the digest of the record.
fn on_ledger(w: &World) -> Vec<(u64, ErasedKind, ErasureGround, u32, String)> {
    let mut out: Vec<_> = w
        .shared
        .transactions()
        .iter()
        .filter_map(|tx| match Tx::from_canonical(tx).unwrap().unsigned.body {
            TxBody::Erasure(e) => Some((e.sequence, e.kind, e.ground, e.count, e.record.to_string())),
            _ => None,
        })
        .collect();
    out.sort();
    out
}

async fn delete(w: &World, path: &str, token: &str, ground: Option<&str>) -> Got {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(ground.map(|ground| ("x-erasure-ground", ground)));
    w.send("org-a", Method::DELETE, path, &headers, b"").await
}

/// Whether a file of the store shows these bytes.
fn on_disk(w: &World, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(&w.folder).unwrap().map(|entry| entry.unwrap().path());
    let mut stores = files.filter(|path| path.to_string_lossy().contains("org-a.db"));
    stores.any(|path| std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes))
}

#[actix_web::test]
async fn a_deleted_record_is_gone_from_answers_disk_and_search_and_the_ledger_says_so() {
    let Some(w) = World::start("committed").await else { return };
    let created = w.post("org-a", "/fhir/Patient", &patient("Gone", "mrn-gone")).await;
    let id = id_of(&created.headers["location"]);
    let url = format!("/fhir/Patient/{id}");
    let mut changed = patient("Gone", "mrn-gone");
    changed["id"] = json!(id);
    assert_eq!(w.write("org-a", Method::PUT, &url, &changed, &[]).await.status, 200);
    let other = w.post("org-a", "/fhir/Patient", &patient("Stays", "mrn-stays")).await;
    let other = id_of(&other.headers["location"]);
    let app = &w.apps["org-a"];
    let handle = app.blind.record("Patient", &id);
    let mut secrets = Vec::new();
    for version in [1, 2] {
        let row = app.records.version("Patient", &handle, version, false).await.unwrap().unwrap();
        secrets.extend([row.wrapped_key, row.ciphertext[..64].to_vec()]);
    }
    assert!(secrets.iter().all(|secret| on_disk(&w, secret)), "the control: they are there before");

    let token = w.system("org-a");
    // Not without the letter, not without a ground, and nothing changes by asking.
    let reader = w.token("org-a", "system/*.rus", &[]);
    assert_eq!(delete(&w, &url, &reader, Some("request")).await.status, 403);
    for ground in [None, Some("because"), Some("")] {
        assert_eq!(delete(&w, &url, &token, ground).await.status, 400, "{ground:?}");
    }
    assert_eq!(delete(&w, "/fhir/Patient/absent", &token, Some("request")).await.status, 404);
    assert_eq!(w.get("org-a", &token, &url).await.status, 200);

    let done = delete(&w, &url, &token, Some("request")).await;
    assert_eq!((done.status, done.body.as_str()), (204, ""));
    for path in
        [url.clone(), format!("{url}/_history"), format!("{url}/_history/1"), format!("{url}/_history/2")]
    {
        let got = w.get("org-a", &token, &path).await;
        assert_eq!(got.status, 410, "{path}: {}", got.body);
        assert_eq!(got.json()["issue"][0]["code"], "deleted");
        w.valid(got.body.as_bytes());
    }
    let receipt = w.get("org-a", &token, &format!("{url}/_history/1/$receipt")).await;
    assert_eq!(receipt.status, 410);
    assert_eq!(w.write("org-a", Method::PUT, &url, &changed, &[]).await.status, 410, "nor does it come back");
    let found = w.get("org-a", &token, "/fhir/Patient").await.json();
    assert_eq!((&found["total"], found["entry"].as_array().unwrap().len()), (&json!(1), 1));
    let searched = w.get("org-a", &token, "/fhir/Patient?identifier=urn:test:mrn%7Cmrn-gone").await.json();
    assert_eq!(searched["total"], 0);
    // Within her own compartment a patient is told; another learns nothing of it.
    let own = w.token("org-a", "patient/*.rs", &[("patient", &id)]);
    assert_eq!(w.get("org-a", &own, &url).await.status, 410);
    let stranger = w.token("org-a", "patient/*.rs", &[("patient", &other)]);
    assert_eq!(w.get("org-a", &stranger, &url).await.status, 404);
    assert_eq!(delete(&w, &url, &token, Some("request")).await.status, 204, "again: it is so already");
    // What lay in the store is overwritten, in the log too.
    for secret in &secrets {
        assert!(!on_disk(&w, secret));
    }

    until("the ledger has it", async || on_ledger(&w).len() == 1).await;
    let (sequence, kind, ground, count, record) = on_ledger(&w).remove(0);
    assert_eq!((sequence, kind, ground, count), (1, ErasedKind::DataKey, ErasureGround::Request, 2));
    // The audit trail holds the record that the ledger's digest is of: by whom, when and why.
    let event = async || {
        let events = w.shared.events.lock().unwrap()["org-a"].clone();
        events.iter().map(|e| serde_json::from_slice::<Value>(e).unwrap()).find(|e| e["action"] == "D")
    };
    until("the event is delivered", async || event().await.is_some()).await;
    let event = event().await.unwrap();
    w.valid(event.to_string().as_bytes());
    let entities = event["entity"].as_array().unwrap();
    let kept = entities.iter().find_map(|e| e.pointer("/detail/0/valueString")).unwrap();
    let kept = hex::decode(kept.as_str().unwrap()).unwrap();
    assert_eq!(consilium_domain::Digest::sha256(&[&kept]).to_string(), record);
    // Not whose: neither the id nor its handle is on the ledger.
    let chain = w.shared.chain.lock().unwrap().bytes.clone();
    for what in [id.as_bytes(), handle.as_slice()] {
        assert!(!chain.windows(what.len()).any(|window| window == what));
    }
    // The batch of the other record is proven as before.
    assert_eq!(
        w.get("org-a", &token, &format!("/fhir/Patient/{other}/_history/1/$receipt")).await.status,
        200
    );
}

#[actix_web::test]
async fn erasures_are_numbered_without_gaps_though_the_ledger_was_away() {
    let Some(w) = World::start("committed").await else { return };
    let token = w.system("org-a");
    let mut urls = Vec::new();
    for n in 0..3 {
        let created = w.post("org-a", "/fhir/Patient", &patient("Many", &format!("mrn-{n}"))).await;
        urls.push(format!("/fhir/Patient/{}", id_of(&created.headers["location"])));
    }
    w.shared.consensus_down.store(true, Ordering::Relaxed);
    for url in &urls {
        assert_eq!(delete(&w, url, &token, Some("retention")).await.status, 204);
        assert_eq!(w.get("org-a", &token, url).await.status, 410, "at once, whatever the ledger does");
    }
    assert!(on_ledger(&w).is_empty());
    w.shared.consensus_down.store(false, Ordering::Relaxed);
    until("the ledger has them", async || on_ledger(&w).len() == 3).await;
    until("nothing waits", async || w.apps["org-a"].outbox.depth().await.unwrap().0 == 0).await;
    assert_eq!(on_ledger(&w).iter().map(|e| e.0).collect::<Vec<_>>(), [1, 2, 3]);
}

#[actix_web::test]
async fn a_consent_is_ended_not_deleted() {
    let Some(w) = World::start("committed").await else { return };
    let created = w.post("org-a", "/fhir/Patient", &patient("Consenting", "1")).await;
    let id = id_of(&created.headers["location"]);
    let given = w.post("org-a", "/fhir/Consent", &consent(&id, "org-b")).await;
    let url = format!("/fhir/Consent/{}", id_of(&given.headers["location"]));
    assert_eq!(delete(&w, &url, &w.system("org-a"), Some("request")).await.status, 409);
    assert_eq!(w.get("org-a", &w.system("org-a"), &url).await.status, 200);
}

#[actix_web::test]
async fn what_officers_destroy_is_gone_here_within_a_moment_and_is_told_once() {
    let Some(w) = World::start("committed").await else { return };
    let token = w.system("org-a");
    let created = w.post("org-a", "/fhir/Patient", &patient("Shredded", "1")).await;
    let id = id_of(&created.headers["location"]);
    let url = format!("/fhir/Patient/{id}");
    let other = w.post("org-a", "/fhir/Patient", &patient("Stays", "2")).await;
    let other = format!("/fhir/Patient/{}", id_of(&other.headers["location"]));
    // Officers learn the classes of a patient here; a reader does not.
    let reader = w.token("org-a", "system/*.rs", &[]);
    assert_eq!(w.get("org-a", &reader, &format!("{url}/$key-classes")).await.status, 403);
    let listed = w.get("org-a", &token, &format!("{url}/$key-classes")).await;
    w.valid(listed.body.as_bytes());
    let classes: Vec<Vec<u8>> = listed.json()["parameter"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| hex::decode(p["part"][0]["valueString"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(classes.len(), 1);
    // The key is in memory, for a minute if nothing happens.
    assert_eq!(w.get("org-a", &token, &url).await.status, 200);
    w.shared.destroy("org-a", &classes);
    until("it is gone", async || w.get("org-a", &token, &url).await.status == 410).await;
    let found = w.get("org-a", &token, "/fhir/Patient").await;
    assert_eq!(found.status, 200, "a destroyed record does not stand in the way of the others");
    assert_eq!(found.json()["entry"].as_array().unwrap().len(), 1);
    assert_eq!(w.get("org-a", &token, &other).await.status, 200);
    until("the ledger has it", async || !on_ledger(&w).is_empty()).await;
    let entry = on_ledger(&w).remove(0);
    assert_eq!((entry.0, entry.1, entry.3), (1, ErasedKind::ClassKey, 1));
    // New records of this patient find no key to be sealed under.
    let mut observation = json!({
        "resourceType": "Basic",
        "code": { "coding": [{ "system": "urn:test:code", "code": "x" }] },
        "subject": { "reference": format!("Patient/{id}") }
    });
    let refused = w.post("org-a", "/fhir/Basic", &observation).await;
    assert_eq!(refused.status, 410, "{}", refused.body);
    observation["subject"]["reference"] = json!(other.trim_start_matches("/fhir/"));
    assert_eq!(w.post("org-a", "/fhir/Basic", &observation).await.status, 201);

    // Another process of this organisation, or this one after a restart, follows the same erasures: told once.
    let app = &w.apps["org-a"];
    crate::erasure::follow(app, &app.peers.erased(0).await.unwrap()).await.unwrap();
    until("nothing waits", async || app.outbox.depth().await.unwrap().0 == 0).await;
    assert_eq!(on_ledger(&w).len(), 1);
}

/// A patient's classes.
async fn classes_of(w: &World, id: &str) -> Vec<Vec<u8>> {
    let listed = w.get("org-a", &w.system("org-a"), &format!("/fhir/Patient/{id}/$key-classes")).await.json();
    let parts = listed["parameter"].as_array().unwrap();
    parts.iter().map(|p| hex::decode(p["part"][0]["valueString"].as_str().unwrap()).unwrap()).collect()
}

/// Outcomes of the trail's events about creations that failed.
fn failures(w: &World) -> Vec<String> {
    let events = w.events("org-a");
    let failed = events.iter().filter(|e| e["action"] == "C" && e["outcome"] == "8");
    failed.map(|e| e["outcomeDesc"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn a_batch_whose_records_were_destroyed_before_it_was_attested_ends_and_the_others_go_on() {
    let Some(w) = World::start("stored").await else { return };
    let token = w.system("org-a");
    let entry = |name: &str| {
        json!({
            "resource": patient(name, name),
            "request": { "method": "POST", "url": "Patient", "ifNoneExist": format!("identifier={name}") }
        })
    };
    w.shared.validate_down.store(true, Ordering::Relaxed);
    let bundle = json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [entry("first"), entry("gone"), entry("last")]
    });
    let stored = w.post("org-a", "/fhir", &bundle).await;
    assert_eq!(stored.status, 200, "{}", stored.body);
    let stored = stored.json();
    let ids = [0, 1, 2].map(|i| id_of(stored["entry"][i]["response"]["location"].as_str().unwrap()));
    let alone = w.post("org-a", "/fhir/Patient", &patient("Alone", "alone")).await;
    let alone = id_of(&alone.headers["location"]);
    let outbox = &w.apps["org-a"].outbox;
    assert_eq!(outbox.depth().await.unwrap().0, 2, "two batches lack their attestations");

    let mut gone = classes_of(&w, &ids[1]).await;
    gone.extend(classes_of(&w, &alone).await);
    w.shared.destroy("org-a", &gone);
    let status = async |id: &str| w.get("org-a", &token, &format!("/fhir/Patient/{id}")).await.status;
    until("they are gone", async || status(&ids[1]).await == 410 && status(&alone).await == 410).await;
    until("the ledger has the erasure", async || on_ledger(&w).len() == 1).await;
    until("one batch of what is left", async || outbox.depth().await.unwrap().0 == 1).await;
    for id in [&ids[0], &ids[2]] {
        assert_eq!(status(id).await, 200, "what was acknowledged is kept");
    }

    w.shared.validate_down.store(false, Ordering::Relaxed);
    let receipt = async |id: &str| {
        w.get("org-a", &token, &format!("/fhir/Patient/{id}/_history/1/$receipt")).await.status
    };
    until("the others reach the ledger", async || {
        receipt(&ids[0]).await == 200 && receipt(&ids[2]).await == 200
    })
    .await;
    until("nothing waits", async || outbox.depth().await.unwrap().0 == 0).await;
    assert_eq!(receipt(&ids[1]).await, 410);
    until("the trail is told", async || failures(&w).len() == 2).await;
    let mut told = failures(&w);
    told.sort();
    assert!(told[0].starts_with("1 of 1 records") && told[1].starts_with("1 of 3 records"), "{told:?}");
    w.check_events();
    // No condition is held for ever by what is gone.
    let again = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry("gone")] });
    let again = w.post("org-a", "/fhir", &again).await.json();
    assert!(again["entry"][0]["response"]["status"].as_str().unwrap().starts_with("201"), "{again}");
}

#[actix_web::test]
async fn a_refused_batch_is_taken_back_though_some_of_it_was_destroyed() {
    let Some(w) = World::start("committed").await else { return };
    let token = w.system("org-a");
    w.shared.consensus_down.store(true, Ordering::Relaxed);
    let entry = |name: &str| {
        let mut resource = patient(name, name);
        resource["id"] = json!(name);
        json!({ "resource": resource, "request": { "method": "PUT", "url": format!("Patient/{name}") } })
    };
    let bundle =
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry("kept"), entry("gone")] });
    assert_eq!(w.post("org-a", "/fhir", &bundle).await.status, 503, "stored, not confirmed");
    w.shared.destroy("org-a", &classes_of(&w, "gone").await);
    let status = async |id: &str| w.get("org-a", &token, &format!("/fhir/Patient/{id}")).await.status;
    until("it is gone", async || status("gone").await == 410).await;
    w.shared.consensus_refuses.store(true, Ordering::Relaxed);
    w.shared.consensus_down.store(false, Ordering::Relaxed);
    until("it is taken back", async || failures(&w).iter().any(|told| told.contains("refused"))).await;
    w.shared.consensus_refuses.store(false, Ordering::Relaxed);
    until("the ledger has the erasure", async || on_ledger(&w).len() == 1).await;
    until("nothing waits", async || w.apps["org-a"].outbox.depth().await.unwrap().0 == 0).await;
    assert_eq!((status("kept").await, status("gone").await), (404, 410));
}
