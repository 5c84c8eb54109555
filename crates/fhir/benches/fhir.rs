//! Thread CPU time of validation (`validate-structure`, `validate-full`) and of FHIRPath (`fhirpath`) over real
//! whole-patient bundles.
//!
//! `cargo bench -p consilium-fhir --bench fhir [NAME…]`

use std::hint::black_box;
use std::sync::Arc;

use consilium_fhir::fhirpath::{CompileOptions, Context, Element, Program, compile};
use consilium_fhir::tape::{Cursor, NodeId};
use consilium_fhir::{Limits, Options, Schema, Tape, Validator};
use consilium_testkit::bench::{Report, Series, Unit, core_package, patients, skip, wanted};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 12;
const PATIENTS: usize = 6;
const NAMES: [&str; 3] = ["validate-structure", "validate-full", "fhirpath"];
const HL7: &str = "HL7 validator";
const NO_HL7: &str = "needs a Java runtime and validator_cli.jar; no set-up installs them yet";

/// Resource types and expressions evaluated on each of their resources: paths, filters, choice types, comparisons of
/// text, numbers and dates, existence.
const EXPRESSIONS: [(&str, &str); 12] = [
    ("Patient", "name.where(use = 'official').given.first()"),
    ("Patient", "telecom.where(system = 'phone').value"),
    ("Patient", "birthDate <= @1990-01-01"),
    ("Patient", "identifier.where(type.coding.exists(code = 'MR')).value"),
    ("Observation", "code.coding.where(system = 'http://loinc.org').code"),
    ("Observation", "value.ofType(Quantity).value > 100"),
    ("Observation", "component.where(code.coding.exists(code = '8480-6')).value.ofType(Quantity).value"),
    ("Observation", "status in ('final' | 'amended' | 'corrected')"),
    ("Observation", "subject.reference.startsWith('urn:uuid:')"),
    ("Condition", "clinicalStatus.coding.exists(code = 'active')"),
    ("Condition", "code.coding.select(system + '|' + code)"),
    ("Encounter", "period.start <= period.end"),
];

fn main() -> Result<(), Failure> {
    let names: Vec<&str> = NAMES.into_iter().filter(|name| wanted(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let (Some(package), Some(bundles)) = (core_package(), patients(PATIENTS)?) else {
        for name in names {
            skip(name, "the FHIR core package or the Synthea bundles are absent")?;
        }
        return Ok(());
    };
    let schema = Arc::new(Schema::compile(&[&package])?);
    if wanted("validate-structure") || wanted("validate-full") {
        validate(&Validator::new(schema.clone()), &bundles)?;
    }
    if wanted("fhirpath") {
        fhirpath(&schema, &bundles)?;
    }
    Ok(())
}

fn bytes(bundles: &[Vec<u8>]) -> u64 {
    bundles.iter().map(|bundle| bundle.len() as u64).sum()
}

fn data(bundles: &[Vec<u8>]) -> String {
    let bytes = bytes(bundles);
    format!(
        "the {} smallest whole-patient Synthea R4 bundles of the test data, {bytes} bytes in all",
        bundles.len()
    )
}

/// Errors, warnings and hints, and constraints that could not be evaluated.
fn verdict(validator: &Validator, bundles: &[Vec<u8>], options: &Options) -> String {
    let (mut errors, mut others, mut unevaluated) = (0, 0, 0);
    for bundle in bundles {
        let report = validator.validate_bytes(bundle, &Limits::default(), options);
        let wrong = report.issues.iter().filter(|issue| issue.is_error()).count();
        errors += wrong;
        others += report.issues.len() - wrong;
        unevaluated += report.unevaluated.invariants;
    }
    format!("{errors} errors, {others} other issues, {unevaluated} constraints that could not be evaluated")
}

fn validate(validator: &Validator, bundles: &[Vec<u8>]) -> Result<(), Failure> {
    let structure = Options { invariants: false, ..Options::default() };
    let full = Options::default();
    let report = |name| Report::new(name, Unit::MegabytesPerSecond).missing(HL7, NO_HL7);
    let reports = (report("validate-structure"), report("validate-full"));
    let (found_structure, found_full) =
        (verdict(validator, bundles, &structure), verdict(validator, bundles, &full));
    let mut parsing = Series::new("parsing alone (strict JSON to tape)");
    let mut structures = Series::new("parse and validate, without FHIRPath constraints");
    let mut fulls = Series::new("parse and validate, with FHIRPath constraints");
    let amount = bytes(bundles);
    for _ in 0..ROUNDS {
        parsing.time(amount, || {
            for bundle in bundles {
                let _ = black_box(Tape::parse(black_box(bundle), &Limits::default()));
            }
        })?;
        for (series, options) in [(&mut structures, &structure), (&mut fulls, &full)] {
            series.time(amount, || {
                for bundle in bundles {
                    black_box(validator.validate_bytes(black_box(bundle), &Limits::default(), options));
                }
            })?;
        }
    }
    let common = |report: Report| {
        report
            .condition(
                "measured",
                "CPU time of one thread, from bytes to the list of issues; schema compiled before",
            )
            .condition("data", data(bundles))
            .condition("schema", "hl7.fhir.r4.core 4.0.1")
            .condition("rounds", format!("{ROUNDS}, each over all bundles, the ways in turn"))
            .condition("threads", "1")
    };
    let native = "strict JSON, structure, cardinality, types, primitive formats, choice types, required bindings, \
                  references inside the bundle, narratives, extensions, constraints that native rules decide";
    if wanted("validate-structure") {
        common(reports.0)
            .condition("checks", format!("{native}; not the constraints that need FHIRPath"))
            .condition("found", found_structure)
            .finish(&structures, std::slice::from_ref(&parsing))?;
    }
    if wanted("validate-full") {
        common(reports.1)
            .condition("checks", format!("{native}; all other constraints of the definitions in FHIRPath"))
            .condition("found", found_full)
            .finish(&fulls, &[parsing])?;
    }
    Ok(())
}

/// The resources of the bundles with the expressions for their type.
fn fhirpath(schema: &Schema, bundles: &[Vec<u8>]) -> Result<(), Failure> {
    let report = Report::new("fhirpath", Unit::Microseconds).missing(HL7, NO_HL7);
    let options = CompileOptions { schema: Some(schema), ..CompileOptions::default() };
    let programs = EXPRESSIONS
        .iter()
        .map(|(ty, text)| compile(text, &options).map(|program| (*ty, program)))
        .collect::<Result<Vec<_>, _>>()?;
    let tapes = bundles
        .iter()
        .map(|bundle| Tape::parse(bundle, &Limits::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut runs: Vec<(&Tape<'_>, NodeId, &Program)> = Vec::new();
    for tape in &tapes {
        for entry in tape.root().get("entry").into_iter().flat_map(Cursor::children) {
            let Some(resource) = entry.get("resource") else { continue };
            let name = resource.get("resourceType").and_then(Cursor::as_str).unwrap_or_default();
            let meant = programs.iter().filter(|(ty, _)| *ty == name);
            runs.extend(meant.map(|(_, program)| (tape, resource.id(), program)));
        }
    }
    let evaluate = |(tape, node, program): &(&Tape<'_>, NodeId, &Program)| {
        let name = tape.cursor(*node).get("resourceType").and_then(Cursor::as_str).unwrap_or_default();
        let element = Element { node: Some(*node), companion: None, ty: schema.type_named(&name) };
        let context =
            Context::new(tape, Some(schema)).with_resource(*node).with_root_resource(*node).at(element);
        program.evaluate(&context).map(|found| found.items().len())
    };
    let mut items = 0;
    for run in &runs {
        items += evaluate(run)?;
    }
    let mut compiling = Series::new("compiling one expression");
    let mut series = Series::new("one evaluation of a compiled expression");
    for _ in 0..ROUNDS {
        compiling.time(EXPRESSIONS.len() as u64 * 50, || {
            for (_, text) in EXPRESSIONS.iter().cycle().take(EXPRESSIONS.len() * 50) {
                let _ = black_box(compile(black_box(text), &options));
            }
        })?;
        series.time(runs.len() as u64, || {
            for run in &runs {
                let _ = black_box(evaluate(black_box(run)));
            }
        })?;
    }
    let texts: Vec<String> = EXPRESSIONS.iter().map(|(ty, text)| format!("{ty}: {text}")).collect();
    report
        .condition(
            "measured",
            "CPU time of one thread, from a parsed record and a compiled expression to the result",
        )
        .condition("data", data(bundles))
        .condition("expressions", texts.join("; "))
        .condition("rounds", format!("{ROUNDS} of {} evaluations each, mean per evaluation", runs.len()))
        .condition("threads", "1")
        .condition(
            "checks",
            format!("before the rounds all evaluations end without error, with {items} items in all"),
        )
        .finish(&series, &[compiling])?;
    Ok(())
}
