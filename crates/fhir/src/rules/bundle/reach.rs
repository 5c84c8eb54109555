//! What a document or message carries belongs to it: every entry hangs together with the first one
//! (<https://hl7.org/fhir/R4/documents.html#content>).

use super::Index;
use crate::report::{IssueCode, Severity};
use crate::tape::Cursor;
use crate::walk::Walk;

/// Follows the references between entries from the first one. O(entries + references).
pub(super) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, index: &Index<'t, 'a>) {
    let document = index.is(&["document"]);
    if !(document || index.is(&["message"])) || walk.holds_withheld() {
        return;
    }
    let count = index.entries.len();
    let (mut forward, mut backward) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for (resource, used) in &index.uses {
        let from = index.by_resource(*resource);
        let Some(source) = from.and_then(|e| number(index, e.node)) else { continue };
        let target = index.entry_of(from, &used.url).and_then(|e| number(index, e.node));
        if let Some(target) = target {
            if let Some(next) = forward.get_mut(source) {
                next.push(target);
            }
            if let Some(next) = backward.get_mut(target) {
                next.push(source);
            }
        }
    }
    let referred = reached(&[&forward]);
    let linked = reached(&[&forward, &backward]);
    for (at, entry) in index.entries.iter().enumerate() {
        let has = |set: &[bool]| set.get(at).copied().unwrap_or(true);
        // A stylesheet is a Binary; a definition may be meant by its canonical url.
        let named = entry.resource.is_none_or(|r| r.get("url").is_some());
        if has(&referred) || entry.ty == "Binary" || named {
            continue;
        }
        let place = entry.node;
        let id = "fhir.bundle.unreachable";
        if !has(&linked) {
            let severity = if document { Severity::Error } else { Severity::Warning };
            let text = "no chain of references connects this entry with the first one, so it is no part \
                of the bundle's content; refer to it or remove it";
            walk.note(place, severity, IssueCode::BusinessRule, id, text);
        } else if document && entry.ty != "Provenance" {
            let text = "the document's Composition does not lead to this entry, which only refers to \
                others; that is meant for a Provenance alone";
            walk.note(place, Severity::Warning, IssueCode::BusinessRule, id, text);
        }
    }
}

/// Position of an entry; entries are in document order.
fn number(index: &Index<'_, '_>, node: Cursor<'_, '_>) -> Option<usize> {
    index.entries.partition_point(|e| e.node.id() <= node.id()).checked_sub(1)
}

/// The entries reached from the first one.
fn reached(edges: &[&Vec<Vec<usize>>]) -> Vec<bool> {
    let mut seen = vec![false; edges.first().map_or(0, |e| e.len())];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        match seen.get_mut(at) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        open.extend(edges.iter().filter_map(|e| e.get(at)).flatten().copied());
    }
    seen
}
