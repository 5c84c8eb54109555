use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::curve::multi_pairing;
use crate::guardians::issue::{KeyPart, combine, issue_parts};
use crate::guardians::repair::Repair;
use crate::{AccessPolicy, Attribute, Gid, KemContext, PublicKeys, authority, kem};

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn ceremony() -> (Group, Vec<Share>, AuthoritySecretKey) {
    let rng = &mut rng(1);
    let (public, secret) = authority::setup(rng, "channel-1", "hospital-a").unwrap();
    let (group, shares) = Group::deal(&secret, &public, (3, 5), rng).unwrap();
    (group, shares, secret)
}

fn pick(shares: &[Share], guardians: &[u8]) -> Vec<Share> {
    let found = |guardian: &u8| shares.iter().find(|share| share.guardian == *guardian).unwrap();
    guardians.iter().map(|guardian| Share::from_bytes(&found(guardian).to_bytes()).unwrap()).collect()
}

fn every(size: usize) -> Vec<Vec<u8>> {
    let bits = |set: u8| (1..=5).filter(|g| (set >> (g - 1)) & 1 == 1).collect::<Vec<u8>>();
    (0..32).map(bits).filter(|set| set.len() == size).collect()
}

#[test]
fn any_three_of_five_recover_the_key_and_fewer_are_refused() {
    let (group, shares, secret) = ceremony();
    for share in &shares {
        group.verify(share).unwrap();
    }
    for set in every(3).iter().chain(&every(5)) {
        let recovered = group.recover(&pick(&shares, set)).unwrap();
        assert_eq!(recovered.secret.to_bytes(), secret.to_bytes(), "{set:?}");
        assert!(recovered.misbehaved.is_empty());
    }
    for set in every(2) {
        let refused = group.recover(&pick(&shares, &set));
        assert!(matches!(refused, Err(AbeError::TooFewGuardians { needed: 3, valid: 2, .. })));
    }
    // The same share three times is one share.
    assert!(group.recover(&pick(&shares, &[2, 2, 2])).is_err());
}

/// The polynomial through given points, at `at`.
fn through(points: &[(u8, &Scalar)], at: u8) -> Scalar {
    let set: Vec<u8> = points.iter().map(|(point, _)| *point).collect();
    points.iter().fold(Scalar::zero(), |sum, (point, value)| sum.add(&value.mul(&lagrange(*point, &set, at))))
}

#[test]
fn two_shares_are_consistent_with_every_secret() {
    let (_, shares, _) = ceremony();
    for set in every(2) {
        let held = pick(&shares, &set);
        for guess in [0, 1, 2, u64::MAX] {
            let guess = Scalar::from_u64(guess);
            // The one polynomial of degree 2 with this secret and these two shares, ...
            let points = [(0, &guess), (set[0], &held[0].pair.alpha), (set[1], &held[1].pair.alpha)];
            let third = every(1).concat().into_iter().find(|g| !set.contains(g)).unwrap();
            let value = through(&points, third);
            // ... completed by a third share, gives back that secret: the two tell nothing of it.
            let all = [points[1], points[2], (third, &value)];
            assert_eq!(through(&all, 0).to_bytes(), guess.to_bytes());
            let other = through(&[(0, &Scalar::from_u64(7)), points[1], points[2]], third);
            assert_eq!(
                other.to_bytes() == value.to_bytes(),
                guess.to_bytes() == Scalar::from_u64(7).to_bytes()
            );
        }
    }
}

#[test]
fn commitments_are_a_function_of_the_public_key_and_two_shares() {
    // So two guardians see nothing that two random numbers and the public key would not show them.
    let (group, shares, _) = ceremony();
    let base = base(&group.public);
    for set in every(2) {
        let held = pick(&shares, &set);
        let points = [0, set[0], set[1]];
        let known = [base.clone(), held[0].pair.commit(), held[1].pair.commit()];
        for guardian in 1..=5 {
            let weighted = points.iter().zip(&known).map(|(p, c)| c.pow(&lagrange(*p, &points, guardian)));
            let value = weighted.reduce(|sum, next| sum.mul(&next)).unwrap();
            assert!(value.public_eq(&group.commitment(guardian)), "{set:?} {guardian}");
        }
    }
}

#[test]
fn nothing_public_holds_alpha_in_g1_or_g2() {
    // Every G1 point of the group, paired with g2, and g1 paired with whatever a thief could put in G2, must not give a
    // commitment to α: else e(C2, g2^α) opens every row.
    let (group, shares, _) = ceremony();
    let (deal, _) = refresh::deal(&group, 1, &mut rng(2)).unwrap();
    let repair = Repair::new(&group, 4, &[1, 2, 3]).unwrap();
    let (repair_deal, _) = repair.deal(&group, &shares[0], &mut rng(3)).unwrap();
    let targets: Vec<Gt> = (0..=5).map(|guardian| group.commitment(guardian).a).collect();
    let generator = crate::curve::G2::generator();
    let mut windows = 0;
    for bytes in [group.to_bytes(), deal.to_bytes(), repair_deal.to_bytes()] {
        for start in 0..bytes.len() - 47 {
            let window = bytes[start..start + 48].first_chunk::<48>().unwrap();
            // The compression flag first: few windows are points.
            let Some(point) = (window[0] & 0xc0 == 0x80).then(|| G1::from_bytes(window)).flatten() else {
                continue;
            };
            windows += 1;
            let paired = multi_pairing(&[(&point, &generator)]);
            assert!(targets.iter().all(|target| !paired.public_eq(target)));
        }
    }
    assert!(windows >= 1 + 2 + 2 + 3, "{windows}");
}

#[test]
fn a_wrong_share_is_named_and_does_not_stop_three_good_ones() {
    let (group, shares, secret) = ceremony();
    let mut handed = pick(&shares, &[1, 2, 3, 4]);
    handed[1].pair.y = handed[1].pair.y.add(&Scalar::from_u64(1));
    let recovered = group.recover(&handed).unwrap();
    assert_eq!(recovered.misbehaved, [2]);
    assert_eq!(recovered.secret.to_bytes(), secret.to_bytes());
    handed.pop();
    let refused = group.recover(&handed).err().unwrap();
    let expected = AbeError::TooFewGuardians { needed: 3, valid: 2, misbehaved: vec![2] };
    assert_eq!(refused, expected);
    assert!(matches!(group.verify(&handed[1]), Err(AbeError::Guardian { guardian: 2, .. })));

    let (other, _, _) = {
        let (public, secret) = authority::setup(&mut rng(9), "channel-1", "hospital-b").unwrap();
        let (group, shares) = Group::deal(&secret, &public, (3, 5), &mut rng(9)).unwrap();
        (group, shares, secret)
    };
    assert!(other.verify(&shares[0]).is_err());
}

#[test]
fn three_guardians_issue_a_key_that_opens_and_two_do_not() {
    let (group, shares, secret) = ceremony();
    let gid = Gid::new("did:key:z6MkAlice").unwrap();
    let attributes = ["clinician#2026W47", "role=nurse"].map(|text| Attribute::parse(text).unwrap());
    let mut by_attribute: Vec<Vec<KeyPart>> = vec![Vec::new(), Vec::new()];
    for share in &shares {
        let parts = issue_parts(&group, share, &gid, &attributes, &mut rng(share.guardian)).unwrap();
        for (list, part) in by_attribute.iter_mut().zip(parts) {
            list.push(KeyPart::from_bytes(&part.to_bytes()).unwrap());
        }
    }
    let parts = &by_attribute[0];
    let combined = combine(&group, &gid, &attributes[0], &parts[1..4]).unwrap();
    assert!(combined.misbehaved.is_empty());
    combined.key.verify(group.public_key()).unwrap();
    let two = combine(&group, &gid, &attributes[0], &parts[..2]);
    assert!(matches!(two, Err(AbeError::TooFewGuardians { needed: 3, valid: 2, .. })));

    // With a guardian's part replaced by one of another attribute: named, and the rest does.
    let mut mixed = vec![by_attribute[1].remove(0)];
    mixed.extend(by_attribute[0].drain(1..));
    let combined = combine(&group, &gid, &attributes[0], &mixed).unwrap();
    assert_eq!(combined.misbehaved, [1]);

    let public: PublicKeys = [group.public_key().clone()].into_iter().collect();
    let context = KemContext::new("channel-1", "patient-1/normal", 1).unwrap();
    let policy = AccessPolicy::parse("clinician@hospital-a#2026W47").unwrap();
    let (header, expected) = kem::encapsulate(&policy, &public, &context, &mut rng(7)).unwrap();
    let open = |key| kem::decapsulate(&header, &context, &public, &gid, &[key], &[0; 32]).unwrap();
    assert!(open(combined.key).ct_eq(&expected));
    assert!(open(authority::issue(&secret, &gid, &attributes[0], &mut rng(8))).ct_eq(&expected));
    // Two parts with the weights of two: a key that opens nothing.
    let halves: Vec<_> = mixed[1..3].iter().map(|p| (lagrange(p.guardian(), &[2, 3], 0), p)).collect();
    assert!(!open(combine_unchecked(&gid, &attributes[0], &group, &halves)).ct_eq(&expected));
}

fn combine_unchecked(
    gid: &Gid,
    attribute: &Attribute,
    group: &Group,
    parts: &[(Scalar, &KeyPart)],
) -> crate::AttributeKey {
    let keys: Vec<_> =
        parts.iter().map(|(weight, part)| (weight.duplicate(), part.attribute_key())).collect();
    crate::AttributeKey::combine("channel-1", gid, attribute.at(group.public_key().authority()), &keys)
}

fn refresh_by(group: &Group, shares: &[Share], dealers: &[u8]) -> (Group, Vec<Share>) {
    let (mut deals, mut parts) = (Vec::new(), Vec::new());
    for dealer in dealers {
        let (deal, own) = refresh::deal(group, *dealer, &mut rng(40 + dealer)).unwrap();
        deals.push(refresh::Deal::from_bytes(group, &deal.to_bytes()).unwrap());
        parts.extend(own.iter().map(|part| refresh::Part::from_bytes(&part.to_bytes()).unwrap()));
    }
    let next = refresh::apply(group, &deals).unwrap();
    let shares =
        shares.iter().map(|share| refresh::refreshed(group, share, &deals, &parts).unwrap()).collect();
    (next, shares)
}

#[test]
fn refreshed_shares_hold_the_same_key_and_do_not_mix_with_old_ones() {
    let (group, old, secret) = ceremony();
    let (next, new) = refresh_by(&group, &old, &[1, 3, 5]);
    assert_eq!((next.generation(), next.public_key()), (1, group.public_key()));
    for share in &new {
        next.verify(share).unwrap();
        assert!(group.verify(share).is_err());
    }
    for set in every(3) {
        assert_eq!(next.recover(&pick(&new, &set)).unwrap().secret.to_bytes(), secret.to_bytes());
    }
    // Two old shares and a new one: refused, and worth nothing to who does not ask.
    let mixed = [pick(&old, &[1, 2]), pick(&new, &[3])].concat_shares();
    assert!(next.recover(&mixed).is_err());
    let points: Vec<_> = mixed.iter().map(|share| (share.guardian, &share.pair.alpha)).collect();
    assert_ne!(through(&points, 0).to_bytes(), secret.duplicate_scalars().0.to_bytes());
    let again = Group::from_bytes(&next.to_bytes()).unwrap();
    assert_eq!(again.digest(), next.digest());
}

trait Concat {
    fn concat_shares(self) -> Vec<Share>;
}

impl<const N: usize> Concat for [Vec<Share>; N] {
    fn concat_shares(self) -> Vec<Share> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn a_bad_refresh_dealer_is_named_before_anything_changes() {
    let (group, shares, _) = ceremony();
    let (mut deals, mut parts) = (Vec::new(), Vec::new());
    for dealer in [1, 2, 4] {
        let (deal, own) = refresh::deal(&group, dealer, &mut rng(dealer)).unwrap();
        deals.push(deal);
        parts.extend(own);
    }
    assert!(matches!(refresh::apply(&group, &deals[..2]), Err(AbeError::TooFewGuardians { .. })));
    let twice = [deals.clone(), deals[..1].to_vec()].concat();
    assert!(matches!(refresh::apply(&group, &twice), Err(AbeError::Guardian { guardian: 1, .. })));
    // Guardian 2 sends guardian 5 the part of guardian 4.
    let wrong = parts.iter().position(|part| part.dealer() == 2 && part.guardian() == 5).unwrap();
    let mut bytes = parts[wrong - 1].to_bytes();
    bytes[35] = 5;
    parts[wrong] = refresh::Part::from_bytes(&bytes).unwrap();
    let refused = refresh::refreshed(&group, &shares[4], &deals, &parts).err().unwrap();
    assert!(matches!(refused, AbeError::Guardian { guardian: 2, .. }), "{refused}");
    // One who moves the secret instead of sharing zero fails the check of every guardian.
    let (public, secret) = authority::setup(&mut rng(5), "channel-1", "hospital-a").unwrap();
    let (other, stray) = Group::deal(&secret, &public, (3, 5), &mut rng(5)).unwrap();
    let mut deal = deals[0].to_bytes();
    let from = other.to_bytes();
    deal[36..].copy_from_slice(&from[from.len() - 2 * 624..]);
    let deal = refresh::Deal::from_bytes(&group, &deal).unwrap();
    let mut part = parts[0].to_bytes();
    part[36..].copy_from_slice(&stray[0].to_bytes()[43..]);
    let part = refresh::Part::from_bytes(&part).unwrap();
    assert!(matches!(refresh::verify(&group, &deal, &part), Err(AbeError::Guardian { guardian: 1, .. })));
    assert!(refresh::refreshed(&group, &shares[0], &deals, &parts).is_ok());
}

#[test]
fn three_helpers_restore_a_lost_share() {
    let (group, shares, _) = ceremony();
    let repair = Repair::new(&group, 2, &[5, 1, 3]).unwrap();
    let repair = Repair::from_bytes(&group, &repair.to_bytes()).unwrap();
    assert_eq!(repair.helpers(), [1, 3, 5]);
    let (mut deals, mut parts) = (Vec::new(), Vec::new());
    for helper in [1u8, 3, 5] {
        let share = &pick(&shares, &[helper])[0];
        let (deal, own) = repair.deal(&group, share, &mut rng(helper)).unwrap();
        deals.push(repair::Deal::from_bytes(&group, &deal.to_bytes()).unwrap());
        parts.extend(own.iter().map(|part| repair::Part::from_bytes(&part.to_bytes()).unwrap()));
    }
    let sum = |helper: u8, parts: &[repair::Part]| repair.sum(&group, helper, &deals, parts);
    let mut sums: Vec<_> = [1, 3, 5].map(|helper| sum(helper, &parts).unwrap()).into();
    let restored = repair.restore(&group, &deals, &sums).unwrap();
    assert_eq!(restored.to_bytes(), shares[1].to_bytes());

    // A wrong part names its sender, a wrong sum its helper, a wrong deal its dealer.
    let mut wrong = parts[1].to_bytes();
    wrong[99] ^= 1;
    let good = std::mem::replace(&mut parts[1], repair::Part::from_bytes(&wrong).unwrap());
    assert!(matches!(sum(3, &parts), Err(AbeError::Guardian { guardian: 1, .. })));
    parts[1] = good;
    let mut wrong = sums[2].to_bytes();
    wrong[98] ^= 1;
    sums[2] = repair::Sum::from_bytes(&wrong).unwrap();
    let refused = repair.restore(&group, &deals, &sums).err().unwrap();
    assert!(matches!(refused, AbeError::Guardian { guardian: 5, .. }), "{refused}");
    deals.swap(0, 1);
    let mut moved = deals[0].to_bytes();
    moved[34] = 1;
    deals[1] = repair::Deal::from_bytes(&group, &moved).unwrap();
    assert!(matches!(repair.restore(&group, &deals, &sums), Err(AbeError::Guardian { guardian: 1, .. })));

    assert!(Repair::new(&group, 2, &[1, 2, 3]).is_err());
    assert!(Repair::new(&group, 2, &[1, 1, 3]).is_err());
    assert!(Repair::new(&group, 2, &[1, 3]).is_err());
    assert!(Repair::new(&group, 6, &[1, 3, 4]).is_err());
}

#[test]
fn sizes_and_encodings_outside_the_limits_are_refused() {
    let rng = &mut rng(1);
    let (public, secret) = authority::setup(rng, "channel-1", "hospital-a").unwrap();
    for size in [(1, 5), (6, 5), (0, 0), (2, MAX_GUARDIANS + 1)] {
        assert!(Group::deal(&secret, &public, size, rng).is_err(), "{size:?}");
    }
    let (other, _) = authority::setup(rng, "channel-1", "hospital-a").unwrap();
    assert!(Group::deal(&secret, &other, (2, 3), rng).is_err());
    let (group, shares) = Group::deal(&secret, &public, (2, 3), rng).unwrap();
    let (bytes, share) = (group.to_bytes(), shares[0].to_bytes());
    for cut in (0..bytes.len()).step_by(41) {
        assert!(Group::from_bytes(&bytes[..cut]).is_err());
    }
    for cut in 0..share.len() {
        assert!(Share::from_bytes(&share[..cut]).is_err());
    }
    assert_eq!(share.len(), 107);
    assert!(Group::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
}
