//! Errors of compilation and evaluation. Texts never hold values of the record.

use std::fmt;

/// What kind of rule an expression breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FhirPathErrorKind {
    /// The grammar.
    Syntax,
    /// A name, a type or a cardinality that static analysis can prove wrong.
    Semantic,
    /// A limit on size or depth.
    Limit,
}

/// An expression cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {position}")]
pub struct FhirPathError {
    /// What is wrong and, where known, what to do.
    pub message: String,
    /// Byte offset in the expression where it is wrong, from 0.
    pub position: usize,
    /// Which rule.
    pub kind: FhirPathErrorKind,
}

impl FhirPathError {
    pub(super) fn syntax(message: impl Into<String>, position: usize) -> Self {
        FhirPathError { message: message.into(), position, kind: FhirPathErrorKind::Syntax }
    }

    pub(super) fn semantic(message: impl Into<String>, position: usize) -> Self {
        FhirPathError { message: message.into(), position, kind: FhirPathErrorKind::Semantic }
    }

    pub(super) fn limit(message: impl Into<String>, position: usize) -> Self {
        FhirPathError { message: message.into(), position, kind: FhirPathErrorKind::Limit }
    }
}

/// Why an evaluation ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalErrorKind {
    /// One item was needed and more were there.
    NotSingle,
    /// The item has a type that the operation does not take.
    WrongType,
    /// An argument has a value that the operation does not take.
    BadArgument,
    /// A type, variable or profile of this name is not known.
    Unknown,
    /// The function needs a service that the caller did not supply.
    Unsupported,
    /// The limit on work or size was reached.
    Limit,
}

/// An evaluation error: never a pass, never an empty result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {position}")]
pub struct EvalError {
    /// What is wrong, naming operators, functions and types but no values.
    pub message: String,
    /// Byte offset in the expression.
    pub position: usize,
    /// Which rule.
    pub kind: EvalErrorKind,
}

impl EvalError {
    pub(super) fn new(kind: EvalErrorKind, message: impl fmt::Display, position: u32) -> Self {
        EvalError { message: message.to_string(), position: position as usize, kind }
    }
}
