//! Validation and FHIRPath over real whole-patient bundles: CPU time of one thread.
//!
//! `cargo bench -p consilium-fhir --bench fhir [NAME…]`

mod beside;
mod paths;
mod scale;
mod start;
mod verdicts;

use std::hint::black_box;
use std::sync::Arc;

use consilium_fhir::validate::VitalSigns;
use consilium_fhir::{Limits, Options, Schema, Tape, Validator};
use consilium_testkit::bench::{self, Report, Series, Unit, core_package, measure, skip, wanted};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 12;
const NAMES: [&str; 8] = [
    "validate-structure",
    "validate-full",
    "validate-us-core",
    "validate-beside-hl7",
    "validate-scale",
    "validate-start",
    "validate-verdicts",
    "fhirpath",
];

fn main() -> Result<(), Failure> {
    if let Some(task) = start::task() {
        return start::child(task);
    }
    let names: Vec<&str> = NAMES.into_iter().filter(|name| wanted(name)).collect();
    let (Some(package), Some(patients)) = (core_package(), patients()?) else {
        for name in names {
            skip(name, "the FHIR core package or the Synthea bundles are absent")?;
        }
        return Ok(());
    };
    let us = us_core();
    let schema = Arc::new(Schema::compile(&[&package])?);
    let validator = Validator::new(schema.clone());
    let with_us = match &us {
        Some(us) => Some(Validator::new(Arc::new(Schema::compile(&[&package, us])?))),
        None => None,
    };
    for name in names {
        match (name, &with_us) {
            ("validate-structure", _) => rates(name, &validator, &structure(), STRUCTURE, &patients)?,
            ("validate-full", _) => rates(name, &validator, &Options::default(), FULL, &patients)?,
            ("validate-us-core", Some(validator)) => {
                rates(name, validator, &Options::default(), US_CORE, &patients)?;
            }
            ("validate-us-core", None) => skip(name, "US Core 6.1.0 is not in the test data")?,
            ("validate-beside-hl7", _) => beside::beside(&validator, &patients)?,
            ("validate-scale", _) => scale::scale(&validator, &patients)?,
            ("validate-start", _) => start::start(&schema, with_us.as_ref(), &patients)?,
            ("validate-verdicts", _) => verdicts::verdicts(with_us.as_ref().unwrap_or(&validator))?,
            _ => paths::fhirpath(&schema, &patients)?,
        }
    }
    Ok(())
}

/// Whole patients of Synthea: their bundles, and how many resources are in them.
pub struct Patients {
    pub bundles: Vec<Vec<u8>>,
    pub resources: u64,
}

impl Patients {
    fn of(bundles: Vec<Vec<u8>>) -> Result<Self, Failure> {
        let mut resources = 0;
        for bundle in &bundles {
            let tape = Tape::parse(bundle, &Limits::default())?;
            resources += tape.root().get("entry").map_or(0, |entries| entries.count() as u64);
        }
        Ok(Self { bundles, resources })
    }

    /// The smallest `count` of them.
    pub fn smallest(&self, count: usize) -> Result<Self, Failure> {
        Self::of(self.bundles.iter().take(count).cloned().collect())
    }

    /// Those that `wanted` holds for.
    fn only(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Self, Failure> {
        Self::of(self.bundles.iter().filter(|bundle| wanted(bundle)).cloned().collect())
    }

    /// Without the white space between tokens, as services send them.
    fn minified(&self) -> Result<Self, Failure> {
        Self::of(self.bundles.iter().map(|bundle| minified(bundle)).collect())
    }

    pub fn bytes(&self) -> u64 {
        self.bundles.iter().map(|bundle| bundle.len() as u64).sum()
    }
}

fn minified(text: &[u8]) -> Vec<u8> {
    let (mut out, mut inside, mut escaped) = (Vec::with_capacity(text.len()), false, false);
    for &b in text {
        if inside {
            inside = escaped || b != b'"';
            escaped = !escaped && b == b'\\';
        } else if b.is_ascii_whitespace() {
            continue;
        } else {
            inside = b == b'"';
        }
        out.push(b);
    }
    out
}

fn patients() -> Result<Option<Patients>, Failure> {
    bench::patients(usize::MAX)?.map(Patients::of).transpose()
}

fn us_core() -> Option<Vec<u8>> {
    std::fs::read(bench::data()?.join("fhir/us-core/us_core_610.tgz")).ok()
}

pub fn data(patients: &Patients) -> String {
    format!(
        "{} whole-patient Synthea R4 bundles of the test data as they stand (pretty-printed): {} resources, {} bytes",
        patients.bundles.len(),
        patients.resources,
        patients.bytes()
    )
}

const STRUCTURE: &str = "strict JSON, structure, cardinality, types, primitive formats, choice types, and what the walk \
     decides on the way: references inside the bundle, narratives, extensions, native constraints; no codes looked up, \
     no FHIRPath, no profiles that nobody claims";
const FULL: &str = "all of validate-structure; codes in value sets and code systems; all other constraints of the R4 \
     definitions in FHIRPath; the vital signs profiles";
const US_CORE: &str = "all of validate-full with US Core 6.1.0 loaded: the profiles that resources claim, with slicing, \
     bindings and constraints, and the extensions";

/// What one walk decides without FHIRPath.
fn structure() -> Options {
    Options { invariants: false, terminology: false, vital_signs: VitalSigns::Claimed, ..Options::default() }
}

/// Errors, warnings and hints, and what could not be evaluated.
fn found(validator: &Validator, patients: &Patients, options: &Options) -> String {
    let (mut errors, mut others, mut unevaluated) = (0, 0, 0);
    for bundle in &patients.bundles {
        let report = validator.validate_bytes(bundle, &Limits::default(), options);
        errors += report.errors();
        others += report.issues.len() - report.errors();
        unevaluated += report.unevaluated.invariants;
    }
    format!("{errors} errors, {others} other issues, {unevaluated} constraints that could not be evaluated")
}

/// Resources in a second, from bytes to the list of issues.
fn rates(
    name: &'static str,
    validator: &Validator,
    options: &Options,
    checks: &str,
    patients: &Patients,
) -> Result<(), Failure> {
    let report = Report::new(name, Unit::PerSecond);
    let found = found(validator, patients, options);
    let claiming = patients.only(claims_profiles)?;
    let plain = patients.only(|bundle| !claims_profiles(bundle))?;
    let minified = patients.minified()?;
    let parts = [
        ("of the records without meta.profile (Synthea 2.4)", &plain),
        ("of the records with it (Synthea 2.7)", &claiming),
        ("of all records without white space", &minified),
    ];
    let mut own = Series::new("resources: parse and validate, of all records");
    let mut also: Vec<Series> = parts.iter().map(|(part, _)| Series::new(*part)).collect();
    let mut parsing = Series::new("parsing alone (strict JSON to tape), of all records");
    let mut nanos = Vec::new();
    let validate = |patients: &Patients| {
        for bundle in &patients.bundles {
            black_box(validator.validate_bytes(black_box(bundle), &Limits::default(), options));
        }
    };
    for _ in 0..ROUNDS {
        parsing.time(patients.resources, || {
            for bundle in &patients.bundles {
                let _ = black_box(Tape::parse(black_box(bundle), &Limits::default()));
            }
        })?;
        let ((), spent) = measure(|| validate(patients))?;
        own.push(patients.resources, spent);
        nanos.push(spent);
        for ((_, part), series) in parts.iter().zip(&mut also) {
            series.time(part.resources, || validate(part))?;
        }
    }
    also.push(parsing);
    nanos.sort_unstable();
    let median = nanos.get(nanos.len() / 2).copied().unwrap_or(u64::MAX);
    let packages: Vec<String> =
        validator.schema().packages().iter().map(|p| format!("{} {}", p.name, p.version)).collect();
    report
        .condition(
            "measured",
            "CPU time of one thread, from bytes to the list of issues; schema compiled before",
        )
        .condition("data", data(patients))
        .condition("schema", packages.join(", "))
        .condition("checks", checks)
        .condition(
            "in bytes",
            format!("{} MB/s (median, all records as they stand)", patients.bytes() * 1000 / median),
        )
        .condition("rounds", format!("{ROUNDS}, all series in turn"))
        .condition("found", found)
        .finish(&own, &also)?;
    Ok(())
}

/// Synthea writes profiles of US Core into its records since 2.5.
fn claims_profiles(bundle: &[u8]) -> bool {
    let mark = b"\"profile\"";
    bundle.windows(mark.len()).any(|at| at == mark)
}
