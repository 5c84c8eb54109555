//! The validator on any bytes, with options taken from the first byte: it ends, says the same twice, and its outcome is
//! a valid OperationOutcome.
#![no_main]

use std::sync::{Arc, LazyLock};

use consilium_fhir::{Limits, Options, Schema, UnknownExtensions, Validator};
use libfuzzer_sys::fuzz_target;

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let paths = std::env::var("CONSILIUM_FUZZ_PACKAGES").expect("CONSILIUM_FUZZ_PACKAGES");
    let packages: Vec<Vec<u8>> = paths.split(',').map(|path| std::fs::read(path).expect("a package")).collect();
    let packages: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
    Validator::new(Arc::new(Schema::compile(&packages).expect("packages compile")))
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, document)) = data.split_first() else { return };
    let bit = |at: u8| choice & (1 << at) != 0;
    let options = Options {
        unknown_extensions: if bit(0) { UnknownExtensions::Refuse } else { UnknownExtensions::Accept },
        security_checks: bit(1),
        example_urls: !bit(2),
        best_practice: bit(3),
        max_issues: if bit(4) { 3 } else { 1000 },
        ..Options::default()
    };
    let limits = Limits { bytes: 1 << 20, depth: 60, nodes: 1 << 16 };
    let report = VALIDATOR.validate_bytes(document, &limits, &options);
    if bit(5) {
        let again = VALIDATOR.validate_bytes(document, &limits, &options);
        assert_eq!(report.digest(&[0; 32], &[1; 32]), again.digest(&[0; 32], &[1; 32]));
    }
    if bit(6) {
        let outcome = report.to_operation_outcome_json();
        let verdict = VALIDATOR.validate_bytes(outcome.as_bytes(), &Limits::default(), &Options::default());
        assert!(verdict.is_valid(), "{:?}", verdict.issues);
    }
});
