//! BLS12-381 as types: every value of [`G1`], [`G2`] and [`Gt`] lies in the subgroup of order r.
//!
//! This module holds all calls into `blst`'s C functions. What the rest of the crate may rely on:
//!
//! * a [`G1`], [`G2`] or [`Gt`] comes from a checked decoding, from hashing to the curve or from
//!   arithmetic on such values, so the GLV/GLS multiplications of blst, right only inside the
//!   subgroup, are always right here; the exception, for decapsulation alone, is in [`arrived`];
//! * a [`Scalar`] is reduced modulo r;
//! * pairs with a point at infinity are dropped before `blst_miller_loop_n`, which does not handle
//!   them;
//! * operations on scalars and on GT take time independent of the values: no branch and no index
//!   depends on them. Decoding is for public bytes only.
#![expect(
    unsafe_code,
    reason = "blst's arithmetic is C: all calls are in this module, behind types that hold its preconditions"
)]

mod arrived;
mod torus;

use std::hint::black_box;
use std::sync::LazyLock;

use blst::{
    blst_bendian_from_fp12, blst_final_exp, blst_fp_cneg, blst_fp12, blst_fp12_conjugate,
    blst_fp12_cyclotomic_sqr, blst_fp12_frobenius_map, blst_fp12_in_group, blst_fp12_mul, blst_fr,
    blst_fr_add, blst_fr_cneg, blst_fr_from_scalar, blst_fr_inverse, blst_fr_mul, blst_fr_sub,
    blst_hash_to_g2, blst_miller_loop_n, blst_p1, blst_p1_add_or_double, blst_p1_add_or_double_affine,
    blst_p1_affine, blst_p1_affine_compress, blst_p1_affine_generator, blst_p1_affine_in_g1,
    blst_p1_affine_is_inf, blst_p1_cneg, blst_p1_from_affine, blst_p1_mult, blst_p1_to_affine,
    blst_p1s_to_affine, blst_p2, blst_p2_add_or_double, blst_p2_affine, blst_p2_affine_compress,
    blst_p2_affine_generator, blst_p2_affine_in_g2, blst_p2_affine_is_inf, blst_p2_from_affine, blst_p2_mult,
    blst_p2_to_affine, blst_scalar, blst_scalar_fr_check, blst_scalar_from_be_bytes,
    blst_scalar_from_bendian, blst_scalar_from_fr,
};
use rand_core::CryptoRngCore;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(crate) use torus::TORUS_BYTES;

/// Bytes of a compressed G1 point (ZCash/IETF encoding, big-endian x and three flag bits).
pub(crate) const G1_BYTES: usize = 48;
/// Bytes of a compressed G2 point.
pub(crate) const G2_BYTES: usize = 96;
/// Bytes of a GT element: twelve base field elements.
pub(crate) const GT_BYTES: usize = 576;
/// Bytes of an encoded scalar, big-endian.
pub(crate) const SCALAR_BYTES: usize = 32;

/// |x|, the absolute value of the (negative) BLS12-381 curve parameter.
const X_ABS: u64 = 0xd201_0000_0001_0000;
/// Bits of a scalar handed to blst; r < 2^255.
const SCALAR_BITS: usize = 255;

/// An integer modulo the group order r. Zeroized on drop; neither `Clone` nor `Debug`.
pub(crate) struct Scalar(blst_fr);

impl Zeroize for Scalar {
    fn zeroize(&mut self) {
        self.0.l.zeroize();
    }
}

impl Drop for Scalar {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Scalar {}

impl Scalar {
    /// The additive identity.
    pub(crate) fn zero() -> Self {
        Self(blst_fr::default())
    }

    /// A small integer as a scalar.
    pub(crate) fn from_u64(value: u64) -> Self {
        let mut wide = [0u8; 64];
        if let Some(tail) = wide.last_chunk_mut::<8>() {
            *tail = value.to_be_bytes();
        }
        Self::from_wide(&wide)
    }

    /// 512 big-endian bits reduced modulo r: a uniform input gives a scalar with bias under 2^-256.
    pub(crate) fn from_wide(bytes: &[u8; 64]) -> Self {
        let mut reduced = blst_scalar::default();
        let mut out = blst_fr::default();
        // SAFETY: reads 64 bytes, writes two local values; the result is reduced modulo r.
        unsafe {
            blst_scalar_from_be_bytes(&raw mut reduced, bytes.as_ptr(), bytes.len());
            blst_fr_from_scalar(&raw mut out, &raw const reduced);
        }
        Self(out)
    }

    /// A uniform scalar.
    pub(crate) fn random(rng: &mut dyn CryptoRngCore) -> Self {
        let mut wide = [0u8; 64];
        rng.fill_bytes(&mut wide);
        let out = Self::from_wide(&wide);
        wide.zeroize();
        out
    }

    /// Decodes 32 big-endian bytes; `None` if the value is not below r.
    pub(crate) fn from_bytes(bytes: &[u8; SCALAR_BYTES]) -> Option<Self> {
        let mut raw = blst_scalar::default();
        let mut out = blst_fr::default();
        // SAFETY: reads 32 bytes, writes local values.
        unsafe {
            blst_scalar_from_bendian(&raw mut raw, bytes.as_ptr());
            if !blst_scalar_fr_check(&raw const raw) {
                return None;
            }
            blst_fr_from_scalar(&raw mut out, &raw const raw);
        }
        Some(Self(out))
    }

    /// 32 big-endian bytes. The caller zeroizes them where the scalar is secret.
    pub(crate) fn to_bytes(&self) -> [u8; SCALAR_BYTES] {
        let mut out = self.to_raw().b;
        out.reverse();
        out
    }

    /// Little-endian bytes as blst's multiplications read them; zeroized on drop.
    fn to_raw(&self) -> blst_scalar {
        let mut raw = blst_scalar::default();
        // SAFETY: both are local values of the expected type.
        unsafe { blst_scalar_from_fr(&raw mut raw, &raw const self.0) };
        raw
    }

    /// Sum modulo r.
    pub(crate) fn add(&self, other: &Self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: arguments are reduced field elements.
        unsafe { blst_fr_add(&raw mut out, &raw const self.0, &raw const other.0) };
        Self(out)
    }

    /// Difference modulo r.
    pub(crate) fn sub(&self, other: &Self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: arguments are reduced field elements.
        unsafe { blst_fr_sub(&raw mut out, &raw const self.0, &raw const other.0) };
        Self(out)
    }

    /// Product modulo r.
    pub(crate) fn mul(&self, other: &Self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: arguments are reduced field elements.
        unsafe { blst_fr_mul(&raw mut out, &raw const self.0, &raw const other.0) };
        Self(out)
    }

    /// The negative modulo r.
    pub(crate) fn neg(&self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: the argument is a reduced field element.
        unsafe { blst_fr_cneg(&raw mut out, &raw const self.0, true) };
        Self(out)
    }

    /// The inverse modulo r; zero for zero.
    pub(crate) fn invert(&self) -> Self {
        let mut out = blst_fr::default();
        // SAFETY: the argument is a reduced field element.
        unsafe { blst_fr_inverse(&raw mut out, &raw const self.0) };
        Self(out)
    }

    /// A second owner of the same value, named so that copies of secrets stand out in review.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0)
    }

    /// Whether two public scalars are equal. Not for secrets.
    pub(crate) fn public_eq(&self, other: &Self) -> bool {
        self.0.l == other.0.l
    }

    /// The four digits of the scalar in base |x|, least significant first.
    ///
    /// r = x^4 - x^2 + 1 < |x|^4, so four digits suffice. Restoring division bit by bit: hardware
    /// division takes time that depends on its operands.
    fn digits(&self) -> [u64; 4] {
        let raw = self.to_raw();
        let mut value = [0u64; 4];
        for (limb, bytes) in value.iter_mut().zip(raw.b.chunks_exact(8)) {
            *limb = bytes.first_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        }
        let mut digits = [0u64; 4];
        for digit in &mut digits {
            let mut rest: u128 = 0;
            for limb in value.iter_mut().rev() {
                let mut quotient = 0u64;
                for bit in (0..64).rev() {
                    rest = (rest << 1) | u128::from((*limb >> bit) & 1);
                    let reduced = rest.wrapping_sub(u128::from(X_ABS));
                    // All ones if the subtraction borrowed, that is, if rest < |x|.
                    let keep = black_box((reduced >> 127).wrapping_neg());
                    rest = (rest & keep) | (reduced & !keep);
                    quotient = (quotient << 1) | u64::from((!keep & 1) as u8);
                }
                *limb = quotient;
            }
            *digit = rest as u64;
        }
        value.zeroize();
        digits
    }
}

/// A point of G1 in affine form; the identity is possible.
#[derive(Clone)]
pub(crate) struct G1(blst_p1_affine);

impl Zeroize for G1 {
    fn zeroize(&mut self) {
        self.0.x.l.zeroize();
        self.0.y.l.zeroize();
    }
}

impl G1 {
    /// The standard generator g1.
    pub(crate) fn generator() -> &'static Self {
        static POINT: LazyLock<G1> = LazyLock::new(|| {
            // SAFETY: blst returns a pointer to a constant.
            G1(unsafe { *blst_p1_affine_generator() })
        });
        &POINT
    }

    /// The identity.
    pub(crate) fn identity() -> Self {
        Self(blst_p1_affine::default())
    }

    /// Decodes a compressed point. `None` unless it is canonical, on the curve, in the subgroup
    /// and not the identity.
    pub(crate) fn from_bytes(bytes: &[u8; G1_BYTES]) -> Option<Self> {
        // SAFETY: reads a point of the curve.
        Self::on_curve(bytes).filter(|point| unsafe { blst_p1_affine_in_g1(&raw const point.0) })
    }

    /// The compressed form.
    pub(crate) fn to_bytes(&self) -> [u8; G1_BYTES] {
        let mut out = [0u8; G1_BYTES];
        // SAFETY: writes 48 bytes into a buffer of 48 bytes.
        unsafe { blst_p1_affine_compress(out.as_mut_ptr(), &raw const self.0) };
        out
    }

    /// k·P for a secret k and any P; constant time in k.
    pub(crate) fn mul(&self, k: &Scalar) -> Self {
        Self::from_jacobian(&p1_mul(&self.0, k))
    }

    /// The sum of two points.
    pub(crate) fn add(&self, other: &Self) -> Self {
        let mut sum = blst_p1::default();
        // SAFETY: local values; the complete addition handles equal points and the identity.
        unsafe {
            blst_p1_from_affine(&raw mut sum, &raw const self.0);
            blst_p1_add_or_double_affine(&raw mut sum, &raw const sum, &raw const other.0);
        }
        Self::from_jacobian(&sum)
    }

    /// The negative of the point.
    pub(crate) fn neg(&self) -> Self {
        let mut point = blst_p1::default();
        // SAFETY: local values.
        unsafe {
            blst_p1_from_affine(&raw mut point, &raw const self.0);
            blst_p1_cneg(&raw mut point, true);
        }
        Self::from_jacobian(&point)
    }

    /// Whether the point is the identity.
    pub(crate) fn is_identity(&self) -> bool {
        // SAFETY: reads a local value.
        unsafe { blst_p1_affine_is_inf(&raw const self.0) }
    }

    fn from_jacobian(point: &blst_p1) -> Self {
        let mut out = blst_p1_affine::default();
        // SAFETY: local values.
        unsafe { blst_p1_to_affine(&raw mut out, &raw const *point) };
        Self(out)
    }
}

fn p1_mul(point: &blst_p1_affine, k: &Scalar) -> blst_p1 {
    let raw = k.to_raw();
    let mut base = blst_p1::default();
    let mut out = blst_p1::default();
    // SAFETY: `raw` has 32 bytes, 255 bits are read; the point is in the subgroup (GLV).
    unsafe {
        blst_p1_from_affine(&raw mut base, &raw const *point);
        blst_p1_mult(&raw mut out, &raw const base, raw.b.as_ptr(), SCALAR_BITS);
    }
    out
}

/// A point of G2 in affine form; the identity is possible.
#[derive(Clone)]
pub(crate) struct G2(blst_p2_affine);

impl Zeroize for G2 {
    fn zeroize(&mut self) {
        for part in self.0.x.fp.iter_mut().chain(self.0.y.fp.iter_mut()) {
            part.l.zeroize();
        }
    }
}

impl G2 {
    /// The identity.
    pub(crate) fn identity() -> Self {
        Self(blst_p2_affine::default())
    }

    /// Decodes a compressed point. `None` unless it is canonical, on the curve, in the subgroup
    /// and not the identity.
    pub(crate) fn from_bytes(bytes: &[u8; G2_BYTES]) -> Option<Self> {
        // SAFETY: reads a point of the curve.
        Self::on_curve(bytes).filter(|point| unsafe { blst_p2_affine_in_g2(&raw const point.0) })
    }

    /// The compressed form.
    pub(crate) fn to_bytes(&self) -> [u8; G2_BYTES] {
        let mut out = [0u8; G2_BYTES];
        // SAFETY: writes 96 bytes into a buffer of 96 bytes.
        unsafe { blst_p2_affine_compress(out.as_mut_ptr(), &raw const self.0) };
        out
    }

    /// The standard generator g2.
    pub(crate) fn generator() -> Self {
        // SAFETY: blst returns a pointer to a constant.
        Self(unsafe { *blst_p2_affine_generator() })
    }

    /// Hash to the curve, RFC 9380 §8.8.2 suite `BLS12381G2_XMD:SHA-256_SSWU_RO_`.
    pub(crate) fn hash(message: &[u8], dst: &[u8]) -> Self {
        let mut point = blst_p2::default();
        // SAFETY: pointers come with their lengths; the augmentation is empty.
        unsafe {
            blst_hash_to_g2(
                &raw mut point,
                message.as_ptr(),
                message.len(),
                dst.as_ptr(),
                dst.len(),
                std::ptr::null(),
                0,
            );
        }
        Self::from_jacobian(&point)
    }

    /// k·P for a secret k and any P; constant time in k.
    pub(crate) fn mul(&self, k: &Scalar) -> Self {
        let raw = k.to_raw();
        let mut base = blst_p2::default();
        let mut out = blst_p2::default();
        // SAFETY: `raw` has 32 bytes, 255 bits are read; the point is in the subgroup (GLS).
        unsafe {
            blst_p2_from_affine(&raw mut base, &raw const self.0);
            blst_p2_mult(&raw mut out, &raw const base, raw.b.as_ptr(), SCALAR_BITS);
        }
        Self::from_jacobian(&out)
    }

    /// The sum of two points.
    pub(crate) fn add(&self, other: &Self) -> Self {
        let mut left = blst_p2::default();
        let mut right = blst_p2::default();
        // SAFETY: local values; the complete addition handles equal points and the identity.
        unsafe {
            blst_p2_from_affine(&raw mut left, &raw const self.0);
            blst_p2_from_affine(&raw mut right, &raw const other.0);
            blst_p2_add_or_double(&raw mut left, &raw const left, &raw const right);
        }
        Self::from_jacobian(&left)
    }

    /// Whether the point is the identity.
    pub(crate) fn is_identity(&self) -> bool {
        // SAFETY: reads a local value.
        unsafe { blst_p2_affine_is_inf(&raw const self.0) }
    }

    fn from_jacobian(point: &blst_p2) -> Self {
        let mut out = blst_p2_affine::default();
        // SAFETY: local values.
        unsafe { blst_p2_to_affine(&raw mut out, &raw const *point) };
        Self(out)
    }
}

/// An element of the order-r subgroup of the multiplicative group of the twelfth-degree extension.
#[derive(Clone)]
pub(crate) struct Gt(blst_fp12);

impl Zeroize for Gt {
    fn zeroize(&mut self) {
        limbs_mut(&mut self.0).zeroize();
    }
}

impl Gt {
    /// The neutral element.
    pub(crate) fn one() -> Self {
        Self(blst_fp12::default())
    }

    /// e(g1, g2) for the standard generators.
    pub(crate) fn generator() -> &'static Self {
        static PAIRED: LazyLock<Gt> = LazyLock::new(|| multi_pairing(&[(G1::generator(), &G2::generator())]));
        &PAIRED
    }

    /// Decodes 576 bytes. `None` unless every coefficient is below p, and the element is in the
    /// subgroup of order r and not one.
    ///
    /// There is no standard encoding of GT. Here: Fp12 = Fp2[w]/(w^6 - (u+1)); the coefficients of
    /// w^0 … w^5, each the Fp2 pair (c0, c1) of c0 + c1·u, each 48 bytes big-endian.
    pub(crate) fn from_bytes(bytes: &[u8; GT_BYTES]) -> Option<Self> {
        // SAFETY: reads a local value.
        Self::in_field(bytes).filter(|element| unsafe { blst_fp12_in_group(&raw const element.0) })
    }

    /// The 576 bytes described at [`Gt::from_bytes`].
    pub(crate) fn to_bytes(&self) -> [u8; GT_BYTES] {
        let mut out = [0u8; GT_BYTES];
        // SAFETY: writes 576 bytes into a buffer of 576 bytes.
        unsafe { blst_bendian_from_fp12(out.as_mut_ptr(), &raw const self.0) };
        out
    }

    /// Whether a public element is the neutral one.
    pub(crate) fn is_one(&self) -> bool {
        self.0 == blst_fp12::default()
    }

    /// Whether two public elements are equal.
    pub(crate) fn public_eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// The product.
    pub(crate) fn mul(&self, other: &Self) -> Self {
        Self(fp12_mul(&self.0, &other.0))
    }

    /// The power by a secret scalar; constant time.
    ///
    /// Four digits in base |x| with shared squarings: raising to p is the Frobenius map, and p ≡ x
    /// modulo r. Windows of four bits, every entry of the table read for each.
    pub(crate) fn pow(&self, k: &Scalar) -> Self {
        let mut table = vec![blst_fp12::default(); 16];
        let mut last = blst_fp12::default();
        for entry in table.iter_mut().skip(1) {
            last = fp12_mul(&last, &self.0);
            *entry = last;
        }
        let mut digits = k.digits();
        let mut acc = blst_fp12::default();
        for window in (0..16u32).rev() {
            for _ in 0..4 {
                // SAFETY: in and out may be the same; the element is in the cyclotomic subgroup.
                unsafe { blst_fp12_cyclotomic_sqr(&raw mut acc, &raw const acc) };
            }
            for (power, digit) in (0usize..).zip(digits.iter()) {
                let entry = select(&table, (digit >> (4 * window)) & 15);
                acc = fp12_mul(&acc, &power_of_x(&entry, power));
            }
        }
        digits.zeroize();
        Self(acc)
    }
}

/// Bits of a window of the fixed tables.
const WINDOW: u32 = 5;
/// Entries of a window: the multiples 1 … 16; zero is no entry and signs are applied after.
const ENTRIES: usize = 1 << (WINDOW - 1);
/// Windows of a 64-bit digit and of a scalar, with room for the last carry.
const DIGIT_WINDOWS: usize = 13;
const SCALAR_WINDOWS: usize = 52;

/// Booth's signed digits of five bits, lowest first: (negative, magnitude up to 16).
///
/// Digit i is b(5i-1) + b(5i) + 2·b(5i+1) + 4·b(5i+2) + 8·b(5i+3) - 16·b(5i+4).
fn booth<'a>(bytes: &'a [u8], windows: usize) -> impl Iterator<Item = (bool, u64)> + 'a {
    let bit = |index: Option<usize>| {
        let byte = index.and_then(|index| bytes.get(index / 8).map(|byte| (byte, index % 8)));
        byte.map_or(0, |(byte, shift)| i64::from((byte >> shift) & 1))
    };
    (0..windows).map(move |window| {
        let low = window * WINDOW as usize;
        let mut digit = bit(low.checked_sub(1));
        for shift in 0..4 {
            digit += bit(Some(low + shift)) << shift;
        }
        let digit = black_box(digit - (bit(Some(low + 4)) << 4));
        let sign = digit >> 63;
        (sign & 1 == 1, ((digit ^ sign) - sign) as u64)
    })
}

/// Powers of one GT element, for many exponents: 13 windows of 16 entries, 120 kB.
pub(crate) struct GtTable(Vec<blst_fp12>);

impl GtTable {
    /// The table of `base`.
    pub(crate) fn new(base: &Gt) -> Self {
        let mut entries = Vec::with_capacity(DIGIT_WINDOWS * ENTRIES);
        let mut step = base.0;
        for _ in 0..DIGIT_WINDOWS {
            let mut entry = step;
            for _ in 1..ENTRIES {
                entries.push(entry);
                entry = fp12_mul(&entry, &step);
            }
            entries.push(entry);
            // 32 times the step.
            step = fp12_mul(&entry, &entry);
        }
        Self(entries)
    }

    /// The table of e(g1, g2).
    pub(crate) fn generator() -> &'static Self {
        static TABLE: LazyLock<GtTable> = LazyLock::new(|| GtTable::new(Gt::generator()));
        &TABLE
    }

    /// The power by a secret scalar; constant time: each window reads all of its entries.
    pub(crate) fn pow(&self, k: &Scalar) -> Gt {
        let mut digits = k.digits();
        let mut out = blst_fp12::default();
        for (power, digit) in (0usize..).zip(digits.iter()) {
            let mut acc = blst_fp12::default();
            let mut bytes = digit.to_le_bytes();
            let windows = self.0.chunks_exact(ENTRIES);
            for (entries, (negative, magnitude)) in windows.zip(booth(&bytes, DIGIT_WINDOWS)) {
                acc = fp12_mul(&acc, &select_signed(entries, negative, magnitude));
            }
            bytes.zeroize();
            out = fp12_mul(&out, &power_of_x(&acc, power));
        }
        digits.zeroize();
        Gt(out)
    }
}

/// Entry `magnitude` - 1, or one for magnitude zero; conjugated, which inverts, if negative.
fn select_signed(entries: &[blst_fp12], negative: bool, magnitude: u64) -> blst_fp12 {
    let mut out = blst_fp12::default();
    let zero = equal_mask(magnitude, 0);
    limbs_mut(&mut out).iter_mut().for_each(|limb| *limb &= zero);
    for (position, entry) in (1u64..).zip(entries) {
        let mask = equal_mask(position, magnitude);
        for (limb, source) in limbs_mut(&mut out).iter_mut().zip(limbs(entry)) {
            *limb |= source & mask;
        }
    }
    let odd_powers_of_w = out.fp6.iter_mut().skip(1).flat_map(|part| &mut part.fp2);
    for part in odd_powers_of_w.flat_map(|pair| &mut pair.fp) {
        // SAFETY: in and out may be the same; the flag is applied as a mask.
        unsafe { blst_fp_cneg(&raw mut *part, &raw const *part, negative) };
    }
    out
}

/// Multiples of one G1 point, for many scalars: 52 windows of 16 entries, 80 kB.
pub(crate) struct G1Table(Vec<blst_p1_affine>);

impl G1Table {
    /// The table of `base`, which is not the identity.
    pub(crate) fn new(base: &G1) -> Self {
        let mut points = Vec::with_capacity(SCALAR_WINDOWS * ENTRIES);
        let mut step = blst_p1::default();
        // SAFETY: local values; the complete addition handles equal points.
        unsafe {
            blst_p1_from_affine(&raw mut step, &raw const base.0);
            for _ in 0..SCALAR_WINDOWS {
                let mut entry = step;
                for _ in 1..ENTRIES {
                    points.push(entry);
                    blst_p1_add_or_double(&raw mut entry, &raw const entry, &raw const step);
                }
                points.push(entry);
                // 32 times the step.
                blst_p1_add_or_double(&raw mut step, &raw const entry, &raw const entry);
            }
        }
        let mut entries = vec![blst_p1_affine::default(); points.len()];
        let list = [points.as_ptr(), std::ptr::null()];
        // SAFETY: both arrays have the stated length; a null after the first pointer tells blst
        // to go on in the same array. No multiple below 32^52 by 1 … 16 is the identity.
        unsafe { blst_p1s_to_affine(entries.as_mut_ptr(), list.as_ptr(), points.len()) };
        Self(entries)
    }

    /// The table of the standard generator g1.
    pub(crate) fn generator() -> &'static Self {
        static TABLE: LazyLock<G1Table> = LazyLock::new(|| G1Table::new(G1::generator()));
        &TABLE
    }

    /// k·P for a secret k; constant time: each window reads all of its entries.
    pub(crate) fn mul(&self, k: &Scalar) -> G1 {
        G1::from_jacobian(&self.mul_jacobian(k))
    }

    /// k·P + l·Q for two tables and two secret scalars.
    pub(crate) fn mul_add(&self, k: &Scalar, other: &Self, l: &Scalar) -> G1 {
        let (left, right) = (self.mul_jacobian(k), other.mul_jacobian(l));
        let mut sum = blst_p1::default();
        // SAFETY: local values; the complete addition handles equal points and the identity.
        unsafe { blst_p1_add_or_double(&raw mut sum, &raw const left, &raw const right) };
        G1::from_jacobian(&sum)
    }

    fn mul_jacobian(&self, k: &Scalar) -> blst_p1 {
        let raw = k.to_raw();
        let mut acc = blst_p1::default();
        let windows = self.0.chunks_exact(ENTRIES);
        for (entries, (negative, magnitude)) in windows.zip(booth(&raw.b, SCALAR_WINDOWS)) {
            // All zero is the identity in affine form, and stays so for magnitude zero.
            let mut entry = blst_p1_affine::default();
            for (position, candidate) in (1u64..).zip(entries) {
                let mask = equal_mask(position, magnitude);
                for (to, from) in [(&mut entry.x.l, &candidate.x.l), (&mut entry.y.l, &candidate.y.l)] {
                    for (limb, source) in to.iter_mut().zip(from) {
                        *limb |= source & mask;
                    }
                }
            }
            // SAFETY: local values; the flag is applied as a mask, and zero stays zero; the
            // complete addition handles the identity in either place.
            unsafe {
                blst_fp_cneg(&raw mut entry.y, &raw const entry.y, negative);
                blst_p1_add_or_double_affine(&raw mut acc, &raw const acc, &raw const entry);
            }
        }
        acc
    }
}

/// Π e(P, Q) with one final exponentiation. Pairs with an identity contribute nothing.
///
/// e is the optimal ate pairing for the negative x, with the final exponent 3·(p^12 - 1)/r, as in
/// most libraries; one that leaves out the 3 computes another pairing and other bytes of GT.
pub(crate) fn multi_pairing(pairs: &[(&G1, &G2)]) -> Gt {
    let (mut lefts, mut rights) = (Vec::new(), Vec::new());
    for (left, right) in pairs {
        if !left.is_identity() && !right.is_identity() {
            lefts.push(left.0);
            rights.push(right.0);
        }
    }
    if lefts.is_empty() {
        return Gt::one();
    }
    let (left_list, right_list) = ([lefts.as_ptr(), std::ptr::null()], [rights.as_ptr(), std::ptr::null()]);
    let mut out = blst_fp12::default();
    // SAFETY: both arrays hold `lefts.len()` points in a row, none at infinity; a null after the
    // first pointer tells blst to go on in the same array.
    unsafe {
        blst_miller_loop_n(&raw mut out, right_list.as_ptr(), left_list.as_ptr(), lefts.len());
        blst_final_exp(&raw mut out, &raw const out);
    }
    Gt(out)
}

fn fp12_mul(left: &blst_fp12, right: &blst_fp12) -> blst_fp12 {
    let mut out = blst_fp12::default();
    // SAFETY: local values.
    unsafe { blst_fp12_mul(&raw mut out, &raw const *left, &raw const *right) };
    out
}

/// f^(|x|^power) for f in GT and power at most 3: the Frobenius map, conjugated for odd powers
/// because x is negative.
fn power_of_x(f: &blst_fp12, power: usize) -> blst_fp12 {
    if power == 0 {
        return *f;
    }
    let mut out = blst_fp12::default();
    // SAFETY: local values; blst has the constants for powers one to three.
    unsafe {
        blst_fp12_frobenius_map(&raw mut out, &raw const *f, power);
        if power % 2 == 1 {
            blst_fp12_conjugate(&raw mut out);
        }
    }
    out
}

/// All ones if the two small numbers are equal, else zero, without a branch.
fn equal_mask(left: u64, right: u64) -> u64 {
    black_box(((left ^ right).wrapping_sub(1) >> 63).wrapping_neg())
}

/// The entry at `index`, reading all entries.
fn select(table: &[blst_fp12], index: u64) -> blst_fp12 {
    let mut out = [0u64; GT_BYTES / 8];
    for (position, entry) in (0u64..).zip(table) {
        let mask = equal_mask(position, index);
        for (limb, source) in out.iter_mut().zip(limbs(entry)) {
            *limb |= source & mask;
        }
    }
    let mut element = blst_fp12::default();
    *limbs_mut(&mut element) = out;
    element
}

fn limbs(element: &blst_fp12) -> &[u64; GT_BYTES / 8] {
    // SAFETY: `blst_fp12` is `repr(C)` nested arrays of 72 u64, without padding.
    unsafe { &*std::ptr::from_ref(element).cast() }
}

fn limbs_mut(element: &mut blst_fp12) -> &mut [u64; GT_BYTES / 8] {
    // SAFETY: as in `limbs`; the borrow is exclusive.
    unsafe { &mut *std::ptr::from_mut(element).cast() }
}

#[cfg(test)]
#[path = "curve_tests.rs"]
mod tests;
