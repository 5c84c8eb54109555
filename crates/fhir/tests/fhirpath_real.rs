//! FHIRPath on the definitions of R4 and on generated patients: every search parameter and every
//! invariant of the core package compiles, and the invariants find nothing on good records.

#[cfg(test)]
mod real {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Read;
    use std::path::{Path, PathBuf};

    use consilium_fhir::fhirpath::{
        CompileOptions, Context, Element, EvalErrorKind, Program, Services, compile, search,
    };
    use consilium_fhir::tape::{Cursor, NodeId};
    use consilium_fhir::{Limits, Schema, Tape};
    use serde_json::Value as Json;

    struct Html;

    impl Services for Html {
        fn html_checks(&self, _div: &Element) -> Option<bool> {
            Some(true)
        }
    }

    fn folder(variable: &str, default: &str) -> PathBuf {
        std::env::var_os(variable)
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(default), PathBuf::from)
    }

    fn absent(path: &Path) {
        assert_ne!(
            std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref(),
            Ok("1"),
            "test data is required: {}",
            path.display()
        );
        eprintln!("SKIPPED: no test data at {}", path.display());
    }

    fn core() -> Option<Vec<u8>> {
        let path = folder("CONSILIUM_FHIR_PACKAGES", ".tools/fhir").join("hl7.fhir.r4.core.tgz");
        let bytes = fs::read(&path).ok();
        if bytes.is_none() {
            absent(&path);
        }
        bytes
    }

    /// The resources of one type in the package.
    fn resources(package: &[u8], prefix: &str) -> Vec<Json> {
        let mut found = Vec::new();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package));
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().into_owned();
            if path.starts_with(&format!("package/{prefix}-")) && path.ends_with(".json") {
                let mut text = String::new();
                entry.read_to_string(&mut text).expect("text");
                found.push(serde_json::from_str(&text).expect("JSON"));
            }
        }
        found
    }

    fn text<'j>(json: &'j Json, key: &str) -> &'j str {
        json.get(key).and_then(Json::as_str).unwrap_or_default()
    }

    #[test]
    fn every_search_parameter_of_r4_compiles_for_each_of_its_types() {
        let Some(package) = core() else { return };
        let schema = Schema::compile(&[&package]).expect("the core package");
        let (mut compiled, mut failed, mut unused) = (0, Vec::new(), Vec::new());
        for parameter in resources(&package, "SearchParameter") {
            let expression = text(&parameter, "expression");
            if expression.is_empty() {
                continue;
            }
            let bases = parameter.get("base").and_then(Json::as_array).cloned().unwrap_or_default();
            for base in bases.iter().filter_map(Json::as_str) {
                match search::compile(expression, base, &schema) {
                    Ok(part) if part.is_empty() => unused.push(format!("{base}: {expression}")),
                    Ok(_) => compiled += 1,
                    Err(error) => failed.push(format!("{base}: `{expression}`: {error}")),
                }
            }
        }
        println!("search parameters: {compiled} compiled, {} without a part for the type", unused.len());
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        // The package holds one example whose expression is of another type than its base.
        assert!(unused.len() <= 1, "{}", unused.join("\n"));
        assert!(compiled > 1_300, "only {compiled} expressions");
    }

    #[test]
    fn search_expressions_pick_the_elements_of_a_resource() {
        let Some(package) = core() else { return };
        let schema = Schema::compile(&[&package]).expect("the core package");
        let record = br##"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"s","code":"c"}]},
            "subject":{"reference":"Patient/1"},"effectivePeriod":{"start":"2020"},
            "component":[{"code":{"text":"a"},"valueQuantity":{"value":1}},{"code":{"text":"b"},"valueString":"x"},
            {"code":{"text":"c"},"valueQuantity":{"value":2}}]}"##;
        let tape = Tape::parse(record, &Limits::default()).expect("valid JSON");
        let context = Context::new(&tape, Some(&schema));
        let found = |expression: &str| -> Vec<String> {
            let part = search::compile(expression, "Observation", &schema).expect("an expression");
            part.matches(&context).expect("a result").iter().map(|i| i.to_json(&context)).collect()
        };
        let union = "AllergyIntolerance.code | (Observation.value as CodeableConcept) | Observation.code";
        assert_eq!(found(union), [r#"{"coding":[{"system":"s","code":"c"}]}"#]);
        assert_eq!(found("(Observation.component.value as Quantity)"), [r#"{"value":1}"#, r#"{"value":2}"#]);
        assert_eq!(
            found("Observation.subject.where(resolve() is Patient)"),
            [r#"{"reference":"Patient/1"}"#]
        );
        assert_eq!(found("Observation.subject.where(resolve() is Group)"), Vec::<String>::new());
        assert_eq!(found("Observation.effective.as(Period)"), [r#"{"start":"2020"}"#]);
        assert_eq!(found("(Observation.effective as dateTime)"), Vec::<String>::new());
    }

    /// Invariants of all elements by the type or path that has them.
    fn invariants(package: &[u8]) -> BTreeMap<String, Vec<(String, Program)>> {
        let options = CompileOptions { lenient: true, ..CompileOptions::default() };
        let mut all: BTreeMap<String, Vec<(String, Program)>> = BTreeMap::new();
        let mut failed = Vec::new();
        for definition in resources(package, "StructureDefinition") {
            if text(&definition, "derivation") == "constraint" {
                continue;
            }
            let elements = definition.pointer("/snapshot/element").and_then(Json::as_array).cloned();
            for element in elements.unwrap_or_default() {
                let constraints =
                    element.get("constraint").and_then(Json::as_array).cloned().unwrap_or_default();
                for c in constraints {
                    let (key, expression) = (text(&c, "key"), text(&c, "expression"));
                    if expression.is_empty() {
                        continue;
                    }
                    match compile(expression, &options) {
                        Ok(program) => all
                            .entry(text(&element, "path").to_owned())
                            .or_default()
                            .push((format!("{key}: {expression}"), program)),
                        Err(error) => failed.push(format!("{key}: `{expression}`: {error}")),
                    }
                }
            }
        }
        failed.dedup();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        all
    }

    #[derive(Default)]
    struct Tally {
        evaluated: u64,
        findings: BTreeMap<String, usize>,
    }

    /// Runs the invariants of an element's path and of its type, then goes on to what is inside.
    fn walk(
        schema: &Schema,
        rules: &BTreeMap<String, Vec<(String, Program)>>,
        context: &Context<'_>,
        node: Cursor<'_, '_>,
        element: Element,
        tally: &mut Tally,
    ) {
        let Some(ty) = element.ty else { return };
        let here = context.clone().at(element);
        let mut at = Some(ty);
        while let Some(level) = at {
            for (key, rule) in rules.get(schema.type_name(level)).into_iter().flatten() {
                tally.evaluated += 1;
                match rule.holds(&here) {
                    // Empty is no violation: ref-1 says nothing of a reference that is only a display.
                    Ok(Some(true) | None) => {}
                    // dom-6 is a recommendation; terminology is not there.
                    _ if key.starts_with("dom-6") => {}
                    Err(e) if e.kind == EvalErrorKind::Unsupported => {}
                    other => *tally.findings.entry(format!("{key}: {other:?}")).or_default() += 1,
                }
            }
            at = schema.base_type(level);
        }
        for child in node.children() {
            let Some(member) = child.key().and_then(|key| schema.member(ty, &key)) else { continue };
            let inner = |c: Cursor<'_, '_>| {
                let name = c.get("resourceType").and_then(Cursor::as_str);
                let ty = name.and_then(|n| schema.type_named(&n)).unwrap_or(member.ty);
                Element { node: Some(c.id()), companion: None, ty: Some(ty) }
            };
            let nested = if member.is_array { child.children().collect() } else { vec![child] };
            for c in nested {
                let resource = c.get("resourceType").is_some();
                let context = if resource { context.clone().with_resource(c.id()) } else { context.clone() };
                walk(schema, rules, &context, c, inner(c), tally);
            }
        }
    }

    #[test]
    fn every_invariant_of_r4_compiles_and_holds_on_generated_patients() {
        let Some(package) = core() else { return };
        let schema = Schema::compile(&[&package]).expect("the core package");
        let rules = invariants(&package);
        let synthea = folder("CONSILIUM_TEST_DATA", "../shared/data").join("fhir/synthea");
        let Ok(files) = fs::read_dir(&synthea) else { return absent(&synthea) };
        let mut files: Vec<_> = files.filter_map(Result::ok).map(|f| f.path()).collect();
        files.sort_by_key(|path| fs::metadata(path).map_or(0, |m| m.len()));
        let mut tally = Tally::default();
        for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "json")).take(6) {
            let bytes = fs::read(path).expect("a bundle");
            let tape = Tape::parse(&bytes, &Limits::default()).expect("valid JSON");
            let bundle = tape.root();
            for entry in bundle.get("entry").into_iter().flat_map(Cursor::children) {
                let Some(resource) = entry.get("resource") else { continue };
                let name = resource.get("resourceType").and_then(Cursor::as_str).unwrap_or_default();
                let context = Context::new(&tape, Some(&schema))
                    .with_resource(resource.id())
                    .with_root_resource(resource.id())
                    .with_services(&Html);
                let ty = schema.type_named(&name);
                let element = Element { node: Some(resource.id()), companion: None, ty };
                walk(&schema, &rules, &context, resource, element, &mut tally);
            }
            assert_eq!(bundle.id(), NodeId::ROOT);
        }
        println!("{} invariants evaluated", tally.evaluated);
        assert!(tally.evaluated > 10_000, "only {} evaluations", tally.evaluated);
        assert!(tally.findings.is_empty(), "{:#?}", tally.findings);
    }

    #[test]
    fn every_invariant_of_us_core_compiles() {
        let packages = folder("CONSILIUM_TEST_DATA", "../shared/data").join("fhir/us-core");
        let Ok(files) = fs::read_dir(&packages) else { return absent(&packages) };
        let options = CompileOptions { lenient: true, ..CompileOptions::default() };
        let (mut compiled, mut failed) = (0, Vec::new());
        for path in files.filter_map(Result::ok).map(|f| f.path()) {
            if path.extension().is_none_or(|e| e != "tgz") {
                continue;
            }
            for definition in resources(&fs::read(&path).expect("a package"), "StructureDefinition") {
                let elements = definition.pointer("/snapshot/element").and_then(Json::as_array).cloned();
                for element in elements.unwrap_or_default() {
                    let constraints = element.get("constraint").and_then(Json::as_array).cloned();
                    for c in constraints.unwrap_or_default() {
                        match compile(text(&c, "expression"), &options) {
                            Ok(_) => compiled += 1,
                            Err(_) if text(&c, "expression").is_empty() => {}
                            Err(error) => failed.push(format!("{}: {error}", text(&c, "expression"))),
                        }
                    }
                }
            }
        }
        failed.sort();
        failed.dedup();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(compiled > 1_000, "only {compiled} invariants");
    }
}
