//! Packages to tables.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{
    Child, Definition, Global, Invariant, NONE, Primitive, Run, Slot, Special, Str, Strength, TypeDef,
    TypeKind,
};
use super::{PackageInfo, Schema, SchemaError, knowledge, profiles, search_params, terminology};
use crate::deid;
use crate::package::{Package, PackageError};
use crate::tape::{Cursor, Limits, Tape, key_hash};

const TYPE_PREFIX: &str = "http://hl7.org/fhir/StructureDefinition/";
const BEST_PRACTICE: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-bestpractice";
const FHIR_TYPE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";

/// Growing tables, with strings interned.
#[derive(Default)]
pub(super) struct Build {
    pub(super) schema: Schema,
    interned: BTreeMap<String, Str>,
    /// Type name → id, for all types that will exist.
    ids: BTreeMap<String, u16>,
    resources: BTreeSet<String>,
    pub(super) terms: terminology::Terms,
}

impl Build {
    pub(super) fn text(&mut self, text: &str) -> Str {
        if let Some(known) = self.interned.get(text) {
            return *known;
        }
        let s = Str { at: len32(self.schema.pool.len()), len: len32(text.len()) };
        self.schema.pool.push_str(text);
        self.interned.insert(text.to_owned(), s);
        s
    }

    pub(super) fn names(&mut self, names: Vec<String>) -> Run {
        let at = len32(self.schema.names.len());
        for name in &names {
            let s = self.text(name);
            self.schema.names.push(s);
        }
        Run { at, len: len32(names.len()) }
    }

    fn id(&self, name: &str) -> u16 {
        self.ids.get(name).copied().unwrap_or(NONE)
    }
}

fn len32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Decoded string member, or empty.
pub(crate) fn text_of(node: Cursor<'_, '_>, key: &str) -> String {
    node.get(key).and_then(Cursor::as_str).map_or_else(String::new, |s| s.into_owned())
}

/// Items of an array member.
pub(crate) fn items<'t, 'a>(
    node: Cursor<'t, 'a>,
    key: &str,
) -> impl Iterator<Item = Cursor<'t, 'a>> + use<'t, 'a> {
    node.get(key).into_iter().flat_map(Cursor::children)
}

pub(super) fn compile(packages: &[&[u8]], resources: &[&[u8]]) -> Result<Schema, SchemaError> {
    let mut read = Vec::new();
    for tgz in packages {
        read.push(Package::read(tgz)?);
    }
    read.sort_by(|a, b| (&a.name, &a.version, a.sha256).cmp(&(&b.name, &b.version, b.sha256)));
    read.dedup_by_key(|p| p.sha256);
    if !resources.is_empty() {
        read.push(Package::of_resources(resources));
    }

    let mut tapes = Vec::new();
    for package in &read {
        for file in &package.files {
            let tape = Tape::parse(&file.bytes, &Limits::default()).map_err(|error| PackageError::Json {
                package: package.name.clone(),
                path: file.path.clone(),
                error,
            })?;
            tapes.push(tape);
        }
    }

    let mut build = Build::default();
    let docs = |resource: &'static str| {
        tapes
            .iter()
            .map(Tape::root)
            .filter(move |r| r.get("resourceType").is_some_and(|t| t.str_is(resource)))
    };
    for set in docs("ValueSet") {
        build.terms.add_value_set(set);
    }
    for system in docs("CodeSystem") {
        build.terms.add_code_system(system);
    }

    // Later packages (by name and version) do not displace the first definition of a url.
    let mut structures: BTreeMap<String, Cursor<'_, '_>> = BTreeMap::new();
    for sd in docs("StructureDefinition") {
        structures.entry(text_of(sd, "url")).or_insert(sd);
    }
    let types: Vec<_> = structures.values().copied().filter(|sd| is_type(*sd)).collect();
    number_types(&mut build, &types)?;
    if build.id("Patient") == NONE {
        return Err(SchemaError::NoCore);
    }
    for sd in &types {
        compile_structure(&mut build, *sd)?;
    }
    for sd in structures.values() {
        if is_profile(*sd) {
            compile_definition(&mut build, *sd);
        }
    }
    let mut versions = BTreeSet::new();
    for sd in docs("StructureDefinition").filter(|sd| is_profile(*sd)) {
        if versions.insert((text_of(sd, "url"), text_of(sd, "version"))) {
            profiles::compile(&mut build, sd);
        }
    }
    for guide in docs("ImplementationGuide") {
        for global in items(guide, "global") {
            let row = Global {
                ty: build.text(&text_of(global, "type")),
                profile: build.text(&text_of(global, "profile")),
            };
            build.schema.globals.push(row);
        }
    }
    search_params::compile(&mut build, docs("SearchParameter"));
    knowledge::value_sets(&mut build);
    knowledge::systems(&mut build, docs("CodeSystem"));
    for kind in knowledge::KEPT {
        knowledge::documents(&mut build, kind, docs(kind));
    }
    Ok(finish(build, &read))
}

/// A type of its own: specialisations, the roots, and constraints on a data type that other types
/// name as a profile (`SimpleQuantity`, `MoneyQuantity`).
fn is_type(sd: Cursor<'_, '_>) -> bool {
    let kind = text_of(sd, "kind");
    if kind == "logical" || sd.get("snapshot").is_none() {
        return false;
    }
    match text_of(sd, "derivation").as_str() {
        "specialization" => true,
        "" => matches!(text_of(sd, "name").as_str(), "Element" | "Resource"),
        _ => kind == "complex-type" && text_of(sd, "type") == "Quantity",
    }
}

/// A constraint on a type, also one that calls itself a specialisation of that very type.
fn is_profile(sd: Cursor<'_, '_>) -> bool {
    let own = || text_of(sd, "baseDefinition").strip_prefix(TYPE_PREFIX) == Some(&*text_of(sd, "type"));
    match text_of(sd, "derivation").as_str() {
        "constraint" => true,
        "specialization" => sd.get("snapshot").is_none() && own(),
        _ => false,
    }
}

/// Path of a snapshot element below its type's name: `SimpleQuantity` elements start with
/// `Quantity`, but the type is called by its id.
fn type_name(sd: Cursor<'_, '_>) -> String {
    if text_of(sd, "derivation") == "constraint" { text_of(sd, "id") } else { text_of(sd, "type") }
}

struct Element<'t, 'a> {
    node: Cursor<'t, 'a>,
    /// With the type's own name as first part.
    path: String,
}

fn elements<'t, 'a>(sd: Cursor<'t, 'a>) -> Vec<Element<'t, 'a>> {
    let name = type_name(sd);
    let Some(snapshot) = sd.get("snapshot") else { return Vec::new() };
    items(snapshot, "element")
        .map(|node| {
            let path = text_of(node, "path");
            let tail = path.find('.').map_or("", |dot| path.get(dot..).unwrap_or_default());
            Element { node, path: format!("{name}{tail}") }
        })
        .collect()
}

fn parent(path: &str) -> &str {
    path.rfind('.').map_or("", |dot| path.get(..dot).unwrap_or_default())
}

fn last(path: &str) -> &str {
    path.rfind('.').map_or(path, |dot| path.get(dot + 1..).unwrap_or_default())
}

/// Paths of a structure that have members of their own and become a type.
fn backbones(elements: &[Element<'_, '_>]) -> BTreeSet<String> {
    elements.iter().map(|e| parent(&e.path).to_owned()).filter(|p| p.contains('.')).collect()
}

fn number_types(build: &mut Build, structures: &[Cursor<'_, '_>]) -> Result<(), SchemaError> {
    let mut names = BTreeSet::new();
    for sd in structures {
        names.insert(type_name(*sd));
        if text_of(*sd, "kind") == "resource" {
            build.resources.insert(type_name(*sd));
        }
        names.extend(backbones(&elements(*sd)));
    }
    for (at, name) in names.into_iter().enumerate() {
        let id = u16::try_from(at).ok().filter(|&id| id != NONE);
        let id = id.ok_or(SchemaError::TooLarge("65,535 types"))?;
        build.ids.insert(name, id);
    }
    let blank = TypeDef {
        name: Str::default(),
        kind: TypeKind::Complex,
        primitive: None,
        special: Special::None,
        is_abstract: false,
        base: NONE,
        children: Run::default(),
        slots: Run::default(),
        buckets: Run::default(),
        required: 0,
        invariants: Run::default(),
    };
    build.schema.types = vec![blank; build.ids.len()];
    // Ids were given in the order of names, so the list by name is the list of ids.
    build.schema.by_name = build.ids.values().copied().collect();
    Ok(())
}

fn compile_structure(build: &mut Build, sd: Cursor<'_, '_>) -> Result<(), SchemaError> {
    let elements = elements(sd);
    let name = type_name(sd);
    let url = text_of(sd, "url");
    let kind = match text_of(sd, "kind").as_str() {
        "primitive-type" => TypeKind::Primitive,
        "resource" => TypeKind::Resource,
        _ => TypeKind::Complex,
    };
    let mut paths: Vec<String> = vec![name.clone()];
    paths.extend(backbones(&elements));
    for path in paths {
        let own = elements.iter().find(|e| e.path == path);
        let base = match own {
            Some(_) if path == name => {
                let base = text_of(sd, "baseDefinition");
                build.id(base.strip_prefix(TYPE_PREFIX).unwrap_or_default())
            }
            Some(e) => items(e.node, "type").next().map_or(NONE, |t| build.id(&text_of(t, "code"))),
            None => NONE,
        };
        let first_child = len32(build.schema.children.len());
        let first_slot = len32(build.schema.slots.len());
        let mut required = 0u64;
        let mut count = 0u8;
        for e in elements.iter().filter(|e| parent(&e.path) == path) {
            if kind == TypeKind::Primitive && last(&e.path) == "value" {
                continue; // the JSON value itself, no member
            }
            if count >= 64 {
                return Err(SchemaError::TooLarge("64 members of a type"));
            }
            let child = compile_child(build, &path, &name, &url, e, count);
            if child.min > 0 {
                required |= 1 << count;
            }
            build.schema.children.push(child);
            count += 1;
        }
        let slots = Run { at: first_slot, len: len32(build.schema.slots.len()) - first_slot };
        let buckets = compile_buckets(build, slots)?;
        let invariants =
            own.map_or_else(Run::default, |e| compile_invariants(build, e.node, &url, path == name));
        let special = Special::ALL.iter().find(|(_, n)| *n == path || (base_is(build, base, n)));
        let def = TypeDef {
            name: build.text(&path),
            kind: if path == name { kind } else { TypeKind::Backbone },
            primitive: if kind == TypeKind::Primitive { Primitive::named(&name) } else { None },
            special: special.map_or(Special::None, |(s, _)| *s),
            is_abstract: sd.get("abstract").and_then(Cursor::as_bool).unwrap_or(false),
            base,
            children: Run { at: first_child, len: u32::from(count) },
            slots,
            buckets,
            required,
            invariants,
        };
        let id = usize::from(build.id(&path));
        if let Some(row) = build.schema.types.get_mut(id) {
            *row = def;
        }
    }
    Ok(())
}

/// `Age` is a `Quantity` and follows its rules.
fn base_is(build: &Build, base: u16, name: &str) -> bool {
    name == "Quantity" && base != NONE && build.id("Quantity") == base
}

fn compile_child(
    build: &mut Build,
    path: &str,
    type_name: &str,
    url: &str,
    e: &Element<'_, '_>,
    index: u8,
) -> Child {
    let raw = last(&e.path);
    let name = raw.strip_suffix("[x]").unwrap_or(raw);
    let choice = raw.ends_with("[x]");
    let max = text_of(e.node, "max");
    let base_max = e.node.get("base").map(|b| text_of(b, "max")).unwrap_or_else(|| max.clone());
    let element = name;
    for (ty, code, targets) in child_types(build, type_name, e) {
        let property = if choice { format!("{name}{}", upper_first(&code)) } else { name.to_owned() };
        let name = build.text(&property);
        let action = deid::action(path, element, &code) as u8;
        build.schema.slots.push(Slot { name, child: index, ty, targets, action });
    }
    let is_backbone = build.ids.contains_key(&e.path);
    let invariants = if is_backbone { Run::default() } else { compile_invariants(build, e.node, url, false) };
    let bound = e.node.get("binding").filter(|b| b.get("valueSet").is_some());
    let strength = bound.and_then(|b| Strength::named(&text_of(b, "strength")));
    let binding = match (bound, strength) {
        (Some(bound), Some(_)) => terminology::compile(build, &text_of(bound, "valueSet")),
        _ => NONE,
    };
    let strength = strength.unwrap_or(Strength::Required);
    let most = bound.and_then(terminology::maximum).map_or(NONE, |url| terminology::compile(build, &url));
    let modifier = e.node.get("isModifier").and_then(Cursor::as_bool).unwrap_or(false);
    Child {
        name: build.text(name),
        min: e.node.get("min").and_then(Cursor::number).and_then(|n| n.parse().ok()).unwrap_or(0),
        max: max.parse().unwrap_or(u16::MAX),
        array: base_max != "1" && base_max != "0",
        choice,
        modifier,
        binding,
        strength,
        most,
        invariants,
    }
}

/// Type id, type code and targets of each type an element may have.
fn child_types(build: &mut Build, type_name: &str, e: &Element<'_, '_>) -> Vec<(u16, String, Run)> {
    if let Some(path) = e.node.get("contentReference").and_then(Cursor::as_str) {
        // `#Observation.referenceRange`: the type of that element.
        let target = path.rsplit('#').next().unwrap_or_default().to_owned();
        return vec![(build.id(&target), String::new(), Run::default())];
    }
    if build.ids.contains_key(&e.path) {
        return vec![(build.id(&e.path), String::new(), Run::default())];
    }
    let mut types = Vec::new();
    for t in items(e.node, "type") {
        let mut code = text_of(t, "code");
        if code.starts_with("http://hl7.org/fhirpath/") {
            code = items(t, "extension")
                .find(|x| x.get("url").is_some_and(|u| u.str_is(FHIR_TYPE)))
                .map_or_else(|| "string".to_owned(), |x| text_of(x, "valueUrl"));
            // The definition of Resource.id says string; the text of the specification (and its
            // schemas) says id: https://hl7.org/fhir/R4/resource.html#id
            let depth = e.path.matches('.').count();
            if depth == 1 && last(&e.path) == "id" && build.resources.contains(type_name) {
                code = "id".to_owned();
            }
        }
        let profile = items(t, "profile").next().and_then(Cursor::as_str);
        let profiled =
            profile.as_deref().and_then(|p| p.strip_prefix(TYPE_PREFIX)).map_or(NONE, |p| build.id(p));
        let id = if profiled == NONE { build.id(&code) } else { profiled };
        let at = len32(build.schema.targets.len());
        for target in items(t, "targetProfile") {
            let target = target.as_str().unwrap_or_default();
            let target = build.id(target.strip_prefix(TYPE_PREFIX).unwrap_or_default());
            build.schema.targets.push(target);
        }
        let len = len32(build.schema.targets.len()) - at;
        types.push((id, code, Run { at, len }));
    }
    types
}

fn upper_first(code: &str) -> String {
    let mut chars = code.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Constraints declared by this very definition; those repeated from a type (`ele-1`, `ext-1`) are
/// found at the type.
fn compile_invariants(build: &mut Build, node: Cursor<'_, '_>, url: &str, root: bool) -> Run {
    let at = len32(build.schema.invariants.len());
    for c in items(node, "constraint") {
        let source = text_of(c, "source");
        // At the root, constraints of the base (dom-*) come along in the snapshot.
        if !(root || source.is_empty() || source == url) {
            continue;
        }
        let row = Invariant {
            key: build.text(&text_of(c, "key")),
            source: build.text(if source.is_empty() { url } else { &source }),
            expression: build.text(&text_of(c, "expression")),
            human: build.text(&text_of(c, "human")),
            is_error: text_of(c, "severity") == "error",
            best_practice: items(c, "extension").any(|x| {
                x.get("url").is_some_and(|u| u.str_is(BEST_PRACTICE))
                    && x.get("valueBoolean").and_then(Cursor::as_bool) == Some(true)
            }),
        };
        build.schema.invariants.push(row);
    }
    Run { at, len: len32(build.schema.invariants.len()) - at }
}

fn compile_buckets(build: &mut Build, slots: Run) -> Result<Run, SchemaError> {
    let names: Vec<Str> = slots.of(&build.schema.slots).iter().map(|s| s.name).collect();
    if names.len() > 250 {
        return Err(SchemaError::TooLarge("250 property names of a type"));
    }
    let size = (names.len() * 2).next_power_of_two().max(2);
    let mut buckets = vec![0u8; size];
    for (slot, name) in names.iter().enumerate() {
        let mut at = key_hash(build.schema.str(*name).as_bytes()) as usize & (size - 1);
        while buckets.get(at).is_some_and(|&b| b != 0) {
            at = (at + 1) & (size - 1);
        }
        if let Some(bucket) = buckets.get_mut(at) {
            *bucket = u8::try_from(slot + 1).unwrap_or(u8::MAX);
        }
    }
    let at = len32(build.schema.buckets.len());
    build.schema.buckets.extend_from_slice(&buckets);
    Ok(Run { at, len: len32(size) })
}

/// What is known of an extension or a profile.
fn compile_definition(build: &mut Build, sd: Cursor<'_, '_>) {
    let ty = text_of(sd, "type");
    let mut values = Vec::new();
    let mut parts = Vec::new();
    let mut modifier = false;
    if ty == "Extension" {
        let list = sd.get("snapshot").or_else(|| sd.get("differential"));
        for e in list.into_iter().flat_map(|l| items(l, "element")) {
            let path = text_of(e, "path");
            if path == "Extension" {
                modifier = e.get("isModifier").and_then(Cursor::as_bool).unwrap_or(false);
            } else if path == "Extension.extension.url" {
                parts.push(text_of(e, "fixedUri"));
            } else if path.starts_with("Extension.value") && text_of(e, "max") != "0" {
                values.extend(items(e, "type").map(|t| text_of(t, "code")));
            }
        }
    }
    parts.retain(|p| !p.is_empty());
    let contexts = items(sd, "context")
        .map(|c| format!("{}:{}", text_of(c, "type"), text_of(c, "expression")))
        .collect();
    let row = Definition {
        url: build.text(&text_of(sd, "url")),
        ty: build.text(&ty),
        modifier,
        values: build.names(values),
        parts: build.names(parts),
        contexts: build.names(contexts),
    };
    build.schema.definitions.push(row);
}

fn finish(build: Build, read: &[Package]) -> Schema {
    let mut schema = build.schema;
    let pool = std::mem::take(&mut schema.pool);
    let text = |s: Str| pool.get(s.at as usize..(s.at + s.len) as usize).unwrap_or_default();
    schema.definitions.sort_by(|a, b| text(a.url).cmp(text(b.url)));
    schema.profiles.sort_by(|a, b| (text(a.url), text(a.version)).cmp(&(text(b.url), text(b.version))));
    schema.pool = pool;
    knowledge::index(&mut schema);
    schema.packages = read
        .iter()
        .map(|p| PackageInfo { name: p.name.clone(), version: p.version.clone(), sha256: p.sha256 })
        .collect();
    let given: BTreeSet<_> = schema.packages.iter().map(|p| format!("{}#{}", p.name, p.version)).collect();
    let wanted: BTreeSet<_> = read
        .iter()
        .flat_map(|p| p.dependencies.iter().map(|(n, v)| format!("{n}#{v}")))
        .filter(|d| !given.contains(d))
        .collect();
    schema.unresolved = wanted.into_iter().collect();
    schema.seal();
    schema
}
