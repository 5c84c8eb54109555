//! Rates, size on the disk, memory.

use crate::data::{Dice, cpu, key, memory, size, value};
use consilium_domain::port::kv::Write;
use std::path::Path;
use std::time::Instant;

/// Pairs of one durable batch.
const BATCH: u64 = 1_000;

pub fn fill(engine: &str, folder: &Path, keys: u64) {
    let _ = std::fs::remove_dir_all(folder);
    let kv = crate::open(engine, folder).expect("open");
    let start = Instant::now();
    let mut slowest = 0.0_f64;
    let mut at = Instant::now();
    for first in (0..keys).step_by(usize::try_from(BATCH).expect("small")) {
        let batch: Vec<Write> =
            (first..keys.min(first + BATCH)).map(|n| Write::Put(key(n), value(n, 0))).collect();
        let begun = Instant::now();
        kv.write(&batch, true).expect("write");
        slowest = slowest.max(begun.elapsed().as_secs_f64());
        if (first / BATCH + 1).is_multiple_of(1_000) {
            eprintln!("{engine}: {} keys, last million {:.1} s", first + BATCH, at.elapsed().as_secs_f64());
            at = Instant::now();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let (peak, busy) = (memory("VmHWM"), cpu());
    let before = size(folder);
    drop(kv);
    println!(
        "fill {engine} keys={keys} batch={BATCH} seconds={seconds:.1} puts/s={:.0} commits/s={:.1} \
         slowest_commit_s={slowest:.2} cpu_s={busy:.0} peak_MiB={peak} disk_MiB={} disk_closed_MiB={} \
         payload_MiB={}",
        keys as f64 / seconds,
        keys as f64 / BATCH as f64 / seconds,
        before >> 20,
        size(folder) >> 20,
        (keys * 232) >> 20,
    );
}

pub fn read(engine: &str, folder: &Path, keys: u64, reads: u64) {
    let start = Instant::now();
    let kv = crate::open(engine, folder).expect("open");
    let opened = start.elapsed().as_secs_f64();
    let mut dice = Dice(7);
    for (name, among) in [("all", keys), ("hot", keys.min(10_000))] {
        let start = Instant::now();
        for _ in 0..reads {
            let n = dice.roll(among);
            assert_eq!(kv.get(&key(n)).expect("get"), Some(value(n, 0)), "{engine}: key {n}");
        }
        println!("read {engine} among={name} gets/s={:.0}", reads as f64 / start.elapsed().as_secs_f64());
    }
    let start = Instant::now();
    for _ in 0..reads {
        assert_eq!(kv.get(&key(keys + dice.roll(keys))).expect("get"), None);
    }
    println!("read {engine} among=absent gets/s={:.0}", reads as f64 / start.elapsed().as_secs_f64());
    let (start, mut pairs, mut from) = (Instant::now(), 0_usize, Vec::new());
    while start.elapsed().as_secs() < 10 {
        let found = kv.scan(&from, &[0xff; 40], 1_000).expect("scan");
        let Some((last, _)) = found.last() else { break };
        from = [last.as_slice(), &[0]].concat();
        pairs += found.len();
    }
    println!(
        "read {engine} opened_s={opened:.3} scan_pairs/s={:.0} peak_MiB={}",
        pairs as f64 / start.elapsed().as_secs_f64(),
        memory("VmHWM")
    );
}
