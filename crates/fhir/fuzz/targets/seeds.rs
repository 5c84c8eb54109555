//! Writes seeds for the targets: small records and expressions of the test data.
//!
//!     fhir-seeds DATA OUT     DATA: the folder of the real test data; OUT/TARGET receives one file per seed

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

/// As `-max_len` of scripts/fuzz.sh.
const MOST: usize = 3072;
/// Resources taken out of one bundle.
const OF_BUNDLE: usize = 40;

fn json_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            json_files(&path, out);
        } else if path.extension().is_some_and(|kind| kind == "json") {
            out.push(path);
        }
    }
}

struct Out {
    folder: PathBuf,
    count: usize,
}

impl Out {
    fn new(folder: &Path, target: &str) -> Self {
        let folder = folder.join(target);
        fs::create_dir_all(&folder).expect("the corpus folder");
        Out { folder, count: 0 }
    }

    fn add(&mut self, seed: &[u8]) {
        if seed.len() <= MOST {
            fs::write(self.folder.join(format!("seed-{}", self.count)), seed).expect("a seed");
            self.count += 1;
        }
    }
}

fn main() {
    let mut arguments = env::args().skip(1).map(PathBuf::from);
    let (data, out) = (arguments.next().expect("DATA"), arguments.next().expect("OUT"));
    let (mut json, mut validator) = (Out::new(&out, "json"), Out::new(&out, "validator"));
    let mut files = Vec::new();
    json_files(&data.join("fhir"), &mut files);
    files.sort();
    // The first byte of the validator's input is its options.
    let with_options = |text: &[u8], options: u8| [&[options][..], text].concat();
    for file in files {
        let text = fs::read(&file).expect("a file");
        json.add(&text);
        for options in [0x20, 0x6b] {
            validator.add(&with_options(&text, options));
        }
        if text.len() <= MOST {
            continue;
        }
        let Ok(value) = serde_json::from_slice::<Value>(&text) else { continue };
        for entry in value["entry"].as_array().into_iter().flatten().take(OF_BUNDLE) {
            validator.add(&with_options(entry["resource"].to_string().as_bytes(), 0x20));
        }
    }
    let mut fhirpath = Out::new(&out, "fhirpath");
    let tests = fs::read(data.join("fhir/fhirpath-cases/tests.json")).unwrap_or_default();
    let tests: Value = serde_json::from_slice(&tests).unwrap_or_default();
    for case in tests["tests"].as_array().into_iter().flatten() {
        let expression = case["expression"].as_str().unwrap_or_default().replace('\n', " ");
        for choice in [0u8, 13, 35] {
            fhirpath.add(&[expression.as_bytes(), b"\n", &[choice]].concat());
        }
    }
    println!("seeds: {} json, {} validator, {} fhirpath", json.count, validator.count, fhirpath.count);
}
