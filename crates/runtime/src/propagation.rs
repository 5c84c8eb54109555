//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>) over bus and HTTP headers.
//!
//! Header names in NATS are case-sensitive: they are `traceparent` and `tracestate`, in lower case.

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The two headers of the standard.
pub const HEADERS: [&str; 2] = ["traceparent", "tracestate"];

struct Writer<'a, F>(&'a mut F);

impl<F: FnMut(&str, String)> Injector for Writer<'_, F> {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            (self.0)(&key.to_ascii_lowercase(), value);
        }
    }
}

struct Reader<'v> {
    parent: &'v str,
    state: Option<&'v str>,
}

impl Extractor for Reader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => self.state,
            _ => None,
        }
    }
    fn keys(&self) -> Vec<&str> {
        HEADERS.to_vec()
    }
}

/// Hands the present span's context to `set(name, value)`; nothing when no trace is being recorded.
pub fn inject(mut set: impl FnMut(&str, String)) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Writer(&mut set));
}

/// Makes the caller's context, as `get(name)` finds it, the parent of `span`. A malformed one is ignored.
pub fn extract<'v>(span: &Span, get: impl Fn(&str) -> Option<&'v str>) {
    let Some(parent) = get("traceparent") else { return };
    let context = TraceContextPropagator::new().extract(&Reader { parent, state: get("tracestate") });
    // Refused only when the span is not recorded, in which case there is nothing to link.
    let _ = span.set_parent(context);
}

#[cfg(test)]
#[path = "propagation_test.rs"]
mod tests;
