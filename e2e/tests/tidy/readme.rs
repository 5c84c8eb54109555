//! The README's crate list is the workspace.

use std::collections::BTreeSet;
use std::fs;

use regex::Regex;

use crate::workspace::{Package, packages, root};
use crate::{assert_complains, assert_tidy};

/// Rule 7: the README names every crate and service by its path (`crates/bft`), and none that is not there.
pub fn crate_list(readme: &str, folders: &BTreeSet<String>) -> Vec<String> {
    let path = Regex::new(r"\b(?:crates|services)/[a-z0-9][a-z0-9-]*").unwrap();
    let named: BTreeSet<String> = path.find_iter(readme).map(|found| found.as_str().to_owned()).collect();
    let missing = folders.difference(&named).map(|folder| format!("README.md: does not name `{folder}`"));
    let gone =
        named.difference(folders).map(|folder| format!("README.md: `{folder}` is not in the workspace"));
    missing.chain(gone).collect()
}

#[test]
fn readme_lists_the_workspace() {
    let folders = packages().iter().map(Package::folder).filter(|folder| folder != "e2e").collect();
    let readme = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    assert_tidy(&crate_list(&readme, &folders));
}

#[test]
fn a_stale_crate_list_is_named() {
    let folders: BTreeSet<String> = ["crates/bft", "services/audit"].map(str::to_owned).into();
    assert_tidy(&crate_list("`crates/bft`, [audit](services/audit/)", &folders));
    assert_complains(&crate_list("crates/bft", &folders), &["does not name `services/audit`"]);
    assert_complains(
        &crate_list("crates/bft services/audit crates/old", &folders),
        &["`crates/old` is not in the workspace"],
    );
}
