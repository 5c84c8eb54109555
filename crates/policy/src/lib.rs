//! Decides who may see what: (consents, request, now) → permit or deny, with the reasons.
//!
//! Pure: no clock, no I/O. A consent that cannot be read denies; no consent leaves the implicit policy.
//! Source: FHIR R4 Consent (hl7.org/fhir/R4/consent.html), HL7 v3 PurposeOfUse, HL7 Confidentiality.

pub mod access;
pub mod consent;
pub mod decide;
pub mod period;
pub mod purpose;

pub use consent::{Consent, ConsentError};
pub use decide::{Decision, Effect, Reason, Request, decide};
