//! Full validation.

use super::fixture::{PATIENT, core_package, schema};
use crate::check::check;
use crate::config::{Config, ValidateConfig};
use crate::definitions;
use consilium_fhir::{Options, Validator};
use std::path::PathBuf;

#[test]
fn a_verdict_counts_names_and_commits() {
    let Some(schema) = schema() else { return };
    let validator = Validator::new(schema);
    let judge = |json: &str| check(&validator, &Options::default(), json.as_bytes(), &[]);
    let good = judge(PATIENT);
    assert!(good.valid && good.errors == 0, "{}", String::from_utf8_lossy(&good.outcome));
    assert_eq!(good.schema_digest, validator.schema().digest());
    let bad = judge(&PATIENT.replace("female", "femal"));
    assert!(!bad.valid && bad.errors > 0);
    assert!(!String::from_utf8_lossy(&bad.outcome).contains("femal"), "no value of the record is told");
    let minified: serde_json::Value = serde_json::from_str(PATIENT).unwrap();
    assert_eq!(judge(&minified.to_string()).verdict, good.verdict, "white space does not change a verdict");
    assert_ne!(judge(&PATIENT.replace("1950", "1951")).verdict, good.verdict);
    for junk in ["", "{", "[1]", "{\"resourceType\":1}", "{\"resourceType\":\"Nothing\"}"] {
        assert!(!judge(junk).valid, "{junk}");
    }
}

#[test]
fn a_profile_that_is_not_checked_is_no_pass() {
    let Some(schema) = schema() else { return };
    let validator = Validator::new(schema);
    let profile = "http://example.org/fhir/StructureDefinition/unknown".to_owned();
    let judged = check(&validator, &Options::default(), PATIENT.as_bytes(), &[profile]);
    assert!(!judged.valid && judged.errors == 1);
}

#[test]
fn compiled_definitions_are_kept_and_belong_to_their_packages() {
    let Some(core) = core_package() else { return };
    let folder = std::env::temp_dir().join(format!("consilium-validate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let cache = folder.join("schema");
    let settings = ValidateConfig {
        packages: vec![core],
        genesis_file: PathBuf::new(),
        signing_key_file: PathBuf::new(),
        schema_cache: Some(cache.clone()),
        concurrency: None,
        window_ms: 1,
    };
    let compiled = definitions::load(&settings).unwrap();
    assert_eq!(definitions::load(&settings).unwrap().digest(), compiled.digest());
    std::fs::write(&cache, b"damaged").unwrap();
    assert_eq!(definitions::load(&settings).unwrap().digest(), compiled.digest());
    assert!(std::fs::metadata(&cache).unwrap().len() > 100, "the cache is mended");
    let none = ValidateConfig { packages: Vec::new(), ..settings };
    assert!(
        definitions::load(&none).is_err(),
        "a cache alone says nothing of the packages that were asked for"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_sample_configuration_is_accepted() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/config/validate.toml");
    let (_, own) = consilium_runtime::config::load::<Config>(&path).unwrap();
    assert_eq!((own.validate.window_ms, own.validate.packages.len()), (30_000, 1));
}
