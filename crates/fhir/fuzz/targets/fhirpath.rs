//! FHIRPath: the first line is an expression, the byte after it chooses how it is read and on which record it runs.
//! Compiling and evaluating end within their limits, and a result can be shown.
#![no_main]

use std::sync::LazyLock;

use consilium_fhir::fhirpath::{CompileOptions, Context, EvalLimits, Temporal, compile};
use consilium_fhir::{Limits, Schema, Tape};
use libfuzzer_sys::fuzz_target;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let paths = std::env::var("CONSILIUM_FUZZ_PACKAGES").expect("CONSILIUM_FUZZ_PACKAGES");
    let packages: Vec<Vec<u8>> = paths.split(',').map(|path| std::fs::read(path).expect("a package")).collect();
    let packages: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
    Schema::compile(&packages).expect("packages compile")
});

const RECORDS: [&str; 3] = [
    r#"{"resourceType":"Patient","id":"p","active":true,"name":[{"use":"official","family":"Doe","given":["Ann","B"],
        "_given":[null,{"extension":[{"url":"urn:x","valueCode":"q"}]}]},{"use":"usual","given":["Annie"]}],
        "birthDate":"1974-12-25","_birthDate":{"extension":[{"url":"urn:t","valueDateTime":"1974-12-25T14:35:45-05:00"}]},
        "multipleBirthInteger":2,"contact":[{"relationship":[{"coding":[{"code":"N","system":"urn:s"}]}],
        "name":{"family":"du March"}}],"managingOrganization":{"reference":"Organization/1"},
        "contained":[{"resourceType":"Organization","id":"o","name":"x"}]}"#,
    r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},
        "valueQuantity":{"value":185.50,"unit":"lbs","system":"http://unitsofmeasure.org","code":"[lb_av]"},
        "effectivePeriod":{"start":"2013-04","end":"2013-04-05T10:30:00.123Z"},"component":[{"code":{"text":"a"},
        "valueInteger":-3},{"code":{"text":"b"},"valueString":"\u00e9\ud83d\ude00"},{"code":{"text":"c"},
        "valueTime":"14:34:28"}]}"#,
    r#"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:0","resource":{"resourceType":"Basic",
        "code":{"text":"x"}}},{"resource":{"resourceType":"Parameters","parameter":[{"name":"a","valueDecimal":1e-7},
        {"name":"b","part":[{"name":"c","valueBase64Binary":"AAEC"}]}]}}]}"#,
];

fuzz_target!(|data: &[u8]| {
    let (line, rest) = match data.iter().position(|&b| b == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let Ok(expression) = std::str::from_utf8(line) else { return };
    let choice = rest.first().copied().unwrap_or(0);
    let record = RECORDS[usize::from(choice) % RECORDS.len()];
    let tape = Tape::parse(record.as_bytes(), &Limits::default()).expect("a record");
    let root = tape.root().get("resourceType").and_then(|t| t.as_str()).expect("a type");
    let options = CompileOptions {
        strict: choice & 4 != 0,
        lenient: choice & 8 != 0,
        check_order: choice & 16 != 0,
        schema: Some(&SCHEMA),
        context_type: (choice & 32 != 0).then_some(&*root),
        ..CompileOptions::default()
    };
    let Ok(program) = compile(expression, &options) else { return };
    let schema = (choice & 64 == 0).then_some(&*SCHEMA);
    let now = Temporal::parse_date_time("2026-03-01T12:30:00.000+01:00").expect("a time");
    let limits = EvalLimits { work: 200_000, text: 1 << 16 };
    let context = Context::new(&tape, schema).with_now(now).with_limits(limits);
    if let Ok(found) = program.evaluate(&context) {
        let shown = found.to_json(&context);
        serde_json::from_str::<serde_json::Value>(&shown).expect("a result is JSON");
    }
    let _ = program.holds(&context);
});
