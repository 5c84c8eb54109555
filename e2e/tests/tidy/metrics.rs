//! Alerts and dashboard name metrics that the services register, and runbooks that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::workspace::root;
use crate::{assert_complains, assert_tidy};

const USERS: [&str; 2] = ["charts/consilium/alerts.yaml", "deploy/grafana/consilium.json"];

/// Metrics in `text` that no source registers, as `name: service_metric`. `sources` maps a service, or
/// `runtime` for what all have, to the text of its sources.
pub fn unregistered(name: &str, text: &str, sources: &BTreeMap<String, String>) -> Vec<String> {
    let metric =
        Regex::new(r"consilium_(ingest|validate|consensus|keys|audit|\([a-z|]+\))_([a-z_]+)").unwrap();
    let named: BTreeSet<(&str, &str)> =
        metric.captures_iter(text).map(|found| found.extract::<2>().1.into()).collect();
    let mut complaints = Vec::new();
    for (services, metric) in named {
        // Prometheus derives these from a histogram.
        let base =
            ["_bucket", "_count", "_sum"].iter().find_map(|end| metric.strip_suffix(end)).unwrap_or(metric);
        let registers = Regex::new(&format!("\\.(counter|gauge|histogram)\\(\\s*\"{base}\"")).unwrap();
        for service in services.trim_matches(['(', ')']).split('|') {
            let places = [sources.get("runtime"), sources.get(service)];
            if !places.into_iter().flatten().any(|source| registers.is_match(source)) {
                complaints.push(format!("{name}: no source registers `{base}` for {service}"));
            }
        }
    }
    complaints
}

fn sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            out.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn alerts_and_dashboard_name_metrics_that_exist() {
    let mut all = BTreeMap::new();
    let services = ["ingest", "validate", "consensus", "keys", "audit"].map(|name| (name, "services"));
    for (name, kind) in services.into_iter().chain([("runtime", "crates")]) {
        let mut text = String::new();
        sources(&root().join(kind).join(name).join("src"), &mut text);
        all.insert(name.to_owned(), text);
    }
    let mut complaints = Vec::new();
    for user in USERS {
        let text = fs::read_to_string(root().join(user)).unwrap();
        assert!(text.contains("consilium_"), "{user} names no metric");
        complaints.extend(unregistered(user, &text, &all));
    }
    assert_tidy(&complaints);
}

#[test]
fn alerts_lead_to_runbooks() {
    let alerts = fs::read_to_string(root().join(USERS[0])).unwrap();
    let index = fs::read_to_string(root().join("docs/runbooks/README.md")).unwrap();
    let alert = Regex::new(r"(?m)^ +- alert: ").unwrap();
    let page = Regex::new(r"(?m)^ +runbook_url: (\S+)$").unwrap();
    let pages: Vec<_> = page.captures_iter(&alerts).map(|found| found[1].to_owned()).collect();
    assert_eq!(pages.len(), alert.find_iter(&alerts).count(), "each alert has a runbook");
    for page in pages {
        assert!(root().join("docs/runbooks").join(&page).exists(), "docs/runbooks/{page}");
    }
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "the index lacks {name}");
    }
}

#[test]
fn an_unknown_metric_is_named() {
    let sources: BTreeMap<_, _> = [
        ("runtime".to_owned(), r#"meter.gauge("bus_ready")"#.to_owned()),
        ("keys".to_owned(), r#"meter.histogram("operation_seconds")"#.to_owned()),
    ]
    .into();
    let good = "consilium_keys_operation_seconds_bucket {__name__=~\"consilium_(keys|audit)_bus_ready\"}";
    assert_tidy(&unregistered("a", good, &sources));
    assert_complains(&unregistered("a", "consilium_audit_operation_seconds", &sources), &["for audit"]);
    assert_complains(&unregistered("a", "consilium_keys_bus_gone", &sources), &["`bus_gone` for keys"]);
}
