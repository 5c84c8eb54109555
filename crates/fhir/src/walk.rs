//! The structural walk: every member of every object against its type, in one pass.

mod container;
mod found;
mod member;
mod repeat;
mod unchecked;
mod urls;

use crate::fhirpath::{Program, Temporal};
use crate::profile::{self, Profiles};
use crate::report::{IssueCode, Report, Unevaluated};
use crate::rules;
use crate::rules::conformance::{Local, Registry};
use crate::schema::{Place, Properties, Schema, Slot, Special, System, TypeDef, TypeId, TypeKind};
use crate::tape::{Cursor, Kind, Name, NodeId, Tape};
use crate::validate::Options;

pub(crate) use container::{Contained, Container, ReferenceUse};
pub(crate) use found::Found;
use repeat::Recall;
pub(crate) use repeat::Repeats;
pub(crate) use unchecked::Unchecked;
pub(crate) use urls::UrlIndex;

/// The first moment of a day in UTC.
fn midnight(day: &str) -> Option<Temporal> {
    Temporal::parse_date_time(&format!("{day}T00:00:00Z"))
}

/// Deeper than this the walk stops: its stack is the machine's.
const MAX_DEPTH: usize = 200;

const ID: Name = Name::of(b"id");

/// One step from a type to a member.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// The object that holds the member.
    pub node: NodeId,
    pub ty: TypeId,
    pub child: u8,
}

/// How an object was reached.
#[derive(Clone, Copy)]
pub(crate) struct Reached {
    /// The slot of the member, with the types a reference may point to.
    pub slot: Option<Slot>,
    /// It stands under `modifierExtension`.
    pub modifier: bool,
    /// It is the `_x` of a primitive that has a value.
    pub beside_value: bool,
}

pub(crate) struct Walk<'v, 't, 'a> {
    pub schema: &'v Schema,
    pub tape: &'t Tape<'a>,
    pub options: &'v Options,
    pub programs: &'v [Option<Program>],
    pub profiles: &'v Profiles,
    pub registry: &'v Registry,
    /// The code systems met last, by url.
    pub systems_met: Vec<(String, &'v [System])>,
    /// Questionnaires and the like of the document.
    pub local: Local,
    /// Steps that checking answers has taken.
    pub questionnaire_work: u64,
    pub profile_state: profile::State,
    /// The innermost resource, contained or not, and the outermost one that is not contained.
    pub resource: NodeId,
    pub root_resource: NodeId,
    withheld: &'v [NodeId],
    /// What `now()` says, if anything.
    pub now: Option<Temporal>,
    pub found: Vec<Found>,
    pub unevaluated: Unevaluated,
    pub evaluated: u64,
    /// What [`Walk::unevaluated`] counts, by name.
    pub unchecked: Unchecked,
    /// From the innermost resource that is no contained one down to the current object.
    pub trail: Vec<Step>,
    pub containers: Vec<Container<'a>>,
    /// Emptied ones, for their memory.
    spare: Vec<Container<'a>>,
    spare_trails: Vec<Vec<Step>>,
    pub bundles: Vec<rules::bundle::Index<'t, 'a>>,
    /// Elements found in order, and how often a check reached beyond its element.
    pub repeats: Repeats,
    marks: u64,
    /// Links inside narratives, with the narrative that holds them.
    pub anchors: Vec<(NodeId, String)>,
    depth: usize,
}

impl<'v, 't, 'a> Walk<'v, 't, 'a> {
    pub(crate) fn new(
        schema: &'v Schema,
        tape: &'t Tape<'a>,
        options: &'v Options,
        programs: &'v [Option<Program>],
        profiles: &'v Profiles,
        registry: &'v Registry,
        withheld: &'v [NodeId],
    ) -> Self {
        Walk {
            schema,
            tape,
            options,
            programs,
            profiles,
            registry,
            systems_met: Vec::new(),
            local: Local::default(),
            questionnaire_work: 0,
            profile_state: profile::State::default(),
            resource: NodeId::ROOT,
            root_resource: NodeId::ROOT,
            withheld,
            now: options.as_of.as_deref().and_then(midnight),
            found: Vec::new(),
            unevaluated: Unevaluated::default(),
            evaluated: 0,
            unchecked: Unchecked::default(),
            trail: Vec::new(),
            containers: Vec::new(),
            spare: Vec::new(),
            spare_trails: Vec::new(),
            bundles: Vec::new(),
            repeats: Repeats::default(),
            marks: 0,
            anchors: Vec::new(),
            depth: 0,
        }
    }

    pub(crate) fn document(&mut self) {
        self.resource(self.tape.root(), false);
        rules::narrative::resolve_anchors(self);
    }

    pub(crate) fn into_report<'p>(
        self,
        placer: impl FnOnce(&'t Tape<'a>) -> crate::report::Placer<'p, 't, 'a>,
    ) -> Report {
        let Walk { schema, tape, found, unevaluated, unchecked, evaluated, options, .. } = self;
        let root = tape.root().get("resourceType").and_then(Cursor::as_str);
        let root = root.filter(|name| schema.resource_type(name).is_some()).unwrap_or_default();
        let notes = unchecked.issues(schema, &unevaluated, &root);
        found::report(tape, found, notes, unevaluated, evaluated, options.max_issues, placer)
    }

    /// The value of this leaf is unknown; counts the check that is not made.
    pub(crate) fn is_withheld(&mut self, node: NodeId) -> bool {
        if self.withheld.is_empty() {
            return false;
        }
        let withheld = self.withheld.binary_search(&node).is_ok();
        self.unevaluated.withheld += u64::from(withheld);
        withheld
    }

    /// As [`Walk::is_withheld`], without counting.
    pub(crate) fn withholds(&self, node: NodeId) -> bool {
        self.withheld.binary_search(&node).is_ok()
    }

    /// A leaf at or below `node` is unknown.
    pub(crate) fn withholds_below(&self, node: Cursor<'t, 'a>) -> bool {
        let from = self.withheld.partition_point(|id| *id < node.id());
        self.withheld.get(from).is_some_and(|id| id.0 < node.node().next)
    }

    /// Some leaves of the document are unknown.
    pub(crate) fn holds_withheld(&self) -> bool {
        !self.withheld.is_empty()
    }

    /// A resource where the definitions have the type Resource, or the root.
    pub(crate) fn resource(&mut self, node: Cursor<'t, 'a>, contained: bool) {
        self.reaches_out();
        if node.kind() != Kind::Object {
            self.error(node, IssueCode::Structure, "fhir.json.kind", "a resource is a JSON object");
            return;
        }
        let Some(name) = node.get("resourceType") else {
            let text = "this resource has no `resourceType`; add it";
            self.error(node, IssueCode::Required, "fhir.resource-type.missing", text);
            return;
        };
        let Some(ty) = name.as_str().and_then(|n| self.schema.resource_type(&n)) else {
            let text = "`resourceType` names no resource type of FHIR R4; correct it";
            self.error(name, IssueCode::Structure, "fhir.resource-type.unknown", text);
            return;
        };
        let schema = self.schema;
        let Some(def) = schema.def(ty) else { return };
        let reached = Reached { slot: None, modifier: false, beside_value: false };
        let outer = (self.resource, self.root_resource);
        self.resource = node.id();
        if contained {
            self.object(node, ty, def, reached);
            profile::resource(self, node, ty);
            self.resource = outer.0;
            return;
        }
        self.root_resource = node.id();
        let inner = self.spare_trails.pop().unwrap_or_default();
        let trail = std::mem::replace(&mut self.trail, inner);
        self.open_container(node);
        let bundle = matches!(def.special, Special::Bundle | Special::Parameters);
        if bundle {
            self.open_bundle(node);
        }
        self.object(node, ty, def, reached);
        profile::resource(self, node, ty);
        self.close_container(node);
        if bundle {
            self.close_bundle();
        }
        self.spare_trails.push(std::mem::replace(&mut self.trail, trail));
        (self.resource, self.root_resource) = outer;
    }

    /// Every member of an object, then what the object needs as a whole.
    pub(crate) fn object(&mut self, node: Cursor<'t, 'a>, ty: TypeId, def: &TypeDef, reached: Reached) {
        if node.has_no_children() {
            let text = "this object is empty; leave the property out if there is no value";
            self.error(node, IssueCode::Structure, "fhir.empty.object", text);
            return;
        }
        if self.depth >= MAX_DEPTH {
            let text = "this document is nested deeper than can be checked; flatten it";
            self.error(node, IssueCode::TooCostly, "fhir.depth", text);
            return;
        }
        let trial = match self.recall(node, ty, def, &reached) {
            Recall::InOrder => return,
            Recall::New(trial) => Some(trial),
            Recall::Unknown => None,
        };
        self.depth += 1;
        let resource = def.kind == TypeKind::Resource;
        let schema = self.schema;
        let children = schema.children(def);
        let properties = schema.properties(def);
        let mut seen = 0u64;
        let mut only_id = true;
        let mut id = None;
        for member in node.children() {
            let raw = member.key_bytes();
            let name = member.name(raw);
            let (place, beside) = match properties.find(name, raw) {
                Some(place) => (place, false),
                None => match other_member(properties, member, resource) {
                    Other::ResourceType => continue,
                    Other::Of(place, beside) => (place, beside),
                    Other::Unknown => {
                        only_id = false;
                        self.unknown_member(member, def);
                        continue;
                    }
                },
            };
            if name.ends == ID.ends && raw.len() == 2 {
                id = Some(member);
            } else {
                only_id = false;
            }
            let bit = 1u64 << (place.child & 63);
            if seen & bit != 0 && place.is_choice() {
                self.second_type(node, member, def, place);
            }
            seen |= bit;
            let kind = member.kind();
            if let Some(primitive) = place.primitive
                && place.is_plain()
                && !beside
                && kind.is_scalar()
                && kind != Kind::Null
            {
                self.primitive(member, primitive, None);
                continue;
            }
            let rows = (children.get(usize::from(place.child)), schema.slots(def).get(place.slot()));
            let (Some(child), Some(slot)) = rows else { continue };
            self.trail.push(Step { node: node.id(), ty, child: place.child });
            self.member(node, member, child, slot, beside);
            self.trail.pop();
        }
        self.missing(node, def, def.required & !seen);
        if only_id && !resource && !reached.beside_value {
            // ele-1: hasValue() or (children().count() > id.count())
            let text = "this element has an id and nothing else; give it a value or leave it out";
            self.invariant(node, "http://hl7.org/fhir/StructureDefinition/Element#ele-1", text);
        }
        rules::whole(self, node, def, reached, id);
        rules::invariant::check(self, node, ty, def.invariants);
        self.depth -= 1;
        if let Some(trial) = &trial {
            self.remember(node, ty, trial);
        }
    }

    fn missing(&mut self, node: Cursor<'t, 'a>, def: &TypeDef, mut missing: u64) {
        while missing != 0 {
            let at = missing.trailing_zeros();
            missing &= missing - 1;
            let Some(child) = self.schema.children(def).get(at as usize) else { continue };
            let text = format!(
                "`{}{}` is missing in {}; it is mandatory",
                self.schema.str(child.name),
                if child.choice { "[x]" } else { "" },
                self.schema.str(def.name),
            );
            self.error(node, IssueCode::Required, "fhir.card.min", text);
        }
    }

    /// A choice element that occurs again: as value and `_x` of one type, or as another type.
    #[cold]
    fn second_type(&mut self, node: Cursor<'t, 'a>, member: Cursor<'t, 'a>, def: &TypeDef, place: &Place) {
        let schema = self.schema;
        let properties = schema.properties(def);
        let before = node.children().take_while(|c| *c != member).filter_map(|c| {
            let key = c.key_bytes();
            let found = properties.find(c.name(key), key);
            let found = found.or_else(|| match other_member(properties, c, false) {
                Other::Of(place, _) => Some(place),
                _ => None,
            })?;
            (found.child == place.child).then(|| found.slot())
        });
        let child = schema.children(def).get(usize::from(place.child));
        if let (Some(before), Some(child)) = (before.last(), child)
            && before != place.slot()
        {
            let text = format!("`{}[x]` has more than one type; keep one", schema.str(child.name));
            self.error(member, IssueCode::Structure, "fhir.choice.twice", text);
        }
    }

    fn unknown_member(&mut self, member: Cursor<'t, 'a>, def: &TypeDef) {
        let key = member.key().unwrap_or_default();
        let shown = if crate::report::is_name(&key) { &key } else { "?" };
        let text = format!(
            "`{shown}` is no property of {}; correct its name or remove it",
            self.schema.str(def.name),
        );
        self.error_above(member, IssueCode::Structure, "fhir.property.unknown", text);
    }
}

/// A member that is not called as a property of its type.
enum Other<'s> {
    ResourceType,
    /// The `_x` of a property, or a property written with escapes.
    Of(&'s Place, bool),
    Unknown,
}

#[inline(never)]
fn other_member<'s>(properties: Properties<'s>, member: Cursor<'_, '_>, resource: bool) -> Other<'s> {
    let key = member.key().unwrap_or_default();
    if resource && key == "resourceType" {
        return Other::ResourceType;
    }
    let bare = key.strip_prefix('_');
    let name = bare.unwrap_or(&key).as_bytes();
    match properties.find(Name::of(name), name) {
        Some(place) => Other::Of(place, bare.is_some()),
        None => Other::Unknown,
    }
}
