//! Outside crates live only in their rooms, and testkit only in tests.

use crate::workspace::{Package, packages};
use crate::{assert_complains, assert_tidy};

const EVERY_SERVICE: &[&str] = &["ingest", "validate", "consensus", "keys", "audit", "ctl"];

/// Outside crates (a trailing `*` is a prefix) and the rooms that may name them.
const ROOMS: &[(&str, &[&str])] = &[
    ("tokio*", &["runtime", "store", "ingest", "validate", "consensus", "keys", "audit", "ctl"]),
    ("async-nats", &["runtime"]),
    ("sqlx*", &["store"]),
    ("redb", &["store"]),
    ("fjall", &["store"]),
    ("tikv-client", &["store"]),
    ("actix-*", &["runtime", "ingest", "audit", "keys"]),
    ("prost*", &["contracts"]),
    ("protox", &["contracts"]),
    ("blst*", &["abe"]),
    ("ml-kem", &["abe"]),
    ("arc-malachitebft-*", &["bft"]),
    ("jmt", &["ledger"]),
    ("opentelemetry*", &["runtime"]),
    ("tracing-*", &["runtime"]),
    ("getrandom", &["runtime", "ctl"]),
    ("rabe", &[]),
    ("clap", &["ctl"]),
];

fn names(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

/// Rule 2: a direct normal or build dependency on an outside crate only in its rooms. Dev-dependencies are
/// free: benches name peers. e2e is free.
pub fn rooms(packages: &[Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages.iter().filter(|package| package.name != "consilium-e2e") {
        let room = package.name.trim_start_matches("consilium-");
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.is_dev()) {
            let entry = ROOMS.iter().find(|(pattern, _)| names(pattern, &dependency.name));
            if let Some((_, allowed)) = entry
                && !allowed.contains(&room)
            {
                complaints.push(format!(
                    "{room} -> {}: that crate lives only in {allowed:?}; go through it",
                    dependency.name
                ));
            }
        }
    }
    complaints
}

/// Rule 3: testkit is a dev-dependency everywhere, except in e2e.
pub fn testkit_only_in_tests(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .filter(|package| package.name != "consilium-e2e")
        .filter(|package| package.dependencies.iter().any(|d| d.name == "consilium-testkit" && !d.is_dev()))
        .map(|package| format!("{} -> testkit: only as a dev-dependency", package.name))
        .collect()
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    assert_tidy(&rooms(&packages()));
}

#[test]
fn the_room_table_names_rooms_that_exist() {
    let folders: Vec<String> = packages().iter().map(Package::folder).collect();
    for room in ROOMS.iter().flat_map(|(_, rooms)| *rooms) {
        let kind = if EVERY_SERVICE.contains(room) { "services" } else { "crates" };
        assert!(folders.contains(&format!("{kind}/{room}")), "`{room}` is no room");
    }
}

#[test]
fn a_crate_outside_its_room_is_named() {
    let abe = Package::planted("crates/abe", &[("tokio", None)]);
    assert_complains(&rooms(&[abe]), &["abe -> tokio"]);
    let audit = Package::planted("services/audit", &[("async-nats", Some("build"))]);
    assert_complains(&rooms(&[audit]), &["audit -> async-nats", "runtime"]);
    let prefix = Package::planted("crates/ledger", &[("arc-malachitebft-core-types", None)]);
    assert_complains(&rooms(&[prefix]), &["ledger -> arc-malachitebft-core-types"]);
}

#[test]
fn testkit_stays_in_tests() {
    assert_tidy(&testkit_only_in_tests(&packages()));
}

#[test]
fn testkit_in_production_is_named() {
    let store = Package::planted("crates/store", &[("consilium-testkit", None)]);
    assert_complains(&testkit_only_in_tests(&[store]), &["consilium-store -> testkit"]);
    let fine = Package::planted("crates/store", &[("consilium-testkit", Some("dev"))]);
    assert_tidy(&testkit_only_in_tests(&[fine]));
}
