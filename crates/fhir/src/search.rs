//! What a resource can be found by: the SearchParameter definitions evaluated over a tape
//! (<https://hl7.org/fhir/R4/search.html>).
//!
//! ```text
//! Schema ── SearchParams::compile ──► SearchParams ── extract(tape, node) ──► [SearchEntry]
//! ```

mod date;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fhirpath::{CompileOptions, Context, Element, Item, Program, compile};
use crate::rules::reference;
use crate::schema::{Schema, TypeId};
use crate::tape::{NodeId, Tape};

pub use date::DateRange;
pub use values::{SearchValue, fold};

/// More combinations of one element are not kept: a resource of ten thousand codings is not to become
/// an index of a hundred million pairs.
const MAX_COMBINATIONS: usize = 1000;

/// Type of a search parameter (<https://hl7.org/fhir/R4/search.html#ptypes>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the specification's own")]
pub enum SearchKind {
    Number,
    Date,
    String,
    Token,
    Reference,
    Quantity,
    Uri,
    Composite,
    Special,
}

impl SearchKind {
    fn named(name: &str) -> SearchKind {
        match name {
            "number" => SearchKind::Number,
            "date" => SearchKind::Date,
            "string" => SearchKind::String,
            "token" => SearchKind::Token,
            "reference" => SearchKind::Reference,
            "quantity" => SearchKind::Quantity,
            "uri" => SearchKind::Uri,
            "composite" => SearchKind::Composite,
            _ => SearchKind::Special,
        }
    }
}

/// One value under which a resource is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchEntry {
    /// The parameter's code: `birthdate`.
    pub code: String,
    /// The parameter's type.
    pub kind: SearchKind,
    /// The value.
    pub value: SearchValue,
}

/// A parameter as a caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamInfo<'p> {
    /// Its code in a query.
    pub code: &'p str,
    /// Its type.
    pub kind: SearchKind,
    /// Canonical url of its definition.
    pub url: &'p str,
}

struct Param {
    code: String,
    kind: SearchKind,
    url: String,
    program: Program,
    /// Of a composite: type and expression of each part, from what `program` finds.
    parts: Vec<(SearchKind, Program)>,
    /// `where(resolve() is T)`: only references to this type.
    target: Option<String>,
}

/// The search parameters of a schema, compiled.
pub struct SearchParams {
    schema: Arc<Schema>,
    /// By base type, each list sorted by code.
    by_base: BTreeMap<String, Vec<Param>>,
}

impl SearchParams {
    /// Compiles all parameters of the packages in `schema`. Special parameters, and the few whose
    /// expression this engine does not read, are left out.
    pub fn compile(schema: Arc<Schema>) -> SearchParams {
        let mut by_base: BTreeMap<String, Vec<Param>> = BTreeMap::new();
        for row in schema.search_params() {
            let kind = SearchKind::named(schema.str(row.kind));
            if kind == SearchKind::Special {
                continue;
            }
            let options =
                CompileOptions { lenient: true, schema: Some(&schema), ..CompileOptions::default() };
            let Some(parts) = parts(&schema, schema.str(row.components), &options) else { continue };
            for (expression, target) in alternatives(schema.str(row.expression)) {
                let Ok(program) = compile(&expression, &options) else { continue };
                by_base.entry(schema.str(row.base).to_owned()).or_default().push(Param {
                    code: schema.str(row.code).to_owned(),
                    kind,
                    url: schema.str(row.url).to_owned(),
                    program,
                    parts: parts.clone(),
                    target,
                });
            }
        }
        for params in by_base.values_mut() {
            params.sort_by(|a, b| a.code.cmp(&b.code));
        }
        SearchParams { schema, by_base }
    }

    /// The schema the parameters come from.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The parameters of a resource type with those of all resources (`_id`, `_lastUpdated`, …),
    /// each code once, sorted.
    pub fn of_type(&self, resource_type: &str) -> Vec<ParamInfo<'_>> {
        let mut all: Vec<_> = self
            .params(resource_type)
            .map(|p| ParamInfo { code: &p.code, kind: p.kind, url: &p.url })
            .collect();
        all.sort_by(|a, b| a.code.cmp(b.code));
        all.dedup_by(|a, b| a.code == b.code);
        all
    }

    /// The parameter `code` of a resource type.
    pub fn param(&self, resource_type: &str, code: &str) -> Option<ParamInfo<'_>> {
        self.params(resource_type).find(|p| p.code == code).map(|p| ParamInfo {
            code: &p.code,
            kind: p.kind,
            url: &p.url,
        })
    }

    fn params(&self, resource_type: &str) -> impl Iterator<Item = &Param> + use<'_> {
        let bases = [resource_type, "DomainResource", "Resource"].map(|base| self.by_base.get(base));
        bases.into_iter().flatten().flatten()
    }

    /// Everything the resource at `node` is found by. A value that does not parse gives no entry:
    /// validation has its own word on it. Empty if `node` is no resource of the schema.
    pub fn extract(&self, tape: &Tape<'_>, node: NodeId) -> Vec<SearchEntry> {
        let resource = tape.cursor(node);
        let name = resource.get("resourceType").and_then(|t| t.as_str()).unwrap_or_default();
        let Some(ty) = self.schema.resource_type(&name) else { return Vec::new() };
        let element = Element { node: Some(node), companion: None, ty: Some(ty) };
        let context =
            Context::new(tape, Some(&self.schema)).at(element).with_resource(node).with_root_resource(node);
        let mut entries = Vec::new();
        for param in self.params(&name) {
            let Ok(found) = param.program.evaluate(&context) else { continue };
            for item in found.iter() {
                let before = entries.len();
                match item {
                    Item::Element(e) if param.kind == SearchKind::Composite => {
                        self.composite(tape, &context, param, e, &mut entries);
                    }
                    Item::Element(e) => self.element(tape, param, e, &mut entries),
                    // A computed value, such as `deceased.exists()`.
                    Item::Value(value) => {
                        let text = value.to_text().unwrap_or_default();
                        values::computed(param.kind, &text, &mut |value| {
                            entries.push(entry(param, value));
                        });
                    }
                }
                if let Some(target) = &param.target {
                    let new = entries.split_off(before);
                    entries.extend(new.into_iter().filter(|e| points_to(&e.value, target)));
                }
            }
        }
        let mut seen = BTreeSet::new();
        entries.retain(|e| seen.insert(e.clone()));
        entries
    }

    /// Every combination of the values that the parts have at one element: the pair is found that
    /// belongs together (<https://hl7.org/fhir/R4/search.html#composite>).
    fn composite(
        &self,
        tape: &Tape<'_>,
        context: &Context<'_>,
        param: &Param,
        element: &Element,
        entries: &mut Vec<SearchEntry>,
    ) {
        let context = context.clone().at(*element);
        let mut combined: Vec<Vec<SearchValue>> = vec![Vec::new()];
        for (kind, program) in &param.parts {
            let Ok(found) = program.evaluate(&context) else { return };
            let mut values = Vec::new();
            for item in found.iter() {
                match item {
                    Item::Element(e) => {
                        let Some(node) = e.node else { continue };
                        let name = e.ty.map_or("", |ty: TypeId| self.schema.type_name(ty));
                        values::of(*kind, name, tape.cursor(node), &mut |value| values.push(value));
                    }
                    Item::Value(value) => {
                        let text = value.to_text().unwrap_or_default();
                        values::computed(*kind, &text, &mut |value| values.push(value));
                    }
                }
            }
            let pair = |before: &Vec<SearchValue>, value: &SearchValue| {
                before.iter().chain([value]).cloned().collect::<Vec<_>>()
            };
            combined = combined
                .iter()
                .flat_map(|before| values.iter().map(move |value| pair(before, value)))
                .take(MAX_COMBINATIONS)
                .collect();
        }
        entries.extend(combined.into_iter().map(|values| entry(param, SearchValue::Composite(values))));
    }

    fn element(&self, tape: &Tape<'_>, param: &Param, element: &Element, entries: &mut Vec<SearchEntry>) {
        let Some(node) = element.node else { return };
        let name = element.ty.map_or("", |ty: TypeId| self.schema.type_name(ty));
        values::of(param.kind, name, tape.cursor(node), &mut |value| {
            entries.push(entry(param, value));
        });
    }
}

/// Type and expression of each part of a composite; `None`: one of them is not known.
fn parts(
    schema: &Schema,
    components: &str,
    options: &CompileOptions<'_>,
) -> Option<Vec<(SearchKind, Program)>> {
    let part = |line: &str| {
        let (url, expression) = line.split_once('\t')?;
        let row = schema.search_params().iter().find(|row| schema.str(row.url) == url)?;
        Some((SearchKind::named(schema.str(row.kind)), compile(expression, options).ok()?))
    };
    components.lines().map(part).collect()
}

fn entry(param: &Param, value: SearchValue) -> SearchEntry {
    SearchEntry { code: param.code.clone(), kind: param.kind, value }
}

/// Whether a reference names the type, in its text or its `type`.
fn points_to(value: &SearchValue, target: &str) -> bool {
    match value {
        SearchValue::Reference { url, ty, .. } => {
            ty.as_deref() == Some(target) || reference::implied_type(url) == Some(target)
        }
        _ => false,
    }
}

/// Alternatives of a union, each with the type that `.where(resolve() is T)` asks for at its end:
/// nothing is loaded to answer that, the reference itself tells.
fn alternatives(expression: &str) -> Vec<(String, Option<String>)> {
    expression
        .split(" | ")
        .map(|part| {
            let part = part.trim();
            match part.split_once(".where(resolve() is ") {
                Some((path, rest)) => (path.to_owned(), Some(rest.trim_end_matches(')').trim().to_owned())),
                None => (part.to_owned(), None),
            }
        })
        .collect()
}
