//! FHIRPath under hostile input: no panic, no endless evaluation, clear limits.

#[cfg(test)]
mod limits {
    use consilium_fhir::fhirpath::{
        CompileOptions, Context, EvalErrorKind, EvalLimits, FhirPathErrorKind, Temporal, compile,
    };
    use consilium_fhir::{Limits, Tape};

    const RECORD: &[u8] = br##"{"resourceType":"Patient","id":"p","active":true,"birthDate":"1974-12-25",
        "name":[{"given":["Ann",null],"_given":[null,{"id":"g"}],"family":"\u00e9"}],
        "contained":[{"resourceType":"Organization","id":"o"}],"multipleBirthInteger":2,
        "managingOrganization":{"reference":"#o"},
        "extension":[{"url":"u","valueQuantity":{"value":1e400,"code":"mg","system":"http://unitsofmeasure.org"}},
        {"url":"v","valueDecimal":123456789012345678901234567890123456789012345678901234567890.5}]}"##;

    /// Pieces that expressions are made of: every token kind, names of functions and elements,
    /// numbers and dates at the edges.
    const PIECES: [&str; 108] = [
        "name",
        "given",
        "Patient",
        "active",
        "birthDate",
        "extension",
        "value",
        "id",
        "contained",
        "code",
        ".",
        ".",
        ".",
        ".",
        ".",
        "(",
        ")",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "{}",
        ",",
        "|",
        "&",
        "+",
        "-",
        "*",
        "/",
        "div",
        "mod",
        "<",
        ">",
        "<=",
        ">=",
        "=",
        "~",
        "!=",
        "!~",
        "and",
        "or",
        "xor",
        "implies",
        "in",
        "contains",
        "is",
        "as",
        "$this",
        "$index",
        "$total",
        "%resource",
        "%context",
        "%`a`",
        "'a'",
        "''",
        "'\\u00'",
        "'\\uD800'",
        "`x`",
        "0",
        "1",
        "-1",
        "2147483647",
        "2147483648",
        "9223372036854775807L",
        "0.00000001",
        "99999999999999999999999999999.9",
        "@2015",
        "@2015-02-29",
        "@9999-12-31",
        "@0001-01-01",
        "@T23:59:59.999",
        "@2015-01-01T00:00:00Z",
        "@",
        "1 year",
        "4 'mg'",
        "1 'm/s2'",
        "10 '1'",
        "days",
        "where(",
        "select(",
        "exists()",
        "count()",
        "first()",
        "children()",
        "descendants()",
        "repeat(",
        "iif(",
        "aggregate(",
        "ofType(",
        "substring(",
        "replaceMatches(",
        "matches('a*')",
        "power(",
        "round(",
        "toString()",
        "toQuantity()",
        "lowBoundary(",
        "highBoundary(",
        "sort(",
        "type()",
        "trim()",
        "resolve()",
        "combine(",
        "now()",
        "/*",
        "//",
    ];

    /// A small generator of pseudo-random numbers (xorshift64*).
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
        }
    }

    fn try_expression(text: &str, tape: &Tape<'_>, lenient: bool) -> bool {
        let Ok(program) = compile(text, &CompileOptions { lenient, ..CompileOptions::default() }) else {
            return false;
        };
        let now = Temporal::parse_date_time("2026-02-25T14:31:39.096+11:00").expect("a date-time");
        let context =
            Context::new(tape, None).with_now(now).with_limits(EvalLimits { work: 20_000, text: 1 << 16 });
        if let Ok(result) = program.evaluate(&context) {
            for item in &result {
                let _ = (item.type_name(&context), item.to_json(&context));
            }
            return true;
        }
        false
    }

    #[test]
    fn no_expression_panics() {
        let tape = Tape::parse(RECORD, &Limits::default()).expect("valid JSON");
        let mut random = Random(0x1234_5678_9ABC_DEF1);
        let mut evaluated = 0;
        for round in 0..60_000 {
            let mut text = String::new();
            for _ in 0..=random.below(10) {
                text.push_str(PIECES[random.below(PIECES.len())]);
                if random.below(3) == 0 {
                    text.push(' ');
                }
            }
            // Closing what is open makes more of them well-formed.
            let open = text.matches('(').count().saturating_sub(text.matches(')').count());
            text.push_str(&")".repeat(open));
            evaluated += usize::from(try_expression(&text, &tape, round % 2 == 0));
        }
        println!("{evaluated} of 60000 random expressions gave a result");
        assert!(evaluated > 500, "the generator makes too few valid expressions: {evaluated}");
    }

    #[test]
    fn no_bytes_panic() {
        let tape = Tape::parse(RECORD, &Limits::default()).expect("valid JSON");
        let mut random = Random(0xFEED_5678_9ABC_DEF1);
        let alphabet: Vec<char> = " \t\n()[]{}.,|&+-*/<>=~!@%$'`\"\\u09aTZ:é🔥\u{0}_L".chars().collect();
        for _ in 0..60_000 {
            let text: String =
                (0..random.below(24)).map(|_| alphabet[random.below(alphabet.len())]).collect();
            try_expression(&text, &tape, false);
        }
    }

    #[test]
    fn functions_take_any_input() {
        let tape = Tape::parse(RECORD, &Limits::default()).expect("valid JSON");
        let inputs = [
            "{}",
            "1",
            "(-2147483648)",
            "1.5",
            "'é'",
            "''",
            "true",
            "@2015",
            "@0001-01-01T00:00:00+14:00",
            "@T10",
            "4 days",
            "0.1 'mg'",
            "(1|2)",
            "name",
            "name.given",
            "birthDate",
            "extension.value",
            "1.type()",
            "9223372036854775807L",
            "(-170141183460469231731687303715884105727.0)",
        ];
        let arguments = [
            "{}", "0", "-1", "99999999", "1.5", "'a'", "''", "'('", "true", "@2015", "4 days", "(1|2)",
            "$this",
        ];
        let names = [
            "power",
            "log",
            "round",
            "substring",
            "indexOf",
            "replace",
            "replaceMatches",
            "matches",
            "split",
            "join",
            "encode",
            "decode",
            "escape",
            "unescape",
            "lowBoundary",
            "highBoundary",
            "skip",
            "take",
            "combine",
            "union",
            "toQuantity",
            "comparable",
            "duration",
            "difference",
            "extension",
            "aggregate",
            "repeatAll",
            "sort",
            "abs",
            "ceiling",
            "floor",
            "truncate",
            "sqrt",
            "exp",
            "ln",
            "toString",
            "toInteger",
            "toDate",
            "precision",
            "yearOf",
            "sum",
            "avg",
            "min",
            "max",
            "distinct",
            "children",
            "descendants",
            "resolve",
            "hasValue",
            "not",
            "type",
            "conformsTo",
            "defineVariable",
        ];
        let mut evaluated = 0;
        for input in inputs {
            for name in names {
                for a in arguments {
                    for call in [format!("{name}()"), format!("{name}({a})"), format!("{name}({a}, 'day')")] {
                        evaluated += usize::from(try_expression(&format!("{input}.{call}"), &tape, true));
                    }
                }
            }
            for a in inputs {
                for op in
                    ["+", "-", "*", "/", "div", "mod", "&", "|", "<", ">=", "=", "~", "in", "and", "implies"]
                {
                    evaluated += usize::from(try_expression(&format!("{input} {op} {a}"), &tape, false));
                }
            }
        }
        assert!(evaluated > 5_000, "{evaluated}");
    }

    #[test]
    fn depth_and_length_are_limited_before_the_stack_is() {
        let deep = [
            "(".repeat(50_000),
            "-".repeat(50_000),
            "a.".repeat(30_000) + "a",
            "1+".repeat(30_000) + "1",
            "a[".repeat(30_000),
            "not(".repeat(15_000),
            "iif(true,".repeat(7_000),
        ];
        for text in deep {
            let error = compile(&text, &CompileOptions::default()).expect_err("a limit");
            assert_eq!(error.kind, FhirPathErrorKind::Limit, "{error}");
        }
        let long = format!("'{}'", "x".repeat(70_000));
        assert_eq!(
            compile(&long, &CompileOptions::default()).expect_err("a limit").kind,
            FhirPathErrorKind::Limit
        );
        // What is allowed runs on a small stack.
        let nested = format!("{}1{}", "(1+".repeat(95), ")".repeat(95));
        let chained = format!("1{}", "+1".repeat(190));
        let selects = format!("{}1{}", "select(".repeat(90), ")".repeat(90));
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let run = move || {
            for text in [nested, chained, selects] {
                let program = compile(&text, &CompileOptions::default()).expect("within the limits");
                let _ = program.evaluate(&Context::empty());
            }
        };
        thread.spawn(run).expect("a thread").join().expect("no overflow");
    }

    #[test]
    fn work_and_text_are_limited() {
        let tape = Tape::parse(RECORD, &Limits::default()).expect("valid JSON");
        let endless = [
            "'a'.repeatAll($this)",
            "1.repeatAll($this + 1)",
            "'a'.repeat($this & 'a')",
            "(1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21|22|23|24|25|26|27|28|29|30).aggregate($total & $total & $total, 'abc')",
            "(1|2|3|4|5|6|7|8|9|10|11|12).aggregate($total.replace('', $total), 'abc')",
            "(1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|20|21|22|23|24|25|26|27|28|29|30).aggregate($total.combine($total), 1)",
        ];
        for text in endless {
            let program = compile(text, &CompileOptions::default()).expect("an expression");
            let limits = EvalLimits { work: 1_000_000, text: 1 << 20 };
            let error =
                program.evaluate(&Context::new(&tape, None).with_limits(limits)).expect_err("a limit");
            assert_eq!(error.kind, EvalErrorKind::Limit, "{text}: {error}");
        }
    }

    #[test]
    fn errors_name_the_place_and_no_values() {
        let position = |text: &str| compile(text, &CompileOptions::default()).expect_err("an error").position;
        assert_eq!(position("name.given. "), 12);
        assert_eq!(position("1 + * 2"), 4);
        assert_eq!(position("name.frist()"), 5);
        assert_eq!(position("'open"), 0);
        let message = compile("name.frist()", &CompileOptions::default()).expect_err("an error").to_string();
        assert!(message.contains("there is no function `frist`"), "{message}");
        let message = compile("name.exist()", &CompileOptions::default()).expect_err("an error").to_string();
        assert!(message.contains("did you mean `exists`?"), "{message}");
        let tape = Tape::parse(RECORD, &Limits::default()).expect("valid JSON");
        let program = compile("name.given.first() + 1", &CompileOptions::default()).expect("an expression");
        let message = program.evaluate(&Context::new(&tape, None)).expect_err("an error").to_string();
        assert_eq!(message, "`+` is not defined for string and integer at character 19");
    }
}
