//! A resource's leaves in the form in which they are committed to, with the mask of the projection.

use consilium_domain::record::LeafKind;
use consilium_fhir::deid::Action;
use consilium_fhir::leaves::{LeafKind as FhirKind, leaves};
use consilium_fhir::projection::project;
use consilium_fhir::tape::NodeId;
use consilium_fhir::{Schema, Tape};
use consilium_ledger::commitment::Leaf;

/// One leaf.
pub struct ContentLeaf<'a> {
    pub path: String,
    pub kind: LeafKind,
    pub token: &'a str,
    /// Only its salted hash leaves the organisation.
    pub withheld: bool,
}

impl ContentLeaf<'_> {
    /// The same for the ledger crate.
    pub fn as_leaf(&self) -> Leaf<'_> {
        Leaf { path: &self.path, kind: self.kind, token: self.token.as_bytes() }
    }
}

/// The leaves of a whole document in document order. Refuses empty objects and arrays, which no valid resource has.
pub fn of<'a>(schema: &Schema, tape: &Tape<'a>) -> Result<Vec<ContentLeaf<'a>>, &'static str> {
    let mut actions = project(tape, NodeId::ROOT, schema).into_iter().map(|(_, action)| action);
    leaves(tape.root())
        .into_iter()
        .map(|leaf| {
            let kind = match leaf.kind {
                FhirKind::String => LeafKind::String,
                FhirKind::Number => LeafKind::Number,
                FhirKind::Boolean => LeafKind::Boolean,
                FhirKind::Null => LeafKind::Null,
                FhirKind::EmptyObject | FhirKind::EmptyArray => {
                    return Err("the resource holds an empty object or array: leave it out");
                }
            };
            // A leaf without an action is withheld.
            let withheld = actions.next() != Some(Action::Keep);
            Ok(ContentLeaf { path: leaf.path, kind, token: leaf.token, withheld })
        })
        .collect()
}
