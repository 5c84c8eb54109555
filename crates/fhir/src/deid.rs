//! What a projection may show: 45 CFR 164.514(b)(2) mapped to FHIR elements.
//!
//! Every element gets one action when the schema is compiled. An element that no rule names is
//! withheld: a forgotten rule costs a check, not a patient's privacy.

/// What happens to a leaf in a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// The token is not shown; its hash remains.
    Withhold = 0,
    /// The token is shown as it is.
    Keep = 1,
}

impl Action {
    pub(crate) fn of(byte: u8) -> Action {
        if byte == Action::Keep as u8 { Action::Keep } else { Action::Withhold }
    }
}

/// Types whose values say what a record is about, in codes and measures, and not who it is about.
const CLINICAL: &[&str] = &[
    "boolean",
    "code",
    "Coding",
    "CodeableConcept",
    "decimal",
    "integer",
    "positiveInt",
    "unsignedInt",
    "Quantity",
    "SimpleQuantity",
    "Money",
    "Range",
    "Ratio",
    "canonical",
];

/// Elements kept although their type is not kept in general: code systems, definitions and the type
/// (never the target) of a reference.
const KEPT: &[(&str, &str)] = &[
    ("Coding", "system"),
    ("Coding", "version"),
    ("Quantity", "system"),
    ("Quantity", "unit"),
    ("Reference", "type"),
    ("Meta", "profile"),
    ("Identifier", "system"),
    ("Extension", "url"),
];

/// Elements withheld although their type is kept: numbers that count or name a person's things.
const WITHHELD: &[(&str, &str)] =
    &[("Coding", "userSelected"), ("Attachment", "size"), ("Patient", "multipleBirth")];

/// The action of the element `name` of the type or backbone at `path` with the given types.
///
/// An element that holds other elements is decided at its leaves; its own action matters only for
/// a leaf.
pub(crate) fn action(path: &str, name: &str, types: &[String]) -> u8 {
    let here = |list: &[(&str, &str)]| list.iter().any(|(p, n)| *p == path && *n == name);
    let clinical = !types.is_empty() && types.iter().all(|t| CLINICAL.contains(&t.as_str()));
    let keep = here(KEPT) || (clinical && !here(WITHHELD));
    if keep { Action::Keep as u8 } else { Action::Withhold as u8 }
}
