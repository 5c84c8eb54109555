use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::envelope::{ClassKey, unwrap_class_key, wrap_class_key};

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn context() -> KemContext {
    KemContext::new("channel-1", "patient-1/normal", 3).unwrap()
}

const HEADER: &[u8] = b"the encoded header";

#[test]
fn a_reader_needs_the_header_and_the_custodian() {
    let rng = &mut rng(1);
    let (custodian, reader) = (DecapsulationKey::generate(rng), DecapsulationKey::generate(rng));
    let abe = Secret32::random(rng);
    let (custody, second) = Custody::new(custodian.encapsulation_key(), &context(), HEADER, rng).unwrap();
    let wrapping = class_secret(&abe, &second, &context(), HEADER);
    let class_key = ClassKey::generate(rng);
    let wrapped = wrap_class_key(&wrapping, b"class", &class_key, rng).unwrap();

    let custody = Custody::from_bytes(&custody.to_bytes()).unwrap();
    assert_eq!(custody.custodian(), custodian.encapsulation_key().digest());
    let to = EncapsulationKey::from_bytes(&reader.encapsulation_key().to_bytes()).unwrap();
    let released = custody.release(&custodian, &context(), HEADER, (&to, b"question 1"), rng).unwrap();
    assert_eq!((released.len(), custody.to_bytes().len()), (CUSTODY_BYTES, CUSTODY_BYTES));
    let received = receive(&reader, &context(), HEADER, b"question 1", &released).unwrap();
    let opened = class_secret(&abe, &received, &context(), HEADER);
    assert_eq!(unwrap_class_key(&opened, b"class", &wrapped).unwrap().expose(), class_key.expose());

    // Neither lock alone, nor both of another class.
    let elsewhere = KemContext::new("channel-1", "patient-2/normal", 3).unwrap();
    for wrong in [
        abe.expose(),
        received.expose(),
        class_secret(&abe, &Secret32::from_bytes(&[0; 32]), &context(), HEADER).expose(),
        class_secret(&Secret32::from_bytes(&[0; 32]), &received, &context(), HEADER).expose(),
        class_secret(&received, &abe, &context(), HEADER).expose(),
        class_secret(&abe, &received, &elsewhere, HEADER).expose(),
        class_secret(&abe, &received, &context(), b"another header").expose(),
    ] {
        assert!(unwrap_class_key(&Secret32::from_bytes(wrong), b"class", &wrapped).is_err());
    }
}

#[test]
fn a_release_is_for_one_reader_class_header_and_request() {
    let rng = &mut rng(2);
    let [custodian, reader, other] = [0, 1, 2].map(|_| DecapsulationKey::generate(rng));
    let (custody, _) = Custody::new(custodian.encapsulation_key(), &context(), HEADER, rng).unwrap();
    let to = reader.encapsulation_key();
    let released = custody.release(&custodian, &context(), HEADER, (to, b"q"), rng).unwrap();
    let epoch = KemContext::new("channel-1", "patient-1/normal", 4).unwrap();
    assert!(receive(&reader, &context(), HEADER, b"q", &released).is_ok());
    assert!(receive(&other, &context(), HEADER, b"q", &released).is_err());
    assert!(receive(&reader, &epoch, HEADER, b"q", &released).is_err());
    assert!(receive(&reader, &context(), b"", b"q", &released).is_err());
    assert!(receive(&reader, &context(), HEADER, b"r", &released).is_err());
    assert!(custody.open(&reader, &context(), HEADER).is_err());
    assert!(custody.open(&custodian, &epoch, HEADER).is_err());
    // A release is no custody and the other way round, even under the same key.
    let own =
        custody.release(&custodian, &context(), HEADER, (custodian.encapsulation_key(), b""), rng).unwrap();
    assert!(Custody::from_bytes(&own).unwrap().open(&custodian, &context(), HEADER).is_err());
    assert!(receive(&custodian, &context(), HEADER, b"", &custody.to_bytes()).is_err());
    for index in (2..released.len()).step_by(7) {
        let mut altered = released.clone();
        altered[index] ^= 1;
        assert!(receive(&reader, &context(), HEADER, b"q", &altered).is_err(), "byte {index}");
        assert!(receive(&reader, &context(), HEADER, b"q", &released[..index]).is_err());
    }
}

#[test]
fn a_custody_moves_to_the_next_key_with_the_same_secret() {
    let rng = &mut rng(3);
    let (old, next) = (DecapsulationKey::generate(rng), DecapsulationKey::generate(rng));
    let (custody, second) = Custody::new(old.encapsulation_key(), &context(), HEADER, rng).unwrap();
    let moved = custody.transfer(&old, &context(), HEADER, next.encapsulation_key(), rng).unwrap();
    assert!(moved.open(&next, &context(), HEADER).unwrap().ct_eq(&second));
    assert!(moved.open(&old, &context(), HEADER).is_err());
    assert!(custody.transfer(&next, &context(), HEADER, old.encapsulation_key(), rng).is_err());
}

#[test]
fn keys_survive_their_encodings_and_bad_ones_are_refused() {
    let key = DecapsulationKey::generate(&mut rng(4));
    let again = DecapsulationKey::from_bytes(&key.to_bytes()).unwrap();
    assert_eq!(again.encapsulation_key(), key.encapsulation_key());
    let bytes = key.encapsulation_key().to_bytes();
    assert_eq!((bytes.len(), key.to_bytes().len()), (ENCAPSULATION_KEY_BYTES, DECAPSULATION_KEY_BYTES));
    // FIPS 203 §7.2: coefficients are below 3329; the first is in the first twelve bits.
    let mut unreduced = bytes.clone();
    unreduced[2] = 0x01;
    unreduced[3] = unreduced[3] & 0xf0 | 0x0d;
    assert!(EncapsulationKey::from_bytes(&unreduced).is_err());
    let mut small = bytes.clone();
    small[2 + LATTICE_BYTES..].fill(0);
    assert!(EncapsulationKey::from_bytes(&small).is_err());
    for cut in (0..bytes.len()).step_by(13) {
        assert!(EncapsulationKey::from_bytes(&bytes[..cut]).is_err());
    }
    assert!(DecapsulationKey::from_bytes(&key.to_bytes()[..97]).is_err());
}

#[test]
fn each_half_alone_carries_the_secret() {
    // With either shared secret changed, another key comes out: both are bound.
    let rng = &mut rng(5);
    let key = DecapsulationKey::generate(rng);
    let (carried, secret) = key.public.encapsulate(b"c", rng);
    let carried: [u8; ENCAPSULATED_BYTES] = carried.try_into().unwrap();
    assert!(key.decapsulate(&carried, b"c").ct_eq(&secret));
    assert!(!key.decapsulate(&carried, b"d").ct_eq(&secret));
    for seed_byte in [0, SEED_BYTES] {
        let mut seed = Zeroizing::new(*key.seed);
        seed[seed_byte] ^= 8;
        let mut other = DecapsulationKey::from_seed(seed);
        // The digest of the right key, so that only the shared secrets differ.
        other.public.digest = key.public.digest;
        assert!(!other.decapsulate(&carried, b"c").ct_eq(&secret));
    }
}

#[test]
fn ml_kem_is_that_of_fips_203() {
    use sha3::digest::{ExtendableOutput, Update, XofReader};

    let text = include_str!("../tests/vectors/ml-kem-1024.txt");
    let field = |name: &str| -> Vec<Vec<u8>> {
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        pairs.filter(|(found, _)| *found == name).map(|(_, value)| hex::decode(value).unwrap()).collect()
    };
    let only = |name: &str| <[u8; 32]>::try_from(field(name)[0].as_slice()).unwrap();
    let (d, z) = (only("d"), only("z"));
    let seed = [d, z, [1; CURVE_BYTES]].concat();
    let key = DecapsulationKey::from_seed(Zeroizing::new(seed.try_into().unwrap()));
    assert_eq!(key.public.lattice.to_bytes().as_slice(), field("ek")[0]);
    let (carried, shared) = key.public.lattice.encapsulate_deterministic(&Array::from(only("m")));
    assert_eq!((carried.as_slice(), shared.as_slice()), (field("c")[0].as_slice(), &only("K")[..]));
    assert_eq!(key.lattice.decapsulate(&carried), shared);
    // Implicit rejection (algorithm 18): J(z || c), SHAKE256.
    let reject = |c: &[u8]| {
        let mut xof = sha3::Shake256::default();
        xof.update(&z);
        xof.update(c);
        let mut out = [0u8; 32];
        xof.finalize_xof().read(&mut out);
        out
    };
    let mut altered = carried;
    altered[700] ^= 1;
    assert_eq!(key.lattice.decapsulate(&altered).as_slice(), reject(&altered));
}
