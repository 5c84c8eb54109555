//! Damage to a good bundle is found, at the right place.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod damage {
    use super::support;
    use consilium_fhir::{Limits, Options, Report, UnknownExtensions, Validator};

    const GOOD: &str = r##"{
  "resourceType": "Bundle",
  "type": "transaction",
  "entry": [
    {
      "fullUrl": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a",
      "resource": {
        "resourceType": "Patient",
        "id": "p1",
        "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Ann<br/></div>"},
        "contained": [{"resourceType": "Organization", "id": "org", "name": "Clinic"}],
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": {"city": "X"}}],
        "identifier": [{"system": "urn:oid:1.2.3", "value": "1"}],
        "active": true,
        "name": [{"family": "Doe", "given": ["Ann", null], "_given": [null, {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}]}],
        "gender": "female",
        "birthDate": "1980-02-29",
        "multipleBirthInteger": 2,
        "contact": [{"name": {"text": "Bob"}}],
        "managingOrganization": {"reference": "#org"}
      },
      "request": {"method": "POST", "url": "Patient"}
    },
    {
      "fullUrl": "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9",
      "resource": {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "3141-9"}]},
        "subject": {"reference": "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"},
        "effectiveDateTime": "2024-05-01T10:00:00+02:00",
        "issued": "2024-05-01T10:00:00.123Z",
        "valueQuantity": {"value": 72.50, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
        "referenceRange": [{"low": {"value": 50}}]
      },
      "request": {"method": "POST", "url": "Observation"}
    }
  ]
}"##;

    const P: &str = "Bundle.entry[0].resource";
    const O: &str = "Bundle.entry[1].resource";

    /// What is replaced, by what, the message id expected, and where (`P` and `O` stand for the two
    /// resources).
    const DAMAGE: &[(&str, &str, &str, &str)] = &[
        ("\"resourceType\": \"Patient\",", "", "fhir.resource-type.missing", "P"),
        (
            "\"resourceType\": \"Patient\"",
            "\"resourceType\": \"Patent\"",
            "fhir.resource-type.unknown",
            "P.resourceType",
        ),
        ("\"gender\"", "\"sex\"", "fhir.property.unknown", "P"),
        ("\"female\"", "\"woman\"", "fhir.binding.required", "P.gender"),
        ("\"female\"", "\"\"", "fhir.empty.string", "P.gender"),
        ("\"active\": true", "\"active\": \"true\"", "fhir.json.kind", "P.active"),
        ("\"active\": true", "\"active\": null", "fhir.json.null", "P.active"),
        ("\"active\": true", "\"active\": {}", "fhir.json.kind", "P.active"),
        ("\"active\": true", "\"active\": true, \"photo\": []", "fhir.empty.array", "P.photo"),
        ("\"active\": true", "\"active\": true, \"photo\": [{}]", "fhir.empty.object", "P.photo[0]"),
        (
            "\"active\": true",
            "\"active\": true, \"photo\": [{\"id\": \"x\"}]",
            "http://hl7.org/fhir/StructureDefinition/Element#ele-1",
            "P.photo[0]",
        ),
        (
            "\"active\": true",
            "\"active\": true, \"maritalStatus\": [{\"text\": \"x\"}]",
            "fhir.json.array",
            "P.maritalStatus",
        ),
        (
            "\"active\": true",
            "\"active\": true, \"_name\": [{\"id\": \"x\"}]",
            "fhir.json.underscore",
            "P.name[0]",
        ),
        (
            "\"active\": true",
            "\"active\": true, \"multipleBirthBoolean\": true",
            "fhir.choice.twice",
            "P.multipleBirth.ofType(integer)",
        ),
        (
            "\"active\": true",
            "\"active\": true, \"link\": [{\"other\": {\"reference\": \"Patient/2\"}}]",
            "fhir.card.min",
            "P.link[0]",
        ),
        (
            "\"contact\": [{\"name\": {\"text\": \"Bob\"}}]",
            "\"contact\": [{\"gender\": \"male\"}]",
            "http://hl7.org/fhir/StructureDefinition/Patient#pat-1",
            "P.contact[0]",
        ),
        ("\"name\": [{\"family\"", "\"name\": {\"family\"", "json", ""),
        ("\"given\": [\"Ann\", null]", "\"given\": [\"Ann\"]", "fhir.json.array-length", "P.name[0].given"),
        ("\"given\": [\"Ann\", null]", "\"given\": [null, null]", "fhir.json.null", "P.name[0].given[0]"),
        ("\"given\": [\"Ann\", null]", "\"given\": \"Ann\"", "fhir.json.array-missing", "P.name[0].given"),
        ("\"1980-02-29\"", "\"1981-02-29\"", "fhir.value.form", "P.birthDate"),
        ("\"1980-02-29\"", "\"29.02.1980\"", "fhir.value.form", "P.birthDate"),
        ("\"id\": \"p1\"", "\"id\": \"p_1\"", "fhir.value.form", "P.id"),
        (
            "\"multipleBirthInteger\": 2",
            "\"multipleBirthInteger\": 2.5",
            "fhir.value.form",
            "P.multipleBirth.ofType(integer)",
        ),
        (
            "\"multipleBirthInteger\": 2",
            "\"multipleBirthInteger\": 3000000000",
            "fhir.value.form",
            "P.multipleBirth.ofType(integer)",
        ),
        ("\"multipleBirthInteger\"", "\"multipleBirthString\"", "fhir.property.unknown", "P"),
        ("urn:oid:1.2.3", "urn:oid:1.2.03", "fhir.value.form", "P.identifier[0].system"),
        ("urn:oid:1.2.3", "my system", "fhir.value.form", "P.identifier[0].system"),
        (
            "\"reference\": \"#org\"",
            "\"reference\": \"#gro\"",
            "http://hl7.org/fhir/StructureDefinition/Reference#ref-1",
            "P.managingOrganization",
        ),
        (
            "\"reference\": \"#org\"",
            "\"display\": \"Clinic\"",
            "http://hl7.org/fhir/StructureDefinition/DomainResource#dom-3",
            "P.contained[0]",
        ),
        (
            "\"reference\": \"#org\"",
            "\"reference\": \"Practitioner/1\"",
            "fhir.reference.target",
            "P.managingOrganization",
        ),
        ("\"id\": \"org\", ", "", "fhir.contained.id", "P.contained[0]"),
        (
            "\"name\": \"Clinic\"",
            "\"name\": \"Clinic\", \"contained\": [{\"resourceType\": \"Basic\", \"id\": \"b\", \"code\": {\"text\": \"x\"}}]",
            "http://hl7.org/fhir/StructureDefinition/DomainResource#dom-2",
            "P.contained[0].contained",
        ),
        ("<br/>", "<br>", "http://hl7.org/fhir/StructureDefinition/Narrative#txt-1", "P.text.div"),
        (
            "<br/>",
            "<script>x</script>",
            "http://hl7.org/fhir/StructureDefinition/Narrative#txt-1",
            "P.text.div",
        ),
        (">Ann<br/><", "> <br/><", "http://hl7.org/fhir/StructureDefinition/Narrative#txt-2", "P.text.div"),
        (
            "\"valueAddress\": {\"city\": \"X\"}",
            "\"valueString\": \"X\"",
            "fhir.extension.value-type",
            "P.extension[0].value.ofType(string)",
        ),
        (
            ", \"valueAddress\": {\"city\": \"X\"}",
            "",
            "http://hl7.org/fhir/StructureDefinition/Extension#ext-1",
            "P.extension[0]",
        ),
        ("patient-birthPlace", "patient-birthPlaice", "fhir.extension.unknown", "P.extension[0]"),
        (
            "\"http://hl7.org/fhir/StructureDefinition/patient-birthPlace\"",
            "\"birthPlace\"",
            "fhir.extension.relative-url",
            "P.extension[0]",
        ),
        ("\"status\": \"final\",", "", "fhir.card.min", "O"),
        ("\"status\": \"final\"", "\"status\": \"Final\"", "fhir.binding.required", "O.status"),
        ("\"status\": \"final\"", "\"status\": \"final \"", "fhir.value.form", "O.status"),
        (
            "\"effectiveDateTime\": \"2024-05-01T10:00:00+02:00\"",
            "\"effectiveDateTime\": \"2024-05-01T10:00:00\"",
            "fhir.value.form",
            "O.effective.ofType(dateTime)",
        ),
        (
            "\"issued\": \"2024-05-01T10:00:00.123Z\"",
            "\"issued\": \"2024-05-01\"",
            "fhir.value.form",
            "O.issued",
        ),
        (
            "\"subject\": {\"reference\": \"urn:uuid:61ebe359",
            "\"subject\": {\"reference\": \"urn:uuid:71ebe359",
            "fhir.reference.unresolved",
            "O.subject",
        ),
        (
            "\"subject\": {\"reference\": \"urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a\"",
            "\"subject\": {\"reference\": \"urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9\"",
            "fhir.reference.target",
            "O.subject",
        ),
        ("\"value\": 72.50", "\"value\": \"72.50\"", "fhir.json.kind", "O.value.ofType(Quantity).value"),
        (
            ", \"system\": \"http://unitsofmeasure.org\"",
            "",
            "http://hl7.org/fhir/StructureDefinition/Quantity#qty-3",
            "O.value.ofType(Quantity)",
        ),
        (
            "\"low\": {\"value\": 50}",
            "\"type\": {\"text\": \"x\"}",
            "http://hl7.org/fhir/StructureDefinition/Observation#obs-3",
            "O.referenceRange[0]",
        ),
        (
            "\"valueQuantity\"",
            "\"dataAbsentReason\": {\"text\": \"x\"}, \"valueQuantity\"",
            "http://hl7.org/fhir/StructureDefinition/Observation#obs-6",
            "O",
        ),
        (
            "\"request\": {\"method\": \"POST\", \"url\": \"Patient\"}",
            "\"search\": {\"mode\": \"match\"}",
            "http://hl7.org/fhir/StructureDefinition/Bundle#bdl-2",
            "Bundle.entry[0].search",
        ),
        (
            ",\n      \"request\": {\"method\": \"POST\", \"url\": \"Observation\"}",
            "",
            "http://hl7.org/fhir/StructureDefinition/Bundle#bdl-3",
            "Bundle.entry[1]",
        ),
        (
            "\"type\": \"transaction\"",
            "\"type\": \"transaction\", \"total\": 2",
            "http://hl7.org/fhir/StructureDefinition/Bundle#bdl-1",
            "Bundle.total",
        ),
        (
            "\"fullUrl\": \"urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9\"",
            "\"fullUrl\": \"urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a\"",
            "http://hl7.org/fhir/StructureDefinition/Bundle#bdl-7",
            "Bundle.entry[1].fullUrl",
        ),
        (
            "\"fullUrl\": \"urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9\"",
            "\"fullUrl\": \"Observation/1\"",
            "fhir.bundle.full-url",
            "Bundle.entry[1]",
        ),
        (
            "\"POST\", \"url\": \"Observation\"",
            "\"SEND\", \"url\": \"Observation\"",
            "fhir.binding.required",
            "Bundle.entry[1].request.method",
        ),
    ];

    fn check(validator: &Validator, text: &str) -> Report {
        let options = Options { unknown_extensions: UnknownExtensions::Refuse, ..Options::default() };
        validator.validate_bytes(text.as_bytes(), &Limits::default(), &options)
    }

    #[test]
    fn the_undamaged_bundle_is_valid() {
        let Some(validator) = support::validator() else { return };
        let report = check(&validator, GOOD);
        assert!(report.is_valid(), "{:?}", report.issues);
        assert!(report.issues.is_empty(), "{:?}", report.issues);
    }

    #[test]
    fn every_damage_is_found_where_it_is() {
        let Some(validator) = support::validator() else { return };
        let mut missed = Vec::new();
        for (what, by, id, path) in DAMAGE {
            assert_eq!(GOOD.matches(what).count(), 1, "ambiguous: {what}");
            let report = check(&validator, &GOOD.replace(what, by));
            assert!(!report.is_valid(), "not found: {what} -> {by}");
            if *id == "json" {
                continue;
            }
            let path = match path.split_at_checked(1) {
                Some(("P", rest)) => format!("{P}{rest}"),
                Some(("O", rest)) => format!("{O}{rest}"),
                _ => (*path).to_owned(),
            };
            if !report.issues.iter().any(|i| i.message_id == *id && i.expression == path) {
                let found: Vec<_> =
                    report.issues.iter().map(|i| format!("{} {}", i.message_id, i.expression)).collect();
                missed.push(format!("{what} -> {by}\n  wanted {id} {path}\n  found {found:?}"));
            }
        }
        assert!(missed.is_empty(), "{}", missed.join("\n"));
        assert!(DAMAGE.len() >= 50);
    }

    #[test]
    fn all_damage_is_reported_at_once() {
        let Some(validator) = support::validator() else { return };
        let text = GOOD
            .replace("\"female\"", "\"woman\"")
            .replace("\"final\"", "\"Final\"")
            .replace("1980-02-29", "1980-02-30");
        let report = check(&validator, &text);
        assert_eq!(report.errors(), 3, "{:?}", report.issues);
        // in document order, with places
        let lines: Vec<_> = report.issues.iter().map(|i| i.line).collect();
        assert_eq!(lines, [16, 17, 28]);
    }

    #[test]
    fn the_outcome_is_a_valid_resource_and_echoes_no_value() {
        let Some(validator) = support::validator() else { return };
        let text = GOOD.replace("\"female\"", "\"Eve-Secret\"").replace("1980-02-29", "Secret-Date");
        let report = check(&validator, &text);
        let outcome = report.to_operation_outcome_json();
        assert!(!outcome.contains("Secret"), "{outcome}");
        assert!(outcome.contains("Bundle.entry[0].resource.gender"));
        let own = validator.validate_bytes(outcome.as_bytes(), &Limits::default(), &Options::default());
        assert!(own.is_valid(), "{:?}", own.issues);
        let clean = check(&validator, GOOD).to_operation_outcome_json();
        assert!(check(&validator, &clean).is_valid());
        let unread = check(&validator, "{").to_operation_outcome_json();
        assert!(check(&validator, &unread).is_valid(), "{unread}");
    }

    #[test]
    fn verdicts_do_not_depend_on_layout() {
        let Some(validator) = support::validator() else { return };
        let schema = validator.schema().digest();
        let text = GOOD.replace("\"female\"", "\"woman\"");
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        let pretty = serde_json::to_string_pretty(&value).expect("json");
        let minified = serde_json::to_string(&value).expect("json");
        let digest = |t: &str| check(&validator, t).digest(&schema, &[7; 32]);
        assert_eq!(digest(&pretty), digest(&minified));
        assert_ne!(digest(&pretty), digest(GOOD));
        assert_ne!(digest(&pretty), check(&validator, &pretty).digest(&schema, &[8; 32]));
        assert_ne!(digest(&pretty), check(&validator, &pretty).digest(&[0; 32], &[7; 32]));
    }

    #[test]
    fn very_many_issues_are_cut_off_with_a_notice() {
        let Some(validator) = support::validator() else { return };
        let entry = r#"{"resource":{"resourceType":"Patient","gender":"x","birthDate":1}}"#;
        let entries = vec![entry; 50_000].join(",");
        let text = format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{entries}]}}"#);
        let report = check(&validator, &text);
        assert_eq!((report.errors(), report.issues.len()), (1000, 1001));
        assert_eq!(report.issues[999].expression, "Bundle.entry[499].resource.birthDate");
        assert_eq!(report.issues[1000].message_id, "fhir.issues.more");
    }

    #[test]
    fn options_enter_the_basis_of_a_verdict() {
        let Some(validator) = support::validator() else { return };
        let basis = |o: Options| validator.basis(&o);
        let default = basis(Options::default());
        let domains = |d: &[&str]| Options {
            extension_domains: d.iter().map(|d| (*d).to_owned()).collect(),
            ..Options::default()
        };
        assert_eq!(basis(domains(&["a", "b"])), basis(domains(&["b", "a", "a"])));
        let others = [
            domains(&["a"]),
            domains(&["ab"]),
            Options { unknown_extensions: UnknownExtensions::Refuse, ..Options::default() },
            Options { security_checks: true, ..Options::default() },
            Options { example_urls: false, ..Options::default() },
            Options { invariants: false, ..Options::default() },
            Options { best_practice: true, ..Options::default() },
            Options { max_issues: 1, ..Options::default() },
        ];
        let mut seen: Vec<_> = others.into_iter().map(basis).collect();
        seen.push(default);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn large_bundles_take_linear_time() {
        let Some(validator) = support::validator() else { return };
        let bundle = |n: usize| {
            let entries: Vec<String> = (0..n)
                .map(|i| {
                    format!(
                        r#"{{"fullUrl":"urn:uuid:00000000-0000-0000-0000-{i:012}","resource":{{"resourceType":"List","status":"current","mode":"working","entry":[{{"item":{{"reference":"urn:uuid:00000000-0000-0000-0000-{:012}"}}}}]}}}}"#,
                        n - 1 - i
                    )
                })
                .collect();
            format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#, entries.join(","))
        };
        // A quadratic look-up would need minutes for this one.
        let report = check(&validator, &bundle(100_000));
        assert!(report.issues.is_empty(), "{:?}", report.issues.first());
    }
}
