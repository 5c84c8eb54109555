//! FHIRPath: the language of invariants, search parameters and slicing discriminators.
//!
//! Conforms to FHIRPath N1 (<http://hl7.org/fhirpath/N1>) with the functions of FHIR R4
//! (<https://hl7.org/fhir/R4/fhirpath.html>) and those of FHIRPath 3.0 (STU) that the HL7 suite
//! uses. [`compile`] turns text into a [`Program`]; [`Program::evaluate`] walks a
//! [`crate::tape::Tape`] with it. Nothing is copied out of the record: a result holds node ids,
//! borrowed text and computed values.
//!
//! Evaluation is a function of program and context alone: the time is part of the context, maps
//! have no part in order, and decimals are exact (`exp`, `ln`, `log`, `sqrt` and fractional powers
//! are rounded to 15 digits).
//!
//! ```
//! use consilium_fhir::fhirpath::{CompileOptions, Context, compile};
//! use consilium_fhir::tape::{Limits, Tape};
//! let tape = Tape::parse(br#"{"resourceType":"Patient","name":[{"given":["Ann"]}]}"#, &Limits::default())?;
//! let program = compile("Patient.name.given.first()", &CompileOptions::default())?;
//! let context = Context::new(&tape, None);
//! let result = program.evaluate(&context)?;
//! let shown: Vec<_> = result.iter().map(|item| item.to_json(&context)).collect();
//! assert_eq!(shown, [r#""Ann""#]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ast;
mod context;
mod error;
mod eval;
mod functions;
mod lexer;
mod parser;
mod program;
pub mod search;
mod semantic;
mod value;

pub(crate) use eval::decode;
pub(crate) use value::is_unit;

pub use context::{Context, EvalLimits, Services};
pub use error::{EvalError, EvalErrorKind, FhirPathError, FhirPathErrorKind};
pub use program::{CompileOptions, Program, compile};
pub use value::{
    CalendarUnit, Collection, Decimal, Element, Item, Precision, Quantity, Temporal, TemporalKind, TypeInfo,
    Unit, Value,
};
