//! `consilium validate`: one OperationOutcome per file.

use crate::output::{Exit, Output, line};
use anyhow::Result;
use consilium_fhir::{Limits, Options, Severity, Validator};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct ValidateArgs {
    /// FHIR resources (JSON).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Further packages to load (.tgz).
    #[arg(long = "package")]
    packages: Vec<PathBuf>,
    /// Profile that each resource must conform to (canonical url), beside those that it claims itself.
    #[arg(long = "profile")]
    profiles: Vec<String>,
    /// Supporting profiles, value sets and extensions to load first (JSON, one definition each).
    #[arg(long = "resource")]
    resources: Vec<PathBuf>,
    /// Folder where `make setup` put the core package (in `fhir/`).
    #[arg(long, default_value = ".tools")]
    tools: PathBuf,
}

pub fn run(args: &ValidateArgs, out: &mut Output) -> Result<Exit> {
    let schema = crate::schema::load(&args.tools, &args.packages, &args.resources)?;
    let validator = Validator::new(Arc::new(schema));
    let options = Options { profiles: args.profiles.clone(), ..Options::default() };
    let mut exit = Exit::Good;
    for file in &args.files {
        let bytes = match std::fs::read(file) {
            Ok(b) => b,
            Err(e) => {
                out.problem(&format!("read {}: {e}", file.display()));
                exit = Exit::CouldNotRun;
                continue;
            }
        };
        let report = validator.validate_bytes(&bytes, &Limits::default(), &options);
        let warnings = report.issues.iter().filter(|i| i.severity == Severity::Warning).count();
        if out.is_json() {
            let outcome: Value = serde_json::from_str(&report.to_operation_outcome_json())?;
            let shown = json!({"file": file, "valid": report.is_valid(), "errors": report.errors(), "warnings": warnings, "outcome": outcome});
            out.result("", &shown);
        } else {
            let word = if report.is_valid() { "valid" } else { "invalid" };
            let errors = report.errors();
            line(format_args!("{}: {word}, {errors} errors, {warnings} warnings", file.display()));
            for i in &report.issues {
                let (severity, expression) = (i.severity.code(), i.expression());
                line(format_args!("  {}:{} {severity} {expression}: {}", i.line, i.col, i.text));
            }
        }
        if !report.is_valid() && exit == Exit::Good {
            exit = Exit::Refused;
        }
    }
    Ok(exit)
}
