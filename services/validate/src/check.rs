//! Verdicts on whole resources: what `$validate` and every write ask for.

use consilium_contracts::v1::CheckResponse;
use consilium_domain::{Digest, Encoder};
use consilium_fhir::leaves::leaves;
use consilium_fhir::{Limits, Options, Report, Severity, Tape, Validator};
use std::borrow::Cow;

/// Validates one resource, a Bundle with all that it holds included, also against `profiles`. Of those, the ones that no
/// loaded package brings are errors: a verdict that was asked for and not given must not look like a pass.
pub fn check(
    validator: &Validator,
    options: &Options,
    resource: &[u8],
    profiles: &[String],
) -> CheckResponse {
    let schema = validator.schema().digest();
    let mut options = Cow::Borrowed(options);
    if !profiles.is_empty() {
        options.to_mut().profiles.extend_from_slice(profiles);
    }
    let (report, content) = match Tape::parse(resource, &Limits::default()) {
        Ok(tape) => (validator.validate(&tape, &options), content_digest(&tape)),
        Err(error) => (Report::of_parse_error(&error), Digest::sha256(&[resource])),
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    CheckResponse {
        valid: report.is_valid(),
        errors: count(report.errors()),
        warnings: count(report.issues.iter().filter(|i| i.severity == Severity::Warning).count()),
        outcome: report.to_operation_outcome_json().into_bytes(),
        schema_digest: schema.to_vec(),
        verdict: report.digest(&validator.basis(&options), &content.0).to_vec(),
    }
}

/// Digest of the content: paths and tokens of all leaves, so that white space does not matter.
fn content_digest(tape: &Tape<'_>) -> Digest {
    let mut out = Encoder::default();
    for leaf in leaves(tape.root()) {
        out.str(&leaf.path).str(leaf.token);
    }
    Digest::tagged("consilium/v1/content", &out.into_bytes())
}
