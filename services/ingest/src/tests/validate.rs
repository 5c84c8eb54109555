//! `$validate` in its modes.

use super::story::{id_of, patient};
use super::world::{Got, World};
use actix_web::http::Method;
use serde_json::{Value, json};

fn errors(got: &Got) -> usize {
    assert_eq!(got.status, 200, "{}", got.body);
    let issues = got.json()["issue"].as_array().unwrap().clone();
    issues.iter().filter(|i| i["severity"] == "error").count()
}

fn asked(mode: &str, resource: Option<Value>) -> Value {
    let mut parameter = vec![json!({ "name": "mode", "valueCode": mode })];
    parameter.extend(resource.map(|r| json!({ "name": "resource", "resource": r })));
    json!({ "resourceType": "Parameters", "parameter": parameter })
}

#[actix_web::test]
async fn validate_answers_for_content_create_update_delete_and_the_stored_resource() {
    let Some(w) = World::start("committed").await else { return };
    let created = w.post("org-a", "/fhir/Patient", &patient("Checked", "1")).await;
    let id = id_of(&created.headers["location"]);
    let base = "/fhir/Patient/$validate";
    let instance = format!("/fhir/Patient/{id}/$validate");
    let mut wrong = patient("Wrong", "2");
    wrong["gender"] = json!("x");
    let mut own = patient("Checked", "1");
    own["id"] = json!(id);

    assert_eq!(errors(&w.post("org-a", base, &patient("Good", "3")).await), 0);
    assert_eq!(errors(&w.post("org-a", base, &wrong).await), 1);
    assert_eq!(errors(&w.post("org-a", base, &asked("create", Some(patient("Good", "3")))).await), 0);
    assert_eq!(errors(&w.post("org-a", &instance, &asked("update", Some(own.clone()))).await), 0);
    // Of another id, and wrong besides: both are told.
    assert_eq!(errors(&w.post("org-a", &instance, &asked("update", Some(wrong))).await), 2);
    let only = w.post("org-a", &instance, &asked("update", Some(patient("Good", "3")))).await;
    assert_eq!((errors(&only), only.body.contains("No issue found")), (1, false), "{}", only.body);
    assert_eq!(errors(&w.post("org-a", &instance, &asked("delete", None)).await), 0);
    let consent = "/fhir/Consent/absent/$validate";
    assert_eq!(errors(&w.post("org-a", consent, &asked("delete", None)).await), 1);
    let token = w.system("org-a");
    assert_eq!(errors(&w.get("org-a", &token, &instance).await), 0);
    assert_eq!(errors(&w.post("org-a", &instance, &asked("profile", None)).await), 0);
    let profile = format!("{instance}?mode=profile&profile=http://example.org/unheard-of");
    assert!(errors(&w.get("org-a", &token, &profile).await) > 0, "a requested profile must be known");

    // What the caller may not do would not be accepted, though its content is right.
    let reader = format!("Bearer {}", w.token("org-a", "system/*.rs", &[]));
    let headers = [("authorization", reader.as_str()), ("content-type", "application/fhir+json")];
    for body in [asked("update", Some(own)), asked("delete", None)] {
        let got = w.send("org-a", Method::POST, &instance, &headers, body.to_string().as_bytes()).await;
        assert_eq!(errors(&got), 1, "{body}");
    }

    // And the stored resource is for those who may read it: absent and invisible are the same.
    let other = w.token("org-a", "patient/*.rs", &[("patient", "somebody-else")]);
    let absent = w.get("org-a", &token, "/fhir/Patient/absent/$validate").await;
    let invisible = w.get("org-a", &other, &instance).await;
    assert_eq!((invisible.status, &invisible.body), (404, &absent.body));
    for (path, body) in [
        (base, asked("update", Some(patient("Good", "3")))),
        (base, asked("profile", None)),
        // R4, operation validate: only of an instance, as update.
        (base, asked("delete", None)),
        (base, asked("nonsense", Some(patient("Good", "3")))),
        (&*instance, asked("profile", Some(patient("Good", "3")))),
        ("/fhir/Observation/$validate", patient("Good", "3")),
    ] {
        assert_eq!(w.post("org-a", path, &body).await.status, 400, "{path} {body}");
    }
}
