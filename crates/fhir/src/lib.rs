//! FHIR R4 (4.0.1) in pure code: bytes and packages in, issues out.
//!
//! No clock, no files, no network, no randomness: packages arrive as bytes, and the verdict is a
//! function of the schema and the document alone.
//!
//! ```text
//! .tgz packages ── Schema::compile ──► Schema ──┐
//! JSON bytes ───── Tape::parse ──────► Tape ────┴─ Validator::validate ──► Report
//! ```

pub mod deid;
pub mod fhirpath;
pub mod leaves;
pub mod package;
pub mod projection;
pub mod report;
pub mod schema;
pub mod search;
pub mod tape;
pub mod validate;

mod profile;
mod rules;
mod walk;

pub use report::{Issue, IssueCode, Report, Severity, verdict_digest};
pub use schema::Schema;
pub use tape::{Limits, Tape};
pub use validate::{Options, References, UnknownExtensions, Validator, VitalSigns};
