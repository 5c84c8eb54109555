//! Headers whose points lie outside their subgroups: refused where a header is decoded for good, opened to noise where it
//! is decoded to be opened.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::curve::{G1, G1_BYTES, G2, G2_BYTES, GT_BYTES, Gt};
use crate::{Attribute, authority};

/// Where the parts of the first row begin, counted from the row's beginning.
const C2: usize = GT_BYTES;
const C3: usize = C2 + G1_BYTES;
const C4: usize = C3 + G1_BYTES;

/// r, the order of the subgroups.
const ORDER: &str = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

/// r times a point: the part of it that lies outside the subgroup. The arithmetic of the product is for the inside.
fn cofactor_part<P: Clone>(point: &P, add: impl Fn(&P, &P) -> P) -> P {
    let bits = hex::decode(ORDER).unwrap();
    let mut bits = (0..256).map(|i| (bits[i / 8] >> (7 - i % 8)) & 1).skip_while(|bit| *bit == 0);
    bits.next();
    bits.fold(point.clone(), |sum, bit| {
        let twice = add(&sum, &sum);
        if bit == 1 { add(&twice, point) } else { twice }
    })
}

/// Of an order that divides the cofactor.
fn outside_g1() -> G1 {
    let mut bytes = [0; G1_BYTES];
    bytes[0] = 0x80;
    let found = (1..=255).find_map(|x| {
        bytes[G1_BYTES - 1] = x;
        G1::on_curve(&bytes).filter(|_| G1::from_bytes(&bytes).is_none())
    });
    cofactor_part(&found.unwrap(), G1::add)
}

/// The same on the second curve.
fn outside_g2() -> G2 {
    let mut bytes = [0; G2_BYTES];
    bytes[0] = 0x80;
    let found = (1..=255).find_map(|x| {
        bytes[G2_BYTES - 1] = x;
        G2::on_curve(&bytes).filter(|_| G2::from_bytes(&bytes).is_none())
    });
    cofactor_part(&found.unwrap(), G2::add)
}

/// -1, of order two.
fn minus_one() -> Gt {
    let p_minus_one =
        "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaaa";
    let mut bytes = [0; GT_BYTES];
    hex::decode_to_slice(p_minus_one, &mut bytes[..48]).unwrap();
    Gt::in_field(&bytes).unwrap()
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..].first_chunk().unwrap()
}

#[test]
fn what_lies_outside_its_subgroup_opens_to_noise() {
    let rng = &mut ChaCha20Rng::seed_from_u64(5);
    let (public, secret) = authority::setup(rng, "c", "h").unwrap();
    let gid = Gid::new("alice").unwrap();
    let key = authority::issue(&secret, &gid, &Attribute::parse("a").unwrap(), rng);
    let public: PublicKeys = [public].into_iter().collect();
    let context = KemContext::new("c", "class", 1).unwrap();
    let policy = AccessPolicy::parse("a@h").unwrap();
    let (header, expected) = encapsulate(&policy, &public, &context, rng).unwrap();
    let bytes = header.to_bytes();
    let keys = [key];
    let open = |bytes: &[u8], reject: u8| {
        let received = Received::from_bytes(bytes).unwrap();
        decapsulate(&received, &context, &public, &gid, &keys, &[reject; 32]).unwrap()
    };
    assert!(open(&bytes, 7).ct_eq(&expected));
    assert_eq!(Received::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    let compact = Received::from_compact_bytes(&header.to_compact_bytes()).unwrap();
    assert_eq!(compact.to_bytes(), bytes);

    let row = bytes.len() - 32 - ROW_BYTES;
    // Each alone, and added to the honest element.
    let g1 = |at| {
        let honest = G1::from_bytes(part(&bytes, row + at)).unwrap();
        [outside_g1().to_bytes(), honest.add(&outside_g1()).to_bytes()].map(|bytes| (at, bytes.to_vec()))
    };
    let honest = G2::from_bytes(part(&bytes, row + C4)).unwrap();
    let c4 =
        [outside_g2().to_bytes(), honest.add(&outside_g2()).to_bytes()].map(|bytes| (C4, bytes.to_vec()));
    let honest = Gt::from_bytes(part(&bytes, row)).unwrap();
    let c1 = [minus_one().to_bytes(), honest.mul(&minus_one()).to_bytes()].map(|bytes| (0, bytes.to_vec()));
    for (at, bad) in [g1(C2), g1(C3), c4, c1].concat() {
        let mut altered = bytes.clone();
        altered[row + at..row + at + bad.len()].copy_from_slice(&bad);
        assert!(matches!(Header::from_bytes(&altered), Err(AbeError::Malformed { .. })), "{at}");
        let (one, other) = (open(&altered, 7), open(&altered, 8));
        assert!(!one.ct_eq(&expected) && !one.ct_eq(&other), "{at}: only the holder's secret decides");
    }
}
