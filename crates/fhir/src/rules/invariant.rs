//! The constraints of the definitions, in FHIRPath. Those met everywhere have a native rule and are
//! not evaluated again.

use std::cell::RefCell;

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
    let one = |row: &crate::schema::Invariant| {
        program(schema, schema.str(row.key), schema.str(row.source), schema.str(row.expression)).flatten()
    };
    schema.invariants().iter().map(one).collect()
}

/// `None`: native, or wrong as published; `Some(None)`: not readable.
pub(crate) fn program(schema: &Schema, key: &str, source: &str, expression: &str) -> Option<Option<Program>> {
    let wrong = ERRATA.iter().any(|(k, s, _)| *k == key && source.ends_with(s));
    if wrong || NATIVE.contains(&key) {
        return None;
    }
    let options = CompileOptions { lenient: true, schema: Some(schema), ..CompileOptions::default() };
    Some(compile(expression, &options).ok())
}

/// The constraints of `run` on the element at `node`.
#[inline]
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, ty: TypeId, run: Run) {
    // Most elements have none of their own.
    if run.len > 0 && walk.options.invariants {
        each(walk, node, ty, run);
    }
}

fn each<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, ty: TypeId, run: Run) {
    let schema = walk.schema;
    let programs = run.of(walk.programs);
    for (row, program) in run.of(schema.invariants()).iter().zip(programs) {
        let Some(program) = program else { continue };
        if row.best_practice && !walk.options.best_practice {
            continue;
        }
        let element = Element { node: Some(node.id()), companion: None, ty: Some(ty) };
        let severity = if row.is_error { Severity::Error } else { Severity::Warning };
        one(walk, node, element, program, severity, schema.str(row.human), || {
            format!("{}#{}", schema.str(row.source), schema.str(row.key))
        });
    }
}

/// One constraint on one element.
pub(crate) fn one<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    place: Cursor<'t, 'a>,
    element: Element,
    program: &Program,
    severity: Severity,
    human: &str,
    id: impl FnOnce() -> String,
) {
    if !walk.options.invariants {
        return;
    }
    if !program.is_local() {
        walk.reaches_out();
    }
    let (tape, schema, now) = (walk.tape, walk.schema, walk.now);
    let (resource, root) = (walk.resource, walk.root_resource);
    let services = Known { walk: RefCell::new(&mut *walk) };
    let mut context = Context::new(tape, Some(schema))
        .at(element)
        .with_resource(resource)
        .with_root_resource(root)
        .with_limits(EvalLimits { work: 2_000_000, text: 1 << 20 })
        .with_services(&services);
    if let Some(now) = now {
        context = context.with_now(now);
    }
    let verdict = program.holds(&context);
    match verdict {
        Ok(Some(true) | None) => walk.evaluated += 1,
        // A withheld value may be what makes it fail.
        _ if walk.holds_withheld() => walk.unevaluated.withheld += 1,
        Ok(Some(false)) => {
            walk.evaluated += 1;
            let text = format!("this constraint fails: {}", human.trim_end_matches('.'));
            walk.note(place, severity, IssueCode::Invariant, id(), text);
        }
        Err(_) => walk.unchecked_invariant(id()),
    }
}

/// What the loaded packages and the walk can answer.
struct Known<'w, 'v, 't, 'a> {
    walk: RefCell<&'w mut Walk<'v, 't, 'a>>,
}

impl Services for Known<'_, '_, '_, '_> {
    /// `htmlChecks()` is txt-1, which has its own rule at the narrative itself.
    fn html_checks(&self, _element: &Element) -> Option<bool> {
        Some(true)
    }

    fn member_of(&self, element: &Element, value_set: &str) -> Option<bool> {
        let walk = self.walk.try_borrow().ok()?;
        let row = walk.schema.value_set_row(value_set.split('|').next()?)?;
        let node = walk.tape.cursor(element.node?);
        let special = walk.schema.def(element.ty?)?.special;
        super::binding::verdict(&walk, node, special, row)
    }

    fn conforms_to(&self, element: &Element, profile: &str) -> Option<bool> {
        let mut walk = self.walk.try_borrow_mut().ok()?;
        let node = walk.tape.cursor(element.node?);
        crate::profile::conforms_at(&mut walk, node, element.ty?, profile)
    }
}
