//! The curve types against standards, and their refusals.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([3; 32])
}

fn bytes<const N: usize>(hex_text: &str) -> [u8; N] {
    hex::decode(hex_text).unwrap().try_into().unwrap()
}

/// r - 1, big-endian.
fn minus_one() -> Scalar {
    Scalar::from_u64(1).neg()
}

/// RFC 9380 appendix J.10.1: message, x (c0, c1) and y (c0, c1).
fn rfc9380_g2() -> [(String, [&'static str; 4]); 5] {
    [
        (
            String::new(),
            [
                "0141ebfbdca40eb85b87142e130ab689c673cf60f1a3e98d69335266f30d9b8d4ac44c1038e9dcdd5393faf5c41fb78a",
                "05cb8437535e20ecffaef7752baddf98034139c38452458baeefab379ba13dff5bf5dd71b72418717047f5b0f37da03d",
                "0503921d7f6a12805e72940b963c0cf3471c7b2a524950ca195d11062ee75ec076daf2d4bc358c4b190c0c98064fdd92",
                "12424ac32561493f3fe3c260708a12b7c620e7be00099a974e259ddc7d1f6395c3c811cdd19f1e8dbf3e9ecfdcbab8d6",
            ],
        ),
        (
            "abc".to_owned(),
            [
                "02c2d18e033b960562aae3cab37a27ce00d80ccd5ba4b7fe0e7a210245129dbec7780ccc7954725f4168aff2787776e6",
                "139cddbccdc5e91b9623efd38c49f81a6f83f175e80b06fc374de9eb4b41dfe4ca3a230ed250fbe3a2acf73a41177fd8",
                "1787327b68159716a37440985269cf584bcb1e621d3a7202be6ea05c4cfe244aeb197642555a0645fb87bf7466b2ba48",
                "00aa65dae3c8d732d10ecd2c50f8a1baf3001578f71c694e03866e9f3d49ac1e1ce70dd94a733534f106d4cec0eddd16",
            ],
        ),
        (
            "abcdef0123456789".to_owned(),
            [
                "121982811d2491fde9ba7ed31ef9ca474f0e1501297f68c298e9f4c0028add35aea8bb83d53c08cfc007c1e005723cd0",
                "190d119345b94fbd15497bcba94ecf7db2cbfd1e1fe7da034d26cbba169fb3968288b3fafb265f9ebd380512a71c3f2c",
                "05571a0f8d3c08d094576981f4a3b8eda0a8e771fcdcc8ecceaf1356a6acf17574518acb506e435b639353c2e14827c8",
                "0bb5e7572275c567462d91807de765611490205a941a5a6af3b1691bfe596c31225d3aabdf15faff860cb4ef17c7c3be",
            ],
        ),
        (
            format!("q128_{}", "q".repeat(128)),
            [
                "19a84dd7248a1066f737cc34502ee5555bd3c19f2ecdb3c7d9e24dc65d4e25e50d83f0f77105e955d78f4762d33c17da",
                "0934aba516a52d8ae479939a91998299c76d39cc0c035cd18813bec433f587e2d7a4fef038260eef0cef4d02aae3eb91",
                "14f81cd421617428bc3b9fe25afbb751d934a00493524bc4e065635b0555084dd54679df1536101b2c979c0152d09192",
                "09bcccfa036b4847c9950780733633f13619994394c23ff0b32fa6b795844f4a0673e20282d07bc69641cee04f5e5662",
            ],
        ),
        (
            format!("a512_{}", "a".repeat(512)),
            [
                "01a6ba2f9a11fa5598b2d8ace0fbe0a0eacb65deceb476fbbcb64fd24557c2f4b18ecfc5663e54ae16a84f5ab7f62534",
                "11fca2ff525572795a801eed17eb12785887c7b63fb77a42be46ce4a34131d71f7a73e95fee3f812aea3de78b4d01569",
                "0b6798718c8aed24bc19cb27f866f1c9effcdbf92397ad6448b5c9db90d2b9da6cbabf48adc1adf59a1a28344e79d57e",
                "03a47f8e6d1763ba0cad63d6114c0accbef65707825a511b251a660a9b3994249ae4e63fac38b23da0c398689ee2ab52",
            ],
        ),
    ]
}

#[test]
fn hashing_reproduces_the_vectors_of_rfc_9380() {
    let dst = b"QUUX-V01-CS02-with-BLS12381G2_XMD:SHA-256_SSWU_RO_";
    // (p - 1) / 2: a larger y sets the sign flag of the compressed form.
    let half: [u8; 48] = bytes(
        "0d0088f51cbff34d258dd3db21a5d66bb23ba5c279c2895fb39869507b587b120f55ffff58a9ffffdcff7fffffffd555",
    );
    for (message, [x0, x1, _, y1]) in rfc9380_g2() {
        let mut expected = [bytes::<48>(x1), bytes::<48>(x0)].concat();
        expected[0] |= if bytes::<48>(y1) > half { 0xa0 } else { 0x80 };
        let point = G2::hash(message.as_bytes(), dst);
        assert_eq!(hex::encode(point.to_bytes()), hex::encode(expected));
    }
}

#[test]
fn the_two_hashes_of_the_scheme_differ_on_the_same_input() {
    let h = G2::hash(b"same", crate::hash::DST_H);
    let f = G2::hash(b"same", crate::hash::DST_F);
    assert_ne!(h.to_bytes(), f.to_bytes());
}

#[test]
fn scalars_form_a_field() {
    let rng = &mut rng();
    let (a, b) = (Scalar::random(rng), Scalar::random(rng));
    assert!(a.add(&b).sub(&b).public_eq(&a));
    assert!(a.mul(&a.invert()).public_eq(&Scalar::from_u64(1)));
    assert!(a.add(&a.neg()).public_eq(&Scalar::zero()));
    assert!(Scalar::from_bytes(&a.to_bytes()).unwrap().public_eq(&a));
    let three = Scalar::from_u64(3);
    assert!(Scalar::from_u64(1).add(&Scalar::from_u64(2)).public_eq(&three));
}

#[test]
fn scalars_of_r_or_more_are_refused() {
    let r: [u8; 32] = bytes("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001");
    assert!(Scalar::from_bytes(&r).is_none());
    assert!(Scalar::from_bytes(&[0xff; 32]).is_none());
    assert_eq!(minus_one().to_bytes()[31], 0);
    // r + 5 reduces to 5.
    let mut wide = [0u8; 64];
    wide[32..].copy_from_slice(&r);
    wide[63] += 5;
    assert!(Scalar::from_wide(&wide).public_eq(&Scalar::from_u64(5)));
}

#[test]
fn digits_in_base_x_add_up_to_the_scalar() {
    let x = Scalar::from_u64(X_ABS);
    let rng = &mut rng();
    let samples = [
        Scalar::zero(),
        Scalar::from_u64(1),
        Scalar::from_u64(X_ABS),
        minus_one(),
        Scalar::random(rng),
        Scalar::random(rng),
    ];
    for scalar in samples {
        let mut sum = Scalar::zero();
        for digit in scalar.digits().iter().rev() {
            assert!(*digit < X_ABS);
            sum = sum.mul(&x).add(&Scalar::from_u64(*digit));
        }
        assert!(sum.public_eq(&scalar));
    }
}

/// Square and multiply, as a check of the windowed powers.
fn plain_power(base: &Gt, k: &Scalar) -> Gt {
    let mut acc = Gt::one();
    for byte in k.to_bytes() {
        for bit in (0..8).rev() {
            acc = acc.mul(&acc);
            if (byte >> bit) & 1 == 1 {
                acc = acc.mul(base);
            }
        }
    }
    acc
}

#[test]
fn all_powers_in_gt_agree() {
    let rng = &mut rng();
    let base = Gt::generator().pow(&Scalar::random(rng));
    let table = GtTable::new(&base);
    let samples =
        [Scalar::zero(), Scalar::from_u64(1), Scalar::from_u64(X_ABS), minus_one(), Scalar::random(rng)];
    for k in samples {
        let expected = plain_power(&base, &k);
        assert!(base.pow(&k).public_eq(&expected));
        assert!(table.pow(&k).public_eq(&expected));
    }
}

#[test]
fn all_multiples_in_g1_agree() {
    let rng = &mut rng();
    let base = G1::generator().mul(&Scalar::random(rng));
    let table = G1Table::new(&base);
    let samples =
        [Scalar::zero(), Scalar::from_u64(1), Scalar::from_u64(16), minus_one(), Scalar::random(rng)];
    for k in samples {
        assert_eq!(table.mul(&k).to_bytes(), base.mul(&k).to_bytes());
    }
    let (k, l) = (Scalar::random(rng), Scalar::random(rng));
    let both = table.mul_add(&k, G1Table::generator(), &l);
    let sum = base.mul(&k).add(&G1::generator().mul(&l));
    assert_eq!(both.to_bytes(), sum.to_bytes());
}

#[test]
fn the_identity_is_its_own_multiple_and_negative() {
    let rng = &mut rng();
    let k = Scalar::random(rng);
    let (one, two) = (G1::generator().mul(&Scalar::zero()), G2::generator().mul(&Scalar::zero()));
    assert!(one.is_identity() && two.is_identity());
    assert!(one.mul(&k).is_identity() && two.mul(&k).is_identity());
    assert!(one.neg().is_identity());
    let point = G1::generator().mul(&k);
    assert!(point.add(&point.neg()).is_identity());
    assert_eq!(point.add(&one).to_bytes(), point.to_bytes());
    assert_eq!(point.add(&point).to_bytes(), point.mul(&Scalar::from_u64(2)).to_bytes());
}

#[test]
fn the_pairing_is_bilinear_and_drops_identities() {
    let rng = &mut rng();
    let (a, b) = (Scalar::random(rng), Scalar::random(rng));
    let (p, q) = (G1::generator().mul(&a), G2::generator().mul(&b));
    let expected = Gt::generator().pow(&a.mul(&b));
    assert!(multi_pairing(&[(&p, &q)]).public_eq(&expected));
    let (no_p, no_q) = (p.mul(&Scalar::zero()), q.mul(&Scalar::zero()));
    let product = multi_pairing(&[(&no_p, &q), (&p, &q), (&p, &no_q)]);
    assert!(product.public_eq(&expected));
    assert!(multi_pairing(&[(&no_p, &q)]).is_one());
    assert!(multi_pairing(&[]).is_one());
}

#[test]
fn encodings_of_group_elements_are_read_back() {
    let rng = &mut rng();
    let k = Scalar::random(rng);
    let p = G1::generator().mul(&k).to_bytes();
    assert_eq!(G1::from_bytes(&p).unwrap().to_bytes(), p);
    let q = G2::generator().mul(&k).to_bytes();
    assert_eq!(G2::from_bytes(&q).unwrap().to_bytes(), q);
    let z = Gt::generator().pow(&k).to_bytes();
    assert_eq!(Gt::from_bytes(&z).unwrap().to_bytes(), z);
}

#[test]
fn identities_are_refused() {
    let mut p = [0u8; 48];
    p[0] = 0xc0;
    assert!(G1::from_bytes(&p).is_none());
    let mut q = [0u8; 96];
    q[0] = 0xc0;
    assert!(G2::from_bytes(&q).is_none());
    assert!(Gt::from_bytes(&Gt::one().to_bytes()).is_none());
    assert!(Gt::from_bytes(&[0; 576]).is_none());
}

/// p, the base field's modulus.
const P: &str =
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";

#[test]
fn coordinates_of_p_or_more_are_refused() {
    // x = p reads as x = 0 if reduced; (0, 2) is on the curve of G1, with order 3.
    let mut x = bytes::<48>(P);
    x[0] |= 0x80;
    assert!(G1::from_bytes(&x).is_none());
    // The twelfth coefficient plus p, in an element whose last coefficient is small enough.
    let good = Gt::generator().to_bytes();
    let mut sum = good;
    let mut carry = 0u16;
    let tail = sum.last_chunk_mut::<48>().unwrap();
    for (byte, modulus) in tail.iter_mut().zip(bytes::<48>(P)).rev() {
        let value = u16::from(*byte) + u16::from(modulus) + carry;
        *byte = value as u8;
        carry = value >> 8;
    }
    assert_eq!(carry, 0);
    assert!(Gt::from_bytes(&good).is_some());
    assert!(Gt::from_bytes(&sum).is_none());
}

/// A point of the whole curve of G1 outside the subgroup, by trying small x.
fn outside_g1() -> Vec<blst_p1_affine> {
    let mut found = Vec::new();
    for x in 1u8..40 {
        let mut encoded = [0u8; 48];
        (encoded[0], encoded[47]) = (0x80, x);
        let mut point = blst_p1_affine::default();
        // SAFETY: reads 48 bytes, writes a local value.
        unsafe {
            let on_curve =
                blst::blst_p1_uncompress(&raw mut point, encoded.as_ptr()) == blst::BLST_ERROR::BLST_SUCCESS;
            if on_curve && !blst_p1_affine_in_g1(&raw const point) {
                found.push(point);
            }
        }
    }
    found
}

/// k·P by double and add: right outside the subgroup too.
fn any_curve_multiple(point: &blst_p1_affine, k: &[u8]) -> blst_p1 {
    let mut acc = blst_p1::default();
    for byte in k {
        for bit in (0..8).rev() {
            // SAFETY: local values.
            unsafe {
                blst_p1_add_or_double(&raw mut acc, &raw const acc, &raw const acc);
                if (byte >> bit) & 1 == 1 {
                    blst_p1_add_or_double_affine(&raw mut acc, &raw const acc, &raw const *point);
                }
            }
        }
    }
    acc
}

#[test]
fn points_outside_the_subgroup_of_g1_are_refused() {
    let found = outside_g1();
    assert!(found.len() > 5);
    for point in &found {
        assert!(G1::from_bytes(&G1(*point).to_bytes()).is_none());
    }
}

#[test]
fn points_of_order_3_and_11_and_their_sums_with_good_points_are_refused() {
    // h = 3·11²·10177²·859267²·52437899², the cofactor of G1; #E = h·r.
    let h: [u8; 16] = bytes("396c8c005555e1568c00aaab0000aaab");
    let r: [u8; 32] = bytes("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001");
    let cofactor = u128::from_be_bytes(h);
    assert_eq!(cofactor % (3 * 121), 0);
    // The 11-part is Z11 × Z11, so what is left of 121 has order 11.
    for small in [3u128, 121] {
        // r·(h/small)·P has order 1, 3 or 11.
        let mut seen = false;
        for point in outside_g1() {
            let times_r = G1::from_jacobian(&any_curve_multiple(&point, &r));
            let scale = (cofactor / small).to_be_bytes();
            let low = G1::from_jacobian(&any_curve_multiple(&times_r.0, &scale));
            if low.is_identity() {
                continue;
            }
            seen = true;
            assert!(G1::from_bytes(&low.to_bytes()).is_none());
            let shifted = low.add(G1::generator());
            assert!(G1::from_bytes(&shifted.to_bytes()).is_none());
        }
        assert!(seen, "a point of order {small}");
    }
}

#[test]
fn points_outside_the_subgroup_of_g2_are_refused() {
    let mut outside = 0;
    for x in 1u8..60 {
        let mut encoded = [0u8; 96];
        (encoded[0], encoded[95]) = (0x80, x);
        let mut point = blst_p2_affine::default();
        // SAFETY: reads 96 bytes, writes a local value.
        let on_curve = unsafe {
            blst::blst_p2_uncompress(&raw mut point, encoded.as_ptr()) == blst::BLST_ERROR::BLST_SUCCESS
        };
        outside += usize::from(on_curve);
        assert!(G2::from_bytes(&encoded).is_none());
    }
    assert!(outside > 10);
}

#[test]
fn elements_of_the_cyclotomic_subgroup_of_another_order_are_refused() {
    // f^((p^6-1)(p^2+1)) lies in the cyclotomic subgroup of order p^4-p^2+1 = r·4513·…; for a
    // generic f it is not in the subgroup of order r.
    let mut f = blst_fp12::default();
    f.fp6[1].fp2[2].fp[1] = f.fp6[0].fp2[0].fp[0];
    let mut inverse = f;
    let mut unit = f;
    let mut map = f;
    // SAFETY: local values.
    unsafe {
        blst::blst_fp12_inverse(&raw mut inverse, &raw const f);
        blst_fp12_conjugate(&raw mut unit);
        blst_fp12_mul(&raw mut unit, &raw const unit, &raw const inverse);
        blst_fp12_frobenius_map(&raw mut map, &raw const unit, 2);
        blst_fp12_mul(&raw mut unit, &raw const unit, &raw const map);
    }
    let cyclotomic = Gt(unit);
    assert!(!cyclotomic.is_one());
    // Being cyclotomic: the conjugate is the inverse.
    let mut conjugate = cyclotomic.clone();
    // SAFETY: a local value.
    unsafe { blst_fp12_conjugate(&raw mut conjugate.0) };
    assert!(cyclotomic.mul(&conjugate).is_one());
    assert!(Gt::from_bytes(&cyclotomic.to_bytes()).is_none());
    let shifted = cyclotomic.mul(Gt::generator());
    assert!(Gt::from_bytes(&shifted.to_bytes()).is_none());
}
