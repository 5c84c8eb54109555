//! Answers the service's three subjects. Validation is CPU work: it runs on blocking threads, a bounded number at a
//! time, whichever subject it came by.

use crate::attest::Attester;
use crate::check::check;
use crate::error::Refusal;
use consilium_contracts::v1::{
    AttestRequest, AttestResponse, CheckRequest, CheckResponse, Failure, SchemaRequest, SchemaResponse,
};
use consilium_domain::interop::{Attestation, Statement};
use consilium_domain::{Canonical, Clock};
use consilium_fhir::schema::RULE_SET;
use consilium_runtime::gather::{COMPANY, Gather};
use consilium_runtime::{Answer, Counter, Histogram, Incoming, Kit, Meter, MeterError};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Replicas share the requests of each subject.
const QUEUE: &str = "validate";
/// Requests that may wait for each processor; the bus keeps further ones.
const WAITING: usize = 4;

struct Metrics {
    checks: Counter,
    check_seconds: Histogram,
    attestations: Counter,
    attest_seconds: Histogram,
    records: Counter,
    unevaluated: Counter,
}

impl Metrics {
    fn new(meter: &Meter) -> Result<Self, MeterError> {
        Ok(Self {
            checks: meter.counter("checks_total", "Resources validated in full.", &["verdict"])?,
            check_seconds: meter.histogram("check_seconds", "Time to validate one resource.", &[])?,
            attestations: meter.counter("attestations_total", "Batches judged, by outcome.", &["outcome"])?,
            attest_seconds: meter.histogram("attest_seconds", "Time to judge one batch.", &["outcome"])?,
            records: meter.counter("attested_records_total", "Records of attested batches.", &[])?,
            unevaluated: meter.counter(
                "unevaluated_total",
                "Checks that withheld leaves or missing definitions left undone in attested batches.",
                &[],
            )?,
        })
    }
}

struct Worker {
    attester: Arc<Attester>,
    /// Where judged statements meet to be signed.
    signer: Gather<Statement, Attestation>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    cpu: Semaphore,
}

/// Serves until shutdown; returns once subscribed.
pub async fn serve(attester: Attester, parallel: usize, kit: &Kit) -> anyhow::Result<()> {
    let attester = Arc::new(attester);
    let hand = Arc::clone(&attester);
    let worker = Arc::new(Worker {
        attester,
        signer: Gather::new(Arc::clone(&kit.clock), COMPANY, move |all: Vec<Statement>| hand.sign(&all)),
        clock: Arc::clone(&kit.clock),
        metrics: Metrics::new(&kit.meter)?,
        cpu: Semaphore::new(parallel),
    });
    let at_a_time = parallel.saturating_mul(WAITING);
    let subjects = &kit.subjects;

    let own = Arc::clone(&worker);
    kit.bus
        .serve(&subjects.validate_check(), Some(QUEUE), at_a_time, move |incoming| {
            let worker = Arc::clone(&own);
            async move { worker.check(incoming).await }
        })
        .await?;
    let own = Arc::clone(&worker);
    kit.bus
        .serve(&subjects.validate_attest(), Some(QUEUE), at_a_time, move |incoming| {
            let worker = Arc::clone(&own);
            async move { worker.attest(incoming).await }
        })
        .await?;
    kit.bus
        .serve_messages(&subjects.validate_schema(), Some(QUEUE), at_a_time, move |_: SchemaRequest| {
            let schema_digest = worker.attester.schema().0.to_vec();
            let engine = format!("consilium-fhir {} rules {RULE_SET}", env!("CARGO_PKG_VERSION"));
            async move { SchemaResponse { schema_digest, engine } }
        })
        .await?;
    Ok(())
}

impl Worker {
    /// Runs CPU work on a blocking thread when a processor is free; `None` when it panicked.
    async fn on_cpu<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        // The semaphore is never closed.
        let _processor = self.cpu.acquire().await.ok()?;
        let worker = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&worker)).await.ok()
    }

    async fn check(self: &Arc<Self>, incoming: Incoming) -> Answer {
        let Ok(request) = incoming.decode::<CheckRequest>() else { return Answer::Refused("undecodable") };
        // The request's own bytes are not needed twice.
        drop(incoming);
        let start = self.clock.monotonic();
        let judged: Option<CheckResponse> = self
            .on_cpu(move |w| {
                check(&w.attester.validator, &w.attester.options, &request.resource, &request.profiles)
            })
            .await;
        let Some(response) = judged else { return Answer::Refused("internal") };
        self.metrics.checks.inc(&[if response.valid { "valid" } else { "invalid" }]);
        self.metrics.check_seconds.observe(&[], self.clock.monotonic().saturating_sub(start));
        encode(&response)
    }

    async fn attest(self: &Arc<Self>, incoming: Incoming) -> Answer {
        let Ok(request) = incoming.decode::<AttestRequest>() else { return Answer::Refused("undecodable") };
        drop(incoming);
        let start = self.clock.monotonic();
        let now = self.clock.now();
        let Some(judged) = self.on_cpu(move |w| w.attester.judge(&request.envelope, now)).await else {
            return Answer::Refused("internal");
        };
        let judged = match judged {
            Ok(judged) => match self.signer.add(judged.statement).await {
                Some(attestation) => Ok((attestation, judged.records, judged.unevaluated)),
                None => return Answer::Refused("internal"),
            },
            Err(refusal) => Err(refusal),
        };
        let outcome = match &judged {
            Ok(_) => "attested",
            Err(refusal) => refusal.code(),
        };
        self.metrics.attestations.inc(&[outcome]);
        self.metrics.attest_seconds.observe(&[outcome], self.clock.monotonic().saturating_sub(start));
        let response = match judged {
            Ok((attestation, records, unevaluated)) => {
                self.metrics.records.add(&[], records as u64);
                self.metrics.unevaluated.add(&[], unevaluated);
                let attestation = attestation.to_canonical();
                AttestResponse { attestation, unevaluated, ..AttestResponse::default() }
            }
            Err(refusal) => {
                tracing::info!(code = refusal.code(), "an attestation is refused");
                let failure: Failure = refusal.failure();
                let outcome = match refusal {
                    Refusal::NotConforming { outcome, .. } => outcome.into_bytes(),
                    _ => Vec::new(),
                };
                AttestResponse { failure: Some(failure), outcome, ..AttestResponse::default() }
            }
        };
        encode(&response)
    }
}

fn encode(message: &impl consilium_contracts::Message) -> Answer {
    Answer::Payload(message.encode_to_vec())
}
