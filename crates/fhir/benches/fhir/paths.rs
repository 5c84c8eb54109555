//! `fhirpath`: compiled expressions on the resources of real patients.

use std::hint::black_box;

use consilium_fhir::fhirpath::{CompileOptions, Context, Element, Program, compile};
use consilium_fhir::tape::{Cursor, NodeId};
use consilium_fhir::{Limits, Schema, Tape};
use consilium_testkit::bench::{Report, Series, Unit};

use crate::{Failure, Patients, ROUNDS, data};

const BUNDLES: usize = 6;

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

/// The resources of the bundles with the expressions for their type.
pub fn fhirpath(schema: &Schema, patients: &Patients) -> Result<(), Failure> {
    let report = Report::new("fhirpath", Unit::Microseconds);
    let patients = &patients.smallest(BUNDLES)?;
    let options = CompileOptions { schema: Some(schema), ..CompileOptions::default() };
    let programs = EXPRESSIONS
        .iter()
        .map(|(ty, text)| compile(text, &options).map(|program| (*ty, program)))
        .collect::<Result<Vec<_>, _>>()?;
    let tapes = patients
        .bundles
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
        .condition("data", data(patients))
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
