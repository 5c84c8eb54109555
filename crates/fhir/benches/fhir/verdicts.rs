//! `validate-verdicts`: two builds of one source, made with other optimisations, give the same verdict digests for all
//! given cases. Each build leaves a digest of digests; the second to run compares.

use std::path::{Path, PathBuf};

use consilium_fhir::{Limits, Options, Validator};
use consilium_testkit::bench;
use sha2::{Digest, Sha256};

use crate::Failure;

fn json_files(folder: &Path, out: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            json_files(&path, out)?;
        } else if path.extension().is_some_and(|kind| kind == "json") {
            out.push(path);
        }
    }
    Ok(())
}

pub fn verdicts(validator: &Validator) -> Result<(), Failure> {
    let mut files = Vec::new();
    if let Some(data) = bench::data() {
        json_files(&data.join("fhir"), &mut files)?;
    }
    files.sort();
    let options = Options::default();
    let basis = validator.basis(&options);
    let mut all = Sha256::new();
    all.update(basis);
    for file in &files {
        let bytes = std::fs::read(file)?;
        let commitment: [u8; 32] = Sha256::digest(&bytes).into();
        let report = validator.validate_bytes(&bytes, &Limits::default(), &options);
        all.update(report.digest(&basis, &commitment));
    }
    let digest = hex::encode(all.finalize());
    let (own, other) = if cfg!(debug_assertions) { ("dev", "bench") } else { ("bench", "dev") };
    let folder = bench::scratch("verdicts")?;
    std::fs::write(folder.join(own), &digest)?;
    bench::say(&format!("\nvalidate-verdicts: {} documents, {own} profile: {digest}", files.len()))?;
    match std::fs::read_to_string(folder.join(other)) {
        Ok(theirs) if theirs == digest => bench::say("validate-verdicts: both builds agree")?,
        // Written by another source if the bench profile has not run since.
        Ok(_) if own == "dev" => {}
        Ok(theirs) => {
            return Err(format!("the {other} profile gave {theirs}, this build another digest").into());
        }
        Err(_) => {}
    }
    Ok(())
}
