//! The validator: schema and document in, report out.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::fhirpath::Program;
use crate::profile::Profiles;
use crate::report::{Placer, Report};
use crate::rules;
use crate::rules::conformance::Registry;
use crate::schema::Schema;
use crate::tape::{Limits, NodeId, Tape};
use crate::walk::Walk;

/// What to do with an extension that no loaded package defines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownExtensions {
    /// Counted in [`crate::report::Unevaluated::extensions`]; FHIR forbids to refuse a record for
    /// them (<https://hl7.org/fhir/R4/extensibility.html>). An unknown *modifier* extension is an
    /// error in any case: what it modifies cannot be understood.
    #[default]
    Accept,
    /// An error, as the HL7 validator does by default.
    Refuse,
}

/// How far a reference is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// A target that stands in the document is checked; one that does not may be anywhere.
    #[default]
    AsFound,
    /// A relative reference (`Type/id`) out of a Bundle or Parameters must find its target there.
    Exist,
    /// As [`References::Exist`], and the target of a reference that a profile restricts to other
    /// profiles must stand in the document: what cannot be looked at is not known to conform.
    Conform,
}

/// Which Observations are held to the vital signs profiles without claiming them
/// (<https://hl7.org/fhir/R4/observation-vitalsigns.html>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VitalSigns {
    /// None.
    Claimed,
    /// Those with the LOINC code that the specification fixes for one of the profiles.
    #[default]
    Coded,
    /// Also those with a code that means the same or something narrower, as the HL7 validator
    /// does: such an Observation carries the fixed LOINC code besides its own.
    Related,
}

/// Choices of a validation. They change verdicts, so who compares verdicts fixes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Extensions no package defines.
    pub unknown_extensions: UnknownExtensions,
    /// Url prefixes whose extensions are accepted without definition.
    pub extension_domains: Vec<String>,
    /// Refuse strings that look like HTML tags outside of narratives.
    pub security_checks: bool,
    /// Accept urls of the reserved `example` domains.
    pub example_urls: bool,
    /// Evaluate the constraints of the definitions in FHIRPath. Without, only those that a native
    /// rule decides are checked.
    pub invariants: bool,
    /// Look codes up in value sets and code systems. Without, only their form is checked.
    pub terminology: bool,
    /// Check constraints that the definitions call best practice, such as dom-6 (a resource should
    /// have a narrative).
    pub best_practice: bool,
    /// Report values outside of preferred value sets, as information.
    pub preferred_bindings: bool,
    /// Canonical urls of profiles the document is checked against, besides those it claims in
    /// `meta.profile`. One that no package brings is an error.
    pub profiles: Vec<String>,
    /// Profiles for resources in the entries of a Bundle: type (`Patient`), or type and number among
    /// the entries of that type from 0 (`Patient:0`), and the canonical url of the profile.
    pub entry_profiles: Vec<(String, String)>,
    /// Vital signs that do not claim a profile.
    pub vital_signs: VitalSigns,
    /// How far references are followed.
    pub references: References,
    /// Check contained resources. Without, neither their content nor whether they are used.
    pub contained: bool,
    /// The day (`YYYY-MM-DD`) as which `now()` and `today()` in constraints and the bounds of
    /// profiles relative to the present are read; without it they are counted and not evaluated.
    pub as_of: Option<String>,
    /// More issues than this are cut off, with a notice.
    pub max_issues: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            unknown_extensions: UnknownExtensions::Accept,
            extension_domains: Vec::new(),
            security_checks: false,
            example_urls: true,
            invariants: true,
            terminology: true,
            best_practice: false,
            preferred_bindings: false,
            profiles: Vec::new(),
            entry_profiles: Vec::new(),
            vital_signs: VitalSigns::default(),
            references: References::default(),
            contained: true,
            as_of: None,
            max_issues: 1000,
        }
    }
}

/// Validates documents against one schema. Cheap to clone and to share between threads.
#[derive(Clone, Debug)]
pub struct Validator {
    schema: Arc<Schema>,
    /// The constraints of the schema, by row; `None` for one that a native rule decides.
    programs: Arc<[Option<Program>]>,
    profiles: Arc<Profiles>,
    registry: Arc<Registry>,
}

impl Validator {
    /// A validator for `schema`; compiles its constraints.
    pub fn new(schema: Arc<Schema>) -> Self {
        let programs = rules::invariant::compile_all(&schema);
        let profiles = Arc::new(Profiles::new(&schema));
        let registry = Arc::new(Registry::new(&schema));
        Validator { schema, programs: programs.into(), profiles, registry }
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// SHA-256 over the schema digest and the options: everything a verdict depends on besides the
    /// document. Give it to [`crate::report::verdict_digest`] in the place of the schema digest, so
    /// that verdicts reached with other options never look the same.
    pub fn basis(&self, options: &Options) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"consilium/fhir-basis/v3\0");
        hash.update(self.schema.digest());
        hash.update([
            u8::from(options.unknown_extensions == UnknownExtensions::Refuse),
            u8::from(options.security_checks),
            u8::from(options.example_urls),
            u8::from(options.invariants),
            u8::from(options.terminology),
            u8::from(options.best_practice),
            options.vital_signs as u8,
            options.references as u8,
            u8::from(options.contained),
            u8::from(options.preferred_bindings),
        ]);
        hash.update((options.max_issues as u64).to_be_bytes());
        let entries = options.entry_profiles.iter().map(|(rule, url)| format!("{rule} {url}")).collect();
        let as_of = options.as_of.iter().cloned().collect();
        for list in [&options.extension_domains, &options.profiles, &entries, &as_of] {
            let mut list: Vec<String> = list.clone();
            list.sort();
            list.dedup();
            hash.update((list.len() as u64).to_be_bytes());
            for text in list {
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
        }
        hash.finalize().into()
    }

    /// Validates one resource (a Bundle with all that it holds): every issue in one report, in
    /// document order. The result depends on the schema, the options and the document only.
    pub fn validate(&self, tape: &Tape<'_>, options: &Options) -> Report {
        self.walk(tape, options, &[])
    }

    /// Parses and validates; a document that is no JSON gives a report with one fatal issue.
    pub fn validate_bytes(&self, input: &[u8], limits: &Limits, options: &Options) -> Report {
        match Tape::parse(input, limits) {
            Ok(tape) => self.validate(&tape, options),
            Err(error) => Report::of_parse_error(&error),
        }
    }

    /// `withheld`: sorted ids of leaves whose value is unknown.
    pub(crate) fn walk(&self, tape: &Tape<'_>, options: &Options, withheld: &[NodeId]) -> Report {
        let mut walk =
            Walk::new(&self.schema, tape, options, &self.programs, &self.profiles, &self.registry, withheld);
        walk.document();
        walk.into_report(|tape| Placer::new(&self.schema, tape))
    }
}
