//! An OpenTelemetry collector: takes the traces that services export (OTLP over gRPC,
//! <https://opentelemetry.io/docs/specs/otlp/>) and keeps every byte of them.

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// A finished span, as far as the story asks about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// `service.namespace`: the organisation.
    pub organisation: String,
    /// `service.name`.
    pub service: String,
    pub name: String,
    /// Lower-case hexadecimal, as in a `traceparent`.
    pub trace: String,
    pub id: String,
    /// Empty at the root of a trace.
    pub parent: String,
}

struct Kept {
    spans: Vec<Span>,
    file: BufWriter<File>,
    failure: Option<std::io::Error>,
}

/// The collector. It runs until the process ends.
pub struct Collector {
    endpoint: String,
    path: PathBuf,
    kept: Arc<Mutex<Kept>>,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Collector {
    /// Listens on a free port of loopback; all that arrives is appended to a file in `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        let path = dir.join("traces.bin");
        let file = BufWriter::new(File::create(&path)?);
        let kept = Arc::new(Mutex::new(Kept { spans: Vec::new(), file, failure: None }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let service = TraceServiceServer::new(Keeper(Arc::clone(&kept)));
        std::thread::spawn(move || {
            let serving = Server::builder().serve_with_incoming(service, TcpIncoming::from(listener));
            if let Err(e) = runtime.block_on(serving) {
                crate::report::say(&format!("the trace collector stopped: {e}"));
            }
        });
        Ok(Self { endpoint, path, kept })
    }

    /// What goes into `telemetry.otlp_endpoint`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The spans of one trace that arrived so far.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        lock(&self.kept).spans.iter().filter(|s| s.trace == id).cloned().collect()
    }

    /// How many spans arrived, and the file with all bytes of them.
    pub fn written(&self) -> Result<(usize, &Path)> {
        let mut kept = lock(&self.kept);
        kept.file.flush()?;
        if let Some(e) = kept.failure.take() {
            return Err(e).context("keep the traces");
        }
        Ok((kept.spans.len(), &self.path))
    }
}

struct Keeper(Arc<Mutex<Kept>>);

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let request = request.into_inner();
        let mut kept = lock(&self.0);
        // Protobuf writes strings as they are: a name in any attribute can be found in these bytes.
        if let Err(e) = kept.file.write_all(&request.encode_to_vec()) {
            kept.failure = Some(e);
        }
        for group in request.resource_spans {
            let of = |key| attribute(group.resource.as_ref(), key);
            let (organisation, service) = (of("service.namespace"), of("service.name"));
            kept.spans.extend(group.scope_spans.into_iter().flat_map(|s| s.spans).map(|span| Span {
                organisation: organisation.clone(),
                service: service.clone(),
                name: span.name,
                trace: hex::encode(span.trace_id),
                id: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
            }));
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn attribute(resource: Option<&Resource>, key: &str) -> String {
    let found = resource.into_iter().flat_map(|r| &r.attributes).find(|a| a.key == key);
    match found.and_then(|a| a.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}
