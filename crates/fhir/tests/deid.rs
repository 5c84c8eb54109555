//! De-identification: no identifier survives, wherever it stands.

#[cfg(test)]
mod support;

#[cfg(test)]
mod deidentification {
    use super::support;
    use consilium_fhir::deid::{Action, ConfigError, Policy, Secrets};
    use consilium_fhir::leaves::leaves;
    use consilium_fhir::projection::{ProjectedLeaf, project, project_with};
    use consilium_fhir::schema::{TypeId, TypeKind};
    use consilium_fhir::tape::NodeId;
    use consilium_fhir::{Limits, Options, Schema, Tape};
    use serde_json::{Map, Value, json};

    const SECRETS: Secrets<'_> =
        Secrets { key: b"a key of thirty-two bytes, or so", today: "2026-01-01", file: "f" };

    /// What stands in for an identifier, by primitive type, and what must not show of it.
    fn plant(primitive: &str) -> Option<(Value, &'static [&'static str])> {
        Some(match primitive {
            "string" | "markdown" => (json!("Zyxwvut Qponmlk, 555-0199"), &["Zyxwvut", "Qponmlk", "0199"]),
            "uri" | "url" | "canonical" => {
                (json!("https://zyxwvut.example/qponmlk"), &["zyxwvut", "qponmlk"])
            }
            "oid" => (json!("urn:oid:1.2.84999"), &["84999"]),
            "uuid" => (json!("urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"), &["61ebe359", "945f0a"]),
            "id" => (json!("zyxwvut-84999"), &["zyxwvut", "84999"]),
            "base64Binary" => (json!("Wnl4d3Z1dCBRcG9ubWxr"), &["Wnl4d3Z1dC"]),
            "xhtml" => (json!("<div>Zyxwvut</div>"), &["Zyxwvut"]),
            "date" => (json!("1999-07-13"), &["07-13"]),
            "dateTime" => (json!("1999-07-13T11:12:13+05:00"), &["07-13", "11:12"]),
            "instant" => (json!("1999-07-13T11:12:13.456+05:00"), &["07-13", "11:12", "13.456"]),
            _ => return None,
        })
    }

    /// Elements that name a vocabulary, a definition or a type, never a person.
    const VOCABULARY: &[(&str, &str)] = &[
        ("Coding", "system"),
        ("Coding", "version"),
        ("Quantity", "system"),
        ("SimpleQuantity", "system"),
        ("MoneyQuantity", "system"),
        ("Age", "system"),
        ("Duration", "system"),
        ("Count", "system"),
        ("Distance", "system"),
        ("Reference", "type"),
        ("Meta", "profile"),
        ("Identifier", "system"),
        // written by the de-identification itself, or stating the country
        ("Address", "country"),
        ("Address", "state"),
        ("Age", "unit"),
    ];

    /// An object of a type with every element filled, four levels deep, ages and all.
    fn filled(schema: &Schema, ty: TypeId, depth: usize) -> Option<Value> {
        let name = schema.type_name(ty);
        if let Some(primitive) = schema.primitive(ty) {
            return plant(primitive.name()).map(|(value, _)| value);
        }
        if depth == 0 {
            return None;
        }
        let mut object = Map::new();
        if schema.type_kind(ty) == Some(TypeKind::Resource) {
            schema.resource_type(name)?;
            object.insert("resourceType".to_owned(), json!(name));
        }
        for (key, member) in schema.members(ty) {
            if VOCABULARY.contains(&(name, member.name)) || matches!(member.name, "contained") {
                continue;
            }
            // An extension that is kept must not hold an identifier, and one that may is not kept.
            let value = if matches!(member.name, "extension" | "modifierExtension") {
                if name == "Extension" {
                    continue;
                }
                let url = "http://example.org/mothers-maiden-name";
                json!({"url": url, "valueString": "Zyxwvut", "valueAddress": {"city": "Qponmlk"}})
            } else {
                let Some(value) = filled(schema, member.ty, depth - 1) else { continue };
                value
            };
            let value = if member.is_array { json!([value]) } else { value };
            if schema.primitive(member.ty).is_some() {
                let hidden =
                    json!({"extension": [{"url": "http://example.org/x", "valueString": "Zyxwvut"}]});
                let hidden = if member.is_array { json!([hidden]) } else { hidden };
                object.insert(format!("_{key}"), hidden);
            }
            object.insert(key.to_owned(), value);
        }
        Some(Value::Object(object))
    }

    fn all_marks() -> Vec<&'static str> {
        let types =
            ["string", "uri", "oid", "uuid", "id", "base64Binary", "xhtml", "date", "dateTime", "instant"];
        let mut marks: Vec<_> =
            types.iter().filter_map(|t| plant(t)).flat_map(|(_, marks)| marks).copied().collect();
        marks.push("mothers-maiden");
        marks
    }

    fn policies() -> Option<Vec<(&'static str, Policy)>> {
        let sample = support::data("fhir/deid/ms-anonymizer-r4-configuration-sample.json")?;
        let sample = std::fs::read(sample).expect("configuration");
        let sample = Policy::parse(&sample).expect("configuration");
        assert_eq!(sample.rules(), 193);
        Some(vec![("the sample", sample), ("Safe Harbor", Policy::safe_harbor().expect("built in"))])
    }

    #[test]
    fn no_planted_identifier_survives_an_export_or_a_projection() {
        let (Some(validator), Some(policies)) = (support::validator(), policies()) else { return };
        let schema = validator.schema();
        let (mut types, mut planted) = (0, 0);
        let names: Vec<String> = schema.resource_types().map(str::to_owned).collect();
        for name in &names {
            let ty = schema.resource_type(name).expect("type");
            let document = filled(schema, ty, 4).expect("document").to_string();
            types += 1;
            planted += all_marks().iter().map(|m| document.matches(m).count()).sum::<usize>();
            let tape = Tape::parse(document.as_bytes(), &Limits::default()).expect("json");
            for (what, policy) in &policies {
                let out = policy.export(schema, &tape, &SECRETS).expect("export");
                assert_eq!(out, policy.export(schema, &tape, &SECRETS).expect("export"));
                for mark in all_marks() {
                    let at = out.find(mark);
                    // What the sample keeps by name: addresses and numbers of organisations.
                    let kept = *what == "the sample" && name.starts_with("Organization");
                    assert!(at.is_none() || kept, "{what}: {name} shows {mark} in …{}", near(&out, at));
                }
                // The sample shifts dates, which keeps months; Safe Harbor keeps the year alone.
                assert!(*what == "the sample" || !out.contains("1999-"), "{what}: {name}");
                let shown = shown(&tape, &project_with(&tape, NodeId::ROOT, schema, policy));
                for mark in all_marks() {
                    let kept = *what == "the sample" && name.starts_with("Organization");
                    assert!(!shown.contains(mark) || kept, "projection, {what}: {name} shows {mark}");
                }
            }
            let shown = shown(&tape, &project(&tape, NodeId::ROOT, schema));
            for mark in all_marks() {
                assert!(!shown.contains(mark), "projection: {name} shows {mark}");
            }
        }
        println!("{types} resource types, {planted} planted identifiers");
        assert!(types > 140 && planted > 100_000);
    }

    fn near(text: &str, at: Option<usize>) -> &str {
        at.map_or("", |at| text.get(at.saturating_sub(80)..(at + 40).min(text.len())).unwrap_or_default())
    }

    fn shown(tape: &Tape<'_>, actions: &[(usize, Action)]) -> String {
        let all = leaves(tape.root());
        assert_eq!(all.len(), actions.len());
        let kept = actions.iter().filter(|(_, action)| *action == Action::Keep);
        kept.map(|(at, _)| format!("{}\n", all[*at].token)).collect()
    }

    const PATIENT: &str = r#"{"resourceType":"Patient","id":"p1",
        "meta":{"profile":["http://example.org/P"],"lastUpdated":"2024-01-02T03:04:05Z"},
        "text":{"status":"generated","div":"<div>Jane</div>"},
        "name":[{"use":"official","family":"Doe","given":["Jane",null,"Ann"],"_given":[null,{"extension":[
            {"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]},null]}],
        "gender":"female","birthDate":"1974-12-25","deceasedDateTime":"2020-02-29T10:00:00+01:00",
        "address":[{"city":"Springfield","state":"IL","postalCode":"62704-1234","country":"US"}],
        "managingOrganization":{"reference":"Organization/o1","display":"Clinic"}}"#;

    #[test]
    fn safe_harbor_keeps_what_it_may() {
        let Some(validator) = support::validator() else { return };
        let tape = Tape::parse(PATIENT.as_bytes(), &Limits::default()).expect("json");
        let policy = Policy::safe_harbor().expect("built in");
        let out = policy.export(validator.schema(), &tape, &SECRETS).expect("export");
        let out: Value = serde_json::from_str(&out).expect("json");
        assert_eq!(out["gender"], "female");
        assert_eq!(out["birthDate"], "1974");
        assert_eq!(out["deceasedDateTime"], "2020");
        assert_eq!(out["address"][0], json!({"state": "IL", "postalCode": "62700-0000", "country": "US"}));
        assert_eq!(out["name"][0]["use"], "official");
        assert_eq!(out["name"][0]["family"], Value::Null);
        assert_eq!(out["text"], Value::Null);
        assert_eq!(out["id"].as_str().map(str::len), Some(64));
        let reference = out["managingOrganization"]["reference"].as_str().expect("reference");
        assert!(reference.starts_with("Organization/") && !reference.contains("o1"));
        let other = Secrets { key: b"another", ..SECRETS };
        let other = policy.export(validator.schema(), &tape, &other).expect("export");
        assert!(!other.contains(out["id"].as_str().expect("id")), "pseudonyms depend on the key");
        // Over 89 by today: not even the year.
        let later = Secrets { today: "2064-12-25", ..SECRETS };
        let later = policy.export(validator.schema(), &tape, &later).expect("export");
        assert!(!later.contains("1974"));
    }

    #[test]
    fn rules_apply_in_their_order() {
        let Some(validator) = support::validator() else { return };
        let tape = Tape::parse(PATIENT.as_bytes(), &Limits::default()).expect("json");
        let export = |rules: Value| {
            let config = json!({"fhirVersion": "R4", "fhirPathRules": rules}).to_string();
            let policy = Policy::parse(config.as_bytes()).expect("rules");
            let out = policy.export(validator.schema(), &tape, &SECRETS).expect("export");
            serde_json::from_str::<Value>(&out).expect("json")
        };
        let keep = json!({"path": "nodesByType('HumanName').given", "method": "keep"});
        let redact = json!({"path": "nodesByType('HumanName')", "method": "redact"});
        assert_eq!(export(json!([keep, redact]))["name"][0]["given"], json!(["Jane", "Ann"]));
        assert_eq!(export(json!([redact, keep]))["name"], Value::Null);
        let shift = json!([{"path": "nodesByType('dateTime')", "method": "dateShift"}]);
        let moved = export(shift)["deceasedDateTime"].as_str().expect("date").to_owned();
        assert!(moved.ends_with("T00:00:00+01:00") && !moved.starts_with("2020-02-29"), "{moved}");
        let rename = json!([{"path": "Patient.name.family", "method": "substitute", "replaceWith": "X"}]);
        assert_eq!(export(rename)["name"][0]["family"], "X");
        let cases = json!([{"path": "Patient.gender", "method": "generalize",
            "cases": {"$this = 'female'": "'unknown'"}, "otherValues": "redact"}]);
        assert_eq!(export(cases)["gender"], "unknown");
        let by_name = json!([{"path": "nodesByName('gender')", "method": "redact"}]);
        assert_eq!(export(by_name)["gender"], Value::Null);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (config, wanted) in [
            (json!({"fhirPathRules": [{"path": "Patient.name.where(true)", "method": "redact"}]}), "path"),
            (json!({"fhirPathRules": [{"path": "Patient.name", "method": "encrypt"}]}), "method"),
            (json!({"fhirPathRules": [{"path": "Patient.name", "method": "perturb"}]}), "method"),
            (json!({"fhirVersion": "Stu3", "fhirPathRules": []}), "Stu3"),
            (json!({}), "fhirPathRules"),
        ] {
            let error = Policy::parse(config.to_string().as_bytes()).expect_err("refused");
            assert!(error.to_string().contains(wanted), "{error}");
        }
        assert!(matches!(Policy::parse(b"{"), Err(ConfigError::Json(_))));
    }

    /// How much of the rules a projection of a real patient leaves decidable.
    #[test]
    fn most_rules_stay_decidable_on_projections_of_real_patients() {
        let (Some(validator), Some(policies), Some(folder)) =
            (support::validator(), policies(), support::data("fhir/synthea"))
        else {
            return;
        };
        let schema = validator.schema();
        let options = Options::default();
        let files: Vec<_> = support::json_files(&folder).into_iter().take(4).collect();
        let mut lines: Vec<(&str, Option<&Policy>)> = vec![("built-in table", None)];
        lines.extend(policies.iter().map(|(name, policy)| (*name, Some(policy))));
        for (name, policy) in lines {
            let (mut kept, mut all, mut decided, mut open, mut full) = (0, 0, 0, 0, 0);
            for file in &files {
                let bytes = std::fs::read(file).expect("file");
                let tape = Tape::parse(&bytes, &Limits::default()).expect("json");
                let entries = tape.root().get("entry").into_iter().flat_map(|e| e.children());
                for resource in entries.filter_map(|e| e.get("resource")) {
                    let own = Tape::parse(resource.token().as_bytes(), &Limits::default()).expect("json");
                    full += validator.validate(&own, &options).evaluated;
                    let actions = match policy {
                        Some(policy) => project_with(&tape, resource.id(), schema, policy),
                        None => project(&tape, resource.id(), schema),
                    };
                    let projected: Vec<ProjectedLeaf> = leaves(resource)
                        .into_iter()
                        .zip(&actions)
                        .map(|(leaf, (_, action))| ProjectedLeaf {
                            path: leaf.path,
                            kind: leaf.kind,
                            token: (*action == Action::Keep).then(|| leaf.token.to_owned()),
                        })
                        .collect();
                    let report = validator.validate_projection(&projected, &options).expect("projection");
                    assert!(report.is_valid(), "{name}: {:?}", report.issues.first());
                    all += projected.len();
                    kept += projected.iter().filter(|leaf| leaf.token.is_some()).count();
                    decided += report.evaluated;
                    open += report.unevaluated.withheld;
                }
            }
            println!(
                "{name}: {kept} of {all} leaves shown; {decided} of {full} constraints and bindings decided \
                 ({:.1} %), {open} checks left open",
                100.0 * decided as f64 / full as f64
            );
            assert!(decided * 10 > full * 4, "{name}: {decided} of {full}");
        }
    }
}
