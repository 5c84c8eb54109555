//! What a validation found.

mod outcome;
mod place;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::tape::{NodeId, ParseError};

pub use outcome::outcome_json;
pub(crate) use place::{Placer, is_name, resource_of};

/// How bad an issue is (<https://hl7.org/fhir/R4/valueset-issue-severity.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The document could not be read at all.
    Fatal,
    /// The document is not valid.
    Error,
    /// Valid, but most likely not what was meant.
    Warning,
    /// What a reader of the report should know, such as a check that could not be made.
    Information,
}

impl Severity {
    /// The FHIR code.
    pub fn code(self) -> &'static str {
        match self {
            Severity::Fatal => "fatal",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Information => "information",
        }
    }
}

/// The kind of an issue (<https://hl7.org/fhir/R4/valueset-issue-type.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssueCode {
    /// The document breaks the structure of its type, or is no JSON.
    Structure,
    /// A mandatory element is missing.
    Required,
    /// The form of a value is wrong.
    Value,
    /// A constraint of the definitions fails.
    Invariant,
    /// A code is not in the value set that is required.
    CodeInvalid,
    /// Something referred to is not there.
    NotFound,
    /// An extension is not allowed here.
    Extension,
    /// A rule between several elements fails.
    BusinessRule,
    /// Two things that must differ are the same.
    Duplicate,
    /// A limit was reached.
    TooCostly,
    /// No fault, only a notice.
    Informational,
}

impl IssueCode {
    /// The FHIR code.
    pub fn code(self) -> &'static str {
        match self {
            IssueCode::Structure => "structure",
            IssueCode::Required => "required",
            IssueCode::Value => "value",
            IssueCode::Invariant => "invariant",
            IssueCode::CodeInvalid => "code-invalid",
            IssueCode::NotFound => "not-found",
            IssueCode::Extension => "extension",
            IssueCode::BusinessRule => "business-rule",
            IssueCode::Duplicate => "duplicate",
            IssueCode::TooCostly => "too-costly",
            IssueCode::Informational => "informational",
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// Of which kind.
    pub code: IssueCode,
    /// Stable name of the rule: `fhir.card.min`; of a constraint `<definition url>#<key>`.
    pub message_id: Cow<'static, str>,
    /// The JSON value it is about.
    pub node: NodeId,
    /// Where it is, as FHIRPath with all indices: `Bundle.entry[2].resource.name[0].family`.
    pub expression: String,
    /// Line of the document, from 1.
    pub line: u32,
    /// Column, from 1, by the convention of the HL7 validator.
    pub col: u32,
    /// What is wrong and what to do. Holds no value of the document.
    pub text: String,
}

impl Issue {
    /// Where it is, as FHIRPath with all indices.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Whether the issue makes the document invalid.
    pub fn is_error(&self) -> bool {
        matches!(self.severity, Severity::Fatal | Severity::Error)
    }
}

/// Checks that could not be made, counted. They are no fault of the document and do not make it
/// invalid; they say what the verdict does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unevaluated {
    /// Codes of value sets whose content the packages do not hold.
    pub terminology: u64,
    /// Extensions whose definition no package holds.
    pub extensions: u64,
    /// Profiles claimed in `meta.profile` and not checked.
    pub profiles: u64,
    /// Constraints whose FHIRPath could not be evaluated here, or depends on the time.
    pub invariants: u64,
    /// Forms, bindings and references of withheld leaves, and constraints that may depend on them.
    pub withheld: u64,
}

impl Unevaluated {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.terminology + self.extensions + self.profiles + self.invariants + self.withheld
    }
}

/// The result of one validation: everything that was found, in document order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The findings, in document order.
    pub issues: Vec<Issue>,
    /// What was not checked.
    pub unevaluated: Unevaluated,
    /// Constraints and bindings that were decided, for a comparison with what was not. Those with a
    /// rule of their own (ele-1, ext-1, bdl-* and the like) are not counted.
    pub evaluated: u64,
}

impl Report {
    /// No issue of severity fatal or error.
    pub fn is_valid(&self) -> bool {
        !self.issues.iter().any(Issue::is_error)
    }

    /// Number of issues of severity fatal or error.
    pub fn errors(&self) -> usize {
        self.issues.iter().filter(|i| i.is_error()).count()
    }

    /// The report of a document that is no JSON.
    pub fn of_parse_error(error: &ParseError) -> Report {
        let issue = Issue {
            severity: Severity::Fatal,
            code: IssueCode::Structure,
            message_id: Cow::Borrowed("fhir.json"),
            node: NodeId::ROOT,
            expression: String::new(),
            line: error.line(),
            col: error.column(),
            text: sentence(&error.kind().to_string()),
        };
        Report { issues: vec![issue], unevaluated: Unevaluated::default(), evaluated: 0 }
    }

    /// A FHIR R4 OperationOutcome (<https://hl7.org/fhir/R4/operationoutcome.html>) with one issue
    /// per finding, or one `informational` issue if there is none.
    pub fn to_operation_outcome_json(&self) -> String {
        outcome::to_json(&self.issues)
    }

    /// [`verdict_digest`] of this report.
    pub fn digest(&self, schema_digest: &[u8; 32], content_commitment: &[u8; 32]) -> [u8; 32] {
        verdict_digest(schema_digest, content_commitment, &self.issues)
    }
}

/// SHA-256 that commits to a verdict: domain tag, schema digest, content commitment, and the issues
/// as (severity, message id, expression), sorted and without doubles. Texts, positions and values do
/// not enter, so a pretty-printed and a minified document have one verdict.
pub fn verdict_digest(schema_digest: &[u8; 32], content_commitment: &[u8; 32], issues: &[Issue]) -> [u8; 32] {
    let mut rows: Vec<_> =
        issues.iter().map(|i| (i.severity, &*i.message_id, i.expression.as_str())).collect();
    rows.sort_unstable();
    rows.dedup();
    let mut hash = Sha256::new();
    hash.update(b"consilium/fhir-verdict/v1\0");
    hash.update(schema_digest);
    hash.update(content_commitment);
    hash.update((rows.len() as u64).to_be_bytes());
    for (severity, id, expression) in rows {
        for part in [severity.code(), id, expression] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().into()
}

/// A text for people starts with a capital letter and ends with a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let mut chars = text.chars();
    out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
    out.push_str(chars.as_str());
    out.push('.');
    out
}
