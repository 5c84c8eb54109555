//! What the person at the terminal reads, and the same for programs.

use crate::clock::Stopwatch;
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// The steps so far.
pub struct Report {
    total: Stopwatch,
    steps: Vec<Value>,
    times: Vec<(String, String, Value)>,
}

impl Default for Report {
    fn default() -> Self {
        Self { total: Stopwatch::start(), steps: Vec::new(), times: Vec::new() }
    }
}

impl Report {
    /// Says how a step ended; `outcome` is what was found, or the error.
    pub fn step(&mut self, title: &str, watch: Stopwatch, outcome: &Result<String>) {
        let seconds = watch.elapsed().as_secs_f64();
        let (word, detail) = match outcome {
            Ok(detail) => ("ok", detail.clone()),
            Err(e) => ("FAILED", format!("{e:#}")),
        };
        say(&format!("{word:<6} {seconds:>7.2} s  {title}"));
        for line in detail.lines().filter(|l| !l.is_empty()) {
            say(&format!("                  {line}"));
        }
        self.steps
            .push(json!({ "title": title, "ok": outcome.is_ok(), "seconds": seconds, "detail": detail }));
    }

    /// Adds a row to the table of times. `raw` is the same for programs.
    pub fn time(&mut self, what: &str, text: String, raw: Value) {
        self.times.push((what.to_owned(), text, raw));
    }

    /// Prints the table of times.
    pub fn print_times(&self) {
        say("\ntimes");
        let width = self.times.iter().map(|(w, _, _)| w.len()).max().unwrap_or(0);
        for (what, text, _) in &self.times {
            say(&format!("  {what:<width$}  {text}"));
        }
    }

    /// Writes the summary as JSON.
    pub fn write(&self, path: &Path, ok: bool) -> Result<()> {
        let times: serde_json::Map<String, Value> =
            self.times.iter().map(|(w, _, raw)| (w.clone(), raw.clone())).collect();
        let summary = json!({ "ok": ok, "seconds": self.total.elapsed().as_secs_f64(), "steps": self.steps, "times": times });
        std::fs::write(path, serde_json::to_vec_pretty(&summary)?)?;
        Ok(())
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.total.elapsed().as_secs_f64()
    }
}

/// One line on standard output, at once. A reader that went away is no reason to stop.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// The middle and the 99th percentile of some durations in milliseconds.
pub fn percentiles(mut ms: Vec<f64>) -> (f64, f64) {
    ms.sort_by(f64::total_cmp);
    let at =
        |p: usize| ms.get((ms.len() * p / 100).min(ms.len().saturating_sub(1))).copied().unwrap_or(f64::NAN);
    (at(50), at(99))
}
