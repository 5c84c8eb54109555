//! An authority's secret key in the hands of n guardians, t of whom act together.
//!
//! Feldman's verifiable secret sharing (FOCS 1987) of α and y: two polynomials f, h of degree t-1 with f(0) = α and
//! h(0) = y; guardian i holds (f(i), h(i)). The coefficients of h are committed to in G1, those of f **in GT only**, as
//! e(g1,g2)^coefficient: e(C2, g2^α) would unmask every row of every header, so nothing public may hold α, or a share of
//! it, in G1 or G2. The commitments to the constant terms are A and Y of the public key itself. Fewer than t shares and
//! the commitments tell nothing beyond the public key: the commitments are a function of it and those shares.
//!
//! * [`Group::deal`]: a ceremony shares an authority's key; from then on the whole key is needed nowhere.
//! * [`issue`]: t guardians issue an attribute key that nobody can tell from a whole authority's.
//! * [`refresh`]: new shares of the same key; shares of before and after do not mix (Herzberg, Jarecki, Krawczyk and
//!   Yung, CRYPTO 1995).
//! * [`repair`]: t guardians restore the lost share of another without learning it (Stinson and Wei, "Combinatorial
//!   repairability for threshold schemes", 2018, §3: enrollment).
//! * [`Group::recover`]: t shares give back the whole key.
//!
//! Every contribution is checked against the commitments, and an error names the guardian at fault.

pub mod issue;
pub mod refresh;
pub mod repair;

use std::collections::BTreeMap;
use std::fmt;

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::authority::{AuthorityPublicKey, AuthoritySecretKey};
use crate::codec::{Reader, Writer};
use crate::curve::{G1, G1_BYTES, G1Table, GT_BYTES, Gt, GtTable, SCALAR_BYTES, Scalar};
use crate::{AbeError, hash};

/// Most guardians of an authority.
pub const MAX_GUARDIANS: u8 = 32;

const GROUP: &str = "guardian group";
const SHARE: &str = "guardian share";
/// Longest encoding here: a group with the commitments of the highest threshold.
const MAX_ENCODED: usize = 40 * 1024;

/// What everyone may know: the authority's public key, how many guardians there are, how many act together, and the
/// commitments to their shares.
#[derive(Clone)]
pub struct Group {
    public: AuthorityPublicKey,
    threshold: u8,
    guardians: u8,
    generation: u64,
    /// Commitments to the coefficients of degree 1 … t-1; A and Y are those of degree 0.
    coefficients: Vec<Commitment>,
    digest: [u8; 32],
}

/// e(g1,g2)^a and g1^b for a secret pair (a, b).
#[derive(Clone)]
struct Commitment {
    a: Gt,
    y: G1,
}

/// A secret pair: a value of f, for α, and one of h, for y.
struct Pair {
    alpha: Scalar,
    y: Scalar,
}

impl Pair {
    fn random(rng: &mut dyn CryptoRngCore) -> Self {
        Self { alpha: Scalar::random(rng), y: Scalar::random(rng) }
    }

    fn zero() -> Self {
        Self { alpha: Scalar::zero(), y: Scalar::zero() }
    }

    fn add(&self, other: &Self) -> Self {
        Self { alpha: self.alpha.add(&other.alpha), y: self.y.add(&other.y) }
    }

    fn sub(&self, other: &Self) -> Self {
        Self { alpha: self.alpha.sub(&other.alpha), y: self.y.sub(&other.y) }
    }

    fn scale(&self, factor: &Scalar) -> Self {
        Self { alpha: self.alpha.mul(factor), y: self.y.mul(factor) }
    }

    fn commit(&self) -> Commitment {
        Commitment { a: GtTable::generator().pow(&self.alpha), y: G1Table::generator().mul(&self.y) }
    }

    /// Whether `commitment` is to this pair.
    fn fits(&self, commitment: &Commitment) -> bool {
        let own = self.commit();
        own.a.public_eq(&commitment.a) && own.y.to_bytes() == commitment.y.to_bytes()
    }

    fn write(&self, out: Writer) -> Writer {
        let (alpha, y) = (Zeroizing::new(self.alpha.to_bytes()), Zeroizing::new(self.y.to_bytes()));
        out.fixed(alpha.as_ref()).fixed(y.as_ref())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, AbeError> {
        let mut scalar = || {
            let bytes = reader.array::<SCALAR_BYTES>()?;
            Scalar::from_bytes(bytes).ok_or_else(|| reader.malformed("a scalar is not reduced"))
        };
        Ok(Self { alpha: scalar()?, y: scalar()? })
    }
}

impl Commitment {
    fn one() -> Self {
        Self { a: Gt::one(), y: G1::identity() }
    }

    fn mul(&self, other: &Self) -> Self {
        Self { a: self.a.mul(&other.a), y: self.y.add(&other.y) }
    }

    fn pow(&self, factor: &Scalar) -> Self {
        Self { a: self.a.pow(factor), y: self.y.mul(factor) }
    }

    fn public_eq(&self, other: &Self) -> bool {
        self.a.public_eq(&other.a) && self.y.to_bytes() == other.y.to_bytes()
    }

    fn write(&self, out: Writer) -> Writer {
        out.fixed(&self.a.to_bytes()).fixed(&self.y.to_bytes())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, AbeError> {
        let (a, y) = (reader.array::<GT_BYTES>()?, reader.array::<G1_BYTES>()?);
        Ok(Self {
            a: Gt::from_bytes(a)
                .ok_or_else(|| reader.malformed("a commitment is not in the target group"))?,
            y: G1::from_bytes(y).ok_or_else(|| reader.malformed("a commitment is not in the group"))?,
        })
    }

    /// Commitments after their number, which must be `expected`.
    fn read_all(reader: &mut Reader<'_>, expected: u8) -> Result<Vec<Self>, AbeError> {
        if reader.byte()? != expected {
            return Err(reader.malformed("the number of commitments does not fit"));
        }
        (0..expected).map(|_| Self::read(reader)).collect()
    }

    fn write_all(all: &[Self], out: Writer) -> Writer {
        let out = out.byte(u8::try_from(all.len()).unwrap_or(u8::MAX));
        all.iter().fold(out, |out, one| one.write(out))
    }
}

/// A secret polynomial pair, by Horner's rule at `point`; `coefficients` from degree 0 up.
fn evaluate(coefficients: &[Pair], point: u8) -> Pair {
    let point = Scalar::from_u64(point.into());
    coefficients.iter().rev().fold(Pair::zero(), |value, c| value.scale(&point).add(c))
}

/// The same over commitments.
fn evaluate_public<'a>(
    coefficients: impl DoubleEndedIterator<Item = &'a Commitment>,
    point: u8,
) -> Commitment {
    let point = Scalar::from_u64(point.into());
    let mut falling = coefficients.rev();
    let highest = falling.next().cloned().unwrap_or_else(Commitment::one);
    falling.fold(highest, |value, c| value.pow(&point).mul(c))
}

/// Lagrange's coefficient of guardian `own` among `set`, for the value at `at`: Π (at - j) / (own - j).
fn lagrange(own: u8, set: &[u8], at: u8) -> Scalar {
    let scalar = |guardian: u8| Scalar::from_u64(guardian.into());
    let (mut above, mut below) = (Scalar::from_u64(1), Scalar::from_u64(1));
    for other in set.iter().filter(|other| **other != own) {
        above = above.mul(&scalar(at).sub(&scalar(*other)));
        below = below.mul(&scalar(own).sub(&scalar(*other)));
    }
    above.mul(&below.invert())
}

/// The error for a contribution of `guardian` that is refused.
fn fault(guardian: u8, reason: &'static str) -> AbeError {
    AbeError::Guardian { guardian, reason }
}

impl Group {
    fn new(
        public: &AuthorityPublicKey,
        (threshold, guardians): (u8, u8),
        generation: u64,
        coefficients: Vec<Commitment>,
    ) -> Self {
        let mut group =
            Self { public: public.clone(), threshold, guardians, generation, coefficients, digest: [0; 32] };
        group.digest = hash::digest(GROUP, &[&group.to_bytes()]);
        group
    }

    /// Shares an authority's key among `guardians` so that any `threshold` of them act for it. Whoever calls this holds
    /// the whole key: do it once, on a machine of the ceremony, hand each share to its guardian and destroy the key.
    ///
    /// # Errors
    /// [`AbeError::InvalidName`] unless 2 ≤ threshold ≤ guardians ≤ [`MAX_GUARDIANS`];
    /// [`AbeError::Malformed`] if `public` is not the public key of `secret`.
    pub fn deal(
        secret: &AuthoritySecretKey,
        public: &AuthorityPublicKey,
        (threshold, guardians): (u8, u8),
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Self, Vec<Share>), AbeError> {
        check_size(threshold, guardians)?;
        let (alpha, y) = secret.duplicate_scalars();
        let root = Pair { alpha, y };
        if !secret.same_place(public) || !root.fits(&base(public)) {
            return Err(AbeError::Malformed {
                what: GROUP,
                reason: "the public key is not that of the secret key",
            });
        }
        let mut polynomial = vec![root];
        polynomial.extend((1..threshold).map(|_| Pair::random(rng)));
        let coefficients = polynomial.iter().skip(1).map(Pair::commit).collect();
        let group = Self::new(public, (threshold, guardians), 0, coefficients);
        let shares = (1..=guardians).map(|guardian| group.share(guardian, evaluate(&polynomial, guardian)));
        let shares = shares.collect();
        Ok((group, shares))
    }

    fn share(&self, guardian: u8, pair: Pair) -> Share {
        Share { group: self.digest, guardian, generation: self.generation, pair }
    }

    /// The authority's public key.
    #[must_use]
    pub fn public_key(&self) -> &AuthorityPublicKey {
        &self.public
    }

    /// How many guardians act together.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// How many guardians there are, numbered from 1.
    #[must_use]
    pub fn guardians(&self) -> u8 {
        self.guardians
    }

    /// How often the shares were refreshed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// SHA-256 of a label and the encoding: what shares and messages between guardians are bound to.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Suite, public key after its length, threshold, guardians, generation, commitments (624 bytes each).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let out = Writer::with_suite()
            .bytes(&self.public.to_bytes())
            .byte(self.threshold)
            .byte(self.guardians)
            .u64(self.generation);
        Commitment::write_all(&self.coefficients, out).finish()
    }

    /// Decodes a group and checks the public key's proof of possession.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`], [`AbeError::TooLong`], [`AbeError::InvalidName`] or
    /// [`AbeError::ProofOfPossession`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, GROUP, MAX_ENCODED)?;
        let public = AuthorityPublicKey::from_bytes(reader.bytes(MAX_ENCODED)?)?;
        let (threshold, guardians) = (reader.byte()?, reader.byte()?);
        check_size(threshold, guardians)?;
        let generation = reader.u64()?;
        let coefficients = Commitment::read_all(&mut reader, threshold - 1)?;
        reader.end()?;
        Ok(Self::new(&public, (threshold, guardians), generation, coefficients))
    }

    /// The commitment to the share of a guardian: (A_i, Y_i).
    fn commitment(&self, guardian: u8) -> Commitment {
        let base = base(&self.public);
        evaluate_public(std::iter::once(&base).chain(&self.coefficients), guardian)
    }

    /// Refuses a number that no guardian has.
    fn check_guardian(&self, guardian: u8) -> Result<(), AbeError> {
        if (1..=self.guardians).contains(&guardian) {
            Ok(())
        } else {
            Err(fault(guardian, "there is no guardian of this number"))
        }
    }

    /// Refuses something bound to another group or generation.
    fn check_digest(&self, guardian: u8, digest: &[u8; 32]) -> Result<(), AbeError> {
        self.check_guardian(guardian)?;
        if self.digest == *digest {
            Ok(())
        } else {
            Err(fault(guardian, "it is of another group or generation"))
        }
    }

    /// Checks a share: right group and generation, and the commitments are to it. Every guardian does so with the share
    /// it is handed.
    ///
    /// # Errors
    /// [`AbeError::Guardian`].
    pub fn verify(&self, share: &Share) -> Result<(), AbeError> {
        self.check_digest(share.guardian, &share.group)?;
        if share.generation == self.generation && share.pair.fits(&self.commitment(share.guardian)) {
            Ok(())
        } else {
            Err(fault(share.guardian, "the share does not fit the commitments"))
        }
    }

    /// The whole secret key from `threshold` or more shares, for the ceremony that restores an authority. Shares that do
    /// not verify are left out and their guardians named.
    ///
    /// # Errors
    /// [`AbeError::TooFewGuardians`] if fewer than `threshold` shares verify.
    pub fn recover(&self, shares: &[Share]) -> Result<Recovered, AbeError> {
        let (good, misbehaved) = self.sort_out(shares, |share| share.guardian, |share| self.verify(share))?;
        let set: Vec<u8> = good.keys().copied().collect();
        let root = good.iter().fold(Pair::zero(), |sum, (guardian, share)| {
            sum.add(&share.pair.scale(&lagrange(*guardian, &set, 0)))
        });
        let secret = AuthoritySecretKey::from_parts(&self.public, root.alpha, root.y);
        Ok(Recovered { secret, misbehaved })
    }

    /// The first `threshold` contributions that pass `check`, by guardian, and the guardians whose do not.
    fn sort_out<'a, T>(
        &self,
        contributions: &'a [T],
        guardian: impl Fn(&T) -> u8,
        check: impl Fn(&T) -> Result<(), AbeError>,
    ) -> Result<(BTreeMap<u8, &'a T>, Vec<u8>), AbeError> {
        let (mut good, mut misbehaved) = (BTreeMap::new(), Vec::new());
        for contribution in contributions {
            if check(contribution).is_ok() {
                good.insert(guardian(contribution), contribution);
            } else {
                misbehaved.push(guardian(contribution));
            }
        }
        if good.len() < self.threshold.into() {
            return Err(AbeError::TooFewGuardians { needed: self.threshold, valid: good.len(), misbehaved });
        }
        while good.len() > self.threshold.into() {
            good.pop_last();
        }
        Ok((good, misbehaved))
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("authority", self.public.authority())
            .field("threshold", &self.threshold)
            .field("guardians", &self.guardians)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn check_size(threshold: u8, guardians: u8) -> Result<(), AbeError> {
    if threshold >= 2 && threshold <= guardians && guardians <= MAX_GUARDIANS {
        Ok(())
    } else {
        Err(AbeError::InvalidName {
            what: GROUP,
            rule: "at least 2 of at most 32 guardians, and not more than there are",
        })
    }
}

/// A and Y as the commitment to the constant terms.
fn base(public: &AuthorityPublicKey) -> Commitment {
    let (a, y) = public.points();
    Commitment { a: a.clone(), y: y.clone() }
}

/// What [`Group::recover`] gives.
pub struct Recovered {
    /// The authority's secret key.
    pub secret: AuthoritySecretKey,
    /// Guardians whose share did not verify.
    pub misbehaved: Vec<u8>,
}

/// A guardian's share of the secret key. Zeroized on drop; neither `Clone` nor `Debug`.
pub struct Share {
    group: [u8; 32],
    guardian: u8,
    generation: u64,
    pair: Pair,
}

impl Share {
    /// Whose share it is, from 1.
    #[must_use]
    pub fn guardian(&self) -> u8 {
        self.guardian
    }

    /// The generation it belongs to.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Suite, digest of the group, guardian, generation, the two scalars: 107 bytes, to be sealed by their guardian.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let out = Writer::with_capacity(107)
            .fixed(&crate::SUITE.to_be_bytes())
            .fixed(&self.group)
            .byte(self.guardian)
            .u64(self.generation);
        Zeroizing::new(self.pair.write(out).finish())
    }

    /// Decodes a share. It is not [verified](Group::verify) yet.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, SHARE, MAX_ENCODED)?;
        let (group, guardian) = (*reader.array()?, reader.byte()?);
        let share = Self { group, guardian, generation: reader.u64()?, pair: Pair::read(&mut reader)? };
        reader.end()?;
        Ok(share)
    }
}

#[cfg(test)]
#[path = "guardians_tests.rs"]
mod tests;
