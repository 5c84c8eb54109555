//! Prometheus metrics named `consilium_<service>_<what>_<unit>`.

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use thiserror::Error;

/// Buckets of durations, in seconds: from what a lookup takes to what a person waits for.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A metric could not be registered.
#[derive(Debug, Error)]
pub enum MeterError {
    #[error("the metric `{0}` exists already as another kind")]
    Kind(String),
    #[error("the metric `{name}` is not acceptable: {cause}")]
    Refused { name: String, cause: prometheus::Error },
}

/// Makes metrics. The same name gives the same metric. Labels must come from small closed sets and never
/// from a patient or a user.
#[derive(Clone)]
pub struct Meter {
    prefix: String,
    registry: Registry,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
}

#[derive(Clone)]
enum Known {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// A number that only grows.
#[derive(Clone)]
pub struct Counter(IntCounterVec);

/// A number that goes up and down.
#[derive(Clone)]
pub struct Gauge(GaugeVec);

/// A distribution, in seconds.
#[derive(Clone)]
pub struct Histogram(HistogramVec);

impl Counter {
    /// Adds one. `labels` are the values in the order of the names given at registration.
    pub fn inc(&self, labels: &[&str]) {
        self.add(labels, 1);
    }
    pub fn add(&self, labels: &[&str], n: u64) {
        if let Some(metric) = usable(self.0.get_metric_with_label_values(labels)) {
            metric.inc_by(n);
        }
    }
    /// The present value.
    pub fn value(&self, labels: &[&str]) -> u64 {
        usable(self.0.get_metric_with_label_values(labels)).map_or(0, |metric| metric.get())
    }
}

impl Gauge {
    pub fn set(&self, labels: &[&str], value: f64) {
        if let Some(metric) = usable(self.0.get_metric_with_label_values(labels)) {
            metric.set(value);
        }
    }
    pub fn add(&self, labels: &[&str], delta: f64) {
        if let Some(metric) = usable(self.0.get_metric_with_label_values(labels)) {
            metric.add(delta);
        }
    }
    /// The present value.
    pub fn value(&self, labels: &[&str]) -> f64 {
        usable(self.0.get_metric_with_label_values(labels)).map_or(0.0, |metric| metric.get())
    }
}

impl Histogram {
    /// Records a duration.
    pub fn observe(&self, labels: &[&str], duration: std::time::Duration) {
        if let Some(metric) = usable(self.0.get_metric_with_label_values(labels)) {
            metric.observe(duration.as_secs_f64());
        }
    }
}

/// A wrong number of labels is a mistake in the program; the work that is measured goes on without it.
fn usable<T>(metric: prometheus::Result<T>) -> Option<T> {
    metric.inspect_err(|error| tracing::error!(%error, "a metric was used with the wrong labels")).ok()
}

impl Meter {
    /// Metrics of one service (`ingest` → `consilium_ingest_…`).
    pub fn new(service: &str) -> Self {
        Self { prefix: format!("consilium_{service}_"), registry: Registry::new(), known: Arc::default() }
    }

    /// A counter; by convention the name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<Counter, MeterError> {
        let found = self.known(
            name,
            |opts| Ok(Known::Counter(Counter(self.register(IntCounterVec::new(opts, labels)?)?))),
            help,
        )?;
        match found {
            Known::Counter(counter) => Ok(counter),
            _ => Err(MeterError::Kind(name.to_owned())),
        }
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<Gauge, MeterError> {
        let found = self.known(
            name,
            |opts| Ok(Known::Gauge(Gauge(self.register(GaugeVec::new(opts, labels)?)?))),
            help,
        )?;
        match found {
            Known::Gauge(gauge) => Ok(gauge),
            _ => Err(MeterError::Kind(name.to_owned())),
        }
    }

    /// A histogram of durations; by convention the name ends in `_seconds`.
    pub fn histogram(&self, name: &str, help: &str, labels: &[&str]) -> Result<Histogram, MeterError> {
        let found = self.known(
            name,
            |opts| {
                let opts = HistogramOpts::from(opts).buckets(SECONDS.to_vec());
                Ok(Known::Histogram(Histogram(self.register(HistogramVec::new(opts, labels)?)?)))
            },
            help,
        )?;
        match found {
            Known::Histogram(histogram) => Ok(histogram),
            _ => Err(MeterError::Kind(name.to_owned())),
        }
    }

    /// Everything in Prometheus's text format.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        // Writing to memory does not fail; a metric without samples is merely absent.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn known(
        &self,
        name: &str,
        make: impl FnOnce(Opts) -> prometheus::Result<Known>,
        help: &str,
    ) -> Result<Known, MeterError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(name) {
            return Ok(found.clone());
        }
        let made = make(Opts::new(format!("{}{name}", self.prefix), help))
            .map_err(|cause| MeterError::Refused { name: name.to_owned(), cause })?;
        known.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_metric_of_one_kind() {
        let meter = Meter::new("ingest");
        meter.counter("writes_total", "writes", &["code"]).unwrap().inc(&["201"]);
        let again = meter.counter("writes_total", "writes", &["code"]).unwrap();
        again.inc(&["201"]);
        again.inc(&["201", "surplus"]);
        assert!(meter.text().contains("consilium_ingest_writes_total{code=\"201\"} 2"));
        assert!(matches!(meter.gauge("writes_total", "writes", &[]), Err(MeterError::Kind(_))));
        assert!(matches!(meter.gauge("no such name", "x", &[]), Err(MeterError::Refused { .. })));
    }
}
