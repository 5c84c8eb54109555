//! When a validator that has lost its log may sign again.
//!
//! It may have signed, at heights that the others have not finished, something that it has forgotten; signing there
//! again could contradict it, and with f others that lie it could split the chain. So it follows in silence until
//! the chain is past everything that it can have signed.

use consilium_domain::OrgId;
use consilium_domain::block::ValidatorSet;
use std::collections::BTreeMap;

/// The first height at which `me` may sign, or `None` while too few members have answered.
///
/// `own` is the newest height on its own disk; `answers` are the newest certified heights of others, whose
/// certificates the caller has verified. More than two thirds of the power must have answered, `me` included.
///
/// Why this is enough while at most f members are faulty, `me` being one of them: if `me` has decided height D,
/// more than two thirds precommitted there, so among those who answered is an honest one that did, and which had
/// decided D − 1 before: the greatest answer N is at least D − 1. `me` signed at most at D + 1 ≤ N + 2, so it may
/// sign from N + 3 on. That nobody has decided anything (N = 0) does not mean that nothing was signed: an empty
/// disk is not a new node. A node that has truly never signed needs no answer; only whoever sets it up knows.
pub fn first_safe_height(
    set: &ValidatorSet,
    me: &OrgId,
    own: u64,
    answers: &BTreeMap<OrgId, u64>,
) -> Option<u64> {
    let answered = |org: &OrgId| org == me || answers.contains_key(org);
    let power = set
        .validators
        .iter()
        .filter(|v| answered(&v.organisation))
        .fold(0_u64, |sum, v| sum.saturating_add(v.power));
    let newest = answers.values().copied().max().unwrap_or(0).max(own);
    set.is_quorum(power).then(|| newest.saturating_add(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_domain::PublicKey;
    use consilium_domain::block::Validator;

    #[test]
    fn waits_for_a_quorum_and_skips_what_may_have_been_signed() {
        let org = |i: u8| OrgId::new(format!("org-{i}")).unwrap();
        let one = |i| Validator { organisation: org(i), key: PublicKey([i; 32]), power: 1 };
        let set = ValidatorSet { validators: (0..4).map(one).collect() };
        let after = |own, answers: &[(u8, u64)]| {
            let answers = answers.iter().map(|(i, h)| (org(*i), *h)).collect();
            first_safe_height(&set, &org(0), own, &answers)
        };
        assert_eq!(after(0, &[(1, 9)]), None);
        assert_eq!(after(0, &[(1, 9), (9, 9)]), None, "strangers do not count");
        assert_eq!(after(0, &[(1, 9), (2, 7)]), Some(12));
        assert_eq!(after(20, &[(1, 9), (2, 7)]), Some(23));
        assert_eq!(after(0, &[(1, 0), (2, 0)]), Some(3), "an empty disk is not a new node");
    }

    /// Every way in which more than two thirds can have committed to the newest height that `me` decided, and every
    /// way in which more than two thirds can answer, with all other faulty members lying as low as they can. `false`
    /// if `me` may then sign where it may have signed before.
    fn holds(n: u8, liars: u8) -> bool {
        let org = |i: u8| OrgId::new(format!("org-{i:02}")).unwrap();
        let one = |i| Validator { organisation: org(i), key: PublicKey([i; 32]), power: 1 };
        let set = ValidatorSet { validators: (0..n).map(one).collect() };
        let decided = 10;
        let quorum = u32::from(n) * 2 / 3 + 1;
        // Member 0 is `me`, members 1 to `liars` lie; the others only differ by whether they committed.
        let sides: Vec<u16> = (0..1_u16 << n).filter(|s| s & 1 == 1 && s.count_ones() == quorum).collect();
        sides.iter().all(|committed| {
            sides.iter().all(|answering| {
                let height = |i: u8| match committed >> i & 1 {
                    // To precommit at a height one must have finished the one before.
                    1 if i > liars => decided - 1,
                    _ => 0,
                };
                let others = (1..n).filter(|i| answering >> i & 1 == 1);
                let answers = others.map(|i| (org(i), height(i))).collect();
                first_safe_height(&set, &org(0), 0, &answers).is_some_and(|from| from > decided + 1)
            })
        })
    }

    #[test]
    fn with_f_faulty_itself_included_it_never_signs_what_it_may_have_signed() {
        for n in 4..=8 {
            let f = (n - 1) / 3;
            assert!(holds(n, f - 1), "n = {n}");
        }
    }

    /// The rule counts the forgetful member among the faulty: with f others that lie, it is not enough.
    #[test]
    fn with_f_faulty_beside_itself_it_may_contradict_itself() {
        assert!([4, 7].into_iter().all(|n| !holds(n, (n - 1) / 3)));
    }
}
