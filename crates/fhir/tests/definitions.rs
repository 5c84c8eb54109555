//! Definitions as documents, and codes against them: each rule kept and broken.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod definitions {
    use std::sync::{Arc, OnceLock};

    use super::support;
    use consilium_fhir::{Limits, Options, Report, Schema, Severity, Validator};
    use serde_json::{Value, json};

    const S: &str = "http://example.org/CodeSystem/s";

    fn library(definition: &str) -> Value {
        let elm = json!({"library": {"statements": {"def": [{"name": definition}]}}}).to_string();
        json!({"resourceType": "Library", "url": "http://example.org/Library/l", "name": "L", "status": "active",
            "type": {"text": "logic"}, "content": [{"contentType": "application/elm+json", "data": base64(&elm)}]})
    }

    fn base64(text: &str) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in text.as_bytes().chunks(3) {
            let word = (0..3).fold(0u32, |w, i| (w << 8) | u32::from(chunk.get(i).copied().unwrap_or(0)));
            for i in 0..4 {
                let symbol = ALPHABET[(word >> (18 - 6 * i) & 63) as usize];
                out.push(if i > chunk.len() { '=' } else { char::from(symbol) });
            }
        }
        out
    }

    fn population(code: &str) -> Value {
        json!({"coding": [{"system": "http://example.org/p", "code": code}]})
    }

    fn measure(scoring: &str, groups: &Value) -> Value {
        json!({"resourceType": "Measure", "url": format!("http://example.org/Measure/{scoring}"), "status": "active",
            "scoring": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/measure-scoring", "code": scoring}]},
            "group": groups})
    }

    /// The core package, and a few definitions beside it.
    fn validator() -> Option<Validator> {
        static KNOWN: OnceLock<Option<Validator>> = OnceLock::new();
        let build = || {
            let core = support::core()?;
            let group =
                json!([{"population": [{"code": population("ip"), "criteria": {"language": "text/cql"}}]}]);
            let two = json!([{"code": population("g1")}, {"code": population("g2")}]);
            let own = [
                json!({"resourceType": "CodeSystem", "url": S, "version": "1", "status": "active",
                    "content": "complete", "caseSensitive": true,
                    "property": [{"code": "size", "type": "integer"}, {"code": "flag", "type": "boolean"},
                        {"code": "like", "type": "Coding"}],
                    "filter": [{"code": "named", "operator": ["="], "value": "name"}],
                    "concept": [{"code": "a", "display": "Letter A",
                        "designation": [{"value": "First letter"}]}, {"code": "b", "concept": [{"code": "B"}]}]}),
                json!({"resourceType": "CodeSystem", "url": "http://example.org/CodeSystem/more", "status": "active",
                    "content": "supplement", "supplements": S, "concept": [{"code": "a"}]}),
                json!({"resourceType": "ValueSet", "url": "http://example.org/ValueSet/only-a", "status": "active",
                    "compose": {"include": [{"system": S, "concept": [{"code": "a"}]}]}}),
                measure("proportion", &group),
                measure("cohort", &group),
                measure("ratio", &two),
                library("Initial Population"),
            ];
            let bytes: Vec<Vec<u8>> = own.iter().map(|r| r.to_string().into_bytes()).collect();
            let resources: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let schema = Schema::compile_with(&[&core], &resources).expect("compiles");
            // What is kept survives the cache.
            let schema = Schema::from_bytes(&schema.to_bytes()).expect("cache");
            Some(Validator::new(Arc::new(schema)))
        };
        KNOWN.get_or_init(build).clone()
    }

    fn report(v: &Validator, document: &Value) -> Report {
        v.validate_bytes(document.to_string().as_bytes(), &Limits::default(), &Options::default())
    }

    /// The errors are these: message id and expression.
    fn check(v: &Validator, document: &Value, wanted: &[(&str, &str)]) {
        let report = report(v, document);
        let found: Vec<_> = report
            .issues
            .iter()
            .filter(|i| i.is_error())
            .map(|i| (i.message_id.as_ref(), i.expression.as_str()))
            .collect();
        assert_eq!(found, wanted, "{document}\n{:#?}", report.issues);
    }

    fn warns(v: &Validator, document: &Value, id: &str) {
        let report = report(v, document);
        assert!(report.is_valid(), "{:#?}", report.issues);
        let warned = report.issues.iter().any(|i| i.severity == Severity::Warning && i.message_id == id);
        assert!(warned, "{id} {:#?}", report.issues);
    }

    #[test]
    fn codings_against_the_systems_of_the_packages() {
        let Some(v) = validator() else { return };
        let coded = |coding: &Value| json!({"resourceType": "Observation", "status": "final", "code": {"coding": [coding]}});
        let at = "Observation.code.coding[0]";
        check(&v, &coded(&json!({"system": S, "code": "a", "display": "letter  a"})), &[]);
        check(&v, &coded(&json!({"system": S, "code": "a", "display": "First letter"})), &[]);
        check(&v, &coded(&json!({"system": S, "version": "1", "code": "B"})), &[]);
        check(&v, &coded(&json!({"system": S, "code": "c"})), &[("fhir.coding.code", &format!("{at}.code"))]);
        // the case of letters counts here
        check(&v, &coded(&json!({"system": S, "code": "A"})), &[("fhir.coding.code", &format!("{at}.code"))]);
        let display = json!({"system": S, "code": "a", "display": "Letter B"});
        check(&v, &coded(&display), &[("fhir.coding.display", &format!("{at}.display"))]);
        let mut german = coded(&display);
        german["language"] = json!("de");
        check(&v, &german, &[]);
        let more = json!({"system": "http://example.org/CodeSystem/more", "code": "a"});
        check(&v, &coded(&more), &[("fhir.coding.supplement", &format!("{at}.system"))]);
        // another version is not held, nor another system
        for coding in [
            json!({"system": S, "version": "2", "code": "c"}),
            json!({"system": "http://example.org/x", "code": "c"}),
        ] {
            check(&v, &coded(&coding), &[]);
        }
        // a system that goes on growing
        let growing =
            json!({"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "no-such"});
        warns(&v, &coded(&growing), "fhir.coding.code");
        warns(
            &v,
            &coded(&json!({"system": "http://snomed.info/sct", "code": "22298007"})),
            "fhir.coding.snomed",
        );
    }

    #[test]
    fn code_systems() {
        let Some(v) = validator() else { return };
        let system = |change: &Value| {
            let mut out = json!({"resourceType": "CodeSystem", "url": "http://example.org/CodeSystem/t",
                "status": "active", "content": "complete", "count": 2,
                "property": [{"code": "size", "type": "integer"}],
                "concept": [{"code": "x", "property": [{"code": "size", "valueInteger": 1}], "concept": [{"code": "y"}]}]});
            for (key, value) in change.as_object().expect("object") {
                out[key] = value.clone();
            }
            out
        };
        check(&v, &system(&json!({})), &[]);
        check(&v, &system(&json!({"count": 3})), &[("fhir.code-system.count", "CodeSystem.count")]);
        check(&v, &system(&json!({"content": "fragment", "count": 3})), &[]);
        check(
            &v,
            &system(&json!({"content": "not-present"})),
            &[("fhir.code-system.not-present", "CodeSystem.concept[0]")],
        );
        check(
            &v,
            &system(&json!({"content": "supplement"})),
            &[("fhir.code-system.supplement", "CodeSystem.content")],
        );
        let strange = json!({"content": "supplement", "supplements": S});
        check(
            &v,
            &system(&strange),
            &[
                ("fhir.code-system.supplement.code", "CodeSystem.concept[0]"),
                ("fhir.code-system.supplement.code", "CodeSystem.concept[0].concept[0]"),
            ],
        );
        let typed = json!({"count": 1, "concept": [{"code": "x", "property": [{"code": "size", "valueString": "1"}]}]});
        check(
            &v,
            &system(&typed),
            &[("fhir.code-system.property.type", "CodeSystem.concept[0].property[0]")],
        );
        let unknown = json!({"count": 1, "concept": [{"code": "x", "property": [{"code": "age", "valueString": "1"}]}]});
        warns(&v, &system(&unknown), "fhir.code-system.property");
        let identifier =
            |value: &str| json!({"identifier": [{"system": "urn:ietf:rfc:3986", "value": value}]});
        check(&v, &system(&identifier("urn:oid:1.2.3")), &[]);
        check(&v, &system(&identifier("1.2.3")), &[("fhir.identifier.uri", "CodeSystem.identifier[0]")]);
    }

    #[test]
    fn value_sets() {
        let Some(v) = validator() else { return };
        let set = |include: &Value| json!({"resourceType": "ValueSet", "status": "active", "compose": {"include": [include]}});
        let at = "ValueSet.compose.include[0]";
        let filter = |property: &str, op: &str, value: &str| {
            set(&json!({"system": S, "filter": [{"property": property, "op": op, "value": value}]}))
        };
        check(&v, &set(&json!({"system": S, "concept": [{"code": "a"}]})), &[]);
        check(
            &v,
            &set(&json!({"system": S, "concept": [{"code": "z"}]})),
            &[("fhir.value-set.concept", &format!("{at}.concept[0]"))],
        );
        check(&v, &set(&json!({"system": "#x"})), &[("fhir.value-set.system", at)]);
        check(&v, &set(&json!({"system": format!("{S}|1")})), &[("fhir.value-set.version", at)]);
        check(
            &v,
            &set(&json!({"system": "http://example.org/ValueSet/only-a"})),
            &[("fhir.value-set.system", at)],
        );
        check(
            &v,
            &set(&json!({"system": "http://example.org/CodeSystem/more"})),
            &[("fhir.value-set.system", at)],
        );
        let snomed =
            |code: &str| set(&json!({"system": "http://snomed.info/sct", "concept": [{"code": code}]}));
        check(&v, &snomed("22298006"), &[]);
        check(&v, &snomed("1"), &[("fhir.value-set.concept", &format!("{at}.concept[0]"))]);
        for (property, op, value) in [
            ("concept", "is-a", "a"),
            ("size", "=", "lt2"),
            ("flag", "=", "true"),
            ("flag", "exists", "false"),
            ("like", "=", &format!("{S}#a")),
            ("named", "=", "anything"),
            ("size", "in", "1,2"),
            ("notSelectable", "=", "true"),
        ] {
            check(&v, &filter(property, op, value), &[]);
        }
        for (property, op, value) in [
            ("concept", "is-a", "z"),
            ("size", "=", "two"),
            ("flag", "=", "1"),
            ("flag", "exists", "yes"),
            ("like", "=", &format!("{S}#z")),
            ("size", "in", "1,two"),
            ("notSelectable", "=", "1"),
        ] {
            check(&v, &filter(property, op, value), &[("fhir.value-set.filter", &format!("{at}.filter[0]"))]);
        }
        warns(&v, &filter("colour", "=", "red"), "fhir.value-set.filter");
    }

    #[test]
    fn concept_maps() {
        let Some(v) = validator() else { return };
        let map = |code: &str, to: &str| {
            json!({"resourceType": "ConceptMap", "status": "active",
                "sourceCanonical": "http://example.org/ValueSet/only-a",
                "targetCanonical": "http://example.org/ValueSet/only-a",
                "group": [{"source": S, "target": S, "element": [{"code": code,
                    "target": [{"code": to, "equivalence": "equivalent"}]}]}]})
        };
        let at = "ConceptMap.group[0].element[0]";
        check(&v, &map("a", "a"), &[]);
        check(&v, &map("b", "a"), &[("fhir.concept-map.value-set", &format!("{at}.code"))]);
        check(&v, &map("z", "a"), &[("fhir.concept-map.code", &format!("{at}.code"))]);
        check(&v, &map("a", "z"), &[("fhir.concept-map.code", &format!("{at}.target[0].code"))]);
        warns(&v, &map("a", "b"), "fhir.concept-map.value-set");
    }

    #[test]
    fn search_parameters() {
        let Some(v) = validator() else { return };
        let parameter = |ty: &str, base: &str, expression: &str, from: Option<&str>| {
            let mut out = json!({"resourceType": "SearchParameter", "url": "http://example.org/SearchParameter/p",
                "name": "p", "status": "active", "description": "p", "code": "p", "base": [base], "type": ty,
                "expression": expression, "xpathUsage": "normal", "xpath": "f:p"});
            if let Some(from) = from {
                out["derivedFrom"] = json!(format!("http://hl7.org/fhir/SearchParameter/{from}"));
            }
            out
        };
        check(&v, &parameter("string", "Organization", "Organization.name", Some("Organization-name")), &[]);
        check(
            &v,
            &parameter("token", "Organization", "Organization.name", Some("Organization-name")),
            &[("fhir.search-parameter.derived-type", "SearchParameter")],
        );
        check(
            &v,
            &parameter("string", "Patient", "Patient.name", Some("Organization-name")),
            &[("fhir.search-parameter.derived-base", "SearchParameter")],
        );
        check(
            &v,
            &parameter("string", "Patient", "Patient.name | Group.name", None),
            &[("fhir.search-parameter.base", "SearchParameter.expression")],
        );
        check(
            &v,
            &parameter("string", "Patient", "Patient.name.where(", None),
            &[("fhir.search-parameter.expression", "SearchParameter.expression")],
        );
        check(
            &v,
            &parameter("composite", "Patient", "Patient", None),
            &[("fhir.search-parameter.composite", "SearchParameter")],
        );
    }

    #[test]
    fn measures_and_their_reports() {
        let Some(v) = validator() else { return };
        let report = |measure: &str, ty: &str, groups: &Value| {
            json!({"resourceType": "MeasureReport", "status": "complete", "type": ty,
                "measure": format!("http://example.org/Measure/{measure}"), "period": {"start": "2020"}, "group": groups})
        };
        let ip = json!({"code": population("ip"), "count": 1});
        let group =
            |populations: &Value, score: &Value| json!([{"population": populations, "measureScore": score}]);
        let at = "MeasureReport.group[0]";
        let half = json!({"value": 0.5});
        check(&v, &report("proportion", "summary", &group(&json!([ip]), &half)), &[]);
        check(
            &v,
            &report("proportion", "summary", &group(&json!([ip]), &json!({"value": 2}))),
            &[("fhir.measure-report.score", &format!("{at}.measureScore.value"))],
        );
        check(
            &v,
            &report("proportion", "summary", &group(&json!([ip]), &json!({"value": 0.5, "unit": "%"}))),
            &[("fhir.measure-report.score", &format!("{at}.measureScore.unit"))],
        );
        check(
            &v,
            &report("proportion", "summary", &json!([{"population": [ip]}])),
            &[("fhir.measure-report.score", at)],
        );
        check(&v, &report("cohort", "summary", &json!([{"population": [ip]}])), &[]);
        check(
            &v,
            &report("cohort", "summary", &group(&json!([ip]), &half)),
            &[("fhir.measure-report.score", &format!("{at}.measureScore"))],
        );
        let other = json!({"code": population("x"), "count": 1});
        check(
            &v,
            &report("cohort", "summary", &json!([{"population": [ip, other]}])),
            &[("fhir.measure-report.population", &format!("{at}.population[1]"))],
        );
        check(
            &v,
            &report("cohort", "summary", &json!([{"population": [ip, ip]}])),
            &[("fhir.measure-report.population", &format!("{at}.population[1]"))],
        );
        check(
            &v,
            &report("cohort", "summary", &json!([{"code": {"text": "g"}}])),
            &[("fhir.measure-report.population.missing", at)],
        );
        let listed = json!({"code": population("ip"), "count": 1, "subjectResults": {"reference": "List/1"}});
        check(
            &v,
            &report("cohort", "summary", &json!([{"population": [listed]}])),
            &[("fhir.measure-report.subjects", &format!("{at}.population[0]"))],
        );
        check(&v, &report("cohort", "subject-list", &json!([{"population": [listed]}])), &[]);
        let coded = |code: &str| json!({"code": population(code), "measureScore": {"value": 1}});
        check(&v, &report("ratio", "summary", &json!([coded("g1"), coded("g2")])), &[]);
        check(
            &v,
            &report("ratio", "summary", &json!([coded("g1")])),
            &[("fhir.measure-report.group.missing", "MeasureReport")],
        );
        check(
            &v,
            &report("ratio", "summary", &json!([coded("g1"), coded("g1"), coded("g2")])),
            &[("fhir.measure-report.group", "MeasureReport.group[1]")],
        );

        let measure = |expression: &str| {
            json!({"resourceType": "Measure", "status": "active", "library": ["http://example.org/Library/l"],
                "group": [{"stratifier": [{"criteria": {"language": "text/cql.identifier", "expression": expression}}]}]})
        };
        let at = "Measure.group[0].stratifier[0].criteria";
        check(&v, &measure("Initial Population"), &[]);
        check(&v, &measure("L.\"Initial Population\""), &[]);
        check(&v, &measure("L.Other"), &[("fhir.measure.criteria.definition", at)]);
        check(&v, &measure("M.Other"), &[("fhir.measure.criteria.library", at)]);
    }

    #[test]
    fn profiles_as_documents() {
        let Some(v) = validator() else { return };
        let profile = |element: &Value| {
            let mut element = element.clone();
            element["id"] = json!("Observation.x");
            json!({"resourceType": "StructureDefinition", "url": "http://example.org/StructureDefinition/o",
                "name": "O", "status": "draft", "kind": "resource", "abstract": false, "type": "Observation",
                "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation", "derivation": "constraint",
                "differential": {"element": [element]}})
        };
        let at = "StructureDefinition.differential.element[0]";
        let core = |name: &str| format!("http://hl7.org/fhir/StructureDefinition/{name}");
        let cases = [
            (json!({"path": "Observation.valueQuantity.code", "min": 1}), None),
            (json!({"path": "Observation.value[x]", "type": [{"code": "Quantity"}]}), None),
            (json!({"path": "Observation.code.coding.system", "fixedUri": "http://loinc.org"}), None),
            (json!({"path": "Observation.component", "sliceName": "a", "min": 0, "max": "1"}), None),
            (
                json!({"path": "Observation.subject", "type": [{"code": "Reference", "targetProfile": [core("Patient")]}]}),
                None,
            ),
            (json!({"path": "Observation.valueBla"}), Some(("fhir.definition.path", ""))),
            (json!({"path": "Observation.status", "max": "2"}), Some(("fhir.definition.cardinality", ""))),
            (json!({"path": "Observation.status", "min": 0}), Some(("fhir.definition.cardinality", ""))),
            (
                json!({"path": "Observation.status", "type": [{"code": "Period"}]}),
                Some(("fhir.definition.type", ".type[0].code")),
            ),
            (
                json!({"path": "Observation.value[x]", "type": [{"code": "Quantity", "profile": [core("Count")]}]}),
                Some(("fhir.definition.type.profile", ".type[0].profile[0]")),
            ),
            (
                json!({"path": "Observation.subject", "type": [{"code": "Reference", "targetProfile": [core("Account")]}]}),
                Some(("fhir.definition.type.target", ".type[0].targetProfile[0]")),
            ),
            (
                json!({"path": "Observation.status", "fixedString": "final"}),
                Some(("fhir.definition.value", ".fixed.ofType(string)")),
            ),
            (
                json!({"path": "Observation.status", "constraint": [{"key": "a", "severity": "error", "human": "a", "expression": "a.("}]}),
                Some(("fhir.definition.expression", ".constraint[0].expression")),
            ),
        ];
        for (element, wanted) in cases {
            let wanted: Vec<(&str, String)> =
                wanted.iter().map(|(id, below)| (*id, format!("{at}{below}"))).collect();
            let wanted: Vec<(&str, &str)> = wanted.iter().map(|(id, place)| (*id, place.as_str())).collect();
            check(&v, &profile(&element), &wanted);
        }
    }
}
