//! New shares of the same key, so that what a thief collects slowly never comes to t.
//!
//! Proactive refresh (Herzberg, Jarecki, Krawczyk and Yung, CRYPTO 1995): dealers share zero, every guardian adds what it
//! is dealt to its share, and the commitments are multiplied. At least `threshold` guardians deal, so at least one of the
//! dealers is not among any smaller set of thieves. A refresh counts when every guardian erased its old share: until then
//! the old ones still open.

use std::collections::BTreeMap;

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::{Commitment, Group, MAX_ENCODED, Pair, Share, evaluate, evaluate_public, fault};
use crate::AbeError;
use crate::codec::{Reader, Writer};

const DEAL: &str = "refresh deal";
const PART: &str = "refresh part";

/// A dealer's commitments to a sharing of zero. Public: every guardian must use the same deals.
#[derive(Clone)]
pub struct Deal {
    group: [u8; 32],
    dealer: u8,
    /// Degree 1 … t-1; that of degree 0 is one.
    coefficients: Vec<Commitment>,
}

/// What a dealer sends to one guardian alone, over a private channel.
pub struct Part {
    group: [u8; 32],
    dealer: u8,
    guardian: u8,
    pair: Pair,
}

/// A sharing of zero by guardian `dealer`: the public deal, and a secret part for each guardian, the dealer included.
///
/// # Errors
/// [`AbeError::Guardian`] if there is no such guardian.
pub fn deal(group: &Group, dealer: u8, rng: &mut dyn CryptoRngCore) -> Result<(Deal, Vec<Part>), AbeError> {
    group.check_guardian(dealer)?;
    let mut polynomial = vec![Pair::zero()];
    polynomial.extend((1..group.threshold).map(|_| Pair::random(rng)));
    let coefficients = polynomial.iter().skip(1).map(Pair::commit).collect();
    let part =
        |guardian| Part { group: group.digest, dealer, guardian, pair: evaluate(&polynomial, guardian) };
    let parts = (1..=group.guardians).map(part).collect();
    Ok((Deal { group: group.digest, dealer, coefficients }, parts))
}

/// Checks one part on arrival, so that a bad dealer is named before anything is changed.
///
/// # Errors
/// [`AbeError::Guardian`] naming the dealer.
pub fn verify(group: &Group, deal: &Deal, part: &Part) -> Result<(), AbeError> {
    group.check_digest(deal.dealer, &deal.group)?;
    group.check_digest(part.dealer, &part.group)?;
    group.check_guardian(part.guardian)?;
    let expected =
        evaluate_public(std::iter::once(&Commitment::one()).chain(&deal.coefficients), part.guardian);
    if deal.dealer == part.dealer && part.pair.fits(&expected) {
        Ok(())
    } else {
        Err(fault(deal.dealer, "its refresh part does not fit its commitments"))
    }
}

/// The group after a refresh by these deals, the same for everyone who uses the same deals in any order.
///
/// # Errors
/// [`AbeError::TooFewGuardians`] for fewer than `threshold` dealers; [`AbeError::Guardian`] naming a dealer of another
/// group or who dealt twice.
pub fn apply(group: &Group, deals: &[Deal]) -> Result<Group, AbeError> {
    let by_dealer = sorted(group, deals)?;
    let mut coefficients = group.coefficients.clone();
    for deal in by_dealer.values() {
        for (sum, add) in coefficients.iter_mut().zip(&deal.coefficients) {
            *sum = sum.mul(add);
        }
    }
    let generation = group.generation.saturating_add(1);
    Ok(Group::new(&group.public, (group.threshold, group.guardians), generation, coefficients))
}

/// A guardian's share after a refresh: `parts` are those dealt to it, one of each dealer. The caller erases the old share
/// once the new one is stored.
///
/// # Errors
/// As [`apply`]; [`AbeError::Guardian`] naming a dealer whose part is missing or does not fit.
pub fn refreshed(group: &Group, share: &Share, deals: &[Deal], parts: &[Part]) -> Result<Share, AbeError> {
    group.check_digest(share.guardian, &share.group)?;
    let mut pair = Pair::zero().add(&share.pair);
    for deal in sorted(group, deals)?.values() {
        let part = parts.iter().find(|part| part.dealer == deal.dealer && part.guardian == share.guardian);
        let part = part.ok_or_else(|| fault(deal.dealer, "its refresh part is missing"))?;
        verify(group, deal, part)?;
        pair = pair.add(&part.pair);
    }
    let share = apply(group, deals)?.share(share.guardian, pair);
    Ok(share)
}

fn sorted<'a>(group: &Group, deals: &'a [Deal]) -> Result<BTreeMap<u8, &'a Deal>, AbeError> {
    let mut out = BTreeMap::new();
    for deal in deals {
        group.check_digest(deal.dealer, &deal.group)?;
        if deal.coefficients.len() + 1 != usize::from(group.threshold) {
            return Err(fault(deal.dealer, "it dealt for another threshold"));
        }
        if out.insert(deal.dealer, deal).is_some() {
            return Err(fault(deal.dealer, "it dealt twice"));
        }
    }
    if out.len() < group.threshold.into() {
        return Err(AbeError::TooFewGuardians {
            needed: group.threshold,
            valid: out.len(),
            misbehaved: Vec::new(),
        });
    }
    Ok(out)
}

impl Deal {
    /// Who dealt.
    #[must_use]
    pub fn dealer(&self) -> u8 {
        self.dealer
    }

    /// Suite, digest of the group, dealer, commitments after their number.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let out = Writer::with_suite().fixed(&self.group).byte(self.dealer);
        Commitment::write_all(&self.coefficients, out).finish()
    }

    /// Decodes a deal for `group`.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(group: &Group, bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, DEAL, MAX_ENCODED)?;
        let (digest, dealer) = (*reader.array()?, reader.byte()?);
        let coefficients = Commitment::read_all(&mut reader, group.threshold - 1)?;
        reader.end()?;
        Ok(Self { group: digest, dealer, coefficients })
    }
}

impl Part {
    /// Who dealt.
    #[must_use]
    pub fn dealer(&self) -> u8 {
        self.dealer
    }

    /// Whom it is for.
    #[must_use]
    pub fn guardian(&self) -> u8 {
        self.guardian
    }

    /// Suite, digest of the group, dealer, guardian, two scalars: 100 bytes. Secret.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let out = Writer::with_capacity(100).fixed(&crate::SUITE.to_be_bytes()).fixed(&self.group);
        Zeroizing::new(self.pair.write(out.byte(self.dealer).byte(self.guardian)).finish())
    }

    /// Decodes a part. It is not [verified](verify) yet.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, PART, MAX_ENCODED)?;
        let (group, dealer, guardian) = (*reader.array()?, reader.byte()?, reader.byte()?);
        let part = Self { group, dealer, guardian, pair: Pair::read(&mut reader)? };
        reader.end()?;
        Ok(part)
    }
}
