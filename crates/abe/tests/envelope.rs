//! The record envelope refuses everything but the right key and context.

#[cfg(test)]
mod envelope_tests {
    use aes_gcm::aead::{Aead, KeyInit, Payload};
    use consilium_abe::envelope::{
        ClassKey, MAX_CONTEXT, OVERHEAD, RecordKey, open_record, seal_record, unwrap_class_key, unwrap_dek,
        wrap_class_key, wrap_dek,
    };
    use consilium_abe::{AbeError, Secret32};
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([11; 32])
    }

    #[test]
    fn records_open_with_their_key_and_context_only() {
        let rng = &mut rng();
        let (key, other) = (RecordKey::generate(rng), RecordKey::generate(rng));
        for plaintext in [&b""[..], b"{}", &[7; 5000]] {
            let sealed = seal_record(&key, b"record 1", plaintext, rng).unwrap();
            assert_eq!(sealed.len(), plaintext.len() + OVERHEAD);
            let opened = open_record(&key, b"record 1", &sealed).unwrap();
            assert_eq!(opened.as_slice(), plaintext);
            let refused = AbeError::DoesNotOpen { what: "sealed record" };
            assert_eq!(open_record(&other, b"record 1", &sealed), Err(refused.clone()));
            assert_eq!(open_record(&key, b"record 2", &sealed), Err(refused.clone()));
            assert_eq!(open_record(&key, b"record 1\0", &sealed), Err(refused));
        }
    }

    #[test]
    fn no_altered_byte_opens() {
        let rng = &mut rng();
        let key = RecordKey::generate(rng);
        let class_key = ClassKey::generate(rng);
        let sealed = seal_record(&key, b"c", b"plaintext", rng).unwrap();
        let wrapped = wrap_dek(&class_key, b"c", &key, rng).unwrap();
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut altered = sealed.clone();
                altered[index] ^= 1 << bit;
                assert!(open_record(&key, b"c", &altered).is_err());
            }
            assert!(open_record(&key, b"c", &sealed[..index]).is_err());
        }
        for index in 0..wrapped.len() {
            let mut altered = wrapped.clone();
            altered[index] ^= 1;
            assert!(unwrap_dek(&class_key, b"c", &altered).is_err());
            assert!(unwrap_dek(&class_key, b"c", &wrapped[..index]).is_err());
        }
    }

    #[test]
    fn wraps_give_back_key_and_salt_seed_under_their_context_only() {
        let rng = &mut rng();
        let (class_key, other) = (ClassKey::generate(rng), ClassKey::generate(rng));
        let key = RecordKey::generate(rng);
        let sealed = seal_record(&key, b"r", b"text", rng).unwrap();
        let wrapped = wrap_dek(&class_key, b"r1 v1", &key, rng).unwrap();
        let again = unwrap_dek(&class_key, b"r1 v1", &wrapped).unwrap();
        assert_eq!(again.salt_seed(), key.salt_seed());
        assert_eq!(open_record(&again, b"r", &sealed).unwrap().as_slice(), b"text");
        assert!(unwrap_dek(&class_key, b"r1 v2", &wrapped).is_err());
        assert!(unwrap_dek(&other, b"r1 v1", &wrapped).is_err());

        let secret = Secret32::random(rng);
        let kek = wrap_class_key(&secret, b"class", &class_key, rng).unwrap();
        let opened = unwrap_class_key(&secret, b"class", &kek).unwrap();
        assert_eq!(opened.expose(), class_key.expose());
        assert!(unwrap_class_key(&secret, b"other", &kek).is_err());
        assert!(unwrap_class_key(&Secret32::random(rng), b"class", &kek).is_err());
    }

    #[test]
    fn one_kind_of_sealed_object_is_not_taken_for_another() {
        let rng = &mut rng();
        let class_key = ClassKey::generate(rng);
        let same = Secret32::from_bytes(class_key.expose());
        let kek = wrap_class_key(&same, b"c", &class_key, rng).unwrap();
        assert!(unwrap_dek(&class_key, b"c", &kek).is_err());
        let dek = wrap_dek(&class_key, b"c", &RecordKey::generate(rng), rng).unwrap();
        assert!(unwrap_class_key(&same, b"c", &dek).is_err());
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let rng = &mut rng();
        let key = RecordKey::generate(rng);
        let first = seal_record(&key, b"c", b"text", rng).unwrap();
        assert_ne!(first, seal_record(&key, b"c", b"text", rng).unwrap());
    }

    #[test]
    fn a_context_over_the_limit_is_refused() {
        let rng = &mut rng();
        let key = RecordKey::generate(rng);
        let context = vec![0; MAX_CONTEXT + 1];
        let refused = seal_record(&key, &context, b"", rng);
        assert!(matches!(refused, Err(AbeError::TooLong { .. })));
    }

    /// Multiplication in GF(2^128) as GHASH has it (NIST SP 800-38D §6.3).
    fn ghash_mul(x: u128, y: u128) -> u128 {
        let (mut z, mut v) = (0, y);
        for bit in (0..128).rev() {
            if (x >> bit) & 1 == 1 {
                z ^= v;
            }
            let low = v & 1;
            v >>= 1;
            if low == 1 {
                v ^= 0xe1 << 120;
            }
        }
        z
    }

    fn ghash_inverse(x: u128) -> u128 {
        // x^(2^128 - 2).
        let (mut square, mut out) = (x, 1 << 127);
        for _ in 1..128 {
            square = ghash_mul(square, square);
            out = ghash_mul(out, square);
        }
        out
    }

    fn block(key: &[u8; 32], input: u128) -> u128 {
        use aes_gcm::aes::cipher::{BlockEncrypt, KeyInit as _};
        let mut bytes = input.to_be_bytes().into();
        aes_gcm::aes::Aes256::new(key.into()).encrypt_block(&mut bytes);
        u128::from_be_bytes(bytes.into())
    }

    #[test]
    fn one_gcm_ciphertext_opens_under_two_keys_and_the_commitment_stops_it() {
        // The attack the commitment is for: choose a first block so that the tags under both keys
        // agree (Dodis, Grubbs, Ristenpart and Woodage 2018; Len, Grubbs and Ristenpart 2021).
        let keys = [[1u8; 32], [2u8; 32]];
        let nonce = [3u8; 12];
        let mut counter = [0u8; 16];
        counter[..12].copy_from_slice(&nonce);
        counter[15] = 1;
        let j0 = u128::from_be_bytes(counter);
        let [h1, h2] = keys.map(|key| block(&key, 0));
        let [e1, e2] = keys.map(|key| block(&key, j0));
        // Tag = C·H² ⊕ L·H ⊕ E(J0), with L = 128, the length block, and no associated data.
        let length = 128u128;
        let rest = ghash_mul(length, h1) ^ ghash_mul(length, h2) ^ e1 ^ e2;
        let squares = ghash_mul(h1, h1) ^ ghash_mul(h2, h2);
        let c = ghash_mul(rest, ghash_inverse(squares));
        let tag = ghash_mul(c, ghash_mul(h1, h1)) ^ ghash_mul(length, h1) ^ e1;
        let ciphertext = [c.to_be_bytes(), tag.to_be_bytes()].concat();
        for key in keys {
            let plain = aes_gcm::Aes256Gcm::new(&key.into());
            let payload = Payload { msg: &ciphertext, aad: b"" };
            assert!(plain.decrypt(&nonce.into(), payload).is_ok());
        }

        // In the envelope no two keys share a commitment: sealed under one, the other is refused
        // before decryption, and so is the one with the other's commitment put in.
        let rng = &mut rng();
        let (one, two) = (RecordKey::generate(rng), RecordKey::generate(rng));
        let mut seals = Vec::new();
        for key in [&one, &two] {
            // The same nonce for both.
            let same = &mut ChaCha20Rng::from_seed([5; 32]);
            seals.push(seal_record(key, b"c", &[0; 16], same).unwrap());
        }
        let [first, second] = [&seals[0], &seals[1]];
        assert_eq!(first[..14], second[..14]);
        assert_ne!(first[14..46], second[14..46]);
        let mixed = [&first[..14], &second[14..46], &first[46..]].concat();
        for key in [&one, &two] {
            assert!(open_record(key, b"c", &mixed).is_err());
        }
        assert!(open_record(&two, b"c", first).is_err());
    }
}
