//! Group elements as they arrived: canonical and on their curves, of unknown order.
//!
//! Whether an element is in its subgroup costs more than reading it. Decapsulation does not ask: it computes every
//! element of the header again, inside the subgroups, and compares, so a header with another element opens to noise
//! ([`crate::kem::Received`]). What is computed with such elements before that comparison means nothing, but is computed
//! without panic and without regard to secrets. Everything else decodes by `from_bytes`.
#![expect(unsafe_code, reason = "as in the parent module")]

use blst::{
    BLST_ERROR, blst_bendian_from_fp, blst_fp, blst_fp_from_bendian, blst_fp12, blst_p1_affine,
    blst_p1_uncompress, blst_p2_affine, blst_p2_uncompress,
};

use super::{G1, G1_BYTES, G2, G2_BYTES, GT_BYTES, Gt};

impl G1 {
    /// A canonical point of the curve other than the identity.
    pub(crate) fn on_curve(bytes: &[u8; G1_BYTES]) -> Option<Self> {
        let mut point = blst_p1_affine::default();
        // SAFETY: reads 48 bytes, writes a local value.
        let read = unsafe { blst_p1_uncompress(&raw mut point, bytes.as_ptr()) };
        let point = Self(point);
        let valid = read == BLST_ERROR::BLST_SUCCESS && !point.is_identity() && point.to_bytes() == *bytes;
        valid.then_some(point)
    }
}

impl G2 {
    /// A canonical point of the curve other than the identity.
    pub(crate) fn on_curve(bytes: &[u8; G2_BYTES]) -> Option<Self> {
        let mut point = blst_p2_affine::default();
        // SAFETY: reads 96 bytes, writes a local value.
        let read = unsafe { blst_p2_uncompress(&raw mut point, bytes.as_ptr()) };
        let point = Self(point);
        let valid = read == BLST_ERROR::BLST_SUCCESS && !point.is_identity() && point.to_bytes() == *bytes;
        valid.then_some(point)
    }
}

impl Gt {
    /// Twelve coefficients below p, of an element other than one.
    pub(crate) fn in_field(bytes: &[u8; GT_BYTES]) -> Option<Self> {
        let mut element = blst_fp12::default();
        for (index, chunk) in bytes.chunks_exact(48).enumerate() {
            let mut part = blst_fp::default();
            let mut back = [0u8; 48];
            // SAFETY: reads 48 bytes, writes 48 bytes; an input of p or more is reduced.
            unsafe {
                blst_fp_from_bendian(&raw mut part, chunk.as_ptr());
                blst_bendian_from_fp(back.as_mut_ptr(), &raw const part);
            }
            if back != *chunk {
                return None;
            }
            // w^(2i+j) has its coefficient at fp6[j].fp2[i], since w^2 = v.
            let (power, half) = (index / 2, index % 2);
            *element.fp6.get_mut(power % 2)?.fp2.get_mut(power / 2)?.fp.get_mut(half)? = part;
        }
        let element = Self(element);
        (!element.is_one()).then_some(element)
    }
}
