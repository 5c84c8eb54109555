//! Access policies: which attributes, vouched for by whom, open a secret.
//!
//! A policy is a tree of AND, OR and k-of-n gates over `attribute@authority` and comparisons of
//! integers. It stands readable in every header. There is no NOT: an authority issues the negative
//! as an attribute of its own.

use std::fmt;

use crate::attribute::{Attribute, AttributeSet, AuthorityName, MAX_VERSION, Term, bit_value, write_epoch};
use crate::cbor::{self, Decoder};
use crate::lsss::Lsss;
use crate::{PolicyError, SUITE, parse};

/// Deepest nesting of gates; a lone attribute has depth 1.
pub const MAX_DEPTH: usize = 16;
/// Most rows, that is, attributes after comparisons are expanded to their bits.
pub const MAX_ROWS: usize = 256;
/// Longest canonical form, in bytes: 256 rows of the longest names.
pub const MAX_CANONICAL: usize = 128 * 1024;

/// How a comparison compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparator {
    /// The attribute is `bound` or more.
    AtLeast,
    /// The attribute is `bound` or less.
    AtMost,
    /// The attribute is `bound`.
    Equal,
}

impl Comparator {
    fn code(self) -> u64 {
        match self {
            Self::AtLeast => 0,
            Self::AtMost => 1,
            Self::Equal => 2,
        }
    }

    fn from_code(code: u64) -> Option<Self> {
        [Self::AtLeast, Self::AtMost, Self::Equal].into_iter().find(|comparator| comparator.code() == code)
    }
}

/// A comparison of an integer attribute: `level[8]>=5@hospital-a#2026W47`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    pub(crate) authority: AuthorityName,
    /// Name, epoch and version; the value is empty.
    pub(crate) attribute: Attribute,
    /// Bits of the integer, 1 to 64.
    pub(crate) width: u8,
    pub(crate) comparator: Comparator,
    pub(crate) bound: u64,
}

impl Comparison {
    /// The attribute that states one bit of the integer.
    fn bit(&self, bit: u8, one: bool) -> Term {
        Term {
            authority: self.authority.clone(),
            attribute: Attribute { value: bit_value(self.width, bit, one), ..self.attribute.clone() },
        }
    }

    /// The gates over single bits that mean the same, at most `width` of them as rows.
    ///
    /// From the lowest bit up: "at least" needs a 1 where the bound has a 1, and the rest as
    /// before; where the bound has a 0, a 1 settles it.
    pub(crate) fn expand(&self) -> Node {
        let mut tree: Option<Node> = None;
        for bit in 0..self.width {
            let bound_bit = (self.bound >> bit) & 1 == 1;
            let (term, needed) = match self.comparator {
                Comparator::AtLeast => (self.bit(bit, true), bound_bit),
                Comparator::AtMost => (self.bit(bit, false), !bound_bit),
                Comparator::Equal => (self.bit(bit, bound_bit), true),
            };
            let term = Node::Term(term);
            // `None` stands for "always true", which the lowest bits may be.
            tree = match (tree, needed) {
                (None, true) => Some(term),
                (None, false) => None,
                (Some(rest), true) => Some(Node::And(vec![term, rest])),
                (Some(rest), false) => Some(Node::Or(vec![term, rest])),
            };
        }
        // `check` refuses bounds every number satisfies, so some bit is always needed.
        tree.unwrap_or_else(|| Node::Or(Vec::new())).normalise()
    }

    fn check(&self) -> Result<(), PolicyError> {
        let gate = |reason| Err(PolicyError::Gate { reason });
        if !(1..=64).contains(&self.width) {
            return gate("the width of an integer is 1 to 64 bits");
        }
        let most = u64::MAX >> (64 - u32::from(self.width));
        if self.bound > most {
            return gate("the bound does not fit in the width");
        }
        let always = match self.comparator {
            Comparator::AtLeast => self.bound == 0,
            Comparator::AtMost => self.bound == most,
            Comparator::Equal => false,
        };
        if always {
            return gate("the comparison is always true");
        }
        Ok(())
    }
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Term(Term),
    Comparison(Comparison),
    And(Vec<Node>),
    Or(Vec<Node>),
    /// At least `k` of the children, 1 < k < number of children.
    Threshold(usize, Vec<Node>),
}

impl Node {
    /// The one canonical shape: AND directly within AND and OR within OR are merged, gates of one
    /// child vanish, 1-of-n is OR and n-of-n is AND.
    pub(crate) fn normalise(self) -> Self {
        let merged = match self {
            Self::And(children) => {
                let mut flat = Vec::with_capacity(children.len());
                for child in children {
                    match child.normalise() {
                        Self::And(inner) => flat.extend(inner),
                        other => flat.push(other),
                    }
                }
                Self::And(flat)
            }
            Self::Or(children) => {
                let mut flat = Vec::with_capacity(children.len());
                for child in children {
                    match child.normalise() {
                        Self::Or(inner) => flat.extend(inner),
                        other => flat.push(other),
                    }
                }
                Self::Or(flat)
            }
            Self::Threshold(1, children) => return Self::Or(children).normalise(),
            Self::Threshold(k, children) if k == children.len() => {
                return Self::And(children).normalise();
            }
            Self::Threshold(k, children) => {
                Self::Threshold(k, children.into_iter().map(Self::normalise).collect())
            }
            leaf => leaf,
        };
        match merged {
            Self::And(mut children) | Self::Or(mut children) if children.len() == 1 => {
                // The length was just checked; an empty gate would be refused by `check`.
                children.pop().unwrap_or_else(|| Self::Or(Vec::new()))
            }
            other => other,
        }
    }

    fn check(&self, depth: usize) -> Result<(), PolicyError> {
        if depth > MAX_DEPTH {
            return Err(PolicyError::TooDeep { limit: MAX_DEPTH });
        }
        match self {
            Self::Term(_) => Ok(()),
            Self::Comparison(comparison) => comparison.check(),
            Self::And(children) | Self::Or(children) => {
                if children.is_empty() {
                    return Err(PolicyError::Gate { reason: "a gate without children" });
                }
                children.iter().try_for_each(|child| child.check(depth + 1))
            }
            Self::Threshold(k, children) => {
                if *k == 0 || *k > children.len() {
                    return Err(PolicyError::Gate { reason: "k-of-n needs k from 1 to n" });
                }
                children.iter().try_for_each(|child| child.check(depth + 1))
            }
        }
    }

    fn rows(&self) -> usize {
        match self {
            Self::Term(_) => 1,
            Self::Comparison(comparison) => comparison.expand().rows(),
            Self::And(children) | Self::Or(children) | Self::Threshold(_, children) => {
                children.iter().map(Self::rows).sum()
            }
        }
    }

    fn satisfied_by(&self, set: &AttributeSet) -> bool {
        match self {
            Self::Term(term) => set.contains(term),
            Self::Comparison(comparison) => comparison.expand().satisfied_by(set),
            Self::And(children) => children.iter().all(|child| child.satisfied_by(set)),
            Self::Or(children) => children.iter().any(|child| child.satisfied_by(set)),
            Self::Threshold(k, children) => {
                children.iter().filter(|child| child.satisfied_by(set)).count() >= *k
            }
        }
    }

    fn set_epoch(&mut self, epoch: &str) {
        let attribute = match self {
            Self::Term(term) => &mut term.attribute,
            Self::Comparison(comparison) => &mut comparison.attribute,
            Self::And(children) | Self::Or(children) | Self::Threshold(_, children) => {
                children.iter_mut().for_each(|child| child.set_epoch(epoch));
                return;
            }
        };
        if attribute.epoch.is_empty() {
            epoch.clone_into(&mut attribute.epoch);
        }
    }

    /// Without the branches that need an authority which gives nothing.
    fn restrict(&self, gives: &dyn Fn(&AuthorityName) -> bool) -> Option<Self> {
        let left = |children: &[Self]| -> Vec<Self> {
            children.iter().filter_map(|child| child.restrict(gives)).collect()
        };
        match self {
            Self::Term(Term { authority, .. }) | Self::Comparison(Comparison { authority, .. }) => {
                gives(authority).then(|| self.clone())
            }
            Self::And(children) => {
                Some(left(children)).filter(|left| left.len() == children.len()).map(Self::And)
            }
            Self::Or(children) => Some(left(children)).filter(|left| !left.is_empty()).map(Self::Or),
            Self::Threshold(k, children) => {
                Some(left(children)).filter(|left| left.len() >= *k).map(|left| Self::Threshold(*k, left))
            }
        }
    }

    fn authorities<'a>(&'a self, out: &mut Vec<&'a AuthorityName>) {
        match self {
            Self::Term(term) => out.push(&term.authority),
            Self::Comparison(comparison) => out.push(&comparison.authority),
            Self::And(children) | Self::Or(children) | Self::Threshold(_, children) => {
                children.iter().for_each(|child| child.authorities(out));
            }
        }
    }
}

/// A checked, canonical access policy.
///
/// Text form: `clinician@hospital-a OR (2 of (role=nurse@hospital-b, treating@hospital-a,
/// level[8]>=5@hospital-b) AND on-call@hospital-b#2026W47)`. AND binds tighter than OR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPolicy {
    root: Node,
}

impl AccessPolicy {
    /// Reads the text form.
    ///
    /// # Errors
    /// [`PolicyError::Syntax`] with the character at fault; the other variants for policies too
    /// large or with a meaningless gate.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Self::from_node(parse::policy(text)?)
    }

    /// The policy one attribute satisfies.
    #[must_use]
    pub fn term(term: Term) -> Self {
        Self { root: Node::Term(term) }
    }

    /// The policy that needs all of the given ones.
    ///
    /// # Errors
    /// [`PolicyError`] if there are none, or they grow too large.
    pub fn all_of(policies: Vec<Self>) -> Result<Self, PolicyError> {
        Self::from_node(Node::And(roots(policies)))
    }

    /// The policy that needs any of the given ones.
    ///
    /// # Errors
    /// [`PolicyError`] if there are none, or they grow too large.
    pub fn any_of(policies: Vec<Self>) -> Result<Self, PolicyError> {
        Self::from_node(Node::Or(roots(policies)))
    }

    /// The policy that needs at least `k` of the given ones.
    ///
    /// # Errors
    /// [`PolicyError`] if `k` is not 1 to their number, or they grow too large.
    pub fn at_least(k: usize, policies: Vec<Self>) -> Result<Self, PolicyError> {
        Self::from_node(Node::Threshold(k, roots(policies)))
    }

    pub(crate) fn from_node(node: Node) -> Result<Self, PolicyError> {
        // Limits first: normalising only ever shrinks the tree, except that depth is counted after.
        fn shape(node: &Node) -> Result<(), PolicyError> {
            match node {
                Node::Threshold(k, children) if *k == 0 || *k > children.len() => {
                    Err(PolicyError::Gate { reason: "k-of-n needs k from 1 to n" })
                }
                Node::And(children) | Node::Or(children) | Node::Threshold(_, children) => {
                    children.iter().try_for_each(shape)
                }
                Node::Term(_) | Node::Comparison(_) => Ok(()),
            }
        }
        shape(&node)?;
        let root = node.normalise();
        root.check(1)?;
        if root.rows() > MAX_ROWS {
            return Err(PolicyError::TooManyRows { limit: MAX_ROWS });
        }
        Ok(Self { root })
    }

    /// The same policy where every attribute without an epoch has the given one.
    ///
    /// # Errors
    /// [`PolicyError::Gate`] if `epoch` is no epoch label.
    pub fn with_epoch(&self, epoch: &str) -> Result<Self, PolicyError> {
        if Attribute::new("a", "", epoch, 0).is_err() {
            return Err(PolicyError::Gate { reason: "an epoch has at most 32 ASCII letters, digits or `-`" });
        }
        let mut root = self.root.clone();
        root.set_epoch(epoch);
        Self::from_node(root)
    }

    /// What the policy comes to where some authorities give no attributes any more: branches that need one of theirs
    /// are gone. `None` where nobody could satisfy it.
    #[must_use]
    pub fn restricted_to(&self, gives: &dyn Fn(&AuthorityName) -> bool) -> Option<Self> {
        self.root.restrict(gives).and_then(|root| Self::from_node(root).ok())
    }

    /// Whether a holder of these attributes satisfies the policy.
    #[must_use]
    pub fn satisfied_by(&self, set: &AttributeSet) -> bool {
        self.root.satisfied_by(set)
    }

    /// The authorities named, sorted, each once.
    #[must_use]
    pub fn authorities(&self) -> Vec<&AuthorityName> {
        let mut out = Vec::new();
        self.root.authorities(&mut out);
        out.sort();
        out.dedup();
        out
    }

    /// The attributes of all rows, comparisons expanded to their bits, in row order.
    #[must_use]
    pub fn terms(&self) -> Vec<Term> {
        self.lsss().terms
    }

    pub(crate) fn lsss(&self) -> Lsss {
        Lsss::new(&self.root)
    }

    /// The canonical bytes: deterministic CBOR (RFC 8949 §4.2.1) of `[suite, node]`, with a node
    /// `[0, authority, name, value, epoch, version]` for an attribute,
    /// `[1, authority, name, width, comparator, bound, epoch, version]` for a comparison,
    /// `[2, children]` for AND, `[3, children]` for OR and `[4, k, children]` for k-of-n.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        cbor::array(&mut out, 2);
        cbor::unsigned(&mut out, u64::from(SUITE));
        encode(&self.root, &mut out);
        out
    }

    /// Reads canonical bytes; any other bytes of the same policy are refused.
    ///
    /// # Errors
    /// [`PolicyError::Encoding`] with the byte at fault, or as [`AccessPolicy::parse`].
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<Self, PolicyError> {
        let mut decoder = Decoder::new(bytes);
        if bytes.len() > MAX_CANONICAL {
            return Err(decoder.error("longer than a policy may be"));
        }
        if decoder.array(2)? != 2 {
            return Err(decoder.error("expected suite and policy"));
        }
        if decoder.unsigned()? != u64::from(SUITE) {
            return Err(decoder.error("unknown suite"));
        }
        let root = decode(&mut decoder, 1)?;
        decoder.end()?;
        let policy = Self::from_node(root.clone())?;
        if policy.root != root {
            return Err(PolicyError::Gate { reason: "not in canonical shape" });
        }
        Ok(policy)
    }
}

fn roots(policies: Vec<AccessPolicy>) -> Vec<Node> {
    policies.into_iter().map(|policy| policy.root).collect()
}

fn encode(node: &Node, out: &mut Vec<u8>) {
    match node {
        Node::Term(Term { authority, attribute }) => {
            cbor::array(out, 6);
            cbor::unsigned(out, 0);
            cbor::text(out, authority.as_str());
            cbor::text(out, &attribute.name);
            cbor::text(out, &attribute.value);
            cbor::text(out, &attribute.epoch);
            cbor::unsigned(out, attribute.version.into());
        }
        Node::Comparison(comparison) => {
            cbor::array(out, 8);
            cbor::unsigned(out, 1);
            cbor::text(out, comparison.authority.as_str());
            cbor::text(out, &comparison.attribute.name);
            cbor::unsigned(out, comparison.width.into());
            cbor::unsigned(out, comparison.comparator.code());
            cbor::unsigned(out, comparison.bound);
            cbor::text(out, &comparison.attribute.epoch);
            cbor::unsigned(out, comparison.attribute.version.into());
        }
        Node::And(children) => {
            cbor::array(out, 2);
            cbor::unsigned(out, 2);
            encode_all(children, out);
        }
        Node::Or(children) => {
            cbor::array(out, 2);
            cbor::unsigned(out, 3);
            encode_all(children, out);
        }
        Node::Threshold(k, children) => {
            cbor::array(out, 3);
            cbor::unsigned(out, 4);
            cbor::unsigned(out, *k as u64);
            encode_all(children, out);
        }
    }
}

fn encode_all(children: &[Node], out: &mut Vec<u8>) {
    cbor::array(out, children.len());
    children.iter().for_each(|child| encode(child, out));
}

fn decode(decoder: &mut Decoder<'_>, depth: usize) -> Result<Node, PolicyError> {
    if depth > MAX_DEPTH {
        return Err(PolicyError::TooDeep { limit: MAX_DEPTH });
    }
    let items = decoder.array(8)?;
    match (decoder.unsigned()?, items) {
        (0, 6) => {
            let authority = decode_authority(decoder)?;
            let (name, value) = (decoder.text()?, decoder.text()?);
            let attribute = decode_attribute(decoder, name, value)?;
            Ok(Node::Term(Term { authority, attribute }))
        }
        (1, 8) => {
            let authority = decode_authority(decoder)?;
            let name = decoder.text()?;
            let width = u8::try_from(decoder.unsigned()?)
                .map_err(|_| decoder.error("the width of an integer is 1 to 64 bits"))?;
            let comparator = Comparator::from_code(decoder.unsigned()?)
                .ok_or_else(|| decoder.error("unknown comparison"))?;
            let bound = decoder.unsigned()?;
            let attribute = decode_attribute(decoder, name, "")?;
            Ok(Node::Comparison(Comparison { authority, attribute, width, comparator, bound }))
        }
        (2, 2) => Ok(Node::And(decode_all(decoder, depth)?)),
        (3, 2) => Ok(Node::Or(decode_all(decoder, depth)?)),
        (4, 3) => {
            let k = usize::try_from(decoder.unsigned()?)
                .map_err(|_| decoder.error("k-of-n needs k from 1 to n"))?;
            Ok(Node::Threshold(k, decode_all(decoder, depth)?))
        }
        _ => Err(decoder.error("unknown node")),
    }
}

fn decode_authority(decoder: &mut Decoder<'_>) -> Result<AuthorityName, PolicyError> {
    AuthorityName::new(decoder.text()?).map_err(|_| decoder.error("invalid authority name"))
}

fn decode_attribute(decoder: &mut Decoder<'_>, name: &str, value: &str) -> Result<Attribute, PolicyError> {
    let epoch = decoder.text()?;
    let version = decoder.unsigned()?;
    let version = u32::try_from(version)
        .ok()
        .filter(|version| *version <= MAX_VERSION)
        .ok_or_else(|| decoder.error("attribute version too large"))?;
    Attribute::new(name, value, epoch, version).map_err(|_| decoder.error("invalid attribute"))
}

fn decode_all(decoder: &mut Decoder<'_>, depth: usize) -> Result<Vec<Node>, PolicyError> {
    let length = decoder.array(MAX_ROWS)?;
    (0..length).map(|_| decode(decoder, depth + 1)).collect()
}

impl fmt::Display for AccessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_node(f, &self.root)
    }
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    match node {
        Node::Term(term) => write!(f, "{term}"),
        Node::Comparison(comparison) => {
            let sign = match comparison.comparator {
                Comparator::AtLeast => ">=",
                Comparator::AtMost => "<=",
                Comparator::Equal => "=",
            };
            let Comparison { authority, attribute, width, bound, .. } = comparison;
            write!(f, "{}[{width}]{sign}{bound}@{authority}", attribute.name)?;
            write_epoch(f, &attribute.epoch, attribute.version)
        }
        Node::And(children) => {
            for (index, child) in children.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { " AND " })?;
                if matches!(child, Node::Or(_)) {
                    f.write_str("(")?;
                    write_node(f, child)?;
                    f.write_str(")")?;
                } else {
                    write_node(f, child)?;
                }
            }
            Ok(())
        }
        Node::Or(children) => write_list(f, children, " OR "),
        Node::Threshold(k, children) => {
            write!(f, "{k} of (")?;
            write_list(f, children, ", ")?;
            f.write_str(")")
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, children: &[Node], between: &str) -> fmt::Result {
    for (index, child) in children.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { between })?;
        write_node(f, child)?;
    }
    Ok(())
}
