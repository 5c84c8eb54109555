//! Names, lint tables, build scripts and features.

use std::fs;

use crate::workspace::{Package, packages};
use crate::{assert_complains, assert_tidy};

/// Rule 4: the package is named after its folder, keys are package names, the workspace's lints apply, there
/// is no build script, and no feature but store's `tikv`. `manifest` is the text of the package's `Cargo.toml`.
pub fn shape(package: &Package, manifest: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let folder = package.folder();
    let bare = folder.rsplit('/').next().unwrap();
    if package.name != format!("consilium-{bare}") {
        complaints.push(format!("{folder}: the package is `{}`, not `consilium-{bare}`", package.name));
    }
    for dependency in package.dependencies.iter().filter(|dependency| dependency.rename.is_some()) {
        complaints.push(format!("{folder}: `{}` is renamed; one name greps everywhere", dependency.name));
    }
    let table: toml::Table = manifest.parse().unwrap();
    let inherits = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    if inherits != Some(true) {
        complaints.push(format!("{folder}: needs `[lints] workspace = true`, else it escapes every lint"));
    }
    if package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "custom-build")) {
        complaints.push(format!("{folder}: has a build script; generate and commit instead"));
    }
    for feature in package.features.keys() {
        if (folder.as_str(), feature.as_str()) != ("crates/store", "tikv") {
            complaints.push(format!("{folder}: feature `{feature}`; the only one is tikv in crates/store"));
        }
    }
    complaints
}

#[test]
fn packages_have_the_common_shape() {
    let complaints: Vec<_> = packages()
        .iter()
        .flat_map(|package| shape(package, &fs::read_to_string(&package.manifest_path).unwrap()))
        .collect();
    assert_tidy(&complaints);
}

#[test]
fn each_fault_of_shape_is_named() {
    const GOOD: &str = "[lints]\nworkspace = true\n";
    let good = Package::planted("crates/bft", &[("serde", None)]);
    assert_tidy(&shape(&good, GOOD));

    let mut named = good.clone();
    named.name = "bft".to_owned();
    assert_complains(&shape(&named, GOOD), &["crates/bft", "consilium-bft"]);

    let mut renamed = good.clone();
    renamed.dependencies[0].rename = Some("ser".to_owned());
    assert_complains(&shape(&renamed, GOOD), &["`serde` is renamed"]);

    assert_complains(&shape(&good, "[package]\n"), &["[lints] workspace = true"]);
    assert_complains(&shape(&good, "[lints]\nworkspace = false\n"), &["[lints] workspace = true"]);

    let mut built = good.clone();
    built.targets =
        serde_json::from_str(r#"[{"kind": ["custom-build"], "src_path": "/x/build.rs"}]"#).unwrap();
    assert_complains(&shape(&built, GOOD), &["build script"]);

    let mut featured = good;
    featured.features.insert("default".to_owned(), Vec::new());
    assert_complains(&shape(&featured, GOOD), &["feature `default`"]);
}
