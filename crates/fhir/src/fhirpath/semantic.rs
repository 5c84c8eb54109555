//! Static analysis.
use super::ast::Expr;
use super::error::FhirPathError;
use super::program::CompileOptions;
pub(super) fn check(_root: &Expr, _options: &CompileOptions<'_>) -> Result<(), FhirPathError> {
    Ok(())
}
