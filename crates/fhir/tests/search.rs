//! Search values of resources.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod search {
    use std::sync::Arc;

    use super::support;
    use consilium_fhir::search::{DateRange, SearchKind, SearchParams, SearchValue, fold};
    use consilium_fhir::tape::NodeId;
    use consilium_fhir::{Limits, Tape};

    fn params() -> Option<SearchParams> {
        Some(SearchParams::compile(Arc::clone(support::validator()?.schema())))
    }

    fn values(params: &SearchParams, text: &str, code: &str) -> Vec<SearchValue> {
        let tape = Tape::parse(text.as_bytes(), &Limits::default()).expect("json");
        let found = params.extract(&tape, NodeId::ROOT);
        found.into_iter().filter(|e| e.code == code).map(|e| e.value).collect()
    }

    fn token(system: Option<&str>, code: &str) -> SearchValue {
        SearchValue::Token { system: system.map(Into::into), code: code.into() }
    }

    const PATIENT: &str = r#"{"resourceType":"Patient","id":"p1","meta":{"lastUpdated":"2024-02-03T10:00:00Z","tag":[{"system":"urn:t","code":"x"}]},
        "identifier":[{"system":"urn:mrn","value":"12"}],"active":true,
        "name":[{"family":"Müller","given":["Ann","Zoë"]}],"gender":"female","birthDate":"1980-05",
        "telecom":[{"system":"phone","value":"555"},{"system":"email","value":"a@b.c"}],
        "address":[{"city":"Köln","state":"NW"}],"deceasedBoolean":false,
        "generalPractitioner":[{"reference":"Practitioner/7"}]}"#;

    const OBSERVATION: &str = r#"{"resourceType":"Observation","id":"o1","status":"final",
        "category":[{"coding":[{"system":"c","code":"vital-signs"}]}],
        "code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
        "subject":{"reference":"https://a.example/fhir/Patient/p1/_history/2"},
        "effectivePeriod":{"start":"2024-01-01"},"valueQuantity":{"value":72.0,"unit":"beats","system":"http://unitsofmeasure.org","code":"/min"}}"#;

    #[test]
    fn a_patient_is_found_by_its_parts() {
        let Some(p) = params() else { return };
        let get = |code| values(&p, PATIENT, code);
        assert_eq!(get("_id"), [token(None, "p1")]);
        assert_eq!(get("_tag"), [token(Some("urn:t"), "x")]);
        assert_eq!(get("identifier"), [token(Some("urn:mrn"), "12")]);
        assert_eq!(get("active"), [token(None, "true")]);
        assert_eq!(get("gender"), [token(None, "female")]);
        assert_eq!(get("family"), [SearchValue::String("Müller".into())]);
        assert_eq!(get("given").len(), 2);
        assert_eq!(get("name").len(), 3);
        assert_eq!(get("phone"), [token(None, "555")]);
        assert_eq!(get("telecom").len(), 2);
        assert_eq!(get("deceased"), [token(None, "false")]);
        assert_eq!(get("address-city"), [SearchValue::String("Köln".into())]);
        let month = DateRange::parse("1980-05").expect("date");
        assert_eq!(get("birthdate"), [SearchValue::Date(month)]);
        assert_eq!(get("_lastUpdated").len(), 1);
        let gp = &get("general-practitioner")[0];
        assert!(
            matches!(gp, SearchValue::Reference { ty: Some(t), id: Some(i), .. } if t == "Practitioner" && i == "7")
        );
    }

    #[test]
    fn an_observation_is_found_by_its_parts() {
        let Some(p) = params() else { return };
        let get = |code| values(&p, OBSERVATION, code);
        assert_eq!(get("status"), [token(None, "final")]);
        assert_eq!(get("code"), [token(Some("http://loinc.org"), "8867-4")]);
        assert_eq!(get("category"), [token(Some("c"), "vital-signs")]);
        for code in ["subject", "patient"] {
            let found = get(code);
            assert!(
                matches!(&found[..], [SearchValue::Reference { ty: Some(t), id: Some(i), .. }] if t == "Patient" && i == "p1"),
                "{code}: {found:?}"
            );
        }
        let group = OBSERVATION.replace("Patient/p1", "Group/p1");
        assert!(values(&p, &group, "patient").is_empty());
        assert_eq!(values(&p, &group, "subject").len(), 1);
        assert!(matches!(get("date")[..], [SearchValue::Date(DateRange { end: i64::MAX, .. })]));
        assert!(
            matches!(&get("value-quantity")[..], [SearchValue::Quantity { value, .. }] if value == "72.0")
        );
    }

    #[test]
    fn the_parts_of_a_composite_belong_together() {
        let Some(p) = params() else { return };
        let quantity = |value: &str| SearchValue::Quantity {
            value: value.into(),
            system: Some("http://unitsofmeasure.org".into()),
            code: Some("mm[Hg]".into()),
            unit: None,
        };
        let loinc = |code: &str| token(Some("http://loinc.org"), code);
        let component = |code: &str, value: u32| {
            format!(
                r#"{{"code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},"valueQuantity":{{"value":{value},
                "system":"http://unitsofmeasure.org","code":"mm[Hg]"}}}}"#
            )
        };
        let text = format!(
            r#"{{"resourceType":"Observation","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"85354-9"}},
            {{"code":"bp"}}]}},"effectiveDateTime":"2024-01-01","component":[{},{}]}}"#,
            component("8480-6", 120),
            component("8462-4", 80)
        );
        let get = |code| values(&p, &text, code);
        let pair = |a, b| SearchValue::Composite(vec![a, b]);
        // Not the pressure of one with the code of the other.
        assert_eq!(
            get("component-code-value-quantity"),
            [pair(loinc("8480-6"), quantity("120")), pair(loinc("8462-4"), quantity("80"))]
        );
        assert!(get("code-value-quantity").is_empty(), "no value of its own");
        let day = SearchValue::Date(DateRange::parse("2024-01-01").expect("date"));
        assert!(get("code-value-date").is_empty());
        let own = text.replace("\"component\"", "\"valueDateTime\":\"2024-01-01\",\"component\"");
        assert_eq!(
            values(&p, &own, "code-value-date"),
            [pair(loinc("85354-9"), day.clone()), pair(token(None, "bp"), day)]
        );
        let composites: Vec<_> = p
            .schema()
            .resource_types()
            .flat_map(|t| p.of_type(t))
            .filter(|i| i.kind == SearchKind::Composite)
            .map(|i| i.url.to_owned())
            .collect();
        assert!(composites.len() > 30, "{}", composites.len());
    }

    #[test]
    fn every_parameter_of_the_core_is_read() {
        let Some(p) = params() else { return };
        let observation = p.of_type("Observation");
        let of = |code| p.param("Observation", code).map(|i| i.kind);
        assert!(observation.len() > 30);
        assert_eq!(of("date"), Some(SearchKind::Date));
        assert_eq!(of("_lastUpdated"), Some(SearchKind::Date));
        assert_eq!(of("nonsense"), None);
        let all: usize = p.schema().resource_types().map(|t| p.of_type(t).len()).sum();
        assert!(all > 2000, "{all}");
    }

    #[test]
    fn folding_forgets_case_and_accents() {
        assert_eq!(fold("  MÜLLER-Łódź  Zoe\u{308} ß"), "muller-lodz zoe ss");
    }
}
