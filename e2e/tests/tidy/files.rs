//! Files are short, compiled, and promise nothing without an issue number.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use crate::workspace::{Package, packages, root};
use crate::{assert_complains, assert_tidy};

/// Longest file, in lines.
const LONGEST: usize = 800;

/// Kinds of text that people write and read here.
const WRITTEN: &[&str] =
    &["rs", "py", "sh", "proto", "sql", "toml", "yaml", "tpl", "md", "js", "css", "html"];

/// Folders of what is generated or recorded; nobody writes it, so nobody need shorten it.
const GENERATED: &[&str] = &["crates/contracts/src/generated/", "e2e/tests/golden/"];

/// Rule 6, length and promises: `name` is relative to the root.
pub fn text(name: &str, content: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = content.lines().count();
    if lines > LONGEST {
        complaints.push(format!("{name}: {lines} lines, at most {LONGEST}; split it by idea"));
    }
    let (unfinished, numbered) = promise();
    for (index, line) in content.lines().enumerate() {
        if unfinished.is_match(line) && !numbered.is_match(line) {
            complaints.push(format!("{name}:{}: a promise without an issue number", index + 1));
        }
    }
    complaints
}

/// Patterns of a promise, and of one that says where it is kept. Written in halves so that this file
/// does not complain about itself.
fn promise() -> (Regex, Regex) {
    let words = [["TO", "DO"], ["FIX", "ME"]].map(|halves| halves.concat()).join("|");
    let unfinished = Regex::new(&format!(r"\b({words})\b")).unwrap();
    let numbered = Regex::new(&format!(r"\b({words})\(#\d+\)")).unwrap();
    (unfinished, numbered)
}

/// Rule 6, module tree: the `.rs` files of `on_disk` that no target of the package compiles. `read` gives
/// the text of a file, or nothing if there is no such file.
pub fn outside_module_tree(
    roots: &[PathBuf],
    on_disk: &BTreeSet<PathBuf>,
    read: &dyn Fn(&Path) -> Option<String>,
) -> Vec<String> {
    let mut reached = BTreeSet::new();
    for file in roots {
        let folder = file.parent().unwrap().to_path_buf();
        reach(file, &folder, on_disk, read, &mut reached);
    }
    on_disk
        .difference(&reached)
        .map(|file| format!("{}: in no module tree; nothing compiles it", file.display()))
        .collect()
}

/// Follows `mod name;`, `#[path = "…"] mod name;` and `include!("…")` from `file`, whose modules live in
/// `folder`.
fn reach(
    file: &Path,
    folder: &Path,
    on_disk: &BTreeSet<PathBuf>,
    read: &dyn Fn(&Path) -> Option<String>,
    reached: &mut BTreeSet<PathBuf>,
) {
    if !reached.insert(file.to_path_buf()) {
        return;
    }
    let Some(content) = read(file) else { return };
    let module = Regex::new(r"^(\s*)(?:pub(?:\([^)]*\))?\s+)?mod\s+([a-z0-9_]+);").unwrap();
    let pathed = Regex::new(r#"#\[path\s*=\s*"([^"]+)"\]"#).unwrap();
    let included = Regex::new(r#"include!\(\s*"([^"]+)""#).unwrap();
    let beside = file.parent().unwrap();
    let mut path = None;
    for line in content.lines() {
        if let Some(found) = included.captures(line) {
            reach(&clean(&beside.join(&found[1])), folder, on_disk, read, reached);
        }
        if let Some(found) = pathed.captures(line) {
            path = Some(clean(&beside.join(&found[1])));
        }
        let Some(found) = module.captures(line) else { continue };
        let name = &found[2];
        if let Some(target) = path.take() {
            let inner = target.parent().unwrap().to_path_buf();
            reach(&target, &inner, on_disk, read, reached);
            continue;
        }
        // An indented `mod x;` sits in an inline module, whose name is one more folder.
        let depth = if found[1].is_empty() { 0 } else { 1 };
        for target in [format!("{name}.rs"), format!("{name}/mod.rs")] {
            let candidates = on_disk.iter().filter(|candidate| {
                candidate.strip_prefix(folder).is_ok_and(|rest| {
                    rest.ends_with(&target)
                        && rest.components().count() - Path::new(&target).components().count() <= depth
                })
            });
            for candidate in candidates {
                reach(candidate, &folder_of(candidate, folder, name), on_disk, read, reached);
            }
        }
    }
}

/// Where the modules of the module file `file` live.
fn folder_of(file: &Path, folder: &Path, name: &str) -> PathBuf {
    let beside = file.parent().unwrap();
    if file.ends_with("mod.rs") && beside != folder { beside.to_path_buf() } else { beside.join(name) }
}

/// `a/b/../c` as `a/c`.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}

/// Files that git knows or would add.
pub fn listed(folder: &str) -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", folder])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Whether a file lies in a workspace of its own below a package: what only `make bench` or a fuzzer builds.
fn apart(package: &Path, file: &Path) -> bool {
    file.ancestors()
        .skip(1)
        .take_while(|folder| *folder != package)
        .any(|folder| folder.join("Cargo.toml").exists())
}

fn rust_files(package: &Package) -> BTreeSet<PathBuf> {
    let folder = package.folder();
    let fixtures = format!("{folder}/tests/corpus/");
    listed(&folder)
        .into_iter()
        .filter(|name| name.ends_with(".rs") && !name.starts_with(&fixtures))
        .map(|name| root().join(name))
        .filter(|path| !apart(&root().join(&folder), path))
        .filter(|path| path.exists())
        .collect()
}

#[test]
fn files_are_short_and_promise_nothing() {
    let mut complaints = Vec::new();
    for name in listed(".") {
        let written = name.rsplit_once('.').is_some_and(|(_, kind)| WRITTEN.contains(&kind));
        if written
            && !GENERATED.iter().any(|folder| name.starts_with(folder))
            && let Ok(content) = fs::read_to_string(root().join(&name))
        {
            complaints.extend(text(&name, &content));
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn every_rust_file_is_compiled() {
    let mut complaints = Vec::new();
    for package in packages() {
        let roots: Vec<_> = package.targets.iter().map(|target| target.src_path.clone()).collect();
        let read = |file: &Path| fs::read_to_string(file).ok();
        complaints.extend(outside_module_tree(&roots, &rust_files(&package), &read));
    }
    assert_tidy(&complaints);
}

#[test]
fn a_long_file_is_named() {
    assert_tidy(&text("a.rs", &"x\n".repeat(LONGEST)));
    assert_complains(&text("a.rs", &"x\n".repeat(LONGEST + 1)), &["a.rs", "801 lines"]);
}

#[test]
fn a_promise_is_named() {
    let word = ["TO", "DO"].concat();
    assert_tidy(&text("a.rs", &format!("// {word}(#12): later\n")));
    assert_complains(&text("a.rs", &format!("fn x() {{}}\n// {word}: later\n")), &["a.rs:2"]);
}

#[test]
fn a_file_outside_the_module_tree_is_named() {
    const FILES: &[(&str, &str)] = &[
        (
            "/p/src/lib.rs",
            "pub mod a;\nmod b;\n#[path = \"odd/place.rs\"]\nmod c;\nmod inline {\n    mod d;\n}\n",
        ),
        ("/p/src/a.rs", "pub(crate) mod inner;\n// mod comment;\n"),
        ("/p/src/a/inner.rs", ""),
        ("/p/src/b/mod.rs", "mod deep;\n"),
        ("/p/src/b/deep.rs", "include!(\"../table.rs\");\n"),
        ("/p/src/table.rs", ""),
        ("/p/src/odd/place.rs", ""),
        ("/p/src/inline/d.rs", ""),
    ];
    let read = |file: &Path| {
        FILES.iter().find(|(name, _)| Path::new(name) == file).map(|(_, content)| (*content).to_owned())
    };
    let mut on_disk: BTreeSet<PathBuf> = FILES.iter().map(|(name, _)| PathBuf::from(name)).collect();
    let roots = [PathBuf::from("/p/src/lib.rs")];
    assert_tidy(&outside_module_tree(&roots, &on_disk, &read));
    on_disk.insert(PathBuf::from("/p/src/comment.rs"));
    assert_complains(&outside_module_tree(&roots, &on_disk, &read), &["/p/src/comment.rs"]);
}
