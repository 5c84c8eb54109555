//! One run's figures, and the report of several.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What one run gave.
#[derive(Clone)]
pub struct Figures {
    /// Milliseconds, one per committed transaction.
    pub latencies: Vec<f64>,
    pub took: Duration,
    /// CPU seconds of the validators, and of what carries their messages.
    pub cpu: f64,
    pub cpu_transport: f64,
}

impl Figures {
    /// Committed transactions per second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// A percentile of the latencies, in milliseconds.
    pub fn latency(&self, percent: usize) -> f64 {
        at(&sorted(&self.latencies), percent)
    }

    /// Microseconds of CPU per committed transaction.
    pub fn cost(&self) -> f64 {
        (self.cpu + self.cpu_transport) * 1e6 / self.latencies.len().max(1) as f64
    }
}

/// Runs at one load.
pub struct Level {
    pub load: String,
    pub runs: Vec<Figures>,
}

impl Level {
    pub fn new(load: String) -> Self {
        Self { load, runs: Vec::new() }
    }

    /// Of what `figure` gives of each run.
    pub fn median(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        at(&sorted(&self.runs.iter().map(figure).collect::<Vec<_>>()), 50)
    }

    fn least(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        self.runs.iter().map(figure).fold(f64::INFINITY, f64::min)
    }

    /// The level with the greatest throughput (median of its runs).
    pub fn best(all: &[Self]) -> Option<&Self> {
        all.iter().max_by(|a, b| a.median(Figures::rate).total_cmp(&b.median(Figures::rate)))
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {:.0} transactions/s (least {:.0}), p50 {:.0} ms, p99 {:.0} ms, {:.0} us CPU per transaction",
            self.load,
            self.median(Figures::rate),
            self.least(Figures::rate),
            self.median(|r| r.latency(50)),
            self.median(|r| r.latency(99)),
            self.median(Figures::cost),
        )
    }
}

fn sorted(figures: &[f64]) -> Vec<f64> {
    let mut all = figures.to_vec();
    all.sort_by(f64::total_cmp);
    all
}

/// Percentile by nearest rank.
fn at(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// One JSON file and one table.
pub struct Report {
    name: &'static str,
    unit: &'static str,
    higher: bool,
    conditions: Map<String, Value>,
}

impl Report {
    pub fn new(name: &'static str, unit: &'static str, higher: bool) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let profile = if cfg!(debug_assertions) { "dev" } else { "bench (optimised at level 3)" };
        let mut conditions = Map::new();
        conditions.insert("cpus".to_owned(), json!(cpus));
        conditions.insert("load average at the end".to_owned(), json!(read("/proc/loadavg").trim()));
        conditions.insert("build profile".to_owned(), json!(profile));
        Self { name, unit, higher, conditions }
    }

    pub fn condition(mut self, key: &str, text: impl Into<String>) -> Self {
        self.conditions.insert(key.to_owned(), json!(text.into()));
        self
    }

    /// `more`: percentiles beside minimum, median and 95th.
    pub fn finish(self, ours: &[f64], peer: &[f64], more: &[usize]) -> Result<()> {
        let summary = |figures: &[f64]| {
            let all = sorted(figures);
            let round = |f: f64| (f * 100.0).round() / 100.0;
            let mut out =
                json!({"min": round(at(&all, 0)), "median": round(at(&all, 50)), "p95": round(at(&all, 95))});
            if let Some(object) = out.as_object_mut() {
                for p in more {
                    object.insert(format!("p{p}"), json!(round(at(&all, *p))));
                }
            }
            out
        };
        let (mut peers, mut ratio) = (Map::new(), Map::new());
        let name = crate::comet::NAME;
        if peer.is_empty() {
            if self.name != "ledger-records" {
                peers.insert(name.to_owned(), json!({"missing": "run scripts/cometbft.sh first"}));
            }
        } else {
            peers.insert(name.to_owned(), summary(peer));
            let (a, b) = (at(&sorted(ours), 50), at(&sorted(peer), 50));
            let better = if self.higher { a / b } else { b / a };
            ratio.insert(name.to_owned(), json!((better * 100.0).round() / 100.0));
        }
        let out = json!({
            "name": self.name, "unit": self.unit, "better": if self.higher { "higher" } else { "lower" },
            "ours": summary(ours), "peers": peers, "ratio": ratio, "rounds": ours.len(), "conditions": self.conditions,
        });
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
        let file = target.join("bench").join(format!("{}.json", self.name));
        std::fs::create_dir_all(file.parent().context("a folder")?)?;
        std::fs::write(&file, format!("{out:#}\n"))?;
        println!("{}\n{out:#}", file.display());
        Ok(())
    }
}
