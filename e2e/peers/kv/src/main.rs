//! Embedded key-value stores side by side: ours (the adapter of the product, its very file) and redb behind the same port.
//!
//! ```text
//! consilium-kv-peers fill  ENGINE FOLDER KEYS          rates, size, memory
//! consilium-kv-peers read  ENGINE FOLDER KEYS READS    time to open, rates
//! consilium-kv-peers crash ENGINE FOLDER TRIALS SEED   kill -9 at random moments
//! consilium-kv-peers full  ENGINE FOLDER               on a small file system of its own
//! consilium-kv-peers flip  ENGINE FOLDER TRIALS SEED   octets changed while closed
//! ```

mod crash;
mod data;
mod flip;
mod full;
#[path = "../../../../crates/store/src/kv/fjall.rs"]
mod ours;
mod redb_kv;
mod speed;

use consilium_domain::port::kv::{Kv, KvError};
use std::path::Path;

/// What opens a store of that name.
pub fn open(engine: &str, folder: &Path) -> Result<Box<dyn Kv>, KvError> {
    std::fs::create_dir_all(folder).map_err(|e| KvError(e.to_string()))?;
    match engine {
        "fjall" => Ok(Box::new(ours::FjallKv::open(folder)?)),
        "redb" => Ok(Box::new(redb_kv::RedbKv::open(folder)?)),
        other => Err(KvError(format!("no engine `{other}`"))),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match words.as_slice() {
        ["fill", engine, folder, keys] => speed::fill(engine, Path::new(folder), number(keys)),
        ["read", engine, folder, keys, reads] => {
            speed::read(engine, Path::new(folder), number(keys), number(reads));
        }
        ["crash", engine, folder, trials, seed] => {
            crash::run(engine, Path::new(folder), number(trials), number(seed));
        }
        ["write", engine, folder] => crash::write(engine, Path::new(folder)),
        ["full", engine, folder] => full::run(engine, Path::new(folder)),
        ["flip", engine, folder, trials, seed] => {
            flip::run(engine, Path::new(folder), number(trials), number(seed));
        }
        ["verify", engine, folder] => flip::verify(engine, Path::new(folder)),
        _ => eprintln!("see the head of main.rs"),
    }
}
