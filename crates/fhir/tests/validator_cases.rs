//! Agreement with the HL7 validator on the public validator cases (FHIR/fhir-test-cases), tier A.
//!
//! Agreement means: both say valid, or both say invalid. Issues that came from a terminology server
//! are left out of what is expected (`validNoTx`). Numbers and wording of issues may differ, as the
//! readme of the suite says.

#[cfg(test)]
#[expect(dead_code, reason = "each test binary uses its part of the support module")]
mod support;

#[cfg(test)]
mod validator_cases {
    use std::path::Path;
    use std::sync::Arc;

    use super::support;
    use consilium_fhir::{Limits, Options, Schema, UnknownExtensions, Validator};
    use serde_json::Value;

    /// Agreements reached; raise them when rules are added, never lower them.
    const JSON_AGREED: usize = 82;
    const XML_AGREED: usize = 57;

    fn options(case: &Value) -> Options {
        let flag = |key: &str| case[key].as_bool();
        let mut options = Options {
            unknown_extensions: UnknownExtensions::Refuse,
            security_checks: flag("security-checks").unwrap_or(false),
            example_urls: flag("examples").unwrap_or(true),
            best_practice: flag("best-practice").unwrap_or(false),
            ..Options::default()
        };
        options.extension_domains.extend(case["allowed-extension-domain"].as_str().map(str::to_owned));
        options
    }

    /// The files a case brings, as a package.
    fn package(folder: &Path, files: &[Value]) -> Vec<u8> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        let mut add = |path: String, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, path, bytes).expect("tar");
        };
        add("package/package.json".into(), br#"{"name":"case","version":"1"}"#);
        for (at, file) in files.iter().filter_map(Value::as_str).enumerate() {
            let bytes = std::fs::read(folder.join(file)).expect("supporting file");
            add(format!("package/{at}.json"), &bytes);
        }
        tar.into_inner().expect("tar").finish().expect("gzip")
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
        let mut agreed = [0usize; 2];
        let mut total = [0usize; 2];
        let mut false_alarms = 0;
        for case in manifest["cases"].as_array().expect("cases") {
            if case["tier"] != "A" {
                continue;
            }
            let expect = &case["expect"];
            let wanted = expect["validNoTx"].as_bool().expect("validNoTx");
            let file = case["file"].as_str().expect("file");
            let bytes = std::fs::read(folder.join(file)).expect("case");
            let supporting = case["supporting"].as_array().expect("supporting");
            let with_definitions = supporting.iter().any(|f| {
                let text = std::fs::read_to_string(folder.join(f.as_str().expect("file")));
                text.is_ok_and(|t| t.contains("\"StructureDefinition\""))
            });
            let validator = if with_definitions {
                let own = package(&folder, supporting);
                Schema::compile(&[&core, &own]).map_or_else(|_| base.clone(), |s| Validator::new(Arc::new(s)))
            } else {
                base.clone()
            };
            let report = validator.validate_bytes(&bytes, &Limits::default(), &options(case));
            let kind = usize::from(case["srcFormat"] == "xml");
            total[kind] += 1;
            if report.is_valid() == wanted {
                agreed[kind] += 1;
                continue;
            }
            let what = if wanted { "FALSE ALARM" } else { "missed" };
            false_alarms += usize::from(wanted);
            println!("{what} {} {} ({file})", case["module"], case["id"]);
            if wanted {
                for i in report.issues.iter().filter(|i| i.is_error()).take(3) {
                    println!("    {} {} [{},{}] {}", i.message_id, i.expression, i.line, i.col, i.text);
                }
            } else {
                for i in expect["issues"].as_array().expect("issues") {
                    if (i["severity"] == "error" || i["severity"] == "fatal") && i["tx"] != true {
                        let text: String = i["text"].as_str().unwrap_or("").chars().take(160).collect();
                        println!("    {} {text}", i["expression"]);
                    }
                }
            }
        }
        println!(
            "tier A agreement: JSON {}/{}, from XML {}/{}; {false_alarms} false alarms",
            agreed[0], total[0], agreed[1], total[1],
        );
        assert!(agreed[0] >= JSON_AGREED, "JSON: {} < {JSON_AGREED}", agreed[0]);
        assert!(agreed[1] >= XML_AGREED, "from XML: {} < {XML_AGREED}", agreed[1]);
    }
}
