//! Agreement with the HL7 validator on the public validator cases (FHIR/fhir-test-cases).
//!
//! Agreement means: both say valid, or both say invalid. Issues that came from a terminology server
//! are left out of what is expected (`validNoTx`). Numbers and wording of issues may differ, as the
//! readme of the suite says.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod validator_cases {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use super::support;
    use consilium_fhir::{
        Limits, Options, References, Report, Schema, UnknownExtensions, Validator, VitalSigns,
    };
    use serde_json::Value;

    /// Agreements reached; raise them when rules are added, never lower them.
    const GATES: [(&str, usize); 4] =
        [("tier A, JSON", 91), ("tier A, from XML", 59), ("tier B", 107), ("with a profile", 46)];
    /// First errors at the same place, of 100, where both say invalid.
    const SAME_PLACE: usize = 88;
    const SAME_PLACE_B: usize = 94;

    /// Tier A: each case that differs, and why; the list is neither too long nor too short. All of them
    /// lack something that the suite has and the data here do not.
    const DIFFERENCES: [(&str, &str); 3] = [
        ("pat-security-bad-string2", "the fault, an element inside of text, exists in XML only"),
        ("bundle-dual-subject", "the fault, an element given twice, exists in XML only"),
        ("bundle-bad-by-param", "the parameter that asks for a profile of the entries is not in the data"),
    ];
    /// The same for tier B.
    const DIFFERENCES_B: [(&str, &str); 2] = [
        ("cs-narrative-status-pub", "house rules of HL7's own publications, no rule of R4"),
        (
            "reference-invalid-resource-type-qr",
            "a setting of HL7's takes any absolute url for a FHIR server's",
        ),
    ];

    /// Resource types that a schema takes up.
    const DEFINITIONS: [&str; 8] = [
        "StructureDefinition",
        "ValueSet",
        "CodeSystem",
        "SearchParameter",
        "ImplementationGuide",
        "Questionnaire",
        "Measure",
        "Library",
    ];

    fn options(case: &Value) -> Options {
        let flag = |key: &str| case[key].as_bool();
        let mut options = Options {
            unknown_extensions: UnknownExtensions::Refuse,
            security_checks: flag("security-checks").unwrap_or(false),
            example_urls: flag("examples").unwrap_or(true),
            best_practice: flag("best-practice").unwrap_or(false),
            references: match case["validateReference"].as_str() {
                Some("CHECK_VALID") => References::Conform,
                Some("CHECK_EXISTS_AND_TYPE") => References::Exist,
                _ => References::AsFound,
            },
            contained: case["validateContains"] != "IGNORE",
            vital_signs: VitalSigns::Related,
            as_of: Some("2026-01-01".to_owned()),
            ..Options::default()
        };
        options.extension_domains.extend(case["allowed-extension-domain"].as_str().map(str::to_owned));
        options
    }

    /// Validators by the definitions they know besides the core package.
    struct Validators {
        core: Vec<u8>,
        base: Validator,
        folder: PathBuf,
        known: BTreeMap<Vec<String>, Validator>,
        /// Lists of files that are compiled together, because they say nothing about each other.
        together: Vec<Vec<String>>,
    }

    /// Compiling a schema takes most of the time of this test. Questionnaires that stand alone in
    /// their case share one, as long as each has its own url.
    fn together(folder: &Path, cases: &[Value]) -> Vec<Vec<String>> {
        let mut groups: Vec<(BTreeSet<String>, Vec<String>)> = Vec::new();
        for case in cases {
            let [only] = names(&case["supporting"])[..] else { continue };
            let Ok(text) = std::fs::read(folder.join(only)) else { continue };
            let Ok(file) = serde_json::from_slice::<Value>(&text) else { continue };
            let url = file["url"].as_str().unwrap_or_default().to_owned();
            let listed = groups.iter().any(|(_, files)| files.iter().any(|f| f == only));
            if file["resourceType"] != "Questionnaire" || listed {
                continue;
            }
            match groups.iter_mut().find(|(urls, _)| !urls.contains(&url)) {
                Some((urls, files)) => {
                    urls.insert(url);
                    files.push(only.to_owned());
                }
                None => groups.push((BTreeSet::from([url]), vec![only.to_owned()])),
            }
        }
        groups
            .into_iter()
            .map(|(_, mut files)| {
                files.sort();
                files
            })
            .collect()
    }

    impl Validators {
        /// With these files; those that hold no definitions are left out.
        fn with(&mut self, files: &[&str]) -> Validator {
            let mut names: Vec<String> = files.iter().map(|f| (*f).to_owned()).collect();
            names.sort();
            names.dedup();
            let read = |name: &String| std::fs::read(self.folder.join(name)).expect("supporting file");
            names.retain(|name| {
                let file = serde_json::from_slice::<Value>(&read(name)).unwrap_or_default();
                let kind = file["resourceType"].as_str().unwrap_or_default();
                DEFINITIONS.contains(&kind)
            });
            if names.is_empty() {
                return self.base.clone();
            }
            if let Some(all) = self.together.iter().find(|all| names.iter().all(|n| all.contains(n))) {
                names.clone_from(all);
            }
            if let Some(known) = self.known.get(&names) {
                return known.clone();
            }
            let bytes: Vec<Vec<u8>> = names.iter().map(read).collect();
            let resources: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            let schema = Schema::compile_with(&[&self.core], &resources).expect("definitions compile");
            let validator = Validator::new(Arc::new(schema));
            self.known.insert(names, validator.clone());
            validator
        }
    }

    fn names(list: &Value) -> Vec<&str> {
        list.as_array().map_or_else(Vec::new, |l| l.iter().filter_map(Value::as_str).collect())
    }

    /// The first error in the document as `Bundle.entry[0].resource.name`. HL7's list is in the order
    /// of its passes, ours in document order, so theirs is sorted by line and column; and it notes
    /// `/*Patient/id*/` after a resource.
    fn first_error(expect: &Value) -> Option<String> {
        let all = expect["issues"].as_array()?;
        let wrong = |i: &&Value| (i["severity"] == "error" || i["severity"] == "fatal") && i["tx"] != true;
        let place = |i: &&Value| {
            let of = |key: &str| i[key].as_u64().unwrap_or(u64::MAX);
            (of("line"), of("col"))
        };
        let first = all.iter().filter(wrong).min_by_key(place)?;
        let text = first["expression"].as_str()?;
        let mut parts = text.split("/*");
        let mut out = parts.next()?.to_owned();
        out.extend(parts.filter_map(|p| p.split_once("*/")).map(|(_, rest)| rest));
        Some(out)
    }

    /// Whether the first error stands at the same place; `None` where one of both finds none.
    fn same_place(what: &str, report: &Report, expect: &Value) -> Option<bool> {
        let ours = report.issues.iter().find(|i| i.is_error())?;
        let theirs = first_error(expect)?;
        if ours.expression != theirs {
            println!("place of {what}: {theirs} and not {} ({})", ours.expression, ours.message_id);
        }
        Some(ours.expression == theirs)
    }

    /// Whether the verdict agrees; says where it does not.
    fn agrees(what: &str, report: &Report, expect: &Value, false_alarms: &mut usize) -> bool {
        let wanted = expect["validNoTx"].as_bool().expect("validNoTx");
        if report.is_valid() == wanted {
            return true;
        }
        *false_alarms += usize::from(wanted);
        println!("{} {what}", if wanted { "FALSE ALARM" } else { "missed" });
        if wanted {
            for i in report.issues.iter().filter(|i| i.is_error()).take(3) {
                println!("    {} {} [{},{}] {}", i.message_id, i.expression, i.line, i.col, i.text);
            }
            return false;
        }
        for i in expect["issues"].as_array().expect("issues") {
            if (i["severity"] == "error" || i["severity"] == "fatal") && i["tx"] != true {
                let text: String = i["text"].as_str().unwrap_or("").chars().take(160).collect();
                println!("    {} {text}", i["expression"]);
            }
        }
        false
    }

    #[test]
    fn agrees_with_the_hl7_validator() {
        let (Some(core), Some(base), Some(folder)) =
            (support::core(), support::validator(), support::data("fhir/validator-cases"))
        else {
            return;
        };
        let manifest = std::fs::read(folder.join("manifest.json")).expect("manifest");
        let manifest: Value = serde_json::from_slice(&manifest).expect("manifest");
        let cases = manifest["cases"].as_array().expect("cases");
        let together = together(&folder, cases);
        let known = BTreeMap::new();
        let mut validators = Validators { core, base, folder: folder.clone(), known, together };
        let mut agreed = [0usize; 4];
        let mut total = [0usize; 4];
        let mut false_alarms = 0;
        let mut places = Vec::new();
        let mut places_b = Vec::new();
        let (mut differing, mut differing_b, mut without_terminology) = (Vec::new(), Vec::new(), Vec::new());
        for case in cases {
            let file = case["file"].as_str().expect("file");
            let bytes = std::fs::read(folder.join(file)).expect("case");
            let options = options(case);
            let own = names(&case["supporting"]);
            let report = validators.with(&own).validate_bytes(&bytes, &Limits::default(), &options);
            let kind = match (case["tier"] == "A", case["srcFormat"] == "xml") {
                (true, false) => 0,
                (true, true) => 1,
                (false, _) => 2,
            };
            let what = format!("{} {} {} ({file})", case["tier"], case["module"], case["id"]);
            total[kind] += 1;
            let same = agrees(&what, &report, &case["expect"], &mut false_alarms);
            agreed[kind] += usize::from(same);
            if !same {
                let list = if case["tier"] == "A" { &mut differing } else { &mut differing_b };
                list.push(case["id"].as_str().unwrap_or_default().to_owned());
            }
            if case["srcFormat"] != "xml" && case["tier"] == "A" && case["expect"]["txErrors"] == 0 {
                without_terminology.push(same);
            }
            let place = same_place(&what, &report, &case["expect"]);
            if case["tier"] == "A" {
                places.extend(place);
            } else {
                places_b.extend(place);
            }
            let profile = &case["profile"];
            let Some(source) = profile["source"].as_str() else { continue };
            let text = std::fs::read_to_string(folder.join(source)).expect("profile");
            let Ok(definition) = serde_json::from_str::<Value>(&text) else { continue };
            let mut all = own.clone();
            all.extend(names(&profile["supporting"]));
            all.push(source);
            let url = definition["url"].as_str().unwrap_or_default().to_owned();
            let options = Options { profiles: vec![url], ..options };
            let report = validators.with(&all).validate_bytes(&bytes, &Limits::default(), &options);
            total[3] += 1;
            let what = format!("profile of {what}: {source}");
            agreed[3] += usize::from(agrees(&what, &report, &profile["expect"], &mut false_alarms));
            places.extend(same_place(&what, &report, &profile["expect"]));
        }
        for (at, (name, least)) in GATES.iter().enumerate() {
            println!("{name}: {}/{} agree", agreed[at], total[at]);
            assert!(agreed[at] >= *least, "{name}: {} < {least}", agreed[at]);
        }
        let same = without_terminology.iter().filter(|same| **same).count();
        println!("tier A, JSON, without terminology errors: {same}/{} agree", without_terminology.len());
        for (mut differing, listed) in [(differing, &DIFFERENCES[..]), (differing_b, &DIFFERENCES_B[..])] {
            let mut listed: Vec<&str> = listed.iter().map(|(id, _)| *id).collect();
            listed.sort_unstable();
            differing.sort_unstable();
            assert_eq!(differing, listed);
        }
        let same = places.iter().filter(|same| **same).count();
        println!("first error at the same place: {same}/{}", places.len());
        assert!(same * 100 >= SAME_PLACE * places.len());
        let same = places_b.iter().filter(|same| **same).count();
        println!("the same in tier B: {same}/{}", places_b.len());
        assert!(same * 100 >= SAME_PLACE_B * places_b.len());
        println!("{false_alarms} false alarms");
        assert_eq!(false_alarms, 0, "a valid case is called invalid");
    }
}
