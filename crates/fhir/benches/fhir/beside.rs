//! `validate-beside-hl7`: HL7's own validation engine (Java) and ours on the same files in the same rounds.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use consilium_fhir::{Limits, Options, Validator};
use consilium_testkit::bench::{self, Report, Series, Unit};

use crate::{Failure, Patients, ROUNDS, data};

const THREAD: &str = "HL7 validator (Java), its validating thread";
const PROCESS: &str = "HL7 validator (Java), its whole process";
const SCRIPT: &str = "../../e2e/peers/java-validator/run.sh";
/// Rounds of the engine over all records before those that count: until the compiler of the virtual machine has settled.
const WARM_UP: usize = 2;
/// Ours in each round: long enough for the clock.
const OWN: u64 = 3;

/// The engine in a process of its own, asked line by line.
struct Engine {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended by itself; nothing is left to do then.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Engine {
    /// `None` where Java or Maven is not installed.
    fn start(files: &[std::path::PathBuf]) -> Result<Option<Self>, Failure> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT);
        let mut command = Command::new(script);
        command.arg("-").args(files).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = command.spawn()?;
        let (Some(ask), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the engine has no standard input and output".into());
        };
        let mut engine = Engine { process, ask, answers: BufReader::new(answers) };
        let mut ready = String::new();
        engine.answers.read_line(&mut ready)?;
        if ready.trim() == "ready" {
            return Ok(Some(engine));
        }
        match engine.process.wait()?.code() {
            Some(3) => Ok(None),
            status => Err(format!("the engine did not start: status {status:?}").into()),
        }
    }

    /// One round over all files: nanoseconds of CPU time of the validating thread, of the whole process, and the number
    /// of errors found.
    fn round(&mut self) -> Result<[u64; 3], Failure> {
        writeln!(self.ask)?;
        self.ask.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let figures = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        figures.try_into().map_err(|_| "the engine gave other figures than three".into())
    }
}

pub fn beside(validator: &Validator, patients: &Patients) -> Result<(), Failure> {
    let folder = bench::scratch("beside-hl7")?;
    let mut files = Vec::new();
    for (at, bundle) in patients.bundles.iter().enumerate() {
        let file = folder.join(format!("{at}.json"));
        std::fs::write(&file, bundle)?;
        files.push(file);
    }
    let report = Report::new("validate-beside-hl7", Unit::PerSecond);
    let mut engine = Engine::start(&files)?;
    let mut theirs = Series::new("resources: R4 definitions, terminology in memory");
    let mut process = Series::new("resources: with its garbage collector and compiler");
    let mut own = Series::new("resources: parse and validate, R4 definitions");
    let options = Options::default();
    let validate =
        || patients.bundles.iter().map(|b| validator.validate_bytes(b, &Limits::default(), &options));
    let errors: usize = validate().map(|report| report.errors()).sum();
    let mut their_errors = 0;
    if let Some(engine) = &mut engine {
        for _ in 0..WARM_UP {
            [_, _, their_errors] = engine.round()?;
        }
    }
    for _ in 0..ROUNDS {
        if let Some(engine) = &mut engine {
            let [thread, whole, _] = engine.round()?;
            theirs.push(patients.resources, thread);
            process.push(patients.resources, whole);
        }
        own.time(patients.resources * OWN, || {
            for _ in 0..OWN {
                for report in validate() {
                    black_box(report);
                }
            }
        })?;
    }
    let report = match engine {
        Some(_) => report.peer(THREAD, theirs).peer(PROCESS, process),
        None => report.missing(THREAD, "Java or Maven is not installed"),
    };
    report
        .condition(
            "measured",
            "CPU time of one thread, from text to the list of issues, definitions loaded before; of the engine once \
             without and once with the threads of its garbage collector and compiler",
        )
        .condition("peer", "org.hl7.fhir.validation in the packaging of HAPI FHIR 8.4.0 (e2e/peers/java-validator)")
        .condition("warm-up", format!("{WARM_UP} rounds of the engine before those that count"))
        .condition("data", data(patients))
        .condition("rounds", format!("{ROUNDS}, the two in turn"))
        .condition("found", format!("{errors} errors, the engine {their_errors}"))
        .finish(&own, &[])?;
    Ok(())
}
