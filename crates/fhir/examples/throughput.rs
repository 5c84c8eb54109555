//! Structural and full validation speed over a folder of JSON files, one thread, best of five:
//! `cargo run --release -p consilium-fhir --example throughput -- packages folder [what [rounds]]`
//!
//! `packages`: paths of `.tgz` files with commas between, the core among them. `what`: `parse`, `structure` or `all`
//! alone, `rounds` times, for a profiler.

use std::process::ExitCode;
use std::sync::Arc;

use consilium_fhir::{Limits, Options, Schema, Tape, Validator};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(packages), Some(folder)) = (args.next(), args.next()) else {
        eprintln!("give the path of hl7.fhir.r4.core.tgz and a folder of JSON files");
        return ExitCode::FAILURE;
    };
    let only = args.next();
    let rounds = args.next().and_then(|n| n.parse().ok()).unwrap_or(5);
    match run(&packages, &folder, only.as_deref(), rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    packages: &str,
    folder: &str,
    only: Option<&str>,
    rounds: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    let packages = packages.split(',').map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let packages: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
    let (schema, seconds) = timed(|| Schema::compile(&packages));
    let schema = schema?;
    println!("compile the packages: {:.0} ms", seconds * 1e3);
    let bytes = schema.to_bytes();
    let (loaded, seconds) = timed(|| Schema::from_bytes(&bytes));
    println!("load the {} KiB cache: {:.1} ms", bytes.len() / 1024, seconds * 1e3);
    let loaded = Arc::new(loaded?);
    let (validator, seconds) = timed(|| Validator::new(loaded));
    println!("compile the constraints: {:.1} ms", seconds * 1e3);

    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(std::fs::read(entry?.path())?);
    }
    let total: usize = files.iter().map(Vec::len).sum();
    let mut resources = 0u32;
    for file in &files {
        let tape = Tape::parse(file, &Limits::default())?;
        let entries = tape.root().get("entry").map_or(1, |e| e.count());
        resources += u32::try_from(entries)?;
    }
    println!("{} files, {total} bytes, {resources} resources", files.len());

    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let show = |name: &str, work: &mut dyn FnMut(&[u8])| {
        if !wanted(name) {
            return;
        }
        let mut all = || files.iter().for_each(|file| work(file));
        let best = (0..rounds).map(|_| timed(&mut all).1).fold(f64::INFINITY, f64::min);
        println!(
            "{name}: {:.0} MB/s, {:.0} resources/s",
            total as f64 / best / 1e6,
            f64::from(resources) / best
        );
    };
    let mut nodes = Vec::new();
    show("parse", &mut |file| {
        if let Ok(tape) = Tape::parse_into(file, &Limits::default(), std::mem::take(&mut nodes)) {
            nodes = tape.into_nodes();
        }
    });
    let structure = Options { invariants: false, ..Options::default() };
    for (name, options) in [("structure", &structure), ("all", &Options::default())] {
        show(name, &mut |file| {
            std::hint::black_box(validator.validate_bytes(file, &Limits::default(), options));
        });
    }
    Ok(())
}

/// Seconds of this thread on a processor, so that other work on the machine does not count; wall
/// time where the system does not tell.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
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
