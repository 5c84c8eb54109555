//! Octets changed on the disk while the store is closed: noticed, or served as if nothing had happened?

use crate::data::{Dice, files, key, value};
use consilium_domain::port::kv::{Kv, Write};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const PAIRS: u64 = 60_000;

fn make(engine: &str, folder: &Path) {
    let kv = crate::open(engine, folder).expect("open");
    for first in (0..PAIRS).step_by(1_000) {
        let batch: Vec<Write> = (first..first + 1_000).map(|n| Write::Put(key(n), value(n, 0))).collect();
        kv.write(&batch, true).expect("write");
    }
}

/// The child: reads everything and says in one word what it found.
pub fn verify(engine: &str, folder: &Path) {
    let kv = match crate::open(engine, folder) {
        Ok(kv) => kv,
        Err(_) => return println!("refused-at-open"),
    };
    println!("{}", check(kv.as_ref()));
}

fn check(kv: &dyn Kv) -> &'static str {
    let (mut failed, mut wrong, mut missing) = (false, false, false);
    for n in 0..PAIRS {
        match kv.get(&key(n)) {
            Err(_) => failed = true,
            Ok(None) => missing = true,
            Ok(Some(found)) => wrong |= found != value(n, 0),
        }
    }
    let mut scanned = 0;
    let mut from = Vec::new();
    loop {
        match kv.scan(&from, &[0xff; 40], 1_000) {
            Err(_) => {
                failed = true;
                break;
            }
            Ok(pairs) => {
                let Some((last, _)) = pairs.last() else { break };
                from = [last.as_slice(), &[0]].concat();
                scanned += pairs.len() as u64;
            }
        }
    }
    match (wrong, missing || (scanned != PAIRS && !failed), failed) {
        (true, _, _) => "SILENTLY-WRONG",
        (_, true, false) => "SILENTLY-MISSING",
        (_, true, true) => "missing-and-error",
        (_, _, true) => "error-when-read",
        _ => "no-effect",
    }
}

pub fn run(engine: &str, folder: &Path, trials: u64, seed: u64) {
    let _ = std::fs::remove_dir_all(folder);
    let (good, bad) = (folder.join("good"), folder.join("bad"));
    make(engine, &good);
    if std::env::var_os("FLUSHED").is_some() {
        // All in sorted files, as after hours; without it all is in the journal, as after seconds.
        let db = fjall::Database::builder(&good).open().expect("open");
        let pairs = db.keyspace("pairs", fjall::KeyspaceCreateOptions::default).expect("keyspace");
        pairs.rotate_memtable_and_wait().expect("flush");
    }
    // Opened once more, so that what a start tidies up is tidy.
    drop(crate::open(engine, &good).expect("open"));
    let mut dice = Dice(seed);
    let (mut found, mut silent) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    for _ in 0..trials {
        let _ = std::fs::remove_dir_all(&bad);
        let copied = Command::new("cp").args(["-r", "--sparse=always"]).arg(&good).arg(&bad).status();
        assert!(copied.expect("cp").success());
        let all: Vec<_> =
            files(&bad).into_iter().filter(|f| f.metadata().is_ok_and(|m| m.len() > 0)).collect();
        let total: u64 = all.iter().map(|f| f.metadata().expect("size").len()).sum();
        let mut at = dice.roll(total);
        let mut hit = None;
        for file in &all {
            let length = file.metadata().expect("size").len();
            if at < length {
                hit = Some((file.clone(), at));
                break;
            }
            at -= length;
        }
        let (file, at) = hit.expect("an octet");
        let mut bytes = std::fs::read(&file).expect("read");
        let mask = 1 + u8::try_from(dice.roll(255)).expect("an octet");
        bytes[usize::try_from(at).expect("offset")] ^= mask;
        std::fs::write(&file, bytes).expect("write");
        let child = Command::new(std::env::current_exe().expect("own path"))
            .args(["verify", engine])
            .arg(&bad)
            .output()
            .expect("verify");
        let said = String::from_utf8_lossy(&child.stdout).trim().to_owned();
        let outcome = if child.status.success() && !said.is_empty() { said } else { "panic".to_owned() };
        if outcome.starts_with("SILENT") {
            let name = file.strip_prefix(&bad).expect("inside").display().to_string();
            *silent.entry(format!("{outcome} {name}")).or_default() += 1;
        }
        *found.entry(outcome).or_default() += 1;
    }
    println!("flip {engine} pairs={PAIRS} trials={trials} {found:?}");
    println!("flip {engine} where nobody noticed: {silent:?}");
}
