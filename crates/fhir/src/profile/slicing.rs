//! Slicing (<https://hl7.org/fhir/R4/profiling.html#slicing>): which slice an item belongs to, and
//! what the slices need.

use super::build::type_of;
use super::check::{At, conforms_to, element, named_type, resolve, select, url_of};
use super::expect::{all, any};
use super::{Discriminator, Expect, Kind, Node, Profiles, Rules, Slicing, Step};
use crate::report::IssueCode;
use crate::rules::binding;
use crate::schema::{Schema, Special, Strength, TypeId};
use crate::walk::Walk;

/// Sorts the items of a sliced element into its slices.
pub(super) fn check<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    parent: At<'t, 'a>,
    node: &Node,
    items: &[At<'t, 'a>],
) {
    let Some(slicing) = &node.slicing else { return };
    if node.slices.is_empty() && slicing.rules != Rules::Closed {
        return;
    }
    if slicing.discriminators.is_empty() {
        // Nothing tells the slices apart.
        if !node.slices.is_empty() && !items.is_empty() {
            walk.unchecked_profile("");
        }
        return;
    }
    let mut groups: Vec<Vec<At<'t, 'a>>> = vec![Vec::new(); node.slices.len()];
    let (mut undecided, mut last, mut past_end) = (false, 0, false);
    for item in items {
        let place = item.place(walk);
        let mut matched = Vec::new();
        let mut open = false;
        for (index, slice) in node.slices.iter().enumerate() {
            match matches(walk, *item, slicing, slice) {
                Some(true) => matched.push(index),
                Some(false) => {}
                None => open = true,
            }
        }
        undecided |= open;
        match matched.as_slice() {
            [] if open => {}
            [] => {
                past_end = true;
                // A choice has the types the profile lists; its slices speak of some of them.
                if slicing.rules == Rules::Closed {
                    let text =
                        format!("this matches no slice of `{}`, and the profile allows no others", node.name);
                    walk.error(place, IssueCode::Structure, "fhir.slice.closed", text);
                }
            }
            [only] => {
                if slicing.rules == Rules::OpenAtEnd && past_end {
                    let text = "what matches no slice stands after all slices; move this one up";
                    walk.error(place, IssueCode::Structure, "fhir.slice.end", text);
                }
                if slicing.ordered && *only < last {
                    let text = "the slices are ordered; move this one up";
                    walk.error(place, IssueCode::Structure, "fhir.slice.order", text);
                }
                last = last.max(*only);
                if let Some(group) = groups.get_mut(*only) {
                    group.push(*item);
                }
            }
            _ => {
                let text = format!("this matches more than one slice of `{}`", node.name);
                walk.error(place, IssueCode::Structure, "fhir.slice.ambiguous", text);
            }
        }
    }
    if undecided {
        walk.unchecked_profile("");
    }
    for (slice, group) in node.slices.iter().zip(groups) {
        let place = parent.place(walk);
        if !undecided
            && let Some(min) = slice.min
            && group.len() < min as usize
        {
            let text = format!(
                "the profile needs at least {min} of slice `{}` of `{}`, and there are {}",
                slice.slice,
                slice.name,
                group.len(),
            );
            walk.error(place, IssueCode::Required, "fhir.slice.min", text);
        }
        if let Some(max) = slice.max
            && group.len() > max as usize
        {
            let text = format!(
                "the profile allows at most {max} of slice `{}` of `{}`, and there are {}",
                slice.slice,
                slice.name,
                group.len(),
            );
            walk.error(place, IssueCode::Structure, "fhir.slice.max", text);
        }
        for item in &group {
            element(walk, *item, slice);
        }
        check(walk, parent, slice, &group);
    }
}

/// Whether an item belongs to a slice: all discriminators say so. `None`: it cannot be told.
fn matches<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    item: At<'t, 'a>,
    slicing: &Slicing,
    slice: &Node,
) -> Option<bool> {
    let mut parts = Vec::with_capacity(slicing.discriminators.len());
    for discriminator in &slicing.discriminators {
        let part = told_by(walk, item, discriminator, slice);
        if part == Some(Some(false)) {
            return Some(false);
        }
        parts.extend(part);
    }
    // A slice that says nothing to any discriminator cannot be told from the others.
    if parts.is_empty() { None } else { all(parts.into_iter()) }
}

/// `None`: the slice says nothing of what this discriminator looks at.
fn told_by<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    item: At<'t, 'a>,
    discriminator: &Discriminator,
    slice: &Node,
) -> Option<Option<bool>> {
    let (profiles, schema) = (walk.profiles, walk.schema);
    let path = &discriminator.path;
    let targeted = path.last() == Some(&Step::Resolve);
    // Where the path ends in resolve(), what is asked for stands at the reference.
    let above = if targeted { path.get(..path.len() - 1).unwrap_or_default() } else { path };
    match discriminator.kind {
        Kind::Value => {
            if let [Step::Child(url)] = path.as_slice()
                && url == "url"
                && let Some(wanted) = slice.types.iter().flat_map(|t| &t.profiles).next()
            {
                let wanted = wanted.split('|').next().unwrap_or(wanted);
                return Some(Some(url_of(item).is_some_and(|u| u == wanted)));
            }
            let expected = expected(profiles, vec![slice], path);
            let found = follow(walk, vec![item], path);
            let mut verdict = None;
            for part in embedded(profiles, slice, path) {
                let any = any(found.iter().map(|at| match at.node {
                    Some(node) => part.within(node, &|c| walk.withholds(c.id())),
                    None => Some(false),
                }));
                verdict = Some(verdict.map_or(any, |before| all([before, any].into_iter())));
            }
            for node in expected {
                if !demands(node) {
                    continue;
                }
                let any = any(found.iter().map(|at| satisfied(walk, *at, node)));
                verdict = Some(verdict.map_or(any, |before| all([before, any].into_iter())));
            }
            verdict
        }
        Kind::Exists => {
            let exists = !follow(walk, vec![item], path).is_empty();
            let expected = expected(profiles, vec![slice], path);
            if expected.iter().any(|n| n.max == Some(0)) {
                Some(Some(!exists))
            } else if expected.iter().any(|n| n.min.is_some_and(|m| m > 0)) {
                Some(Some(exists))
            } else {
                None
            }
        }
        Kind::Type => {
            let expected = expected(profiles, vec![slice], above);
            let wanted: Vec<Option<TypeId>> = expected
                .iter()
                .flat_map(|n| &n.types)
                .flat_map(|rule| -> Vec<Option<TypeId>> {
                    let of = |url: &String| type_of(schema, profiles, url);
                    match (targeted, rule.profiles.as_slice()) {
                        (true, _) => rule.targets.iter().map(of).collect(),
                        (false, []) => vec![schema.type_named(&rule.code)],
                        (false, urls) => urls.iter().map(of).collect(),
                    }
                })
                .collect();
            if wanted.is_empty() {
                return None;
            }
            if wanted.contains(&None) {
                return Some(None);
            }
            let found = follow(walk, vec![item], above);
            let mut types = Vec::new();
            for at in &found {
                types.push(match (targeted, at.node) {
                    (false, _) => Some(at.ty),
                    (true, Some(node)) => {
                        resolve(walk, node).map(|t| t.ty).or_else(|| named_type(walk, node))
                    }
                    (true, None) => None,
                });
            }
            Some(any(types.into_iter().map(|ty| {
                // An unresolved reference without type belongs to no slice.
                Some(ty.is_some_and(|ty| wanted.iter().flatten().any(|w| schema.is_a(ty, *w))))
            })))
        }
        Kind::Profile => {
            let expected = expected(profiles, vec![slice], above);
            let urls: Vec<&String> = expected
                .iter()
                .flat_map(|n| &n.types)
                .flat_map(|rule| if targeted { &rule.targets } else { &rule.profiles })
                .collect();
            if urls.is_empty() {
                return None;
            }
            let mut verdicts = Vec::new();
            for at in follow(walk, vec![item], path) {
                for url in &urls {
                    verdicts.push(conforms_to(walk, at, url));
                }
            }
            Some(any(verdicts.into_iter()))
        }
    }
}

/// The items a discriminator path leads to.
fn follow<'t, 'a>(walk: &Walk<'_, 't, 'a>, from: Vec<At<'t, 'a>>, path: &[Step]) -> Vec<At<'t, 'a>> {
    let mut at = from;
    for step in path {
        at = match step {
            Step::Child(name) => at.iter().flat_map(|item| select(walk, *item, name)).collect(),
            Step::Extension(url) => at
                .iter()
                .flat_map(|item| select(walk, *item, "extension"))
                .filter(|x| url_of(*x).is_some_and(|u| u == *url))
                .collect(),
            Step::OfType(name) => {
                at.into_iter().filter(|item| is_named(walk.schema, item.ty, name)).collect()
            }
            Step::Resolve => at.iter().filter_map(|item| resolve(walk, item.node?)).collect(),
        };
    }
    at
}

fn is_named(schema: &Schema, ty: TypeId, name: &str) -> bool {
    schema.type_named(name).is_some_and(|wanted| schema.is_a(ty, wanted))
}

/// What a slice says of the elements the path leads to, by its own elements and by the profiles on
/// its types.
fn expected<'p>(profiles: &'p Profiles, from: Vec<&'p Node>, path: &[Step]) -> Vec<&'p Node> {
    let root = |url: &String| profiles.find(url).and_then(|at| profiles.get(at)).map(|p| &p.root);
    let mut at = from;
    for step in path {
        let mut next: Vec<&'p Node> = Vec::new();
        for node in &at {
            let of_types = node.types.iter().flat_map(|t| &t.profiles).filter_map(root);
            let both = std::iter::once(*node).chain(of_types);
            match step {
                Step::Child(name) => next.extend(both.filter_map(|n| n.child(name))),
                Step::Extension(url) => next.extend(
                    both.filter_map(|n| n.child("extension"))
                        .flat_map(|n| &n.slices)
                        .filter(|s| s.types.iter().flat_map(|t| &t.profiles).any(|p| p == url)),
                ),
                Step::OfType(name) => {
                    let typed = |n: &&Node| n.types.is_empty() || n.types.iter().any(|t| t.code == *name);
                    next.extend(both.flat_map(|n| std::iter::once(n).chain(&n.slices)).filter(typed));
                }
                Step::Resolve => next.extend(node.types.iter().flat_map(|t| &t.targets).filter_map(root)),
            }
        }
        at = next;
    }
    at
}

/// What a fixed value or pattern above the end of the path says of that end.
fn embedded<'p>(profiles: &'p Profiles, slice: &'p Node, path: &[Step]) -> Vec<&'p Expect> {
    let mut out = Vec::new();
    let mut nodes = vec![slice];
    for (at, step) in path.iter().enumerate() {
        for whole in nodes.iter().flat_map(|n| [n.fixed.as_deref(), n.pattern.as_deref()]).flatten() {
            let mut parts = vec![whole];
            for step in path.iter().skip(at) {
                parts = match step {
                    Step::Child(name) => parts.iter().flat_map(|p| p.members(name)).collect(),
                    _ => Vec::new(),
                };
            }
            // Of an array, the items are what is asked for.
            out.extend(parts.into_iter().flat_map(|part| match part {
                Expect::Array(items) => items.iter().collect(),
                one => vec![one],
            }));
        }
        nodes = expected(profiles, nodes, std::slice::from_ref(step));
    }
    out
}

/// The node or one below it asks for a value.
fn demands(node: &Node) -> bool {
    node.fixed.is_some()
        || node.pattern.is_some()
        || node.binding.is_some_and(|b| b.strength == Strength::Required)
        || node.children.iter().any(|c| demands(c) || c.slices.iter().any(|s| wanted(s) && demands(s)))
}

fn wanted(slice: &Node) -> bool {
    slice.min.is_some_and(|min| min > 0)
}

/// An item has all the values that the node asks for.
fn satisfied<'t, 'a>(walk: &Walk<'_, 't, 'a>, item: At<'t, 'a>, node: &Node) -> Option<bool> {
    let withheld = |c: crate::tape::Cursor<'_, '_>| walk.withholds(c.id());
    let Some(value) = item.node else { return Some(false) };
    let mut parts = vec![
        node.fixed.as_ref().map_or(Some(true), |f| f.equals(value, &withheld)),
        node.pattern.as_ref().map_or(Some(true), |p| p.within(value, &withheld)),
    ];
    if let Some(bound) = node.binding.filter(|b| b.strength == Strength::Required) {
        let special = walk.schema.def(item.ty).map_or(Special::None, |d| d.special);
        parts.push(binding::verdict(walk, value, special, bound.row));
    }
    for child in &node.children {
        let slices = child.slices.iter().filter(|s| wanted(s));
        for part in std::iter::once(child).chain(slices).filter(|n| demands(n)) {
            let found = select(walk, item, &child.name);
            parts.push(any(found.iter().map(|at| satisfied(walk, *at, part))));
        }
    }
    all(parts.into_iter())
}
