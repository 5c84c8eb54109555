//! Projections: a resource with the leaves withheld that could tell who it is about.
//!
//! [`project`] decides leaf by leaf; the owner of the record sends what [`ProjectedLeaf`] holds, and
//! [`Validator::validate_projection`] checks everything that can be checked without the withheld
//! values: structure, cardinality, types and all that is visible. A withheld leaf counts as present.

use crate::deid::{Action, At, KEPT_EXTENSIONS, Policy, is_age_unit};
use crate::leaves::{LeafKind, RebuildError, leaves, rebuild};
use crate::report::Report;
use crate::schema::{Schema, TypeId, TypeKind};
use crate::tape::{Cursor, Kind, Limits, NodeId, Tape};
use crate::validate::{Options, Validator};

/// Decides for every leaf of the resource at `node`, in the order of [`leaves`], whether a
/// projection shows it. Returns (index of the leaf, action).
///
/// Leaves that the schema does not know are withheld. `resourceType` is always kept.
pub fn project(tape: &Tape<'_>, node: NodeId, schema: &Schema) -> Vec<(usize, Action)> {
    run(tape, node, schema, None)
}

/// As [`project`], with the rules of a policy: the first one that matches a leaf or something around
/// it decides, and the built-in table where none does. A leaf is shown only if its token may stay as
/// it is.
pub fn project_with(tape: &Tape<'_>, node: NodeId, schema: &Schema, policy: &Policy) -> Vec<(usize, Action)> {
    run(tape, node, schema, Some(policy))
}

fn run(tape: &Tape<'_>, node: NodeId, schema: &Schema, policy: Option<&Policy>) -> Vec<(usize, Action)> {
    let mut pass = Pass { schema, policy, actions: Vec::new() };
    let root = tape.cursor(node);
    pass.resource(root, Action::Keep, &At::default());
    pass.actions.into_iter().enumerate().collect()
}

struct Pass<'s> {
    schema: &'s Schema,
    policy: Option<&'s Policy>,
    actions: Vec<Action>,
}

impl Pass<'_> {
    /// Withholds (or keeps) all leaves at and below `node`.
    fn all(&mut self, node: Cursor<'_, '_>, action: Action) {
        let first = node.id().0;
        for at in first..node.node().next.max(first + 1) {
            let below = node.tape().cursor(NodeId(at));
            if below.kind().is_scalar() || below.has_no_children() {
                self.actions.push(action);
            }
        }
    }

    fn resource(&mut self, node: Cursor<'_, '_>, action: Action, at: &At) {
        let ty = node
            .get("resourceType")
            .and_then(Cursor::as_str)
            .and_then(|name| self.schema.resource_type(&name));
        match ty {
            Some(ty) if !node.has_no_children() => {
                let at = self.policy.map_or_else(At::default, |p| p.below(self.schema, at, "", ty));
                self.object(node, ty, action, &at);
            }
            _ => self.all(node, Action::Withhold),
        }
    }

    fn object(&mut self, node: Cursor<'_, '_>, ty: TypeId, action: Action, at: &At) {
        let schema = self.schema;
        let Some(def) = schema.def(ty) else { return self.all(node, Action::Withhold) };
        let age = tells_age(node);
        for member in node.children() {
            let key = member.raw_key().unwrap_or_default();
            if key == "resourceType" && def.kind == TypeKind::Resource {
                self.all(member, Action::Keep);
                continue;
            }
            let (bare, beside) = match key.strip_prefix('_') {
                Some(bare) => (bare, true),
                None => (key, false),
            };
            let Some((_, slot)) = schema.slot(def, bare.as_bytes()) else {
                self.all(member, Action::Withhold);
                continue;
            };
            let mut own = Action::of(slot.action);
            if action == Action::Withhold || (age && key == "value") {
                own = Action::Withhold;
            }
            let extension = matches!(key, "extension" | "modifierExtension");
            // Beside a primitive stand only an id and extensions, which decide for themselves.
            let own = if beside { action } else { own };
            let member_type = TypeId(slot.ty);
            let mut below = At::default();
            if let Some(policy) = self.policy {
                let child = schema.children(def).get(usize::from(slot.child));
                let name = child.map_or("", |c| schema.str(c.name));
                below = policy.below(schema, at, name, member_type);
            }
            if member.kind() == Kind::Array && !member.has_no_children() {
                for item in member.children() {
                    self.value(item, member_type, own, extension, &below);
                }
            } else {
                self.value(member, member_type, own, extension, &below);
            }
        }
    }

    fn value(&mut self, node: Cursor<'_, '_>, ty: TypeId, action: Action, extension: bool, at: &At) {
        let decided = self.policy.and_then(|policy| policy.projected(at));
        let action = decided.unwrap_or(action);
        if node.kind() != Kind::Object || node.has_no_children() {
            let shown = node.kind().is_scalar();
            return self.all(node, if shown { action } else { Action::Withhold });
        }
        if extension {
            let url = node.get("url").and_then(Cursor::as_str).unwrap_or_default();
            if !KEPT_EXTENSIONS.contains(&&*url) && decided != Some(Action::Keep) {
                return self.all(node, Action::Withhold);
            }
        }
        match self.schema.def(ty) {
            Some(def) if def.kind == TypeKind::Resource => self.resource(node, action, at),
            _ => self.object(node, ty, action, at),
        }
    }
}

/// A Quantity in years or months may be an age over 89 (164.514(b)(2)(i)(C)).
fn tells_age(node: Cursor<'_, '_>) -> bool {
    ["code", "unit"]
        .iter()
        .filter_map(|key| node.get(key).and_then(Cursor::as_str))
        .any(|unit| is_age_unit(&unit))
}

/// One leaf as a stranger sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectedLeaf {
    /// Path as in [`crate::leaves::Leaf::path`].
    pub path: String,
    /// What the leaf is. Committed with the leaf, so it is true of withheld leaves too.
    pub kind: LeafKind,
    /// The exact token, or `None` if it is withheld.
    pub token: Option<String>,
}

/// Why a projection is no resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProjectionError {
    /// The leaves do not make one document.
    #[error(transparent)]
    Leaves(#[from] RebuildError),
    /// A shown token is of another kind than its leaf says.
    #[error("the token of leaf {0} is not of the kind the leaf says")]
    Kind(usize),
}

impl Validator {
    /// Validates a projection of one resource. `leaves` are all leaves in document order, withheld
    /// ones without token.
    ///
    /// A withheld leaf is present with an unknown value: structure, cardinality and types count it;
    /// its form, bindings and references are not checked and are counted in
    /// [`crate::report::Unevaluated::withheld`]. Positions in the report are those of the minified
    /// projection. The result depends on the arguments alone.
    ///
    /// # Errors
    /// [`ProjectionError`] if the leaves are not those of one document.
    pub fn validate_projection(
        &self,
        projected: &[ProjectedLeaf],
        options: &Options,
    ) -> Result<Report, ProjectionError> {
        let pairs = projected.iter().map(|leaf| {
            let token = leaf.token.as_deref().unwrap_or_else(|| leaf.kind.blank());
            (leaf.path.as_str(), token)
        });
        let document = rebuild(pairs)?;
        let tape = Tape::parse(document.as_bytes(), &Limits::default()).map_err(RebuildError::Document)?;
        let mut withheld = Vec::new();
        for (at, (found, given)) in leaves(tape.root()).iter().zip(projected).enumerate() {
            if found.kind != given.kind {
                return Err(ProjectionError::Kind(at));
            }
            if given.token.is_none() {
                withheld.push(found.node);
            }
        }
        Ok(self.walk(&tape, options, &withheld))
    }
}
