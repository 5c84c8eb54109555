//! Which secrets lie in the span of what an attacker sees.
//!
//! All group elements are written as polynomials in the unknown exponents, as in the attacks of
//! Venema and Alpár ("A Bunch of Broken Schemes", CT-RSA 2021). An attacker pairs any element of G1
//! with any of G2 and takes linear combinations in GT. If the exponent s of a header is not among
//! these combinations, no attack of this kind opens it. Corrupted authorities' α and y are numbers,
//! not unknowns.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::AccessPolicy;
use crate::attribute::Term;

/// An unknown exponent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Unknown {
    S,
    /// Column entry of the sharing of s, or of zero.
    SecretColumn(usize),
    ZeroColumn(usize),
    /// t of a row.
    Row(usize),
    Alpha(String),
    Y(String),
    /// Discrete logarithms of H(identity) and F(attribute).
    Identity(&'static str),
    Attribute(Term),
    /// t of a key.
    Key(&'static str, Term),
}

/// A polynomial: from products of unknowns, sorted, to coefficients.
#[derive(Default)]
struct Polynomial(BTreeMap<Vec<Unknown>, Scalar>);

impl Polynomial {
    fn number(value: u64) -> Self {
        Self(BTreeMap::from([(Vec::new(), Scalar::from_u64(value))]))
    }

    fn unknown(unknown: Unknown) -> Self {
        Self(BTreeMap::from([(vec![unknown], Scalar::from_u64(1))]))
    }

    fn plus(mut self, other: &Self, times: &Scalar) -> Self {
        for (monomial, coefficient) in &other.0 {
            let term = coefficient.mul(times);
            let sum = match self.0.remove(monomial) {
                Some(own) => own.add(&term),
                None => term,
            };
            if !sum.public_eq(&Scalar::zero()) {
                self.0.insert(monomial.clone(), sum);
            }
        }
        self
    }

    fn add(self, other: &Self) -> Self {
        self.plus(other, &Scalar::from_u64(1))
    }

    fn times(&self, other: &Self) -> Self {
        let mut out = Self::default();
        for (left, a) in &self.0 {
            for (right, b) in &other.0 {
                let mut monomial = [left.as_slice(), right.as_slice()].concat();
                monomial.sort();
                out = out.plus(&Self(BTreeMap::from([(monomial, a.mul(b))])), &Scalar::from_u64(1));
            }
        }
        out
    }
}

/// A linear space in echelon form, by largest monomial.
#[derive(Default)]
struct Space(BTreeMap<Vec<Unknown>, Polynomial>);

impl Space {
    fn reduce(&self, mut polynomial: Polynomial) -> Polynomial {
        let mut rest = Polynomial::default();
        while let Some((monomial, coefficient)) = polynomial.0.pop_last() {
            match self.0.get(&monomial) {
                Some(pivot) => {
                    polynomial.0.insert(monomial, coefficient.duplicate());
                    polynomial = polynomial.plus(pivot, &coefficient.neg());
                }
                None => {
                    rest.0.insert(monomial, coefficient);
                }
            }
        }
        rest
    }

    fn insert(&mut self, polynomial: Polynomial) {
        let reduced = self.reduce(polynomial);
        if let Some((monomial, coefficient)) = reduced.0.last_key_value() {
            let scale = coefficient.invert();
            let monomial = monomial.clone();
            self.0.insert(monomial, Polynomial::default().plus(&reduced, &scale));
        }
    }
}

/// What an attacker holds besides the header and the public keys.
#[derive(Default)]
struct Attacker<'a> {
    /// Attribute keys: identity and attribute, of honest authorities.
    keys: &'a [(&'static str, &'a str)],
    /// Authorities whose α and y the attacker knows.
    corrupted: &'a [&'a str],
    /// Whether g2^α of honest authorities is public, which must be fatal.
    alpha_in_g2: bool,
}

fn term(text: &str) -> Term {
    AccessPolicy::parse(text).unwrap().terms().remove(0)
}

/// A share of each row as a polynomial: the sharing is linear, so columns are read off by units.
fn shares(lsss: &Lsss, first: &Polynomial, column: fn(usize) -> Unknown) -> Vec<Polynomial> {
    let mut columns = 0;
    let base = lsss.shares(&Scalar::from_u64(1), &mut || {
        columns += 1;
        Scalar::zero()
    });
    let mut out: Vec<_> = base.iter().map(|m| Polynomial::default().plus(first, m)).collect();
    for unit in 0..columns {
        let mut index = 0;
        let entries = lsss.shares(&Scalar::zero(), &mut || {
            index += 1;
            Scalar::from_u64(u64::from(index == unit + 1))
        });
        for (share, entry) in out.iter_mut().zip(&entries) {
            let own = std::mem::take(share);
            *share = own.plus(&Polynomial::unknown(column(unit)), entry);
        }
    }
    out
}

/// Whether s is a combination of what the attacker can compute.
fn opens(policy: &str, attacker: &Attacker<'_>) -> bool {
    let lsss = AccessPolicy::parse(policy).unwrap().lsss();
    let is_corrupted = |name: &str| attacker.corrupted.contains(&name);
    let alpha = |name: &str| match is_corrupted(name) {
        true => Polynomial::number(1_000_003),
        false => Polynomial::unknown(Unknown::Alpha(name.to_owned())),
    };
    let y = |name: &str| match is_corrupted(name) {
        true => Polynomial::number(2_000_003),
        false => Polynomial::unknown(Unknown::Y(name.to_owned())),
    };
    let f = |term: &Term| Polynomial::unknown(Unknown::Attribute(term.clone()));
    let one = || Polynomial::number(1);
    let (mut in_g1, mut in_g2, mut in_gt) = (vec![one()], vec![one()], vec![]);

    let lambdas = shares(&lsss, &Polynomial::unknown(Unknown::S), Unknown::SecretColumn);
    let omegas = shares(&lsss, &Polynomial::default(), Unknown::ZeroColumn);
    let mut authorities = BTreeSet::new();
    let mut attributes: BTreeSet<Term> = BTreeSet::new();
    for (index, ((row, lambda), omega)) in lsss.terms.iter().zip(lambdas).zip(&omegas).enumerate() {
        let name = row.authority.as_str();
        let t = Polynomial::unknown(Unknown::Row(index));
        in_gt.push(alpha(name).times(&t).add(&lambda));
        in_g1.push(y(name).times(&t).add(omega));
        in_g2.push(f(row).times(&t));
        in_g1.push(t);
        authorities.insert(name);
        attributes.insert(row.clone());
    }
    let mut identities = BTreeSet::new();
    for (identity, attribute) in attacker.keys {
        let attribute = term(attribute);
        let name = attribute.authority.as_str();
        let h = Polynomial::unknown(Unknown::Identity(identity));
        let t = Polynomial::unknown(Unknown::Key(identity, attribute.clone()));
        in_g2.push(alpha(name).add(&h.times(&y(name))).add(&f(&attribute).times(&t)));
        in_g1.push(t);
        identities.insert(*identity);
        attributes.insert(attribute);
    }
    for name in authorities {
        in_g1.push(y(name));
        in_gt.push(alpha(name));
        if attacker.alpha_in_g2 {
            in_g2.push(alpha(name));
        }
    }
    in_g2.extend(identities.into_iter().map(|identity| Polynomial::unknown(Unknown::Identity(identity))));
    in_g2.extend(attributes.iter().map(f));

    let mut space = Space::default();
    in_gt.into_iter().for_each(|polynomial| space.insert(polynomial));
    for left in &in_g1 {
        for right in &in_g2 {
            space.insert(left.times(right));
        }
    }
    space.reduce(Polynomial::unknown(Unknown::S)).0.is_empty()
}

#[test]
fn satisfying_keys_of_one_identity_span_the_secret() {
    for (policy, keys) in [
        ("a@x", &[("alice", "a@x")][..]),
        ("a@x AND b@y", &[("alice", "a@x"), ("alice", "b@y")]),
        ("a@x OR b@y", &[("alice", "b@y")]),
        ("2 of (a@x, b@y, c@z)", &[("alice", "c@z"), ("alice", "b@y")]),
        ("a@x AND a@x", &[("alice", "a@x")]),
    ] {
        assert!(opens(policy, &Attacker { keys, ..Attacker::default() }), "{policy}");
    }
}

#[test]
fn too_few_keys_do_not_span_the_secret() {
    for (policy, keys) in [
        ("a@x", &[][..]),
        ("a@x", &[("alice", "b@x")]),
        ("a@x", &[("alice", "a@y")]),
        ("a@x AND b@y", &[("alice", "a@x")]),
        ("a@x AND b@x", &[("alice", "a@x"), ("alice", "c@x")]),
        ("2 of (a@x, b@y, c@z)", &[("alice", "c@z")]),
        ("a@x AND a@x AND b@y", &[("alice", "a@x")]),
    ] {
        assert!(!opens(policy, &Attacker { keys, ..Attacker::default() }), "{policy}");
    }
}

#[test]
fn colluding_identities_do_not_span_the_secret() {
    for (policy, keys) in [
        ("a@x AND b@y", &[("alice", "a@x"), ("bob", "b@y")][..]),
        ("a@x AND b@x", &[("alice", "a@x"), ("bob", "b@x")]),
        ("2 of (a@x, b@y, c@z)", &[("alice", "a@x"), ("bob", "b@y"), ("carol", "c@z")]),
        ("a@x AND (b@y OR c@y)", &[("alice", "b@y"), ("alice", "c@y"), ("bob", "a@x"), ("carol", "b@y")]),
    ] {
        assert!(!opens(policy, &Attacker { keys, ..Attacker::default() }), "{policy}");
    }
}

#[test]
fn corrupted_authorities_open_what_needs_no_honest_one_only() {
    let corrupted = &["evil"][..];
    let with = |keys| Attacker { keys, corrupted, alpha_in_g2: false };
    assert!(opens("a@evil", &with(&[])));
    assert!(opens("a@evil OR b@x", &with(&[])));
    assert!(opens("a@evil AND b@x", &with(&[("alice", "b@x")])));
    assert!(!opens("a@evil AND b@x", &with(&[])));
    assert!(!opens("a@evil AND b@x AND c@y", &with(&[("alice", "b@x"), ("bob", "c@y")])));
    assert!(!opens("2 of (a@evil, b@x, c@y)", &with(&[])));
    // The authority and a user collude (arXiv 2002.07811).
    assert!(!opens("a@evil AND b@x", &with(&[("alice", "c@x"), ("bob", "a@x")])));
}

#[test]
fn publishing_alpha_in_g2_would_open_everything() {
    // The check sees a break where there is one.
    let attacker = Attacker { alpha_in_g2: true, ..Attacker::default() };
    assert!(opens("a@x AND b@y", &attacker));
}
