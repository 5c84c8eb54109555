//! The tape: strictness, positions, reading back.

#[cfg(test)]
mod tape {
    use consilium_fhir::tape::{Kind, Limits, NodeId, ParseError, ParseErrorKind as E, Tape};

    fn refuse(input: &[u8]) -> ParseError {
        match Tape::parse(input, &Limits::default()) {
            Ok(_) => panic!("accepted {:?}", String::from_utf8_lossy(input)),
            Err(e) => e,
        }
    }

    /// Input, kind, offset of the fault.
    const BAD: &[(&[u8], E, usize)] = &[
        (b"", E::Empty, 0),
        (b" \n\t ", E::Empty, 4),
        (b"\xEF\xBB\xBF", E::Empty, 3),
        (b"{", E::UnexpectedEnd, 1),
        (b"[", E::UnexpectedEnd, 1),
        (b"[1", E::UnexpectedEnd, 2),
        (b"[1,", E::UnexpectedEnd, 3),
        (b"{\"a\"", E::UnexpectedEnd, 4),
        (b"{\"a\":", E::UnexpectedEnd, 5),
        (b"{\"a", E::UnexpectedEnd, 1),
        (b"\"abc", E::UnexpectedEnd, 0),
        (b"tru", E::UnexpectedEnd, 0),
        (b"\"\\", E::UnexpectedEnd, 1),
        (b"\"\\u00", E::UnexpectedEnd, 3),
        (b"{\"a\":1,}", E::TrailingComma, 6),
        (b"[1,]", E::TrailingComma, 2),
        (b"[,1]", E::Expected("a value"), 1),
        (b"[1 2]", E::Expected("`,` or `]`"), 3),
        (b"[1}", E::Expected("`,` or `]`"), 2),
        (b"{\"a\":1]", E::Expected("`,` or `}`"), 6),
        (b"{\"a\" 1}", E::Expected("`:`"), 5),
        (b"{a:1}", E::Expected("a property name in double quotes"), 1),
        (b"{1:1}", E::Expected("a property name in double quotes"), 1),
        (b"}", E::Expected("a value"), 0),
        (b"{} {}", E::TrailingData, 3),
        (b"{}x", E::TrailingData, 2),
        (b"nul", E::UnexpectedEnd, 0),
        (b"nulll", E::BadLiteral, 0),
        (b"True", E::BadLiteral, 0),
        (b"NaN", E::BadLiteral, 0),
        (b"'a'", E::BadLiteral, 0),
        (b"undefined", E::BadLiteral, 0),
        (b"01", E::BadNumber, 0),
        (b"-", E::BadNumber, 0),
        (b"+1", E::BadNumber, 0),
        (b".5", E::BadNumber, 0),
        (b"5.", E::BadNumber, 0),
        (b"1e", E::BadNumber, 0),
        (b"1e+", E::BadNumber, 0),
        (b"0x10", E::BadNumber, 0),
        (b"1_000", E::BadNumber, 0),
        (b"-Infinity", E::BadNumber, 0),
        (b"\"a\nb\"", E::ControlCharacter, 2),
        (b"\"a\0b\"", E::ControlCharacter, 2),
        (b"\"0123456789abcdef0123456789\tb\"", E::ControlCharacter, 27),
        (b"\"\\x41\"", E::BadEscape, 1),
        (b"\"\\u00g0\"", E::BadEscape, 1),
        (b"\"\\ud800\"", E::LoneSurrogate, 1),
        (b"\"\\udc00\"", E::LoneSurrogate, 1),
        (b"\"\\ud800\\u0041\"", E::LoneSurrogate, 1),
        (b"\"\\ud800x\"", E::LoneSurrogate, 1),
        (b"\"\xff\"", E::NotUtf8, 1),
        (b"\"\xc0\x80\"", E::NotUtf8, 1),
        (b"\"\xed\xa0\x80\"", E::NotUtf8, 1),
        (b"\xff\xfe{\0}\0", E::NotUtf8, 0),
        (b"{\"a\":1,\"a\":2}", E::DuplicateKey, 7),
        (b"{\"a\":1,\"b\":{\"a\":1},\"\\u0061\":2}", E::DuplicateKey, 19),
        (b"// x\n{}", E::Comment, 0),
        (b"{} // x", E::Comment, 3),
        (b"{ /* x */ }", E::Comment, 2),
        (b"{\"a\":1 /* x */}", E::Comment, 7),
        (b"[\xc2\xa0 1]", E::Expected("a value"), 1),
    ];

    #[test]
    fn refuses_what_rfc_8259_forbids() {
        for (input, kind, offset) in BAD {
            let e = refuse(input);
            let shown = String::from_utf8_lossy(input);
            assert_eq!((e.kind(), e.offset()), (*kind, *offset), "{shown:?}");
        }
    }

    #[test]
    fn accepts_what_rfc_8259_allows() {
        for input in [
            "0",
            "-0",
            "1.50",
            "1e5",
            "1E-2",
            "-1.0e+10",
            "\"\"",
            "null",
            " true ",
            "[]",
            "{}",
            "[[]]",
            "{\"\":1}",
            "\"\u{7f}\u{2028}\"",
            "\"\\ud83d\\ude00\\/\"",
            "\u{feff}{}",
            "[1,\r\n2]",
        ] {
            assert!(Tape::parse(input.as_bytes(), &Limits::default()).is_ok(), "{input:?}");
        }
    }

    #[test]
    fn limits_hold_exactly() {
        let small = Limits { bytes: 8, depth: 2, nodes: 3 };
        assert!(Tape::parse(b"[[1]]   ", &small).is_ok());
        let kind = |input: &[u8]| Tape::parse(input, &small).unwrap_err().kind();
        assert_eq!(kind(b"[[1]]    "), E::TooLarge(8));
        assert_eq!(kind(b"[[[1]]]"), E::TooDeep(2));
        assert_eq!(kind(b"[1,2,3]"), E::TooManyNodes(3));
        let deep = vec![b'['; 1 << 20];
        assert_eq!(refuse(&deep).kind(), E::TooDeep(100));
        let long = format!("{{\"{}\":1}}", "k".repeat(65_536));
        assert_eq!(refuse(long.as_bytes()).kind(), E::KeyTooLong);
    }

    #[test]
    fn finds_duplicates_in_large_objects_in_good_time() {
        let members: Vec<String> = (0..100_000).map(|i| format!("\"k{i}\":0")).collect();
        let clean = format!("{{{}}}", members.join(","));
        assert!(Tape::parse(clean.as_bytes(), &Limits::default()).is_ok());
        let doubled = format!("{{{},\"k77\":1}}", members.join(","));
        let e = refuse(doubled.as_bytes());
        assert_eq!((e.kind(), e.offset()), (E::DuplicateKey, doubled.len() - 8));
        for n in 60..70 {
            let doubled = format!("{{{},\"k0\":1}}", members[..n].join(","));
            assert_eq!(refuse(doubled.as_bytes()).kind(), E::DuplicateKey, "{n}");
        }
    }

    #[test]
    fn tells_line_and_column_in_characters() {
        let e = refuse("{\n  \"ä\": 1,\n\t\"ö\" 2}".as_bytes());
        assert_eq!((e.line(), e.column()), (3, 6));
        assert_eq!(e.to_string(), "line 3, column 6: expected `:` here");
        assert_eq!(refuse(b"\xEF\xBB\xBF[x").column(), 3);
    }

    #[test]
    fn reads_back_what_was_written() {
        let text = r#"{"resourceType":"X","a":[1.50,null,{"b":"q\"\u00e9\n"},true],"_a":{},"n":false}"#;
        let tape = Tape::parse(text.as_bytes(), &Limits::default()).unwrap();
        let root = tape.root();
        assert_eq!(root.token(), text);
        assert_eq!(root.count(), 4);
        let keys: Vec<_> = root.children().filter_map(|c| c.key()).collect();
        assert_eq!(keys, ["resourceType", "a", "_a", "n"]);
        let a = root.get("a").unwrap();
        assert_eq!(a.count(), 4);
        assert_eq!(a.at(0).unwrap().number(), Some("1.50"));
        assert_eq!(a.at(1).unwrap().kind(), Kind::Null);
        let b = a.at(2).and_then(|c| c.get("b")).unwrap();
        assert_eq!(b.as_str().as_deref(), Some("q\"é\n"));
        assert_eq!(b.token(), r#""q\"\u00e9\n""#);
        assert!(b.str_is("q\"é\n") && b.key_is("b"));
        assert_eq!(a.at(3).unwrap().as_bool(), Some(true));
        assert!(a.at(4).is_none() && root.get("b").is_none() && a.get("a").is_none());
        assert!(root.get("_a").unwrap().has_no_children());
        assert_eq!(root.get("n").unwrap().as_bool(), Some(false));
        let path: Vec<_> = tape.ancestry(b.id()).into_iter().map(|n| n.0).collect();
        assert_eq!(path, [0, 2, 5, 6]);
        assert_eq!(tape.cursor(NodeId(99)).token(), "");
    }

    #[test]
    fn no_truncation_is_accepted_or_panics() {
        let text = r#" {"a":[1.5e-3,"x\u00e9\ud83d\ude00",{"b":null,"c":[true,false]}],"d":{}}"#;
        for cut in 0..text.len() {
            assert!(Tape::parse(&text.as_bytes()[..cut], &Limits::default()).is_err(), "{cut}");
        }
        assert!(Tape::parse(text.as_bytes(), &Limits::default()).is_ok());
    }
}
