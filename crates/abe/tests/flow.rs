//! From key pairs to an opened record.

#[cfg(test)]
mod flow {
    use consilium_abe::{
        AbeError, AccessPolicy, Attribute, AttributeKey, AuthorityPublicKey, AuthoritySecretKey, Gid, Header,
        KemContext, PublicKeys, authority, envelope, kem,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    const EPOCH: &str = "2026W47";

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    fn context() -> KemContext {
        KemContext::new("channel-1", "patient-1/normal", 3).unwrap()
    }

    fn authorities(count: usize) -> (PublicKeys, Vec<AuthoritySecretKey>) {
        let mut rng = rng(1);
        let pairs: Vec<(AuthorityPublicKey, AuthoritySecretKey)> = (0..count)
            .map(|i| authority::setup(&mut rng, "channel-1", &format!("hospital-{i}")).unwrap())
            .collect();
        let (public, secret): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        (public.into_iter().collect(), secret)
    }

    fn key(secret: &AuthoritySecretKey, gid: &Gid, attribute: &str) -> AttributeKey {
        let attribute = Attribute::parse(attribute).unwrap();
        authority::issue(secret, gid, &attribute, &mut rng(9))
    }

    fn all_of(count: usize) -> AccessPolicy {
        let terms: Vec<String> = (0..count).map(|i| format!("clinician@hospital-{i}#{EPOCH}")).collect();
        AccessPolicy::parse(&terms.join(" AND ")).unwrap()
    }

    #[test]
    fn holders_of_all_attributes_recover_the_secret() {
        for count in [1, 5, 10] {
            let (public, secret) = authorities(count);
            let gid = Gid::new("did:key:z6MkAlice").unwrap();
            let keys: Vec<_> =
                secret.iter().map(|authority| key(authority, &gid, "clinician#2026W47")).collect();
            for (key, authority) in keys.iter().zip(&secret) {
                key.verify(public.get(authority.authority()).unwrap()).unwrap();
            }
            let policy = all_of(count);
            let (header, expected) = kem::encapsulate(&policy, &public, &context(), &mut rng(2)).unwrap();
            let header = Header::from_bytes(&header.to_bytes()).unwrap();
            let found = kem::decapsulate(&header, &context(), &public, &gid, &keys, &[0; 32]).unwrap();
            assert!(found.ct_eq(&expected), "{count} authorities");

            if count > 1 {
                let missing = keys.get(1..).unwrap();
                let error = kem::decapsulate(&header, &context(), &public, &gid, missing, &[0; 32]);
                assert!(matches!(error, Err(AbeError::NotSatisfied { .. })));
            }
        }
    }

    #[test]
    fn a_compact_header_is_the_same_header() {
        let (public, secret) = authorities(3);
        let policy = all_of(3);
        let (header, expected) = kem::encapsulate(&policy, &public, &context(), &mut rng(2)).unwrap();
        let (full, compact) = (header.to_bytes(), header.to_compact_bytes());
        assert_eq!(full.len() - compact.len(), 3 * 288);
        let read = Header::from_compact_bytes(&compact).unwrap();
        assert_eq!((read.to_bytes(), read.to_compact_bytes()), (full.clone(), compact.clone()));
        let gid = Gid::new("did:key:z6MkAlice").unwrap();
        let keys: Vec<_> = secret.iter().map(|own| key(own, &gid, "clinician#2026W47")).collect();
        let found = kem::decapsulate(&read, &context(), &public, &gid, &keys, &[0; 32]).unwrap();
        assert!(found.ct_eq(&expected));
        // Neither form is taken for the other, nor a shorter or longer one for either.
        assert!(matches!(Header::from_bytes(&compact), Err(AbeError::UnknownSuite { suite: 0x0101, .. })));
        assert!(matches!(Header::from_compact_bytes(&full), Err(AbeError::UnknownSuite { suite: 1, .. })));
        for cut in [0, 1, 2, 10, compact.len() - 1] {
            assert!(Header::from_compact_bytes(&compact[..cut]).is_err());
        }
        assert!(Header::from_compact_bytes(&[compact.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn either_side_of_an_or_recovers_the_same_secret() {
        let (public, secret) = authorities(2);
        let policy =
            AccessPolicy::parse("clinician@hospital-0 OR (clinician@hospital-1 AND treating@hospital-0)")
                .unwrap();
        let (header, expected) = kem::encapsulate(&policy, &public, &context(), &mut rng(3)).unwrap();
        let gid = Gid::new("did:key:z6MkBob").unwrap();
        for keys in [
            vec![key(&secret[0], &gid, "clinician")],
            vec![key(&secret[1], &gid, "clinician"), key(&secret[0], &gid, "treating")],
        ] {
            let found = kem::decapsulate(&header, &context(), &public, &gid, &keys, &[0; 32]).unwrap();
            assert!(found.ct_eq(&expected));
        }
    }

    #[test]
    fn every_two_of_three_and_its_coefficients_recover_the_secret() {
        let (public, secret) = authorities(3);
        let policy = AccessPolicy::parse("2 of (a@hospital-0, b@hospital-1, c@hospital-2)").unwrap();
        let (header, expected) = kem::encapsulate(&policy, &public, &context(), &mut rng(3)).unwrap();
        let gid = Gid::new("did:key:z6MkBob").unwrap();
        let all = || [key(&secret[0], &gid, "a"), key(&secret[1], &gid, "b"), key(&secret[2], &gid, "c")];
        // Coefficients: (2, -1), (3/2, -1/2), (3, -2).
        for left_out in 0..3 {
            let mut keys = Vec::from(all());
            keys.remove(left_out);
            let found = kem::decapsulate(&header, &context(), &public, &gid, &keys, &[0; 32]).unwrap();
            assert!(found.ct_eq(&expected), "without {left_out}");
        }
    }

    #[test]
    fn integer_comparisons_open_for_numbers_in_range_only() {
        let (public, secret) = authorities(1);
        let gid = Gid::new("did:key:z6MkBob").unwrap();
        let policy = AccessPolicy::parse("level[4]>=5@hospital-0#2026W47").unwrap();
        let (header, expected) = kem::encapsulate(&policy, &public, &context(), &mut rng(3)).unwrap();
        for number in [0, 4, 5, 6, 8, 15] {
            let bits = Attribute::integer("level", 4, number, EPOCH, 0).unwrap();
            let keys = authority::issue_all(&secret[0], &gid, &bits, &mut rng(5));
            let found = kem::decapsulate(&header, &context(), &public, &gid, &keys, &[0; 32]);
            match found {
                Ok(found) => assert!(number >= 5 && found.ct_eq(&expected)),
                Err(error) => {
                    assert!(number < 5, "{error}");
                }
            }
        }
    }

    #[test]
    fn the_largest_policy_opens() {
        let (public, secret) = authorities(2);
        let gid = Gid::new("did:key:z6MkBob").unwrap();
        let attributes: Vec<_> = (0..128).map(|i| Attribute::parse(&format!("a{i}")).unwrap()).collect();
        let mut keys = Vec::new();
        let mut terms = Vec::new();
        for secret in &secret {
            keys.extend(authority::issue_all(secret, &gid, &attributes, &mut rng(6)));
            terms.extend(attributes.iter().map(|a| a.at(secret.authority()).to_string()));
        }
        // 200 of 256: the coefficients are Lagrange's, none of them 1.
        let policy = AccessPolicy::parse(&format!("200 of ({})", terms.join(", "))).unwrap();
        let (header, expected) = kem::encapsulate(&policy, &public, &context(), &mut rng(2)).unwrap();
        let header = Header::from_bytes(&header.to_bytes()).unwrap();
        keys.truncate(200);
        let found = kem::decapsulate(&header, &context(), &public, &gid, &keys, &[0; 32]).unwrap();
        assert!(found.ct_eq(&expected));
        keys.truncate(199);
        assert!(kem::decapsulate(&header, &context(), &public, &gid, &keys, &[0; 32]).is_err());
    }

    #[test]
    fn keys_may_be_shared_between_threads() {
        fn shareable<T: Send + Sync>() {}
        shareable::<AuthorityPublicKey>();
        shareable::<AuthoritySecretKey>();
        shareable::<AttributeKey>();
        shareable::<PublicKeys>();
        shareable::<Header>();
    }

    #[test]
    fn a_record_goes_from_plaintext_to_a_clinician() {
        let (public, secret) = authorities(2);
        let policy = all_of(2);
        let rng = &mut rng(4);
        let (header, kem_secret) = kem::encapsulate(&policy, &public, &context(), rng).unwrap();
        let class_key = envelope::ClassKey::generate(rng);
        let record_key = envelope::RecordKey::generate(rng);
        let sealed = envelope::seal_record(&record_key, b"record 1", b"{}", rng).unwrap();
        let dek = envelope::wrap_dek(&class_key, b"record 1", &record_key, rng).unwrap();
        let kek = envelope::wrap_class_key(&kem_secret, b"class 1", &class_key, rng).unwrap();

        let gid = Gid::new("did:key:z6MkBob").unwrap();
        let keys = [key(&secret[0], &gid, "clinician#2026W47"), key(&secret[1], &gid, "clinician#2026W47")];
        let opened = kem::decapsulate(&header, &context(), &public, &gid, &keys, &[0; 32]).unwrap();
        let class_key = envelope::unwrap_class_key(&opened, b"class 1", &kek).unwrap();
        let record_key = envelope::unwrap_dek(&class_key, b"record 1", &dek).unwrap();
        let record = envelope::open_record(&record_key, b"record 1", &sealed).unwrap();
        assert_eq!(record.as_slice(), b"{}");
        assert_eq!((dek.len(), kek.len()), (126, 94));
    }

    #[test]
    fn keys_and_public_keys_survive_their_encodings() {
        let (public, secret) = authorities(1);
        let gid = Gid::new("did:key:z6MkBob").unwrap();
        let name = secret[0].authority();
        let decoded = AuthorityPublicKey::from_bytes(&public.get(name).unwrap().to_bytes()).unwrap();
        assert_eq!(decoded.digest(), public.get(name).unwrap().digest());
        let secret = AuthoritySecretKey::from_bytes(&secret[0].to_bytes()).unwrap();
        let issued = key(&secret, &gid, "role=cardiologist#2026W47.2");
        let issued = AttributeKey::from_bytes(&issued.to_bytes()).unwrap();
        issued.verify(&decoded).unwrap();
        assert_eq!(issued.term().to_string(), "role=cardiologist@hospital-0#2026W47.2");
    }
}
