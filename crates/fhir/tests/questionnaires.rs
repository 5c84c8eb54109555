//! Answers against their questionnaire: each rule kept and broken, conditions, projections of work.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod questionnaires {
    use std::time::Instant;

    use super::support;
    use consilium_fhir::{Limits, Options, Report, Severity, Validator};
    use serde_json::{Value, json};

    /// A response that contains its questionnaire.
    fn response(form: &Value, status: &str, items: &Value) -> Value {
        json!({
            "resourceType": "QuestionnaireResponse",
            "contained": [{
                "resourceType": "Questionnaire", "id": "q", "status": "active", "item": form,
            }],
            "questionnaire": "#q", "status": status, "item": items,
        })
    }

    fn report(validator: &Validator, document: &Value) -> Report {
        let bytes = document.to_string().into_bytes();
        validator.validate_bytes(&bytes, &Limits::default(), &Options::default())
    }

    /// Message id and expression of each error.
    fn errors(report: &Report) -> Vec<(String, String)> {
        let errors = report.issues.iter().filter(|i| i.is_error());
        errors.map(|i| (i.message_id.to_string(), i.expression.clone())).collect()
    }

    fn check(validator: &Validator, form: &Value, items: &Value, wanted: &[(&str, &str)]) {
        let report = report(validator, &response(form, "completed", items));
        let prefix = "QuestionnaireResponse";
        let wanted: Vec<_> =
            wanted.iter().map(|(id, at)| ((*id).to_owned(), format!("{prefix}{at}"))).collect();
        assert_eq!(errors(&report), wanted, "{form} {items}\n{:#?}", report.issues);
    }

    fn extension(name: &str, key: &str, value: Value) -> Value {
        let mut out = json!({"url": format!("http://hl7.org/fhir/StructureDefinition/{name}")});
        out[key] = value;
        out
    }

    const P: &str = "fhir.questionnaire-response.";

    fn entry(resource: &Value) -> Value {
        json!({"resource": resource})
    }

    /// The questionnaire is another entry of the bundle, found by url and version.
    #[test]
    fn the_bundle_is_asked_before_the_packages() {
        let Some(v) = support::validator() else { return };
        let url = "http://a.example/Questionnaire/q";
        let form = |version: &str, kind: &str| {
            json!({"resourceType": "Questionnaire", "url": url, "version": version, "status": "active",
                "item": [{"linkId": "a", "type": kind}]})
        };
        let answers = |canonical: &str| {
            json!({"resourceType": "QuestionnaireResponse", "questionnaire": canonical, "status": "completed",
                "item": [{"linkId": "a", "answer": [{"valueInteger": 1}]}]})
        };
        let bundle = |entries: Vec<Value>| {
            json!({"resourceType": "Bundle", "type": "collection",
                "entry": entries.iter().map(entry).collect::<Vec<_>>()})
        };
        let parameters = |resources: Vec<Value>| {
            let named = |r: &Value| json!({"name": "x", "resource": r});
            json!({"resourceType": "Parameters", "parameter": resources.iter().map(named).collect::<Vec<_>>()})
        };
        let both = || vec![form("1", "string"), form("2", "integer")];
        let of = |document: &Value| {
            let report = report(&v, document);
            let ids = report.issues.iter().map(|i| i.message_id.to_string()).collect::<Vec<_>>();
            (ids, report.unevaluated.profiles)
        };
        let wrong = (vec![format!("{P}type")], 0);
        let sound = (Vec::new(), 0);
        let with = |canonical: &str| {
            let mut all = both();
            all.push(answers(canonical));
            all
        };
        assert_eq!(of(&bundle(with(&format!("{url}|1")))), wrong);
        assert_eq!(of(&bundle(with(&format!("{url}|2")))), sound);
        assert_eq!(of(&bundle(with(url))), sound, "the last version");
        assert_eq!(of(&parameters(with(&format!("{url}|1")))), wrong);
        let (ids, unchecked) = of(&bundle(with(&format!("{url}|3"))));
        assert!(ids.contains(&format!("{P}unresolved")), "{ids:?}");
        assert_eq!(unchecked, 1);
        // A bundle inside of a bundle sees the outer one's entries, not the other way round.
        let inner = bundle(vec![answers(&format!("{url}|1"))]);
        assert_eq!(of(&bundle(vec![form("1", "string"), inner])), wrong);
        let outside = bundle(vec![bundle(vec![form("1", "string")]), answers(&format!("{url}|1"))]);
        assert_eq!(of(&outside).1, 1);
    }

    #[test]
    fn required_repeating_and_unknown_items() {
        let Some(v) = support::validator() else { return };
        let form = json!([
            {"linkId": "g", "type": "group", "repeats": true, "item": [
                {"linkId": "a", "type": "string", "required": true},
                {"linkId": "b", "type": "string", "text": "Which?"}]},
            {"linkId": "d", "type": "display"},
            {"linkId": "n", "type": "integer", "item": [{"linkId": "m", "type": "string", "required": true}]}
        ]);
        let a = json!({"linkId": "a", "answer": [{"valueString": "x"}]});
        let id = |name: &str| format!("{P}{name}");
        check(&v, &form, &json!([{"linkId": "g", "item": [a]}, {"linkId": "g", "item": [a]}]), &[]);
        // missing, at the group; empty, at the item
        let b = json!({"linkId": "b", "text": "Which?", "answer": [{"valueString": "x"}]});
        check(&v, &form, &json!([{"linkId": "g", "item": [b]}]), &[(&id("required"), ".item[0]")]);
        check(
            &v,
            &form,
            &json!([{"linkId": "g", "item": [{"linkId": "a"}, b]}]),
            &[(&id("required"), ".item[0].item[0]")],
        );
        let twice = json!({"linkId": "a", "answer": [{"valueString": "x"}, {"valueString": "y"}]});
        check(&v, &form, &json!([{"linkId": "g", "item": [twice]}]), &[(&id("answers"), ".item[0].item[0]")]);
        check(&v, &form, &json!([{"linkId": "g", "item": [a, a]}]), &[(&id("repeats"), ".item[0]")]);
        check(&v, &form, &json!([{"linkId": "g", "item": [b, a]}]), &[(&id("order"), ".item[0]")]);
        check(&v, &form, &json!([{"linkId": "g", "item": [a]}, {"linkId": "z"}]), &[(&id("link-id"), "")]);
        check(&v, &form, &json!([{"linkId": "g", "item": [a]}, b]), &[(&id("misplaced"), "")]);
        let other = json!({"linkId": "b", "text": "What?", "answer": [{"valueString": "x"}]});
        check(&v, &form, &json!([{"linkId": "g", "item": [a, other]}]), &[(&id("text"), ".item[0].item[1]")]);
        // items stand below answers of questions, and below groups
        let under = json!({"linkId": "n", "item": [{"linkId": "m", "answer": [{"valueString": "x"}]}]});
        check(&v, &form, &json!([under]), &[(&id("items"), ".item[0]")]);
        let asked = json!({"linkId": "n", "answer": [{"valueInteger": 1}]});
        check(&v, &form, &json!([asked]), &[(&id("required"), ".item[0]")]);
        let display = json!({"linkId": "d", "item": [{"linkId": "m", "answer": [{"valueString": "x"}]}]});
        check(&v, &form, &json!([display]), &[(&id("items"), ".item[0]")]);
        let group = json!({"linkId": "g", "item": [a], "answer": [{"valueString": "x"}]});
        let found = errors(&report(&v, &response(&form, "completed", &json!([group]))));
        assert!(found.iter().any(|(i, at)| *i == id("no-question") && at == "QuestionnaireResponse.item[0]"));
    }

    #[test]
    fn what_is_missing_may_come_while_it_is_in_progress() {
        let Some(v) = support::validator() else { return };
        let form = json!([
            {"linkId": "a", "type": "string", "required": true},
            {"linkId": "b", "type": "string"}
        ]);
        let b = json!([{"linkId": "b", "answer": [{"valueString": "x"}]}]);
        for (status, valid) in
            [("in-progress", true), ("completed", false), ("amended", false), ("entered-in-error", false)]
        {
            let report = report(&v, &response(&form, status, &b));
            assert_eq!(report.is_valid(), valid, "{status}");
            let warned = report.issues.iter().any(|i| {
                i.severity == Severity::Warning && i.message_id == "fhir.questionnaire-response.required"
            });
            assert_eq!(warned, valid, "{status}");
        }
    }

    #[test]
    fn answers_have_the_type_of_their_question() {
        let Some(v) = support::validator() else { return };
        let values = [
            ("boolean", "valueBoolean", json!(true)),
            ("decimal", "valueDecimal", json!(1.5)),
            ("integer", "valueInteger", json!(1)),
            ("date", "valueDate", json!("2020-01-01")),
            ("dateTime", "valueDateTime", json!("2020-01-01")),
            ("time", "valueTime", json!("10:00:00")),
            ("string", "valueString", json!("x")),
            ("text", "valueString", json!("x")),
            ("url", "valueUri", json!("http://a.org")),
            ("choice", "valueCoding", json!({"code": "x"})),
            ("open-choice", "valueCoding", json!({"code": "x"})),
            ("attachment", "valueAttachment", json!({"url": "http://a.org"})),
            ("reference", "valueReference", json!({"reference": "Patient/1"})),
            ("quantity", "valueQuantity", json!({"value": 1})),
        ];
        for (ty, own, _) in &values {
            for (_, key, value) in &values {
                let mut answer = json!({});
                answer[*key] = value.clone();
                let form = json!([{"linkId": "a", "type": ty}]);
                let items = json!([{"linkId": "a", "answer": [answer]}]);
                let found = errors(&report(&v, &response(&form, "completed", &items)));
                let choice = ["choice", "open-choice"].contains(ty)
                    && ["valueDate", "valueTime", "valueInteger", "valueString", "valueReference"]
                        .contains(key);
                let fits = key == own || choice;
                assert_eq!(found.is_empty(), fits, "{ty} {key} {found:?}");
                if !fits {
                    assert_eq!(found[0].0, format!("{P}type"));
                    assert!(found[0].1.contains(".answer[0].value.ofType("), "{found:?}");
                }
            }
        }
    }

    #[test]
    fn options_bind_and_open_choices_take_text() {
        let Some(v) = support::validator() else { return };
        let red = json!({"system": "http://example.org/c", "code": "red", "display": "Red"});
        let options = json!([{"valueCoding": red}, {"extension":
            [extension("questionnaire-optionExclusive", "valueBoolean", json!(true))],
            "valueCoding": {"system": "http://example.org/c", "code": "none"}}]);
        let choice = json!([{"linkId": "a", "type": "choice", "repeats": true, "answerOption": options}]);
        let open = json!([{"linkId": "a", "type": "open-choice", "repeats": true, "answerOption": options}]);
        let items = |answers: Value| json!([{"linkId": "a", "answer": answers}]);
        let option = format!("{P}option");
        check(&v, &choice, &items(json!([{"valueCoding": red}])), &[]);
        let blue = json!([{"valueCoding": {"system": "http://example.org/c", "code": "blue"}}]);
        check(&v, &choice, &items(blue.clone()), &[(&option, ".item[0].answer[0]")]);
        check(&v, &open, &items(blue), &[(&option, ".item[0].answer[0]")]);
        let text = json!([{"valueString": "blue"}]);
        check(&v, &choice, &items(text.clone()), &[(&option, ".item[0].answer[0]")]);
        check(&v, &open, &items(text), &[]);
        let both = json!([{"valueCoding": red},
            {"valueCoding": {"system": "http://example.org/c", "code": "none"}}]);
        check(&v, &choice, &items(both), &[(&format!("{P}exclusive"), ".item[0].answer[1]")]);
        // the text of an option instead of its code
        let report = report(&v, &response(&open, "completed", &items(json!([{"valueString": "Red"}]))));
        assert!(report.is_valid());
        assert!(report.issues.iter().any(|i| i.message_id == format!("{P}text-of-option")));
        // other types
        let dates = json!([{"linkId": "a", "type": "date", "answerOption": [{"valueDate": "2020-01-01"}]}]);
        check(&v, &dates, &items(json!([{"valueDate": "2020-01-01"}])), &[]);
        let value = ".item[0].answer[0].value.ofType(date)";
        check(&v, &dates, &items(json!([{"valueDate": "2020-01-02"}])), &[(&option, value)]);
    }

    #[test]
    fn value_sets_of_the_packages_bind() {
        let Some(v) = support::validator() else { return };
        let form = json!([{"linkId": "a", "type": "choice",
            "answerValueSet": "http://hl7.org/fhir/ValueSet/administrative-gender"}]);
        let items = |system: &str, code: &str| json!([{"linkId": "a", "answer": [{"valueCoding": {"system": system, "code": code}}]}]);
        let gender = "http://hl7.org/fhir/administrative-gender";
        check(&v, &form, &items(gender, "female"), &[]);
        let found = errors(&report(&v, &response(&form, "completed", &items(gender, "feminine"))));
        assert!(found.iter().any(|(id, _)| *id == format!("{P}option")), "{found:?}");
        // one that nobody here knows is not judged
        let form = json!([{"linkId": "a", "type": "choice", "answerValueSet": "http://example.org/none"}]);
        let report = report(&v, &response(&form, "completed", &items(gender, "female")));
        assert!(report.is_valid());
        assert_eq!(report.unevaluated.terminology, 1);
    }

    #[test]
    fn conditions_enable_and_disable() {
        let Some(v) = support::validator() else { return };
        let form = |operator: &str, key: &str, value: Value, behavior: &str| {
            let mut condition = json!({"question": "n", "operator": operator});
            condition[key] = value;
            let other = json!({"question": "s", "operator": "exists", "answerBoolean": true});
            json!([
                {"linkId": "n", "type": "integer", "repeats": true},
                {"linkId": "s", "type": "string"},
                {"linkId": "x", "type": "string", "required": true, "enableBehavior": behavior,
                 "enableWhen": [condition, other]}
            ])
        };
        let x = json!({"linkId": "x", "answer": [{"valueString": "x"}]});
        let s = json!({"linkId": "s", "answer": [{"valueString": "s"}]});
        let n = |value: i64| json!({"linkId": "n", "answer": [{"valueInteger": value}]});
        let cases = [
            ("=", 3, 3, true),
            ("=", 3, 4, false),
            ("!=", 3, 4, true),
            ("!=", 3, 3, false),
            (">", 3, 4, true),
            (">", 3, 3, false),
            (">=", 3, 3, true),
            ("<", 3, 2, true),
            ("<=", 3, 4, false),
        ];
        let not_enabled = format!("{P}not-enabled");
        let required = format!("{P}required");
        for (operator, wanted, given, enabled) in cases {
            let all = form(operator, "answerInteger", json!(wanted), "all");
            let place: &[(&str, &str)] = &[(&not_enabled, ".item[2]")];
            check(&v, &all, &json!([n(given), s, x]), if enabled { &[] } else { place });
            let missing: &[(&str, &str)] = &[(&required, "")];
            check(&v, &all, &json!([n(given), s]), if enabled { missing } else { &[] });
            // any: the other condition is enough
            let any = form(operator, "answerInteger", json!(wanted), "any");
            check(&v, &any, &json!([n(given), s, x]), &[]);
        }
        let absent = form("exists", "answerBoolean", json!(false), "all");
        check(&v, &absent, &json!([s, x]), &[]);
        check(&v, &absent, &json!([n(1), s, x]), &[(&not_enabled, ".item[2]")]);
    }

    #[test]
    fn the_question_meant_is_the_nearest() {
        let Some(v) = support::validator() else { return };
        let form = json!([{"linkId": "g", "type": "group", "repeats": true, "item": [
            {"linkId": "b", "type": "boolean"},
            {"linkId": "x", "type": "string", "enableWhen":
                [{"question": "b", "operator": "=", "answerBoolean": true}]}]}]);
        let g = |b: bool| {
            json!({"linkId": "g", "item": [{"linkId": "b", "answer": [{"valueBoolean": b}]},
                {"linkId": "x", "answer": [{"valueString": "x"}]}]})
        };
        check(&v, &form, &json!([g(true), g(false)]), &[(&format!("{P}not-enabled"), ".item[1].item[1]")]);
    }

    #[test]
    fn limits_of_extensions() {
        let Some(v) = support::validator() else { return };
        let ucum = |value: f64, code: &str| json!({"value": value, "system": "http://unitsofmeasure.org", "code": code});
        let e = extension;
        let sdc = |name: &str, value: Value| {
            json!({"url": format!("http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-{name}"),
                "valueQuantity": value})
        };
        let cases: Vec<(&str, Value, &str, Value, Value, &str)> = vec![
            (
                "string",
                e("minLength", "valueInteger", json!(2)),
                "valueString",
                json!("ab"),
                json!("a"),
                "length",
            ),
            (
                "string",
                e("regex", "valueString", json!("[a-z]+")),
                "valueString",
                json!("ab"),
                json!("ab1"),
                "pattern",
            ),
            ("integer", e("minValue", "valueInteger", json!(2)), "valueInteger", json!(2), json!(1), "range"),
            (
                "decimal",
                e("maxValue", "valueDecimal", json!(2.5)),
                "valueDecimal",
                json!(2.5),
                json!(2.51),
                "range",
            ),
            (
                "date",
                e("maxValue", "valueDate", json!("2022")),
                "valueDate",
                json!("2022"),
                json!("2023"),
                "range",
            ),
            (
                "time",
                e("minValue", "valueTime", json!("10:00:00")),
                "valueTime",
                json!("10:00:01"),
                json!("09:59:59"),
                "range",
            ),
            (
                "decimal",
                e("maxDecimalPlaces", "valueInteger", json!(1)),
                "valueDecimal",
                json!(1.5),
                json!(1.55),
                "decimals",
            ),
            (
                "attachment",
                e("mimeType", "valueCode", json!("image/gif")),
                "valueAttachment",
                json!({"contentType": "image/gif", "data": "YQ=="}),
                json!({"contentType": "image/png", "data": "YQ=="}),
                "media-type",
            ),
            (
                "attachment",
                e("maxSize", "valueDecimal", json!(2)),
                "valueAttachment",
                json!({"contentType": "image/gif", "data": "YWE="}),
                json!({"contentType": "image/gif", "data": "YWFh"}),
                "size",
            ),
            (
                "reference",
                e("questionnaire-referenceResource", "valueCode", json!("Patient")),
                "valueReference",
                json!({"reference": "Patient/1"}),
                json!({"reference": "Group/1"}),
                "target",
            ),
            (
                "quantity",
                e(
                    "questionnaire-unitOption",
                    "valueCoding",
                    json!({"system": "http://unitsofmeasure.org", "code": "kg"}),
                ),
                "valueQuantity",
                ucum(1.0, "kg"),
                ucum(1.0, "g"),
                "unit",
            ),
            (
                "quantity",
                sdc("minQuantity", ucum(1.0, "kg")),
                "valueQuantity",
                ucum(1000.0, "g"),
                ucum(999.0, "g"),
                "range",
            ),
            (
                "quantity",
                sdc("maxQuantity", ucum(1.0, "kg")),
                "valueQuantity",
                ucum(1.0, "kg"),
                ucum(1001.0, "g"),
                "range",
            ),
            (
                "quantity",
                sdc("maxQuantity", ucum(1.0, "kg")),
                "valueQuantity",
                ucum(1.0, "kg"),
                json!({"value": 1, "unit": "kg"}),
                "unit",
            ),
        ];
        for (ty, limit, key, good, bad, id) in cases {
            let form = json!([{"linkId": "a", "type": ty, "extension": [limit]}]);
            for (value, valid) in [(good, true), (bad, false)] {
                let mut answer = json!({});
                answer[key] = value;
                let items = json!([{"linkId": "a", "answer": [answer]}]);
                let found = errors(&report(&v, &response(&form, "completed", &items)));
                if valid {
                    assert!(found.is_empty(), "{form} {items} {found:?}");
                } else {
                    assert_eq!(found.len(), 1, "{form} {items} {found:?}");
                    assert_eq!(found[0].0, format!("{P}{id}"), "{form} {items}");
                }
            }
        }
        let occurs = json!([{"linkId": "a", "type": "string", "repeats": true, "extension": [
            e("questionnaire-minOccurs", "valueInteger", json!(2)), e("questionnaire-maxOccurs", "valueInteger", json!(2))]}]);
        for (count, id) in [(1, "min-occurs"), (3, "max-occurs")] {
            let answers = vec![json!({"valueString": "x"}); count];
            check(
                &v,
                &occurs,
                &json!([{"linkId": "a", "answer": answers}]),
                &[(&format!("{P}{id}"), ".item[0]")],
            );
        }
    }

    #[test]
    fn a_questionnaire_is_checked_itself() {
        let Some(v) = support::validator() else { return };
        let form = |items: Value| json!({"resourceType": "Questionnaire", "status": "active", "item": items});
        let when = |question: &str| json!([{"question": question, "operator": "=", "answerBoolean": true}]);
        let b = json!({"linkId": "b", "type": "boolean"});
        let cases = [
            (json!([b, {"linkId": "x", "type": "string", "enableWhen": when("b")}]), None),
            (
                json!([b, {"linkId": "x", "type": "string", "enableWhen": when("c")}]),
                Some("fhir.questionnaire.enable-when.question"),
            ),
            (
                json!([{"linkId": "x", "type": "boolean", "enableWhen": when("x")}]),
                Some("fhir.questionnaire.enable-when.self"),
            ),
            (
                json!([{"linkId": "x", "type": "group", "enableWhen": when("b"), "item": [b]}]),
                Some("fhir.questionnaire.enable-when.inner"),
            ),
            (
                json!([{"linkId": "x", "type": "integer", "initial": [{"valueString": "1"}]}]),
                Some("fhir.questionnaire.initial.type"),
            ),
            (
                json!([{"linkId": "x", "type": "integer", "answerOption": [{"valueString": "1"}]}]),
                Some("fhir.questionnaire.option.type"),
            ),
            (
                json!([b, {"linkId": "b", "type": "string"}]),
                Some("http://hl7.org/fhir/StructureDefinition/Questionnaire#que-2"),
            ),
            (
                json!([b, {"linkId": "x", "type": "string", "enableWhen":
                [when("b")[0], {"question": "b", "operator": "exists", "answerBoolean": true}]}]),
                Some("http://hl7.org/fhir/StructureDefinition/Questionnaire#que-12"),
            ),
        ];
        for (items, wanted) in cases {
            let document = form(items);
            let found = errors(&report(&v, &document));
            assert_eq!(found.first().map(|(id, _)| id.as_str()), wanted, "{document} {found:?}");
        }
    }

    /// Seconds a validation takes.
    fn seconds(v: &Validator, document: &Value) -> f64 {
        let bytes = document.to_string().into_bytes();
        #[expect(clippy::disallowed_methods, reason = "a test of time reads the clock")]
        let start = Instant::now();
        let _ = v.validate_bytes(&bytes, &Limits::default(), &Options::default());
        start.elapsed().as_secs_f64()
    }

    #[test]
    fn hostile_forms_end_soon() {
        let Some(v) = support::validator() else { return };
        // conditions in a circle
        let link = |n: usize| format!("i{n}");
        let circle: Vec<_> = (0..20_000)
            .map(|n| {
                json!({"linkId": link(n), "type": "boolean", "enableWhen":
                    [{"question": link((n + 1) % 20_000), "operator": "=", "answerBoolean": true}]})
            })
            .collect();
        let answers: Vec<_> =
            (0..20_000).map(|n| json!({"linkId": link(n), "answer": [{"valueBoolean": true}]})).collect();
        assert!(seconds(&v, &response(&json!(circle), "completed", &json!(answers))) < 30.0);
        // each of many items asks for each of many answers
        let many: Vec<_> = (0..5_000).map(|_| json!({"valueInteger": 1})).collect();
        let mut wide = vec![json!({"linkId": "n", "type": "integer", "repeats": true})];
        wide.extend((0..5_000).map(|n| {
            json!({"linkId": link(n), "type": "boolean", "required": true, "enableWhen":
                [{"question": "n", "operator": "=", "answerInteger": 2}]})
        }));
        let items = json!([{"linkId": "n", "answer": many}]);
        let report = report(&v, &response(&json!(wide), "completed", &items));
        assert!(report.issues.iter().any(|i| i.message_id == "fhir.questionnaire-response.too-costly"));
        // many groups of a form with many items
        let inner: Vec<_> = (0..5_000).map(|n| json!({"linkId": link(n), "type": "boolean"})).collect();
        let form = json!([{"linkId": "g", "type": "group", "repeats": true, "item": inner}]);
        let group = json!({"linkId": "g", "item": [{"linkId": "i0", "answer": [{"valueBoolean": true}]}]});
        assert!(seconds(&v, &response(&form, "completed", &json!(vec![group; 5_000]))) < 30.0);
        // nested as deep as a document may be
        let mut item = json!({"linkId": "x0", "type": "group"});
        for n in 1..45 {
            item = json!({"linkId": format!("x{n}"), "type": "group", "item": [item]});
        }
        let _ = report_of_nesting(&v, &item);
    }

    fn report_of_nesting(v: &Validator, item: &Value) -> Report {
        let document = json!({"resourceType": "Questionnaire", "status": "active", "item": [item]});
        report(v, &document)
    }
}
