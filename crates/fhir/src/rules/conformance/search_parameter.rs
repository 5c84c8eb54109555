//! SearchParameter (<https://hl7.org/fhir/R4/searchparameter.html>).

use crate::fhirpath::{CompileOptions, compile};
use crate::report::IssueCode;
use crate::schema::{TypeKind, alternatives, items, text_of};
use crate::tape::Cursor;
use crate::walk::Walk;

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if walk.holds_withheld() {
        walk.unevaluated.withheld += 1;
        return;
    }
    let bases: Vec<String> = items(node, "base").filter_map(Cursor::as_str).map(|b| b.into_owned()).collect();
    if let Some(expression) = node.get("expression")
        && let Some(text) = expression.as_str()
    {
        self::expression(walk, expression, &text, &bases);
    }
    let ty = text_of(node, "type");
    if ty == "composite" && items(node, "component").count() < 2 {
        let text = "a composite parameter is made of two or more components; add them";
        walk.error(node, IssueCode::BusinessRule, "fhir.search-parameter.composite", text);
    }
    derived(walk, node, &ty, &bases);
}

/// It is FHIRPath, and each of its alternatives speaks of a base.
fn expression<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, text: &str, bases: &[String]) {
    let options = CompileOptions { lenient: true, schema: Some(walk.schema), ..CompileOptions::default() };
    if compile(text, &options).is_err() {
        let text = "this is no FHIRPath expression; correct it";
        walk.error(node, IssueCode::Value, "fhir.search-parameter.expression", text);
        return;
    }
    let schema = walk.schema;
    let is_base = |name: &str| {
        let Some(ty) = schema.type_named(name).filter(|ty| schema.type_kind(*ty) == Some(TypeKind::Resource))
        else {
            return true;
        };
        let fits = |base: &String| {
            schema.type_named(base).is_some_and(|base| schema.is_a(base, ty) || schema.is_a(ty, base))
        };
        bases.iter().any(fits)
    };
    let strange = alternatives(text).into_iter().any(|part| {
        let part = part.trim_start_matches('(');
        let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
        !is_base(part.get(..end).unwrap_or_default())
    });
    if strange && !bases.is_empty() {
        let text = "the expression starts at a type that is no base of this parameter; correct one of them";
        walk.error(node, IssueCode::BusinessRule, "fhir.search-parameter.base", text);
    }
}

/// <https://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.derivedFrom>
fn derived<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, ty: &str, bases: &[String]) {
    let from = text_of(node, "derivedFrom");
    let url = from.split('|').next().unwrap_or_default();
    if url.is_empty() {
        return;
    }
    let schema = walk.schema;
    let rows: Vec<_> = schema.search_params().iter().filter(|p| schema.str(p.url) == url).collect();
    let Some(first) = rows.first() else { return };
    if !ty.is_empty() && schema.str(first.kind) != ty {
        let text = "the type differs from that of the parameter this one is derived from; correct it";
        walk.error(node, IssueCode::BusinessRule, "fhir.search-parameter.derived-type", text);
    }
    let listed = |base: &String| {
        rows.iter().any(|row| {
            let known = schema.str(row.base);
            known == base
                || schema
                    .type_named(base)
                    .zip(schema.type_named(known))
                    .is_some_and(|(b, k)| schema.is_a(b, k))
        })
    };
    if !bases.iter().all(listed) {
        let text = "a base is none of the parameter this one is derived from; remove it";
        walk.error(node, IssueCode::BusinessRule, "fhir.search-parameter.derived-base", text);
    }
}
