//! What the pages show, apart from how they are served.

use crate::integrity::Verdict;
use crate::log::Entry;
use askama::Template;
use consilium_domain::Timestamp;

/// What every page's frame needs.
pub struct Page {
    pub organisation: String,
    /// `overview`, `trail` or `ledger`.
    pub at: &'static str,
    pub integrity: Badge,
}

/// The integrity badge: its words say it too, never colour alone.
pub struct Badge {
    tone: &'static str,
    pub text: String,
}

impl Badge {
    pub fn new(verdict: &Verdict, now: Timestamp) -> Self {
        match verdict {
            Verdict::Unknown => Self { tone: "", text: "Log not yet anchored".to_owned() },
            Verdict::Intact { block, at, .. } => Self {
                tone: "good",
                text: format!("Log verified to block {block}, {} s ago", now.since(*at).as_secs()),
            },
            Verdict::Altered { first: Some(seq), .. } => {
                Self { tone: "bad", text: format!("Log altered: event {seq} is not what was logged") }
            }
            Verdict::Altered { first: None, .. } => {
                Self { tone: "bad", text: "Log altered: it differs from the anchored checkpoint".to_owned() }
            }
        }
    }
    pub fn class(&self) -> &'static str {
        self.tone
    }
}

/// A row of the events table.
pub struct Row {
    pub seq: u64,
    pub recorded: String,
    pub when: String,
    pub agent: String,
    pub organisation: String,
    pub kind: String,
    pub objects: Vec<String>,
    /// Objects that are not listed.
    pub more: usize,
    pub purpose: String,
    pub verdict: &'static str,
}

/// Objects listed per row.
const SHOWN: usize = 2;

impl Row {
    /// A row that names no patient: lists show what was touched by type only, a single event shows all of it.
    pub fn masked(e: &Entry) -> Self {
        let f = &e.facts;
        let mut types: Vec<String> = f
            .objects
            .iter()
            .chain(&f.patients)
            .filter_map(|o| o.split('/').next())
            .map(str::to_owned)
            .collect();
        types.sort();
        types.dedup();
        let more = types.len().saturating_sub(SHOWN);
        types.truncate(SHOWN);
        // `2026-11-22T13:47:49.001Z` without zone and fraction.
        let when = f.recorded.get(..19).unwrap_or(&f.recorded).replacen('T', " ", 1);
        Self {
            seq: e.stored.seq,
            recorded: f.recorded.clone(),
            when,
            agent: f.agent.clone(),
            organisation: f.organisation.clone(),
            kind: f.kind.clone(),
            objects: types,
            more,
            purpose: f.purpose.clone(),
            verdict: f.verdict(),
        }
    }
}

/// A number of the day.
pub struct Tile {
    pub name: &'static str,
    pub number: u64,
    /// `bad` when it needs attention.
    pub tone: &'static str,
}

/// The day's numbers from (kind, outcome, count).
pub fn tiles(counts: &[(String, String, u64)]) -> Vec<Tile> {
    let sum =
        |ok: &dyn Fn(&str, &str) -> bool| counts.iter().filter(|(k, o, _)| ok(k, o)).map(|(_, _, n)| n).sum();
    let of = |kinds: &'static [&'static str]| move |k: &str, o: &str| o == "0" && kinds.contains(&k);
    let denied = sum(&|_, o| o == "4");
    let failed = sum(&|_, o| o != "0" && o != "4");
    vec![
        Tile { name: "writes", number: sum(&of(&["create", "update", "transaction", "batch"])), tone: "" },
        Tile { name: "reads", number: sum(&of(&["read", "vread", "history-instance", "history"])), tone: "" },
        Tile { name: "searches", number: sum(&of(&["search", "search-type"])), tone: "" },
        Tile { name: "exchange decisions", number: sum(&|k, _| k == "decision"), tone: "" },
        Tile { name: "denied", number: denied, tone: if denied > 0 { "bad" } else { "" } },
        Tile { name: "failed", number: failed, tone: if failed > 0 { "bad" } else { "" } },
    ]
}

/// One step of a verification.
pub struct Step {
    pub good: bool,
    pub title: &'static str,
    pub text: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
pub struct Overview {
    pub page: Page,
    pub day: String,
    pub tiles: Vec<Tile>,
    pub rows: Vec<Row>,
    pub empty: &'static str,
    pub older: Option<u64>,
}

#[derive(Template)]
#[template(path = "trail.html")]
pub struct Trail {
    pub page: Page,
    pub patient: String,
    pub summary: Option<String>,
    pub rows: Vec<Row>,
    pub empty: &'static str,
    pub older: Option<u64>,
}

#[derive(Template)]
#[template(path = "event.html")]
pub struct Event {
    pub page: Page,
    pub row: Row,
    pub patients: Vec<String>,
    pub objects: Vec<String>,
    pub reasons: Vec<String>,
    pub steps: Option<Vec<Step>>,
    pub raw: String,
}

#[derive(Template)]
#[template(path = "problem.html")]
pub struct Problem {
    pub page: Page,
    pub title: &'static str,
    pub text: &'static str,
}
