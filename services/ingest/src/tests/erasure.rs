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
