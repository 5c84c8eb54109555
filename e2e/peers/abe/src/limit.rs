//! What the curve arithmetic of each operation costs at the least: the operations that RW15 needs, each at the cost that
//! blst takes for it alone in the same round. Nothing else is counted: no hashing of coins, no reading of all entries of
//! a table, no encoding, no allocation.

use std::hint::black_box;

use blst::{
    BLST_ERROR, blst_final_exp, blst_fp12, blst_fp12_frobenius_map, blst_fp12_mul, blst_hash_to_g2,
    blst_miller_loop_n, blst_p1, blst_p1_add_or_double_affine, blst_p1_affine, blst_p1_affine_compress,
    blst_p1_affine_generator, blst_p1_to_affine, blst_p1_uncompress, blst_p2, blst_p2_add_or_double_affine,
    blst_p2_affine, blst_p2_affine_compress, blst_p2_affine_generator, blst_p2_from_affine, blst_p2_mult,
    blst_p2_to_affine, blst_p2_uncompress,
};
use consilium_testkit::bench::measure;

use crate::Failure;

/// Multiplications of a power of a fixed element: a scalar of 255 bit in signed digits of five.
const WINDOWS: f64 = 52.0;

/// Nanoseconds of one of each.
pub struct Costs {
    gt_mul: f64,
    frobenius: f64,
    g1_add: f64,
    g1_affine: f64,
    g2_add: f64,
    g2_mul: f64,
    g2_affine: f64,
    g2_hash: f64,
    final_exp: f64,
    g1_read: f64,
    g2_read: f64,
    inputs: Inputs,
}

struct Inputs {
    g1: blst_p1_affine,
    g2: blst_p2_affine,
    gt: blst_fp12,
}

fn each(times: u32, mut work: impl FnMut()) -> Result<f64, Failure> {
    let ((), nanos) = measure(|| (0..times).for_each(|_| work()))?;
    Ok(nanos as f64 / f64::from(times))
}

impl Inputs {
    fn new() -> Self {
        // SAFETY: blst returns pointers to constants; the others are local values.
        unsafe {
            let (g1, g2) = (*blst_p1_affine_generator(), *blst_p2_affine_generator());
            let mut gt = blst_fp12::default();
            blst_miller_loop_n(
                &mut gt,
                [&raw const g2, std::ptr::null()].as_ptr(),
                [&raw const g1, std::ptr::null()].as_ptr(),
                1,
            );
            blst_final_exp(&mut gt, &gt);
            Self { g1, g2, gt }
        }
    }
}

impl Costs {
    /// Measures all of them.
    #[allow(clippy::too_many_lines, reason = "one line for each")]
    pub fn measure() -> Result<Self, Failure> {
        let inputs = Inputs::new();
        let (mut gt, mut p1, mut p2) = (inputs.gt, blst_p1::default(), blst_p2::default());
        let (mut a1, mut a2) = (inputs.g1, inputs.g2);
        let scalar: [u8; 32] = std::array::from_fn(|i| (i as u8).wrapping_mul(73) & 0x3f | 0x21);
        let (mut c1, mut c2) = ([0u8; 48], [0u8; 96]);
        // SAFETY: all arguments are local values of the stated types; buffers have the lengths that blst writes and reads.
        unsafe {
            let mut jacobian = blst_p2::default();
            blst_p2_from_affine(&mut jacobian, &inputs.g2);
            blst_p1_affine_compress(c1.as_mut_ptr(), &inputs.g1);
            blst_p2_affine_compress(c2.as_mut_ptr(), &inputs.g2);
            // A sum that is neither the summand nor the identity.
            blst_p1_add_or_double_affine(&mut p1, &p1, &inputs.g1);
            blst_p1_add_or_double_affine(&mut p1, &p1, &inputs.g1);
            blst_p2_add_or_double_affine(&mut p2, &jacobian, &inputs.g2);
            Ok(Self {
                gt_mul: each(200, || blst_fp12_mul(&mut gt, &gt, black_box(&inputs.gt)))?,
                frobenius: each(200, || blst_fp12_frobenius_map(&mut gt, &gt, 1))?,
                g1_add: each(500, || blst_p1_add_or_double_affine(&mut p1, &p1, black_box(&inputs.g1)))?,
                g1_affine: each(50, || blst_p1_to_affine(&mut a1, black_box(&p1)))?,
                g2_add: each(200, || blst_p2_add_or_double_affine(&mut p2, &p2, black_box(&inputs.g2)))?,
                g2_mul: each(10, || blst_p2_mult(&mut p2, black_box(&jacobian), scalar.as_ptr(), 255))?,
                g2_affine: each(50, || blst_p2_to_affine(&mut a2, black_box(&p2)))?,
                g2_hash: each(10, || {
                    blst_hash_to_g2(&mut p2, scalar.as_ptr(), 32, scalar.as_ptr(), 32, std::ptr::null(), 0);
                })?,
                final_exp: each(5, || blst_final_exp(&mut gt, black_box(&inputs.gt)))?,
                g1_read: each(20, || {
                    black_box(blst_p1_uncompress(&mut a1, c1.as_ptr()) == BLST_ERROR::BLST_SUCCESS);
                })?,
                g2_read: each(20, || {
                    black_box(blst_p2_uncompress(&mut a2, c2.as_ptr()) == BLST_ERROR::BLST_SUCCESS);
                })?,
                inputs,
            })
        }
    }

    /// A fixed element of GT to a secret power: four digits in base |x|, Frobenius maps between them.
    fn gt_power(&self) -> f64 {
        WINDOWS * self.gt_mul + 3.0 * self.frobenius
    }

    /// Issue of keys: g2^α·H(GID)^y once for each authority, F(u)^t and g1^t for each attribute.
    pub fn keygen(&self, rows: usize, authorities: usize) -> u64 {
        let (rows, authorities) = (rows as f64, authorities as f64);
        let shared = self.g2_hash + self.g2_mul + self.g2_add + self.g2_affine;
        let each = self.g2_mul + self.g2_add + self.g2_affine + WINDOWS * self.g1_add + self.g1_affine;
        (authorities * shared + rows * each) as u64
    }

    /// Encapsulation under an AND: for each row two powers in GT, three in G1 and one in G2 of a hashed attribute; Z is
    /// the product of the rows' powers.
    pub fn encapsulate(&self, rows: usize) -> u64 {
        let g1 = 3.0 * WINDOWS * self.g1_add + 2.0 * self.g1_affine;
        let row = 2.0 * self.gt_power() + self.gt_mul + g1 + self.g2_mul + self.g2_affine;
        (rows as f64 * (row + self.gt_mul)) as u64
    }

    /// Decoding to open: two points of G1 and one of G2 for each row. Subgroups are not asked for: encryption again and
    /// comparison find out.
    pub fn decode(&self, rows: usize) -> u64 {
        (rows as f64 * (2.0 * self.g1_read + self.g2_read)) as u64
    }

    /// Decoding, one product of 2·rows + 1 pairings, the rows' product, and encryption again.
    pub fn decapsulate(&self, rows: usize) -> Result<u64, Failure> {
        let pairs = 2 * rows + 1;
        let (lefts, rights) = (vec![self.inputs.g1; pairs], vec![self.inputs.g2; pairs]);
        let mut out = blst_fp12::default();
        let miller = each(1, || {
            let (left, right) = ([lefts.as_ptr(), std::ptr::null()], [rights.as_ptr(), std::ptr::null()]);
            // SAFETY: both arrays hold `pairs` points in a row, none at infinity.
            unsafe { blst_miller_loop_n(&mut out, right.as_ptr(), left.as_ptr(), pairs) };
        })?;
        let products = (rows as f64 + 1.0) * self.gt_mul + rows as f64 * self.g1_add + self.g1_affine;
        Ok(self.decode(rows) + self.encapsulate(rows) + (miller + self.final_exp + products) as u64)
    }

    /// The costs in one line, in microseconds.
    pub fn told(&self) -> String {
        let us = |nanos: f64| format!("{:.2}", nanos / 1e3);
        format!(
            "GT multiplication {}, Frobenius {}, G1 addition {}, to affine {}, G2 addition {}, multiplication {}, to \
             affine {}, hash {}, final exponentiation {}; decoding: G1 {}, G2 {}",
            us(self.gt_mul),
            us(self.frobenius),
            us(self.g1_add),
            us(self.g1_affine),
            us(self.g2_add),
            us(self.g2_mul),
            us(self.g2_affine),
            us(self.g2_hash),
            us(self.final_exp),
            us(self.g1_read),
            us(self.g2_read),
        )
    }
}
