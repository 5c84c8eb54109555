//! Many transactions at once: what a mempool's door and a voter check before a block.
//!
//! Signatures are verified together by one equation, [8](Σ zᵢsᵢ·B − Σ zᵢ·Rᵢ − Σ zᵢkᵢ·Aᵢ) = 0 (Bernstein, Duif, Lange,
//! Schwabe, Yang: High-speed high-security signatures, section 5), the terms of one key being added up first. By the
//! ZIP 215 rules it accepts exactly what [`crate::sign::verify`] accepts one by one, but for a chance of 2⁻¹²⁸. The
//! coefficients z come out of a hash of everything that is verified, so that the result is a pure function and nobody
//! can know them before the signatures are fixed.
//!
//! What several messages have been signed with together ([`consilium_domain::group`]) is verified once, also when they
//! come in one after the other: [`SignatureMemory`] remembers.

use crate::apply::Ledger;
use crate::check::{self, CheckError, Context, TxError, check_with_state, signer};
use crate::interop::InteropError;
use crate::session::Session;
use crate::sign;
use consilium_domain::group::leaf_of;
use consilium_domain::sign::Purpose;
use consilium_domain::tx::{Tx, TxBody, tx_id};
use consilium_domain::{Digest, PublicKey, Signature};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest as _, Sha512};
use std::collections::{BTreeMap, BTreeSet};

/// Below this many signatures one by one is as fast.
const FEW: usize = 4;

/// One signature that a transaction claims to bear.
struct Claim {
    key: PublicKey,
    signature: Signature,
    bytes: Vec<u8>,
    /// What is wrong with the transaction if the claim is false.
    otherwise: TxError,
}

impl Claim {
    fn id(&self) -> Digest {
        Digest::sha256(&[&self.key.0, &self.signature.0, &self.bytes])
    }
}

/// Most signatures of a generation of [`SignatureMemory`].
const REMEMBERED: usize = 16_384;

/// Signatures that were found good, by key, signature and signed bytes: the newest some ten thousand.
#[derive(Debug, Default)]
pub struct SignatureMemory {
    new: BTreeSet<Digest>,
    old: BTreeSet<Digest>,
}

impl SignatureMemory {
    fn knows(&self, id: &Digest) -> bool {
        self.new.contains(id) || self.old.contains(id)
    }

    fn learn(&mut self, id: Digest) {
        if self.new.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(id);
    }
}

impl Ledger<'_> {
    /// [`Ledger::check_tx`] for many transactions, each for itself: whether it could enter the next block. `verified`
    /// is kept from one call to the next.
    ///
    /// # Errors
    /// Per transaction, as [`Ledger::check_tx`].
    pub fn check_txs(&self, txs: &[&[u8]], verified: &mut SignatureMemory) -> Vec<Result<(), CheckError>> {
        // Checks only read: one session serves all and remembers what it has read.
        let mut session = Session::new(self);
        let height = self.head().height.next();
        let context = self.context();
        let mut claims = Vec::new();
        let mut verdicts = Vec::with_capacity(txs.len());
        for bytes in txs {
            let verdict = check::check(bytes).map_err(CheckError::from).and_then(|tx| {
                let found = claims_of(context, &tx)?;
                check_with_state(context, &mut session, height, &tx, found.is_some())?;
                Ok(found.unwrap_or_default())
            });
            verdicts.push(verdict.map(|found| claims.push((verdicts.len(), found))));
        }
        for (index, error) in false_claims(&claims, verified) {
            if let Some(verdict) = verdicts.get_mut(index) {
                *verdict = Err(error.into());
            }
        }
        verdicts
    }

    /// [`Ledger::check_tx`] without signatures, for transactions that have passed it before: the state has moved on.
    ///
    /// # Errors
    /// Per transaction, as [`Ledger::check_tx`].
    pub fn recheck_txs(&self, txs: &[&[u8]]) -> Vec<Result<(), CheckError>> {
        let mut session = Session::new(self);
        let height = self.head().height.next();
        let one = |bytes: &&[u8]| {
            let tx = check::check(bytes)?;
            check_with_state(self.context(), &mut session, height, &tx, true)
        };
        txs.iter().map(one).collect()
    }

    /// The ids of those transactions all of whose signatures verify, whatever the state: what a voter may pass as
    /// known to [`Ledger::validate_block`]. One that is missing here may still be valid.
    pub fn signed_txs(&self, txs: &[&[u8]]) -> BTreeSet<Digest> {
        let mut claims = Vec::new();
        for (index, bytes) in txs.iter().enumerate() {
            if let Ok(tx) = check::check(bytes)
                && let Ok(Some(found)) = claims_of(self.context(), &tx)
            {
                claims.push((index, found));
            }
        }
        let wrong = false_claims(&claims, &mut SignatureMemory::default());
        let right = claims.iter().filter(|(index, _)| !wrong.contains_key(index));
        right.filter_map(|(index, _)| txs.get(*index)).map(|bytes| tx_id(bytes)).collect()
    }
}

/// All signatures of a transaction; `None` where the signers are known only from the state in the middle of a block.
fn claims_of(context: &Context, tx: &Tx) -> Result<Option<Vec<Claim>>, TxError> {
    let TxBody::Batch(batch) = &tx.unsigned.body else { return Ok(None) };
    let role = signer(&tx.unsigned.body);
    let no_place = || TxError::BadSignature(role);
    let covered = tx.signed.signed_bytes(Purpose::Transaction, &context.channel, &tx.unsigned);
    let mut claims = vec![Claim {
        key: role.key(context.member(&tx.unsigned.sender)?),
        signature: tx.signed.signature,
        bytes: covered.ok_or_else(no_place)?,
        otherwise: no_place(),
    }];
    let statement = leaf_of(&batch.statement);
    for attestation in &batch.proof.attestations {
        let attester = &attestation.attester;
        let member = context.members.iter().find(|m| m.organisation == *attester);
        let member = member.ok_or_else(|| InteropError::NotMember(attester.clone()))?;
        let signed = &attestation.signed;
        let no_place = || TxError::from(InteropError::BadSignature(attester.clone()));
        let covered = signed.bytes_over(Purpose::Attestation, &context.channel, &statement);
        claims.push(Claim {
            key: member.validate,
            signature: signed.signature,
            bytes: covered.ok_or_else(no_place)?,
            otherwise: no_place(),
        });
    }
    Ok(Some(claims))
}

/// The first false claim of each transaction that has one. Each claim is verified once, whoever makes it how often.
fn false_claims(claims: &[(usize, Vec<Claim>)], verified: &mut SignatureMemory) -> BTreeMap<usize, TxError> {
    let ids: Vec<Vec<Digest>> = claims.iter().map(|(_, all)| all.iter().map(Claim::id).collect()).collect();
    let mut open = BTreeMap::new();
    for (id, claim) in ids.iter().flatten().zip(claims.iter().flat_map(|(_, all)| all)) {
        if !verified.knows(id) {
            open.insert(*id, claim);
        }
    }
    let open: Vec<(Digest, &Claim)> = open.into_iter().collect();
    let mut wrong = BTreeSet::new();
    search(&open, &mut wrong);
    open.iter().filter(|(id, _)| !wrong.contains(id)).for_each(|(id, _)| verified.learn(*id));
    let mut out = BTreeMap::new();
    for ((index, all), ids) in claims.iter().zip(&ids) {
        if let Some((claim, _)) = all.iter().zip(ids).find(|(_, id)| wrong.contains(id)) {
            out.insert(*index, claim.otherwise.clone());
        }
    }
    out
}

/// Halves what does not hold together: a few false claims among many cost little more than true ones.
fn search(claims: &[(Digest, &Claim)], wrong: &mut BTreeSet<Digest>) {
    if claims.len() > FEW && hold_together(claims.iter().map(|(_, c)| *c)) {
        return;
    }
    if claims.len() <= FEW {
        let bad = claims.iter().filter(|(_, c)| !sign::verify(&c.key, &c.bytes, &c.signature));
        wrong.extend(bad.map(|(id, _)| *id));
        return;
    }
    let (left, right) = claims.split_at(claims.len() / 2);
    search(left, wrong);
    search(right, wrong);
}

fn hold_together<'c>(claims: impl Iterator<Item = &'c Claim>) -> bool {
    batch_holds(claims.map(|c| (&c.key, &c.signature, c.bytes.as_slice())))
}

/// Whether all these signatures verify (ZIP 215). `false` also for a key or a signature that is no encoding at all.
fn batch_holds<'c>(all: impl Iterator<Item = (&'c PublicKey, &'c Signature, &'c [u8])>) -> bool {
    // k = SHA-512(R ‖ A ‖ M), RFC 8032 §5.1.7.
    let mut transcript = Sha512::new();
    let mut parts = Vec::new();
    for (key, signature, bytes) in all {
        let (Some(r), Some(s)) = (signature.0.first_chunk::<32>(), signature.0.last_chunk::<32>()) else {
            return false;
        };
        let k: [u8; 64] =
            Sha512::new().chain_update(r).chain_update(key.0).chain_update(bytes).finalize().into();
        transcript.update(k);
        transcript.update(s);
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(*s)) else { return false };
        let Some(r) = CompressedEdwardsY(*r).decompress() else { return false };
        parts.push((key, r, s, Scalar::from_bytes_mod_order_wide(&k)));
    }
    let seed: [u8; 64] = transcript.finalize().into();
    let (mut base, mut keys) = (Scalar::ZERO, BTreeMap::<[u8; 32], Scalar>::new());
    let (mut scalars, mut points) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
    let mut coefficients = Coefficients::new(seed);
    for (key, r, s, k) in parts {
        let z = coefficients.next();
        base -= z * s;
        *keys.entry(key.0).or_insert(Scalar::ZERO) += z * k;
        scalars.push(z);
        points.push(r);
    }
    for (key, scalar) in keys {
        let Some(point) = CompressedEdwardsY(key).decompress() else { return false };
        scalars.push(scalar);
        points.push(point);
    }
    scalars.push(base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).mul_by_cofactor().is_identity()
}

/// 128-bit coefficients: SHA-512 in counter mode, four from each value.
struct Coefficients {
    seed: [u8; 64],
    counter: u64,
    block: [u8; 64],
    left: usize,
}

impl Coefficients {
    fn new(seed: [u8; 64]) -> Self {
        Self { seed, counter: 0, block: [0; 64], left: 0 }
    }

    fn next(&mut self) -> Scalar {
        if self.left == 0 {
            let hash = Sha512::new().chain_update(self.seed).chain_update(self.counter.to_be_bytes());
            self.block = hash.finalize().into();
            self.counter = self.counter.wrapping_add(1);
            self.left = 4;
        }
        self.left -= 1;
        let mut part = [0; 16];
        part.iter_mut().zip(self.block.iter().skip(self.left * 16)).for_each(|(to, from)| *to = *from);
        Scalar::from(u128::from_le_bytes(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn claim(n: u8) -> Claim {
        let key = SigningKey::from_seed([n % 3 + 1; 32]);
        let bytes = vec![n; 40];
        let otherwise = TxError::TooLarge(usize::from(n));
        Claim { key: key.public(), signature: key.sign(&bytes), bytes, otherwise }
    }

    fn many() -> Vec<(usize, Vec<Claim>)> {
        (0..40_u8).map(|n| (usize::from(n), vec![claim(n), claim(n.wrapping_mul(7))])).collect()
    }

    #[test]
    fn together_they_are_accepted_as_they_are_one_by_one() {
        assert!(false_claims(&many(), &mut SignatureMemory::default()).is_empty());
        assert!(hold_together(many().iter().flat_map(|(_, c)| c)));
        assert!(hold_together([].iter()));
    }

    #[test]
    fn every_false_one_is_found_and_no_other() {
        for broken in [vec![0], vec![39], vec![3, 4, 5, 22], (0..40).collect()] {
            let mut claims = many();
            for (at, which) in broken.iter().zip([0, 1].into_iter().cycle()) {
                let bad = &mut claims[*at].1[which];
                match at % 4 {
                    0 => bad.bytes.push(0),
                    1 => bad.signature.0[0] ^= 1,
                    // S not reduced: refused by the encoding (RFC 8032 §5.1.7).
                    2 => bad.signature.0[32..].fill(0xff),
                    _ => bad.key = SigningKey::from_seed([9; 32]).public(),
                }
            }
            let found = false_claims(&claims, &mut SignatureMemory::default());
            assert_eq!(found.into_keys().collect::<Vec<_>>(), broken);
        }
    }

    #[test]
    fn what_was_verified_is_remembered_and_nothing_else_is() {
        let mut verified = SignatureMemory::default();
        let mut claims = many();
        claims[5].1[0].bytes.push(0);
        assert_eq!(false_claims(&claims, &mut verified).into_keys().collect::<Vec<_>>(), [5]);
        let known = verified.new.len();
        assert!(known > 0 && !verified.knows(&claims[5].1[0].id()));
        assert_eq!(false_claims(&claims, &mut verified).into_keys().collect::<Vec<_>>(), [5], "again");
        assert_eq!(verified.new.len(), known, "nothing was learned twice");
        // The same signature under another key, or over other bytes, is another claim.
        let good = &many()[0].1[0];
        for (key, bytes) in [(many()[1].1[0].key, good.bytes.clone()), (good.key, vec![9; 40])] {
            let claim = Claim { key, signature: good.signature, bytes, otherwise: good.otherwise.clone() };
            assert!(!verified.knows(&claim.id()));
            assert_eq!(false_claims(&[(0, vec![claim])], &mut verified).len(), 1);
        }
        // Bounded.
        for n in 0..3 * REMEMBERED as u64 {
            verified.learn(Digest::sha256(&[&n.to_be_bytes()]));
        }
        assert!(verified.new.len() + verified.old.len() <= 2 * REMEMBERED);
    }

    #[test]
    fn two_errors_that_would_cancel_out_do_not() {
        // Sums alone would be fooled by s+1 and s-1 under the same key.
        let mut claims = many();
        claims[0].1[0].signature.0[32] = claims[0].1[0].signature.0[32].wrapping_add(1);
        claims[3].1[0].signature.0[32] = claims[3].1[0].signature.0[32].wrapping_sub(1);
        assert_eq!(
            false_claims(&claims, &mut SignatureMemory::default()).into_keys().collect::<Vec<_>>(),
            [0, 3]
        );
    }

    /// Alone and among good ones, batch and single verification say the same.
    fn judged_alike(key: [u8; 32], signature: [u8; 64], bytes: &[u8]) -> bool {
        let (key, signature) = (PublicKey(key), Signature(signature));
        let single = sign::verify(&key, bytes, &signature);
        let odd = (&key, &signature, bytes);
        assert_eq!(batch_holds([odd].into_iter()), single, "{key} {signature}");
        let good = many();
        let good: Vec<_> =
            good.iter().flat_map(|(_, c)| c).map(|c| (&c.key, &c.signature, c.bytes.as_slice())).collect();
        let (before, after) = good.split_at(7);
        let mixed = before.iter().chain([&odd, &odd]).chain(after).copied();
        assert_eq!(batch_holds(mixed), single, "{key} {signature} among others");
        single
    }

    /// The 14 encodings that ZIP 215 takes for a point of small order: those of the eight points, and six that are not
    /// canonical: y = p and p + 1 with either sign, y = 1 and -1 with the sign of an x that is 0.
    fn small_order() -> Vec<[u8; 32]> {
        let mut all: Vec<_> =
            curve25519_dalek::constants::EIGHT_TORSION.iter().map(|p| p.compress().to_bytes()).collect();
        let encoding = |first: u8, rest: u8, last: u8| {
            let mut out = [rest; 32];
            (out[0], out[31]) = (first, last);
            out
        };
        for sign in [0, 0x80] {
            all.push(encoding(0xed, 0xff, 0x7f | sign));
            all.push(encoding(0xee, 0xff, 0x7f | sign));
        }
        all.push(encoding(1, 0, 0x80));
        all.push(encoding(0xec, 0xff, 0xff));
        all
    }

    #[test]
    fn points_of_small_order_and_their_other_encodings_are_judged_by_the_same_rule() {
        let points = small_order();
        assert_eq!(points.iter().collect::<BTreeSet<_>>().len(), 14);
        for key in &points {
            for r in &points {
                // With s = 0 the cofactor makes every term vanish, whatever was signed.
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(r);
                assert!(judged_alike(*key, signature, b"x"));
                // s = 1 does not vanish, s = the group's order is no reduced scalar.
                signature[32] = 1;
                assert!(!judged_alike(*key, signature, b"x"));
                let order = (Scalar::ZERO - Scalar::ONE).to_bytes();
                signature[32..].copy_from_slice(&order);
                signature[32] += 1;
                assert!(!judged_alike(*key, signature, b"x"));
            }
        }
    }

    #[test]
    fn a_key_or_a_commitment_with_a_part_of_small_order_is_judged_by_the_same_rule() {
        let (a, r, message) = (Scalar::from(77_u64), Scalar::from(123_456_u64), b"mixed order");
        for torsion in curve25519_dalek::constants::EIGHT_TORSION {
            for (of_key, of_r) in [(torsion, torsion), (torsion, -torsion)] {
                let key = (ED25519_BASEPOINT_POINT * a + of_key).compress().to_bytes();
                let commitment = (ED25519_BASEPOINT_POINT * r + of_r).compress().to_bytes();
                let hash = Sha512::new().chain_update(commitment).chain_update(key).chain_update(message);
                let k: [u8; 64] = hash.finalize().into();
                let s = r + Scalar::from_bytes_mod_order_wide(&k) * a;
                let mut signature = [0; 64];
                signature[..32].copy_from_slice(&commitment);
                signature[32..].copy_from_slice(&s.to_bytes());
                assert!(judged_alike(key, signature, message));
                assert!(!judged_alike(key, signature, b"another"));
            }
        }
    }

    #[test]
    fn what_is_no_point_verifies_nothing() {
        // y = 2 belongs to no point of the curve.
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert!(CompressedEdwardsY(no_point).decompress().is_none());
        assert!(!judged_alike(no_point, [0; 64], b"x"));
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&no_point);
        assert!(!judged_alike(small_order()[0], signature, b"x"));
    }

    #[test]
    fn no_coefficient_comes_twice() {
        let mut coefficients = Coefficients::new([7; 64]);
        let drawn: BTreeSet<[u8; 32]> = (0..1000).map(|_| coefficients.next().to_bytes()).collect();
        assert_eq!(drawn.len(), 1000);
        assert!(drawn.iter().all(|c| c[16..] == [0; 16] && c[..16] != [0; 16]));
        assert_ne!(Coefficients::new([8; 64]).next(), Coefficients::new([7; 64]).next());
    }
}
