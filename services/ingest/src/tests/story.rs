//! What the endpoint promises, told by requests.

use super::world::World;
use actix_web::http::Method;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

pub fn patient(family: &str, mrn: &str) -> Value {
    json!({
        "resourceType": "Patient",
        "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>" },
        "identifier": [{ "system": "urn:test:mrn", "value": mrn }],
        "name": [{ "family": family, "given": ["Ann", "B."] }],
        "birthDate": "1970-01-02"
    })
}

pub fn observation(patient: &str) -> Value {
    json!({
        "resourceType": "Observation",
        "status": "final",
        "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs" }] }],
        "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4" }] },
        "subject": { "reference": patient },
        "effectiveDateTime": "2024-05-06T07:08:09+02:00",
        "valueQuantity": { "value": 72.50, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min" }
    })
}

fn without_assigned(mut v: Value) -> Value {
    let o = v.as_object_mut().unwrap();
    o.remove("id");
    o.remove("meta");
    v
}

pub fn id_of(location: &str) -> String {
    location.split("/_history/").next().unwrap().rsplit('/').next().unwrap().to_owned()
}

/// A patient's consent that an organisation reads for treatment.
pub fn consent(patient: &str, grantee: &str) -> Value {
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": { "reference": format!("Patient/{patient}") },
        "dateTime": "2024-01-01",
        "policyRule": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT" }] },
        "provision": { "provision": [{
            "type": "permit",
            "actor": [{
                "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP" }] },
                "reference": { "identifier": { "system": "urn:consilium:organisation", "value": grantee } }
            }],
            "purpose": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT" }]
        }] }
    })
}

#[actix_web::test]
async fn a_record_goes_in_and_comes_back_with_a_receipt() {
    let Some(w) = World::start("committed").await else { return };
    let posted = patient("Plantedname", "planted-mrn-1");
    let created = w.post("org-a", "/fhir/Patient", &posted).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.headers["etag"], "W/\"1\"");
    let id = id_of(&created.headers["location"]);
    assert_eq!(created.headers["location"], format!("http://org-a/fhir/Patient/{id}/_history/1"));
    let token = w.system("org-a");
    let read = w.get("org-a", &token, &format!("/fhir/Patient/{id}")).await;
    assert_eq!(read.status, 200);
    assert_eq!(without_assigned(read.json()), posted);
    assert_eq!(read.json()["meta"]["versionId"], "1");
    w.valid(read.body.as_bytes());

    // The receipt verifies offline against the genesis, and one flipped bit is refused.
    let receipt = w.get("org-a", &token, &format!("/fhir/Patient/{id}/_history/1/$receipt")).await;
    assert_eq!(receipt.status, 200, "{}", receipt.body);
    let genesis = &w.apps["org-a"].genesis;
    let parsed: consilium_domain::receipt::Receipt = serde_json::from_str(&receipt.body).unwrap();
    assert!(
        parsed.openings.iter().any(|o| o.path == "Patient.name[0].family" && o.token == "\"Plantedname\"")
    );
    consilium_ledger::verify_receipt(genesis, &parsed, None).unwrap();
    let mut forged = parsed.clone();
    forged.record.root.0[0] ^= 1;
    assert!(consilium_ledger::verify_receipt(genesis, &forged, None).is_err());

    // Update with If-Match, history, vread.
    let mut changed = patient("Othername", "planted-mrn-1");
    changed["id"] = json!(id);
    let url = format!("/fhir/Patient/{id}");
    let refused = w.write("org-a", Method::PUT, &url, &changed, &[("if-match", "W/\"7\"")]).await;
    assert_eq!(refused.status, 412);
    let updated = w.write("org-a", Method::PUT, &url, &changed, &[("if-match", "W/\"1\"")]).await;
    assert_eq!((updated.status, updated.headers["etag"].as_str()), (200, "W/\"2\""), "{}", updated.body);
    let history = w.get("org-a", &token, &format!("{url}/_history")).await;
    assert_eq!(history.json()["entry"].as_array().unwrap().len(), 2);
    w.valid(history.body.as_bytes());
    let first = w.get("org-a", &token, &format!("{url}/_history/1")).await;
    assert_eq!(without_assigned(first.json()), posted);

    // The disk and the ledger show nothing readable.
    let planted = ["Plantedname", "planted-mrn-1", "1970-01-02", id.as_str()];
    for entry in std::fs::read_dir(&w.folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains(".db") {
            let bytes = std::fs::read(&path).unwrap();
            for text in planted {
                assert!(
                    !bytes.windows(text.len()).any(|x| x == text.as_bytes()),
                    "{text} in {}",
                    path.display()
                );
            }
        }
    }
    let ledger = &w.shared.chain.lock().unwrap().bytes;
    for text in planted {
        assert!(!ledger.windows(text.len()).any(|x| x == text.as_bytes()), "{text} on the ledger");
    }
    w.check_events();
}

#[actix_web::test]
async fn a_transaction_resolves_its_references_and_is_all_or_nothing() {
    let Some(w) = World::start("committed").await else { return };
    let practitioner =
        json!({ "resourceType": "Practitioner", "identifier": [{ "system": "urn:npi", "value": "77" }] });
    assert_eq!(w.post("org-a", "/fhir/Practitioner", &practitioner).await.status, 201);
    let mut with_performer = observation("urn:uuid:11111111-1111-4111-8111-111111111111");
    with_performer["performer"] = json!([{ "reference": "Practitioner?identifier=urn:npi|77" }]);
    let bundle = |observation: &Value| {
        json!({
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": "urn:uuid:11111111-1111-4111-8111-111111111111",
                    "resource": patient("Trans", "t-1"),
                    "request": { "method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:test:mrn|t-1" }
                },
                {
                    "fullUrl": "urn:uuid:22222222-2222-4222-8222-222222222222",
                    "resource": observation,
                    "request": { "method": "POST", "url": "Observation" }
                }
            ]
        })
    };
    let token = w.system("org-a");
    let mut wrong = with_performer.clone();
    wrong["status"] = json!("no-such-status");
    wrong["unknown"] = json!(1);
    let refused = w.post("org-a", "/fhir", &bundle(&wrong)).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert!(refused.json()["issue"].as_array().unwrap().len() >= 2, "all errors at once: {}", refused.body);
    let mut dangling = with_performer.clone();
    dangling["performer"] = json!([{ "reference": "Practitioner?identifier=urn:npi|absent" }]);
    assert_eq!(w.post("org-a", "/fhir/", &bundle(&dangling)).await.status, 412);
    let found = w.get("org-a", &token, "/fhir/Patient?identifier=t-1").await;
    assert_eq!(found.json()["total"], 0, "nothing of a refused transaction is there");

    let done = w.post("org-a", "/fhir", &bundle(&with_performer)).await;
    assert_eq!(done.status, 200, "{}", done.body);
    w.valid(done.body.as_bytes());
    let entries = done.json()["entry"].clone();
    assert_eq!(entries[0]["response"]["status"], "201 Created");
    let patient_id = id_of(entries[0]["response"]["location"].as_str().unwrap());
    let observation_id = id_of(entries[1]["response"]["location"].as_str().unwrap());
    let read = w.get("org-a", &token, &format!("/fhir/Observation/{observation_id}")).await.json();
    assert_eq!(read["subject"]["reference"], format!("Patient/{patient_id}"));
    assert!(read["performer"][0]["reference"].as_str().unwrap().starts_with("Practitioner/"));
    assert!(done.body.contains("72.50") || done.body.contains("72.5"), "decimals keep their digits");

    // Again: the patient is found, the observation is new.
    let again = w.post("org-a", "/fhir", &bundle(&with_performer)).await.json();
    assert_eq!(again["entry"][0]["response"]["status"], "200 OK");
    assert_eq!(id_of(again["entry"][0]["response"]["location"].as_str().unwrap()), patient_id);
    for (query, total) in [
        (format!("Observation?patient={patient_id}"), 2),
        (format!("Observation?subject=Patient/{patient_id}"), 2),
        (format!("Observation?subject:Patient={patient_id}&_lastUpdated=ge2020"), 2),
        (format!("Observation?subject:Patient={patient_id}&_lastUpdated=lt2020"), 0),
        (format!("Observation?_id={observation_id},absent"), 1),
        ("Patient?identifier=urn:test:mrn|t-1".to_owned(), 1),
        ("Patient?identifier=other|t-1".to_owned(), 0),
    ] {
        let found = w.get("org-a", &token, &format!("/fhir/{query}")).await;
        assert_eq!(found.json()["total"], total, "{query}: {}", found.body);
        w.valid(found.body.as_bytes());
    }
    // Paging: every match once, links of others refused.
    let first =
        w.get("org-a", &token, &format!("/fhir/Observation?patient={patient_id}&_count=1")).await.json();
    let next =
        first["link"].as_array().unwrap().iter().find(|l| l["relation"] == "next").unwrap()["url"].clone();
    let next = next.as_str().unwrap().strip_prefix("http://org-a").unwrap().to_owned();
    let second = w.get("org-a", &token, &next).await.json();
    assert_ne!(first["entry"][0]["resource"]["id"], second["entry"][0]["resource"]["id"]);
    assert_eq!(second["link"].as_array().unwrap().len(), 1, "no third page");
    let mut tampered = next.clone();
    tampered.pop();
    assert_eq!(w.get("org-a", &token, &tampered).await.status, 400);
    let unknown = w.get("org-a", &token, "/fhir/Patient?nmae=x").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.body.contains("identifier"), "lists the valid ones: {}", unknown.body);
    w.check_events();
}

#[actix_web::test]
async fn equal_conditional_creates_make_one_resource() {
    let Some(w) = World::start("committed").await else { return };
    let resource = patient("Once", "once-1");
    let condition = [("if-none-exist", "identifier=urn:test:mrn|once-1")];
    let all = futures::future::join_all(
        (0..5).map(|_| w.write("org-a", Method::POST, "/fhir/Patient", &resource, &condition)),
    )
    .await;
    let mut statuses: Vec<u16> = all.iter().map(|g| g.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 201]);
    let ids: std::collections::BTreeSet<_> = all.iter().map(|g| id_of(&g.headers["location"])).collect();
    assert_eq!(ids.len(), 1);
}

#[actix_web::test]
async fn bad_input_gets_an_outcome_and_changes_nothing() {
    let Some(w) = World::start("committed").await else { return };
    let bearer = format!("Bearer {}", w.system("org-a"));
    let json = [("authorization", bearer.as_str()), ("content-type", "application/fhir+json; charset=utf-8")];
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let cases: Vec<(u16, Method, &str, Vec<u8>)> = vec![
        (400, Method::POST, "/fhir/Patient", b"{\"resourceType\":\"Patient\"".to_vec()),
        (400, Method::POST, "/fhir/Patient", deep.into_bytes()),
        (
            400,
            Method::POST,
            "/fhir/Patient",
            b"{\"resourceType\":\"Patient\",\"id\":\"a\",\"id\":\"b\"}".to_vec(),
        ),
        (400, Method::POST, "/fhir/Patient", b"{\"resourceType\":\"Patient\",\"x\":\"\xff\"}".to_vec()),
        (400, Method::POST, "/fhir/Patient", Vec::new()),
        (400, Method::POST, "/fhir/Patient", b"{\"resourceType\":\"Observation\"}".to_vec()),
        (400, Method::POST, "/fhir", b"{\"resourceType\":\"Patient\"}".to_vec()),
        (404, Method::POST, "/fhir/Nonsense", b"{\"resourceType\":\"Nonsense\"}".to_vec()),
        (404, Method::POST, "/fhir/AuditEvent", b"{\"resourceType\":\"AuditEvent\"}".to_vec()),
        (413, Method::POST, "/fhir/Patient", vec![b' '; 4_000_001]),
        (405, Method::PATCH, "/fhir/Patient/1", Vec::new()),
        (400, Method::DELETE, "/fhir/Patient/1", Vec::new()),
        (404, Method::GET, "/elsewhere", Vec::new()),
        (404, Method::GET, "/fhir/Patient/absent", Vec::new()),
        (404, Method::GET, "/fhir/Patient/absent/_history/1", Vec::new()),
        (400, Method::GET, "/fhir/Patient?identifier=%ff", Vec::new()),
        (400, Method::GET, "/fhir/Patient?_count=many", Vec::new()),
    ];
    for (status, method, path, body) in cases {
        let got = w.send("org-a", method.clone(), path, &json, &body).await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.body);
        assert_eq!(got.json()["resourceType"], "OperationOutcome");
        w.valid(got.body.as_bytes());
    }
    let text = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
    assert_eq!(w.send("org-a", Method::POST, "/fhir/Patient", &text, b"{}").await.status, 415);
    let total = w.get("org-a", &w.system("org-a"), "/fhir/Patient").await.json()["total"].clone();
    assert_eq!(total, 0);
    // Open to everybody.
    let metadata = w.send("org-a", Method::GET, "/fhir/metadata", &[], b"").await;
    assert_eq!(metadata.status, 200);
    w.valid(metadata.body.as_bytes());
    let smart = w.send("org-a", Method::GET, "/fhir/.well-known/smart-configuration", &[], b"").await;
    assert_eq!(smart.json()["token_endpoint"], "http://org-a/auth/token");
    let verdict = w
        .post("org-a", "/fhir/Patient/$validate", &json!({ "resourceType": "Patient", "gender": "x" }))
        .await;
    assert_eq!((verdict.status, verdict.json()["issue"][0]["severity"].as_str()), (200, Some("error")));
}

#[actix_web::test]
async fn tokens_open_exactly_what_they_say() {
    let Some(w) = World::start("committed").await else { return };
    let one = w.post("org-a", "/fhir/Patient", &patient("One", "1")).await;
    let two = w.post("org-a", "/fhir/Patient", &patient("Two", "2")).await;
    let (one, two) = (id_of(&one.headers["location"]), id_of(&two.headers["location"]));
    let url = |id: &str| format!("/fhir/Patient/{id}");
    assert_eq!(w.send("org-a", Method::GET, &url(&one), &[], b"").await.status, 401);
    let anonymous = w.send("org-a", Method::GET, &url(&one), &[], b"").await;
    assert!(anonymous.headers["www-authenticate"].starts_with("Bearer"));

    let narrow = w.token("org-a", "patient/*.rs", &[("patient", &one)]);
    assert_eq!(w.get("org-a", &narrow, &url(&one)).await.status, 200);
    let other = w.get("org-a", &narrow, &url(&two)).await;
    let absent = w.get("org-a", &narrow, &url("absent")).await;
    assert_eq!((other.status, &other.body), (404, &absent.body), "invisible = absent");
    assert_eq!(w.get("org-a", &narrow, "/fhir/Patient").await.json()["total"], 1);
    for (scope, more, status, says) in [
        ("patient/*.rs", &[][..], 403, "no claim `patient`"),
        ("user/*.rs", &[][..], 403, "no claim `fhirUser`"),
        ("user/*.rs", &[("fhirUser", "Practitioner/1")][..], 200, ""),
        ("system/Observation.rs", &[][..], 403, "`user/Patient.r`"),
        ("system/Patient.s", &[][..], 403, "`user/Patient.r`"),
        ("system/Patient.r", &[][..], 200, ""),
        ("system/*.rs", &[("expires_in", "0")][..], 200, ""),
    ] {
        let got = w.get("org-a", &w.token("org-a", scope, more), &url(&one)).await;
        assert_eq!(got.status, status, "{scope} {more:?}: {}", got.body);
        assert!(got.body.contains(says), "{scope} {more:?}: {}", got.body);
    }
    // A token of another organisation, a changed one, alg none.
    assert_eq!(w.get("org-a", &w.system("org-b"), &url(&one)).await.status, 401);
    let good = w.system("org-a");
    let mut changed = good.clone();
    changed.pop();
    assert_eq!(w.get("org-a", &changed, &url(&one)).await.status, 401);
    let payload = good.split('.').nth(1).unwrap();
    assert_eq!(w.get("org-a", &format!("eyJhbGciOiJub25lIn0.{payload}."), &url(&one)).await.status, 401);
    let events = w.events("org-a");
    assert!(events.iter().any(|e| e["subtype"][0]["code"] == "refusal"));
    w.check_events();
}

#[actix_web::test]
async fn consent_opens_and_revocation_closes_the_exchange() {
    let Some(w) = World::start("committed").await else { return };
    let created = w.post("org-a", "/fhir/Patient", &patient("Shared", "9")).await;
    let id = id_of(&created.headers["location"]);
    let clinician = w.token("org-b", "user/*.rs", &[("fhirUser", "Practitioner/7"), ("roles", "clinician")]);
    let bearer = format!("Bearer {clinician}");
    let ask = async |path: String, purpose: Option<&str>| {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(purpose.map(|p| ("x-purpose-of-use", p)));
        w.send("org-b", Method::GET, &path, &headers, b"").await
    };
    let url = format!("/exchange/org-a/fhir/Patient/{id}");
    for (purpose, status) in [(None, 400), (Some("NOPE"), 422), (Some("HRESCH"), 403)] {
        let got = ask(url.clone(), purpose).await;
        assert_eq!(got.status, status, "{purpose:?} {}", got.body);
    }
    let denied = ask(url.clone(), Some("TREAT")).await;
    let absent = ask("/exchange/org-a/fhir/Patient/absent".to_owned(), Some("TREAT")).await;
    assert_eq!((denied.status, absent.status), (404, 404));
    assert_eq!(denied.body, absent.body, "a denial tells nothing");

    let mut consent = consent(&id, "org-b");
    let given = w.post("org-a", "/fhir/Consent", &consent).await;
    assert_eq!(given.status, 201, "{}", given.body);
    let consent_id = id_of(&given.headers["location"]);
    let read = ask(url.clone(), Some("TREAT")).await;
    assert_eq!(read.status, 200, "{}", read.body);
    assert_eq!(read.json()["name"][0]["family"], "Shared");
    assert_eq!(ask(url.clone(), Some("HPAYMT")).await.status, 404, "another purpose");
    let found = ask(format!("/exchange/org-a/fhir/Patient?_id={id}"), Some("TREAT")).await;
    assert_eq!(found.json()["total"], 1, "{}", found.body);
    assert_eq!(ask("/exchange/org-a/fhir/Patient".to_owned(), Some("TREAT")).await.status, 400);
    // Attributes decide too: the same person without the role.
    let roleless = w.token("org-b", "user/*.rs", &[("fhirUser", "Practitioner/7")]);
    let headers = [("authorization", &*format!("Bearer {roleless}")), ("x-purpose-of-use", "TREAT")];
    assert_eq!(w.send("org-b", Method::GET, &url, &headers, b"").await.status, 403);
    // A stale ledger decides nothing.
    w.shared.head_age_ms.store(60_000, Ordering::Relaxed);
    assert_eq!(ask(url.clone(), Some("TREAT")).await.status, 503);
    w.shared.head_age_ms.store(0, Ordering::Relaxed);

    consent["id"] = json!(consent_id);
    consent["status"] = json!("inactive");
    let revoked = w.write("org-a", Method::PUT, &format!("/fhir/Consent/{consent_id}"), &consent, &[]).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert_eq!(ask(url.clone(), Some("TREAT")).await.status, 404);
    consent["status"] = json!("active");
    let again = w.write("org-a", Method::PUT, &format!("/fhir/Consent/{consent_id}"), &consent, &[]).await;
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(ask(url, Some("TREAT")).await.status, 200);
    let decisions = w.events("org-a").into_iter().filter(|e| e["subtype"][0]["code"] == "decision").count();
    assert!(decisions >= 6, "every decision leaves a trace: {decisions}");
    w.check_events();
}

#[actix_web::test]
async fn stored_records_reach_the_ledger_when_the_consortium_is_back() {
    let Some(w) = World::start("stored").await else { return };
    w.shared.validate_down.store(true, Ordering::Relaxed);
    w.shared.audit_down.store(true, Ordering::Relaxed);
    let created = w.post("org-a", "/fhir/Patient", &patient("Island", "i")).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let id = id_of(&created.headers["location"]);
    let token = w.system("org-a");
    assert_eq!(w.get("org-a", &token, &format!("/fhir/Patient/{id}")).await.status, 200, "readable at home");
    let receipt = format!("/fhir/Patient/{id}/_history/1/$receipt");
    assert_eq!(w.get("org-a", &token, &receipt).await.status, 404, "unproven");
    assert!(w.events("org-a").is_empty());
    w.shared.validate_down.store(false, Ordering::Relaxed);
    w.shared.audit_down.store(false, Ordering::Relaxed);
    for _ in 0..200 {
        if w.get("org-a", &token, &receipt).await.status == 200 {
            let creates = w.events("org-a").into_iter().filter(|e| e["action"] == "C").count();
            assert_eq!(creates, 1, "the spooled event was delivered once");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the batch did not reach the ledger");
}

#[actix_web::test]
async fn what_the_ledger_refuses_is_gone_and_the_trail_says_so() {
    let Some(w) = World::start("committed").await else { return };
    w.shared.consensus_refuses.store(true, Ordering::Relaxed);
    let refused = w.post("org-a", "/fhir/Patient", &patient("Unwanted", "u")).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    w.shared.consensus_refuses.store(false, Ordering::Relaxed);
    let token = w.system("org-a");
    assert_eq!(w.get("org-a", &token, "/fhir/Patient?identifier=u").await.json()["total"], 0);
    // The worker delivers the event of the store, which waits in the spool.
    for _ in 0..100 {
        let creates: Vec<Value> = w.events("org-a").into_iter().filter(|e| e["action"] == "C").collect();
        let outcomes: Vec<&str> = creates.iter().filter_map(|e| e["outcome"].as_str()).collect();
        if outcomes.contains(&"0") && outcomes.contains(&"8") {
            let of =
                |outcome: &str| creates.iter().find(|e| e["outcome"] == outcome).unwrap()["entity"].clone();
            let record = |entities: Value| {
                entities
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|e| e["what"]["reference"].clone())
                    .collect::<Vec<_>>()
            };
            let (told, taken_back) = (record(of("0")), record(of("8")));
            assert!(taken_back.iter().all(|r| told.contains(r)), "{told:?} {taken_back:?}");
            w.check_events();
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the trail tells of a create that never was: {:?}", w.events("org-a"));
}

#[actix_web::test]
async fn what_the_ledger_did_not_confirm_is_delivered_later_exactly_once() {
    let Some(w) = World::start("committed").await else { return };
    w.shared.consensus_down.store(true, Ordering::Relaxed);
    let condition = [("if-none-exist", "identifier=urn:test:mrn|late")];
    let refused = w.write("org-a", Method::POST, "/fhir/Patient", &patient("Late", "late"), &condition).await;
    assert_eq!(refused.status, 503);
    let token = w.system("org-a");
    let total =
        async || w.get("org-a", &token, "/fhir/Patient?identifier=late").await.json()["total"].clone();
    assert_eq!(total().await, 0, "not current before its block");
    w.shared.consensus_down.store(false, Ordering::Relaxed);
    // 503 says: not yet, try again; 409: the first is still under way. A busy machine needs a few tries until the worker has delivered the first.
    let mut tries = 0;
    let again = loop {
        let again =
            w.write("org-a", Method::POST, "/fhir/Patient", &patient("Late", "late"), &condition).await;
        if !matches!(again.status, 503 | 409) || tries == 20 {
            break again;
        }
        tries += 1;
    };
    assert_eq!(again.status, 200, "the repeated request finds the first: {}", again.body);
    assert_eq!(total().await, 1);
}

/// The second copy of a question, which another hub has brought to another replica, must not cause a refusal that
/// could arrive before the answer; nor is a replay told anything.
#[actix_web::test]
async fn a_question_seen_before_gets_silence() {
    use consilium_contracts::Message;
    use consilium_contracts::v1::{ExchangeRequest, ExchangeResponse};
    let Some(w) = World::start("committed").await else { return };
    let (a, b) = (&w.kits["org-a"], &w.kits["org-b"]);
    let subject = a.subjects.ingest_exchange();
    let mut overheard = a.bus.subscribe(&subject, None).await.unwrap();
    let clinician = w.token("org-b", "user/*.rs", &[("fhirUser", "Practitioner/7"), ("roles", "clinician")]);
    let headers = [("authorization", &*format!("Bearer {clinician}")), ("x-purpose-of-use", "TREAT")];
    let absent = w.send("org-b", Method::GET, "/exchange/org-a/fhir/Patient/absent", &headers, b"").await;
    assert_eq!(absent.status, 404, "{}", absent.body);
    let question = overheard.next().await.unwrap().payload;

    let replayed = b.bus.request(&subject, question.clone(), Duration::from_millis(500)).await;
    assert!(matches!(replayed, Err(consilium_runtime::BusError::Timeout(_))), "{replayed:?}");
    assert_eq!(w.apps["org-a"].metrics.repeated.value(&[]), 1);
    // What was never acceptable is refused, and said so.
    let mut forged = ExchangeRequest::decode(question.as_slice()).unwrap();
    *forged.envelope.last_mut().unwrap() ^= 1;
    let answer: ExchangeResponse =
        b.bus.request_message(&subject, &forged, Duration::from_secs(5)).await.unwrap();
    assert_eq!(answer.failure.unwrap().code, "refused");
}
