//! The committed messages are those of `proto/`. `CONSILIUM_BLESS=1` (`make gen`) writes them anew.

use std::path::Path;

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let proto = root.join("proto");
    let mut files: Vec<_> = std::fs::read_dir(proto.join("consilium/v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "proto"))
        .collect();
    files.sort();
    let descriptors = protox::compile(&files, [&proto]).unwrap();
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    prost_build::Config::new().out_dir(out).compile_fds(descriptors).unwrap();
    let fresh = std::fs::read_to_string(out.join("consilium.v1.rs")).unwrap();

    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated/consilium.v1.rs");
    if std::env::var("CONSILIUM_BLESS").is_ok_and(|v| v == "1") {
        std::fs::write(&committed, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        committed == fresh,
        "src/generated is not what proto/ says: run `make gen` and commit the result"
    );
}
