//! Bundles (<https://hl7.org/fhir/R4/bundle.html>): bdl-1 to bdl-12, full urls, references inside.

mod reach;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::reference::{self, is_conditional, unversioned};
use crate::report::{IssueCode, Severity};
use crate::rules::conformance::Canonicals;
use crate::rules::primitive::is_absolute;
use crate::schema::{Schema, TypeId};
use crate::tape::{Cursor, Kind, NodeId};
use crate::validate::References;
use crate::walk::{ReferenceUse, UrlIndex, Walk};

/// What a bundle knows of its entries.
pub(crate) struct Index<'t, 'a> {
    kind: Cow<'a, str>,
    entries: Vec<Entry<'t, 'a>>,
    urls: UrlIndex,
    /// References with the resource that holds them.
    uses: Vec<(NodeId, ReferenceUse<'a>)>,
    /// The number of each entry among those of its type, if anyone asks for it.
    ordinals: Vec<usize>,
    /// Definitions among the entries, once one is asked for.
    pub canonicals: Option<Canonicals>,
}

struct Entry<'t, 'a> {
    node: Cursor<'t, 'a>,
    full_url: Option<Cow<'a, str>>,
    /// Members of the entry.
    full_url_node: Option<NodeId>,
    search: Option<NodeId>,
    request: Option<NodeId>,
    response: Option<NodeId>,
    has_resource: bool,
    resource: Option<Cursor<'t, 'a>>,
    ty: Cow<'a, str>,
    /// Of any name that the definitions have.
    type_id: Option<TypeId>,
    id: Option<Cow<'a, str>>,
}

/// [`Index::kind`] of a Parameters.
const PARAMETERS: &str = "Parameters";

fn list<'t, 'a>(node: Cursor<'t, 'a>, key: &str) -> impl Iterator<Item = Cursor<'t, 'a>> + use<'t, 'a> {
    node.get(key).filter(|e| e.kind() == Kind::Array).into_iter().flat_map(Cursor::children)
}

impl<'t, 'a> Entry<'t, 'a> {
    fn new(schema: &Schema, node: Cursor<'t, 'a>) -> Self {
        let mut entry = Entry {
            node,
            full_url: None,
            full_url_node: None,
            search: None,
            request: None,
            response: None,
            has_resource: false,
            resource: None,
            ty: Cow::Borrowed(""),
            type_id: None,
            id: None,
        };
        let members = Some(node).filter(|n| n.kind() == Kind::Object).into_iter().flat_map(Cursor::children);
        // In one pass: what lies behind a resource is far away.
        for member in members {
            match member.key().as_deref().map(str::as_bytes) {
                Some(b"fullUrl") => entry.full_url_node = Some(member.id()),
                Some(b"search") => entry.search = Some(member.id()),
                Some(b"request") => entry.request = Some(member.id()),
                Some(b"response") => entry.response = Some(member.id()),
                Some(b"resource") => {
                    entry.has_resource = true;
                    entry.resource = Some(member).filter(|r| r.kind() == Kind::Object);
                }
                _ => {}
            }
        }
        if let Some(resource) = entry.resource {
            let text = |key| resource.get(key).and_then(Cursor::as_str);
            (entry.ty, entry.id) = (text("resourceType").unwrap_or_default(), text("id"));
            entry.type_id = schema.type_named(&entry.ty);
        }
        entry
    }
}

impl<'t, 'a> Index<'t, 'a> {
    pub(crate) fn new(schema: &Schema, bundle: Cursor<'t, 'a>) -> Self {
        let kind = bundle.get("type").and_then(Cursor::as_str).unwrap_or_default();
        let mut entries = Vec::new();
        for node in list(bundle, "entry") {
            let mut entry = Entry::new(schema, node);
            entry.full_url = entry.full_url_node.and_then(|url| node.tape().cursor(url).as_str());
            entries.push(entry);
        }
        Index::of(kind, entries)
    }

    /// The resources of a Parameters refer to each other by type and id.
    pub(crate) fn of_parameters(schema: &Schema, parameters: Cursor<'t, 'a>) -> Self {
        let mut entries = Vec::new();
        // Parts follow their parameter, so the entries stay in document order.
        let mut open: Vec<_> = list(parameters, "parameter").collect();
        open.reverse();
        while let Some(node) = open.pop() {
            let parts: Vec<_> = list(node, "part").collect();
            open.extend(parts.into_iter().rev());
            let mut entry = Entry::new(schema, node);
            entry.full_url = entry.id.as_ref().map(|id| Cow::Owned(format!("{}/{id}", entry.ty)));
            if entry.resource.is_some() {
                entries.push(entry);
            }
        }
        Index::of(Cow::Borrowed(PARAMETERS), entries)
    }

    fn of(kind: Cow<'a, str>, entries: Vec<Entry<'t, 'a>>) -> Self {
        let urls = UrlIndex::new(entries.iter().map(|e| e.full_url.as_deref()));
        Index { kind, entries, urls, uses: Vec::new(), ordinals: Vec::new(), canonicals: None }
    }

    pub(crate) fn add(&mut self, resource: NodeId, uses: impl Iterator<Item = ReferenceUse<'a>>) {
        self.uses.extend(uses.map(|used| (resource, used)));
    }

    /// The number of a resource among the entries that hold one of its type; `None` for a resource
    /// that is no entry's.
    pub(crate) fn ordinal(&self, resource: Cursor<'t, 'a>) -> Option<usize> {
        let at = self.position(resource.id())?;
        self.entries.get(at).filter(|e| e.resource == Some(resource))?;
        self.ordinals.get(at).copied()
    }

    /// Makes [`Index::ordinal`] ready.
    fn count_types(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &self.entries {
            let count = counts.entry(&entry.ty).or_default();
            self.ordinals.push(*count);
            *count += 1;
        }
    }

    /// It is a Bundle and no Parameters.
    pub(crate) fn is_bundle(&self) -> bool {
        self.kind != PARAMETERS
    }

    /// The resources of the entries with their types, in document order.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&str, Cursor<'t, 'a>)> {
        self.entries.iter().filter_map(|e| Some((&*e.ty, e.resource?)))
    }

    fn is(&self, kinds: &[&str]) -> bool {
        kinds.contains(&&*self.kind)
    }

    /// First entry under a full url.
    fn by_full_url(&self, url: &str) -> Option<&Entry<'t, 'a>> {
        self.entries.get(self.urls.find(url, |entry| url_at(&self.entries, entry))?)
    }

    /// The resource that `url` refers to from the resource at `from`.
    pub(crate) fn target(&self, from: NodeId, url: &str) -> Option<Cursor<'t, 'a>> {
        self.entry_of(self.by_resource(from), url)?.resource
    }

    fn entry_of(&self, from: Option<&Entry<'t, 'a>>, url: &str) -> Option<&Entry<'t, 'a>> {
        if self.kind == PARAMETERS {
            return self.by_full_url(unversioned(url));
        }
        let base = from.and_then(|e| e.full_url.as_deref()).and_then(reference::rest_base);
        match reference::absolute(base, unversioned(url)).as_deref() {
            Some(absolute) => self.by_full_url(absolute),
            // Relative from an entry without server: an entry named by the same uuid is meant.
            None => url.rsplit('/').next().and_then(|id| self.by_full_url(&format!("urn:uuid:{id}"))),
        }
    }

    /// The entry whose resource starts at `resource`; entries are in document order.
    fn by_resource(&self, resource: NodeId) -> Option<&Entry<'t, 'a>> {
        self.entries.get(self.position(resource)?)
    }

    fn position(&self, resource: NodeId) -> Option<usize> {
        self.entries.partition_point(|e| e.node.id() <= resource).checked_sub(1)
    }
}

fn url_at<'e>(entries: &'e [Entry<'_, '_>], at: usize) -> Option<&'e str> {
    entries.get(at).and_then(|e| e.full_url.as_deref())
}

impl<'t, 'a> Walk<'_, 't, 'a> {
    pub(crate) fn open_bundle(&mut self, node: Cursor<'t, 'a>) {
        let parameters = node.get("resourceType").is_some_and(|t| t.str_is(PARAMETERS));
        let schema = self.schema;
        let mut index =
            if parameters { Index::of_parameters(schema, node) } else { Index::new(schema, node) };
        if !self.options.entry_profiles.is_empty() {
            index.count_types();
        }
        self.bundles.push(index);
    }

    /// All references of the bundle's resources are known now.
    pub(crate) fn close_bundle(&mut self) {
        let Some(index) = self.bundles.pop() else { return };
        if index.kind == PARAMETERS && !self.bundles.is_empty() {
            return; // what a parameter refers to may stand in the outer bundle
        }
        reach::check(self, &index);
        // Those of one resource follow each other.
        let mut holder = None;
        let mut recent = Recent::default();
        for (resource, used) in &index.uses {
            let entry = match holder {
                Some((known, entry)) if known == *resource => entry,
                _ => index.by_resource(*resource),
            };
            holder = Some((*resource, entry));
            resolve(self, &index, entry, used, &mut recent);
        }
    }
}

/// The targets of uuids met last. The resources of a record refer to the same few (the patient, the encounter) again
/// and again, and a uuid means the same wherever it stands.
struct Recent<'i> {
    /// By the last character but one, which differs as well as any.
    targets: [(&'i str, Option<usize>); 64],
}

impl Default for Recent<'_> {
    fn default() -> Self {
        Recent { targets: [("", None); 64] }
    }
}

impl<'i> Recent<'i> {
    /// The entry that `url` names, for a uuid without fragment; `None`: this is none.
    fn target(&mut self, index: &Index<'_, '_>, url: &'i str) -> Option<Option<usize>> {
        const LENGTH: usize = "urn:uuid:".len() + 36;
        if url.len() != LENGTH || !url.starts_with("urn:uuid:") || index.kind == PARAMETERS {
            return None;
        }
        let [.., a, b] = url.as_bytes() else { return None };
        let place = self.targets.get_mut((usize::from(*a) * 4 + usize::from(*b)) % 64)?;
        if place.0 != url {
            // A fragment is no part of what is looked for.
            if url.contains('#') {
                return None;
            }
            *place = (url, index.urls.find(url, |entry| url_at(&index.entries, entry)));
        }
        Some(place.1)
    }
}

/// Resolves one reference inside the bundle
/// (<https://hl7.org/fhir/R4/bundle.html#references>).
fn resolve<'i, 't, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    index: &Index<'t, 'a>,
    from: Option<&Entry<'t, 'a>>,
    used: &'i ReferenceUse<'a>,
    recent: &mut Recent<'i>,
) {
    let node = walk.tape.cursor(used.node);
    let known = recent.target(index, &used.url);
    if known.is_none() && !is_absolute(&used.url) && is_conditional(&used.url) {
        if !index.is(&["transaction", "batch"]) {
            reference::conditional_outside(walk, node);
        }
        return;
    }
    let target = match known {
        Some(entry) => entry.and_then(|at| index.entries.get(at)),
        None => index.entry_of(from, &used.url),
    };
    match target {
        Some(entry) => {
            let differs = match reference::implied_type(&used.url) {
                Some(name) => name != entry.ty,
                None => !reference::allows(walk.schema, used.targets, entry.type_id),
            };
            if differs && !entry.ty.is_empty() {
                reference::wrong_target(walk, node);
            }
        }
        None if used.url.starts_with("urn:uuid:") || used.url.starts_with("urn:oid:") => {
            let text = "no entry of this bundle has this full url, and it can be resolved nowhere \
                else; add the entry or correct the reference";
            // Whoever is to process the bundle as a whole cannot; a collection may stay incomplete.
            let whole = index.is(&["transaction", "batch", "document", "message"]);
            let severity = if whole { Severity::Error } else { Severity::Warning };
            walk.note_above(node, severity, IssueCode::NotFound, "fhir.reference.unresolved", text);
        }
        None if index.is(&["document"]) && !is_absolute(&used.url) => {
            let text = "a document carries all that it refers to, and no entry has this full url; \
                add the entry or correct the reference";
            walk.error_above(node, IssueCode::NotFound, "fhir.reference.unresolved", text);
        }
        None if walk.options.references != References::AsFound
            && !is_absolute(&used.url)
            && reference::implied_type(&used.url).is_some() =>
        {
            let text = "no resource with this type and id stands beside this one; add it or correct \
                the reference";
            walk.error_above(node, IssueCode::NotFound, "fhir.reference.unresolved", text);
        }
        None => {}
    }
}

/// Message id of a constraint of Bundle.
macro_rules! rule {
    ($key:literal) => {
        concat!("http://hl7.org/fhir/StructureDefinition/Bundle#", $key)
    };
}

/// The rules of a bundle as a whole, after its members.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    // Taken out while it is read, so that issues can be noted.
    let Some(index) = walk.bundles.pop() else { return };
    head(walk, node, &index);
    for entry in &index.entries {
        entry_rules(walk, &index, entry);
    }
    unique_urls(walk, &index);
    walk.bundles.push(index);
}

fn head<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, index: &Index<'t, 'a>) {
    if let Some(total) = node.get("total")
        && !index.is(&["searchset", "history"])
    {
        let text = "`total` stands only in a searchset or history; remove it";
        walk.invariant(total, rule!("bdl-1"), text);
    }
    let first = index.entries.first().map_or("", |e| &*e.ty);
    if index.is(&["document"]) {
        let identifier = node.get("identifier");
        let complete = identifier.is_some_and(|i| i.get("system").is_some() && i.get("value").is_some());
        if !complete {
            let text = "a document needs an `identifier` with `system` and `value`; add it";
            walk.invariant(node, rule!("bdl-9"), text);
        }
        if node.get("timestamp").is_none() {
            let text = "a document needs a `timestamp`; add it";
            walk.invariant(node, rule!("bdl-10"), text);
        }
        if first != "Composition" {
            let text = "the first entry of a document is a Composition; put it first";
            walk.invariant(node, rule!("bdl-11"), text);
        }
    }
    if index.is(&["message"]) && first != "MessageHeader" {
        let text = "the first entry of a message is a MessageHeader; put it first";
        walk.invariant(node, rule!("bdl-12"), text);
    }
    let mut relations: Vec<(Cow<'_, str>, Cursor<'_, '_>)> = node
        .get("link")
        .into_iter()
        .flat_map(Cursor::children)
        .filter_map(|l| Some((l.get("relation")?.as_str()?, l)))
        .collect();
    relations.sort_by(|a, b| (&a.0, a.1.id()).cmp(&(&b.0, b.1.id())));
    for pair in relations.windows(2) {
        if let [a, b] = pair
            && a.0 == b.0
        {
            let text = "a bundle has one link of each relation; remove this one";
            walk.error(b.1, IssueCode::Duplicate, "fhir.bundle.link", text);
        }
    }
}

fn entry_rules<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, index: &Index<'t, 'a>, entry: &Entry<'t, 'a>) {
    let node = entry.node;
    let member = |id: Option<NodeId>| id.map(|id| node.tape().cursor(id));
    let (request, response) = (member(entry.request), member(entry.response));
    if let Some(search) = member(entry.search)
        && !index.is(&["searchset"])
    {
        let text = "`search` stands only in the entries of a searchset; remove it";
        walk.invariant(search, rule!("bdl-2"), text);
    }
    let wants_request = index.is(&["batch", "transaction", "history"]);
    if request.is_some() != wants_request {
        let text = if wants_request {
            "each entry of a batch, transaction or history needs a `request`; add it"
        } else {
            "`request` stands only in a batch, transaction or history; remove it"
        };
        walk.invariant(request.unwrap_or(node), rule!("bdl-3"), text);
    }
    let wants_response = index.is(&["batch-response", "transaction-response", "history"]);
    if response.is_some() != wants_response {
        let text = if wants_response {
            "each entry of a response or history needs a `response`; add it"
        } else {
            "`response` stands only in a batch-response, transaction-response or history; remove it"
        };
        walk.invariant(response.unwrap_or(node), rule!("bdl-4"), text);
    }
    if !entry.has_resource && request.is_none() && response.is_none() {
        let text = "an entry needs a `resource`, a `request` or a `response`; add one";
        walk.invariant(node, rule!("bdl-5"), text);
    }
    let Some(url_node) = member(entry.full_url_node) else { return };
    let Some(url) = entry.full_url.as_deref().filter(|u| !u.is_empty()) else { return };
    if reference::version_at(url).is_some() {
        let text = "a full url names no version; remove `/_history/…`";
        walk.invariant(url_node, rule!("bdl-8"), text);
    }
    if !is_absolute(url) {
        let text = "a full url is absolute: a url of a server, or `urn:uuid:` and a uuid";
        walk.error_above(url_node, IssueCode::Value, "fhir.bundle.full-url", text);
    } else if let Some(name) = reference::implied_type(url) {
        // A RESTful full url ends in the type and id of its resource.
        let last = url.rsplit('/').next().unwrap_or_default();
        let resource = entry.resource.is_some() && walk.schema.resource_type(name).is_some();
        let creates = index.is(&["transaction", "batch"]);
        if resource && !creates && (name != entry.ty || entry.id.as_deref() != Some(last)) {
            let text = "this full url ends in another type or id than its resource has; correct one";
            walk.error_above(url_node, IssueCode::BusinessRule, "fhir.bundle.full-url-id", text);
        }
    }
}

/// bdl-7: a full url occurs once, but for different versions.
fn unique_urls<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, index: &Index<'t, 'a>) {
    if index.is(&["history"]) || !index.urls.has_repeated(|entry| url_at(&index.entries, entry)) {
        return;
    }
    let mut keys: Vec<(&str, Cow<'_, str>, usize)> = index
        .entries
        .iter()
        .enumerate()
        .filter_map(|(at, e)| {
            let version = e
                .resource
                .and_then(|r| r.get("meta"))
                .and_then(|m| m.get("versionId"))
                .and_then(Cursor::as_str)
                .unwrap_or_default();
            Some((e.full_url.as_deref()?, version, at))
        })
        .collect();
    keys.sort();
    for pair in keys.windows(2) {
        if let [a, b] = pair
            && (a.0, &a.1) == (b.0, &b.1)
            && let Some(entry) = index.entries.get(b.2)
        {
            let text = "another entry has the same full url; give each its own";
            let node = entry.node.get("fullUrl").unwrap_or(entry.node);
            walk.invariant(node, rule!("bdl-7"), text);
        }
    }
}
