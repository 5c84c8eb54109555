//! The compiled definitions: packages in, flat tables out.
//!
//! [`Schema::compile`] reads `.tgz` packages; [`Schema::to_bytes`] and [`Schema::from_bytes`] keep
//! the result between runs, so that a service starts without parsing 40 MB of JSON.

mod codec;
mod compile;
mod knowledge;
mod model;
mod profiles;
mod search_params;
mod terminology;

use sha2::{Digest, Sha256};

pub(crate) use compile::{items, text_of};
pub(crate) use knowledge::{CodeState, Concept, Document, System};
pub(crate) use model::{
    Child, Code, Definition, Global, Invariant, Membership, NONE, ProfileSource, Run, SearchParam, Slot,
    Special, Str, Strength, TypeDef, ValueSet,
};
pub use model::{Primitive, TypeId, TypeKind};
pub(crate) use search_params::top_level_alternatives as alternatives;

use crate::package::PackageError;
use crate::tape::{Name, key_hash, same};

/// Changes whenever a rule of the validator changes: it enters [`Schema::digest`], so that two
/// verdicts with one digest come from one set of rules.
pub const RULE_SET: &str = "9";

/// Why definitions were refused.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A package could not be read.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// No package brings the base resource types.
    #[error("no package defines `Patient`; give `hl7.fhir.r4.core` 4.0.1")]
    NoCore,
    /// More than a table can hold.
    #[error("the definitions exceed the {0} a schema can hold; load fewer packages")]
    TooLarge(&'static str),
    /// The cache is cut short, damaged, or from another release.
    #[error("the schema cache does not belong to this release or is damaged; compile it again")]
    Cache,
}

/// A package that went into a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageInfo {
    /// Such as `hl7.fhir.r4.core`.
    pub name: String,
    /// Such as `4.0.1`.
    pub version: String,
    /// SHA-256 of the `.tgz`.
    pub sha256: [u8; 32],
}

/// Compiled definitions. Cheap to share behind an `Arc`, never changed after compilation.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    digest: [u8; 32],
    packages: Vec<PackageInfo>,
    unresolved: Vec<String>,
    pool: String,
    types: Vec<TypeDef>,
    children: Vec<Child>,
    slots: Vec<Slot>,
    buckets: Vec<u8>,
    targets: Vec<u16>,
    /// Type ids sorted by name.
    by_name: Vec<u16>,
    value_sets: Vec<ValueSet>,
    codes: Vec<Code>,
    invariants: Vec<Invariant>,
    search: Vec<SearchParam>,
    /// Sorted by url.
    definitions: Vec<Definition>,
    /// Sorted by url.
    profiles: Vec<ProfileSource>,
    names: Vec<Str>,
    /// Type and profile of `ImplementationGuide.global`.
    globals: Vec<Global>,
    /// Sorted by url, then by version.
    systems: Vec<System>,
    concepts: Vec<Concept>,
    documents: Vec<Document>,
    /// Rows of `value_sets`, sorted by url.
    sets_by_url: Vec<u16>,
    /// Open-addressing table over the names of types: 0 = free, else id + 1; its length is a power of two. Made from
    /// `types`, not stored.
    name_table: Vec<u16>,
    /// What `buckets` point to, at the same positions. Made from `buckets` and `slots`, not stored.
    places: Vec<Place>,
}

/// A JSON property of a type with what most values of it need, so that a look-up reads one place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    name: (u64, u64),
    /// The primitive type, if it is one.
    pub primitive: Option<Primitive>,
    /// 0 = free, else slot + 1.
    slot: u8,
    /// Length of the name.
    len: u16,
    /// [`Slot::child`].
    pub child: u8,
    traits: u8,
}

/// [`Child::array`].
const ARRAY: u8 = 1;
/// [`Child::choice`].
const CHOICE: u8 = 2;
/// The child has a binding or constraints.
const RULES: u8 = 4;

impl Place {
    /// Position among the type's slots.
    pub(crate) fn slot(&self) -> usize {
        usize::from(self.slot.saturating_sub(1))
    }

    #[inline]
    pub(crate) fn is_choice(&self) -> bool {
        self.traits & CHOICE != 0
    }

    /// The row of the child has nothing more to say about a single value of its type.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.traits & (ARRAY | RULES) == 0
    }
}

/// The JSON properties of one type, for looking up many.
#[derive(Clone, Copy)]
pub(crate) struct Properties<'s> {
    places: &'s [Place],
    slots: &'s [Slot],
    pool: &'s [u8],
}

impl<'s> Properties<'s> {
    /// The property with this name; `key` are its bytes.
    #[inline(always)]
    pub(crate) fn find(&self, name: Name, key: &[u8]) -> Option<&'s Place> {
        let mask = self.places.len().checked_sub(1)?;
        let mut at = name.hash as usize & mask;
        loop {
            // A table is never full, so the search ends at a free place.
            let place = self.places.get(at).filter(|place| place.slot > 0)?;
            if place.name == name.ends
                && usize::from(place.len) == key.len()
                && (key.len() <= 16 || self.name(place) == Some(key))
            {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline(never)]
    fn name(&self, place: &Place) -> Option<&'s [u8]> {
        let name = self.slots.get(place.slot())?.name;
        let at = name.at as usize;
        self.pool.get(at..at.saturating_add(name.len as usize))
    }
}

/// A JSON property of a type, resolved.
#[derive(Clone, Copy, Debug)]
pub struct Member<'s> {
    /// The element's name: `value` for the property `valueQuantity`.
    pub name: &'s str,
    /// The type of the value.
    pub ty: TypeId,
    /// One of several types of a choice element.
    pub is_choice: bool,
    /// Written as a JSON array.
    pub is_array: bool,
}

impl Schema {
    /// Compiles `.tgz` packages, one of which is `hl7.fhir.r4.core`. The order of the packages does
    /// not matter.
    ///
    /// # Errors
    /// [`SchemaError`] if a package is unreadable or the core is missing.
    pub fn compile(packages: &[&[u8]]) -> Result<Schema, SchemaError> {
        compile::compile(packages, &[])
    }

    /// As [`Schema::compile`], with single definitions (StructureDefinition, ValueSet, CodeSystem,
    /// SearchParameter as JSON) beside the packages. They appear in [`Schema::packages`] as one
    /// package `(resources)` and do not displace what a package defines under the same url.
    ///
    /// # Errors
    /// As [`Schema::compile`]; [`PackageError::Json`] names a resource by its position, from 0.
    pub fn compile_with(packages: &[&[u8]], resources: &[&[u8]]) -> Result<Schema, SchemaError> {
        compile::compile(packages, resources)
    }

    /// The compiled tables as bytes, the same on every machine.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`Schema::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`SchemaError::Cache`] if the bytes are from another release, cut short or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Schema, SchemaError> {
        codec::decode(bytes)
    }

    /// SHA-256 over the rule set and the hashes of all packages: what a verdict depends on besides
    /// the document.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The packages compiled, sorted by name and version.
    pub fn packages(&self) -> &[PackageInfo] {
        &self.packages
    }

    /// Packages that the compiled ones ask for (`name#version`) and that were not given.
    pub fn unresolved(&self) -> &[String] {
        &self.unresolved
    }

    /// The type called `name`: `Patient`, `HumanName`, `Patient.contact`, `date`.
    pub fn type_named(&self, name: &str) -> Option<TypeId> {
        let mask = self.name_table.len().checked_sub(1)?;
        let mut at = key_hash(name.as_bytes()) as usize & mask;
        loop {
            // The table is never full, so the search ends at a free place.
            let id = TypeId(self.name_table.get(at)?.checked_sub(1)?);
            if same(self.type_name(id).as_bytes(), name.as_bytes()) {
                return Some(id);
            }
            at = (at + 1) & mask;
        }
    }

    /// The resource type called `name`, abstract ones excluded.
    pub fn resource_type(&self, name: &str) -> Option<TypeId> {
        let id = self.type_named(name)?;
        let def = self.def(id)?;
        (def.kind == TypeKind::Resource && !def.is_abstract).then_some(id)
    }

    /// The name of a type.
    pub fn type_name(&self, id: TypeId) -> &str {
        self.def(id).map_or("", |d| self.str(d.name))
    }

    /// What a type is.
    pub fn type_kind(&self, id: TypeId) -> Option<TypeKind> {
        self.def(id).map(|d| d.kind)
    }

    /// The primitive type behind `id`, if it is one.
    pub fn primitive(&self, id: TypeId) -> Option<Primitive> {
        self.def(id).and_then(|d| d.primitive)
    }

    /// The type `id` specialises: `DomainResource` for `Patient`.
    pub fn base_type(&self, id: TypeId) -> Option<TypeId> {
        let base = self.def(id)?.base;
        (base != NONE).then_some(TypeId(base))
    }

    /// Whether `id` is `ancestor` or specialises it.
    pub fn is_a(&self, id: TypeId, ancestor: TypeId) -> bool {
        let mut at = Some(id);
        // The chain is short (`Age` → `Quantity` → `Element`); the bound makes a cycle harmless.
        for _ in 0..16 {
            match at {
                Some(ty) if ty == ancestor => return true,
                Some(ty) => at = self.base_type(ty),
                None => return false,
            }
        }
        false
    }

    /// The member of `id` under the JSON property `key` (without a leading underscore).
    pub fn member(&self, id: TypeId, key: &str) -> Option<Member<'_>> {
        let def = self.def(id)?;
        let (_, slot) = self.slot(def, key.as_bytes())?;
        let child = def.children.of(&self.children).get(usize::from(slot.child))?;
        Some(Member {
            name: self.str(child.name),
            ty: TypeId(slot.ty),
            is_choice: child.choice,
            is_array: child.array,
        })
    }

    /// The types an element called `name` may have in `id`; several for a choice.
    pub(crate) fn members_named(&self, id: TypeId, name: &str) -> Vec<TypeId> {
        self.members(id).filter(|(_, m)| m.name == name).map(|(_, m)| m.ty).collect()
    }

    /// The members of a type by JSON property name, in the order of the definition.
    pub fn members(&self, id: TypeId) -> impl Iterator<Item = (&str, Member<'_>)> {
        let slots = self.def(id).map_or(&[][..], |d| d.slots.of(&self.slots));
        slots.iter().filter_map(move |slot| {
            let name = self.str(slot.name);
            self.member(id, name).map(|m| (name, m))
        })
    }

    /// Names of all concrete resource types, sorted.
    pub fn resource_types(&self) -> impl Iterator<Item = &str> {
        self.by_name.iter().filter_map(|&id| {
            let def = self.def(TypeId(id))?;
            (def.kind == TypeKind::Resource && !def.is_abstract).then(|| self.str(def.name))
        })
    }

    pub(crate) fn str(&self, s: Str) -> &str {
        let at = s.at as usize;
        self.pool.get(at..at.saturating_add(s.len as usize)).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn def(&self, id: TypeId) -> Option<&TypeDef> {
        self.types.get(usize::from(id.0))
    }

    #[inline]
    pub(crate) fn children(&self, def: &TypeDef) -> &[Child] {
        def.children.of(&self.children)
    }

    pub(crate) fn slots(&self, def: &TypeDef) -> &[Slot] {
        def.slots.of(&self.slots)
    }

    /// The slot under `key` and its position among the type's slots.
    #[inline]
    pub(crate) fn slot(&self, def: &TypeDef, key: &[u8]) -> Option<(usize, &Slot)> {
        let at = self.properties(def).find(Name::of(key), key)?.slot();
        self.slots(def).get(at).map(|slot| (at, slot))
    }

    #[inline]
    pub(crate) fn properties(&self, def: &TypeDef) -> Properties<'_> {
        Properties {
            places: def.buckets.of(&self.places),
            slots: def.slots.of(&self.slots),
            pool: self.pool.as_bytes(),
        }
    }

    /// Type ids a Reference may point to; empty: any.
    pub(crate) fn target_rows(&self, run: Run) -> &[u16] {
        run.of(&self.targets)
    }

    /// Types with the profiles that an ImplementationGuide declares for all their resources.
    pub(crate) fn globals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.globals.iter().map(|g| (self.str(g.ty), self.str(g.profile)))
    }

    pub(crate) fn profile_sources(&self) -> &[ProfileSource] {
        &self.profiles
    }

    /// Row of the value set `url`.
    pub(crate) fn value_set_row(&self, url: &str) -> Option<u16> {
        let url_of = |row: &u16| self.value_set(*row).map_or("", |set| self.str(set.url));
        let at = self.sets_by_url.binary_search_by(|row| url_of(row).cmp(url)).ok()?;
        self.sets_by_url.get(at).copied()
    }

    pub(crate) fn value_set(&self, row: u16) -> Option<&ValueSet> {
        self.value_sets.get(usize::from(row))
    }

    /// All codes of a value set that lists them.
    pub(crate) fn codes_of(&self, set: &ValueSet) -> impl Iterator<Item = &Code> {
        set.codes.of(&self.codes).iter()
    }

    /// All codes of a value set that spell `code`.
    pub(crate) fn codes<'s>(&'s self, set: &ValueSet, code: &'s str) -> impl Iterator<Item = &'s Code> {
        let codes = set.codes.of(&self.codes);
        let from = codes.partition_point(|c| self.str(c.code) < code);
        codes.iter().skip(from).take_while(move |c| self.str(c.code) == code)
    }

    pub(crate) fn invariants(&self) -> &[Invariant] {
        &self.invariants
    }

    pub(crate) fn search_params(&self) -> &[SearchParam] {
        &self.search
    }

    pub(crate) fn definition(&self, url: &str) -> Option<&Definition> {
        let at = self.definitions.binary_search_by(|d| self.str(d.url).cmp(url)).ok()?;
        self.definitions.get(at)
    }

    pub(crate) fn names(&self, run: Run) -> impl Iterator<Item = &str> {
        run.of(&self.names).iter().map(|s| self.str(*s))
    }

    /// The tables that are made of others.
    fn index(&mut self) {
        let mut places = vec![Place::default(); self.buckets.len()];
        for def in &self.types {
            let (buckets, slots) = (def.buckets.of(&self.buckets), def.slots.of(&self.slots));
            for (place, &bucket) in places.iter_mut().skip(def.buckets.at as usize).zip(buckets) {
                let Some(slot) = usize::from(bucket).checked_sub(1).and_then(|at| slots.get(at)) else {
                    continue;
                };
                let name = self.str(slot.name).as_bytes();
                let Some(child) = self.children(def).get(usize::from(slot.child)) else { continue };
                let traits = [
                    (child.array, ARRAY),
                    (child.choice, CHOICE),
                    (child.binding != NONE || child.most != NONE || child.invariants.len > 0, RULES),
                ];
                *place = Place {
                    name: Name::of(name).ends,
                    primitive: self.primitive(TypeId(slot.ty)),
                    slot: bucket,
                    len: u16::try_from(name.len()).unwrap_or(u16::MAX),
                    child: slot.child,
                    traits: traits.iter().filter(|(has, _)| *has).map(|(_, bit)| bit).sum(),
                };
            }
        }
        self.places = places;
        let size = (self.types.len() * 2).next_power_of_two().max(2);
        let mut table = vec![0u16; size];
        for (id, def) in (0u16..NONE).zip(&self.types) {
            let mut at = key_hash(self.str(def.name).as_bytes()) as usize & (size - 1);
            while table.get(at).is_some_and(|&taken| taken != 0) {
                at = (at + 1) & (size - 1);
            }
            if let Some(place) = table.get_mut(at) {
                *place = id + 1;
            }
        }
        self.name_table = table;
    }

    fn seal(&mut self) {
        self.index();
        let mut hash = Sha256::new();
        hash.update(b"consilium/fhir-schema/v1\0");
        hash.update(RULE_SET.as_bytes());
        hash.update([0]);
        for package in &self.packages {
            hash.update(package.sha256);
        }
        self.digest = hash.finalize().into();
    }
}
