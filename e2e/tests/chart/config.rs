//! The services' configuration, rendered by the chart and as samples in `deploy/config`: each service itself
//! says whether it takes it (`--check-config`).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::helm::{RENDERED, assert_none, ready, root, run, text};

const SERVICES: [&str; 5] = ["ingest", "validate", "consensus", "keys", "audit"];

/// The service's binary, built beside this test. If it is missing the test says that it skips, or fails where
/// nothing may be skipped.
fn binary(service: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(format!("consilium-{service}"));
    if path.exists() {
        return Some(path);
    }
    let strict = std::env::var("CONSILIUM_REQUIRE_TEST_DATA").is_ok_and(|value| value == "1");
    assert!(!strict, "{} is missing: cargo build --workspace --bins", path.display());
    // Past libtest, which hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {} is missing: build --workspace --bins", path.display());
    None
}

/// What the service says against a configuration, if anything.
fn refusal(binary: &Path, config: &Path) -> Option<String> {
    let (ok, out, error) = run(Command::new(binary).arg("--config").arg(config).arg("--check-config"));
    (!ok || !out.contains("acceptable")).then(|| format!("{}: {out}{error}", config.display()))
}

#[test]
fn services_take_what_the_chart_renders() {
    if !ready() {
        return;
    }
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config");
    fs::create_dir_all(&scratch).unwrap();
    let mut refusals = Vec::new();
    for service in SERVICES {
        let Some(binary) = binary(service) else { continue };
        for render in RENDERED.iter() {
            let map = render.find("ConfigMap", &format!("-{service}")).unwrap();
            let config = text(&map["data"][format!("{service}.toml")]);
            let path = scratch.join(format!("{service}-{}.toml", render.values));
            fs::write(&path, config).unwrap();
            refusals.extend(refusal(&binary, &path));
        }
    }
    assert_none(&refusals);
}

#[test]
fn services_take_the_samples() {
    let mut refusals = Vec::new();
    for service in SERVICES {
        let sample = root().join("deploy/config").join(format!("{service}.toml"));
        let content = fs::read_to_string(&sample).unwrap();
        let table: toml::Table = content.parse().unwrap();
        let user = format!("riverside.{service}");
        assert_eq!(table["bus"]["user"].as_str(), Some(user.as_str()), "{}", sample.display());
        if let Some(binary) = binary(service) {
            refusals.extend(refusal(&binary, &sample));
        }
    }
    assert_none(&refusals);
}

#[test]
fn a_service_refuses_an_unknown_key() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for service in SERVICES {
        let Some(binary) = binary(service) else { continue };
        let sample = root().join("deploy/config").join(format!("{service}.toml"));
        let path = scratch.join(format!("planted-{service}.toml"));
        fs::write(&path, format!("nonsense = 1\n{}", fs::read_to_string(sample).unwrap())).unwrap();
        let said = refusal(&binary, &path).unwrap_or_default();
        assert!(said.contains("nonsense"), "{service} took an unknown key: {said}");
    }
}
