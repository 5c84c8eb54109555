//! Thread CPU time of a decision over the rows of the decision corpus (`decide`).
//!
//! `cargo bench -p consilium-policy --bench policy [decide]`

use std::hint::black_box;
use std::path::Path;

use consilium_domain::{OrgId, Timestamp};
use consilium_policy::consent::Coding;
use consilium_policy::period::{Span, span};
use consilium_policy::{Consent, Request, decide};
use consilium_testkit::bench::{Report, Series, Unit, wanted};
use serde_json::Value;

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 30;
/// Passes over the corpus in a round.
const PASSES: usize = 200;

/// A row of the corpus: the consents as stored and as parsed, the request, the time.
struct Row {
    bytes: Vec<Vec<u8>>,
    consents: Vec<Option<Consent>>,
    request: Request,
    now: Timestamp,
    permit: bool,
}

fn at<'v>(value: &'v Value, key: &str) -> &'v Value {
    value.get(key).unwrap_or(&Value::Null)
}

fn codings(value: &Value) -> Vec<Coding> {
    let text = |c: &Value, key: &str| at(c, key).as_str().unwrap_or_default().to_owned();
    let all = value.as_array().into_iter().flatten();
    all.map(|c| Coding { system: text(c, "system"), code: text(c, "code") }).collect()
}

fn moment(date: &str) -> Result<Span, String> {
    span(date, 0).ok_or_else(|| format!("`{date}` is no date"))
}

fn row(file: &Value, row: &Value) -> Result<Row, Failure> {
    let asked = at(row, "request");
    let text = |key: &str, default: &str| at(asked, key).as_str().unwrap_or(default).to_owned();
    let ids = at(row, "consents").as_array().ok_or("a row without consents")?;
    let bytes: Vec<Vec<u8>> = ids
        .iter()
        .filter_map(Value::as_str)
        .map(|id| at(at(file, "consents"), id).to_string().into_bytes())
        .collect();
    let request = Request {
        organisation: OrgId::new(text("organisation", "hospital-b"))?,
        user: text("user", "Practitioner/b1"),
        action: text("action", "access"),
        purpose: text("purpose", "TREAT"),
        custodian: OrgId::new("hospital-a")?,
        patient: Some(text("patient", "Patient/p1")).filter(|patient| !patient.is_empty()),
        resource_type: text("type", "Observation"),
        id: text("id", "o1"),
        labels: codings(at(asked, "labels")),
        codes: codings(at(asked, "codes")),
        date: at(asked, "date").as_str().map(moment).transpose()?,
    };
    Ok(Row {
        consents: bytes.iter().map(|bytes| Consent::parse(bytes, 0).ok()).collect(),
        bytes,
        request,
        now: moment(at(row, "now").as_str().unwrap_or("2026-06-15T12:00:00.000Z"))?.from,
        permit: at(row, "permit").as_bool().ok_or("a row without verdict")?,
    })
}

fn main() -> Result<(), Failure> {
    if !wanted("decide") {
        return Ok(());
    }
    let report = Report::new("decide", Unit::Microseconds);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/treatment.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let rows = at(&file, "rows").as_array().ok_or("a corpus without rows")?;
    let rows = rows.iter().map(|one| row(&file, one)).collect::<Result<Vec<_>, _>>()?;
    for row in &rows {
        if decide(&row.consents, &row.request, row.now).permits() != row.permit {
            return Err("a row of the corpus is decided otherwise than it says".into());
        }
    }
    let mut parsed = Series::new("one decision, consents parsed before");
    let mut whole = Series::new("one decision, consents parsed from JSON each time");
    let decisions = (rows.len() * PASSES) as u64;
    for _ in 0..ROUNDS {
        parsed.time(decisions, || {
            for row in rows.iter().cycle().take(rows.len() * PASSES) {
                black_box(decide(black_box(&row.consents), &row.request, row.now));
            }
        })?;
        whole.time(decisions, || {
            for row in rows.iter().cycle().take(rows.len() * PASSES) {
                let read = row.bytes.iter().map(|bytes| Consent::parse(black_box(bytes), 0).ok());
                black_box(decide(&read.collect::<Vec<_>>(), &row.request, row.now));
            }
        })?;
    }
    let consents: usize = rows.iter().map(|row| row.consents.len()).sum();
    report
        .condition(
            "measured",
            "CPU time of one thread, from consents and request to verdict with reasons; no I/O",
        )
        .condition(
            "data",
            format!(
                "decision corpus crates/policy/tests/corpus: {} rows with {consents} consents in all",
                rows.len()
            ),
        )
        .condition("rounds", format!("{ROUNDS} of {decisions} decisions each, both ways in turn"))
        .condition("threads", "1")
        .condition("checks", "before the rounds every row is decided as the corpus says")
        .condition("peers", "none is named for this benchmark")
        .finish(&parsed, &[whole])?;
    Ok(())
}
