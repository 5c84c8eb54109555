//! `validate-start`: from the start of a process to the first verdict, and what memory it takes.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use consilium_fhir::{Limits, Options, Schema, Validator};
use consilium_testkit::bench::{self, Report, Series, Unit, cpu_nanos};

use crate::{Failure, Patients, ROUNDS};

const TASK: &str = "start-child";

/// What this process was started for, if it is a child: the schema's cache and the documents.
pub fn task() -> Option<Vec<PathBuf>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == TASK).then(|| arguments.map(PathBuf::from).collect())
}

/// Prints nanoseconds of CPU time up to the first verdict, and kibibytes of memory at their highest after all.
pub fn child(files: Vec<PathBuf>) -> Result<(), Failure> {
    let (cache, documents) = files.split_first().ok_or("no cache was named")?;
    let schema = Schema::from_bytes(&std::fs::read(cache)?)?;
    let validator = Validator::new(Arc::new(schema));
    let mut first = None;
    for document in documents {
        let bytes = std::fs::read(document)?;
        std::hint::black_box(validator.validate_bytes(&bytes, &Limits::default(), &Options::default()));
        if first.is_none() {
            // Single-threaded, so the thread's time is that of the process.
            first = Some(cpu_nanos()?);
        }
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let peak = peak.split_whitespace().next().ok_or("no VmHWM")?;
    bench::say(&format!("{} {peak}", first.ok_or("no document was named")?))?;
    Ok(())
}

pub fn start(schema: &Schema, with_us: Option<&Validator>, patients: &Patients) -> Result<(), Failure> {
    let report = Report::new("validate-start", Unit::Milliseconds);
    let folder = bench::scratch("start")?;
    let mut documents = Vec::new();
    for (at, bundle) in patients.bundles.iter().enumerate() {
        let file = folder.join(format!("{at}.json"));
        std::fs::write(&file, bundle)?;
        documents.push(file);
    }
    let mut series = Vec::new();
    let mut told = Vec::new();
    let schemas = [("R4 core", Some(schema)), ("R4 core and US Core 6.1.0", with_us.map(|v| &**v.schema()))];
    for (name, schema) in schemas {
        let Some(schema) = schema else { continue };
        let cache = folder.join("schema.bin");
        let bytes = schema.to_bytes();
        std::fs::write(&cache, &bytes)?;
        let mut own = Series::new(format!("process start to first verdict, {name}"));
        let mut peaks = Vec::new();
        for _ in 0..ROUNDS {
            let output =
                Command::new(std::env::current_exe()?).arg(TASK).arg(&cache).args(&documents).output()?;
            let text = String::from_utf8(output.stdout)?;
            let (nanos, peak) = text.trim().split_once(' ').ok_or("the child gave no figures")?;
            own.push(1, nanos.parse()?);
            peaks.push(peak.parse::<u64>()?);
        }
        let peak = peaks.into_iter().max().unwrap_or_default();
        told.push(format!(
            "{name}: cache {} kB, resident at most {} MB",
            bytes.len() / 1000,
            peak * 1024 / 1_000_000
        ));
        series.push(own);
    }
    let (own, also) = series.split_first().ok_or("nothing was measured")?;
    report
        .condition(
            "measured",
            "CPU time of a new process: reads the compiled schema, compiles the constraints, validates one patient",
        )
        .condition("memory", format!("{}; after all patients one after the other", told.join("; ")))
        .condition("data", format!("the first of {} bundles: {} bytes", patients.bundles.len(),
            patients.bundles.first().map_or(0, Vec::len)))
        .finish(own, also)?;
    Ok(())
}
