//! What a projection may show: 45 CFR 164.514(b)(2) mapped to FHIR elements.
//!
//! Every property of every type gets one action when the schema is compiled. A leaf is kept only if
//! its own action and those of all elements above it say so. A type or element that no list names is
//! withheld: a forgotten rule costs a check, not a patient's privacy.
//!
//! A [`Policy`] refines the table by a configuration, and also rewrites records for export.

mod config;
mod export;
mod policy;
mod transform;

pub use config::{ConfigError, ShiftScope};
pub use export::{ExportError, Secrets};
pub use policy::Policy;

pub(crate) use policy::At;

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

/// Primitive types whose values say what a record is about, not who: codes, counts, measures. Dates,
/// ids, urls and free text are not among them.
const KEPT_PRIMITIVES: &[&str] = &["boolean", "code", "decimal", "integer", "positiveInt", "unsignedInt"];

/// Complex types that may hold kept leaves; `""` is a backbone element or a content reference.
/// Age is not among them (ages over 89 identify: 164.514(b)(2)(i)(C)), nor are Attachment,
/// Annotation, Narrative, Period, Timing, Signature and SampledData. Extension is decided by its
/// url.
const OPEN_TYPES: &[&str] = &[
    "",
    "BackboneElement",
    "Element",
    "Resource",
    "Meta",
    "CodeableConcept",
    "Coding",
    "Quantity",
    "Money",
    "Range",
    "Ratio",
    "Duration",
    "Count",
    "Distance",
    "Dosage",
    "Reference",
    "Identifier",
    "HumanName",
    "Address",
    "ContactPoint",
    "Extension",
];

/// Leaves kept although their type is withheld: what codes mean, and the type (never the target) of
/// a reference.
const KEPT: &[(&str, &str)] = &[
    ("Coding", "system"),
    ("Coding", "version"),
    ("Quantity", "system"),
    ("Duration", "system"),
    ("Count", "system"),
    ("Distance", "system"),
    ("Reference", "type"),
    ("Meta", "profile"),
    ("Extension", "url"),
];

/// Leaves withheld although their type is kept.
const WITHHELD: &[(&str, &str)] = &[
    // geographic units smaller than a state: (b)(2)(i)(B)
    ("Location.position", "longitude"),
    ("Location.position", "latitude"),
    ("Location.position", "altitude"),
    // order of birth singles out a twin
    ("Patient", "multipleBirth"),
];

/// Resources withheld as a whole: images and biometrics (b)(2)(i)(P, Q), genomes, raw content, and
/// statements that two records are one person.
const WITHHELD_RESOURCES: &[&str] =
    &["Media", "BodyStructure", "MolecularSequence", "Binary", "DocumentManifest", "Linkage"];

/// Extensions a projection shows: they say why a value is absent. All others are withheld with all
/// that they hold, url included.
pub(crate) const KEPT_EXTENSIONS: &[&str] = &[
    "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "http://hl7.org/fhir/StructureDefinition/iso21090-nullFlavor",
];

/// The action of the element `name` with type `code` in the type or backbone element `path`.
pub(crate) fn action(path: &str, name: &str, code: &str) -> Action {
    let listed = |list: &[(&str, &str)]| list.iter().any(|(p, n)| *p == path && *n == name);
    let resource = path.split('.').next().unwrap_or(path);
    if WITHHELD_RESOURCES.contains(&resource) || listed(WITHHELD) {
        return Action::Withhold;
    }
    if KEPT_PRIMITIVES.contains(&code) || OPEN_TYPES.contains(&code) || listed(KEPT) {
        return Action::Keep;
    }
    Action::Withhold
}

/// Units of time in which an age is told: an Observation of somebody's age is a Quantity like any
/// other.
pub(crate) fn is_age_unit(unit: &str) -> bool {
    matches!(unit, "a" | "a_g" | "a_j" | "a_t" | "mo" | "mo_g" | "mo_j" | "mo_s")
        || ["year", "yr", "month", "age"].iter().any(|word| unit.to_ascii_lowercase().contains(word))
}
