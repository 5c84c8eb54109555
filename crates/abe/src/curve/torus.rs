//! GT in half the bytes: the torus T2 (Rubin and Silverberg, CRYPTO 2003, §4).
//!
//! An element g = a + b·w of norm 1 over the sixth-degree extension (w² = v) other than ±1 is one number
//! c = (1 + a) / b of that field, and g = (c + w) / (c - w). So 288 bytes carry what 576 do; the map is one to one, so
//! there is still one encoding for each element. For public elements only: decoding branches.
#![expect(unsafe_code, reason = "as in the parent module")]

use blst::{
    blst_bendian_from_fp, blst_fp, blst_fp_add, blst_fp_from_bendian, blst_fp12, blst_fp12_conjugate,
    blst_fp12_in_group, blst_fp12_inverse,
};

use super::{Gt, fp12_mul};

/// Bytes of an element of GT in torus form: six base field elements.
pub(crate) const TORUS_BYTES: usize = 288;

fn inverse(element: &blst_fp12) -> blst_fp12 {
    let mut out = blst_fp12::default();
    // SAFETY: local values; the inverse of zero is zero.
    unsafe { blst_fp12_inverse(&raw mut out, &raw const *element) };
    out
}

/// Zero, as no constructor of blst gives it.
fn zero() -> blst_fp12 {
    let mut out = blst_fp12::default();
    super::limbs_mut(&mut out).fill(0);
    out
}

/// The coefficients of an element of the sixth-degree extension, as it lies at the even powers of w.
fn even(element: &mut blst_fp12) -> impl Iterator<Item = &mut blst_fp> {
    element.fp6.iter_mut().take(1).flat_map(|half| &mut half.fp2).flat_map(|pair| &mut pair.fp)
}

impl Gt {
    /// c as its coefficients of v^0, v^1, v^2, each the pair (c0, c1) of c0 + c1·u, 48 bytes big-endian each. The two
    /// elements without such a c give zeros, which decode to nothing.
    pub(crate) fn to_torus(&self) -> [u8; TORUS_BYTES] {
        let [a, b] = self.0.fp6;
        let (mut above, mut below) = (zero(), zero());
        let one = blst_fp12::default();
        above.fp6 = [a, above.fp6[1]];
        below.fp6 = [b, below.fp6[1]];
        for (part, one) in even(&mut above).zip(even(&mut one.clone())) {
            // SAFETY: in and out may be the same; reduced field elements.
            unsafe { blst_fp_add(&raw mut *part, &raw const *part, &raw const *one) };
        }
        let mut quotient = fp12_mul(&above, &inverse(&below));
        let mut out = [0u8; TORUS_BYTES];
        for (bytes, part) in out.chunks_exact_mut(48).zip(even(&mut quotient)) {
            // SAFETY: writes 48 bytes into a buffer of 48 bytes.
            unsafe { blst_bendian_from_fp(bytes.as_mut_ptr(), &raw const *part) };
        }
        out
    }

    /// Decodes 288 bytes. `None` unless every coefficient is below p, and the element is in the subgroup of order r and
    /// not one.
    pub(crate) fn from_torus(bytes: &[u8; TORUS_BYTES]) -> Option<Self> {
        // SAFETY: reads a local value.
        Self::on_torus(bytes).filter(|element| unsafe { blst_fp12_in_group(&raw const element.0) })
    }

    /// The same without the question whether the element is in the subgroup ([`super::arrived`]).
    pub(crate) fn on_torus(bytes: &[u8; TORUS_BYTES]) -> Option<Self> {
        let mut above = zero();
        for (bytes, part) in bytes.chunks_exact(48).zip(even(&mut above)) {
            let mut back = [0u8; 48];
            // SAFETY: reads 48 bytes, writes 48 bytes; an input of p or more is reduced.
            unsafe {
                blst_fp_from_bendian(&raw mut *part, bytes.as_ptr());
                blst_bendian_from_fp(back.as_mut_ptr(), &raw const *part);
            }
            if back != *bytes {
                return None;
            }
        }
        let one = blst_fp12::default();
        above.fp6[1].fp2[0] = one.fp6[0].fp2[0];
        let mut below = above;
        // SAFETY: local values. The conjugate of c + w is c - w.
        unsafe { blst_fp12_conjugate(&raw mut below) };
        let element = Self(fp12_mul(&above, &inverse(&below)));
        (!element.is_one()).then_some(element)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::curve::{GtTable, Scalar};

    proptest! {
        #[test]
        fn elements_survive_the_torus(wide in any::<[u8; 32]>()) {
            let mut bytes = [0; 64];
            bytes[32..].copy_from_slice(&wide);
            bytes[63] |= 1;
            let element = GtTable::generator().pow(&Scalar::from_wide(&bytes));
            let again = Gt::from_torus(&element.to_torus()).unwrap();
            prop_assert!(again.public_eq(&element));
        }

        #[test]
        fn no_other_bytes_are_elements(wide in any::<[u8; 32]>(), at in 0..TORUS_BYTES, bit in 0..8u8) {
            let mut bytes = [0; 64];
            bytes[32..].copy_from_slice(&wide);
            let mut torus = GtTable::generator().pow(&Scalar::from_wide(&bytes)).to_torus();
            torus[at] ^= 1u8 << bit;
            prop_assert!(Gt::from_torus(&torus).is_none());
        }
    }

    #[test]
    fn what_is_no_element_is_refused() {
        // c = 0 is -1; the element one has no c and is written as zeros.
        assert!(Gt::from_torus(&[0; TORUS_BYTES]).is_none());
        assert_eq!(Gt::one().to_torus(), [0; TORUS_BYTES]);
        assert!(Gt::from_torus(&[0xff; TORUS_BYTES]).is_none());
        // A coefficient of p or more: p added to one of a good element.
        let p = [
            "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f624",
            "1eabfffeb153ffffb9feffffffffaaab",
        ];
        let p = hex::decode(p.concat()).unwrap();
        let mut torus = Gt::generator().to_torus();
        let mut carry = 0u16;
        for (byte, add) in torus[..48].iter_mut().zip(&p).rev() {
            carry += u16::from(*byte) + u16::from(*add);
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        assert_eq!(carry, 0);
        assert!(Gt::from_torus(&torus).is_none());
    }
}
