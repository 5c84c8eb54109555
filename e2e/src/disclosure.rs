//! Searching everything that processes left behind for what identifies the patients.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Values that must be nowhere, with the kind of each.
#[derive(Debug, Default)]
pub struct Secrets(BTreeMap<String, &'static str>);

/// Shorter values would be found by chance in ciphertext.
const SHORTEST: usize = 6;

impl Secrets {
    /// Adds a value of which the bare text is unmistakable.
    pub fn add(&mut self, kind: &'static str, value: &str) {
        if value.len() >= SHORTEST {
            self.0.insert(value.to_owned(), kind);
        }
    }

    /// Adds what identifies the person of a Patient resource: names, identifiers, addresses, telecoms, birth date.
    /// A birth date counts where it stands as a JSON string; a bare date may be a day on which something else happened.
    pub fn add_patient(&mut self, patient: &Value) {
        let list = |v: &Value, key: &str| v.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        for name in list(patient, "name") {
            self.add("family name", &text(&name, "family"));
            for given in list(&name, "given") {
                self.add("given name", given.as_str().unwrap_or_default());
            }
        }
        for identifier in list(patient, "identifier") {
            self.add("identifier", &text(&identifier, "value"));
        }
        for telecom in list(patient, "telecom") {
            self.add("telecom", &text(&telecom, "value"));
        }
        for address in list(patient, "address") {
            for line in list(&address, "line") {
                self.add("address", line.as_str().unwrap_or_default());
            }
        }
        let birth = text(patient, "birthDate");
        if !birth.is_empty() {
            self.0.insert(format!("\"{birth}\""), "birth date");
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of each kind.
    pub fn kinds(&self) -> BTreeMap<&'static str, usize> {
        let mut out = BTreeMap::new();
        for kind in self.0.values() {
            *out.entry(*kind).or_default() += 1;
        }
        out
    }

    /// Everything to look for: each value plain, in hexadecimal and in base64 at each of its three alignments.
    pub fn finder(&self) -> Result<Finder> {
        let mut forms: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for (value, kind) in &self.0 {
            for form in spellings(value.as_bytes()) {
                forms.insert(form, format!("{kind} `{value}`"));
            }
        }
        let alternatives: Vec<String> = forms.keys().map(|f| literal(f)).collect();
        let regex = RegexBuilder::new(&format!("(?-u){}", alternatives.join("|")))
            .size_limit(256 << 20)
            .build()
            .context("build the search")?;
        Ok(Finder { regex, forms })
    }
}

fn literal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("\\x{b:02x}")).collect()
}

fn spellings(value: &[u8]) -> Vec<Vec<u8>> {
    let mut out = vec![value.to_vec(), hex::encode(value).into_bytes()];
    for before in 0..3 {
        let padded = [vec![0; before], value.to_vec()].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&padded).into_bytes();
            // Characters that also depend on what stands before or after the value are left out.
            let from = (before * 8).div_ceil(6);
            let to = padded.len() * 8 / 6;
            out.extend(text.get(from..to).filter(|t| t.len() >= SHORTEST + 2).map(<[u8]>::to_vec));
        }
    }
    out
}

/// A search for all values at once.
pub struct Finder {
    regex: Regex,
    forms: BTreeMap<Vec<u8>, String>,
}

/// One value in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub file: PathBuf,
    pub what: String,
    /// What stands around it, printable characters only.
    pub around: String,
}

impl Finder {
    /// Hits in some bytes; each value once.
    pub fn find(&self, file: &Path, bytes: &[u8]) -> Vec<Hit> {
        let mut found: BTreeMap<String, Hit> = BTreeMap::new();
        for hit in self.regex.find_iter(bytes) {
            let what = self.forms.get(hit.as_bytes()).cloned().unwrap_or_default();
            let around = bytes
                .get(hit.start().saturating_sub(60)..(hit.end() + 60).min(bytes.len()))
                .unwrap_or_default();
            let around: String =
                around.iter().map(|b| if (32..127).contains(b) { char::from(*b) } else { '.' }).collect();
            found.entry(what.clone()).or_insert(Hit { file: file.to_owned(), what, around });
        }
        found.into_values().collect()
    }

    /// Hits in all files below `dir`; counts files and bytes into `seen`.
    pub fn find_below(&self, dir: &Path, seen: &mut (u64, u64)) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for entry in std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                hits.extend(self.find_below(&path, seen)?);
            } else if path.is_file() {
                let bytes = std::fs::read(&path)?;
                seen.0 += 1;
                seen.1 += bytes.len() as u64;
                hits.extend(self.find(&path, &bytes));
            }
        }
        Ok(hits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_every_spelling_and_only_then() {
        let mut secrets = Secrets::default();
        secrets.add("family name", "Quillfeather");
        let finder = secrets.finder().unwrap();
        let file = Path::new("f");
        assert!(finder.find(file, b"nothing of the Quillfeathe kind").is_empty());
        assert_eq!(finder.find(file, b"\x00Quillfeather\xff").len(), 1);
        assert_eq!(finder.find(file, hex::encode("xQuillfeatherx").as_bytes()).len(), 1);
        for before in ["", "a", "ab", "abc"] {
            let text = STANDARD.encode(format!("{before}Quillfeather and more"));
            assert_eq!(finder.find(file, text.as_bytes()).len(), 1, "{before}");
        }
    }
}
