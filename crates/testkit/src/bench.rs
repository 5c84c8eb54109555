//! What every benchmark shares: CPU time of a thread, samples and their percentiles, what the machine was like, and
//! one JSON file and one table per benchmark.
//!
//! The file is `bench/NAME.json` in cargo's target folder:
//!
//! ```text
//! {"name", "unit", "better": "higher" | "lower", "ours": {"min", "median", "p95"},
//!  "peers": {"PEER": {"min", "median", "p95"} | {"missing": "why"}}, "ratio": {"PEER": ours over theirs, > 1 is better},
//!  "also": {"LABEL": {"min", "median", "p95"}}, "rounds", "conditions": {…}}
//! ```
//!
//! `ratio` is left out while no peer was measured, `also` (variants of the same operation) where there are none. `p99`
//! stands beside `p95` from a hundred samples on. A sample of zero is an error, never a figure.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// Nanoseconds of CPU time of this thread, from the kernel's scheduler statistics (`/proc/thread-self/schedstat`,
/// first field). The kernel brings them up to date when the thread yields.
///
/// # Errors
/// Where the kernel keeps no such statistics.
pub fn cpu_nanos() -> io::Result<u64> {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
    first.ok_or_else(|| io::Error::other("/proc/thread-self/schedstat: the first field is no number"))
}

/// Runs `work` and gives what it returned and the nanoseconds of this thread's CPU time it took.
///
/// # Errors
/// As [`cpu_nanos`], and when the clock did not move: then the work was too short to be measured.
pub fn measure<T>(work: impl FnOnce() -> T) -> io::Result<(T, u64)> {
    let start = cpu_nanos()?;
    let made = work();
    let spent = cpu_nanos()?.saturating_sub(start);
    if spent == 0 { Err(io::Error::other("the thread's CPU clock did not move")) } else { Ok((made, spent)) }
}

/// What one figure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 10⁶ bytes in a second of CPU time; higher is better.
    MegabytesPerSecond,
    /// Microseconds for one operation; lower is better.
    Microseconds,
    /// Milliseconds for one operation; lower is better.
    Milliseconds,
    /// Operations in a second of CPU time; higher is better.
    PerSecond,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::MegabytesPerSecond => "MB/s",
            Unit::Microseconds => "us",
            Unit::Milliseconds => "ms",
            Unit::PerSecond => "1/s",
        }
    }

    fn better(self) -> &'static str {
        if matches!(self, Unit::MegabytesPerSecond | Unit::PerSecond) { "higher" } else { "lower" }
    }

    /// How many times better the median of `ours` is than that of `theirs`.
    fn ratio(self, ours: &Value, theirs: &Value) -> io::Result<Value> {
        let median = |summary: &Value| summary.get("median").and_then(Value::as_f64);
        let (Some(ours), Some(theirs)) = (median(ours), median(theirs)) else {
            return Err(io::Error::other("a summary has no median"));
        };
        let higher = self.better() == "higher";
        Ok(json!(rounded(if higher { ours / theirs } else { theirs / ours })))
    }

    /// `amount` is bytes for a rate, operations otherwise.
    fn figure(self, amount: u64, nanos: u64) -> f64 {
        let (amount, nanos) = (amount as f64, nanos as f64);
        match self {
            Unit::MegabytesPerSecond => amount * 1e3 / nanos,
            Unit::Microseconds => nanos / amount / 1e3,
            Unit::Milliseconds => nanos / amount / 1e6,
            Unit::PerSecond => amount * 1e9 / nanos,
        }
    }
}

/// Samples of one way to do the operation.
#[derive(Debug, Clone)]
pub struct Series {
    label: String,
    /// Amount (bytes or operations) and nanoseconds.
    samples: Vec<(u64, u64)>,
}

impl Series {
    /// No samples yet.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), samples: Vec::new() }
    }

    /// Adds a sample: `amount` bytes (of a rate) or operations, done in `nanos` nanoseconds.
    pub fn push(&mut self, amount: u64, nanos: u64) {
        self.samples.push((amount, nanos));
    }

    /// Measures `work`, which does `amount`, on this thread's CPU clock.
    ///
    /// # Errors
    /// As [`measure`].
    pub fn time<T>(&mut self, amount: u64, work: impl FnOnce() -> T) -> io::Result<T> {
        let (made, nanos) = measure(work)?;
        self.push(amount, nanos);
        Ok(made)
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// `{"min", "median", "p95"}` (nearest rank), with `p99` from a hundred samples on.
    fn summary(&self, unit: Unit) -> io::Result<Value> {
        if self.samples.iter().any(|(amount, nanos)| *amount == 0 || *nanos == 0) {
            return Err(io::Error::other(format!("`{}` has a sample of nothing", self.label)));
        }
        let mut figures: Vec<f64> = self.samples.iter().map(|(a, n)| unit.figure(*a, *n)).collect();
        figures.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (figures.len() * percent).div_ceil(100).max(1);
            figures.get(rank - 1).copied().map(rounded)
        };
        let (Some(least), Some(middle), Some(p95)) = (at(0), at(50), at(95)) else {
            return Err(io::Error::other(format!("`{}` was not measured", self.label)));
        };
        let mut out = json!({ "min": least, "median": middle, "p95": p95 });
        if let (true, Some(p99), Some(object)) = (figures.len() >= 100, at(99), out.as_object_mut()) {
            object.insert("p99".to_owned(), json!(p99));
        }
        Ok(out)
    }
}

/// Four significant digits: no measurement here has more.
fn rounded(figure: f64) -> f64 {
    if figure == 0.0 || !figure.is_finite() {
        return figure;
    }
    let scale = 10f64.powi(3 - figure.abs().log10().floor() as i32);
    (figure * scale).round() / scale
}

/// A benchmark's report.
#[derive(Debug, Clone)]
pub struct Report {
    name: &'static str,
    unit: Unit,
    peers: Vec<(&'static str, Peer)>,
    conditions: Vec<(String, String)>,
}

/// Something else that does the same operation.
#[derive(Debug, Clone)]
enum Peer {
    Measured(Series),
    Missing(&'static str),
}

impl Report {
    /// A report on this machine as it is now: call before the work, so that the load average is that of the start.
    pub fn new(name: &'static str, unit: Unit) -> Self {
        Self { name, unit, peers: Vec::new(), conditions: machine() }
    }

    /// A peer that was not measured, and why.
    #[must_use]
    pub fn missing(mut self, peer: &'static str, why: &'static str) -> Self {
        self.peers.push((peer, Peer::Missing(why)));
        self
    }

    /// A peer measured in the same rounds, in the same unit.
    #[must_use]
    pub fn peer(mut self, peer: &'static str, samples: Series) -> Self {
        self.peers.push((peer, Peer::Measured(samples)));
        self
    }

    /// What was measured, on which data, with which checks.
    #[must_use]
    pub fn condition(mut self, key: &str, text: impl Into<String>) -> Self {
        self.conditions.push((key.to_owned(), text.into()));
        self
    }

    /// Writes the JSON file and prints the table. `also`: variants of the same operation in the same unit.
    ///
    /// # Errors
    /// When something was not measured, or the file cannot be written.
    pub fn finish(self, ours: &Series, also: &[Series]) -> io::Result<()> {
        let unit = self.unit;
        let own = ours.summary(unit)?;
        let mut rows = vec![(format!("ours: {}", ours.label), own.clone())];
        let mut variants = Map::new();
        for series in also {
            let summary = series.summary(unit)?;
            rows.push((format!("also: {}", series.label), summary.clone()));
            variants.insert(series.label.clone(), summary);
        }
        let (mut peers, mut ratios) = (Map::new(), Map::new());
        for (peer, samples) in &self.peers {
            let told = match samples {
                Peer::Missing(why) => json!({ "missing": why }),
                Peer::Measured(samples) => {
                    let summary = samples.summary(unit)?;
                    ratios.insert((*peer).to_owned(), unit.ratio(&own, &summary)?);
                    rows.push((format!("peer: {peer}, {}", samples.label), summary.clone()));
                    summary
                }
            };
            peers.insert((*peer).to_owned(), told);
        }
        let conditions: Map<String, Value> =
            self.conditions.iter().map(|(key, text)| (key.clone(), json!(text))).collect();
        let mut out = json!({
            "name": self.name, "unit": unit.name(), "better": unit.better(), "ours": own, "peers": peers,
        });
        if let Some(object) = out.as_object_mut() {
            if !ratios.is_empty() {
                object.insert("ratio".to_owned(), ratios.clone().into());
            }
            if !variants.is_empty() {
                object.insert("also".to_owned(), variants.into());
            }
            object.insert("rounds".to_owned(), json!(ours.len()));
            object.insert("conditions".to_owned(), conditions.into());
        }
        let file = output(self.name);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, format!("{out:#}\n"))?;
        say(&self.table(&rows, &ratios, ours.len(), &file))
    }

    fn table(
        &self,
        rows: &[(String, Value)],
        ratios: &Map<String, Value>,
        rounds: usize,
        file: &Path,
    ) -> String {
        let (unit, better) = (self.unit.name(), self.unit.better());
        let mut text =
            format!("\n{} [{unit}, {better} is better, {rounds} rounds] {}\n", self.name, file.display());
        let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0).max(20);
        let _ = writeln!(text, "  {:<width$} {:>10} {:>10} {:>10} {:>10}", "", "min", "median", "p95", "p99");
        for (label, summary) in rows {
            let cell = |key: &str| summary.get(key).map_or_else(|| "-".to_owned(), Value::to_string);
            let (least, middle, p95, p99) = (cell("min"), cell("median"), cell("p95"), cell("p99"));
            let _ = writeln!(text, "  {label:<width$} {least:>10} {middle:>10} {p95:>10} {p99:>10}");
        }
        for (peer, ratio) in ratios {
            let _ = writeln!(text, "  {:<width$} {ratio:>10} times (medians)", format!("better than {peer}"));
        }
        for (peer, samples) in &self.peers {
            if let Peer::Missing(why) = samples {
                let _ = writeln!(text, "  {:<width$} missing: {why}", format!("peer: {peer}"));
            }
        }
        for (key, condition) in &self.conditions {
            let _ = writeln!(text, "  {key}: {condition}");
        }
        text
    }
}

/// Says that a benchmark was not run, and takes away the figures of an earlier run.
///
/// # Errors
/// With `CONSILIUM_REQUIRE_TEST_DATA=1`, where nothing may be skipped.
pub fn skip(name: &str, why: &str) -> io::Result<()> {
    match std::fs::remove_file(output(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref() == Ok("1") {
        return Err(io::Error::other(format!("{name}: {why}, and test data is required")));
    }
    say(&format!("\n{name}: SKIPPED: {why}"))
}

/// Whether `name` is among the benchmarks asked for on the command line; without names, all are. What begins with `-`
/// is cargo's.
pub fn wanted(name: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|asked| asked == name)
}

/// The folder of the real test data (`$CONSILIUM_TEST_DATA`), where there is one.
pub fn data() -> Option<PathBuf> {
    let place = std::env::var_os("CONSILIUM_TEST_DATA");
    let place = place.map_or_else(|| root().join("../shared/data"), PathBuf::from);
    place.is_dir().then_some(place)
}

/// The FHIR R4 core package (`hl7.fhir.r4.core.tgz` in `$CONSILIUM_FHIR_PACKAGES`), where there is one.
pub fn core_package() -> Option<Vec<u8>> {
    let place = std::env::var_os("CONSILIUM_FHIR_PACKAGES");
    let place = place.map_or_else(|| root().join(".tools/fhir"), PathBuf::from);
    std::fs::read(place.join("hl7.fhir.r4.core.tgz")).ok()
}

/// Whole-patient Synthea bundles of the test data, the `count` smallest.
///
/// # Errors
/// When a file that is there cannot be read.
pub fn patients(count: usize) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(folder) = data().map(|data| data.join("fhir/synthea")).filter(|folder| folder.is_dir()) else {
        return Ok(None);
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // The two bundles of organisations and practitioners are no patients.
        if name.ends_with(".json") && !name.contains("Information") {
            files.push((entry.metadata()?.len(), entry.path()));
        }
    }
    files.sort();
    let bundles: Vec<Vec<u8>> =
        files.into_iter().take(count).map(|(_, path)| std::fs::read(path)).collect::<Result<_, _>>()?;
    Ok(Some(bundles).filter(|bundles| !bundles.is_empty()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn output(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("bench").join(format!("{name}.json"))
}

/// CPU, load average and build profile.
fn machine() -> Vec<(String, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let model = if model.is_empty() { "of a model that /proc/cpuinfo does not name" } else { model };
    let load: Vec<String> = read("/proc/loadavg").split(' ').take(3).map(str::to_owned).collect();
    let profile = if cfg!(debug_assertions) {
        "dev (ours optimised at level 1, dependencies at 2, debug assertions on)"
    } else {
        "bench (optimised at level 3, no link-time optimisation across crates, 16 codegen units)"
    };
    vec![
        ("cpu".to_owned(), format!("{count} x {model}")),
        ("load average at the start (1, 5, 15 min)".to_owned(), load.join(" ")),
        ("build profile".to_owned(), profile.to_owned()),
    ]
}

/// A folder for files of one benchmark, `bench/scratch/NAME` in cargo's target folder. It stays, and so does
/// what is in it.
///
/// # Errors
/// When it cannot be made.
pub fn scratch(name: &str) -> io::Result<PathBuf> {
    let folder = output(name).with_file_name("scratch").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A block of lines on standard output.
///
/// # Errors
/// When it cannot be written.
pub fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(samples: &[(u64, u64)]) -> Series {
        Series { label: "x".into(), samples: samples.to_vec() }
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let all: Vec<(u64, u64)> = (1..=100).rev().map(|ms| (1, ms * 1_000_000)).collect();
        let summary = series(&all).summary(Unit::Milliseconds).unwrap();
        assert_eq!(summary, json!({ "min": 1.0, "median": 50.0, "p95": 95.0, "p99": 99.0 }));
        let one = series(&[(10, 5_000)]).summary(Unit::Microseconds).unwrap();
        assert_eq!(one, json!({ "min": 0.5, "median": 0.5, "p95": 0.5 }));
        let rate = series(&[(2_000_000, 1_000_000_000)]).summary(Unit::MegabytesPerSecond).unwrap();
        assert_eq!(rate["median"], 2.0);
    }

    #[test]
    fn a_ratio_above_one_is_better_for_us() {
        let (half, whole) = (json!({ "median": 0.5 }), json!({ "median": 1.0 }));
        assert_eq!(Unit::Milliseconds.ratio(&half, &whole).unwrap(), 2.0);
        assert_eq!(Unit::MegabytesPerSecond.ratio(&half, &whole).unwrap(), 0.5);
        assert!(Unit::Milliseconds.ratio(&json!({}), &whole).is_err());
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        assert!(series(&[]).summary(Unit::Microseconds).is_err());
        assert!(series(&[(1, 0)]).summary(Unit::Microseconds).is_err());
        assert!(series(&[(0, 1)]).summary(Unit::MegabytesPerSecond).is_err());
    }

    #[test]
    fn figures_have_four_digits() {
        assert_eq!(rounded(123.456), 123.5);
        assert_eq!(rounded(0.001_234_56), 0.001_235);
    }

    #[test]
    fn the_cpu_clock_moves_with_work() {
        let work = || (0..2_000_000u64).fold(0u64, |sum, i| std::hint::black_box(sum.wrapping_add(i * i)));
        assert!(measure(work).unwrap().1 > 0);
    }
}
