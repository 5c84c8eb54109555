//! Definitions as documents: code systems, value sets, concept maps, search parameters and
//! structure definitions, checked against what the packages hold.

pub(crate) mod code_system;
pub(crate) mod coding;
pub(crate) mod concept_map;
mod ecl;
pub(crate) mod expand;
mod local;
mod registry;
mod sctid;
pub(crate) mod search_parameter;
pub(crate) mod structure;
pub(crate) mod value_set;

pub(crate) use local::{Canonicals, Local};
pub(crate) use registry::Registry;

use crate::schema::Schema;

/// The resource type of what the packages define under a canonical url, if they do.
pub(crate) fn kind_of<'s>(schema: &'s Schema, canonical: &str) -> Option<&'s str> {
    let url = canonical.split('|').next().unwrap_or(canonical);
    if schema.value_set_row(url).is_some() {
        return Some("ValueSet");
    }
    if schema.system(url, None).is_some() {
        return Some("CodeSystem");
    }
    if schema.definition(url).is_some() {
        return Some("StructureDefinition");
    }
    let document = schema.documents().iter().find(|d| schema.str(d.url) == url)?;
    Some(schema.str(document.kind))
}
