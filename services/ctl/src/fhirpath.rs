//! `consilium fhirpath`: the engine of invariants and search parameters, from the command line.

use crate::output::{Exit, Output, line};
use anyhow::{Context as _, Result, bail};
use consilium_fhir::fhirpath::{CompileOptions, Context, Temporal, compile};
use consilium_fhir::{Limits, Tape};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct FhirpathArgs {
    /// The expression.
    expression: String,
    /// FHIR resource (JSON).
    file: PathBuf,
    /// Folder where `make setup` put the core package (in `fhir/`).
    #[arg(long, default_value = ".tools")]
    tools: PathBuf,
}

pub fn run(args: &FhirpathArgs, out: &mut Output) -> Result<Exit> {
    let bytes = std::fs::read(&args.file).with_context(|| format!("read {}", args.file.display()))?;
    let tape = match Tape::parse(&bytes, &Limits::default()) {
        Ok(t) => t,
        Err(e) => bail!("{}: {e}", args.file.display()),
    };
    let schema = crate::schema::load(&args.tools, &[], &[])?;
    let kind = tape.root().get("resourceType").and_then(|c| c.as_str()).map(|s| s.into_owned());
    let options =
        CompileOptions { schema: Some(&schema), context_type: kind.as_deref(), ..CompileOptions::default() };
    let program = compile(&args.expression, &options)?;
    let mut context = Context::new(&tape, Some(&schema));
    if let Some(now) = Temporal::parse_date_time(&crate::clock::now().to_instant()) {
        context = context.with_now(now);
    }
    let result = program.evaluate(&context)?;
    if out.is_json() {
        // As the engine writes it: a detour through another JSON library would drop a decimal's digits.
        line(result.to_json(&context));
    } else {
        for item in result.iter() {
            line(format_args!("{}  {}", item.type_name(&context), item.to_json(&context)));
        }
    }
    Ok(Exit::Good)
}
