//! `validate-verdicts`: two builds of one source, made with other optimisations, and other numbers of threads give the
//! same verdict digests for all given cases. Each build leaves a digest of digests; the second to run compares.

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

/// A digest over the verdict digests of all documents in order, found by so many threads.
fn digest(validator: &Validator, documents: &[Vec<u8>], threads: usize) -> Result<String, Failure> {
    let options = Options::default();
    let basis = validator.basis(&options);
    let one = |document: &Vec<u8>| {
        let commitment: [u8; 32] = Sha256::digest(document).into();
        validator.validate_bytes(document, &Limits::default(), &options).digest(&basis, &commitment)
    };
    let (one, options) = (&one, &options);
    let parts = std::thread::scope(|scope| {
        let part = |first: usize| move || documents.iter().skip(first).step_by(threads).map(one).collect();
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(part(first))).collect();
        workers.into_iter().map(|w| w.join()).collect::<Result<Vec<Vec<[u8; 32]>>, _>>()
    });
    let parts = parts.map_err(|_| "a thread ended early")?;
    let mut all = Sha256::new();
    all.update(validator.basis(options));
    for at in 0..documents.len() {
        all.update(
            parts.get(at % threads).and_then(|part| part.get(at / threads)).ok_or("a verdict is absent")?,
        );
    }
    Ok(hex::encode(all.finalize()))
}

pub fn verdicts(validator: &Validator) -> Result<(), Failure> {
    let mut files = Vec::new();
    if let Some(data) = bench::data() {
        json_files(&data.join("fhir"), &mut files)?;
    }
    files.sort();
    let documents: Vec<Vec<u8>> = files.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let digest = digest(validator, &documents, 1)?;
    for threads in [3, 8] {
        if self::digest(validator, &documents, threads)? != digest {
            return Err(format!("{threads} threads give another digest than one").into());
        }
    }
    let (own, other) = if cfg!(debug_assertions) { ("dev", "bench") } else { ("bench", "dev") };
    let folder = bench::scratch("verdicts")?;
    std::fs::write(folder.join(own), &digest)?;
    bench::say(&format!(
        "\nvalidate-verdicts: {} documents, {own} profile, 1, 3 and 8 threads: {digest}",
        files.len()
    ))?;
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
