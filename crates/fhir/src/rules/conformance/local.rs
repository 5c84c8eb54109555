//! Definitions in the same bundle as what refers to them by canonical url.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::rules::measure::{Library, Measure};
use crate::rules::questionnaire::Form;
use crate::schema::text_of;
use crate::tape::{Cursor, NodeId};
use crate::walk::Walk;

/// Resource types that instances refer to by canonical url and are checked against.
const TYPES: [&str; 3] = ["Questionnaire", "Measure", "Library"];

/// The definitions among the entries of one bundle: type and url, then version. Of two with the same
/// name the first counts.
pub(crate) type Canonicals = BTreeMap<(&'static str, String), BTreeMap<String, NodeId>>;

/// Definitions that stand in the document, each read once.
#[derive(Default)]
pub(crate) struct Local {
    forms: BTreeMap<NodeId, Arc<Form>>,
    measures: BTreeMap<NodeId, Arc<Measure>>,
    libraries: BTreeMap<NodeId, Arc<Library>>,
}

impl<'t, 'a> Walk<'_, 't, 'a> {
    /// The definition of type `ty` under `canonical` in the innermost open bundle that has one: what
    /// comes with a document is what its sender means. Without a version the last one, by text.
    pub(crate) fn in_bundle(&mut self, ty: &'static str, canonical: &str) -> Option<Cursor<'t, 'a>> {
        let canonical = canonical.split('#').next().unwrap_or(canonical);
        let (url, version) = match canonical.split_once('|') {
            Some((url, version)) => (url, Some(version)),
            None => (canonical, None),
        };
        let key = (ty, url.to_owned());
        for at in (0..self.bundles.len()).rev() {
            let known = self.bundles.get(at).is_some_and(|b| b.canonicals.is_some());
            if !known {
                let canonicals = self.canonicals(at);
                if let Some(bundle) = self.bundles.get_mut(at) {
                    bundle.canonicals = Some(canonicals);
                }
            }
            let bundle = self.bundles.get(at)?;
            let Some(versions) = bundle.canonicals.as_ref().and_then(|c| c.get(&key)) else { continue };
            let found = match version {
                Some(version) => versions.get(version),
                None => versions.values().next_back(),
            };
            if let Some(&found) = found {
                return Some(self.tape.cursor(found));
            }
        }
        None
    }

    fn canonicals(&self, at: usize) -> Canonicals {
        let mut found = Canonicals::new();
        for (ty, resource) in self.bundles.get(at).into_iter().flat_map(|b| b.resources()) {
            let Some(ty) = TYPES.into_iter().find(|t| *t == ty) else { continue };
            let hidden = |key: &str| resource.get(key).is_some_and(|n| self.withholds(n.id()));
            let url = text_of(resource, "url");
            if url.is_empty() || hidden("url") || hidden("version") {
                continue;
            }
            let versions = found.entry((ty, url)).or_default();
            versions.entry(text_of(resource, "version")).or_insert(resource.id());
        }
        found
    }

    /// A Questionnaire of the document.
    pub(crate) fn form_at(&mut self, node: Cursor<'t, 'a>) -> Arc<Form> {
        if let Some(known) = self.local.forms.get(&node.id()) {
            return Arc::clone(known);
        }
        let form = Arc::new(Form::new(self.schema, node));
        self.local.forms.insert(node.id(), Arc::clone(&form));
        form
    }

    /// A Measure of the document.
    pub(crate) fn measure_at(&mut self, node: Cursor<'t, 'a>) -> Arc<Measure> {
        let read = || Arc::new(Measure::new(node));
        Arc::clone(self.local.measures.entry(node.id()).or_insert_with(read))
    }

    /// A Library of the document.
    pub(crate) fn library_at(&mut self, node: Cursor<'t, 'a>) -> Arc<Library> {
        let read = || Arc::new(Library::new(node));
        Arc::clone(self.local.libraries.entry(node.id()).or_insert_with(read))
    }
}
