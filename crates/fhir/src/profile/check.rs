//! A document against the tree of a profile: only the elements the profile constrains are visited.

use std::borrow::Cow;

use super::build::type_of;
use super::{Node, TypeRule, slicing};
use crate::fhirpath::Element;
use crate::report::{IssueCode, Severity, resource_of};
use crate::rules::{binding, invariant, reference};
use crate::schema::{Special, TypeId, TypeKind};
use crate::tape::{Cursor, Kind, NodeId};
use crate::validate::References;
use crate::walk::Walk;

/// Deeper than this profiles are not followed: through references they may go round in circles.
const MAX_DEPTH: usize = 40;

/// What profile checks remember of one document.
#[derive(Default)]
pub(crate) struct State {
    /// Elements and profiles checked, so that nothing is reported twice and circles end.
    entered: std::collections::BTreeSet<(NodeId, usize)>,
    /// The same in order, to take a trial back.
    log: Vec<(NodeId, usize)>,
    /// Results of trials.
    verdicts: std::collections::BTreeMap<(NodeId, usize), bool>,
    depth: usize,
}

/// An element of the document.
#[derive(Clone, Copy)]
pub(super) struct At<'t, 'a> {
    /// Its value; `None` for a primitive that has extensions only.
    pub node: Option<Cursor<'t, 'a>>,
    /// The `_x` of a primitive.
    pub beside: Option<Cursor<'t, 'a>>,
    pub ty: TypeId,
    /// One type of a choice element.
    pub choice: bool,
}

impl<'t, 'a> At<'t, 'a> {
    fn whole(node: Cursor<'t, 'a>, ty: TypeId) -> Self {
        At { node: Some(node), beside: None, ty, choice: false }
    }

    /// Where an issue about it is reported; an element has one of the two.
    pub(super) fn place(&self, walk: &Walk<'_, 't, 'a>) -> Cursor<'t, 'a> {
        self.node.or(self.beside).unwrap_or_else(|| walk.tape.root())
    }
}

/// The profiles a resource claims in `meta.profile` and, for the document itself, those asked for.
pub(crate) fn resource<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, ty: TypeId) {
    let claimed = node.get("meta").and_then(|m| m.get("profile"));
    for claim in claimed.into_iter().flat_map(Cursor::children) {
        if walk.is_withheld(claim.id()) {
            continue;
        }
        match claim.as_str().and_then(|url| walk.profiles.find(&url)) {
            Some(profile) => apply(walk, At::whole(node, ty), profile),
            None => {
                // The base type as profile of itself is checked already.
                let url = claim.as_str().unwrap_or_default();
                if type_of(walk.schema, walk.profiles, &url) != Some(ty) {
                    walk.unchecked_profile(&url);
                }
            }
        }
    }
    let (profiles, options) = (walk.profiles, walk.options);
    for profile in profiles.automatic.of_type(ty) {
        apply(walk, At::whole(node, ty), profile);
    }
    if let Some(profile) = profiles.automatic.vital_sign(node, ty, options.vital_signs) {
        apply(walk, At::whole(node, ty), profile);
    }
    for (rule, url) in &options.entry_profiles {
        let (name, number) = rule.split_once(':').unwrap_or((rule, ""));
        if name == walk.schema.type_name(ty)
            && let Some(at) = walk.bundles.last().and_then(|b| b.ordinal(node))
            && (number.is_empty() || number.parse() == Ok(at))
        {
            asked_for(walk, node, ty, url);
        }
    }
    if node.id() == NodeId::ROOT {
        let options = walk.options;
        for url in &options.profiles {
            asked_for(walk, node, ty, url);
        }
    }
}

fn asked_for<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, ty: TypeId, url: &str) {
    match walk.profiles.find(url) {
        Some(profile) => apply(walk, At::whole(node, ty), profile),
        None if type_of(walk.schema, walk.profiles, url).is_some_and(|t| walk.schema.is_a(ty, t)) => {}
        None => {
            let text = "the profile that was asked for is in no loaded package; load its package";
            walk.error(node, IssueCode::NotFound, "fhir.profile.unknown", text);
        }
    }
}

/// Whether the element at `node` conforms to a profile or is of a type, for `conformsTo()`.
pub(crate) fn conforms_at<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    ty: TypeId,
    url: &str,
) -> Option<bool> {
    conforms_to(walk, At::whole(node, ty), url)
}

/// An extension against the definition its url names.
pub(crate) fn extension<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, url: &str) {
    let Some(ty) = walk.schema.type_named("Extension") else { return };
    if let Some(profile) = walk.profiles.find(url) {
        apply(walk, At::whole(node, ty), profile);
    }
}

pub(super) fn apply<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, profile: usize) {
    let key = (at.place(walk).id(), profile);
    if walk.profile_state.depth >= MAX_DEPTH || !walk.profile_state.entered.insert(key) {
        return;
    }
    walk.profile_state.log.push(key);
    walk.profile_state.depth += 1;
    against(walk, at, profile);
    walk.profile_state.depth -= 1;
}

fn against<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, profile: usize) {
    let profiles = walk.profiles;
    let Some(profile) = profiles.get(profile) else { return };
    if profile.ty.is_some_and(|ty| !walk.schema.is_a(at.ty, ty)) {
        let text = format!("the profile `{}` is for another type", profile.url);
        walk.error(at.place(walk), IssueCode::Structure, "fhir.profile.type", text);
        return;
    }
    let outer = (walk.resource, walk.root_resource);
    enter(walk, at);
    element(walk, at, &profile.root);
    (walk.resource, walk.root_resource) = outer;
}

/// Inside a resource, `%resource` is that resource.
fn enter<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>) {
    if let Some(value) = at.node
        && walk.schema.type_kind(at.ty) == Some(TypeKind::Resource)
    {
        let contained = value.id() != walk.root_resource && is_contained(walk, value);
        walk.resource = value.id();
        if !contained {
            walk.root_resource = value.id();
        }
    }
}

/// Whether an element conforms to a profile or is of a type; `None` for a profile not loaded.
pub(super) fn conforms_to<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, url: &str) -> Option<bool> {
    match walk.profiles.find(url) {
        Some(profile) => Some(conforms(walk, at, profile)),
        None => type_of(walk.schema, walk.profiles, url).map(|ty| walk.schema.is_a(at.ty, ty)),
    }
}

/// Whether an element conforms, without reporting anything.
fn conforms<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, profile: usize) -> bool {
    let key = (at.place(walk).id(), profile);
    if let Some(&known) = walk.profile_state.verdicts.get(&key) {
        return known;
    }
    if walk.profile_state.depth >= MAX_DEPTH {
        return true;
    }
    // Asked again while it is being found out, the answer is yes: a circle breaks no rule.
    walk.profile_state.verdicts.insert(key, true);
    let (issues, log, unevaluated) = (walk.found.len(), walk.profile_state.log.len(), walk.unevaluated);
    let (unchecked, evaluated) = (walk.unchecked.clone(), walk.evaluated);
    walk.profile_state.depth += 1;
    against(walk, at, profile);
    walk.profile_state.depth -= 1;
    let verdict = !walk.errors_since(issues);
    walk.found.truncate(issues);
    (walk.unevaluated, walk.unchecked, walk.evaluated) = (unevaluated, unchecked, evaluated);
    for key in walk.profile_state.log.split_off(log) {
        walk.profile_state.entered.remove(&key);
    }
    walk.profile_state.verdicts.insert(key, verdict);
    verdict
}

/// One element against one node.
pub(super) fn element<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, node: &Node) {
    match at.node {
        Some(value) => values(walk, value, at.ty, node),
        None => without_value(walk, at, node),
    }
    for constraint in &node.constraints {
        if constraint.best_practice && !walk.options.best_practice {
            continue;
        }
        let companion = at.beside.map(|c| c.id());
        let element = Element { node: at.node.map(Cursor::id), companion, ty: Some(at.ty) };
        let place = at.place(walk);
        let Some(program) = &constraint.program else {
            walk.unchecked_invariant(constraint.id.clone());
            continue;
        };
        let severity = if constraint.is_error { Severity::Error } else { Severity::Warning };
        invariant::one(walk, place, element, program, severity, &constraint.human, || constraint.id.clone());
    }
    // A constraint on the member that holds a resource belongs to the outer one.
    let outer = (walk.resource, walk.root_resource);
    enter(walk, at);
    types(walk, at, node);
    for child in &node.children {
        let found = select(walk, at, &child.name);
        members(walk, at, child, &found);
    }
    (walk.resource, walk.root_resource) = outer;
}

fn is_contained(walk: &Walk<'_, '_, '_>, value: Cursor<'_, '_>) -> bool {
    let root = walk.tape.cursor(walk.root_resource);
    root.get("contained").is_some_and(|c| c.id() < value.id() && value.id().0 < c.node().next)
}

fn members<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, parent: At<'t, 'a>, node: &Node, found: &[At<'t, 'a>]) {
    let place = parent.place(walk);
    if let Some(min) = node.min
        && found.len() < min as usize
    {
        let text =
            format!("the profile needs at least {min} of `{}`, and there are {}", node.name, found.len());
        walk.error(place, IssueCode::Required, "fhir.profile.min", text);
    }
    if let Some(max) = node.max
        && found.len() > max as usize
    {
        let text =
            format!("the profile allows at most {max} of `{}`, and there are {}", node.name, found.len());
        walk.error(place, IssueCode::Structure, "fhir.profile.max", text);
    }
    for item in found {
        element(walk, *item, node);
    }
    slicing::check(walk, parent, node, found);
}

/// Fixed value, pattern, length and binding.
fn values<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, value: Cursor<'t, 'a>, ty: TypeId, node: &Node) {
    let fixed = node.fixed.as_ref().map(|f| f.equals(value, &|c| walk.withholds(c.id())));
    let pattern = node.pattern.as_ref().map(|p| p.within(value, &|c| walk.withholds(c.id())));
    for (verdict, id, text) in [
        (fixed, "fhir.profile.fixed", "the profile fixes this value, and another one is given"),
        (pattern, "fhir.profile.pattern", "the value does not hold all that the profile's pattern asks for"),
    ] {
        match verdict {
            None | Some(Some(true)) => {}
            Some(Some(false)) => walk.error(value, IssueCode::Value, id, text),
            Some(None) => walk.unevaluated.withheld += 1,
        }
    }
    if let (Some(max), Some(text)) = (node.max_length, value.as_str())
        && text.chars().count() > max
        && !walk.is_withheld(value.id())
    {
        let text = format!("the profile allows at most {max} characters here");
        walk.error(value, IssueCode::TooCostly, "fhir.profile.length", text);
    }
    if let (Some(min), Some(text)) = (node.min_length, value.as_str())
        && text.chars().count() < min
        && !walk.is_withheld(value.id())
    {
        let text = format!("the profile asks for at least {min} characters here");
        walk.error(value, IssueCode::Value, "fhir.profile.min-length", text);
    }
    if let Some(bound) = node.binding {
        let special = walk.schema.def(ty).map_or(Special::None, |d| d.special);
        binding::element(walk, value, special, bound.row, bound.strength);
        if let Some(row) = bound.most {
            binding::maximum(walk, value, special, row);
        }
    }
}

/// A primitive that has extensions only, where the profile asks for a value or for one of certain
/// extensions in its stead.
fn without_value<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, node: &Node) {
    let Some(urls) = &node.value_or else { return };
    let given = select(walk, at, "extension");
    if given.iter().filter_map(|x| url_of(*x)).any(|url| urls.iter().any(|u| *u == url)) {
        return;
    }
    let text = if urls.is_empty() {
        "the profile asks for a value here; extensions do not stand in for it".to_owned()
    } else {
        format!("the profile asks for a value or the extension `{}`; give one of them", urls.join("` or `"))
    };
    walk.error(at.place(walk), IssueCode::Value, "fhir.profile.value", text);
}

/// Type of a choice, profiles on the type, targets of a reference.
fn types<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, node: &Node) {
    if node.types.is_empty() {
        return;
    }
    let schema = walk.schema;
    let fits = |rule: &&TypeRule| schema.type_named(&rule.code).is_none_or(|ty| schema.is_a(at.ty, ty));
    let rules: Vec<&TypeRule> = node.types.iter().filter(fits).collect();
    let resource = schema.type_kind(at.ty) == Some(TypeKind::Resource);
    if rules.is_empty() {
        if at.choice || resource {
            let text = "the profile does not allow this type here";
            walk.error(at.place(walk), IssueCode::Structure, "fhir.profile.value-type", text);
        }
        return;
    }
    let profiles = rules.iter().flat_map(|r| &r.profiles);
    if rules.iter().all(|r| !r.profiles.is_empty()) {
        one_of(walk, at, profiles.map(String::as_str).collect());
    }
    let special = schema.def(at.ty).map(|d| d.special);
    if special == Some(Special::Reference) && rules.iter().all(|r| !r.targets.is_empty()) {
        let targets: Vec<&str> = rules.iter().flat_map(|r| &r.targets).map(String::as_str).collect();
        target_of(walk, at, &targets);
    }
    if special == Some(Special::Reference) && rules.iter().all(|r| !r.aggregation.is_empty()) {
        let modes: Vec<&str> = rules.iter().flat_map(|r| &r.aggregation).map(String::as_str).collect();
        aggregated(walk, at, &modes);
    }
}

/// Where the target of a reference is, against where the profile lets it be
/// (<https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html>).
fn aggregated<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, modes: &[&str]) {
    let Some(reference) = at.node else { return };
    let Some(url) = reference.get("reference").filter(|n| !walk.withholds(n.id())) else { return };
    let bundled = || walk.bundles.last().is_some_and(|b| b.is_bundle()) && resolve(walk, reference).is_some();
    let (fits, place) = if url.as_str().is_some_and(|u| u.starts_with('#')) {
        (modes.contains(&"contained"), "a contained resource")
    } else if bundled() {
        // Who follows references finds it in the bundle too.
        (modes.contains(&"bundled") || modes.contains(&"referenced"), "a resource of this bundle")
    } else {
        (modes.contains(&"referenced"), "a resource outside of the document")
    };
    if !fits {
        let text = format!("the profile does not allow {place} here; it allows: {}", modes.join(", "));
        walk.error(reference, IssueCode::Structure, "fhir.profile.aggregation", text);
    }
}

fn one_of<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, urls: Vec<&str>) {
    if let [only] = urls.as_slice()
        && let Some(only) = walk.profiles.find(only)
    {
        apply(walk, at, only);
        return;
    }
    let verdicts: Vec<Option<bool>> = urls.iter().map(|url| conforms_to(walk, at, url)).collect();
    if verdicts.contains(&Some(true)) {
        return;
    }
    if let Some(at) = verdicts.iter().position(Option::is_none) {
        walk.unchecked_profile(urls.get(at).copied().unwrap_or_default());
    } else {
        let text = "the value conforms to none of the profiles that are allowed here";
        walk.error(at.place(walk), IssueCode::Structure, "fhir.profile.none", text);
    }
}

fn target_of<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, at: At<'t, 'a>, targets: &[&str]) {
    let Some(reference) = at.node else { return };
    let target = resolve(walk, reference);
    // What cannot be looked at is not judged by its url, unless that is asked for: the walk has checked it against the
    // base.
    let Some(target) = target else {
        let fits = |ty, url: &&str| {
            type_of(walk.schema, walk.profiles, url).is_none_or(|wanted| walk.schema.is_a(ty, wanted))
        };
        let asked = walk.options.references != References::AsFound;
        if asked && named_type(walk, reference).is_some_and(|ty| !targets.iter().any(|url| fits(ty, url))) {
            let place = reference.get("reference").or_else(|| reference.get("type"));
            reference::wrong_target(walk, place.unwrap_or(reference));
            return;
        }
        let of_types = targets.iter().any(|url| walk.profiles.find(url).is_none());
        if walk.options.references == References::Conform && !of_types && !walk.holds_withheld() {
            let text = "the profile restricts what this may refer to, and the target is not in the \
                document; add it";
            walk.error(reference, IssueCode::NotFound, "fhir.profile.target-absent", text);
        }
        return;
    };
    let ty = target.ty;
    let schema = walk.schema;
    let fits: Vec<&str> = targets
        .iter()
        .copied()
        .filter(|url| type_of(schema, walk.profiles, url).is_none_or(|wanted| schema.is_a(ty, wanted)))
        .collect();
    if fits.is_empty() {
        let place = reference.get("reference").or_else(|| reference.get("type"));
        reference::wrong_target(walk, place.unwrap_or(reference));
        return;
    }
    let verdicts: Vec<Option<bool>> = fits.iter().map(|url| conforms_to(walk, target, url)).collect();
    if verdicts.contains(&Some(true)) {
        return;
    }
    if let Some(at) = verdicts.iter().position(Option::is_none) {
        walk.unchecked_profile(fits.get(at).copied().unwrap_or_default());
    } else {
        let text = "the resource referred to conforms to none of the profiles that the profile allows here";
        walk.error(reference, IssueCode::Structure, "fhir.profile.target", text);
    }
}

/// The type a reference names, without looking at its target.
pub(super) fn named_type(walk: &Walk<'_, '_, '_>, reference: Cursor<'_, '_>) -> Option<TypeId> {
    let text = |key| {
        let node = reference.get(key).filter(|n| !walk.withholds(n.id()))?;
        node.as_str()
    };
    let declared = text("type").and_then(|name| walk.schema.resource_type(&name));
    declared.or_else(|| {
        let url = text("reference")?;
        walk.schema.resource_type(reference::implied_type(&url)?)
    })
}

/// The target of a reference inside the document: contained, or an entry of the bundle.
pub(super) fn resolve<'t, 'a>(walk: &Walk<'_, 't, 'a>, reference: Cursor<'t, 'a>) -> Option<At<'t, 'a>> {
    let url = reference.get("reference").filter(|n| !walk.withholds(n.id()))?.as_str()?;
    let found = match url.strip_prefix('#') {
        Some(id) => walk
            .tape
            .cursor(walk.root_resource)
            .get("contained")?
            .children()
            .find(|c| c.get("id").is_some_and(|i| i.str_is(id)))?,
        None => walk.bundles.last()?.target(walk.root_resource, &url)?,
    };
    Some(At::whole(found, resource_of(walk.schema, found)?))
}

/// The values of a member, each with its `_x`.
pub(super) fn select<'t, 'a>(walk: &Walk<'_, 't, 'a>, at: At<'t, 'a>, name: &str) -> Vec<At<'t, 'a>> {
    let schema = walk.schema;
    let mut found = Vec::new();
    let primitive = schema.primitive(at.ty).is_some();
    let holder = if primitive { at.beside } else { at.node };
    let Some((holder, def)) = holder.zip(schema.def(at.ty)) else { return found };
    for member in holder.children() {
        let raw = member.raw_key().unwrap_or_default();
        let (key, beside) = raw.strip_prefix('_').map_or((raw, false), |bare| (bare, true));
        let Some((_, slot)) = schema.slot(def, key.as_bytes()) else { continue };
        let Some(child) = schema.children(def).get(usize::from(slot.child)) else { continue };
        if schema.str(child.name) != name || (beside && holder.get(key).is_some()) {
            continue;
        }
        let ty = TypeId(slot.ty);
        let partner = match (beside, schema.primitive(ty)) {
            (false, Some(_)) => holder.get(&format!("_{key}")),
            _ => None,
        };
        let (value, partner) = if beside { (None, Some(member)) } else { (Some(member), partner) };
        let mut add = |value: Option<Cursor<'t, 'a>>, beside: Option<Cursor<'t, 'a>>| {
            let node = value.filter(|v| v.kind() != Kind::Null);
            let beside = beside.filter(|b| b.kind() == Kind::Object);
            if node.is_none() && beside.is_none() {
                return;
            }
            let ty = node.and_then(|n| polymorphic(walk, n, ty)).unwrap_or(ty);
            found.push(At { node, beside, ty, choice: child.choice });
        };
        let array = |c: Option<Cursor<'t, 'a>>| c.filter(|c| c.kind() == Kind::Array).map(Cursor::children);
        let (values, besides) = (array(value), array(partner));
        if values.is_none() && besides.is_none() {
            add(value, partner);
            continue;
        }
        let (mut values, mut besides) = (values, besides);
        loop {
            let value = values.as_mut().and_then(Iterator::next);
            let beside = besides.as_mut().and_then(Iterator::next);
            if value.is_none() && beside.is_none() {
                break;
            }
            add(value, beside);
        }
    }
    found
}

/// The type of a resource that stands where any resource may.
fn polymorphic(walk: &Walk<'_, '_, '_>, node: Cursor<'_, '_>, ty: TypeId) -> Option<TypeId> {
    let def = walk.schema.def(ty)?;
    (def.kind == TypeKind::Resource).then(|| resource_of(walk.schema, node)).flatten()
}

/// The url of an extension.
pub(super) fn url_of<'a>(at: At<'_, 'a>) -> Option<Cow<'a, str>> {
    at.node?.get("url")?.as_str()
}
