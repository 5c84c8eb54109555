//! The known attacks on multi-authority schemes and their encodings: each must fail to open.

#[cfg(test)]
mod attacks {
    use consilium_abe::{
        AbeError, AccessPolicy, Attribute, AttributeKey, AuthorityPublicKey, AuthoritySecretKey, Gid, Header,
        KemContext, PolicyError, PublicKeys, Secret32, authority, envelope, kem,
    };
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    const CHANNEL: &str = "channel-1";

    fn rng(seed: u8) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed; 32])
    }

    fn context() -> KemContext {
        KemContext::new(CHANNEL, "patient-1/normal", 3).unwrap()
    }

    fn gid(name: &str) -> Gid {
        Gid::new(name).unwrap()
    }

    struct World {
        public: PublicKeys,
        secret: Vec<AuthoritySecretKey>,
    }

    impl World {
        /// Authorities `h0`, `h1`, ….
        fn new(count: usize) -> Self {
            let mut rng = rng(1);
            let pairs = (0..count)
                .map(|i| authority::setup(&mut rng, CHANNEL, &format!("h{i}")).unwrap())
                .collect::<Vec<_>>();
            let (public, secret): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            Self { public: public.into_iter().collect(), secret }
        }

        fn public(&self, index: usize) -> &AuthorityPublicKey {
            self.public.get(self.secret[index].authority()).unwrap()
        }

        fn key(&self, index: usize, gid: &Gid, attribute: &str) -> AttributeKey {
            let attribute = Attribute::parse(attribute).unwrap();
            authority::issue(&self.secret[index], gid, &attribute, &mut rng(9))
        }

        fn encapsulate(&self, policy: &str) -> (Header, Secret32) {
            let policy = AccessPolicy::parse(policy).unwrap();
            kem::encapsulate(&policy, &self.public, &context(), &mut rng(2)).unwrap()
        }

        fn decapsulate(
            &self,
            header: &Header,
            gid: &Gid,
            keys: &[AttributeKey],
        ) -> Result<Secret32, AbeError> {
            kem::decapsulate(header, &context(), &self.public, gid, keys, &[7; 32])
        }
    }

    /// Replaces a length-prefixed text in an encoding by another, of any length.
    fn replace_text(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let field = |text: &str| [&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat();
        let (from, to) = (field(from), field(to));
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        [&bytes[..at], &to, &bytes[at + from.len()..]].concat()
    }

    fn relabelled(key: &AttributeKey, from: &str, to: &str) -> AttributeKey {
        AttributeKey::from_bytes(&replace_text(&key.to_bytes(), from, to)).unwrap()
    }

    #[test]
    fn two_users_cannot_combine_their_keys_under_either_identity() {
        let world = World::new(2);
        let (header, expected) = world.encapsulate("a@h0 AND b@h1");
        for claimed in ["did:alice", "did:bobby"] {
            let keys = [world.key(0, &gid("did:alice"), "a"), world.key(1, &gid("did:bobby"), "b")];
            // By the books, each user lacks a key.
            let refused = world.decapsulate(&header, &gid(claimed), &keys);
            assert!(matches!(refused, Err(AbeError::NotSatisfied { .. })));
            // With the label of the other's key forged, the mathematics refuses.
            let keys =
                [relabelled(&keys[0], "did:alice", claimed), relabelled(&keys[1], "did:bobby", claimed)];
            let found = world.decapsulate(&header, &gid(claimed), &keys).unwrap();
            assert!(!found.ct_eq(&expected));
            let honest = keys
                .iter()
                .zip([0, 1])
                .filter(|(key, index)| key.verify(world.public(*index)).is_ok())
                .count();
            assert_eq!(honest, 1);
        }
    }

    #[test]
    fn a_threshold_does_not_fall_to_mixed_identities() {
        let world = World::new(3);
        let (header, expected) = world.encapsulate("2 of (a@h0, b@h1, c@h2)");
        let keys = [
            world.key(1, &gid("did:alice"), "b"),
            relabelled(&world.key(2, &gid("did:bobby"), "c"), "did:bobby", "did:alice"),
        ];
        let found = world.decapsulate(&header, &gid("did:alice"), &keys).unwrap();
        assert!(!found.ct_eq(&expected));
    }

    #[test]
    fn negative_coefficients_open_honestly_and_redundant_rows_change_nothing() {
        // Rows 1 and 2 of "2 of 3" have coefficients 2 and -1.
        let world = World::new(3);
        let (header, expected) = world.encapsulate("2 of (a@h0, b@h1, c@h2)");
        let alice = gid("did:alice");
        let two = [world.key(0, &alice, "a"), world.key(1, &alice, "b")];
        let found = world.decapsulate(&header, &alice, &two).unwrap();
        assert!(found.ct_eq(&expected));
        let three = [world.key(2, &alice, "c"), world.key(1, &alice, "b"), world.key(0, &alice, "a")];
        let found = world.decapsulate(&header, &alice, &three).unwrap();
        assert!(found.ct_eq(&expected));
    }

    #[test]
    fn a_coefficient_of_zero_cannot_drop_a_needed_row() {
        // The verifier computes coefficients itself; a set that spans nothing is refused.
        let world = World::new(3);
        let (header, _) = world.encapsulate("3 of (a@h0, b@h1, c@h2, d@h0)");
        let alice = gid("did:alice");
        let keys = [world.key(0, &alice, "a"), world.key(1, &alice, "b")];
        let found = world.decapsulate(&header, &alice, &keys);
        assert!(matches!(found, Err(AbeError::NotSatisfied { .. })));
    }

    #[test]
    fn an_attribute_named_twice_counts_as_two_rows_with_one_key() {
        let world = World::new(2);
        let alice = gid("did:alice");
        let (header, expected) = world.encapsulate("a@h0 AND (b@h1 OR a@h0) AND a@h0");
        let found = world.decapsulate(&header, &alice, &[world.key(0, &alice, "a")]).unwrap();
        assert!(found.ct_eq(&expected));
        // It does not stand in for another attribute.
        let (header, _) = world.encapsulate("a@h0 AND a@h0 AND b@h1");
        let keys = [world.key(0, &alice, "a"), world.key(0, &alice, "a")];
        assert!(world.decapsulate(&header, &alice, &keys).is_err());
    }

    #[test]
    fn rows_of_a_repeated_attribute_share_no_group_element() {
        let world = World::new(1);
        let (header, _) = world.encapsulate("a@h0 AND a@h0 AND a@h0");
        let bytes = header.to_bytes();
        let rows = &bytes[bytes.len() - 32 - 3 * 768..bytes.len() - 32];
        let mut parts = Vec::new();
        for row in rows.chunks(768) {
            parts.extend([&row[..576], &row[576..624], &row[624..672], &row[672..]]);
        }
        let distinct: std::collections::BTreeSet<_> = parts.iter().collect();
        assert_eq!(distinct.len(), parts.len());
    }

    #[test]
    fn shifted_field_borders_give_another_attribute() {
        // The same characters, split differently between name, value, authority and epoch.
        let world = World::new(2);
        let alice = gid("did:alice");
        let (header, expected) = world.encapsulate("ab=c@h0#1");
        let near = ["a=bc#1", "abc#1", "ab=c1", "ab=c#1.1", "ab=c"];
        for attribute in near {
            let key = world.key(0, &alice, attribute);
            assert!(world.decapsulate(&header, &alice, &[key]).is_err());
        }
        let forged = relabelled(&world.key(0, &alice, "ab=c#11"), "11", "1");
        assert!(forged.verify(world.public(0)).is_err());
        let found = world.decapsulate(&header, &alice, &[forged]).unwrap();
        assert!(!found.ct_eq(&expected));
        // Name and value exchanged under a forged label.
        let key = world.key(0, &alice, "abc#1");
        let bytes = replace_text(&key.to_bytes(), "abc", "ab");
        let bytes = replace_text(&bytes, "", "c");
        let forged = AttributeKey::from_bytes(&bytes).unwrap();
        assert_eq!(forged.term().to_string(), "ab=c@h0#1");
        let found = world.decapsulate(&header, &alice, &[forged]).unwrap();
        assert!(!found.ct_eq(&expected));
    }

    #[test]
    fn one_string_as_identity_and_as_attribute_is_two_points() {
        // Were H = F, a key for attribute "x" of identity "x" would cancel. It must not open other
        // identities' rows.
        let world = World::new(1);
        let (header, expected) = world.encapsulate("x@h0");
        let forged = relabelled(&world.key(0, &gid("x0"), "x"), "x0", "y0");
        let found = world.decapsulate(&header, &gid("y0"), &[forged]).unwrap();
        assert!(!found.ct_eq(&expected));
    }

    #[test]
    fn keys_of_another_authority_or_channel_do_not_serve() {
        let world = World::new(2);
        let alice = gid("did:alice");
        let (header, expected) = world.encapsulate("a@h0");
        let forged = relabelled(&world.key(1, &alice, "a"), "h1", "h0");
        let found = world.decapsulate(&header, &alice, &[forged]).unwrap();
        assert!(!found.ct_eq(&expected));

        // The same secret key, told to issue for another channel.
        let bytes = replace_text(&world.secret[0].to_bytes(), CHANNEL, "channel-2");
        let elsewhere = AuthoritySecretKey::from_bytes(&bytes).unwrap();
        let key = authority::issue(&elsewhere, &alice, &Attribute::parse("a").unwrap(), &mut rng(9));
        assert!(world.decapsulate(&header, &alice, &[relabelled(&key, "channel-2", "channel-2")]).is_err());
        let forged = relabelled(&key, "channel-2", CHANNEL);
        let found = world.decapsulate(&header, &alice, &[forged]).unwrap();
        assert!(!found.ct_eq(&expected));
    }

    #[test]
    fn a_rogue_public_key_is_refused_by_its_proof_of_possession() {
        let world = World::new(2);
        let honest = world.public(0).to_bytes();
        // Another's key under the rogue's own name.
        let copied = replace_text(&honest, "h0", "h9");
        let refused = AuthorityPublicKey::from_bytes(&copied);
        assert!(matches!(refused, Err(AbeError::ProofOfPossession { .. })));
        // Another channel.
        let moved = replace_text(&honest, CHANNEL, "channel-2");
        assert!(AuthorityPublicKey::from_bytes(&moved).is_err());
        // One's own A with another's Y, and the other way round.
        let other = world.public(1).to_bytes();
        let parts = honest.len() - 96 - 48;
        let mixed = [&honest[..parts], &other[parts..]].concat();
        assert!(matches!(AuthorityPublicKey::from_bytes(&mixed), Err(AbeError::ProofOfPossession { .. })));
        // The proof of another key.
        let proofless = [&honest[..honest.len() - 96], &other[other.len() - 96..]].concat();
        assert!(matches!(
            AuthorityPublicKey::from_bytes(&proofless),
            Err(AbeError::ProofOfPossession { .. })
        ));
        // A zero challenge with zero responses: R would be the identity.
        let zeros = [&honest[..honest.len() - 96], &[0u8; 96]].concat();
        assert!(AuthorityPublicKey::from_bytes(&zeros).is_err());
    }

    /// Decodes altered header bytes and opens them, if they decode.
    fn opens(world: &World, bytes: &[u8], keys: &[AttributeKey], expected: &Secret32) -> bool {
        let alice = gid("did:alice");
        Header::from_bytes(bytes)
            .and_then(|header| world.decapsulate(&header, &alice, keys))
            .is_ok_and(|found| found.ct_eq(expected))
    }

    #[test]
    fn group_elements_outside_their_groups_are_refused_in_every_place() {
        let world = World::new(1);
        let (header, _) = world.encapsulate("a@h0");
        let bytes = header.to_bytes();
        let row = bytes.len() - 32 - 768;
        // G1: infinity; x = 0, a point of order 3; x = 4, on the curve and outside the subgroup.
        let mut infinity = [0u8; 48];
        infinity[0] = 0xc0;
        let mut order_three = [0u8; 48];
        order_three[0] = 0x80;
        let mut outside = [0u8; 48];
        (outside[0], outside[47]) = (0x80, 4);
        for (offset, name) in [(576, "C2"), (624, "C3")] {
            for bad in [infinity, order_three, outside, [0; 48], [0xff; 48]] {
                let mut altered = bytes.clone();
                altered[row + offset..row + offset + 48].copy_from_slice(&bad);
                let refused = Header::from_bytes(&altered);
                assert!(matches!(refused, Err(AbeError::Malformed { .. })), "{name}");
            }
        }
        let mut infinity = [0u8; 96];
        infinity[0] = 0xc0;
        for bad in [infinity, [0; 96], [0xff; 96]] {
            let mut altered = bytes.clone();
            altered[row + 672..row + 768].copy_from_slice(&bad);
            assert!(Header::from_bytes(&altered).is_err());
        }
        // GT: zero, one, minus one (order 2), all ones.
        let p_minus_one = hex::decode(
            "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaaa",
        )
        .unwrap();
        let mut one = [0u8; 576];
        one[47] = 1;
        let mut minus_one = [0u8; 576];
        minus_one[..48].copy_from_slice(&p_minus_one);
        for bad in [[0; 576], one, minus_one, [0xff; 576]] {
            let mut altered = bytes.clone();
            altered[row..row + 576].copy_from_slice(&bad);
            assert!(Header::from_bytes(&altered).is_err());
        }
    }

    #[test]
    fn a_header_does_not_open_under_another_class_epoch_or_channel() {
        let world = World::new(1);
        let alice = gid("did:alice");
        let (header, expected) = world.encapsulate("a@h0");
        let keys = [world.key(0, &alice, "a")];
        for other in [
            KemContext::new(CHANNEL, "patient-1/restricted", 3).unwrap(),
            KemContext::new(CHANNEL, "patient-1/normal", 4).unwrap(),
        ] {
            let found = kem::decapsulate(&header, &other, &world.public, &alice, &keys, &[7; 32]).unwrap();
            assert!(!found.ct_eq(&expected));
        }
        let other = KemContext::new("channel-2", "patient-1/normal", 3).unwrap();
        let refused = kem::decapsulate(&header, &other, &world.public, &alice, &keys, &[7; 32]);
        assert!(matches!(refused, Err(AbeError::OtherChannel { .. })));
    }

    #[test]
    fn a_header_does_not_open_with_another_policy_or_row_order() {
        let world = World::new(1);
        let (header, expected) = world.encapsulate("a@h0 OR b@h0");
        let bytes = header.to_bytes();
        let alice = gid("did:alice");
        let keys = || ["a", "b", "c"].map(|name| world.key(0, &alice, name));
        assert!(opens(&world, &bytes, &keys(), &expected));
        let policy_length = header.policy().canonical_bytes().len();
        let rows = 2 + 8 + policy_length;
        for other in ["b@h0 OR a@h0", "a@h0 OR c@h0", "a@h0 AND b@h0"] {
            let policy = AccessPolicy::parse(other).unwrap().canonical_bytes();
            let altered =
                [&bytes[..2], &(policy.len() as u64).to_be_bytes(), &policy, &bytes[rows..]].concat();
            assert!(Header::from_bytes(&altered).is_ok());
            assert!(!opens(&world, &altered, &keys(), &expected), "{other}");
        }
        // The rows exchanged under the same policy; and the row that is not used altered.
        let (first, second) = (&bytes[rows..rows + 768], &bytes[rows + 768..rows + 1536]);
        let tail = &bytes[rows + 1536..];
        let swapped = [&bytes[..rows], second, first, tail].concat();
        assert!(!opens(&world, &swapped, &keys(), &expected));
        let doubled = [&bytes[..rows], first, first, tail].concat();
        assert!(Header::from_bytes(&doubled).is_ok());
        assert!(!opens(&world, &doubled, &keys(), &expected));
    }

    #[test]
    fn a_header_with_one_bad_row_is_rejected_by_holders_of_the_good_row_too() {
        // Else one header would open to different secrets for different holders.
        let world = World::new(1);
        let (header, _) = world.encapsulate("a@h0 OR b@h0");
        let bytes = header.to_bytes();
        let rows = bytes.len() - 32 - 2 * 768;
        let second = bytes[rows + 768..rows + 1536].to_vec();
        let alice = gid("did:alice");
        // Parts of the second row replaced by those of the first, so that all of them are valid
        // group elements.
        for part in [0..576, 576..624, 624..672, 672..768] {
            let mut altered = bytes.clone();
            let first = bytes[rows + part.start..rows + part.end].to_vec();
            altered[rows + 768 + part.start..rows + 768 + part.end].copy_from_slice(&first);
            assert_ne!(altered[rows + 768..rows + 1536], second);
            let header = Header::from_bytes(&altered).unwrap();
            let open = |name: &str, reject: &[u8; 32]| {
                let keys = [world.key(0, &alice, name)];
                kem::decapsulate(&header, &context(), &world.public, &alice, &keys, reject).unwrap()
            };
            assert!(open("a", &[1; 32]).ct_eq(&open("b", &[1; 32])), "{part:?}");
            assert!(!open("a", &[1; 32]).ct_eq(&open("a", &[2; 32])), "{part:?}");
        }
    }

    #[test]
    fn a_header_does_not_open_with_another_public_key_digest() {
        // The same key with a fresh proof: equal in the group, another digest.
        let mut world = World::new(1);
        let alice = gid("did:alice");
        let (header, expected) = world.encapsulate("a@h0");
        let again = world.secret[0].public_key(&mut rng(77));
        assert_ne!(again.digest(), world.public(0).digest());
        let key = world.key(0, &alice, "a");
        key.verify(&again).unwrap();
        world.public.insert(again);
        let found = world.decapsulate(&header, &alice, &[key]).unwrap();
        assert!(!found.ct_eq(&expected));
    }

    #[test]
    fn a_key_of_an_old_epoch_does_not_open_a_new_header() {
        let world = World::new(1);
        let alice = gid("did:alice");
        let (header, expected) = world.encapsulate("clinician@h0#2026W48");
        let old = world.key(0, &alice, "clinician#2026W47");
        let refused = world.decapsulate(&header, &alice, std::slice::from_ref(&old));
        assert!(matches!(refused, Err(AbeError::NotSatisfied { .. })));
        let forged = relabelled(&old, "2026W47", "2026W48");
        assert!(forged.verify(world.public(0)).is_err());
        let found = world.decapsulate(&header, &alice, &[forged]).unwrap();
        assert!(!found.ct_eq(&expected));
        // A version bump within the epoch revokes too.
        let (header, _) = world.encapsulate("clinician@h0#2026W48.1");
        let old = world.key(0, &alice, "clinician#2026W48");
        assert!(world.decapsulate(&header, &alice, &[old]).is_err());
    }

    #[test]
    fn rejection_depends_on_the_holders_secret_and_the_header_only() {
        let world = World::new(1);
        let alice = gid("did:alice");
        let (header, _) = world.encapsulate("a@h0");
        let mut bytes = header.to_bytes();
        *bytes.last_mut().unwrap() ^= 1;
        let altered = Header::from_bytes(&bytes).unwrap();
        let open = |header: &Header, reject: &[u8; 32]| {
            let keys = [world.key(0, &alice, "a")];
            kem::decapsulate(header, &context(), &world.public, &alice, &keys, reject).unwrap()
        };
        assert!(open(&altered, &[1; 32]).ct_eq(&open(&altered, &[1; 32])));
        assert!(!open(&altered, &[1; 32]).ct_eq(&open(&altered, &[2; 32])));
        *bytes.last_mut().unwrap() ^= 2;
        let other = Header::from_bytes(&bytes).unwrap();
        assert!(!open(&altered, &[1; 32]).ct_eq(&open(&other, &[1; 32])));
        // An honest header does not depend on it.
        assert!(open(&header, &[1; 32]).ct_eq(&open(&header, &[2; 32])));
    }

    #[test]
    fn no_flipped_bit_of_a_header_opens_to_the_same_secret() {
        let world = World::new(1);
        let (header, expected) = world.encapsulate("a@h0");
        let bytes = header.to_bytes();
        let keys = [world.key(0, &gid("did:alice"), "a")];
        assert!(opens(&world, &bytes, &keys, &expected));
        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 1 << (index % 8);
            assert!(!opens(&world, &altered, &keys, &expected), "byte {index}");
            altered[index] = !bytes[index];
            assert!(!opens(&world, &altered, &keys, &expected), "byte {index}");
        }
        for length in 0..bytes.len() {
            assert!(Header::from_bytes(&bytes[..length]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Header::from_bytes(&longer).is_err());
    }

    #[test]
    fn an_unknown_suite_is_refused_everywhere() {
        let world = World::new(1);
        let alice = gid("did:alice");
        let (header, _) = world.encapsulate("a@h0");
        let rng = &mut rng(5);
        let record_key = envelope::RecordKey::generate(rng);
        let sealed = envelope::seal_record(&record_key, b"", b"x", rng).unwrap();
        let other = |bytes: &[u8]| [&[0, 2], &bytes[2..]].concat();
        let is_suite = |error: Option<AbeError>| {
            assert!(matches!(error, Some(AbeError::UnknownSuite { suite: 2, .. })));
        };
        is_suite(Header::from_bytes(&other(&header.to_bytes())).err());
        is_suite(AuthorityPublicKey::from_bytes(&other(&world.public(0).to_bytes())).err());
        is_suite(AuthoritySecretKey::from_bytes(&other(&world.secret[0].to_bytes())).err());
        is_suite(AttributeKey::from_bytes(&other(&world.key(0, &alice, "a").to_bytes())).err());
        is_suite(envelope::open_record(&record_key, b"", &other(&sealed)).err());
        let mut policy = header.policy().canonical_bytes();
        assert_eq!(policy[1], 1);
        policy[1] = 2;
        let refused = AccessPolicy::from_canonical_bytes(&policy);
        assert!(matches!(refused, Err(PolicyError::Encoding { .. })));
    }

    #[test]
    fn an_attribute_key_does_not_verify_for_anything_else() {
        let world = World::new(2);
        let alice = gid("did:alice");
        let key = world.key(0, &alice, "a=1#e");
        key.verify(world.public(0)).unwrap();
        assert!(key.verify(world.public(1)).is_err());
        for (from, to) in [
            ("did:alice", "did:bob"),
            ("a", "b"),
            ("1", "2"),
            ("e", "f"),
            (CHANNEL, "channel-2"),
            ("h0", "h1"),
        ] {
            let forged = relabelled(&key, from, to);
            assert!(forged.verify(world.public(0)).is_err(), "{from} as {to}");
        }
        let bytes = key.to_bytes();
        for index in bytes.len() - 144..bytes.len() {
            let mut altered = bytes.to_vec();
            altered[index] ^= 1;
            let verified = AttributeKey::from_bytes(&altered).and_then(|key| key.verify(world.public(0)));
            assert!(verified.is_err(), "byte {index}");
        }
    }

    #[test]
    fn no_public_encoding_contains_alpha_in_a_source_group() {
        // With the secret known, g1^α and g2^α can be looked for.
        let world = World::new(1);
        let alice = gid("did:alice");
        let (header, _) = world.encapsulate("a@h0");
        let secret = world.secret[0].to_bytes();
        let alpha = &secret[secret.len() - 64..secret.len() - 32];
        let mut key = blst::min_pk::SecretKey::from_bytes(alpha).unwrap();
        let in_g1 = key.sk_to_pk().to_bytes();
        key = blst::min_pk::SecretKey::from_bytes(alpha).unwrap();
        let in_g2 = blst::min_sig::SecretKey::from_bytes(&key.to_bytes()).unwrap().sk_to_pk().to_bytes();
        for public in
            [world.public(0).to_bytes(), header.to_bytes(), world.key(0, &alice, "a").to_bytes().to_vec()]
        {
            // The sign bit of a compressed point is in its first byte; compare the rest.
            for point in [&in_g1[1..], &in_g2[1..]] {
                assert!(!public.windows(point.len()).any(|window| window == point));
            }
            assert!(!public.windows(32).any(|window| window == alpha));
        }
    }
}
