//! Structural and full validation speed over a folder of JSON files, one thread, best of five:
//! `cargo run --release -p consilium-fhir --example throughput -- core.tgz folder`

use std::process::ExitCode;
use std::sync::Arc;

use consilium_fhir::{Limits, Options, Schema, Tape, Validator};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(package), Some(folder)) = (args.next(), args.next()) else {
        eprintln!("give the path of hl7.fhir.r4.core.tgz and a folder of JSON files");
        return ExitCode::FAILURE;
    };
    match run(&package, &folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(package: &str, folder: &str) -> Result<(), Box<dyn std::error::Error>> {
    let package = std::fs::read(package)?;
    let (schema, seconds) = timed(|| Schema::compile(&[&package]));
    let schema = schema?;
    println!("compile the core package: {:.0} ms", seconds * 1e3);
    let bytes = schema.to_bytes();
    let (loaded, seconds) = timed(|| Schema::from_bytes(&bytes));
    println!("load the {} KiB cache: {:.1} ms", bytes.len() / 1024, seconds * 1e3);
    let validator = Validator::new(Arc::new(loaded?));

    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(std::fs::read(entry?.path())?);
    }
    let total: usize = files.iter().map(Vec::len).sum();
    let mut resources = 0;
    for file in &files {
        let tape = Tape::parse(file, &Limits::default())?;
        resources += tape.root().get("entry").map_or(1, |e| e.count());
    }
    println!("{} files, {total} bytes, {resources} resources", files.len());

    let structure = Options { invariants: false, ..Options::default() };
    let mut nodes = Vec::new();
    let mut parse = || {
        for file in &files {
            if let Ok(tape) = Tape::parse_into(file, &Limits::default(), std::mem::take(&mut nodes)) {
                nodes = tape.into_nodes();
            }
        }
    };
    show("parse", total, resources, &mut parse);
    for (name, options) in [("parse + structure", &structure), ("all", &Options::default())] {
        show(name, total, resources, &mut || {
            for file in &files {
                let report = validator.validate_bytes(file, &Limits::default(), options);
                std::hint::black_box(report);
            }
        });
    }
    Ok(())
}

fn show(name: &str, bytes: usize, resources: usize, work: &mut dyn FnMut()) {
    let best = (0..5).map(|_| timed(&mut *work).1).fold(f64::INFINITY, f64::min);
    println!("{name}: {:.0} MB/s, {:.0} resources/s", bytes as f64 / best / 1e6, resources as f64 / best);
}

/// Seconds of this thread on a processor, so that other work on the machine does not count; wall
/// time where the system does not tell.
fn timed<T>(mut work: impl FnMut() -> T) -> (T, f64) {
    let (cpu, wall) = (on_processor(), wall());
    let result = work();
    let seconds = match (cpu, on_processor()) {
        (Some(before), Some(after)) => (after - before) as f64 / 1e9,
        _ => wall.elapsed().as_secs_f64(),
    };
    (result, seconds)
}

fn on_processor() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "a measurement is about the wall clock")]
fn wall() -> std::time::Instant {
    std::time::Instant::now()
}
