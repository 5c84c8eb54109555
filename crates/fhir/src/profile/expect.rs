//! Values that a profile fixes (<https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.fixed_x_>).

use crate::tape::{Cursor, Kind};

/// A JSON value of a definition.
#[derive(Debug)]
pub(crate) enum Expect {
    Object(Vec<(String, Expect)>),
    Array(Vec<Expect>),
    Text(String),
    /// A number, boolean or null, as written.
    Token(String),
}

impl Expect {
    pub(crate) fn read(node: Cursor<'_, '_>) -> Expect {
        match node.kind() {
            Kind::Object => Expect::Object(
                node.children()
                    .map(|c| (c.key().unwrap_or_default().into_owned(), Expect::read(c)))
                    .collect(),
            ),
            Kind::Array => Expect::Array(node.children().map(Expect::read).collect()),
            Kind::String => Expect::Text(node.as_str().unwrap_or_default().into_owned()),
            _ => Expect::Token(node.token().to_owned()),
        }
    }

    /// fixed[x]: the same in every member. `None` if a withheld leaf leaves it open.
    pub(crate) fn equals(
        &self,
        node: Cursor<'_, '_>,
        withheld: &dyn Fn(Cursor<'_, '_>) -> bool,
    ) -> Option<bool> {
        self.compare(node, true, withheld)
    }

    /// What stands under the element `name`, in every item of an array.
    pub(super) fn members<'e>(&'e self, name: &str) -> Vec<&'e Expect> {
        match self {
            Expect::Object(members) => {
                members.iter().filter(|(key, _)| key == name).map(|(_, v)| v).collect()
            }
            Expect::Array(items) => items.iter().flat_map(|item| item.members(name)).collect(),
            Expect::Text(_) | Expect::Token(_) => Vec::new(),
        }
    }

    /// pattern[x]: everything in the pattern is there, in arrays at any place.
    pub(crate) fn within(
        &self,
        node: Cursor<'_, '_>,
        withheld: &dyn Fn(Cursor<'_, '_>) -> bool,
    ) -> Option<bool> {
        self.compare(node, false, withheld)
    }

    fn compare(
        &self,
        node: Cursor<'_, '_>,
        exact: bool,
        withheld: &dyn Fn(Cursor<'_, '_>) -> bool,
    ) -> Option<bool> {
        match (self, node.kind()) {
            (Expect::Object(members), Kind::Object) => {
                if exact && node.count() != members.len() {
                    return Some(false);
                }
                all(members.iter().map(|(key, value)| match node.get(key) {
                    Some(found) => value.compare(found, exact, withheld),
                    None => Some(false),
                }))
            }
            (Expect::Array(values), Kind::Array) if exact => {
                if node.count() != values.len() {
                    return Some(false);
                }
                all(values.iter().zip(node.children()).map(|(v, n)| v.compare(n, exact, withheld)))
            }
            (Expect::Array(values), Kind::Array) => all(values
                .iter()
                .map(|value| any(node.children().map(|item| value.compare(item, exact, withheld))))),
            (Expect::Text(_) | Expect::Token(_), kind) if kind.is_scalar() && withheld(node) => None,
            (Expect::Text(text), Kind::String) => Some(node.str_is(text)),
            (Expect::Token(token), kind) => {
                Some(kind.is_scalar() && kind != Kind::String && node.token() == token)
            }
            _ => Some(false),
        }
    }
}

/// And of three values.
pub(super) fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(true);
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => result = None,
        }
    }
    result
}

/// Or of three values.
pub(super) fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all(parts.map(|part| part.map(|p| !p))).map(|none| !none)
}
