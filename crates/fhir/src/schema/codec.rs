//! The schema cache: little-endian tables between a magic and a SHA-256.

use sha2::{Digest, Sha256};

use super::knowledge::{Concept, Document, System};
use super::model::{
    Child, Code, Definition, Global, Invariant, Membership, Primitive, ProfileSource, Run, SearchParam, Slot,
    Special, Str, Strength, TypeDef, TypeKind, ValueSet,
};
use super::{PackageInfo, RULE_SET, Schema, SchemaError};

const MAGIC: &[u8] = b"consilium-fhir-schema\x06";

pub(super) fn encode(schema: &Schema) -> Vec<u8> {
    let mut w = MAGIC.to_vec();
    RULE_SET.to_owned().put(&mut w);
    w.extend_from_slice(&schema.digest);
    schema.packages.put(&mut w);
    schema.unresolved.put(&mut w);
    schema.pool.put(&mut w);
    schema.types.put(&mut w);
    schema.children.put(&mut w);
    schema.slots.put(&mut w);
    schema.buckets.put(&mut w);
    schema.targets.put(&mut w);
    schema.by_name.put(&mut w);
    schema.value_sets.put(&mut w);
    schema.codes.put(&mut w);
    schema.invariants.put(&mut w);
    schema.search.put(&mut w);
    schema.definitions.put(&mut w);
    schema.profiles.put(&mut w);
    schema.names.put(&mut w);
    schema.globals.put(&mut w);
    schema.systems.put(&mut w);
    schema.concepts.put(&mut w);
    schema.documents.put(&mut w);
    schema.sets_by_url.put(&mut w);
    let check = Sha256::digest(&w);
    w.extend_from_slice(&check);
    w
}

pub(super) fn decode(bytes: &[u8]) -> Result<Schema, SchemaError> {
    let read = || {
        let (body, check) = bytes.split_last_chunk::<32>()?;
        if Sha256::digest(body).as_slice() != check {
            return None;
        }
        let mut r = body.strip_prefix(MAGIC)?;
        if String::take(&mut r)? != RULE_SET {
            return None;
        }
        let mut schema = Schema {
            digest: <[u8; 32]>::take(&mut r)?,
            packages: Vec::take(&mut r)?,
            unresolved: Vec::take(&mut r)?,
            pool: String::take(&mut r)?,
            types: Vec::take(&mut r)?,
            children: Vec::take(&mut r)?,
            slots: Vec::take(&mut r)?,
            buckets: Vec::take(&mut r)?,
            targets: Vec::take(&mut r)?,
            by_name: Vec::take(&mut r)?,
            value_sets: Vec::take(&mut r)?,
            codes: Vec::take(&mut r)?,
            invariants: Vec::take(&mut r)?,
            search: Vec::take(&mut r)?,
            definitions: Vec::take(&mut r)?,
            profiles: Vec::take(&mut r)?,
            names: Vec::take(&mut r)?,
            globals: Vec::take(&mut r)?,
            systems: Vec::take(&mut r)?,
            concepts: Vec::take(&mut r)?,
            documents: Vec::take(&mut r)?,
            sets_by_url: Vec::take(&mut r)?,
            name_table: Vec::new(),
            places: Vec::new(),
        };
        schema.index();
        r.is_empty().then_some(schema)
    };
    read().ok_or(SchemaError::Cache)
}

/// A value with a fixed byte form.
trait Codec: Sized {
    fn put(&self, w: &mut Vec<u8>);
    fn take(r: &mut &[u8]) -> Option<Self>;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Codec for $t {
            fn put(&self, w: &mut Vec<u8>) {
                w.extend_from_slice(&self.to_le_bytes());
            }
            fn take(r: &mut &[u8]) -> Option<Self> {
                let (head, rest) = r.split_first_chunk()?;
                *r = rest;
                Some(<$t>::from_le_bytes(*head))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64);

macro_rules! structs {
    ($($t:ident { $($f:ident),* })*) => {$(
        impl Codec for $t {
            fn put(&self, w: &mut Vec<u8>) {
                $(self.$f.put(w);)*
            }
            fn take(r: &mut &[u8]) -> Option<Self> {
                Some($t { $($f: Codec::take(r)?),* })
            }
        }
    )*};
}
structs! {
    Str { at, len }
    Run { at, len }
    TypeDef { name, kind, primitive, special, is_abstract, base, children, slots, buckets, required, invariants }
    Child { name, min, max, array, choice, modifier, binding, strength, most, invariants }
    Slot { name, child, ty, targets, action }
    ValueSet { url, membership, codes, unknown }
    Code { code, system }
    Invariant { key, source, expression, human, is_error, best_practice }
    SearchParam { code, kind, base, expression, url, components }
    Definition { url, ty, modifier, values, parts, contexts }
    ProfileSource { url, version, ty, base, differential, snapshot }
    Global { ty, profile }
    System { url, version, content, supplements, case_sensitive, concepts, properties, filters }
    Concept { code, display, also }
    Document { kind, url, version, text }
    PackageInfo { name, version, sha256 }
}

impl Codec for bool {
    fn put(&self, w: &mut Vec<u8>) {
        w.push(u8::from(*self));
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        match u8::take(r)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Codec for [u8; 32] {
    fn put(&self, w: &mut Vec<u8>) {
        w.extend_from_slice(self);
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        let (head, rest) = r.split_first_chunk()?;
        *r = rest;
        Some(*head)
    }
}

impl Codec for String {
    fn put(&self, w: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(w);
        w.extend_from_slice(self.as_bytes());
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        let len = u32::take(r)? as usize;
        let (head, rest) = r.split_at_checked(len)?;
        *r = rest;
        String::from_utf8(head.to_vec()).ok()
    }
}

impl<T: Codec> Codec for Vec<T> {
    fn put(&self, w: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(w);
        for item in self {
            item.put(w);
        }
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        let len = u32::take(r)? as usize;
        // Every item takes at least one byte, so a damaged length cannot ask for much memory.
        let mut items = Vec::with_capacity(len.min(r.len()));
        for _ in 0..len {
            items.push(T::take(r)?);
        }
        Some(items)
    }
}

impl Codec for TypeKind {
    fn put(&self, w: &mut Vec<u8>) {
        w.push(*self as u8);
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        let all = [TypeKind::Primitive, TypeKind::Complex, TypeKind::Resource, TypeKind::Backbone];
        all.get(usize::from(u8::take(r)?)).copied()
    }
}

impl Codec for Option<Primitive> {
    fn put(&self, w: &mut Vec<u8>) {
        w.push(self.map_or(u8::MAX, |p| p as u8));
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        match u8::take(r)? {
            u8::MAX => Some(None),
            n => Primitive::ALL.get(usize::from(n)).map(|(p, _)| Some(*p)),
        }
    }
}

impl Codec for Special {
    fn put(&self, w: &mut Vec<u8>) {
        w.push(*self as u8);
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        Special::ALL.get(usize::from(u8::take(r)?)).map(|(s, _)| *s)
    }
}

impl Codec for Strength {
    fn put(&self, w: &mut Vec<u8>) {
        w.push(*self as u8);
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        let all = [Strength::Required, Strength::Extensible, Strength::Preferred];
        all.get(usize::from(u8::take(r)?)).copied()
    }
}

impl Codec for Membership {
    fn put(&self, w: &mut Vec<u8>) {
        w.push(*self as u8);
    }
    fn take(r: &mut &[u8]) -> Option<Self> {
        let all = [
            Membership::Listed,
            Membership::MediaType,
            Membership::Ucum,
            Membership::Language,
            Membership::Partial,
            Membership::Unknown,
        ];
        all.get(usize::from(u8::take(r)?)).copied()
    }
}
