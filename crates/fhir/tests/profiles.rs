//! Profiles: merging, cardinality, fixed values, slicing, bindings, constraints, targets.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod profiles {
    use std::sync::Arc;

    use super::support;
    use consilium_fhir::{Limits, Options, Report, Schema, Severity, Validator};
    use serde_json::{Value, json};

    const BASE: &str = "http://example.org/StructureDefinition/";

    fn profile(name: &str, ty: &str, base: &str, elements: &Value) -> Vec<u8> {
        let base = if base.contains("://") { base.to_owned() } else { format!("{BASE}{base}") };
        json!({
            "resourceType": "StructureDefinition", "url": format!("{BASE}{name}"), "name": name,
            "status": "draft", "kind": "resource", "abstract": false, "type": ty,
            "baseDefinition": base, "derivation": "constraint", "differential": {"element": elements}
        })
        .to_string()
        .into_bytes()
    }

    fn core(ty: &str) -> String {
        format!("http://hl7.org/fhir/StructureDefinition/{ty}")
    }

    fn definitions() -> Vec<Vec<u8>> {
        let coding = |code: &str| json!({"coding": [{"system": "http://example.org/s", "code": code}]});
        vec![
            profile(
                "pressure",
                "Observation",
                &core("Observation"),
                &json!([
                    {"path": "Observation.status", "fixedCode": "final"},
                    {"path": "Observation.code", "patternCodeableConcept": coding("bp")},
                    {"path": "Observation.value[x]", "max": "0"},
                    {"path": "Observation.method", "binding":
                        {"strength": "extensible", "valueSet": "http://hl7.org/fhir/ValueSet/administrative-gender"}},
                    {"path": "Observation.note", "min": 1, "constraint": [{"key": "n-1", "severity": "error",
                        "human": "a note has an author", "expression": "author.exists()"}]},
                    {"path": "Observation.component", "slicing": {"rules": "closed", "ordered": true,
                        "discriminator": [{"type": "pattern", "path": "code"}]}},
                    {"path": "Observation.component", "sliceName": "high", "min": 1, "max": "1"},
                    {"path": "Observation.component.code", "patternCodeableConcept": coding("high")},
                    {"path": "Observation.component.valueQuantity", "min": 1, "minValueQuantity":
                        {"value": 10, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}},
                    {"path": "Observation.component", "sliceName": "low", "max": "1"},
                    {"path": "Observation.component.code", "patternCodeableConcept": coding("low")}
                ]),
            ),
            // by id only, in a slice that the base defines
            profile(
                "derived",
                "Observation",
                "pressure",
                &json!([{"id": "Observation.component:low", "path": "Observation.component",
                    "sliceName": "low", "min": 1}]),
            ),
            // in a circle with itself
            profile("circle-a", "Patient", "circle-b", &json!([{"path": "Patient.name", "min": 1}])),
            profile("circle-b", "Patient", "circle-a", &json!([{"path": "Patient.gender", "min": 1}])),
            profile(
                "friend",
                "Patient",
                &core("Patient"),
                &json!([
                    {"path": "Patient.name", "min": 1},
                    {"path": "Patient.link.other", "type": [
                        {"code": "Reference", "targetProfile": [format!("{BASE}friend")]}]}
                ]),
            ),
        ]
    }

    /// "ContentReferences … always reference the non-constrained definition"
    /// (<https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.contentReference>):
    /// a rule on `item` does not go down to the items inside of it, one on `item.item` does what it says.
    #[test]
    fn a_content_reference_brings_the_rules_of_the_type() {
        let Some(core) = support::core() else { return };
        let definitions = [
            profile(
                "outer",
                "Questionnaire",
                &self::core("Questionnaire"),
                &json!([{"path": "Questionnaire.item.prefix", "min": 1}]),
            ),
            profile(
                "inner",
                "Questionnaire",
                &self::core("Questionnaire"),
                &json!([
                    {"path": "Questionnaire.item.item.prefix", "min": 1},
                    {"path": "Questionnaire.item.item.item", "slicing": {"rules": "closed",
                        "discriminator": [{"type": "value", "path": "linkId"}]}},
                    {"path": "Questionnaire.item.item.item", "sliceName": "c", "max": "1"},
                    {"path": "Questionnaire.item.item.item.linkId", "fixedString": "c"},
                    {"path": "Questionnaire.item.item.item.required", "patternBoolean": true}
                ]),
            ),
        ];
        let resources: Vec<&[u8]> = definitions.iter().map(Vec::as_slice).collect();
        let v = Validator::new(Arc::new(Schema::compile_with(&[&core], &resources).expect("schema")));
        let item = |id: &str, prefix: Option<&str>, below: Value| {
            let leaf = below.as_array().is_none_or(Vec::is_empty);
            let kind = if leaf { "string" } else { "group" };
            let mut item = json!({"linkId": id, "type": kind, "required": true});
            if let Some(prefix) = prefix {
                item["prefix"] = json!(prefix);
            }
            if !leaf {
                item["item"] = below;
            }
            item
        };
        let form = |items: Value| json!({"resourceType": "Questionnaire", "status": "active", "item": items});
        let errors = |name: &str, form: &Value| {
            let report = check(&v, name, form);
            let errors = report.issues.iter().filter(|i| i.is_error());
            errors.map(|i| format!("{} {}", i.message_id, i.expression)).collect::<Vec<_>>()
        };
        let leaf = |id: &str| json!([item(id, None, json!([]))]);
        let outside = form(json!([item("a", Some("1"), json!([item("b", None, json!([]))]))]));
        assert!(errors("outer", &outside).is_empty());
        assert_eq!(errors("inner", &outside), ["fhir.profile.min Questionnaire.item[0].item[0]"]);
        let inside = form(json!([item("a", None, json!([item("b", Some("1"), leaf("c"))]))]));
        assert_eq!(errors("outer", &inside), ["fhir.profile.min Questionnaire.item[0]"]);
        assert!(errors("inner", &inside).is_empty());
        let other = form(json!([item("a", None, json!([item("b", Some("1"), leaf("d"))]))]));
        assert_eq!(errors("inner", &other), ["fhir.slice.closed Questionnaire.item[0].item[0].item[0]"]);
        let mut optional = inside.clone();
        optional["item"][0]["item"][0]["item"][0]["required"] = json!(false);
        let place = "Questionnaire.item[0].item[0].item[0].required";
        assert_eq!(errors("inner", &optional), [format!("fhir.profile.pattern {place}")]);
    }

    fn validator() -> Option<Validator> {
        let core = support::core()?;
        let definitions = definitions();
        let mut resources: Vec<&[u8]> = definitions.iter().map(Vec::as_slice).collect();
        let schema = Schema::compile_with(&[&core], &resources).expect("schema");
        resources.reverse();
        let other = Schema::compile_with(&[&core], &resources).expect("schema");
        assert_eq!(schema.to_bytes(), other.to_bytes(), "the order of resources does not matter");
        let schema = Schema::from_bytes(&schema.to_bytes()).expect("cache");
        Some(Validator::new(Arc::new(schema)))
    }

    fn check(validator: &Validator, name: &str, resource: &Value) -> Report {
        let options = Options { profiles: vec![format!("{BASE}{name}")], ..Options::default() };
        validator.validate_bytes(resource.to_string().as_bytes(), &Limits::default(), &options)
    }

    fn found(report: &Report, severity: Severity) -> Vec<&str> {
        report.issues.iter().filter(|i| i.severity == severity).map(|i| &*i.message_id).collect()
    }

    fn component(code: &str, value: u32) -> Value {
        json!({"code": {"coding": [{"system": "http://example.org/s", "code": code, "display": "x"}]},
            "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}})
    }

    fn observation() -> Value {
        json!({"resourceType": "Observation", "status": "final",
            "code": {"coding": [{"system": "http://example.org/s", "code": "bp"}], "text": "pressure"},
            "note": [{"authorString": "me", "text": "calm"}],
            "component": [component("high", 120), component("low", 80)]})
    }

    #[test]
    fn what_conforms_passes() {
        let Some(v) = validator() else { return };
        for name in ["pressure", "derived"] {
            let report = check(&v, name, &observation());
            assert_eq!(found(&report, Severity::Error), Vec::<&str>::new());
        }
        // claimed in meta.profile: the same rules
        let mut claimed = observation();
        claimed["meta"] = json!({"profile": [format!("{BASE}pressure")]});
        claimed["status"] = json!("amended");
        let report =
            v.validate_bytes(claimed.to_string().as_bytes(), &Limits::default(), &Options::default());
        assert_eq!(found(&report, Severity::Error), ["fhir.profile.fixed"]);
        assert_eq!(report.unevaluated.profiles, 0);
    }

    #[test]
    fn every_damage_is_found() {
        let Some(v) = validator() else { return };
        let cases: &[(&str, &str, Value, &[&str])] = &[
            ("pressure", "/status", json!("amended"), &["fhir.profile.fixed"]),
            ("pressure", "/code", json!({"text": "bp"}), &["fhir.profile.pattern"]),
            ("pressure", "/valueString", json!("120/80"), &["fhir.profile.max"]),
            ("pressure", "/note", Value::Null, &["fhir.profile.min"]),
            (
                "pressure",
                "/note/0/authorString",
                Value::Null,
                &["http://example.org/StructureDefinition/pressure#n-1"],
            ),
            ("pressure", "/component", json!([component("low", 80)]), &["fhir.slice.min"]),
            ("derived", "/component", json!([component("high", 80)]), &["fhir.slice.min"]),
            (
                "pressure",
                "/component",
                json!([component("high", 120), component("high", 121)]),
                &["fhir.slice.max"],
            ),
            (
                "pressure",
                "/component",
                json!([component("low", 80), component("high", 120)]),
                &["fhir.slice.order"],
            ),
            (
                "pressure",
                "/component",
                json!([component("high", 120), component("mean", 90)]),
                &["fhir.slice.closed"],
            ),
            ("pressure", "/component/0", component("high", 9), &["fhir.profile.min-value"]),
        ];
        for (name, pointer, value, wanted) in cases {
            let mut damaged = observation();
            let (above, key) = pointer.rsplit_once('/').expect("pointer");
            let target = damaged.pointer_mut(above).expect("target");
            match (target, value) {
                (Value::Object(map), Value::Null) => drop(map.remove(key)),
                (Value::Object(map), value) => drop(map.insert(key.to_owned(), value.clone())),
                (Value::Array(list), value) => list[key.parse::<usize>().expect("index")] = value.clone(),
                _ => unreachable!("{pointer}"),
            }
            let report = check(&v, name, &damaged);
            assert_eq!(found(&report, Severity::Error), *wanted, "{pointer} {value}");
        }
    }

    #[test]
    fn an_extensible_binding_only_warns() {
        let Some(v) = validator() else { return };
        let mut resource = observation();
        resource["method"] = json!({"coding": [{"system": "http://example.org/s", "code": "cuff"}]});
        let report = check(&v, "pressure", &resource);
        assert!(report.is_valid());
        assert_eq!(found(&report, Severity::Warning), ["fhir.binding.extensible"]);
    }

    #[test]
    fn circles_end() {
        let Some(v) = validator() else { return };
        let patient = json!({"resourceType": "Patient"});
        assert!(found(&check(&v, "circle-a", &patient), Severity::Error).contains(&"fhir.profile.min"));
        // two contained patients that refer to each other, each against the profile
        let patient = |name: &Value| {
            json!({"resourceType": "Patient", "name": [{"family": "A"}],
            "link": [{"other": {"reference": "#b"}, "type": "seealso"}],
            "contained": [
                {"resourceType": "Patient", "id": "b", "name": name,
                    "link": [{"other": {"reference": "#c"}, "type": "seealso"}]},
                {"resourceType": "Patient", "id": "c", "name": [{"family": "C"}],
                    "link": [{"other": {"reference": "#b"}, "type": "seealso"}]}
            ]})
        };
        let good = check(&v, "friend", &patient(&json!([{"family": "B"}])));
        assert_eq!(found(&good, Severity::Error), Vec::<&str>::new());
        let mut bad = patient(&json!([]));
        bad["contained"][0].as_object_mut().expect("object").remove("name");
        assert_eq!(found(&check(&v, "friend", &bad), Severity::Error), ["fhir.profile.target"]);
    }

    #[test]
    fn what_is_asked_for_must_be_known() {
        let Some(v) = validator() else { return };
        assert_eq!(found(&check(&v, "nowhere", &observation()), Severity::Error), ["fhir.profile.unknown"]);
        let other = check(&v, "friend", &observation());
        assert_eq!(found(&other, Severity::Error), ["fhir.profile.type"]);
        // a claim that no package defines is counted, and is no error
        let claimed = json!({"resourceType": "Patient", "meta": {"profile": [format!("{BASE}nowhere")]}});
        let report =
            v.validate_bytes(claimed.to_string().as_bytes(), &Limits::default(), &Options::default());
        assert!(report.is_valid());
        assert_eq!(report.unevaluated.profiles, 1);
        let asked = Options { profiles: vec![format!("{BASE}friend")], ..Options::default() };
        assert_ne!(v.basis(&asked), v.basis(&Options::default()));
    }
}
