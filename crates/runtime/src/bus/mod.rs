//! The bus: request-reply and publish over NATS, or inside one process for tests, behind one API.
//!
//! Payloads of any size up to a limit: what is above [`INLINE_LIMIT`] stays with the sender and is pulled in
//! chunks, checked against its SHA-256. A message that arrives twice, over two hubs, is handed on once. NATS carries and never remembers: whoever must not lose a message
//! keeps it until it is answered.

mod blob;
mod copies;
mod error;
mod memory;
mod message;
mod metrics;
mod nats;
mod queue;
mod serve;
mod subscription;
mod transfer;

pub use error::BusError;
pub use memory::MemoryHub;
pub use message::Headers;
pub use serve::Answer;
pub use subscription::{Incoming, Subscription};

use crate::config::BusConfig;
use crate::entropy::Entropy;
use crate::health::Check;
use crate::meter::Meter;
use crate::propagation;
use crate::shutdown::Shutdown;
use blob::Offered;
use consilium_contracts::subjects::Grants;
use consilium_contracts::v1::{BlobChunk, BlobRequest};
use consilium_contracts::{Message, Participant, Subjects};
use consilium_domain::Clock;
use message::{ERROR, ID, Listening, Raw, covers};
use metrics::{Metrics, verb};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::Instrument;

/// Largest payload, in bytes, that travels in the message itself: half of what nats-server takes.
pub const INLINE_LIMIT: usize = 512 * 1024;
/// Bytes of offered blobs that a process keeps at a time.
const OFFERED_LIMIT: usize = 256 * 1024 * 1024;
/// How long an offered blob can be fetched.
const OFFERED_LIFETIME: Duration = Duration::from_secs(60);
/// Longest wait for a round trip on the own subject.
const PROBE: Duration = Duration::from_secs(1);

/// What a bus is made of, beside its transport.
pub struct Parts {
    pub subjects: Subjects,
    pub participant: Participant,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    pub meter: Meter,
    /// Ready while the bus is.
    pub check: Check,
    pub shutdown: Shutdown,
    /// Largest payload, in bytes, that is sent or taken.
    pub blob_limit: usize,
}

/// The bus of one process. Clones share the connection.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    transport: Transport,
    parts: Parts,
    grants: Grants,
    own: String,
    offered: Offered,
    /// In units of [`transfer::UNIT`] bytes: what is being fetched or was fetched and is still held.
    fetching: Arc<Semaphore>,
    ready: watch::Sender<bool>,
    readied: watch::Sender<u64>,
    metrics: Metrics,
}

enum Transport {
    Nats(async_nats::Client),
    Memory(MemoryHub),
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bus").field(&self.0.own).finish()
    }
}

impl Bus {
    /// Connects to NATS in the background, for ever; returns at once. Fails on a configuration that can
    /// never work, such as an unreadable password file.
    pub async fn connect(config: &BusConfig, parts: Parts) -> anyhow::Result<Self> {
        let (client, notices) = nats::connect(config, parts.participant).await?;
        let bus = Self::new(Transport::Nats(client), parts)?;
        bus.start().await?;
        tokio::spawn(bus.clone().watch(notices));
        Ok(bus)
    }

    /// Joins an in-memory hub. Ready at once; permissions and limits are those of NATS.
    pub fn in_memory(hub: &MemoryHub, parts: Parts) -> anyhow::Result<Self> {
        let bus = Self::new(Transport::Memory(hub.clone()), parts)?;
        let (inlet, messages) = queue::queue(bus.0.metrics.slow.clone(), verb(&bus.0.own));
        hub.subscribe(&bus.0.own, None, inlet);
        tokio::spawn(bus.clone().answer_chunks(Listening { messages, stop: Vec::new() }));
        bus.set_ready();
        Ok(bus)
    }

    fn new(transport: Transport, parts: Parts) -> anyhow::Result<Self> {
        let instance = parts.entropy.bytes::<8>().map(|b| format!("{b:02x}")).concat();
        let own = parts.subjects.blob(parts.participant, &instance).into();
        let metrics = Metrics::new(&parts.meter)?;
        Ok(Self(Arc::new(Inner {
            transport,
            grants: parts.subjects.grants(parts.participant),
            own,
            offered: Offered::new(OFFERED_LIMIT, OFFERED_LIFETIME),
            fetching: Arc::new(Semaphore::new(transfer::UNITS)),
            ready: watch::Sender::new(false),
            readied: watch::Sender::new(0),
            metrics,
            parts,
        })))
    }

    async fn start(&self) -> Result<(), BusError> {
        let requests = self.listen(&[&self.0.own], None).await?;
        tokio::spawn(self.clone().answer_chunks(requests));
        Ok(())
    }

    /// Whether messages can be sent and received.
    pub fn is_ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// Returns once the bus is ready; at once if it is.
    pub async fn ready(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.0.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// How often the bus has become ready. What was published while it was not is lost here: whoever must not miss
    /// anything asks for it when this number grows.
    pub fn readied(&self) -> watch::Receiver<u64> {
        self.0.readied.subscribe()
    }

    /// Sends a request and waits for its answer. While the bus is not connected, waits for that, within the
    /// same `timeout`.
    ///
    /// `payload` may be up to the blob limit; so may the answer.
    pub async fn request(
        &self,
        subject: &str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, BusError> {
        self.may_publish(subject)?;
        let label = verb(subject);
        let span = tracing::info_span!("bus request", otel.kind = "client", verb = label);
        let start = self.0.parts.clock.monotonic();
        let work = self.request_now(subject, payload, timeout).instrument(span);
        let outcome = match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) if !self.is_ready() => Err(BusError::Disconnected),
            Err(_) => Err(BusError::Timeout(subject.to_owned())),
        };
        let took = self.0.parts.clock.monotonic().saturating_sub(start);
        let word = if outcome.is_ok() { "answered" } else { "failed" };
        self.0.metrics.requests.observe(&[label, word], took);
        outcome
    }

    async fn request_now(
        &self,
        subject: &str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, BusError> {
        self.ready().await;
        // Withdrawn when the answer is here, or when nobody waits for it any more.
        let (message, _offer) = self.outgoing(subject, payload)?;
        let answer = match &self.0.transport {
            Transport::Nats(client) => nats::request(client, message, timeout).await?,
            Transport::Memory(hub) => hub.request(message, timeout).await?,
        };
        if let Some(code) = answer.headers.get(ERROR) {
            return Err(BusError::Remote(code.chars().take(64).collect()));
        }
        // Only the organisation that was asked may say where the answer lies.
        let sender = self.0.parts.subjects.owner_of(subject);
        Ok(self.whole(answer.headers, answer.payload, sender.as_ref()).await?.0)
    }

    /// Sends a request in protobuf and decodes the answer.
    pub async fn request_message<Q: Message, A: Message + Default>(
        &self,
        subject: &str,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, BusError> {
        let answer = self.request(subject, request.encode_to_vec(), timeout).await?;
        A::decode(answer.as_slice()).map_err(|error| BusError::Decode(error.to_string()))
    }

    /// Publishes to whoever listens now; nobody acknowledges it. Fails at once while not connected.
    pub async fn publish(&self, subject: &str, payload: Vec<u8>) -> Result<(), BusError> {
        self.may_publish(subject)?;
        if !self.is_ready() {
            return Err(BusError::Disconnected);
        }
        let (message, offer) = self.outgoing(subject, payload)?;
        // Any number of listeners may fetch it, until its time is over.
        offer.into_iter().for_each(transfer::Offer::leave);
        self.send(message).await
    }

    /// Publishes a protobuf message.
    pub async fn publish_message<M: Message>(&self, subject: &str, message: &M) -> Result<(), BusError> {
        self.publish(subject, message.encode_to_vec()).await
    }

    /// Listens at a subject, which may hold wildcards; with `queue`, shares the messages with the other
    /// members of that group. Once this returns, and if the bus is ready, the server knows of it.
    ///
    /// Messages arrive in their sender's order, except that large ones may fall behind. A copy of one that has
    /// arrived already, which came over another hub, is not handed on; its sender gets the same answer. Subjects that never
    /// leave the organisation have no copies, and none are looked for.
    pub async fn subscribe(&self, subject: &str, queue: Option<&str>) -> Result<Subscription, BusError> {
        self.subscribe_all(&[subject], queue).await
    }

    /// [`Bus::subscribe`] at several subjects at once; copies are found across them.
    pub async fn subscribe_all<S: AsRef<str>>(
        &self,
        subjects: &[S],
        queue: Option<&str>,
    ) -> Result<Subscription, BusError> {
        let subjects: Vec<&str> = subjects.iter().map(AsRef::as_ref).collect();
        for subject in &subjects {
            if !self.0.grants.subscribe.iter().any(|grant| covers(grant, subject)) {
                return Err(BusError::Forbidden((*subject).to_owned()));
            }
        }
        let raw = self.listen(&subjects, queue).await?;
        if self.is_ready() {
            // Commands of one connection are processed in order: an answer proves that SUB was. Should the
            // connection break just now, the probe that follows the reconnect proves it.
            self.probe().await;
        }
        let across = subjects.iter().any(|subject| Subjects::reaches_across(subject));
        Ok(Subscription::new(self.clone(), raw, across))
    }

    /// Withdraws from the bus after what was sent has left.
    pub async fn close(&self) {
        self.0.ready.send_replace(false);
        if let Transport::Nats(client) = &self.0.transport {
            let flushed = tokio::time::timeout(Duration::from_secs(2), client.flush()).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tracing::warn!("the last messages may not have reached the bus");
            }
        }
    }

    fn may_publish(&self, subject: &str) -> Result<(), BusError> {
        let concrete = !subject.contains(['*', '>', ' ']);
        if concrete && self.0.grants.publish.iter().any(|grant| covers(grant, subject)) {
            return Ok(());
        }
        Err(BusError::Forbidden(subject.to_owned()))
    }

    async fn send(&self, message: Raw) -> Result<(), BusError> {
        match &self.0.transport {
            Transport::Nats(client) => nats::publish(client, message).await,
            Transport::Memory(hub) => hub.publish(message),
        }
    }

    async fn listen(&self, subjects: &[&str], group: Option<&str>) -> Result<Listening, BusError> {
        let label = subjects.first().map_or("other", |subject| verb(subject));
        let (inlet, messages) = queue::queue(self.0.metrics.slow.clone(), label);
        let mut stop = Vec::new();
        for subject in subjects {
            match &self.0.transport {
                Transport::Nats(client) => {
                    stop.push(nats::subscribe(client, subject, group, inlet.clone()).await?);
                }
                Transport::Memory(hub) => hub.subscribe(subject, group, inlet.clone()),
            }
        }
        Ok(Listening { messages, stop })
    }

    /// Headers of a message that leaves now: its name, and the trace context.
    fn headers(&self) -> Headers {
        let mut headers = Headers::default();
        headers.insert(ID, self.0.parts.entropy.bytes::<16>().map(|b| format!("{b:02x}")).concat());
        propagation::inject(|name, value| headers.insert(name, value));
        headers
    }

    /// Answers `BlobRequest`s; a request for an unknown blob, such as a probe's, gets an empty chunk.
    async fn answer_chunks(self, mut requests: Listening) {
        while let Some(message) = requests.messages.recv().await {
            let (Some(reply), Ok(request)) = (message.reply, BlobRequest::decode(message.payload.as_slice()))
            else {
                continue;
            };
            let length = usize::try_from(request.length).unwrap_or_default().min(INLINE_LIMIT);
            let now = self.0.parts.clock.monotonic();
            let data = self.0.offered.chunk(&request.id, request.offset, length, now);
            let answer = Raw {
                payload: BlobChunk { data }.encode_to_vec(),
                ..Raw::headers_only(reply, Headers::default())
            };
            if let Err(error) = self.send(answer).await {
                tracing::debug!(%error, "a chunk was not sent");
            }
            self.0.offered.purge(now);
        }
    }

    /// A round trip on the own subject: whether the server delivers to us.
    async fn probe(&self) -> bool {
        let empty = BlobRequest::default().encode_to_vec();
        let message = Raw { payload: empty, ..Raw::headers_only(self.0.own.clone(), Headers::default()) };
        let answer = match &self.0.transport {
            Transport::Nats(client) => nats::request(client, message, PROBE).await,
            Transport::Memory(hub) => hub.request(message, PROBE).await,
        };
        answer.is_ok()
    }

    fn set_ready(&self) {
        self.0.ready.send_replace(true);
        self.0.readied.send_modify(|times| *times += 1);
        self.0.metrics.ready.set(&[], 1.0);
        self.0.parts.check.ready();
    }

    fn set_not_ready(&self, why: &str) {
        self.0.ready.send_replace(false);
        self.0.metrics.ready.set(&[], 0.0);
        self.0.parts.check.not_ready(why);
    }

    /// Follows the connection. `subscribe` and even a flush do not prove that the server has our
    /// subscriptions, so after each connect the bus is ready only when a probe has come back.
    async fn watch(self, mut notices: mpsc::UnboundedReceiver<nats::Notice>) {
        self.set_not_ready("connecting");
        let mut probing = false;
        loop {
            let notice = tokio::select! {
                notice = notices.recv() => notice,
                answered = self.probe(), if probing => {
                    if answered {
                        probing = false;
                        tracing::info!("the bus is ready");
                        self.set_ready();
                    } else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    continue;
                }
            };
            match notice {
                Some(nats::Notice::Connected) => {
                    self.0.metrics.connects.inc(&[]);
                    self.set_not_ready("connected, waiting for a round trip");
                    probing = true;
                }
                Some(nats::Notice::Disconnected(why)) => {
                    tracing::warn!(why, "the bus is not connected");
                    self.set_not_ready(&why);
                    probing = false;
                }
                Some(nats::Notice::SlowConsumer) => self.0.metrics.slow.inc(&["other"]),
                Some(nats::Notice::Error(error)) => tracing::warn!(error, "the bus reports an error"),
                None => return,
            }
        }
    }
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod tests;
