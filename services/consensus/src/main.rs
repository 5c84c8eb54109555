//! `consilium-consensus --config FILE`, or `consilium-consensus restore BACKUP DATA_DIR` while no node runs there.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["restore", file, data_dir] = words.as_slice() else {
        return consilium_runtime::main::<consilium_consensus::Consensus>();
    };
    match consilium_consensus::backup::restore(Path::new(file), Path::new(data_dir)) {
        Ok(pairs) => {
            println!("restored {pairs} pairs; the node will follow in silence until it may sign again");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
