//! Rules compiled to one lookup per element.

use std::collections::BTreeMap;

use super::Action;
use super::config::{self, ConfigError, Method, Parameters, Root, Rule, ShiftScope};
use crate::schema::{Schema, TypeId, TypeKind};

/// What happens to each element of a record that leaves the organisation.
///
/// The first rule, in the order of the configuration, that matches a value or something around it
/// decides. A value that no rule matches is decided by the built-in table of [`super`], which is
/// fail-closed: a type or element that it does not name is withheld.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    pub(super) parameters: Parameters,
    nodes: Vec<Node>,
    by_type: BTreeMap<String, usize>,
    by_name: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Rules that end here, in order.
    rules: Vec<usize>,
    next: BTreeMap<String, usize>,
}

/// Where in the rules a value is, and which rule holds for what is around it.
#[derive(Clone, Debug, Default)]
pub(crate) struct At {
    nodes: Vec<usize>,
    rule: Option<usize>,
}

/// Safe Harbor in the same format: what the built-in table would withhold as a whole and of which a
/// part may stay (45 CFR 164.514(b)(2)(i)).
///
/// Its list of sparsely populated areas is the union of that in the guidance of HHS on
/// de-identification (17 areas, census of 2000) and that of the Microsoft sample (14, a later census):
/// an area in either may have 20,000 people or fewer. Who exports under newer counts gives a
/// configuration with their list.
const SAFE_HARBOR: &[u8] = include_bytes!("safe_harbor.json");

impl Policy {
    /// Reads a configuration in the format of the Microsoft tools for health data anonymization
    /// (<https://github.com/microsoft/Tools-for-Health-Data-Anonymization>). Keys in it are ignored:
    /// an export is given its key.
    ///
    /// # Errors
    /// [`ConfigError`] for the first rule that is not understood.
    pub fn parse(config: &[u8]) -> Result<Policy, ConfigError> {
        let (rules, parameters) = config::parse(config)?;
        let mut policy = Policy {
            rules: Vec::new(),
            parameters,
            nodes: Vec::new(),
            by_type: BTreeMap::new(),
            by_name: BTreeMap::new(),
        };
        for (at, rule) in rules.iter().enumerate() {
            let fresh = policy.nodes.len();
            let mut node = match &rule.root {
                Root::Type(name) => *policy.by_type.entry(name.clone()).or_insert(fresh),
                Root::Name(name) => *policy.by_name.entry(name.clone()).or_insert(fresh),
            };
            if node == fresh {
                policy.nodes.push(Node::default());
            }
            for step in &rule.steps {
                let fresh = policy.nodes.len();
                let Some(here) = policy.nodes.get_mut(node) else { break };
                node = *here.next.entry(step.clone()).or_insert(fresh);
                if node == fresh {
                    policy.nodes.push(Node::default());
                }
            }
            if let Some(end) = policy.nodes.get_mut(node) {
                end.rules.push(at);
            }
        }
        policy.rules = rules;
        Ok(policy)
    }

    /// The identifiers of 45 CFR 164.514(b)(2)(i) removed, with what that rule lets stay: the year of
    /// dates, state and country, three digits of a postal code, ages up to 89.
    ///
    /// # Errors
    /// Never for the built-in rules; the signature is that of [`Policy::parse`].
    pub fn safe_harbor() -> Result<Policy, ConfigError> {
        Policy::parse(SAFE_HARBOR)
    }

    /// Number of rules.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// Which dates are shifted alike.
    pub fn shift_scope(&self) -> ShiftScope {
        self.parameters.scope
    }

    /// A value of type `ty` that is no member of anything.
    pub(crate) fn root(&self, schema: &Schema, ty: TypeId) -> At {
        self.enter(schema, At::default(), ty)
    }

    /// A value of type `ty` under the element `name` of `parent`.
    pub(crate) fn below(&self, schema: &Schema, parent: &At, name: &str, ty: TypeId) -> At {
        let next = parent.nodes.iter().filter_map(|n| self.nodes.get(*n)?.next.get(name).copied());
        let mut nodes: Vec<usize> = next.collect();
        nodes.extend(self.by_name.get(name));
        self.enter(schema, At { nodes, rule: parent.rule }, ty)
    }

    fn enter(&self, schema: &Schema, mut at: At, ty: TypeId) -> At {
        let name = schema.type_name(ty);
        at.nodes.extend(self.by_type.get(name));
        if schema.type_kind(ty) == Some(TypeKind::Resource) {
            let mut base = schema.base_type(ty);
            while let Some(ty) = base {
                at.nodes.extend(self.by_type.get(schema.type_name(ty)));
                base = schema.base_type(ty);
            }
        }
        let fits = |rule: &&usize| {
            let of_type = self.rules.get(**rule).and_then(|r| r.of_type.as_deref());
            of_type.is_none_or(|wanted| wanted == name)
        };
        let here = at.nodes.iter().filter_map(|n| self.nodes.get(*n)).flat_map(|n| &n.rules).filter(fits);
        at.rule = here.copied().chain(at.rule).min();
        at
    }

    pub(super) fn method(&self, at: &At) -> Option<&Method> {
        self.rules.get(at.rule?).map(|r| &r.method)
    }

    /// What a projection does with a value: it can only show the token or not, so what a rule would
    /// transform is withheld. `None`: no rule matches.
    pub(crate) fn projected(&self, at: &At) -> Option<Action> {
        self.method(at).map(|method| match method {
            Method::Keep => Action::Keep,
            _ => Action::Withhold,
        })
    }
}
