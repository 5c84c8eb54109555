//! What an evaluation is given: the record, the schema, variables, the time and services.

use super::value::{Collection, Element, Item, Temporal};
use crate::schema::Schema;
use crate::tape::{NodeId, Tape};

/// What an evaluation may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvalLimits {
    /// Units of work: items visited, compared or produced, and bytes of computed text.
    pub work: u64,
    /// Bytes of one computed text.
    pub text: usize,
}

impl Default for EvalLimits {
    /// 20 million units of work, 16 MiB of text.
    fn default() -> Self {
        EvalLimits { work: 20_000_000, text: 16 << 20 }
    }
}

/// Functions that need more than the record. Every method answers `None` if it cannot say; the
/// evaluation then ends with [`super::EvalErrorKind::Unsupported`], never with a guess.
pub trait Services {
    /// `memberOf(value_set)` for the coding or code element.
    fn member_of(&self, _element: &Element, _value_set: &str) -> Option<bool> {
        None
    }

    /// `conformsTo(profile)`.
    fn conforms_to(&self, _element: &Element, _profile: &str) -> Option<bool> {
        None
    }

    /// `htmlChecks()` on a narrative's `div`.
    fn html_checks(&self, _element: &Element) -> Option<bool> {
        None
    }

    /// Receives what `trace(name)` saw.
    fn trace(&self, _name: &str, _items: &Collection<'_>) {}
}

/// Everything an evaluation reads. Nothing else enters a result.
#[derive(Clone)]
pub struct Context<'c> {
    pub(super) tape: Option<&'c Tape<'c>>,
    pub(super) schema: Option<&'c Schema>,
    pub(super) focus: Collection<'c>,
    pub(super) resource: Option<Element>,
    pub(super) root: Option<Element>,
    pub(super) variables: Vec<(&'c str, Collection<'c>)>,
    pub(super) now: Option<Temporal>,
    pub(super) limits: EvalLimits,
    pub(super) services: Option<&'c dyn Services>,
}

impl<'c> Context<'c> {
    /// The resource at the root of `tape`, which is `%context`, `%resource` and `%rootResource`.
    /// Without `schema`, types are told by JSON alone.
    pub fn new(tape: &'c Tape<'c>, schema: Option<&'c Schema>) -> Self {
        let root = resource_at(tape, schema, NodeId::ROOT);
        Context {
            tape: Some(tape),
            schema,
            focus: Collection::one(root),
            resource: Some(root),
            root: Some(root),
            ..Context::empty()
        }
    }

    /// No record: for expressions over literals and variables.
    pub fn empty() -> Self {
        Context {
            tape: None,
            schema: None,
            focus: Collection::new(),
            resource: None,
            root: None,
            variables: Vec::new(),
            now: None,
            limits: EvalLimits::default(),
            services: None,
        }
    }

    /// Evaluates at an element instead of the root: `%context` and `$this`.
    #[must_use]
    pub fn at(mut self, element: Element) -> Self {
        self.focus = Collection::one(element);
        self
    }

    /// Evaluates with these items as `%context` and `$this`.
    #[must_use]
    pub fn with_focus(mut self, focus: Collection<'c>) -> Self {
        self.focus = focus;
        self
    }

    /// The resource that holds the element (`%resource`): a contained resource or the resource of a
    /// bundle entry.
    #[must_use]
    pub fn with_resource(mut self, node: NodeId) -> Self {
        self.resource = self.tape.map(|tape| resource_at(tape, self.schema, node));
        self
    }

    /// The container of contained resources (`%rootResource`).
    #[must_use]
    pub fn with_root_resource(mut self, node: NodeId) -> Self {
        self.root = self.tape.map(|tape| resource_at(tape, self.schema, node));
        self
    }

    /// Sets `%name`.
    #[must_use]
    pub fn with_variable(mut self, name: &'c str, value: Collection<'c>) -> Self {
        self.variables.push((name, value));
        self
    }

    /// The moment that `now()`, `today()` and `timeOfDay()` speak of; without it they are errors.
    #[must_use]
    pub fn with_now(mut self, now: Temporal) -> Self {
        self.now = Some(now);
        self
    }

    /// Other limits than the default.
    #[must_use]
    pub fn with_limits(mut self, limits: EvalLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Terminology, profiles, trace.
    #[must_use]
    pub fn with_services(mut self, services: &'c dyn Services) -> Self {
        self.services = Some(services);
        self
    }

    /// The items the expression starts from.
    pub fn focus(&self) -> &[Item<'c>] {
        self.focus.items()
    }
}

/// The element at `node`, typed by its `resourceType`.
pub(super) fn resource_at(tape: &Tape<'_>, schema: Option<&Schema>, node: NodeId) -> Element {
    let ty = schema.and_then(|s| {
        let name = tape.cursor(node).get("resourceType")?.as_str()?;
        s.type_named(&name)
    });
    Element { node: Some(node), companion: None, ty }
}
