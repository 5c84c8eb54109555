//! FHIR R4 (4.0.1) in pure code: bytes and packages in, issues out.
//!
//! No clock, no files, no network, no randomness: packages arrive as bytes, and the verdict is a
//! function of the schema and the document alone.

pub mod tape;
