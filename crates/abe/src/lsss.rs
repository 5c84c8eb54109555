//! Linear secret sharing along a policy.
//!
//! AND by the conversion of Lewko and Waters (EUROCRYPT 2011, appendix G): the shares of the
//! children add up to the share of the gate, so every reconstruction coefficient is 1. k-of-n by
//! inserting a Vandermonde matrix, that is, Shamir's scheme at the points 1 … n. The matrix is
//! never written out: shares are computed down the tree, which is the same linear map.

use crate::attribute::Term;
use crate::curve::Scalar;
use crate::policy::Node;

/// A policy as rows and the gates over them.
pub(crate) struct Lsss {
    /// ρ: the attribute of each row. An attribute may stand in several rows.
    pub(crate) terms: Vec<Term>,
    root: Gate,
}

enum Gate {
    Row(usize),
    All(Vec<Gate>),
    Any(Vec<Gate>),
    Threshold(usize, Vec<Gate>),
}

impl Lsss {
    /// Rows and gates of a checked policy; comparisons become gates over bits.
    pub(crate) fn new(root: &Node) -> Self {
        let mut terms = Vec::new();
        let root = gate(root, &mut terms);
        Self { terms, root }
    }

    /// The share of each row of `secret`. `coin` gives the random column entries, called in an
    /// order that depends on the policy alone.
    pub(crate) fn shares(&self, secret: &Scalar, coin: &mut dyn FnMut() -> Scalar) -> Vec<Scalar> {
        let mut out = Vec::with_capacity(self.terms.len());
        share(&self.root, secret, coin, &mut out);
        out
    }

    /// For each row which share it carries: 0 is the secret itself, and the rows under one OR carry the same share.
    pub(crate) fn share_numbers(&self) -> Vec<usize> {
        let mut out = Vec::with_capacity(self.terms.len());
        number(&self.root, 0, &mut 0, &mut out);
        out
    }

    /// Rows among the available ones and their coefficients ε with Σ ε·share = secret, the fewest
    /// rows possible; `None` if the available rows do not satisfy the policy. No ε is zero.
    pub(crate) fn reconstruct(&self, available: &[bool]) -> Option<Vec<(usize, Scalar)>> {
        cover(&self.root, available)
    }
}

fn gate(node: &Node, terms: &mut Vec<Term>) -> Gate {
    match node {
        Node::Term(term) => {
            terms.push(term.clone());
            Gate::Row(terms.len() - 1)
        }
        Node::Comparison(comparison) => gate(&comparison.expand(), terms),
        Node::And(children) => Gate::All(gates(children, terms)),
        Node::Or(children) => Gate::Any(gates(children, terms)),
        Node::Threshold(k, children) => Gate::Threshold(*k, gates(children, terms)),
    }
}

fn gates(children: &[Node], terms: &mut Vec<Term>) -> Vec<Gate> {
    children.iter().map(|child| gate(child, terms)).collect()
}

fn number(gate: &Gate, own: usize, last: &mut usize, out: &mut Vec<usize>) {
    match gate {
        Gate::Row(_) => out.push(own),
        Gate::Any(children) => children.iter().for_each(|child| number(child, own, last, out)),
        Gate::All(children) | Gate::Threshold(_, children) => {
            for child in children {
                *last += 1;
                number(child, *last, last, out);
            }
        }
    }
}

fn share(gate: &Gate, secret: &Scalar, coin: &mut dyn FnMut() -> Scalar, out: &mut Vec<Scalar>) {
    match gate {
        Gate::Row(_) => out.push(secret.duplicate()),
        Gate::Any(children) => {
            for child in children {
                share(child, secret, coin, out);
            }
        }
        Gate::All(children) => {
            // s + r1, r2 - r1, …, -r(n-1).
            let mut left = secret.duplicate();
            for (index, child) in children.iter().enumerate() {
                if index + 1 == children.len() {
                    share(child, &left, coin, out);
                } else {
                    let random = coin();
                    share(child, &left.add(&random), coin, out);
                    left = random.neg();
                }
            }
        }
        Gate::Threshold(k, children) => {
            let coefficients: Vec<Scalar> = (1..*k).map(|_| coin()).collect();
            for (point, child) in (1u64..).zip(children) {
                let point = Scalar::from_u64(point);
                let mut value = Scalar::zero();
                for coefficient in coefficients.iter().rev() {
                    value = value.add(coefficient).mul(&point);
                }
                share(child, &value.add(secret), coin, out);
            }
        }
    }
}

fn cover(gate: &Gate, available: &[bool]) -> Option<Vec<(usize, Scalar)>> {
    match gate {
        Gate::Row(row) => {
            let present = available.get(*row).copied().unwrap_or(false);
            present.then(|| vec![(*row, Scalar::from_u64(1))])
        }
        Gate::All(children) => {
            let mut rows = Vec::new();
            for child in children {
                rows.extend(cover(child, available)?);
            }
            Some(rows)
        }
        Gate::Any(children) => {
            children.iter().filter_map(|child| cover(child, available)).min_by_key(Vec::len)
        }
        Gate::Threshold(k, children) => {
            let mut found: Vec<(u64, Vec<(usize, Scalar)>)> = (1u64..)
                .zip(children)
                .filter_map(|(point, child)| Some((point, cover(child, available)?)))
                .collect();
            if found.len() < *k {
                return None;
            }
            found.sort_by_key(|(_, rows)| rows.len());
            found.truncate(*k);
            let points: Vec<u64> = found.iter().map(|(point, _)| *point).collect();
            let mut all = Vec::new();
            for (point, rows) in found {
                let weight = lagrange_at_zero(point, &points);
                all.extend(rows.into_iter().map(|(row, c)| (row, c.mul(&weight))));
            }
            Some(all)
        }
    }
}

/// Π j / (j - i) over the other points j.
fn lagrange_at_zero(point: u64, points: &[u64]) -> Scalar {
    let own = Scalar::from_u64(point);
    let mut above = Scalar::from_u64(1);
    let mut below = Scalar::from_u64(1);
    for other in points.iter().filter(|other| **other != point) {
        let other = Scalar::from_u64(*other);
        above = above.mul(&other);
        below = below.mul(&other.sub(&own));
    }
    above.mul(&below.invert())
}

#[cfg(test)]
#[path = "lsss_tests.rs"]
mod tests;
