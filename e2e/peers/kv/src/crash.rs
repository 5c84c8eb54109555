//! `kill -9` at random moments: every batch is there whole or not at all, and every acknowledged one is there.

use crate::data::{Dice, key, value};
use consilium_domain::port::kv::{Kv, Write};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Pairs of a batch, and batches after which they are deleted.
const PAIRS: u64 = 200;
const KEPT: u64 = 50;
const HEAD: &[u8] = b"head";

fn head(kv: &dyn Kv) -> u64 {
    let bytes = kv.get(HEAD).expect("read the head");
    bytes.map_or(0, |b| u64::from_be_bytes(b.try_into().expect("eight octets")))
}

/// The child: a batch after the other, its number on standard output once it is durable.
pub fn write(engine: &str, folder: &Path) {
    let kv = crate::open(engine, folder).expect("open");
    let mut out = std::io::stdout();
    for number in head(kv.as_ref()) + 1.. {
        let mut batch: Vec<Write> =
            (0..PAIRS).map(|i| Write::Put(key(number * PAIRS + i), value(i, number))).collect();
        if let Some(old) = number.checked_sub(KEPT) {
            batch.extend((0..PAIRS).map(|i| Write::Delete(key(old * PAIRS + i))));
        }
        batch.push(Write::Put(HEAD.to_vec(), number.to_be_bytes().to_vec()));
        kv.write(&batch, true).expect("write");
        writeln!(out, "{number}").and_then(|()| out.flush()).expect("acknowledge");
    }
}

pub fn run(engine: &str, folder: &Path, trials: u64, seed: u64) {
    let _ = std::fs::remove_dir_all(folder);
    let (mut dice, mut acknowledged, mut kept_unacknowledged) = (Dice(seed), 0, 0);
    for trial in 0..trials {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["write", engine])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the writer");
        let out = child.stdout.take().expect("its output");
        let (said, first) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let numbers = BufReader::new(out).lines().map_while(Result::ok).filter_map(|l| l.parse::<u64>().ok());
            numbers.inspect(|_| said.send(()).unwrap_or(())).last()
        });
        // One in four while it may still be opening, the others while it writes.
        if !trial.is_multiple_of(4) {
            let _ = first.recv_timeout(Duration::from_secs(20));
        }
        std::thread::sleep(Duration::from_micros(dice.roll(300_000)));
        child.kill().expect("kill");
        child.wait().expect("wait");
        acknowledged = reader.join().expect("read").unwrap_or(acknowledged);

        let kv = crate::open(engine, folder).unwrap_or_else(|e| panic!("trial {trial}: open: {e}"));
        let head = head(kv.as_ref());
        assert!(
            head >= acknowledged,
            "trial {trial}: {acknowledged} was acknowledged, the store is at {head}"
        );
        assert!(head <= acknowledged + 1, "trial {trial}: only one batch can be on its way");
        kept_unacknowledged += head - acknowledged;
        acknowledged = head;
        for number in head.saturating_sub(KEPT + 2)..=head + 1 {
            let there = number >= 1 && number <= head && number + KEPT > head;
            for i in 0..PAIRS {
                let found = kv.get(&key(number * PAIRS + i)).expect("read");
                let expected = there.then(|| value(i, number));
                assert_eq!(found, expected, "trial {trial}: batch {number} of {head}, pair {i}");
            }
        }
    }
    println!(
        "crash {engine} trials={trials} acknowledged_batches={acknowledged} \
         whole_though_unacknowledged={kept_unacknowledged} lost=0 torn=0"
    );
}
