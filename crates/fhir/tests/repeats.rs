//! An element that repeats word for word is walked once (`src/walk/repeat.rs`). That must not show: a document in which
//! white space makes each object different from all others has the same issues and the same counts.

#[cfg(test)]
mod support;

#[cfg(test)]
mod repeats {
    use consilium_fhir::{Limits, Options, Report, UnknownExtensions, Validator, VitalSigns};

    use super::support;

    /// White space of its own after the opening of each object: its number in blanks and tabs.
    fn all_different(text: &[u8]) -> Vec<u8> {
        let (mut out, mut inside, mut escaped, mut count) = (Vec::new(), false, false, 0u32);
        for &b in text {
            out.push(b);
            if inside {
                inside = escaped || b != b'"';
                escaped = !escaped && b == b'\\';
            } else if b == b'{' {
                count += 1;
                out.extend((0..20).map(|bit| if count >> bit & 1 == 0 { b' ' } else { b'\t' }));
            } else {
                inside = b == b'"';
            }
        }
        out
    }

    /// All of a report but for lines and columns.
    fn told(report: &Report) -> (Vec<String>, String) {
        let issues = report.issues.iter();
        let issues = issues.map(|i| format!("{:?} {} {} {}", i.severity, i.message_id, i.expression, i.text));
        (issues.collect(), format!("{:?} {}", report.unevaluated, report.evaluated))
    }

    fn agree(validator: &Validator, name: &str, bytes: &[u8], options: &Options) {
        let validate = |bytes: &[u8]| told(&validator.validate_bytes(bytes, &Limits::default(), options));
        assert_eq!(validate(bytes), validate(&all_different(bytes)), "{name}");
    }

    fn strict() -> Options {
        Options {
            unknown_extensions: UnknownExtensions::Refuse,
            security_checks: true,
            vital_signs: VitalSigns::Related,
            preferred_bindings: true,
            best_practice: true,
            max_issues: 100_000,
            ..Options::default()
        }
    }

    #[test]
    fn cases_and_records_fare_the_same_without_repetition() {
        let Some(validator) = support::validator() else { return };
        for (folder, most) in [("fhir/validator-cases/input", usize::MAX), ("fhir/synthea", 3)] {
            let Some(folder) = support::data(folder) else { return };
            for file in support::json_files(&folder).iter().rev().take(most) {
                let bytes = std::fs::read(file).expect("file");
                agree(&validator, &file.display().to_string(), &bytes, &strict());
            }
        }
    }

    /// Issues of a message id, in a document and in the one without repetition.
    fn count(validator: &Validator, document: &str, id: &str) -> usize {
        agree(validator, id, document.as_bytes(), &strict());
        let report = validator.validate_bytes(document.as_bytes(), &Limits::default(), &strict());
        report.issues.iter().filter(|i| i.message_id.contains(id)).count()
    }

    fn bundle(resources: &[&str]) -> String {
        let entries: Vec<String> = resources.iter().map(|r| format!(r#"{{"resource":{r}}}"#)).collect();
        format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#, entries.join(","))
    }

    #[test]
    fn what_is_wrong_is_wrong_each_time() {
        let Some(validator) = support::validator() else { return };
        let name = r#"{"use":"unofficial","family":" "}"#;
        let patient = format!(r#"{{"resourceType":"Patient","name":[{name},{name},{name}]}}"#);
        assert_eq!(count(&validator, &patient, "fhir.binding.required"), 3);
    }

    #[test]
    fn what_looks_or_reaches_outside_is_looked_at_each_time() {
        let Some(validator) = support::validator() else { return };
        // The language of the resource decides whether a display may be a translation.
        let coding = r#"{"coding":[{"system":"http://hl7.org/fhir/observation-status","code":"final",
            "display":"endgültig"}]}"#;
        let observation = |language: &str| {
            format!(
                r#"{{"resourceType":"Observation","language":"{language}","status":"final","code":{coding}}}"#
            )
        };
        let (german, english) = (observation("de"), observation("en"));
        assert_eq!(count(&validator, &bundle(&[&german, &english]), "fhir.coding.display"), 1);
        assert_eq!(count(&validator, &bundle(&[&english, &german, &english]), "fhir.coding.display"), 2);

        // An id is unique in its resource.
        let name = r#"{"id":"a","family":"B"}"#;
        let patient = format!(r#"{{"resourceType":"Patient","name":[{name},{name}]}}"#);
        assert_eq!(count(&validator, &patient, "fhir.element.duplicate-id"), 1);
        assert_eq!(count(&validator, &bundle(&[&patient, &patient]), "fhir.element.duplicate-id"), 2);

        // An extension may stand here and not there.
        let extension = r#"{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-animal",
            "extension":[{"url":"species","valueCodeableConcept":{"text":"dog"}}]}],"text":"x"}"#;
        let patient = format!(
            r#"{{"resourceType":"Patient","maritalStatus":{extension},
                "communication":[{{"language":{extension}}}]}}"#
        );
        assert_eq!(count(&validator, &patient, "fhir.extension.context"), 2);

        // A reference to a contained resource that only one of two resources has.
        let author = r##"{"authorReference":{"reference":"#p"},"text":"x"}"##;
        let condition = |contained: &str| {
            format!(
                r##"{{"resourceType":"Condition",{contained}"subject":{{"reference":"Patient/1"}},
                    "note":[{author}]}}"##
            )
        };
        let with = condition(r#""contained":[{"resourceType":"Patient","id":"p"}],"#);
        assert_eq!(count(&validator, &bundle(&[&with, &condition("")]), "Reference#ref-1"), 1);
    }
}
