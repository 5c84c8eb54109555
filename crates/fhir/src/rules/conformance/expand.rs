//! Membership in value sets, also in those that a document contains
//! (<https://hl7.org/fhir/R4/valueset.html#compositions>).

use std::collections::BTreeSet;

use crate::schema::{CodeState, Membership as Bound, Schema, items, text_of};
use crate::tape::Cursor;

/// Whether a code is in a value set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    In,
    Out,
    /// The packages do not hold what it takes to tell.
    NotHeld,
}

impl From<bool> for Membership {
    fn from(inside: bool) -> Self {
        if inside { Membership::In } else { Membership::Out }
    }
}

/// The codes of a value set, as (code, system).
#[derive(Debug, Default)]
pub(crate) struct Codes(BTreeSet<(String, String)>);

impl Codes {
    pub(crate) fn membership(&self, system: &str, code: &str) -> Membership {
        self.0.contains(&(code.to_owned(), system.to_owned())).into()
    }
}

/// In the value set that the packages hold under `canonical`.
pub(crate) fn membership(schema: &Schema, canonical: &str, system: &str, code: &str) -> Membership {
    let url = canonical.split('|').next().unwrap_or(canonical);
    let Some(set) = schema.value_set_row(url).and_then(|row| schema.value_set(row)) else {
        return Membership::NotHeld;
    };
    match set.membership {
        Bound::Listed => schema.codes(set, code).any(|c| schema.str(c.system) == system).into(),
        _ => Membership::NotHeld,
    }
}

/// The codes of a ValueSet resource; `None` if the packages do not hold all it is composed of. An
/// expansion that it carries counts if its composition cannot be followed.
pub(crate) fn codes_of(schema: &Schema, set: Cursor<'_, '_>) -> Option<Codes> {
    let composed = set.get("compose").and_then(|compose| {
        let mut all = BTreeSet::new();
        for part in items(compose, "include") {
            all.extend(included(schema, part)?);
        }
        for part in items(compose, "exclude") {
            let out = included(schema, part)?;
            all.retain(|code| !out.contains(code));
        }
        Some(Codes(all))
    });
    composed.or_else(|| {
        let mut all = BTreeSet::new();
        expanded(set.get("expansion")?, &mut all);
        Some(Codes(all))
    })
}

fn included(schema: &Schema, part: Cursor<'_, '_>) -> Option<BTreeSet<(String, String)>> {
    let system = text_of(part, "system");
    let mut found = match system.as_str() {
        "" => None,
        _ if part.get("filter").is_some() => return None,
        _ => Some(match part.get("concept") {
            Some(list) => list.children().map(|c| (text_of(c, "code"), system.clone())).collect(),
            None => all_of(schema, &system)?,
        }),
    };
    for url in items(part, "valueSet") {
        let url = url.as_str()?;
        let row = schema.value_set_row(url.split('|').next()?)?;
        let set = schema.value_set(row).filter(|s| s.membership == Bound::Listed)?;
        let codes = schema.codes_of(set);
        let imported: BTreeSet<(String, String)> =
            codes.map(|c| (schema.str(c.code).to_owned(), schema.str(c.system).to_owned())).collect();
        found = Some(match found {
            None => imported,
            Some(own) => own.intersection(&imported).cloned().collect(),
        });
    }
    found
}

fn all_of(schema: &Schema, system: &str) -> Option<BTreeSet<(String, String)>> {
    let row = schema.system(system, None)?;
    // Complete, and no supplement.
    if !matches!(schema.code_state(system, None, ""), CodeState::Unknown) {
        return None;
    }
    Some(schema.concepts_of(row).map(|c| (schema.str(c.code).to_owned(), system.to_owned())).collect())
}

fn expanded(node: Cursor<'_, '_>, into: &mut BTreeSet<(String, String)>) {
    for entry in items(node, "contains") {
        if entry.get("abstract").and_then(Cursor::as_bool) != Some(true) {
            into.insert((text_of(entry, "code"), text_of(entry, "system")));
        }
        expanded(entry, into);
    }
}
