//! A disk that is full: which error, and what is left. `folder` lies on a small file system of its own, with a file
//! `ballast` beside it.

use crate::data::{key, value};
use consilium_domain::port::kv::{Kv, Write};
use std::path::Path;

fn batch(number: u64) -> Vec<Write> {
    (0..200).map(|i| Write::Put(key(number * 200 + i), value(i, number))).collect()
}

fn whole(kv: &dyn Kv, batches: u64) -> Result<(), String> {
    for number in 0..batches {
        for i in 0..200 {
            if kv.get(&key(number * 200 + i)).map_err(|e| e.to_string())? != Some(value(i, number)) {
                return Err(format!("pair {i} of batch {number} of {batches} is not as written"));
            }
        }
    }
    Ok(())
}

pub fn run(engine: &str, folder: &Path) {
    let kv = match crate::open(engine, folder) {
        Ok(kv) => kv,
        Err(e) => {
            println!("full {engine} does not open in so little space: {e}");
            return;
        }
    };
    let mut acknowledged = 0;
    let error = loop {
        if acknowledged == 20_000 {
            println!("full {engine} the disk does not get full");
            return;
        }
        match kv.write(&batch(acknowledged), true) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error.to_string(),
        }
    };
    println!("full {engine} acknowledged={acknowledged} error={error:?}");
    println!("full {engine} read while full: {:?}", whole(kv.as_ref(), acknowledged));
    println!(
        "full {engine} write again while full: {:?}",
        kv.write(&batch(acknowledged), true).map_err(|e| e.to_string())
    );
    let ballast = folder.with_file_name("ballast");
    std::fs::remove_file(ballast).expect("make space");
    println!(
        "full {engine} write after space, same process: {:?}",
        kv.write(&batch(acknowledged), true).map_err(|e| e.to_string())
    );
    drop(kv);
    match crate::open(engine, folder) {
        Ok(kv) => {
            println!(
                "full {engine} opened again, acknowledged batches: {:?}",
                whole(kv.as_ref(), acknowledged)
            );
            let next = kv.get(&key(acknowledged * 200)).map(|v| v.is_some()).map_err(|e| e.to_string());
            println!("full {engine} the batch that failed is there: {next:?}");
            let written = kv.write(&batch(acknowledged), true).map_err(|e| e.to_string());
            println!("full {engine} write after that: {written:?}");
        }
        Err(error) => println!("full {engine} does not open again: {error}"),
    }
}
