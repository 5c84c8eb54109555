//! Logs to standard error, and traces to a collector where one is configured.

use crate::config::Common;
use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Keeps the exporter; `flush` before the process ends.
pub(crate) struct Telemetry(Option<SdkTracerProvider>);

/// Installs the global subscriber. Must run inside the tokio runtime, which carries the exporter.
pub(crate) fn install(common: &Common, service: &'static str) -> anyhow::Result<Telemetry> {
    let config = &common.telemetry;
    let filter = EnvFilter::try_new(&config.filter).context("`telemetry.filter` is not a filter")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if config.json { lines.json().boxed() } else { lines.with_ansi(false).boxed() };
    let provider =
        config.otlp_endpoint.as_deref().map(|endpoint| provider(endpoint, common, service)).transpose()?;
    let traces = provider.as_ref().map(|p| tracing_opentelemetry::layer().with_tracer(p.tracer("consilium")));
    tracing_subscriber::registry()
        .with(lines.and_then(traces).with_filter(filter))
        .try_init()
        .context("a log subscriber is installed already")?;
    std::panic::set_hook(Box::new(|panic| {
        // Only the place: the message could hold a value from a record.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a task panicked");
    }));
    Ok(Telemetry(provider))
}

fn provider(endpoint: &str, common: &Common, service: &'static str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .context("`telemetry.otlp_endpoint` cannot be used")?;
    // https://opentelemetry.io/docs/specs/semconv/resource/#service
    let resource = Resource::builder()
        .with_service_name(format!("consilium-{service}"))
        .with_attribute(KeyValue::new("service.namespace", common.organisation.name.to_string()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Telemetry {
    /// Sends what is still buffered; waits at most two seconds.
    pub(crate) async fn flush(self) {
        if let Some(provider) = self.0 {
            let flushing = tokio::task::spawn_blocking(move || {
                provider.shutdown_with_timeout(std::time::Duration::from_secs(2))
            });
            if !matches!(flushing.await, Ok(Ok(()))) {
                tracing::warn!("some traces did not reach the collector");
            }
        }
    }
}
