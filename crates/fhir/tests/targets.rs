//! What a profile says of references and codes beyond their types: where a target is, which codes no binding may leave,
//! slices of slices; and names written with escapes.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod targets {
    use std::sync::Arc;

    use super::support;
    use consilium_fhir::{Limits, Options, References, Schema, Validator};
    use serde_json::{Value, json};

    const BASE: &str = "http://example.org/StructureDefinition/";
    const LANGUAGES: &str = "http://hl7.org/fhir/ValueSet/all-languages";

    fn profile(name: &str, ty: &str, elements: &Value) -> Vec<u8> {
        json!({
            "resourceType": "StructureDefinition", "url": format!("{BASE}{name}"), "name": name,
            "status": "draft", "kind": "resource", "abstract": false, "type": ty,
            "baseDefinition": format!("http://hl7.org/fhir/StructureDefinition/{ty}"),
            "derivation": "constraint", "differential": {"element": elements}
        })
        .to_string()
        .into_bytes()
    }

    fn subject(mode: &str) -> Value {
        json!([{"path": "Observation.subject", "type": [{"code": "Reference", "aggregation": [mode],
            "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Patient"]}]}])
    }

    fn validator() -> Option<Validator> {
        let core = support::core()?;
        let number = |slice: &str, element: Value| {
            let mut element = element;
            element["path"] = json!("Patient.identifier");
            element["sliceName"] = json!(slice);
            element
        };
        let discriminator = |path: &str| json!([{"type": "value", "path": path}]);
        let definitions = [
            profile("contained", "Observation", &subject("contained")),
            profile("bundled", "Observation", &subject("bundled")),
            profile("referenced", "Observation", &subject("referenced")),
            profile(
                "language",
                "Patient",
                &json!([{"path": "Patient.maritalStatus", "binding": {"strength": "extensible",
                    "valueSet": "http://hl7.org/fhir/ValueSet/administrative-gender",
                    "extension": [{"valueCanonical": LANGUAGES,
                        "url": "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"}]}}]),
            ),
            profile(
                "numbers",
                "Patient",
                &json!([
                    {"path": "Patient.identifier",
                        "slicing": {"discriminator": discriminator("system"), "rules": "open"}},
                    number("mrn", json!({"min": 1, "max": "*",
                        "slicing": {"discriminator": discriminator("use"), "rules": "closed"}})),
                    {"path": "Patient.identifier.system", "min": 1, "fixedUri": "urn:mrn"},
                    number("mrn/official", json!({"min": 1, "max": "1"})),
                    {"path": "Patient.identifier.use", "min": 1, "fixedCode": "official"},
                    number("mrn/old", json!({"max": "1"})),
                    {"path": "Patient.identifier.use", "min": 1, "fixedCode": "old"}
                ]),
            ),
        ];
        let resources: Vec<&[u8]> = definitions.iter().map(Vec::as_slice).collect();
        Some(Validator::new(Arc::new(Schema::compile_with(&[&core], &resources).expect("schema"))))
    }

    fn errors(validator: &Validator, options: &Options, document: &Value) -> Vec<String> {
        let bytes = document.to_string().into_bytes();
        let report = validator.validate_bytes(&bytes, &Limits::default(), options);
        let errors = report.issues.iter().filter(|i| i.is_error());
        errors.map(|i| format!("{} {}", i.message_id, i.expression)).collect()
    }

    #[test]
    fn a_target_is_where_the_profile_wants_it() {
        let Some(validator) = validator() else { return };
        let options = Options::default();
        let patient = json!({"resourceType": "Patient", "id": "p", "active": true});
        let (inside, beside, outside) = ("#p", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "Patient/1");
        let wrong = "fhir.profile.aggregation Bundle.entry[0].resource.subject";
        for (mode, target, fits) in [
            ("contained", inside, true),
            ("contained", beside, false),
            ("contained", outside, false),
            ("bundled", inside, false),
            ("bundled", beside, true),
            ("bundled", outside, false),
            ("referenced", inside, false),
            ("referenced", beside, true),
            ("referenced", outside, true),
        ] {
            let mut observation = json!({
                "resourceType": "Observation", "meta": {"profile": [format!("{BASE}{mode}")]},
                "status": "final", "code": {"text": "x"}, "subject": {"reference": target}
            });
            if target == inside {
                observation["contained"] = json!([patient]);
            }
            let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [
                {"resource": observation}, {"fullUrl": beside, "resource": patient}]});
            let expected: &[&str] = if fits { &[] } else { &[wrong] };
            assert_eq!(errors(&validator, &options, &bundle), expected, "{mode} {target}");
        }
    }

    #[test]
    fn a_target_out_of_reach_is_judged_by_its_url_on_request_only() {
        let Some(validator) = validator() else { return };
        let observation = json!({
            "resourceType": "Observation", "meta": {"profile": [format!("{BASE}referenced")]},
            "status": "final", "code": {"text": "x"}, "subject": {"reference": "Group/1"}
        });
        assert!(errors(&validator, &Options::default(), &observation).is_empty());
        let asked = Options { references: References::Exist, ..Options::default() };
        assert_eq!(errors(&validator, &asked, &observation), ["fhir.reference.target Observation.subject"]);
    }

    #[test]
    fn no_code_leaves_the_maximum_of_its_binding() {
        let Some(validator) = validator() else { return };
        let options = Options::default();
        let language = |tag: &str| json!({"resourceType": "Patient", "active": true, "language": tag});
        assert!(errors(&validator, &options, &language("gsw-CH")).is_empty());
        assert_eq!(
            errors(&validator, &options, &language("de_CH")),
            ["fhir.binding.maximum Patient.language"]
        );
        let spoken = |concept: Value| {
            json!({"resourceType": "Patient", "meta": {"profile": [format!("{BASE}language")]},
                "communication": [{"language": concept}], "maritalStatus": concept})
        };
        let coded = |code: &str| json!({"coding": [{"system": "urn:ietf:bcp:47", "code": code}]});
        assert!(errors(&validator, &options, &spoken(coded("de"))).is_empty());
        assert!(errors(&validator, &options, &spoken(json!({"text": "Swiss German"}))).is_empty());
        let both = [
            "fhir.binding.maximum Patient.communication[0].language",
            "fhir.binding.maximum Patient.maritalStatus",
        ];
        assert_eq!(errors(&validator, &options, &spoken(coded("Swiss German"))), both);
    }

    #[test]
    fn slices_of_a_slice_are_told_apart() {
        let Some(validator) = validator() else { return };
        let number = |system: &str, kind: &str| json!({"system": system, "use": kind, "value": kind});
        let (official, old) = (number("urn:mrn", "official"), number("urn:mrn", "old"));
        let other = number("urn:other", "official");
        for (identifiers, wrong) in [
            (json!([official, old, other]), ""),
            (json!([old, other]), "fhir.slice.min"),
            (json!([official, official]), "fhir.slice.max"),
            (json!([official, number("urn:mrn", "temp")]), "fhir.slice.closed"),
        ] {
            let patient = json!({"resourceType": "Patient", "meta": {"profile": [format!("{BASE}numbers")]},
                "identifier": identifiers});
            let found = errors(&validator, &Options::default(), &patient);
            let ids: Vec<&str> = found.iter().filter_map(|e| e.split(' ').next()).collect();
            let expected: Vec<&str> = Some(wrong).filter(|w| !w.is_empty()).into_iter().collect();
            assert_eq!(ids, expected, "{identifiers}");
        }
    }

    /// RFC 8259 section 7: an escape in a name is another way to write it.
    #[test]
    fn names_may_be_written_with_escapes() {
        let Some(validator) = support::validator() else { return };
        let found = |text: &str| {
            let report = validator.validate_bytes(text.as_bytes(), &Limits::default(), &Options::default());
            report.issues.into_iter().map(|i| i.message_id.into_owned()).collect::<Vec<_>>()
        };
        assert!(
            found(r#"{"\u0072esourceType":"Patient","\u0061ctive":true,"n\u0061me":[{"family":"A"}]}"#)
                .is_empty()
        );
        assert_eq!(found(r#"{"resourceType":"Patient","\u0061ctive":"yes"}"#), ["fhir.json.kind"]);
        assert_eq!(found(r#"{"resourceType":"Patient","\u0061ctivity":true}"#), ["fhir.property.unknown"]);
        let twice = r#"{"resourceType":"Patient","deceasedBoolean":true,"deceased\u0044ateTime":"2020"}"#;
        assert_eq!(found(twice), ["fhir.choice.twice"]);
    }
}
