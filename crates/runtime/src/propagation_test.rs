use super::*;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::collections::BTreeMap;
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn a_trace_goes_on_at_the_other_side() {
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let mut headers = BTreeMap::new();
        let sent = tracing::info_span!("send").in_scope(|| {
            inject(|name, value| drop(headers.insert(name.to_owned(), value)));
            Span::current().context().span().span_context().trace_id()
        });
        assert!(headers.contains_key("traceparent"), "{headers:?}");
        let handled = tracing::info_span!("handle");
        extract(&handled, |name| headers.get(name).map(String::as_str));
        assert_eq!(handled.context().span().span_context().trace_id(), sent);

        let alone = tracing::info_span!("handle");
        extract(&alone, |_| None);
        extract(&alone, |name| (name == "traceparent").then_some("00-malformed"));
        assert_ne!(alone.context().span().span_context().trace_id(), sent);
    });
}

#[test]
fn without_a_trace_nothing_is_sent() {
    inject(|name, _| panic!("{name} was set"));
}
