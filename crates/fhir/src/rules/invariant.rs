//! The constraints of the definitions, in FHIRPath. Those met everywhere have a native rule and are
//! not evaluated again.

use crate::fhirpath::{CompileOptions, Context, Element, EvalLimits, Program, Services, compile};
use crate::report::{IssueCode, Severity};
use crate::schema::{Run, Schema, TypeId};
use crate::tape::Cursor;
use crate::walk::Walk;

/// Decided by the walk or by a rule of its own.
const NATIVE: &[&str] = &[
    "ele-1", "ext-1", "dom-2", "dom-3", "dom-4", "dom-5", "ref-1", "att-1", "qty-3", "txt-1", "txt-2",
    "bdl-1", "bdl-2", "bdl-3", "bdl-4", "bdl-5", "bdl-7", "bdl-8", "bdl-9", "bdl-10", "bdl-11", "bdl-12",
];

/// Constraints of 4.0.1 that are wrong as published: key, source, reason.
const ERRATA: &[(&str, &str, &str)] = &[(
    "app-4",
    "StructureDefinition/Appointment",
    "compares the status with `no-show`, but the code is `noshow`: it fails appointments that are valid",
)];

/// One program per row; `None`: native, wrong as published, or not readable.
pub(crate) fn compile_all(schema: &Schema) -> Vec<Option<Program>> {
    let options = CompileOptions { lenient: true, schema: Some(schema), ..CompileOptions::default() };
    schema
        .invariants()
        .iter()
        .map(|row| {
            let (key, source) = (schema.str(row.key), schema.str(row.source));
            let wrong = ERRATA.iter().any(|(k, s, _)| *k == key && source.ends_with(s));
            if wrong || NATIVE.contains(&key) {
                return None;
            }
            compile(schema.str(row.expression), &options).ok()
        })
        .collect()
}

/// The constraints of `run` on the element at `node`.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, ty: TypeId, run: Run) {
    if run.len == 0 || !walk.options.invariants {
        return;
    }
    let schema = walk.schema;
    let programs = run.of(walk.programs);
    for (row, program) in run.of(schema.invariants()).iter().zip(programs) {
        let Some(program) = program else { continue };
        if row.best_practice && !walk.options.best_practice {
            continue;
        }
        let element = Element { node: Some(node.id()), companion: None, ty: Some(ty) };
        let context = Context::new(walk.tape, Some(schema))
            .at(element)
            .with_resource(walk.resource)
            .with_root_resource(walk.root_resource)
            .with_limits(EvalLimits { work: 2_000_000, text: 1 << 20 })
            .with_services(&NARRATIVES);
        match program.holds(&context) {
            Ok(Some(true) | None) => {}
            // A withheld value may be what makes it fail.
            _ if walk.holds_withheld() => walk.unevaluated.withheld += 1,
            Ok(Some(false)) => {
                let id = format!("{}#{}", schema.str(row.source), schema.str(row.key));
                let severity = if row.is_error { Severity::Error } else { Severity::Warning };
                let human = schema.str(row.human);
                let text = format!("this constraint fails: {}", human.trim_end_matches('.'));
                walk.note(node, severity, IssueCode::Invariant, id, text);
            }
            Err(_) => walk.unevaluated.invariants += 1,
        }
    }
}

/// `htmlChecks()` is txt-1, which has its own rule at the narrative itself.
struct Narratives;

static NARRATIVES: Narratives = Narratives;

impl Services for Narratives {
    fn html_checks(&self, _element: &Element) -> Option<bool> {
        Some(true)
    }
}
