//! Leaves: a bijection with the resource, and what a projection shows of it.

#[cfg(test)]
mod support;

#[cfg(test)]
mod leaves_and_projections {
    use super::support;
    use consilium_fhir::deid::Action;
    use consilium_fhir::leaves::{LeafKind, RebuildError, leaves, rebuild};
    use consilium_fhir::projection::{ProjectedLeaf, ProjectionError, project};
    use consilium_fhir::tape::{Cursor, Kind, NodeId};
    use consilium_fhir::{Limits, Options, Tape, Validator};

    fn tape(text: &str) -> Tape<'_> {
        Tape::parse(text.as_bytes(), &Limits::default()).expect("json")
    }

    fn pairs(tape: &Tape<'_>) -> Vec<(String, String)> {
        leaves(tape.root()).into_iter().map(|l| (l.path, l.token.to_owned())).collect()
    }

    fn projection(tape: &Tape<'_>, node: NodeId, validator: &Validator) -> Vec<ProjectedLeaf> {
        let actions = project(tape, node, validator.schema());
        let all = leaves(tape.cursor(node));
        assert_eq!(actions.len(), all.len());
        all.into_iter()
            .zip(actions)
            .map(|(leaf, (_, action))| ProjectedLeaf {
                path: leaf.path,
                kind: leaf.kind,
                token: (action == Action::Keep).then(|| leaf.token.to_owned()),
            })
            .collect()
    }

    const PATIENT: &str = r#"{
        "resourceType": "Patient", "id": "p1", "active": true,
        "name": [{"family": "Chalmers", "given": ["Peter", null], "_given": [null, {"extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}]}],
        "gender": "male", "birthDate": "1974-12-25", "multipleBirthInteger": 2,
        "extension": [{"url": "http://example.org/secret", "valueString": "Chalmers"}],
        "contained": [{"resourceType": "Organization", "id": "o", "name": "Chalmers Clinic"}],
        "managingOrganization": {"reference": "\u0023o", "type": "Organization"}
    }"#;

    #[test]
    fn leaves_name_every_value_in_document_order() {
        let tape = tape(PATIENT);
        let found = pairs(&tape);
        let paths: Vec<_> = found.iter().map(|(p, t)| format!("{p} {t}")).collect();
        assert_eq!(paths[0], "Patient.resourceType \"Patient\"");
        assert!(paths.contains(&"Patient.name[0].given[1] null".to_owned()));
        assert!(paths.contains(&"Patient.name[0]._given[1].extension[0].valueCode \"unknown\"".to_owned()));
        assert!(paths.contains(&"Patient.contained[0].resourceType \"Organization\"".to_owned()));
        // the token, not the text
        assert!(paths.contains(&"Patient.managingOrganization.reference \"\\u0023o\"".to_owned()));
    }

    #[test]
    fn rebuilding_gives_the_same_leaves() {
        for text in [
            PATIENT,
            "1.50",
            "{}",
            "[]",
            "[[],{},null,[[1]]]",
            r#"{"a.b":{"`":1,"\\":[true]},"":0,"c[0]":"x","é":{"q\"":null}}"#,
            r#"{"a":{"b":1},"c":{"b":1},"d":[{"e":1,"f":2},{"e":1}]}"#,
        ] {
            let tape = tape(text);
            let found = pairs(&tape);
            let again = rebuild(found.iter().map(|(p, t)| (p.as_str(), t.as_str()))).expect(text);
            assert_eq!(pairs(&self::tape(&again)), found, "{text}");
        }
    }

    #[test]
    fn leaves_of_no_document_are_refused() {
        let bad = |leaves: &[(&str, &str)]| rebuild(leaves.iter().copied()).unwrap_err();
        assert_eq!(bad(&[]), RebuildError::Empty);
        assert_eq!(bad(&[("P.a", "1"), ("P.a", "1")]), RebuildError::Order(1));
        assert_eq!(bad(&[("P.a", "1"), ("P.a.b", "1")]), RebuildError::Order(1));
        assert!(matches!(bad(&[("$.a[1]", "1")]), RebuildError::Order(0)));
        assert!(matches!(bad(&[("$.a[0]", "1"), ("$.a[2]", "1")]), RebuildError::Order(1)));
        assert!(matches!(bad(&[("$.a", "{\"b\":1}")]), RebuildError::Order(0)));
        assert!(matches!(bad(&[("$.a", "1,\"b\":2")]), RebuildError::Order(_)));
        assert!(matches!(bad(&[("$.a", "")]), RebuildError::Document(_)));
        assert!(matches!(bad(&[("Q.resourceType", "\"P\"")]), RebuildError::Order(0)));
        assert!(matches!(bad(&[("$.a.x", "1"), ("$.b", "1"), ("$.a.y", "1")]), RebuildError::Document(_)));
        assert!(matches!(bad(&[("$.a", "1"), ("$[0]", "1")]), RebuildError::Document(_)));
        for path in ["$.", "$.a[", "$.a[x]", "$.a b", "$.`a", "$[99999999999999999999999]"] {
            assert_eq!(bad(&[(path, "1")]), RebuildError::Path(0), "{path}");
        }
        assert!(matches!(bad(&[("$.a[00]", "1")]), RebuildError::Order(0)));
    }

    #[test]
    fn a_projection_shows_codes_and_hides_who_it_is() {
        let Some(validator) = support::validator() else { return };
        let tape = tape(PATIENT);
        let shown: Vec<String> = projection(&tape, NodeId::ROOT, &validator)
            .into_iter()
            .filter_map(|l| l.token.map(|t| format!("{} {t}", l.path)))
            .collect();
        assert_eq!(
            shown,
            [
                "Patient.resourceType \"Patient\"",
                "Patient.active true",
                "Patient.name[0]._given[0] null",
                "Patient.name[0]._given[1].extension[0].url \"http://hl7.org/fhir/StructureDefinition/data-absent-reason\"",
                "Patient.name[0]._given[1].extension[0].valueCode \"unknown\"",
                "Patient.gender \"male\"",
                "Patient.contained[0].resourceType \"Organization\"",
                "Patient.managingOrganization.type \"Organization\"",
            ]
        );
    }

    #[test]
    fn an_age_is_not_shown() {
        let Some(validator) = support::validator() else { return };
        let text = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"30525-0"}]},
            "valueQuantity":{"value":94,"unit":"years","system":"http://unitsofmeasure.org","code":"a"},
            "component":[{"code":{"text":"x"},"valueQuantity":{"value":5.50,"code":"mg"}}]}"#;
        let tape = tape(text);
        let leaves = projection(&tape, NodeId::ROOT, &validator);
        let token = |path: &str| leaves.iter().find(|l| l.path == path).and_then(|l| l.token.as_deref());
        assert_eq!(token("Observation.valueQuantity.value"), None);
        assert_eq!(token("Observation.component[0].valueQuantity.value"), Some("5.50"));
        assert_eq!(token("Observation.code.coding[0].code"), Some("\"30525-0\""));
        assert_eq!(token("Observation.component[0].code.text"), None);
    }

    #[test]
    fn visible_faults_of_a_projection_are_found() {
        let Some(validator) = support::validator() else { return };
        let check = |text: &str| {
            let tape = tape(text);
            let leaves = projection(&tape, NodeId::ROOT, &validator);
            validator.validate_projection(&leaves, &Options::default()).expect("projection")
        };
        let good = check(PATIENT);
        assert!(good.is_valid(), "{:?}", good.issues);
        assert!(good.unevaluated.withheld > 5);
        let wrong_code = check(&PATIENT.replace("\"male\"", "\"man\""));
        assert_eq!(wrong_code.issues[0].message_id, "fhir.binding.required");
        let wrong_type = check(&PATIENT.replace("\"1974-12-25\"", "1974"));
        assert_eq!(wrong_type.issues[0].message_id, "fhir.json.kind");
        let wrong_name = check(&PATIENT.replace("\"gender\"", "\"sex\""));
        assert_eq!(wrong_name.issues[0].message_id, "fhir.property.unknown");
        // what is withheld cannot be checked and is not held against the record
        assert!(check(&PATIENT.replace("1974-12-25", "yesterday")).is_valid());
    }

    #[test]
    fn a_projection_cannot_lie_about_kinds() {
        let Some(validator) = support::validator() else { return };
        let tape = tape(PATIENT);
        let mut leaves = projection(&tape, NodeId::ROOT, &validator);
        let at = leaves.iter().position(|l| l.path == "Patient.active").expect("active");
        leaves[at].kind = LeafKind::String;
        let options = Options::default();
        assert_eq!(validator.validate_projection(&leaves, &options), Err(ProjectionError::Kind(at)));
    }

    /// A patient's tokens that the projection of any of her records may not show.
    fn secrets(bundle: Cursor<'_, '_>) -> Vec<String> {
        let mut found = Vec::new();
        for entry in bundle.get("entry").expect("entry").children() {
            let Some(patient) = entry.get("resource") else { continue };
            if !patient.get("resourceType").is_some_and(|t| t.str_is("Patient")) {
                continue;
            }
            for leaf in leaves(patient) {
                let last = leaf.path.rsplit('.').next().unwrap_or_default();
                let name = last.split('[').next().unwrap_or_default();
                if ["family", "given", "value", "birthDate", "line", "city", "postalCode", "id"]
                    .contains(&name)
                    && leaf.token.len() > 4
                {
                    found.push(leaf.token.to_owned());
                }
            }
        }
        assert!(found.len() > 5);
        found
    }

    #[test]
    fn real_records_survive_and_their_projections_are_valid_and_anonymous() {
        let (Some(validator), Some(folder)) = (support::validator(), support::data("fhir/synthea")) else {
            return;
        };
        let mut records = 0;
        for file in support::json_files(&folder)
            .iter()
            .filter(|f| !f.to_string_lossy().contains("Information"))
            .take(6)
        {
            let bytes = std::fs::read(file).expect("file");
            let tape = Tape::parse(&bytes, &Limits::default()).expect("json");
            let secrets = secrets(tape.root());
            for entry in tape.root().get("entry").expect("entry").children() {
                let Some(resource) = entry.get("resource").filter(|r| r.kind() == Kind::Object) else {
                    continue;
                };
                let all = leaves(resource);
                let again = rebuild(all.iter().map(|l| (l.path.as_str(), l.token))).expect("again");
                let minified = serde_json::from_str::<serde_json::Value>(&again).expect("json");
                let value: serde_json::Value = serde_json::from_str(resource.token()).expect("json");
                assert_eq!(minified, value);
                let projected = projection(&tape, resource.id(), &validator);
                for token in projected.iter().filter_map(|l| l.token.as_ref()) {
                    assert!(!secrets.contains(token), "shown: {token}");
                }
                let report =
                    validator.validate_projection(&projected, &Options::default()).expect("projection");
                assert!(report.is_valid(), "{:?}", report.issues.first());
                records += 1;
            }
        }
        assert!(records > 500);
    }
}
