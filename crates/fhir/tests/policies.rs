//! Options of a validation that widen or narrow what is checked.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod policies {
    use std::sync::{Arc, OnceLock};

    use super::support;
    use consilium_fhir::{
        Limits, Options, References, Report, Schema, Severity, UnknownExtensions, Validator, VitalSigns,
    };
    use serde_json::{Value, json};

    const NAMED: &str = "http://example.org/StructureDefinition/named";
    const LINKED: &str = "http://example.org/StructureDefinition/linked";
    const RECENT: &str = "http://example.org/StructureDefinition/recent";
    const ASKS: &str = "http://example.org/StructureDefinition/asks";
    const VALUES: &str = "http://example.org/StructureDefinition/values";

    fn profile(url: &str, elements: &Value) -> Value {
        json!({"resourceType": "StructureDefinition", "url": url, "name": "P", "status": "draft",
            "kind": "resource", "abstract": false, "type": "Patient",
            "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
            "derivation": "constraint", "differential": {"element": elements}})
    }

    fn validator(global: bool) -> Option<Validator> {
        static COMPILED: [OnceLock<Option<Validator>>; 2] = [OnceLock::new(), OnceLock::new()];
        COMPILED[usize::from(global)].get_or_init(|| compile(global)).clone()
    }

    fn compile(global: bool) -> Option<Validator> {
        let core = support::core()?;
        let guide = json!({"resourceType": "ImplementationGuide", "url": "http://example.org/ig", "name": "G",
            "status": "draft", "packageId": "g", "fhirVersion": ["4.0.1"],
            "global": [{"type": "Patient", "profile": NAMED}]});
        let mut definitions = vec![
            profile(NAMED, &json!([{"path": "Patient.name", "min": 1}])),
            profile(
                LINKED,
                &json!([{"path": "Patient.link.other", "type": [
                {"code": "Reference", "targetProfile": [NAMED]}]}]),
            ),
            profile(
                RECENT,
                &json!([{"path": "Patient.birthDate", "minValueQuantity":
                {"value": 100, "code": "a", "system": "http://unitsofmeasure.org"}}]),
            ),
            profile(
                ASKS,
                &json!([{"path": "Patient", "constraint": [{"key": "asks-1", "severity": "error",
                "human": "named or active", "expression": format!("conformsTo('{NAMED}') or active.exists()")}]}]),
            ),
            profile(
                VALUES,
                &json!([
                {"path": "Patient.birthDate", "extension": [
                    {"url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-ElementDefinition.mustHaveValue",
                        "valueBoolean": true}]},
                {"path": "Patient.language", "extension": [
                    {"url": "http://hl7.org/fhir/StructureDefinition/minLength", "valueInteger": 5}]}]),
            ),
        ];
        if global {
            definitions.push(guide);
        }
        let bytes: Vec<Vec<u8>> = definitions.iter().map(|d| d.to_string().into_bytes()).collect();
        let resources: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let schema = Schema::compile_with(&[&core], &resources).expect("schema");
        Some(Validator::new(Arc::new(Schema::from_bytes(&schema.to_bytes()).expect("cache"))))
    }

    fn check(v: &Validator, resource: &Value, options: &Options) -> Report {
        v.validate_bytes(resource.to_string().as_bytes(), &Limits::default(), options)
    }

    fn ids(report: &Report, severity: Severity) -> Vec<String> {
        let found = report.issues.iter().filter(|i| i.severity == severity);
        found.map(|i| format!("{} {}", i.message_id, i.expression)).collect()
    }

    fn errors(v: &Validator, resource: &Value, options: &Options) -> Vec<String> {
        ids(&check(v, resource, options), Severity::Error)
    }

    fn asked(url: &str) -> Options {
        Options { profiles: vec![url.to_owned()], ..Options::default() }
    }

    fn bundle() -> Value {
        let entry = |id: &str| {
            json!({"fullUrl": format!("http://a.org/Patient/{id}"),
                "resource": {"resourceType": "Patient", "id": id, "active": true}})
        };
        json!({"resourceType": "Bundle", "type": "collection", "entry": [entry("1"), entry("2")]})
    }

    #[test]
    fn entries_and_whole_types_are_held_to_profiles() {
        let (Some(v), Some(global)) = (validator(false), validator(true)) else { return };
        assert!(errors(&v, &bundle(), &Options::default()).is_empty());
        let of = |rule: &str| Options {
            entry_profiles: vec![(rule.to_owned(), NAMED.to_owned())],
            ..Options::default()
        };
        let missing = |at: u32| format!("fhir.profile.min Bundle.entry[{at}].resource");
        assert_eq!(errors(&v, &bundle(), &of("Patient")), [missing(0), missing(1)]);
        assert_eq!(errors(&v, &bundle(), &of("Patient:1")), [missing(1)]);
        assert!(errors(&v, &bundle(), &of("Observation")).is_empty());
        assert_eq!(errors(&global, &bundle(), &Options::default()), [missing(0), missing(1)]);
        assert_ne!(v.basis(&of("Patient")), v.basis(&of("Patient:1")));
    }

    #[test]
    fn references_are_followed_as_far_as_asked() {
        let Some(v) = validator(false) else { return };
        let coverage = |id: &str| {
            json!({"resourceType": "Coverage", "status": "active", "payor": [{"display": "x"}],
                "beneficiary": {"reference": format!("Patient/{id}")}})
        };
        let parameters = |id: &str| {
            json!({"resourceType": "Parameters", "parameter": [
                {"name": "a", "part": [{"name": "p", "resource": {"resourceType": "Patient", "id": "1",
                    "active": true}}]},
                {"name": "b", "resource": coverage(id)}]})
        };
        let exist = Options { references: References::Exist, ..Options::default() };
        assert!(errors(&v, &parameters("1"), &exist).is_empty());
        assert!(errors(&v, &parameters("2"), &Options::default()).is_empty());
        let wanted = "fhir.reference.unresolved Parameters.parameter[1].resource.beneficiary";
        assert_eq!(errors(&v, &parameters("2"), &exist), [wanted]);

        let patient = json!({"resourceType": "Patient", "active": true,
            "link": [{"type": "seealso", "other": {"reference": "Patient/9"}}]});
        assert!(errors(&v, &patient, &asked(LINKED)).is_empty());
        let conform = Options { references: References::Conform, ..asked(LINKED) };
        let wanted = "fhir.profile.target-absent Patient.link[0].other";
        assert_eq!(errors(&v, &patient, &conform), [wanted]);
        let conform = Options { references: References::Conform, ..Options::default() };
        assert!(errors(&v, &patient, &conform).is_empty(), "the base type restricts nothing");
    }

    #[test]
    fn contained_resources_can_be_left_alone() {
        let Some(v) = validator(false) else { return };
        let patient = json!({"resourceType": "Patient", "contained": [
            {"resourceType": "Organization", "id": "a_b", "alias": "no array"}]});
        assert_eq!(errors(&v, &patient, &Options::default()).len(), 4);
        let alone = Options { contained: false, ..Options::default() };
        assert!(errors(&v, &patient, &alone).is_empty());
    }

    #[test]
    fn time_is_an_argument() {
        let Some(v) = validator(false) else { return };
        let patient = json!({"resourceType": "Patient", "birthDate": "1900-01-01"});
        let unknown = check(&v, &patient, &asked(RECENT));
        assert!(unknown.is_valid());
        assert_eq!(unknown.unevaluated.invariants, 1);
        assert_eq!(
            ids(&unknown, Severity::Information),
            ["fhir.not-checked.invariant#fhir.profile.min-value Patient"]
        );
        let at = |day: &str| Options { as_of: Some(day.to_owned()), ..asked(RECENT) };
        assert!(errors(&v, &patient, &at("1999-12-31")).is_empty());
        assert_eq!(errors(&v, &patient, &at("2026-01-01")), ["fhir.profile.min-value Patient.birthDate"]);
    }

    #[test]
    fn vital_signs_are_held_to_their_profiles() {
        let Some(v) = validator(false) else { return };
        let weight = |system: &str, code: &str| {
            json!({"resourceType": "Observation", "status": "final",
                "code": {"coding": [{"system": system, "code": code}]}, "subject": {"reference": "Patient/1"},
                "effectiveDateTime": "2024-01-01", "valueQuantity":
                    {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}})
        };
        let policy = |vital_signs| Options { vital_signs, ..Options::default() };
        let coded = weight("http://loinc.org", "29463-7");
        assert_eq!(errors(&v, &coded, &Options::default()).len(), 2, "category, and its slice");
        assert!(errors(&v, &coded, &policy(VitalSigns::Claimed)).is_empty());
        let mut good = coded.clone();
        good["category"] = json!([{"coding": [{"system":
            "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}]);
        assert!(errors(&v, &good, &Options::default()).is_empty());
        let narrower = weight("http://snomed.info/sct", "424927000");
        assert!(errors(&v, &narrower, &Options::default()).is_empty());
        assert!(!errors(&v, &narrower, &policy(VitalSigns::Related)).is_empty());
    }

    #[test]
    fn constraints_may_ask_for_profiles_and_values() {
        let Some(v) = validator(false) else { return };
        let failing = [format!("{ASKS}#asks-1 Patient")];
        assert_eq!(errors(&v, &json!({"resourceType": "Patient", "id": "x"}), &asked(ASKS)), failing);
        let named = json!({"resourceType": "Patient", "name": [{"family": "A"}]});
        assert!(errors(&v, &named, &asked(ASKS)).is_empty());
        let hidden = json!({"resourceType": "Patient", "language": "en", "_birthDate": {"extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}]}});
        assert_eq!(
            errors(&v, &hidden, &asked(VALUES)),
            ["fhir.profile.min-length Patient.language", "fhir.profile.value Patient.birthDate"]
        );
    }

    #[test]
    fn bindings_warn_and_inform_by_strength() {
        let Some(v) = validator(false) else { return };
        let patient = json!({"resourceType": "Patient",
            "maritalStatus": {"coding": [{"system": "http://example.org/s", "code": "x"}]},
            "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "xx"}]}}],
            "identifier": [{"type": {"text": "no code"}, "value": "1"}]});
        let report = check(&v, &patient, &Options::default());
        assert!(report.is_valid());
        assert_eq!(ids(&report, Severity::Warning), ["fhir.binding.extensible Patient.maritalStatus"]);
        assert!(ids(&report, Severity::Information).is_empty());
        let all = Options { preferred_bindings: true, ..Options::default() };
        let report = check(&v, &patient, &all);
        let wanted = ["fhir.binding.preferred Patient.communication[0].language"];
        assert_eq!(ids(&report, Severity::Information), wanted);
    }

    #[test]
    fn a_document_carries_what_its_composition_leads_to() {
        let Some(v) = validator(false) else { return };
        let entry = |id: u32, resource: Value| json!({"fullUrl": format!("urn:uuid:00000000-0000-0000-0000-00000000000{id}"), "resource": resource});
        let to = |id: u32| json!({"reference": format!("urn:uuid:00000000-0000-0000-0000-00000000000{id}")});
        let composition = json!({"resourceType": "Composition", "status": "final", "type": {"text": "x"},
            "date": "2024-01-01", "author": [{"display": "a"}], "title": "t", "subject": to(2)});
        let mut document = json!({"resourceType": "Bundle", "type": "document", "timestamp": "2024-01-01T00:00:00Z",
            "identifier": {"system": "urn:x:y", "value": "1"}, "entry": [
                entry(1, composition),
                entry(2, json!({"resourceType": "Patient", "managingOrganization": to(3)})),
                entry(3, json!({"resourceType": "Organization", "name": "o"}))]});
        assert!(check(&v, &document, &Options::default()).issues.is_empty());
        document["entry"][1]["resource"]["managingOrganization"] = json!({"display": "elsewhere"});
        let found = errors(&v, &document, &Options::default());
        assert_eq!(found, ["fhir.bundle.unreachable Bundle.entry[2]"]);
        document["entry"][2]["resource"]["partOf"] = json!({"display": "x"});
        document["entry"][2] =
            entry(3, json!({"resourceType": "Account", "status": "active", "subject": [to(2)]}));
        let report = check(&v, &document, &Options::default());
        assert!(report.is_valid());
        assert_eq!(ids(&report, Severity::Warning), ["fhir.bundle.unreachable Bundle.entry[2]"]);
    }

    #[test]
    fn an_attachment_is_what_its_size_and_hash_say() {
        let Some(v) = validator(false) else { return };
        let photo = |size: u32, hash: &str| {
            let photo = json!({"contentType": "text/plain", "data": "aGVs bG8=", "size": size, "hash": hash});
            errors(&v, &json!({"resourceType": "Patient", "photo": [photo]}), &Options::default())
        };
        // SHA-1 of `hello`
        assert!(photo(5, "qvTGHdzF6KLavt4PO0gs2a6pQ00=").is_empty());
        assert_eq!(photo(6, "qvTGHdzF6KLavt4PO0gs2a6pQ00="), ["fhir.attachment.size Patient.photo[0].size"]);
        assert_eq!(photo(5, "avTGHdzF6KLavt4PO0gs2a6pQ00="), ["fhir.attachment.hash Patient.photo[0].hash"]);
    }

    #[test]
    fn narrative_links_lead_somewhere() {
        let Some(v) = validator(false) else { return };
        let patient = |link: &str| {
            json!({"resourceType": "Patient", "id": "p", "text": {"status": "generated", "div": format!(
                "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p id=\"here\"><a href=\"{link}\">x</a></p></div>")}})
        };
        for good in ["#here", "#p", "https://a.org", "mailto:a@b.org", "Patient/1"] {
            assert!(errors(&v, &patient(good), &Options::default()).is_empty(), "{good}");
        }
        assert_eq!(
            errors(&v, &patient("#gone"), &Options::default()),
            ["fhir.narrative.anchor Patient.text.div"]
        );
        let named = errors(&v, &patient("urn:oid:1.2"), &Options::default());
        assert_eq!(named, ["fhir.narrative.link-scheme Patient.text.div"]);
    }

    #[test]
    fn a_narrative_is_well_formed() {
        let Some(v) = validator(false) else { return };
        let patient = |inside: &str| {
            json!({"resourceType": "Patient", "text": {"status": "generated",
                "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{inside}</div>")}})
        };
        for good in
            ["<p id=\"a\" class=\"b\">x</p>", "&amp;&#169;&#xA9;&copy;&nbsp;&apos;", "<br/>a<!-- b -->"]
        {
            assert!(errors(&v, &patient(good), &Options::default()).is_empty(), "{good}");
        }
        let txt_1 = "http://hl7.org/fhir/StructureDefinition/Narrative#txt-1 Patient.text.div";
        for bad in ["<p id=\"a\" id=\"b\">x</p>", "a &foo; b", "a & b", "a &; b", "<p>x", "<p>x</b>"] {
            assert_eq!(errors(&v, &patient(bad), &Options::default()), [txt_1], "{bad}");
        }
    }

    #[test]
    fn extensions_of_tools_and_tests_need_no_definition() {
        let Some(v) = validator(false) else { return };
        let of = |url: &str, example_urls: bool| {
            let options =
                Options { unknown_extensions: UnknownExtensions::Refuse, example_urls, ..Options::default() };
            let patient = json!({"resourceType": "Patient", "active": true,
                "extension": [{"url": url, "valueCode": "x"}]});
            errors(&v, &patient, &options)
        };
        let refused = vec!["fhir.extension.unknown Patient.extension[0]".to_owned()];
        let tool = "http://hl7.org/fhir/tools/StructureDefinition/obligation";
        let made_up = ["http://hl7.org/fhir/test/StructureDefinition/x", "http://a.example/x"];
        assert!(of(tool, true).is_empty() && of(tool, false).is_empty());
        for url in made_up {
            assert!(of(url, true).is_empty(), "{url}");
            assert!(of(url, false).contains(&refused[0]), "{url}");
        }
        for url in [
            "http://hl7.org/fhir/StructureDefinition/no-such-extension",
            "http://hl7.org/fhir/uv/sdc/StructureDefinition/x",
            "http://hl7.org/fhir/tests/StructureDefinition/x",
            "http://hospital.org/fhir/test/x",
        ] {
            assert_eq!(of(url, true), refused, "{url}");
        }
    }

    /// An extension may stand for a value, but not for a code that a required binding asks for.
    #[test]
    fn a_bound_code_is_given() {
        let Some(v) = validator(false) else { return };
        let why = json!([{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "unknown"}]);
        let with = |key: &str, value: Value| {
            let mut patient = json!({"resourceType": "Patient", "active": true});
            patient[key] = value;
            errors(&v, &patient, &Options::default())
        };
        assert_eq!(with("_gender", json!({"extension": why})), ["fhir.binding.no-code Patient.gender"]);
        assert!(with("_birthDate", json!({"extension": why})).is_empty());
        // `language` is bound, but not strictly.
        assert!(with("_language", json!({"extension": why})).is_empty());
        let both = json!({"resourceType": "Patient", "gender": "other", "_gender": {"extension": why}});
        assert!(errors(&v, &both, &Options::default()).is_empty());
    }

    /// What is missing is found after what is there, and is said where its holder starts.
    #[test]
    fn issues_come_in_the_order_of_the_document() {
        let Some(v) = validator(false) else { return };
        let observation = json!({"resourceType": "Observation", "status": "bogus"});
        let found = errors(&v, &observation, &Options::default());
        assert_eq!(found, ["fhir.card.min Observation", "fhir.binding.required Observation.status"]);
    }

    #[test]
    fn discriminators_lead_somewhere() {
        let Some(v) = validator(false) else { return };
        let sd = |path: &str| {
            profile(
                "http://example.org/x",
                &json!([{"id": "Patient.extension", "path": "Patient.extension",
                "slicing": {"rules": "open", "discriminator": [{"type": "value", "path": path}]}}]),
            )
        };
        for good in ["url", "value.resolve().code", "$this", "extension('a').value"] {
            assert!(errors(&v, &sd(good), &Options::default()).is_empty(), "{good}");
        }
        let found = errors(&v, &sd("type"), &Options::default());
        let place = "StructureDefinition.differential.element[0].slicing.discriminator[0]";
        assert_eq!(found, [format!("fhir.definition.discriminator {place}")]);
    }
}
