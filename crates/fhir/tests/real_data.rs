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

    #[test]
    fn official_examples_have_no_error() {
        let (Some(validator), Some(folder)) = (support::validator(), support::data("fhir/examples")) else {
            return;
        };
        let files = support::json_files(&folder);
        assert!(files.len() > 40);
        let errors: usize = files.iter().map(|f| complain(f, &check(&validator, f))).sum();
        assert_eq!(errors, 0);
    }
}
