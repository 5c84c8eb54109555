//! What the command prints and how it exits.

use serde_json::Value;
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
            println!("{value}");
        } else {
            println!("{text}");
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
            println!("{}", serde_json::json!({"error": text}));
        } else {
            eprintln!("consilium: {text}");
        }
    }
}
