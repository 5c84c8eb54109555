//! What fuzzing found (`scripts/fuzz.sh`), one test each.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod fuzzed {
    use super::support;
    use consilium_fhir::{Limits, Options};

    /// A claimed profile whose url holds a line feed became part of a message id, and the outcome was no valid
    /// OperationOutcome: a code has no such blanks.
    #[test]
    fn an_outcome_is_valid_whatever_profile_is_claimed() {
        let Some(validator) = support::validator() else { return };
        for url in [
            "http://a.example/b\\nc",
            "http://a.example/b c",
            "http://a.example/\u{a0}",
            "x",
            "http://a.example/b",
        ] {
            let record = format!(r#"{{"resourceType":"Patient","meta":{{"profile":["{url}"]}}}}"#);
            let check = |text: &str| {
                validator.validate_bytes(text.as_bytes(), &Limits::default(), &Options::default())
            };
            let outcome = check(&record).to_operation_outcome_json();
            let verdict = check(&outcome);
            assert!(verdict.is_valid(), "{url:?}: {:?}", verdict.issues);
        }
    }
}
