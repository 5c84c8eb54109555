//! The nearest clippy.toml replaces the root's; nothing merges. So a nested one repeats the root's entries.

use std::fs;

use toml::{Table, Value};

use crate::workspace::{packages, root};
use crate::{assert_complains, assert_tidy};

/// Rule 5: `nested` holds every entry of `root`. Lists compare by their items' `path`.
pub fn holds_root(name: &str, nested: &str, root: &str) -> Vec<String> {
    let (nested, root): (Table, Table) = (nested.parse().unwrap(), root.parse().unwrap());
    let mut complaints = Vec::new();
    for (key, wanted) in &root {
        match (wanted, nested.get(key)) {
            (_, None) => complaints.push(format!("{name}: lacks the root's `{key}`")),
            (Value::Array(wanted), Some(Value::Array(found))) => {
                for item in wanted.iter().filter(|item| !found.iter().any(|other| same(item, other))) {
                    complaints.push(format!("{name}: `{key}` lacks {}", path_of(item)));
                }
            }
            (wanted, Some(found)) if wanted != found => {
                complaints.push(format!("{name}: `{key}` is {found}, the root says {wanted}"));
            }
            _ => {}
        }
    }
    complaints
}

fn path_of(item: &Value) -> &str {
    item.get("path").unwrap_or(item).as_str().unwrap()
}

fn same(one: &Value, other: &Value) -> bool {
    path_of(one) == path_of(other)
}

#[test]
fn nested_files_hold_the_root() {
    let text = fs::read_to_string(root().join("clippy.toml")).unwrap();
    let mut complaints = Vec::new();
    let mut nested = Vec::new();
    for package in packages() {
        let folder = package.folder();
        if let Ok(own) = fs::read_to_string(root().join(&folder).join("clippy.toml")) {
            complaints.extend(holds_root(&format!("{folder}/clippy.toml"), &own, &text));
            nested.push(folder);
        }
    }
    for folder in ["crates/bft", "crates/domain", "crates/ledger"] {
        assert!(nested.iter().any(|found| found == folder), "{folder} needs its own clippy.toml");
    }
    assert_tidy(&complaints);
}

#[test]
fn a_lost_entry_is_named() {
    const ROOT: &str = r#"
        allow-unwrap-in-tests = true
        disallowed-methods = [{ path = "std::time::SystemTime::now", reason = "x" }]
    "#;
    assert_tidy(&holds_root("a", ROOT, ROOT));
    assert_complains(
        &holds_root("a", "allow-unwrap-in-tests = true\ndisallowed-methods = []", ROOT),
        &["SystemTime::now"],
    );
    assert_complains(
        &holds_root("a", r#"disallowed-methods = ["std::time::SystemTime::now"]"#, ROOT),
        &["allow-unwrap-in-tests"],
    );
    let turned = ROOT.replace("true", "false");
    assert_complains(&holds_root("a", &turned, ROOT), &["allow-unwrap-in-tests", "false"]);
}
