//! Migrations are append-only: a published file never changes, and both dialects have the same ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use sha2::{Digest, Sha256};

use crate::workspace::root;
use crate::{assert_complains, assert_tidy};

const FOLDER: &str = "crates/store/migrations";
const DIALECTS: [&str; 2] = ["postgres", "sqlite"];

/// Rule 8: each line of `sum` (`SHA-256  dialect/file`) still fits its file, each file has a line, and both
/// dialects have the same file names. `files` maps `dialect/file` to its bytes.
pub fn append_only(sum: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let mut complaints = Vec::new();
    let recorded: BTreeMap<&str, &str> =
        sum.lines().filter_map(|line| line.split_once("  ")).map(|(hash, name)| (name, hash)).collect();
    for (name, hash) in &recorded {
        match files.get(*name) {
            None => complaints.push(format!("{name}: a published migration is gone")),
            Some(bytes) if digest(bytes) != *hash => {
                complaints.push(format!("{name}: a published migration changed; write a new one instead"));
            }
            Some(_) => {}
        }
    }
    for name in files.keys().filter(|name| !recorded.contains_key(name.as_str())) {
        complaints.push(format!("{name}: not in migrations.sum; `make gen` adds new files"));
    }
    let [postgres, sqlite] = DIALECTS.map(|dialect| names(files, dialect));
    for name in postgres.symmetric_difference(&sqlite) {
        complaints.push(format!("{name}: only in one dialect"));
    }
    complaints
}

fn names<'a>(files: &'a BTreeMap<String, Vec<u8>>, dialect: &str) -> BTreeSet<&'a str> {
    files.keys().filter_map(|name| name.strip_prefix(dialect)?.strip_prefix('/')).collect()
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn on_disk() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for dialect in DIALECTS {
        let folder = root().join(FOLDER).join(dialect);
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = format!("{dialect}/{}", path.file_name().unwrap().to_string_lossy());
            files.insert(name, fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn published_migrations_do_not_change() {
    let path = root().join(FOLDER).join("migrations.sum");
    let files = on_disk();
    let mut sum = fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("CONSILIUM_BLESS").is_some() {
        // Only ever adds: a changed file stays a complaint.
        for (name, bytes) in &files {
            if !sum.lines().any(|line| line.ends_with(&format!("  {name}"))) {
                writeln!(sum, "{}  {name}", digest(bytes)).unwrap();
            }
        }
        fs::write(&path, &sum).unwrap();
    }
    assert!(!files.is_empty(), "no migrations in {FOLDER}");
    assert_tidy(&append_only(&sum, &files));
}

#[test]
fn each_fault_of_migrations_is_named() {
    let file = |name: &str| (name.to_owned(), b"x".to_vec());
    let both: BTreeMap<_, _> = [file("postgres/1.sql"), file("sqlite/1.sql")].into();
    let hash = digest(b"x");
    let sum = format!("{hash}  postgres/1.sql\n{hash}  sqlite/1.sql\n");
    assert_tidy(&append_only(&sum, &both));

    let mut changed = both.clone();
    changed.insert("sqlite/1.sql".to_owned(), b"y".to_vec());
    assert_complains(&append_only(&sum, &changed), &["sqlite/1.sql", "changed"]);

    let gone = format!("{sum}{hash}  sqlite/0.sql\n");
    assert_complains(&append_only(&gone, &both), &["sqlite/0.sql", "gone"]);

    let unlisted = sum.lines().next().unwrap();
    assert_complains(&append_only(unlisted, &both), &["sqlite/1.sql", "make gen"]);

    let one: BTreeMap<_, _> = [file("postgres/1.sql")].into();
    assert_complains(&append_only(unlisted, &one), &["1.sql", "one dialect"]);
}
