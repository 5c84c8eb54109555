//! What the command prints and how it exits.

use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Exit status, the same meaning in every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, valid, proven.
    Good,
    /// 1: done, and the answer is no.
    Refused,
    /// 2: could not run.
    CouldNotRun,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Good => 0,
            Exit::Refused => 1,
            Exit::CouldNotRun => 2,
        })
    }
}

/// Status of a process that SIGPIPE (13) ended, as shells give it.
const PIPE_CLOSED: i32 = 128 + 13;

/// A line on standard output. Ends the process where it cannot be written: quietly when whoever reads has seen enough
/// (`consilium … | head`), as other commands end then.
pub fn line(text: impl std::fmt::Display) {
    written(writeln!(std::io::stdout(), "{text}"));
}

/// As [`line`], of what was written there otherwise.
pub fn written(outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        if error.kind() == ErrorKind::BrokenPipe {
            std::process::exit(PIPE_CLOSED);
        }
        eprintln!("consilium: write the result: {error}");
        std::process::exit(2);
    }
}

/// Text for people or JSON for programs.
pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }
    pub fn is_json(&self) -> bool {
        self.json
    }
    /// A result: one line of text, or one JSON value.
    pub fn result(&mut self, text: &str, value: &Value) {
        if self.json {
            line(value);
        } else {
            line(text);
        }
    }
    /// Progress for a person; programs do not get it.
    pub fn note(&mut self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }
    /// What went wrong.
    pub fn problem(&mut self, text: &str) {
        if self.json {
            line(serde_json::json!({"error": text}));
        } else {
            eprintln!("consilium: {text}");
        }
    }
}
