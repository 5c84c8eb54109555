//! The chart's README documents exactly the values that there are, with their defaults.

use std::collections::BTreeMap;
use std::fs;

use regex::Regex;
use serde_json::Value;

use crate::helm::{assert_none, chart, parse, ready};

/// Dotted paths of all leaves; an empty object is a leaf.
fn leaves(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    match value.as_object() {
        Some(object) if !object.is_empty() => {
            for (key, value) in object {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                leaves(&path, value, out);
            }
        }
        _ => {
            out.insert(prefix.to_owned(), value.clone());
        }
    }
}

/// Complaints about rows that are missing, stale, or have another default. A row may stand for a whole table.
fn differences(readme: &str, values: &Value) -> Vec<String> {
    let row = Regex::new(r"(?m)^\| `([A-Za-z.]+)` \| `(.*?)` \| (.+) \|$").unwrap();
    let mut complaints = Vec::new();
    let mut documented = Vec::new();
    for found in row.captures_iter(readme) {
        let pointer = format!("/{}", found[1].replace('.', "/"));
        let default: Value = serde_json::from_str(&found[2]).unwrap();
        match values.pointer(&pointer) {
            None => complaints.push(format!("`{}` is documented but does not exist", &found[1])),
            Some(value) if *value != default => {
                complaints.push(format!("`{}` is {value}, documented as {default}", &found[1]));
            }
            Some(_) => {}
        }
        documented.push(found[1].to_owned());
    }
    let mut all = BTreeMap::new();
    leaves("", values, &mut all);
    for path in all.keys() {
        if !documented.iter().any(|row| path == row || path.starts_with(&format!("{row}."))) {
            complaints.push(format!("`{path}` is not documented"));
        }
    }
    complaints
}

#[test]
fn readme_documents_the_values() {
    if !ready() {
        return;
    }
    let values = parse(&fs::read_to_string(chart().join("values.yaml")).unwrap()).remove(0);
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    assert_none(&differences(&readme, &values));
}

#[test]
fn a_stale_row_is_named() {
    let values = serde_json::json!({"a": {"b": 1, "c": {}}});
    let good = "| `a.b` | `1` | x |\n| `a.c` | `{}` | x |\n";
    assert_none(&differences(good, &values));
    assert_none(&differences("| `a` | `{\"b\": 1, \"c\": {}}` | x |\n", &values));
    for (readme, complaint) in [
        ("| `a.b` | `1` | x |\n", "`a.c` is not documented"),
        ("| `a.b` | `2` | x |\n| `a.c` | `{}` | x |\n", "`a.b` is 1"),
        ("| `a.b` | `1` | x |\n| `a.c` | `{}` | x |\n| `a.d` | `1` | x |\n", "`a.d` is documented but"),
    ] {
        let complaints = differences(readme, &values);
        assert!(complaints.len() == 1 && complaints[0].contains(complaint), "{complaints:?}");
    }
}
