//! Where the test data is, and the schema that all tests share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use consilium_fhir::{Schema, Validator};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn place(variable: &str, otherwise: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| root().join(otherwise), PathBuf::from)
}

/// `None`, loudly, if the data is absent; fails if it must be there.
fn present(path: PathBuf) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CONSILIUM_REQUIRE_TEST_DATA").is_none_or(|v| v != "1"),
        "test data is required and `{}` is absent",
        path.display()
    );
    eprintln!("SKIPPED: `{}` is absent, so this test checks nothing", path.display());
    None
}

/// A file or folder of the public test data.
pub fn data(below: &str) -> Option<PathBuf> {
    present(place("CONSILIUM_TEST_DATA", "../shared/data").join(below))
}

/// The bytes of hl7.fhir.r4.core.
pub fn core() -> Option<Vec<u8>> {
    let path = present(place("CONSILIUM_FHIR_PACKAGES", ".tools/fhir").join("hl7.fhir.r4.core.tgz"))?;
    Some(std::fs::read(path).expect("core package"))
}

/// A validator on the core package, compiled once per test binary.
pub fn validator() -> Option<Validator> {
    static SCHEMA: OnceLock<Option<Arc<Schema>>> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let core = core()?;
        Some(Arc::new(Schema::compile(&[&core]).expect("core compiles")))
    });
    schema.clone().map(Validator::new)
}

/// JSON files of a folder, sorted.
pub fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("folder")
        .map(|e| e.expect("entry").path())
        .filter(|p| p.extension().is_some_and(|x| x == "json"))
        .collect();
    files.sort();
    files
}
