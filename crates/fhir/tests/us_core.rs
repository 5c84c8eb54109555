//! US Core over Synthea's patients, most of which claim its profiles: what fails, and what cannot be
//! told without the terminologies that the packages refer to.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod us_core {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::support;
    use consilium_fhir::{Limits, Options, Schema, Severity, Validator};

    const NPI: &str = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-practitioner#us-core-17";

    /// Package, and the only constraint that fails: Synthea invents National Provider Identifiers
    /// without their check digit, which 6.1.0 and later ask for.
    const PACKAGES: &[(&str, &[&str])] = &[
        ("us_core_311.tgz", &[]),
        ("us_core_501.tgz", &[]),
        ("us_core_610.tgz", &[NPI]),
        ("us_core_700.tgz", &[NPI]),
    ];

    #[test]
    fn synthea_conforms_but_for_its_invented_numbers() {
        let (Some(core), Some(packages), Some(folder)) =
            (support::core(), support::data("fhir/us-core"), support::data("fhir/synthea"))
        else {
            return;
        };
        for (package, wanted) in PACKAGES {
            let us_core = std::fs::read(packages.join(package)).expect("package");
            let schema = Schema::compile(&[&core, &us_core]).expect("schema");
            println!("{package} lacks {}", schema.unresolved().join(", "));
            let validator = Validator::new(Arc::new(schema));
            let mut errors = BTreeSet::new();
            let mut others: BTreeMap<String, usize> = BTreeMap::new();
            let mut invariants = 0;
            for file in support::json_files(&folder) {
                let bytes = std::fs::read(&file).expect("file");
                let report = validator.validate_bytes(&bytes, &Limits::default(), &Options::default());
                invariants += report.unevaluated.invariants;
                for i in &report.issues {
                    if i.is_error() {
                        errors.insert(i.message_id.to_string());
                    }
                    let named = i.message_id.starts_with("fhir.not-checked");
                    if i.severity == Severity::Information && named {
                        let set = i.message_id.split('#').nth(1).unwrap_or_default();
                        assert!(i.text.contains(set), "{}", i.text);
                    }
                    *others.entry(i.message_id.to_string()).or_default() += 1;
                }
            }
            for (id, count) in &others {
                println!("    {count} {id}");
            }
            assert_eq!(errors.iter().map(String::as_str).collect::<Vec<_>>(), *wanted, "{package}");
            assert_eq!(invariants, 0, "{package}: every constraint is evaluated");
        }
    }
}
