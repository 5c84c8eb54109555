//! Questionnaires, Measures and Libraries of the packages, read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rules::measure::{Library, Measure};
use crate::rules::questionnaire::Form;
use crate::schema::Schema;
use crate::tape::{Limits, Tape};

/// What instances refer to by canonical url.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    forms: Versions<Form>,
    measures: Versions<Measure>,
    libraries: Versions<Library>,
}

/// By url, then by version.
#[derive(Debug)]
struct Versions<T>(BTreeMap<String, BTreeMap<String, Arc<T>>>);

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Versions(BTreeMap::new())
    }
}

impl<T> Versions<T> {
    fn insert(&mut self, url: &str, version: &str, entry: T) {
        self.0.entry(url.to_owned()).or_default().insert(version.to_owned(), Arc::new(entry));
    }

    /// The version after `|`; without one the last, by text.
    fn find(&self, canonical: &str) -> Option<Arc<T>> {
        let canonical = canonical.split('#').next().unwrap_or(canonical);
        match canonical.split_once('|') {
            Some((url, version)) => self.0.get(url)?.get(version).cloned(),
            None => self.0.get(canonical)?.values().next_back().cloned(),
        }
    }
}

impl Registry {
    /// Reads the documents of a schema.
    pub(crate) fn new(schema: &Schema) -> Registry {
        let mut registry = Registry::default();
        for document in schema.documents() {
            // They were parsed when the schema was compiled.
            let Ok(tape) = Tape::parse(schema.str(document.text).as_bytes(), &Limits::default()) else {
                continue;
            };
            let (url, version) = (schema.str(document.url), schema.str(document.version));
            match schema.str(document.kind) {
                "Questionnaire" => registry.forms.insert(url, version, Form::new(schema, tape.root())),
                "Measure" => registry.measures.insert(url, version, Measure::new(tape.root())),
                "Library" => registry.libraries.insert(url, version, Library::new(tape.root())),
                _ => {}
            }
        }
        registry
    }

    pub(crate) fn measure(&self, canonical: &str) -> Option<Arc<Measure>> {
        self.measures.find(canonical)
    }

    pub(crate) fn library(&self, canonical: &str) -> Option<Arc<Library>> {
        self.libraries.find(canonical)
    }

    pub(crate) fn form(&self, canonical: &str) -> Option<Arc<Form>> {
        self.forms.find(canonical)
    }
}
