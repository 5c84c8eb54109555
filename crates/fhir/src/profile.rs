//! Profiles: constraints on types, merged with what they are based on
//! (<https://hl7.org/fhir/R4/profiling.html>).
//!
//! A profile is kept as a *delta*: a sparse tree of the elements it constrains. The tree of a
//! profile starts as a copy of its base's tree, and its differential is laid over it; that is what a
//! snapshot says, without the elements that the base type already checks in the structural walk.

mod automatic;
mod build;
mod check;
mod expect;
mod slicing;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fhirpath::Program;
use crate::schema::{Strength, TypeId};

pub(crate) use Step as PathStep;
use automatic::Automatic;
pub(crate) use build::steps as discriminator_path;
pub(crate) use check::{State, conforms_at, extension, resource};
pub(crate) use expect::Expect;

/// All profiles of a schema, merged.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    /// By url, then by version.
    by_url: BTreeMap<String, BTreeMap<String, usize>>,
    all: Vec<Profile>,
    pub automatic: Automatic,
}

#[derive(Debug)]
pub(crate) struct Profile {
    pub url: String,
    /// The type it constrains.
    pub ty: Option<TypeId>,
    pub root: Node,
}

/// What a profile says of one element; `None` or empty: nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// The element's name: `value` for `value[x]`.
    pub name: String,
    /// Empty: the element itself.
    pub slice: String,
    /// The type, where there is only one.
    pub ty: Option<TypeId>,
    pub min: Option<u32>,
    /// `u32::MAX` is `*`.
    pub max: Option<u32>,
    pub types: Vec<TypeRule>,
    pub fixed: Option<Arc<Expect>>,
    pub pattern: Option<Arc<Expect>>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    /// A primitive must have a value, or one of these extensions; `Some` and empty: a value.
    pub value_or: Option<Vec<String>>,
    pub binding: Option<Binding>,
    pub constraints: Vec<Arc<Constraint>>,
    pub slicing: Option<Slicing>,
    pub slices: Vec<Node>,
    pub children: Vec<Node>,
}

#[derive(Clone, Debug)]
pub(crate) struct TypeRule {
    pub code: String,
    pub profiles: Vec<String>,
    pub targets: Vec<String>,
    /// Where the target of a reference may be; empty: anywhere.
    pub aggregation: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub strength: Strength,
    /// Row of the value set in the schema.
    pub row: u16,
    /// Row of the value set that no code may leave.
    pub most: Option<u16>,
}

#[derive(Debug)]
pub(crate) struct Constraint {
    /// Definition url, `#` and key.
    pub id: String,
    pub human: String,
    pub is_error: bool,
    pub best_practice: bool,
    /// `None`: its expression cannot be read.
    pub program: Option<Program>,
}

#[derive(Clone, Debug)]
pub(crate) struct Slicing {
    pub discriminators: Vec<Discriminator>,
    pub rules: Rules,
    pub ordered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    Open,
    OpenAtEnd,
    Closed,
}

#[derive(Clone, Debug)]
pub(crate) struct Discriminator {
    pub kind: Kind,
    pub path: Vec<Step>,
}

/// How a discriminator tells slices apart
/// (<https://hl7.org/fhir/R4/valueset-discriminator-type.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `value` and `pattern`: what the slice fixes there.
    Value,
    Exists,
    Type,
    Profile,
}

/// A step of the restricted FHIRPath of discriminators
/// (<https://hl7.org/fhir/R4/profiling.html#discriminator>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Child(String),
    Extension(String),
    OfType(String),
    Resolve,
}

impl Profiles {
    /// The profile a canonical names: the version after `|` or a later one of its series (`0.2` for
    /// 0.2.1); without version the last one, by text.
    pub(crate) fn find(&self, canonical: &str) -> Option<usize> {
        let (url, version) = canonical.split_once('|').unwrap_or((canonical, ""));
        let versions = self.by_url.get(url)?;
        let fits = |known: &str| {
            let rest = known.strip_prefix(version);
            version.is_empty() || rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        versions.iter().rev().find(|(known, _)| fits(known)).map(|(_, at)| *at)
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Profile> {
        self.all.get(at)
    }
}

impl Node {
    pub(crate) fn named(name: &str, ty: Option<TypeId>) -> Node {
        Node { name: name.to_owned(), ty, ..Node::default() }
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name == name)
    }
}
