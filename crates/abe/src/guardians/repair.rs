//! A lost share restored by t other guardians, who learn nothing by it.
//!
//! The enrollment protocol of Stinson and Wei ("Combinatorial repairability for threshold schemes", 2018, §3). The value
//! at the lost guardian's point is Σ L_i·f(i) over the helpers i. Each helper splits its term into random parts, one for
//! each helper; each helper adds up the parts it received and sends the sum to the lost guardian, who adds the sums. The
//! parts are committed to (for α in GT only, as everywhere), so a helper who sends a wrong part or a wrong sum is named.

use std::collections::BTreeMap;

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::{Commitment, Group, MAX_ENCODED, Pair, Share, fault, lagrange};
use crate::AbeError;
use crate::codec::{Reader, Writer};

const DEAL: &str = "repair deal";
const PART: &str = "repair part";
const SUM: &str = "repair sum";

/// Which share is restored, and by whom. All messages of a repair are bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    group: [u8; 32],
    lost: u8,
    helpers: Vec<u8>,
}

/// A helper's commitments to the parts it sent. Public.
#[derive(Clone)]
pub struct Deal {
    repair: [u8; 32],
    helper: u8,
    /// One for each helper, in their order.
    commitments: Vec<Commitment>,
}

/// What a helper sends to another helper alone.
pub struct Part {
    repair: [u8; 32],
    from: u8,
    to: u8,
    pair: Pair,
}

/// What a helper sends to the guardian whose share is restored, and to nobody else.
pub struct Sum {
    repair: [u8; 32],
    helper: u8,
    pair: Pair,
}

impl Repair {
    /// The repair of guardian `lost`'s share by `helpers`, exactly `threshold` other guardians.
    ///
    /// # Errors
    /// [`AbeError::Guardian`] for a number that is no guardian, is named twice or is the lost one;
    /// [`AbeError::TooFewGuardians`] for another number of helpers.
    pub fn new(group: &Group, lost: u8, helpers: &[u8]) -> Result<Self, AbeError> {
        group.check_guardian(lost)?;
        let mut sorted = helpers.to_vec();
        sorted.sort_unstable();
        let mut last = None;
        for helper in &sorted {
            group.check_guardian(*helper)?;
            if *helper == lost || last == Some(helper) {
                return Err(fault(
                    *helper,
                    "a helper is named once and is not the guardian who lost the share",
                ));
            }
            last = Some(helper);
        }
        if sorted.len() != usize::from(group.threshold) {
            let (needed, valid) = (group.threshold, sorted.len());
            return Err(AbeError::TooFewGuardians { needed, valid, misbehaved: Vec::new() });
        }
        Ok(Self { group: group.digest, lost, helpers: sorted })
    }

    /// The guardian whose share is restored.
    #[must_use]
    pub fn lost(&self) -> u8 {
        self.lost
    }

    /// The helpers, in order.
    #[must_use]
    pub fn helpers(&self) -> &[u8] {
        &self.helpers
    }

    fn digest(&self) -> [u8; 32] {
        crate::hash::digest("guardian repair", &[&self.group, &[self.lost], &self.helpers])
    }

    fn weight(&self, helper: u8) -> crate::curve::Scalar {
        lagrange(helper, &self.helpers, self.lost)
    }

    fn check(&self, group: &Group, helper: u8, digest: &[u8; 32]) -> Result<(), AbeError> {
        if self.group != group.digest || *digest != self.digest() || !self.helpers.contains(&helper) {
            return Err(fault(helper, "its message is of another repair"));
        }
        Ok(())
    }

    /// Step 1, each helper: its public deal, and a secret part for each helper, itself included.
    ///
    /// # Errors
    /// [`AbeError::Guardian`] if the share is of another group or its guardian no helper.
    pub fn deal(
        &self,
        group: &Group,
        share: &Share,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Deal, Vec<Part>), AbeError> {
        group.check_digest(share.guardian, &share.group)?;
        let (repair, from) = (self.digest(), share.guardian);
        self.check(group, from, &repair)?;
        let mut rest = share.pair.scale(&self.weight(from));
        let (mut parts, mut commitments) = (Vec::new(), Vec::new());
        for (index, to) in self.helpers.iter().enumerate() {
            let pair = if index + 1 == self.helpers.len() {
                std::mem::replace(&mut rest, Pair::zero())
            } else {
                let random = Pair::random(rng);
                rest = rest.sub(&random);
                random
            };
            commitments.push(pair.commit());
            parts.push(Part { repair, from, to: *to, pair });
        }
        Ok((Deal { repair, helper: from, commitments }, parts))
    }

    /// The deals by helper, each checked: its commitments come to the helper's own share, weighted.
    fn checked<'a>(&self, group: &Group, deals: &'a [Deal]) -> Result<BTreeMap<u8, &'a Deal>, AbeError> {
        let mut out = BTreeMap::new();
        for deal in deals {
            self.check(group, deal.helper, &deal.repair)?;
            let product = deal.commitments.iter().fold(Commitment::one(), |product, c| product.mul(c));
            let expected = group.commitment(deal.helper).pow(&self.weight(deal.helper));
            if deal.commitments.len() != self.helpers.len() || !product.public_eq(&expected) {
                return Err(fault(deal.helper, "its commitments do not come to its share"));
            }
            out.insert(deal.helper, deal);
        }
        match self.helpers.iter().find(|helper| !out.contains_key(helper)) {
            Some(missing) => Err(fault(*missing, "its deal is missing")),
            None => Ok(out),
        }
    }

    fn place(&self, helper: u8) -> usize {
        self.helpers.iter().position(|found| *found == helper).unwrap_or(usize::MAX)
    }

    /// Step 2, each helper: the sum of the parts sent to it.
    ///
    /// # Errors
    /// [`AbeError::Guardian`] naming a helper whose deal or part is missing or does not fit.
    pub fn sum(&self, group: &Group, helper: u8, deals: &[Deal], parts: &[Part]) -> Result<Sum, AbeError> {
        let repair = self.digest();
        self.check(group, helper, &repair)?;
        let mut pair = Pair::zero();
        for (from, deal) in self.checked(group, deals)? {
            let part =
                parts.iter().find(|part| part.repair == repair && part.from == from && part.to == helper);
            let part = part.ok_or_else(|| fault(from, "its repair part is missing"))?;
            let fits = deal.commitments.get(self.place(helper)).is_some_and(|c| part.pair.fits(c));
            if !fits {
                return Err(fault(from, "its repair part does not fit its commitments"));
            }
            pair = pair.add(&part.pair);
        }
        Ok(Sum { repair, helper, pair })
    }

    /// Step 3, the guardian who lost its share: the share again, checked against the group.
    ///
    /// # Errors
    /// [`AbeError::Guardian`] naming a helper whose deal or sum is missing or does not fit.
    pub fn restore(&self, group: &Group, deals: &[Deal], sums: &[Sum]) -> Result<Share, AbeError> {
        let deals = self.checked(group, deals)?;
        let mut pair = Pair::zero();
        for helper in &self.helpers {
            let sum = sums.iter().find(|sum| sum.helper == *helper);
            let sum = sum.ok_or_else(|| fault(*helper, "its repair sum is missing"))?;
            self.check(group, *helper, &sum.repair)?;
            let received = deals.values().filter_map(|deal| deal.commitments.get(self.place(*helper)));
            let expected = received.fold(Commitment::one(), |product, c| product.mul(c));
            if !sum.pair.fits(&expected) {
                return Err(fault(*helper, "its repair sum does not fit the commitments"));
            }
            pair = pair.add(&sum.pair);
        }
        let share = group.share(self.lost, pair);
        group.verify(&share)?;
        Ok(share)
    }

    /// Suite, digest of the group, lost guardian, helpers after their number.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = u8::try_from(self.helpers.len()).unwrap_or(u8::MAX);
        Writer::with_suite().fixed(&self.group).byte(self.lost).byte(count).fixed(&self.helpers).finish()
    }

    /// Decodes a repair for `group`, with the checks of [`Repair::new`].
    ///
    /// # Errors
    /// As [`Repair::new`]; [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(group: &Group, bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, "repair", MAX_ENCODED)?;
        let digest = reader.array::<32>()?;
        let (lost, count) = (reader.byte()?, reader.byte()?);
        let helpers = reader.take(count.into())?;
        if *digest != group.digest || !helpers.is_sorted() {
            return Err(reader.malformed("it is of another group, or the helpers are out of order"));
        }
        reader.end()?;
        Self::new(group, lost, helpers)
    }
}

impl Deal {
    /// Suite, digest of the repair, helper, commitments after their number.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let out = Writer::with_suite().fixed(&self.repair).byte(self.helper);
        Commitment::write_all(&self.commitments, out).finish()
    }

    /// Decodes a deal of a repair in `group`.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(group: &Group, bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, DEAL, MAX_ENCODED)?;
        let (repair, helper) = (*reader.array()?, reader.byte()?);
        let commitments = Commitment::read_all(&mut reader, group.threshold)?;
        reader.end()?;
        Ok(Self { repair, helper, commitments })
    }
}

impl Part {
    /// Whom it is for.
    #[must_use]
    pub fn recipient(&self) -> u8 {
        self.to
    }

    /// Suite, digest of the repair, sender, recipient, two scalars: 100 bytes. Secret.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let out = Writer::with_capacity(100).fixed(&crate::SUITE.to_be_bytes()).fixed(&self.repair);
        Zeroizing::new(self.pair.write(out.byte(self.from).byte(self.to)).finish())
    }

    /// Decodes a part; [`Repair::sum`] verifies it.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, PART, MAX_ENCODED)?;
        let (repair, from, to) = (*reader.array()?, reader.byte()?, reader.byte()?);
        let part = Self { repair, from, to, pair: Pair::read(&mut reader)? };
        reader.end()?;
        Ok(part)
    }
}

impl Sum {
    /// Suite, digest of the repair, helper, two scalars: 99 bytes. Secret.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let out = Writer::with_capacity(99).fixed(&crate::SUITE.to_be_bytes()).fixed(&self.repair);
        Zeroizing::new(self.pair.write(out.byte(self.helper)).finish())
    }

    /// Decodes a sum; [`Repair::restore`] verifies it.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, SUM, MAX_ENCODED)?;
        let (repair, helper) = (*reader.array()?, reader.byte()?);
        let sum = Self { repair, helper, pair: Pair::read(&mut reader)? };
        reader.end()?;
        Ok(sum)
    }
}
