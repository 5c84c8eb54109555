//! What the bus counts.

use crate::meter::{Counter, Gauge, Histogram, Meter, MeterError};

/// Metrics of one bus; `verb` is the last two tokens of a subject.
pub(super) struct Metrics {
    pub requests: Histogram,
    pub handled: Histogram,
    pub failures: Counter,
    pub slow: Counter,
    pub copies: Counter,
    pub connects: Counter,
    pub ready: Gauge,
}

impl Metrics {
    pub(super) fn new(meter: &Meter) -> Result<Self, MeterError> {
        Ok(Self {
            requests: meter.histogram("bus_request_seconds", "requests sent", &["verb", "outcome"])?,
            handled: meter.histogram("bus_handled_seconds", "requests handled", &["verb"])?,
            failures: meter.counter("bus_failures_total", "messages lost or refused", &["verb", "why"])?,
            slow: meter.counter(
                "bus_slow_consumer_total",
                "messages lost because their listener did not keep up",
                &["verb"],
            )?,
            copies: meter.counter("bus_copies_total", "messages that had arrived already", &["verb"])?,
            connects: meter.counter("bus_connects_total", "connections made", &[])?,
            ready: meter.gauge("bus_ready", "1 while a round trip on the own subject works", &[])?,
        })
    }
}

/// `service.verb` of a subject; `blob` for blobs. A closed set, so fit for a label.
pub(super) fn verb(subject: &str) -> &str {
    let rest = subject.splitn(4, '.').nth(3).unwrap_or("other");
    if rest.starts_with("blob.") { "blob" } else { rest }
}
