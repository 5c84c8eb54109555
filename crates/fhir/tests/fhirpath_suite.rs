//! The HL7 FHIRPath suite (FHIR/fhir-test-cases, r4/fhirpath), outputs compared: types, values and
//! order, and the expressions that must fail.
//!
//! A must-fail case counts only if it fails where the suite says: `syntax` and `semantic` when
//! compiled, `execution` when compiled or evaluated.

#[cfg(test)]
mod suite {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    use consilium_fhir::fhirpath::{
        Collection, CompileOptions, Context, Item, Temporal, TemporalKind, Value, compile,
    };
    use consilium_fhir::{Limits, Schema, Tape};
    use serde_json::Value as Json;

    /// Share of the suite that must agree, in thousandths.
    const GATE: usize = 1000;

    fn workspace() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn folder(variable: &str, default: &str) -> PathBuf {
        std::env::var_os(variable).map_or_else(|| workspace().join(default), PathBuf::from)
    }

    /// Reads a file that is not part of the repository; `None` (said loudly) if it is absent.
    fn outside(path: &Path) -> Option<Vec<u8>> {
        match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref() == Ok("1") => {
                panic!("test data is required: {}: {error}", path.display())
            }
            Err(_) => {
                eprintln!("SKIPPED: no test data at {}", path.display());
                None
            }
        }
    }

    fn text<'j>(case: &'j Json, key: &str) -> Option<&'j str> {
        case.get(key).and_then(Json::as_str)
    }

    /// The value as the suite writes it.
    fn shown<'c>(item: &Item<'c>, context: &Context<'c>) -> String {
        match item.to_value(context) {
            Some(Value::Temporal(t)) if t.kind() == TemporalKind::Time => format!("@T{t}"),
            Some(Value::Temporal(t)) => format!("@{t}"),
            Some(value) => value.to_text().unwrap_or_default().into_owned(),
            None => item.to_json(context),
        }
    }

    fn evaluated(
        case: &Json,
        schema: &Schema,
        input: Option<&Tape<'_>>,
    ) -> Result<Vec<(String, String)>, String> {
        let expression = text(case, "expression").unwrap_or_default();
        let context_type =
            input.and_then(|t| t.root().get("resourceType")).and_then(|t| t.as_str()).map(|t| t.into_owned());
        let options = CompileOptions {
            strict: text(case, "mode") == Some("strict"),
            check_order: case.get("checkOrderedFunctions") == Some(&Json::Bool(true)),
            schema: Some(schema),
            context_type: context_type.as_deref(),
            ..CompileOptions::default()
        };
        let program = compile(expression, &options).map_err(|e| format!("compile: {e}"))?;
        let now = Temporal::parse_date_time("2026-03-01T12:30:00.000+01:00").expect("a date-time");
        let context =
            input.map_or_else(Context::empty, |tape| Context::new(tape, Some(schema))).with_now(now);
        let result = program.evaluate(&context).map_err(|e| format!("evaluate: {e}"))?;
        if case.get("predicate") == Some(&Json::Bool(true)) {
            let holds = match result.items() {
                [only] => only.to_value(&context).is_none_or(|v| !matches!(v, Value::Boolean(false))),
                items => !items.is_empty(),
            };
            let truth = Collection::one(holds);
            return Ok(truth.iter().map(|i| (i.type_name(&context), shown(i, &context))).collect());
        }
        Ok(result.iter().map(|i| (i.type_name(&context), shown(i, &context))).collect())
    }

    fn disagreement(case: &Json, schema: &Schema, input: Option<&Tape<'_>>) -> Option<String> {
        let got = evaluated(case, schema, input);
        if let Some(invalid) = text(case, "invalid").filter(|i| *i != "false") {
            return match got {
                Err(message) if invalid == "execution" || message.starts_with("compile") => None,
                Err(message) => Some(format!("should fail ({invalid}) when compiled; {message}")),
                Ok(items) => Some(format!("should fail ({invalid}); gave {items:?}")),
            };
        }
        let mut got = match got {
            Ok(items) => items,
            Err(message) => return Some(message),
        };
        let mut expected: Vec<(Option<&str>, String)> = case
            .get("outputs")
            .and_then(Json::as_array)
            .map(|outputs| {
                outputs
                    .iter()
                    .map(|o| (text(o, "type"), text(o, "value").unwrap_or_default().to_owned()))
                    .collect()
            })
            .unwrap_or_default();
        if case.get("ordered") == Some(&Json::Bool(false)) {
            got.sort_by(|a, b| a.1.cmp(&b.1));
            expected.sort_by(|a, b| a.1.cmp(&b.1));
        }
        let same = got.len() == expected.len()
            && got.iter().zip(&expected).all(|(g, e)| e.0.is_none_or(|t| t == g.0) && g.1 == e.1);
        (!same).then(|| format!("expected {expected:?}, got {got:?}"))
    }

    #[test]
    fn agrees_with_the_hl7_suite() {
        let cases = folder("CONSILIUM_TEST_DATA", "../shared/data").join("fhir/fhirpath-cases");
        let core = folder("CONSILIUM_FHIR_PACKAGES", ".tools/fhir").join("hl7.fhir.r4.core.tgz");
        let (Some(suite), Some(core)) = (outside(&cases.join("tests.json")), outside(&core)) else { return };
        let suite: Json = serde_json::from_slice(&suite).expect("tests.json");
        let schema = Schema::compile(&[&core]).expect("the core package");

        let tests = suite.get("tests").and_then(Json::as_array).expect("tests");
        let mut bytes: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for name in tests.iter().filter_map(|t| text(t, "input")) {
            bytes.entry(name).or_insert_with(|| fs::read(cases.join("input").join(name)).expect("an input"));
        }
        let tapes: BTreeMap<&str, Tape<'_>> = bytes
            .iter()
            .map(|(name, bytes)| (*name, Tape::parse(bytes, &Limits::default()).expect("valid JSON")))
            .collect();

        let mut disagreements = Vec::new();
        for case in tests {
            let input = text(case, "input").and_then(|name| tapes.get(name));
            if let Some(why) = disagreement(case, &schema, input) {
                let name =
                    format!("{}/{}", text(case, "group").unwrap_or(""), text(case, "name").unwrap_or(""));
                disagreements.push(format!("{name}: `{}`: {why}", text(case, "expression").unwrap_or("")));
            }
        }
        let agreed = tests.len() - disagreements.len();
        println!("FHIRPath suite: {agreed} of {} agree", tests.len());
        for line in &disagreements {
            println!("  {line}");
        }
        assert!(!tests.is_empty(), "the suite is empty");
        assert!(agreed * 1000 >= tests.len() * GATE, "agreement fell: {agreed} of {}", tests.len());
    }
}
