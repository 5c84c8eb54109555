//! Answers of the FHIRPath engine for a comparison with another one (`scripts/fhirpath-peer.sh`):
//! `cargo run --release -p consilium-fhir --example fhirpath_answers -- PACKAGES RESOURCES JOBS`
//!
//! RESOURCES: a resource on each line. JOBS: on each line `{"resource": line, "expression": text, "lenient": bool}`.
//! Prints for each job `{"types": […], "values": […]}`, or `{"error": text}`.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use consilium_fhir::fhirpath::{CompileOptions, Context, Program, Temporal, compile};
use consilium_fhir::{Limits, Schema, Tape};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [packages, resources, jobs] = arguments.as_slice() else {
        eprintln!("give the packages (with commas between), the resources and the jobs");
        return ExitCode::FAILURE;
    };
    match run(packages, resources, jobs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(packages: &str, resources: &str, jobs: &str) -> Result<(), Box<dyn std::error::Error>> {
    let packages = packages.split(',').map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let packages: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
    let schema = Schema::compile(&packages)?;
    let resources = std::fs::read_to_string(resources)?;
    let limits = Limits::default();
    let tapes = resources
        .lines()
        .map(|line| Tape::parse(line.as_bytes(), &limits).map_err(|e| e.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    let now = Temporal::parse_date_time("2026-03-01T12:30:00.000+01:00");
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut programs: BTreeMap<(String, bool), Result<Program, String>> = BTreeMap::new();
    for line in std::fs::read_to_string(jobs)?.lines() {
        let job: Value = serde_json::from_str(line)?;
        let at = job.get("resource").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let tape = at.and_then(|at| tapes.get(at)).ok_or("a job names a line that is not there")?;
        let expression = job.get("expression").and_then(Value::as_str).unwrap_or_default();
        let lenient = job.get("lenient").and_then(Value::as_bool).unwrap_or_default();
        let program = programs.entry((expression.to_owned(), lenient)).or_insert_with(|| {
            let options = CompileOptions { lenient, schema: Some(&schema), ..CompileOptions::default() };
            compile(expression, &options).map_err(|e| e.to_string())
        });
        let answer = match program {
            Ok(program) => {
                let mut context = Context::new(tape, Some(&schema));
                if let Some(now) = now {
                    context = context.with_now(now);
                }
                match program.evaluate(&context) {
                    Ok(found) => {
                        let types: Vec<String> = found.iter().map(|i| i.type_name(&context)).collect();
                        let values: Vec<String> = found.iter().map(|i| i.to_json(&context)).collect();
                        // Values as the engine writes them: another JSON library would drop digits.
                        format!("{{\"types\":{},\"values\":[{}]}}", json!(types), values.join(","))
                    }
                    Err(error) => json!({"error": error.to_string()}).to_string(),
                }
            }
            Err(error) => json!({ "error": error }).to_string(),
        };
        writeln!(out, "{answer}")?;
    }
    out.flush()?;
    Ok(())
}
