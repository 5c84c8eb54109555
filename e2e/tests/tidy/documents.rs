//! Documents name tests, files and pages that are there.

use std::fs;

use regex::Regex;

use crate::files::listed;
use crate::workspace::root;
use crate::{assert_complains, assert_tidy};

/// Tests named as `` `file.rs::function` `` and relative links of one document that lead nowhere. `read` gives a
/// file's text by its path from the root, or nothing.
pub fn dangling(name: &str, text: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let test = Regex::new(r"`([a-z0-9_/.-]+\.rs)::([a-z0-9_]+)`").unwrap();
    let link = Regex::new(r"\]\(([^)#:]+)(?:#[^)]*)?\)").unwrap();
    let mut complaints = Vec::new();
    for found in test.captures_iter(text) {
        let (file, function) = (&found[1], &found[2]);
        if !read(file).is_some_and(|source| source.contains(&format!("fn {function}("))) {
            complaints.push(format!("{name}: there is no test `{function}` in {file}"));
        }
    }
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    for found in link.captures_iter(text) {
        let target = format!("{folder}/{}", &found[1]);
        if !root().join(target.trim_start_matches('/')).exists() {
            complaints.push(format!("{name}: the link `{}` leads nowhere", &found[1]));
        }
    }
    complaints
}

#[test]
fn documents_name_what_is_there() {
    let read = |file: &str| fs::read_to_string(root().join(file)).ok();
    let mut complaints = Vec::new();
    for name in listed(".").into_iter().filter(|name| name.ends_with(".md")) {
        if let Some(text) = read(&name) {
            complaints.extend(dangling(&name, &text, &read));
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn a_missing_test_or_page_is_named() {
    let read = |file: &str| (file == "a/b.rs").then(|| "fn there() {}".to_owned());
    let good = "`a/b.rs::there` [map](architecture.md#map) [out](https://example.org/x)";
    assert_tidy(&dangling("docs/x.md", good, &read));
    assert_complains(&dangling("docs/x.md", "`a/b.rs::gone`", &read), &["docs/x.md", "`gone` in a/b.rs"]);
    assert_complains(&dangling("docs/x.md", "`a/c.rs::there`", &read), &["`there` in a/c.rs"]);
    assert_complains(&dangling("docs/x.md", "[x](nowhere.md)", &read), &["`nowhere.md` leads nowhere"]);
}
