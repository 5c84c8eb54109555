//! Documents that others wrote.

#[cfg(test)]
mod support;

#[cfg(test)]
mod real_data {
    use super::support;
    use consilium_fhir::{Limits, Options, Report, Validator};
    use std::path::Path;

    fn check(validator: &Validator, file: &Path) -> Report {
        let bytes = std::fs::read(file).expect("file");
        validator.validate_bytes(&bytes, &Limits::default(), &Options::default())
    }

    fn complain(file: &Path, report: &Report) -> usize {
        for i in report.issues.iter().filter(|i| i.is_error()).take(5) {
            let name = file.file_name().unwrap_or_default().display();
            eprintln!("{name}: {} [{},{}] {}: {}", i.message_id, i.line, i.col, i.expression, i.text);
        }
        report.errors()
    }

    #[test]
    fn synthea_bundles_have_no_error() {
        let (Some(validator), Some(folder)) = (support::validator(), support::data("fhir/synthea")) else {
            return;
        };
        let files = support::json_files(&folder);
        assert!(files.len() > 10);
        let errors: usize = files.iter().map(|f| complain(f, &check(&validator, f))).sum();
        assert_eq!(errors, 0);
    }

    /// Examples that break the rules of R4, each with the rule and the element.
    const DEFECTIVE_EXAMPLES: &[(&str, &str, &str)] = &[
        // Questionnaire.item.linkId is 1..1; its display items have none.
        ("bundle-questionnaire.json", "fhir.card.min", "Questionnaire.item"),
        // The code `chol-mass` occurs twice.
        ("codesystem-example.json", "http://hl7.org/fhir/StructureDefinition/CodeSystem#csd-1", "CodeSystem"),
        // DeviceMetric.parent points to a Device, not to a DeviceDefinition.
        ("devicemetric-example.json", "fhir.reference.target", "DeviceMetric.parent"),
        // DeviceUseStatement.reasonReference does not point to a Procedure.
        ("deviceusestatement-example.json", "fhir.reference.target", "DeviceUseStatement.reasonReference"),
        // MedicationRequest.dispenseRequest.performer is an Organization.
        (
            "medicationrequest0301.json",
            "fhir.reference.target",
            "MedicationRequest.dispenseRequest.performer",
        ),
    ];

    #[test]
    fn official_examples_have_no_error_but_their_own() {
        let (Some(validator), Some(folder)) = (support::validator(), support::data("fhir/examples")) else {
            return;
        };
        let files = support::json_files(&folder);
        assert!(files.len() > 40);
        let mut errors = 0;
        for file in &files {
            let mut report = check(&validator, file);
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let defects = report.errors();
            report.issues.retain(|i| {
                !DEFECTIVE_EXAMPLES
                    .iter()
                    .any(|(f, id, path)| name == *f && i.message_id == *id && i.expression.starts_with(path))
            });
            let listed = DEFECTIVE_EXAMPLES.iter().any(|(f, ..)| name == *f);
            assert_eq!(listed, report.errors() < defects, "{name}: the list of defects is stale");
            errors += complain(file, &report);
        }
        assert_eq!(errors, 0);
    }

    /// The core package breaks rules it defines, this often: message id and number of issues.
    const CORE_DEFECTS: &[(&str, usize)] = &[
        ("fhir.canonical.relative", 19),
        ("fhir.card.min", 10),
        // maps of statuses with codes that the systems of R4 do not have, or their value sets leave out
        ("fhir.concept-map.code", 25),
        ("fhir.concept-map.value-set", 5),
        // extensions on elements their definitions do not name, such as structuredefinition-wg
        ("fhir.extension.context", 266),
        // example identifiers
        ("fhir.identifier.uri", 2),
        // example-extension: base Patient, expression on DocumentReference
        ("fhir.search-parameter.base", 1),
        // `#hacked`
        ("fhir.value-set.system", 1),
        // v2 tables by version: `…v2-0006|2.1`
        ("fhir.value-set.version", 6),
        // codes with two blanks in v2 tables
        ("fhir.value.form", 5),
        ("http://hl7.org/fhir/StructureDefinition/StructureDefinition#sdf-4", 4),
    ];

    #[test]
    fn the_core_package_parses_and_validates() {
        let (Some(validator), Some(core)) = (support::validator(), support::core()) else { return };
        let package = consilium_fhir::package::Package::read(&core).expect("package");
        assert_eq!((package.name.as_str(), package.version.as_str()), ("hl7.fhir.r4.core", "4.0.1"));
        assert_eq!(package.files.len(), 4578);
        let mut defects = std::collections::BTreeMap::<String, (usize, String)>::new();
        let mut unevaluated = 0;
        for file in &package.files {
            let report = validator.validate_bytes(&file.bytes, &Limits::default(), &Options::default());
            unevaluated += report.unevaluated.invariants;
            assert!(report.issues.iter().all(|i| i.message_id != "fhir.json"), "{}", file.path);
            for i in report.issues.iter().filter(|i| i.is_error()) {
                let place = format!("{} {} {}", file.path, i.expression, i.text);
                defects.entry(i.message_id.to_string()).or_insert((0, place)).0 += 1;
            }
        }
        for (id, (count, first)) in &defects {
            println!("{count} {id}: {first}");
        }
        assert_eq!(unevaluated, 0);
        let counts: Vec<_> = defects.iter().map(|(id, (count, _))| (id.as_str(), *count)).collect();
        assert_eq!(counts, CORE_DEFECTS);
    }

    #[test]
    fn a_record_cut_anywhere_is_refused_without_panic() {
        let (Some(validator), Some(folder)) = (support::validator(), support::data("fhir/examples")) else {
            return;
        };
        let bytes = std::fs::read(folder.join("observation-example.json")).expect("file");
        let bytes = bytes.trim_ascii_end();
        let options = Options::default();
        for cut in 0..bytes.len() {
            let report = validator.validate_bytes(&bytes[..cut], &Limits::default(), &options);
            assert!(!report.is_valid(), "{cut}");
        }
        // and with one byte changed it never panics
        for at in (0..bytes.len()).step_by(3) {
            for byte in [b'"', b'{', b']', b'0', 0xff, b'\\', b' ', b','] {
                let mut damaged = bytes.to_vec();
                damaged[at] = byte;
                let report = validator.validate_bytes(&damaged, &Limits::default(), &options);
                let _ = report.to_operation_outcome_json();
            }
        }
    }
}
