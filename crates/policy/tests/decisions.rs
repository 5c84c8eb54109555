//! Each file of `tests/corpus` holds consents and rows (request, now, expected decision, matched provision).

#[cfg(test)]
mod corpus {
    use consilium_domain::OrgId;
    use consilium_policy::consent::{Coding, ConsentError};
    use consilium_policy::period::span;
    use consilium_policy::{Consent, Reason, Request, access, decide};
    use serde_json::Value;
    use std::path::Path;

    fn text(v: &Value, key: &str, default: &str) -> String {
        v[key].as_str().unwrap_or(default).to_owned()
    }

    fn codings(v: &Value) -> Vec<Coding> {
        v.as_array()
            .into_iter()
            .flatten()
            .map(|c| Coding { system: text(c, "system", ""), code: text(c, "code", "") })
            .collect()
    }

    fn load(name: &str) -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn every_row_is_decided_as_it_says_and_for_the_reason_it_says() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let mut rows = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let file = load(&name);
            for row in file["rows"].as_array().unwrap() {
                let ids: Vec<&str> =
                    row["consents"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
                let consents: Vec<Option<Consent>> = ids
                    .iter()
                    .map(|id| Consent::parse(file["consents"][id].to_string().as_bytes(), 0).ok())
                    .collect();
                let r = &row["request"];
                let request = Request {
                    organisation: OrgId::new(text(r, "organisation", "hospital-b")).unwrap(),
                    user: text(r, "user", "Practitioner/b1"),
                    action: text(r, "action", "access"),
                    purpose: text(r, "purpose", "TREAT"),
                    custodian: OrgId::new("hospital-a").unwrap(),
                    patient: match r["patient"].as_str() {
                        None => Some("Patient/p1".into()),
                        Some("") => None,
                        Some(p) => Some(p.into()),
                    },
                    resource_type: text(r, "type", "Observation"),
                    id: text(r, "id", "o1"),
                    labels: codings(&r["labels"]),
                    codes: codings(&r["codes"]),
                    date: r["date"].as_str().map(|d| span(d, 0).unwrap()),
                };
                let now = span(row["now"].as_str().unwrap_or("2026-06-15T12:00:00.000Z"), 0).unwrap().from;
                let d = decide(&consents, &request, now);
                let what = &row["name"];
                assert_eq!(d.permits(), row["permit"].as_bool().unwrap(), "{name}: {what}: {d:?}");
                if let Some(path) = row["provision"].as_str() {
                    assert!(
                        d.reasons.iter().any(|x| matches!(x, Reason::Provision { path: p, .. } if p == path)),
                        "{name}: {what}: {d:?}"
                    );
                }
                rows += 1;
            }
        }
        assert!(rows >= 25, "only {rows} rows: the corpus has shrunk");
    }

    #[test]
    fn what_cannot_be_enforced_is_refused_by_name() {
        let file = load("treatment.json");
        let with = |pointer: &str, value: Value| {
            let mut c = file["consents"]["grant-b"].clone();
            *c.pointer_mut(pointer).unwrap() = value;
            Consent::parse(c.to_string().as_bytes(), 0)
        };
        assert_eq!(with("/provision", serde_json::json!({"type": "permit"})), Err(ConsentError::RootType));
        assert!(matches!(
            with("/provision/provision/0/type", "maybe".into()),
            Err(ConsentError::Unsupported(_))
        ));
        assert!(matches!(
            with(
                "/provision/provision/0/period",
                serde_json::json!({"start": "2026-07-01", "end": "2026-06-01"})
            ),
            Err(ConsentError::Period(_))
        ));
        assert!(matches!(with("/patient", Value::Null), Err(ConsentError::Missing(_))));
    }

    #[test]
    fn a_class_key_is_for_the_organisations_that_are_named_now() {
        let file = load("treatment.json");
        let c = Consent::parse(file["consents"]["grant-b"].to_string().as_bytes(), 0).unwrap();
        let a = OrgId::new("hospital-a").unwrap();
        let at = |t: &str| {
            access::class_policy(&a, &access::grantees(std::slice::from_ref(&c), span(t, 0).unwrap().from))
        };
        assert_eq!(at("2026-06-15"), "clinician@hospital-a OR clinician@hospital-b");
        assert_eq!(at("2027-06-15"), "clinician@hospital-a");
        let mut revoked = c.clone();
        revoked.active = false;
        assert!(access::grantees(&[revoked], span("2026-06-15", 0).unwrap().from).is_empty());
    }
}
