//! The command in a pipe.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

#[test]
fn who_has_read_enough_ends_the_command_without_a_complaint() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consilium"));
    command.args(["sample", "--patients", "1000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    // Dropped with its end of the pipe: `consilium sample | head -1`.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with('{') && line.ends_with('\n'), "{line}");
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((complaint.as_str(), child.wait().unwrap().code()), ("", Some(141)));
}
