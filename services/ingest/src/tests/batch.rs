//! Batches: many entries in few ledger transactions, each entry with its own outcome.

use super::story::{consent, id_of, patient};
use super::world::World;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn post(resource: Value, condition: Option<&str>) -> Value {
    let mut request = json!({ "method": "POST", "url": resource["resourceType"] });
    if let Some(condition) = condition {
        request["ifNoneExist"] = json!(condition);
    }
    json!({ "resource": resource, "request": request })
}

fn batch(entries: Vec<Value>) -> Value {
    json!({ "resourceType": "Bundle", "type": "batch", "entry": entries })
}

fn statuses(answer: &Value) -> Vec<u16> {
    let entries = answer["entry"].as_array().unwrap();
    entries.iter().map(|e| e["response"]["status"].as_str().unwrap()[..3].parse().unwrap()).collect()
}

#[actix_web::test]
async fn a_batch_is_few_ledger_transactions_and_each_entry_has_its_own_outcome() {
    let Some(w) = World::start("committed").await else { return };
    let known = w.post("org-a", "/fhir/Patient", &patient("Known", "known")).await;
    let known = id_of(&known.headers["location"]);
    let before = w.shared.chain.lock().unwrap().txs;
    let mut entries: Vec<Value> = (0..60).map(|i| post(patient("Many", &format!("m{i}")), None)).collect();
    let mut invalid = patient("Wrong", "w");
    invalid["gender"] = json!("unheard-of");
    entries.push(post(invalid, None));
    entries.push(post(patient("Known", "known"), Some("identifier=known")));
    entries.push(post(patient("Twin", "twin"), Some("identifier=twin")));
    entries.push(post(patient("Twin", "twin"), Some("identifier=twin")));

    entries.push(json!({ "request": { "method": "GET", "url": format!("Patient/{known}") } }));
    entries.push(json!({ "request": { "method": "DELETE", "url": format!("Patient/{known}") } }));
    let answer = w.post("org-a", "/fhir", &batch(entries)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    let got = statuses(&answer);
    assert!(got[..60].iter().all(|s| *s == 201), "{got:?}");
    assert_eq!(got[60..62], [422, 200]);
    let mut twins = got[62..64].to_vec();
    twins.sort_unstable();
    assert_eq!(twins, [200, 201], "the second finds the first");
    assert_eq!(got[64], 200);
    assert!((400..500).contains(&got[65]), "{got:?}");
    assert_eq!(
        answer["entry"][61]["response"]["location"].as_str().unwrap().split('/').rev().nth(2).unwrap(),
        known
    );
    let txs = w.shared.chain.lock().unwrap().txs - before;
    assert!((1..=2).contains(&txs), "{txs} transactions for 61 records");
    // Each has a receipt of its own.
    let token = w.system("org-a");
    for i in [0, 59] {
        let id = id_of(answer["entry"][i]["response"]["location"].as_str().unwrap());
        let receipt = format!("/fhir/Patient/{id}/_history/1/$receipt");
        assert_eq!(w.get("org-a", &token, &receipt).await.status, 200);
    }
    w.check_events();
}

#[actix_web::test]
async fn one_refused_entry_of_a_batch_refuses_no_other() {
    let Some(w) = World::start("committed").await else { return };
    let created = w.post("org-a", "/fhir/Patient", &patient("Shared", "9")).await;
    let id = id_of(&created.headers["location"]);
    // Valid FHIR that cannot be enforced: found only when the group is about to be stored.
    let mut unenforceable = consent(&id, "org-b");
    unenforceable["provision"]["provision"][0]["actor"][0]["reference"] = json!({ "display": "somebody" });
    let entries = vec![
        post(patient("One", "1"), None),
        post(unenforceable, None),
        post(consent(&id, "org-b"), None),
        post(patient("Two", "2"), None),
    ];
    let answer = w.post("org-a", "/fhir", &batch(entries)).await.json();
    assert_eq!(statuses(&answer), [201, 422, 201, 201], "{answer}");
}

#[actix_web::test]
async fn keys_follow_a_revocation_that_they_missed() {
    use consilium_store::sql::outbox::Kind;
    let Some(w) = World::start("committed").await else { return };
    let created = w.post("org-a", "/fhir/Patient", &patient("Shared", "9")).await;
    let mut consent = consent(&id_of(&created.headers["location"]), "org-b");
    let given = w.post("org-a", "/fhir/Consent", &consent).await;
    let consent_id = id_of(&given.headers["location"]);
    consent["id"] = json!(consent_id);
    consent["status"] = json!("inactive");
    let outbox = &w.apps["org-a"].outbox;
    assert!(outbox.due(i64::MAX as u64, 10).await.unwrap().is_empty(), "the keys followed the consent");
    let epochs = || w.shared.epochs("org-a");
    let before = epochs();
    w.shared.keys_down.store(true, Ordering::Relaxed);
    let url = format!("/fhir/Consent/{consent_id}");
    let revoked = w.write("org-a", actix_web::http::Method::PUT, &url, &consent, &[]).await;
    assert_eq!(revoked.status, 200, "the ledger has it, so it counts: {}", revoked.body);
    // On the disk, not in the memory of this process.
    let waiting: Vec<Kind> = outbox.due(i64::MAX as u64, 10).await.unwrap().iter().map(|e| e.kind).collect();
    assert_eq!(waiting, [Kind::Rekey]);
    assert_eq!(epochs(), before);
    w.shared.keys_down.store(false, Ordering::Relaxed);
    for _ in 0..200 {
        if outbox.due(i64::MAX as u64, 10).await.unwrap().is_empty() {
            assert!(epochs() > before, "a revocation starts a new epoch");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the keys did not follow");
}
