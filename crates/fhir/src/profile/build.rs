//! Merging: a base's tree, and the differential laid over it (snapshot generation).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    Automatic, Binding, Constraint, Discriminator, Expect, Kind, Node, Profile, Profiles, Rules, Slicing,
    Step, TypeRule,
};
use crate::rules::invariant;
use crate::schema::{ProfileSource, Schema, Strength, TypeId, TypeKind, items, text_of};
use crate::tape::{Cursor, Limits, Tape};

const TYPE_PREFIX: &str = "http://hl7.org/fhir/StructureDefinition/";
const BEST_PRACTICE: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-bestpractice";

/// Required bindings of 4.0.1 that are wrong as published and read as extensible: path, value set.
///
/// The vital signs profiles bind the units of *every* component, also of those that are no vital
/// signs, such as the flow of oxygen while its saturation was measured; R4B binds them extensibly.
const BINDING_ERRATA: &[(&str, &str)] =
    &[("Observation.component.value[x]", "http://hl7.org/fhir/ValueSet/ucum-vitals-common")];

impl Profiles {
    /// Merges every profile of the schema. Profiles that are based on each other in a circle end
    /// where the circle closes.
    pub(crate) fn new(schema: &Schema) -> Profiles {
        let mut profiles = Profiles::default();
        for source in schema.profile_sources() {
            merge(schema, source, &mut profiles, &mut BTreeSet::new());
        }
        profiles.automatic = Automatic::new(schema, &profiles);
        profiles
    }
}

fn source_of<'s>(schema: &'s Schema, url: &str) -> Option<&'s ProfileSource> {
    let (url, version) = url.split_once('|').unwrap_or((url, ""));
    let all = schema.profile_sources();
    let at = all.partition_point(|s| schema.str(s.url) < url);
    let versions = all.iter().skip(at).take_while(|s| schema.str(s.url) == url);
    let exact = versions.clone().find(|s| schema.str(s.version) == version);
    exact.or_else(|| versions.last())
}

fn merge(
    schema: &Schema,
    source: &ProfileSource,
    profiles: &mut Profiles,
    open: &mut BTreeSet<(String, String)>,
) -> Option<usize> {
    let (url, version) = (schema.str(source.url), schema.str(source.version));
    if let Some(&done) = profiles.by_url.get(url).and_then(|versions| versions.get(version)) {
        return Some(done);
    }
    if !open.insert((url.to_owned(), version.to_owned())) {
        return None;
    }
    let ty = schema.type_named(schema.str(source.ty));
    let base = source_of(schema, schema.str(source.base));
    let inherited = base.and_then(|base| merge(schema, base, profiles, open));
    let inherited = inherited.and_then(|at| profiles.get(at)).map(|p| p.root.clone());
    let mut root = inherited.unwrap_or_else(|| Node::named("", ty));
    let (differential, snapshot) = (schema.str(source.differential), schema.str(source.snapshot));
    let text = if differential.is_empty() { snapshot } else { differential };
    if let Ok(tape) = Tape::parse(text.as_bytes(), &Limits::default()) {
        let mut trail: Vec<(String, String)> = Vec::new();
        for element in tape.root().children() {
            follow(&mut trail, element);
            let node =
                trail.iter().skip(1).fold(&mut root, |at, (name, slice)| below(schema, at, name, slice));
            lay(schema, url, node, element);
        }
    }
    let at = profiles.all.len();
    profiles.all.push(Profile { url: url.to_owned(), ty, root });
    profiles.by_url.entry(url.to_owned()).or_default().insert(version.to_owned(), at);
    Some(at)
}

/// Moves `trail` (names with slices, from the root) to the element. Where its id repeats its path,
/// the id names the slices; else they follow from the order of the elements.
fn follow(trail: &mut Vec<(String, String)>, element: Cursor<'_, '_>) {
    let (id, path, slice) = (text_of(element, "id"), text_of(element, "path"), text_of(element, "sliceName"));
    let names: Vec<&str> = path.split('.').collect();
    let ids: Vec<(&str, &str)> =
        id.split('.').map(|part| part.split_once(':').unwrap_or((part, ""))).collect();
    let agrees = ids.len() == names.len()
        && ids.iter().zip(&names).skip(1).all(|((i, _), n)| *i == *n || i.strip_suffix("[x]").is_some());
    if agrees && id.contains(':') {
        trail.clear();
        trail.extend(ids.iter().map(|(name, slice)| ((*name).to_owned(), (*slice).to_owned())));
    } else {
        let above = names.len().saturating_sub(1);
        let shared = trail.iter().zip(names.iter().take(above)).take_while(|((a, _), b)| a == *b).count();
        trail.truncate(shared);
        trail.extend(names.iter().skip(shared).map(|name| ((*name).to_owned(), String::new())));
    }
    if let Some((_, last)) = trail.last_mut()
        && !slice.is_empty()
    {
        *last = slice;
    }
}

/// The node for a step, made if it is not there.
fn below<'n>(schema: &Schema, parent: &'n mut Node, name: &str, slice: &str) -> &'n mut Node {
    let member = parent.ty.and_then(|ty| schema.member(ty, name));
    let (element, choice, mut ty, mut slice) = match (name.strip_suffix("[x]"), member) {
        (Some(bare), _) => (bare, true, None, slice.to_owned()),
        // `valueQuantity`: the element value[x], in the slice of that type
        (None, Some(m)) if m.is_choice => {
            (m.name, true, Some(m.ty), if slice.is_empty() { name.to_owned() } else { slice.to_owned() })
        }
        (None, m) => (name, false, m.map(|m| m.ty), slice.to_owned()),
    };
    if choice && ty.is_none() && !slice.is_empty() {
        ty = parent.ty.and_then(|t| schema.member(t, &slice)).map(|m| m.ty);
    }
    let at = match parent.children.iter().position(|c| c.name == element) {
        Some(at) => at,
        None => {
            parent.children.push(Node::named(element, if choice { None } else { ty }));
            parent.children.len() - 1
        }
    };
    #[expect(clippy::indexing_slicing, reason = "`at` was found or pushed just above")]
    let mut node = &mut parent.children[at];
    let kind = if choice { Kind::Type } else { Kind::Value };
    let path = if choice { Vec::new() } else { vec![Step::Child("url".to_owned())] };
    let implied = choice || matches!(element, "extension" | "modifierExtension");
    let own = ty.or(node.ty);
    // `a/b` is slice b of the slices inside slice a
    while !slice.is_empty() {
        let (head, rest) = match slice.split_once('/') {
            Some((head, rest)) => (head.to_owned(), rest.to_owned()),
            None => (std::mem::take(&mut slice), String::new()),
        };
        if node.slicing.is_none() && implied {
            let discriminators = vec![Discriminator { kind, path: path.clone() }];
            node.slicing = Some(Slicing { discriminators, rules: Rules::Open, ordered: false });
        }
        let at = match node.slices.iter().position(|s| s.slice == head) {
            Some(at) => at,
            None => {
                let mut made = Node::named(element, own);
                made.slice = head;
                if choice && let Some(ty) = ty {
                    let code = schema.type_name(ty).to_owned();
                    made.types.push(TypeRule {
                        code,
                        profiles: Vec::new(),
                        targets: Vec::new(),
                        aggregation: Vec::new(),
                    });
                }
                node.slices.push(made);
                node.slices.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "`at` was found or pushed just above")]
        let inner = &mut node.slices[at];
        node = inner;
        slice = rest;
    }
    node
}

/// What the element says replaces what the base says; constraints add up.
fn lay(schema: &Schema, url: &str, node: &mut Node, element: Cursor<'_, '_>) {
    let number = |key: &str| element.get(key).and_then(Cursor::number).and_then(|n| n.parse().ok());
    node.min = number("min").or(node.min);
    if let Some(max) = element.get("max").and_then(Cursor::as_str) {
        node.max = Some(max.parse().unwrap_or(u32::MAX));
    }
    node.min_length = number("minLength").map(|n: u32| n as usize).or(node.min_length);
    node.max_length = number("maxLength").map(|n: u32| n as usize).or(node.max_length);
    if element.get("valueAlternatives").is_some() {
        let urls = items(element, "valueAlternatives").filter_map(Cursor::as_str);
        node.value_or = Some(urls.map(|u| u.into_owned()).collect());
    }
    if element.get("type").is_some() {
        node.types = items(element, "type").map(type_rule).collect();
        let open =
            node.ty.is_none_or(|ty| schema.type_kind(ty) == Some(TypeKind::Resource) || node.name == "value");
        if let [only] = node.types.as_slice()
            && open
        {
            node.ty = schema.type_named(&only.code).or(node.ty);
        }
    }
    for member in element.children() {
        let key = member.raw_key().unwrap_or_default();
        if key.starts_with("fixed") {
            node.fixed = Some(Arc::new(Expect::read(member)));
        } else if key.starts_with("pattern") {
            node.pattern = Some(Arc::new(Expect::read(member)));
        } else if let Some(ty) = key.strip_prefix("minValue") {
            bound(schema, node, "fhir.profile.min-value", ">=", ty, member);
        } else if let Some(ty) = key.strip_prefix("maxValue") {
            bound(schema, node, "fhir.profile.max-value", "<=", ty, member);
        }
    }
    if let Some(binding) = element.get("binding") {
        let set = text_of(binding, "valueSet");
        let row = schema.value_set_row(set.split('|').next().unwrap_or_default());
        let wrong = BINDING_ERRATA.iter().any(|(p, s)| *p == text_of(element, "path") && set.starts_with(s));
        let strength = Strength::named(&text_of(binding, "strength"))
            .map(|strength| if wrong { Strength::Extensible } else { strength });
        let most = schema.value_set_row(text_of(binding, "most").split('|').next().unwrap_or_default());
        node.binding = row.zip(strength).map(|(row, strength)| Binding { strength, row, most });
    }
    for c in items(element, "constraint") {
        let (key, source) = (text_of(c, "key"), text_of(c, "source"));
        let of_type = source.strip_prefix(TYPE_PREFIX).is_some_and(|t| schema.type_named(t).is_some());
        let source = if source.is_empty() { url } else { &source };
        let id = format!("{source}#{key}");
        if of_type || node.constraints.iter().any(|known| known.id == id) {
            continue;
        }
        let best_practice = items(c, "extension").any(|x| {
            x.get("url").is_some_and(|u| u.str_is(BEST_PRACTICE))
                && x.get("valueBoolean").and_then(Cursor::as_bool) == Some(true)
        });
        let Some(program) = invariant::program(schema, &key, source, &text_of(c, "expression")) else {
            continue;
        };
        node.constraints.push(Arc::new(Constraint {
            id,
            human: text_of(c, "human"),
            is_error: text_of(c, "severity") == "error",
            best_practice,
            program,
        }));
    }
    if let Some(slicing) = element.get("slicing") {
        // With a path that cannot be read nothing tells the slices apart.
        let discriminators: Option<Vec<_>> = items(slicing, "discriminator").map(discriminator).collect();
        let discriminators = discriminators.unwrap_or_default();
        let known = node.slicing.take().map(|s| s.discriminators).unwrap_or_default();
        node.slicing = Some(Slicing {
            discriminators: if discriminators.is_empty() { known } else { discriminators },
            rules: match text_of(slicing, "rules").as_str() {
                "closed" => Rules::Closed,
                "openAtEnd" => Rules::OpenAtEnd,
                _ => Rules::Open,
            },
            ordered: slicing.get("ordered").and_then(Cursor::as_bool).unwrap_or(false),
        });
    }
}

/// minValue[x] and maxValue[x] are comparisons of FHIRPath, units included.
fn bound(schema: &Schema, node: &mut Node, id: &str, operator: &str, ty: &str, value: Cursor<'_, '_>) {
    let plain = |text: &str| !text.is_empty() && !text.contains(['\'', '\\']);
    let temporal = node.ty.map_or("", |ty| schema.type_name(ty));
    let literal = match ty {
        // A duration on a date is taken from the present for the least value, and added to it for
        // the greatest (https://hl7.org/fhir/R4B/elementdefinition-definitions.html, minValue[x]).
        "Quantity" | "Duration" if matches!(temporal, "date" | "dateTime" | "instant") => {
            let number = value.get("value").and_then(Cursor::number);
            let (sign, now) = (
                if operator == ">=" { '-' } else { '+' },
                if temporal == "date" { "today()" } else { "now()" },
            );
            let unit = calendar_unit(&text_of(value, "code"));
            number.zip(unit).map(|(n, unit)| format!("({now} {sign} {n} {unit})"))
        }
        "Date" | "DateTime" | "Instant" => value.as_str().map(|text| format!("@{text}")),
        "Time" => value.as_str().map(|text| format!("@T{text}")),
        _ if value.number().is_some() => value.number().map(str::to_owned),
        _ => {
            let unit = text_of(value, "code");
            let number = value.get("value").and_then(Cursor::number);
            number.map(|n| if plain(&unit) { format!("{n} '{unit}'") } else { format!("{n} '1'") })
        }
    };
    let Some(literal) = literal else { return };
    let Some(program) = invariant::program(schema, id, "", &format!("$this {operator} {literal}")) else {
        return;
    };
    let human = format!("the profile allows only values {operator} {literal}");
    let constraint = Constraint { id: id.to_owned(), human, is_error: true, best_practice: false, program };
    node.constraints.push(Arc::new(constraint));
}

/// The calendar unit of a UCUM code of time.
fn calendar_unit(code: &str) -> Option<&'static str> {
    Some(match code {
        "a" => "years",
        "mo" => "months",
        "wk" => "weeks",
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        _ => return None,
    })
}

fn type_rule(node: Cursor<'_, '_>) -> TypeRule {
    let list = |key| items(node, key).filter_map(Cursor::as_str).map(|u| u.into_owned()).collect();
    let code = text_of(node, "code");
    let code = match code.strip_prefix("http://hl7.org/fhirpath/System.") {
        Some("String") => "string".to_owned(),
        Some(name) => name.to_ascii_lowercase(),
        None => code,
    };
    TypeRule {
        code,
        profiles: list("profile"),
        targets: list("targetProfile"),
        aggregation: list("aggregation"),
    }
}

/// `None` for a path that is no discriminator path.
fn discriminator(node: Cursor<'_, '_>) -> Option<Discriminator> {
    let kind = match text_of(node, "type").as_str() {
        "exists" => Kind::Exists,
        "type" => Kind::Type,
        "profile" => Kind::Profile,
        _ => Kind::Value,
    };
    Some(Discriminator { kind, path: steps(&text_of(node, "path"))? })
}

/// A discriminator path; `None` if it is none.
pub(crate) fn steps(path: &str) -> Option<Vec<Step>> {
    let mut found = Vec::new();
    let mut rest = path.trim();
    while !rest.is_empty() {
        // a url inside `extension('…')` may hold dots
        let end = match (rest.find('('), rest.find('.')) {
            (Some(bracket), Some(dot)) if bracket < dot => rest.find(')')? + 1,
            (Some(_), None) => rest.find(')')? + 1,
            (_, Some(dot)) => dot,
            (None, None) => rest.len(),
        };
        let part = rest.get(..end)?;
        let argument = || part.split_once('(')?.1.strip_suffix(')');
        if part.starts_with("extension(") {
            found.push(Step::Extension(argument()?.trim_matches(['\'', '"']).to_owned()));
        } else if part.starts_with("ofType(") {
            found.push(Step::OfType(argument()?.trim_start_matches("FHIR.").to_owned()));
        } else if part == "resolve()" {
            found.push(Step::Resolve);
        } else if part != "$this" {
            found.push(Step::Child(part.strip_suffix("[x]").unwrap_or(part).to_owned()));
        }
        rest = rest.get(end..)?.trim_start_matches('.');
    }
    Some(found)
}

/// The type a profile or a type url stands for.
pub(super) fn type_of(schema: &Schema, profiles: &Profiles, url: &str) -> Option<TypeId> {
    match profiles.find(url).and_then(|at| profiles.get(at)) {
        Some(profile) => profile.ty,
        None => schema.type_named(url.strip_prefix(TYPE_PREFIX)?),
    }
}
