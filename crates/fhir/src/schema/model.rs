//! The flat tables of a compiled schema. Ids are `u16`, members of a type are bits of a `u64`.

/// Id of a type or backbone element in a [`super::Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub(crate) u16);

/// No id.
pub(crate) const NONE: u16 = u16::MAX;

/// A piece of the schema's string pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Str {
    pub at: u32,
    pub len: u32,
}

/// A run of rows of another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Run {
    pub at: u32,
    pub len: u32,
}

impl Run {
    pub(crate) fn of<T>(self, table: &[T]) -> &[T] {
        let at = self.at as usize;
        table.get(at..at.saturating_add(self.len as usize)).unwrap_or_default()
    }
}

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TypeKind {
    /// `string`, `date`, …
    Primitive,
    /// `HumanName`, `Period`, …
    Complex,
    /// `Patient`, `Bundle`, …
    Resource,
    /// An element with members of its own inside another type: `Patient.contact`.
    Backbone,
}

/// The primitive types of R4 (<https://hl7.org/fhir/R4/datatypes.html#primitive>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the specification's own")]
pub enum Primitive {
    Boolean,
    Integer,
    UnsignedInt,
    PositiveInt,
    Decimal,
    String,
    Markdown,
    Code,
    Id,
    Uri,
    Url,
    Canonical,
    Oid,
    Uuid,
    Date,
    DateTime,
    Instant,
    Time,
    Base64Binary,
    Xhtml,
}

impl Primitive {
    /// All of them with their FHIR names, in the order of their numbers.
    pub(crate) const ALL: [(Primitive, &'static str); 20] = [
        (Primitive::Boolean, "boolean"),
        (Primitive::Integer, "integer"),
        (Primitive::UnsignedInt, "unsignedInt"),
        (Primitive::PositiveInt, "positiveInt"),
        (Primitive::Decimal, "decimal"),
        (Primitive::String, "string"),
        (Primitive::Markdown, "markdown"),
        (Primitive::Code, "code"),
        (Primitive::Id, "id"),
        (Primitive::Uri, "uri"),
        (Primitive::Url, "url"),
        (Primitive::Canonical, "canonical"),
        (Primitive::Oid, "oid"),
        (Primitive::Uuid, "uuid"),
        (Primitive::Date, "date"),
        (Primitive::DateTime, "dateTime"),
        (Primitive::Instant, "instant"),
        (Primitive::Time, "time"),
        (Primitive::Base64Binary, "base64Binary"),
        (Primitive::Xhtml, "xhtml"),
    ];

    /// The FHIR name.
    pub fn name(self) -> &'static str {
        Primitive::ALL.iter().find(|(p, _)| *p == self).map_or("", |(_, n)| n)
    }

    pub(crate) fn named(name: &str) -> Option<Primitive> {
        Primitive::ALL.iter().find(|(_, n)| *n == name).map(|(p, _)| *p)
    }
}

/// Types with rules of their own, found by name when the schema is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Special {
    None,
    Extension,
    Reference,
    Bundle,
    BundleEntry,
    Coding,
    CodeableConcept,
    Quantity,
    Attachment,
    Narrative,
    Identifier,
    Parameters,
    ElementDefinition,
    Questionnaire,
    QuestionnaireResponse,
    CodeSystem,
    ValueSet,
    ConceptMap,
    SearchParameter,
    Measure,
    MeasureReport,
    StructureDefinition,
}

impl Special {
    pub(crate) const ALL: [(Special, &'static str); 22] = [
        (Special::None, ""),
        (Special::Extension, "Extension"),
        (Special::Reference, "Reference"),
        (Special::Bundle, "Bundle"),
        (Special::BundleEntry, "Bundle.entry"),
        (Special::Coding, "Coding"),
        (Special::CodeableConcept, "CodeableConcept"),
        (Special::Quantity, "Quantity"),
        (Special::Attachment, "Attachment"),
        (Special::Narrative, "Narrative"),
        (Special::Identifier, "Identifier"),
        (Special::Parameters, "Parameters"),
        (Special::ElementDefinition, "ElementDefinition"),
        (Special::Questionnaire, "Questionnaire"),
        (Special::QuestionnaireResponse, "QuestionnaireResponse"),
        (Special::CodeSystem, "CodeSystem"),
        (Special::ValueSet, "ValueSet"),
        (Special::ConceptMap, "ConceptMap"),
        (Special::SearchParameter, "SearchParameter"),
        (Special::Measure, "Measure"),
        (Special::MeasureReport, "MeasureReport"),
        (Special::StructureDefinition, "StructureDefinition"),
    ];
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeDef {
    /// `Patient`, `HumanName`, `Patient.contact`.
    pub name: Str,
    pub kind: TypeKind,
    pub primitive: Option<Primitive>,
    pub special: Special,
    pub is_abstract: bool,
    /// The type this one specialises, or [`NONE`].
    pub base: u16,
    /// At most 64 members.
    pub children: Run,
    pub slots: Run,
    /// Open-addressing table over the slots: 0 = free, else slot + 1; its length is a power of two.
    pub buckets: Run,
    /// Bits of the members with `min > 0`.
    pub required: u64,
    pub invariants: Run,
}

/// A member of a type, as the specification names it (`value` for `value[x]`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child {
    pub name: Str,
    pub min: u16,
    /// `u16::MAX` is `*`.
    pub max: u16,
    /// A JSON array, by the base definition's `max`.
    pub array: bool,
    pub choice: bool,
    pub modifier: bool,
    /// Row of a value set, or [`NONE`].
    pub binding: u16,
    pub strength: Strength,
    /// Row of the value set that no code may leave, however weak the binding, or [`NONE`].
    pub most: u16,
    pub invariants: Run,
}

/// A JSON property name of a type: one per type of a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// `valueQuantity`
    pub name: Str,
    /// Position in the type's children.
    pub child: u8,
    pub ty: u16,
    /// Types a Reference or canonical may point to; empty = any.
    pub targets: Run,
    /// What a projection does with it, see `deid::Action`: for a complex type, whether anything
    /// below it may be kept.
    pub action: u8,
}

/// How membership in a value set is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Membership {
    /// All codes are listed.
    Listed,
    /// BCP 13 media types, by grammar.
    MediaType,
    /// UCUM units, by grammar.
    Ucum,
    /// BCP 47 language tags, by grammar.
    Language,
    /// Some codes are listed; others of [`ValueSet::unknown`] systems may be members too.
    Partial,
    /// The package does not hold the codes; never an error, counted as not evaluated.
    Unknown,
}

/// How binding a value set is (<https://hl7.org/fhir/R4/terminologies.html#strength>); `example` says
/// nothing to a validator and is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Strength {
    Required,
    Extensible,
    Preferred,
}

impl Strength {
    pub(crate) fn named(name: &str) -> Option<Strength> {
        match name {
            "required" => Some(Strength::Required),
            "extensible" => Some(Strength::Extensible),
            "preferred" => Some(Strength::Preferred),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueSet {
    pub url: Str,
    pub membership: Membership,
    /// Rows sorted by code, then system.
    pub codes: Run,
    /// Names of the systems whose content the packages lack; an empty name is any system.
    pub unknown: Run,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Code {
    pub code: Str,
    pub system: Str,
}

/// A constraint of the definitions with its FHIRPath expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invariant {
    pub key: Str,
    /// Url of the definition that declares it; with the key its identity.
    pub source: Str,
    pub expression: Str,
    pub human: Str,
    pub is_error: bool,
    pub best_practice: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchParam {
    pub code: Str,
    /// `token`, `string`, `reference`, …
    pub kind: Str,
    /// Resource type.
    pub base: Str,
    pub expression: Str,
    pub url: Str,
    /// Of a composite: a line for each part, the url of its parameter, a tab, its expression.
    pub components: Str,
}

/// A definition the packages bring for an extension or a profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    pub url: Str,
    /// `Extension`, or the type a profile constrains.
    pub ty: Str,
    pub modifier: bool,
    /// Names of the types allowed as value; empty: no simple value allowed.
    pub values: Run,
    /// Urls of the extensions inside; empty: not known.
    pub parts: Run,
    /// Contexts as `type:expression`; empty: anywhere.
    pub contexts: Run,
}

/// A profile that all resources of a type conform to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Global {
    pub ty: Str,
    pub profile: Str,
}

/// A profile as its author wrote it: what differs from its base, to be merged when it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProfileSource {
    pub url: Str,
    pub version: Str,
    /// Name of the type it constrains.
    pub ty: Str,
    /// Url of the definition it starts from.
    pub base: Str,
    /// JSON array of the elements of the differential, reduced to what constrains a document.
    pub differential: Str,
    /// The same of the snapshot, if there is one: for a base that no package brings.
    pub snapshot: Str,
}
