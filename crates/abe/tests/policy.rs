//! The policy language: reading, writing, limits and canonical bytes.

#[cfg(test)]
mod policy {
    use consilium_abe::policy::{MAX_DEPTH, MAX_ROWS};
    use consilium_abe::{AccessPolicy, Attribute, AttributeSet, AuthorityName, PolicyError, Term};
    use proptest::prelude::*;

    fn parse(text: &str) -> AccessPolicy {
        AccessPolicy::parse(text).unwrap()
    }

    fn term(text: &str) -> Term {
        parse(text).terms().remove(0)
    }

    fn set(terms: &[&str]) -> AttributeSet {
        terms.iter().map(|text| term(text)).collect()
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let policy = parse("clinician@hospital-a OR clinician@hospital-b AND treating@hospital-a");
        assert!(policy.satisfied_by(&set(&["clinician@hospital-a"])));
        assert!(policy.satisfied_by(&set(&["clinician@hospital-b", "treating@hospital-a"])));
        assert!(!policy.satisfied_by(&set(&["clinician@hospital-b"])));
        assert!(!policy.satisfied_by(&set(&["treating@hospital-a"])));
        let grouped = parse("(clinician@a OR clinician@b) AND treating@a");
        assert!(!grouped.satisfied_by(&set(&["clinician@a"])));
    }

    #[test]
    fn keywords_in_either_case_and_superfluous_parentheses_give_the_same_bytes() {
        let canonical = parse("a@x AND b@y AND 2 of (c@x, d@y, e@z)").canonical_bytes();
        for text in [
            "a@x and b@y and 2 OF (c@x,d@y,e@z)",
            "(a@x AND (b@y AND ((2 of ((c@x), d@y, e@z)))))",
            "  a@x\n AND\tb@y AND 2 of(c@x , d@y ,e@z)  ",
        ] {
            assert_eq!(parse(text).canonical_bytes(), canonical, "{text}");
        }
        assert_eq!(parse("1 of (a@x, b@y)").canonical_bytes(), parse("a@x OR b@y").canonical_bytes());
        assert_eq!(parse("2 of (a@x, b@y)").canonical_bytes(), parse("a@x AND b@y").canonical_bytes());
    }

    #[test]
    fn canonical_bytes_are_the_documented_cbor() {
        let expected =
            [&[0x82, 0x01][..], &[0x86, 0x00, 0x61, b'h', 0x61, b'r', 0x61, b'v', 0x62, b'W', b'1', 0x02]]
                .concat();
        assert_eq!(parse("r=v@h#W1.2").canonical_bytes(), expected);
        let expected = [
            &[0x82, 0x01, 0x83, 0x04, 0x02, 0x83][..],
            &[0x86, 0x00, 0x61, b'h', 0x61, b'a', 0x60, 0x60, 0x00],
            &[0x86, 0x00, 0x61, b'h', 0x61, b'b', 0x60, 0x60, 0x00],
            &[0x88, 0x01, 0x61, b'h', 0x61, b'n', 0x08, 0x00, 0x18, 0xc8, 0x60, 0x00],
        ]
        .concat();
        assert_eq!(parse("2 of (a@h, b@h, n[8]>=200@h)").canonical_bytes(), expected);
    }

    #[test]
    fn errors_point_at_the_character() {
        for (text, position, message) in [
            ("", 1, "expected an attribute, a number or `(`"),
            ("a@x AND", 8, "expected an attribute, a number or `(`"),
            ("a", 2, "expected `@` and the authority of the attribute"),
            ("a@", 3, "expected an authority name of 1 to 128 characters"),
            ("a@x b@y", 5, "expected `AND`, `OR` or the end"),
            ("(a@x", 5, "expected `AND`, `OR` or `)`"),
            ("a@x)", 4, "this `)` closes nothing"),
            ("a=@x", 3, "expected a value after `=`"),
            ("a@x#", 5, "expected an epoch after `#`"),
            ("a@x#e.", 7, "expected a version number after `.`"),
            ("3 of (a@x, b@y)", 1, "k of n needs k from 1 to n"),
            ("0 of (a@x)", 1, "k of n needs k from 1 to n"),
            ("2 of a@x", 6, "expected `(` after `of`"),
            ("n[0]>=1@x", 3, "the width is 1 to 64 bits"),
            ("n[65]>=1@x", 3, "the width is 1 to 64 bits"),
            ("n[4]1@x", 5, "expected `>=`, `<=`, `>`, `<` or `=`"),
            ("n[4]>=16@x", 7, "the number does not fit in the width"),
            ("n[4]<0@x", 6, "no number satisfies this comparison"),
            ("é@x", 1, "expected an attribute, a number or `(`"),
            ("a@x AND é@x", 9, "expected an attribute, a number or `(`"),
        ] {
            let error = AccessPolicy::parse(text).unwrap_err();
            let expected = PolicyError::Syntax { position, message: message.to_owned() };
            assert_eq!(error, expected, "{text}");
        }
        let error = AccessPolicy::parse("a@x AND NOT b@x").unwrap_err();
        assert!(error.to_string().starts_with("policy, character 9: there is no negation"));
    }

    #[test]
    fn comparisons_that_hold_for_all_or_no_numbers_are_refused() {
        for text in ["n[4]>=0@x", "n[4]<=15@x", "n[4]>15@x", "n[64]>18446744073709551615@x"] {
            assert!(AccessPolicy::parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("n[4]>4@x"), parse("n[4]>=5@x"));
        assert_eq!(parse("n[4]<6@x"), parse("n[4]<=5@x"));
    }

    #[test]
    fn depth_and_rows_are_limited() {
        let nested = |levels: usize| {
            let mut text = "a@x".to_owned();
            for level in 0..levels {
                text = match level % 2 {
                    0 => format!("(b@x AND {text})"),
                    _ => format!("(b@x OR {text})"),
                };
            }
            AccessPolicy::parse(&text)
        };
        assert!(nested(MAX_DEPTH - 1).is_ok());
        assert!(matches!(nested(MAX_DEPTH), Err(PolicyError::TooDeep { .. })));
        assert!(nested(1_000).is_err());
        assert!(AccessPolicy::parse(&"(".repeat(60_000)).is_err());

        let wide = |rows: usize| AccessPolicy::parse(&vec!["a@x"; rows].join(" OR "));
        assert!(wide(MAX_ROWS).is_ok());
        assert!(matches!(wide(MAX_ROWS + 1), Err(PolicyError::TooManyRows { .. })));
        let bits = ["n[64]=5@x"; 5].join(" AND ");
        assert!(matches!(AccessPolicy::parse(&bits), Err(PolicyError::TooManyRows { .. })));
        assert!(AccessPolicy::parse(&" ".repeat(70_000)).is_err());
    }

    #[test]
    fn policies_combine() {
        let (a, b, c) = (parse("a@x"), parse("b@x"), parse("c@y"));
        let all = AccessPolicy::all_of(vec![a.clone(), b.clone()]).unwrap();
        assert_eq!(all, parse("a@x AND b@x"));
        let any = AccessPolicy::any_of(vec![all.clone(), c.clone()]).unwrap();
        assert_eq!(any, parse("a@x AND b@x OR c@y"));
        let two = AccessPolicy::at_least(2, vec![a, b, c]).unwrap();
        assert_eq!(two, parse("2 of (a@x, b@x, c@y)"));
        assert!(AccessPolicy::all_of(vec![]).is_err());
        assert!(AccessPolicy::at_least(3, vec![all.clone(), two.clone()]).is_err());
        assert!(AccessPolicy::at_least(0, vec![all, two.clone()]).is_err());
        let names: Vec<_> = two.authorities().iter().map(|name| name.as_str()).collect();
        assert_eq!(names, ["x", "y"]);
    }

    #[test]
    fn an_epoch_is_set_where_there_is_none() {
        let policy = parse("a@x OR b@x#old AND n[4]>=3@y");
        let expected = parse("a@x#2026W47 OR b@x#old AND n[4]>=3@y#2026W47");
        assert_eq!(policy.with_epoch("2026W47").unwrap(), expected);
        assert!(policy.with_epoch("no spaces").is_err());
    }

    #[test]
    fn bytes_of_another_shape_of_the_same_policy_are_refused() {
        let leaf = |name: u8| vec![0x86, 0x00, 0x61, b'h', 0x61, name, 0x60, 0x60, 0x00];
        let read = |node: &[u8]| AccessPolicy::from_canonical_bytes(&[&[0x82, 0x01], node].concat());
        assert!(read(&leaf(b'a')).is_ok());
        let (a, b, c) = (leaf(b'a'), leaf(b'b'), leaf(b'c'));
        let both = [&[0x82, 2, 0x82][..], &a, &b].concat();
        assert!(read(&both).is_ok());
        for other in [
            // AND of one; AND within AND; 1 of 2; 2 of 2; an empty gate; 0 of 2.
            [&[0x82, 2, 0x81][..], &a].concat(),
            [&[0x82, 2, 0x82][..], &both, &c].concat(),
            [&[0x83, 4, 1, 0x82][..], &a, &b].concat(),
            [&[0x83, 4, 2, 0x82][..], &a, &b].concat(),
            vec![0x82, 2, 0x80],
            [&[0x83, 4, 0, 0x82][..], &a, &b].concat(),
            // A length in two bytes where one does; an unknown node; a byte too many.
            vec![0x86, 0x00, 0x78, 0x01, b'h', 0x61, b'a', 0x60, 0x60, 0x00],
            [&[0x82, 9, 0x82][..], &a, &b].concat(),
            [&a[..], &[0]].concat(),
            // A bit of an integer named directly.
            [&[0x86, 0, 0x61, b'h', 0x61, b'n', 0x66][..], b"[0/4]1", &[0x60, 0]].concat(),
        ] {
            assert!(read(&other).is_err(), "{other:02x?}");
        }
        for length in 0..both.len() {
            assert!(read(&both[..length]).is_err());
        }
    }

    #[test]
    fn attributes_check_their_fields() {
        assert!(Attribute::new("role", "cardiologist", "2026W47", 3).is_ok());
        for (name, value, epoch, version) in [
            ("", "", "", 0),
            ("a b", "", "", 0),
            ("a", "[0/4]1", "", 0),
            ("a", "", "x.y", 0),
            ("a", "", "", 1),
            ("a", "", "e", 2_000_000),
        ] {
            assert!(Attribute::new(name, value, epoch, version).is_err());
        }
        for text in ["a#", "a=", "a#e.x", "a#e.+1", "a@x", "#e", "=v"] {
            assert!(Attribute::parse(text).is_err(), "{text}");
        }
        let parsed = Attribute::parse("role=x#2026W47.2").unwrap();
        assert_eq!(parsed, Attribute::new("role", "x", "2026W47", 2).unwrap());
        assert!(Attribute::integer("n", 4, 16, "", 0).is_err());
        assert!(Attribute::integer("n", 0, 0, "", 0).is_err());
        assert!(Attribute::integer("n", 65, 0, "", 0).is_err());
        assert_eq!(Attribute::integer("n", 64, u64::MAX, "", 0).unwrap().len(), 64);
        assert!(AuthorityName::new("hospital a").is_err());
    }

    fn policies() -> impl Strategy<Value = AccessPolicy> {
        let leaf = prop_oneof![
            "[a-z0-9:/.-]{1,6}(=[A-Za-z0-9]{1,3})?@[a-c](#2026W4[0-9](\\.[1-9])?)?",
            (2u8..6, 1u64..3).prop_map(|(width, bound)| format!("n[{width}]>={bound}@h")),
            (2u8..6, 1u64..3).prop_map(|(width, bound)| format!("n[{width}]={bound}@h#e")),
        ]
        .prop_map(|text| parse(&text));
        leaf.prop_recursive(4, 24, 4, |inner| {
            (prop::collection::vec(inner, 1..4), 0usize..3).prop_map(|(children, gate)| {
                match gate {
                    0 => AccessPolicy::all_of(children),
                    1 => AccessPolicy::any_of(children),
                    _ => AccessPolicy::at_least(1 + children.len() / 2, children),
                }
                .unwrap()
            })
        })
    }

    #[test]
    fn what_a_policy_comes_to_without_an_authority() {
        let without = |text: &str, gone: &str| {
            let policy = AccessPolicy::parse(text).unwrap();
            policy.restricted_to(&|authority| authority.as_str() != gone).map(|left| left.to_string())
        };
        for (policy, left) in [
            ("x@a", Some("x@a")),
            ("x@d", None),
            ("x@a OR x@d", Some("x@a")),
            ("x@a AND x@d", None),
            ("x@a OR (x@b AND x@d)", Some("x@a")),
            ("x@a AND (x@b OR x@d)", Some("x@a AND x@b")),
            ("2 of (x@a, x@b, x@d)", Some("x@a AND x@b")),
            ("2 of (x@a, x@b, x@c, x@d)", Some("2 of (x@a, x@b, x@c)")),
            ("3 of (x@a, y@d, x@d)", None),
            ("x@a OR level[8]>=5@d", Some("x@a")),
        ] {
            assert_eq!(without(policy, "d").as_deref(), left, "{policy}");
            assert_eq!(without(policy, "nobody"), Some(AccessPolicy::parse(policy).unwrap().to_string()));
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_are_read_back(policy in policies()) {
            prop_assert_eq!(&parse(&policy.to_string()), &policy);
            let bytes = policy.canonical_bytes();
            prop_assert_eq!(&AccessPolicy::from_canonical_bytes(&bytes).unwrap(), &policy);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ab@#=.,()\\[\\]0-9<> ANDORof\\PC]{0,60}") {
            if let Ok(policy) = AccessPolicy::parse(&text) {
                prop_assert_eq!(parse(&policy.to_string()), policy);
            }
        }

        #[test]
        fn any_bytes_are_refused_or_the_canonical_ones(
            policy in policies(), index: prop::sample::Index, byte: u8, cut: bool,
        ) {
            let mut bytes = policy.canonical_bytes();
            let at = index.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = byte;
            }
            if let Ok(read) = AccessPolicy::from_canonical_bytes(&bytes) {
                prop_assert_eq!(read.canonical_bytes(), bytes);
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic_any_decoder(mut bytes in prop::collection::vec(any::<u8>(), 0..900)) {
            use consilium_abe::{AttributeKey, AuthorityPublicKey, AuthoritySecretKey, Header};
            let _ = AccessPolicy::from_canonical_bytes(&bytes);
            if let Some(suite) = bytes.first_chunk_mut::<2>() {
                *suite = [0, 1];
            }
            prop_assert!(Header::from_bytes(&bytes).is_err());
            prop_assert!(AttributeKey::from_bytes(&bytes).is_err());
            prop_assert!(AuthorityPublicKey::from_bytes(&bytes).is_err());
            prop_assert!(AuthoritySecretKey::from_bytes(&bytes).is_err());
        }
    }
}
