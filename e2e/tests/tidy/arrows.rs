//! Who may import whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::{Package, packages};
use crate::{assert_complains, assert_tidy};

/// Every room and the rooms it may import, in normal and build dependencies.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("fhir", &[]),
    ("policy", &["domain", "fhir"]),
    ("abe", &["domain"]),
    ("bft", &["domain"]),
    ("ledger", &["domain"]),
    ("contracts", &["domain"]),
    ("store", &["domain"]),
    ("testkit", &["domain"]),
    ("runtime", &["contracts", "domain"]),
    ("ingest", &["domain", "contracts", "store", "runtime", "fhir", "policy", "ledger", "abe"]),
    ("validate", &["domain", "contracts", "store", "runtime", "fhir", "ledger"]),
    ("consensus", &["domain", "contracts", "store", "runtime", "bft", "ledger"]),
    ("keys", &["domain", "contracts", "store", "runtime", "policy", "abe"]),
    ("audit", &["domain", "contracts", "store", "runtime", "ledger"]),
    ("ctl", &["domain", "fhir", "bft", "ledger", "abe", "contracts"]),
];

const SERVICES: &[&str] = &["ingest", "validate", "consensus", "keys", "audit", "ctl"];

fn bare(name: &str) -> Option<&str> {
    name.strip_prefix("consilium-")
}

/// Rule 1: normal and build dependencies follow the arrows; nothing imports a service except e2e; no cycle,
/// dev-dependencies included.
pub fn arrows(packages: &[Package]) -> Vec<String> {
    let table: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut complaints = Vec::new();
    for package in packages {
        let Some(room) = bare(&package.name) else { continue };
        if room == "e2e" {
            continue;
        }
        let Some(allowed) = table.get(room) else {
            complaints.push(format!("{room}: a new room needs a row in the arrow table and an ADR"));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(target) = bare(&dependency.name) else { continue };
            if SERVICES.contains(&target) || target == "e2e" {
                complaints.push(format!("{room} -> {target}: nothing imports a service, or e2e"));
            } else if !dependency.is_dev() && target != "testkit" && !allowed.contains(&target) {
                complaints.push(format!("{room} -> {target}: not an arrow; {room} may import {allowed:?}"));
            }
        }
    }
    complaints.extend(cycle(packages));
    complaints
}

/// One cycle among our packages, every kind of dependency counted.
fn cycle(packages: &[Package]) -> Option<String> {
    let edges: BTreeMap<&str, BTreeSet<&str>> = packages
        .iter()
        .map(|package| {
            (package.name.as_str(), package.dependencies.iter().map(|d| d.name.as_str()).collect())
        })
        .collect();
    for start in edges.keys() {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> = vec![start];
        while let Some(at) = next.pop() {
            for to in edges.get(at).into_iter().flatten() {
                if to == start {
                    return Some(format!("{start} -> ... -> {at} -> {start}: a cycle"));
                }
                if seen.insert(*to) {
                    next.push(to);
                }
            }
        }
    }
    None
}

#[test]
fn imports_follow_the_arrows() {
    assert_tidy(&arrows(&packages()));
}

#[test]
fn a_wrong_arrow_is_named() {
    let bft = Package::planted("crates/bft", &[("consilium-ledger", None)]);
    assert_complains(&arrows(&[bft]), &["bft -> ledger", "not an arrow"]);
    let build = Package::planted("crates/store", &[("consilium-contracts", Some("build"))]);
    assert_complains(&arrows(&[build]), &["store -> contracts"]);
}

#[test]
fn importing_a_service_is_named_even_as_dev_dependency() {
    let audit = Package::planted("services/audit", &[("consilium-consensus", Some("dev"))]);
    assert_complains(&arrows(&[audit]), &["audit -> consensus", "service"]);
}

#[test]
fn a_cycle_through_dev_dependencies_is_named() {
    let testkit = Package::planted("crates/testkit", &[("consilium-domain", None)]);
    let domain = Package::planted("crates/domain", &[("consilium-testkit", Some("dev"))]);
    assert_complains(&arrows(&[testkit, domain]), &["consilium-domain", "a cycle"]);
}

#[test]
fn an_unknown_room_is_named() {
    assert_complains(&arrows(&[Package::planted("crates/utils", &[])]), &["utils", "ADR"]);
}
