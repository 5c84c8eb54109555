//! Shares reconstruct for exactly the satisfying sets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::AccessPolicy;

fn shares_of(lsss: &Lsss, secret: u64, seed: u64) -> Vec<Scalar> {
    let mut counter = seed;
    lsss.shares(&Scalar::from_u64(secret), &mut || {
        counter = counter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Scalar::from_u64(counter)
    })
}

fn check(policy: &str, held: u32) {
    let policy = AccessPolicy::parse(policy).unwrap();
    let lsss = policy.lsss();
    let available: Vec<bool> = (0..lsss.terms.len()).map(|i| (held >> i) & 1 == 1).collect();
    let set: BTreeSet<Term> = lsss
        .terms
        .iter()
        .zip(&available)
        .filter(|(_, present)| **present)
        .map(|(term, _)| term.clone())
        .collect();
    let numbers = lsss.share_numbers();
    let shares = shares_of(&lsss, 77, 1);
    for (left, share) in numbers.iter().zip(&shares) {
        assert_eq!(*left == 0, share.public_eq(&Scalar::from_u64(77)), "{policy}");
        for (right, other) in numbers.iter().zip(&shares) {
            assert_eq!(left == right, share.public_eq(other), "{policy}");
        }
    }
    let cover = lsss.reconstruct(&available);
    assert_eq!(cover.is_some(), policy.satisfied_by(&set), "{policy} {held:b}");
    for (secret, seed) in [(77, 1), (0, 2)] {
        let shares = shares_of(&lsss, secret, seed);
        if let Some(cover) = &cover {
            let mut sum = Scalar::zero();
            for (row, coefficient) in cover {
                assert!(available[*row]);
                assert!(!coefficient.public_eq(&Scalar::zero()));
                sum = sum.add(&coefficient.mul(&shares[*row]));
            }
            assert!(sum.public_eq(&Scalar::from_u64(secret)));
        }
    }
}

#[test]
fn gates_reconstruct_for_all_subsets() {
    let policies = [
        "a@x",
        "a@x AND b@x AND c@y",
        "a@x OR b@x AND c@y",
        "(a@x OR b@x) AND (c@y OR d@y)",
        "2 of (a@x, b@x, c@y)",
        "3 of (a@x, b@x, c@y, d@y, e@z)",
        "2 of (a@x AND b@x, c@y OR d@y, 2 of (e@z, f@z, g@z))",
        "n[3]>=5@x OR a@x",
        "n[3]<=2@x AND n[3]>=1@x",
        "n[4]=9@x",
    ];
    for policy in policies {
        let rows = AccessPolicy::parse(policy).unwrap().terms().len();
        for held in 0..1u32 << rows {
            check(policy, held);
        }
    }
}

#[test]
fn and_uses_unit_coefficients_only() {
    let lsss = AccessPolicy::parse("a@x AND (b@x OR c@y) AND d@y").unwrap().lsss();
    let cover = lsss.reconstruct(&[true; 4]).unwrap();
    assert_eq!(cover.len(), 3);
    let one = Scalar::from_u64(1);
    assert!(cover.iter().all(|(_, coefficient)| coefficient.public_eq(&one)));
}

#[test]
fn the_fewest_rows_are_chosen() {
    let lsss = AccessPolicy::parse("a@x AND b@x OR c@y").unwrap().lsss();
    assert_eq!(lsss.reconstruct(&[true; 3]).unwrap().len(), 1);
    let threshold = AccessPolicy::parse("2 of (a@x AND b@x, c@y, d@y)").unwrap().lsss();
    assert_eq!(threshold.reconstruct(&[true; 4]).unwrap().len(), 2);
}

proptest! {
    #[test]
    fn comparisons_hold_for_exactly_the_numbers_in_range(
        width in 1u8..=64, number: u64, bound: u64, at_least: bool,
    ) {
        let most = u64::MAX >> (64 - u32::from(width));
        let (number, bound) = (number & most, bound & most);
        let sign = if at_least { ">=" } else { "<=" };
        let always = if at_least { bound == 0 } else { bound == most };
        let parsed = AccessPolicy::parse(&format!("n[{width}]{sign}{bound}@x"));
        prop_assert_eq!(parsed.is_err(), always);
        if let Ok(policy) = parsed {
            let authority = crate::AuthorityName::new("x").unwrap();
            let bits = crate::Attribute::integer("n", width, number, "", 0).unwrap();
            let set = bits.iter().map(|bit| bit.at(&authority)).collect();
            let expected = if at_least { number >= bound } else { number <= bound };
            prop_assert_eq!(policy.satisfied_by(&set), expected);
            let equal = AccessPolicy::parse(&format!("n[{width}]={bound}@x")).unwrap();
            prop_assert_eq!(equal.satisfied_by(&set), number == bound);
        }
    }
}
