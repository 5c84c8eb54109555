//! Search parameters: the subset of FHIRPath that `SearchParameter.expression` uses
//! (<https://hl7.org/fhir/R4/searchparameter-registry.html>).
//!
//! One expression often serves many resource types: a union of paths that start with a type each.
//! [`compile`] keeps what applies to one type. Search expressions use `as` as a filter on several
//! items, so it is read so here. `resolve() is T` looks at the reference's text or `type` and
//! loads nothing.

use super::ast::{BinaryOp, Expr, ExprKind};
use super::context::Context;
use super::error::{EvalError, FhirPathError};
use super::program::{CompileOptions, Program};
use super::value::Collection;
use crate::schema::Schema;

/// The part of a search expression that applies to one resource type.
#[derive(Clone, Debug)]
pub struct SearchExpression {
    program: Option<Program>,
}

/// Compiles `expression` for resources of type `base`.
///
/// # Errors
/// [`FhirPathError`] as [`super::compile`], and if the schema knows no `base`.
pub fn compile(expression: &str, base: &str, schema: &Schema) -> Result<SearchExpression, FhirPathError> {
    let ty = schema
        .type_named(base)
        .ok_or_else(|| FhirPathError::semantic(format!("there is no resource type `{base}`"), 0))?;
    let options = CompileOptions { lenient: true, schema: Some(schema), ..CompileOptions::default() };
    let program = super::compile(expression, &options)?;
    let applies = |name: &str| schema.type_named(name).is_none_or(|named| schema.is_a(ty, named));
    Ok(SearchExpression { program: program.keep(|root| prune(root, &applies)) })
}

/// Drops the alternatives of a union that start at another type.
fn prune(expr: Expr, applies: &dyn Fn(&str) -> bool) -> Option<Expr> {
    let Expr { kind, at, depth } = expr;
    match kind {
        ExprKind::Binary { op: BinaryOp::Union, left, right } => {
            match (prune(*left, applies), prune(*right, applies)) {
                (Some(left), Some(right)) => {
                    let (left, right) = (Box::new(left), Box::new(right));
                    Some(Expr { kind: ExprKind::Binary { op: BinaryOp::Union, left, right }, at, depth })
                }
                (left, right) => left.or(right),
            }
        }
        kind => {
            let expr = Expr { kind, at, depth };
            starts_at(&expr).is_none_or(applies).then_some(expr)
        }
    }
}

/// The type at which a path starts, if it names one.
fn starts_at(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Child { input: None, step } if step.may_be_type => Some(&step.name),
        ExprKind::Child { input, .. }
        | ExprKind::Call { input, .. }
        | ExprKind::Type { input, .. }
        | ExprKind::Sort { input, .. } => starts_at(input.as_deref()?),
        ExprKind::Indexer { input, .. } => starts_at(input),
        ExprKind::Binary { left, .. } => starts_at(left),
        _ => None,
    }
}

impl SearchExpression {
    /// Whether no part of the expression applies to the type.
    pub fn is_empty(&self) -> bool {
        self.program.is_none()
    }

    /// The elements (and, for a computed parameter, values) of the resource in `context` that the
    /// parameter indexes, in the order of the document within each alternative.
    ///
    /// # Errors
    /// [`EvalError`] as [`Program::evaluate`].
    pub fn matches<'e>(&'e self, context: &Context<'e>) -> Result<Collection<'e>, EvalError> {
        match &self.program {
            Some(program) => program.evaluate(context),
            None => Ok(Collection::new()),
        }
    }
}
