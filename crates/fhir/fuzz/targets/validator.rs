//! The validator on any bytes, with options taken from the first byte: it ends, says the same twice, and its outcome is
//! a valid OperationOutcome.
#![no_main]

mod mutate;

use std::sync::{Arc, LazyLock};

use consilium_fhir::{Limits, Options, References, Schema, UnknownExtensions, Validator, VitalSigns};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    let paths = std::env::var("CONSILIUM_FUZZ_PACKAGES").expect("CONSILIUM_FUZZ_PACKAGES");
    let packages: Vec<Vec<u8>> =
        paths.split(',').map(|path| std::fs::read(path).expect("a package")).collect();
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
        preferred_bindings: bit(3),
        vital_signs: if bit(1) { VitalSigns::Related } else { VitalSigns::Coded },
        references: if bit(7) { References::Conform } else { References::AsFound },
        as_of: bit(2).then(|| "2026-03-01".to_owned()),
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

// Three of four changes keep the document JSON; the others are libFuzzer's own.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 4 != 0
        && let Some((_, document)) = data.get(..size).and_then(<[u8]>::split_first)
        && let Some(changed) = mutate::mutate(document, seed)
        && changed.len() < max_size
        && let Some(room) = data.get_mut(1..=changed.len())
    {
        room.copy_from_slice(&changed);
        return changed.len() + 1;
    }
    fuzzer_mutate(data, size, max_size)
});
