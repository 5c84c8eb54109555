use super::*;

/// The schema, or `None` where the core package is absent.
fn schema() -> Option<Arc<Schema>> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    if !crate::schema::folder(&tools).join(crate::schema::CORE).exists() {
        let required = std::env::var_os("CONSILIUM_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
        assert!(!required, "the core package is required and absent");
        eprintln!("SKIPPED: the core package is absent");
        return None;
    }
    crate::schema::load(&tools, &[], &[]).ok().map(Arc::new)
}

const RECORD: &str = r#"{"resourceType":"Patient","id":"p1","gender":"female","birthDate":"1980-02-29",
    "name":[{"family":"Doe"}],"address":[{"line":["Main Street 1"],"state":"MA","postalCode":"02139"}]}"#;

#[test]
fn a_projection_keeps_codes_and_decides_some_rules() {
    let Some(schema) = schema() else { return };
    let validator = Validator::new(schema);
    let tape = Tape::parse(RECORD.as_bytes(), &Limits::default()).unwrap();
    let own = share(&validator, &tape, None).unwrap();
    // resourceType and gender, of eight.
    assert_eq!((own.shown, own.leaves, own.errors), (2, 8, 0), "{own:?}");
    assert!(own.decided > 0 && own.decided <= own.rules, "{own:?}");
    let bundle =
        format!(r#"{{"resourceType":"Bundle","entry":[{{"resource":{RECORD}}},{{"resource":{RECORD}}}]}}"#);
    let tape = Tape::parse(bundle.as_bytes(), &Limits::default()).unwrap();
    let both = share(&validator, &tape, None).unwrap();
    assert_eq!((both.shown, both.leaves, both.rules), (4, 16, 2 * own.rules));
    let all = Policy::parse(br#"{"fhirPathRules":[{"path":"Resource","method":"keep"}]}"#).unwrap();
    let shown = share(&validator, &tape, Some(&all)).unwrap();
    assert_eq!((shown.shown, shown.decided), (shown.leaves, shown.rules));
}

#[test]
fn a_key_has_32_bytes() {
    let folder = std::env::temp_dir().join(format!("consilium-deid-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("key");
    for (text, sound) in [("00".repeat(32) + "\n", true), ("00".repeat(31), false), ("x".repeat(64), false)] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(key(Some(&file)).is_ok(), sound);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert_ne!(key(None).unwrap(), key(None).unwrap());
}

#[test]
fn shares_are_cut_to_a_tenth() {
    for (part, whole, shown) in
        [(1, 3, "33.3"), (2, 3, "66.6"), (3, 3, "100.0"), (0, 3, "0.0"), (0, 0, "100.0")]
    {
        assert_eq!(Share::percent(part, whole), shown);
    }
}
