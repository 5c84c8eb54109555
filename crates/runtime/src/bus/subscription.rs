//! Messages that arrive.

use super::error::BusError;
use super::message::{BLOB, ERROR, Headers, Listening, Raw};
use super::metrics::verb;
use super::{Bus, transfer};
use crate::propagation;
use consilium_contracts::Message;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Large payloads that one subscription fetches, or waits to fetch, at a time.
const FETCHES: usize = 64;

/// Yields the messages of a subject. Dropping it unsubscribes.
pub struct Subscription {
    bus: Bus,
    raw: Listening,
    fetched: mpsc::Receiver<Option<Incoming>>,
    fetches: mpsc::Sender<Option<Incoming>>,
    under_way: usize,
    ended: bool,
}

/// A message that has arrived, whole.
pub struct Incoming {
    pub subject: String,
    pub headers: Headers,
    pub payload: Vec<u8>,
    replier: Replier,
    // Stands for the memory of a fetched payload as long as somebody holds it.
    _memory: Option<OwnedSemaphorePermit>,
}

/// Where a message's answer goes.
#[derive(Clone)]
pub(super) struct Replier {
    bus: Bus,
    subject: Option<String>,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the payload: it may hold a patient's data.
        f.debug_struct("Incoming")
            .field("subject", &self.subject)
            .field("bytes", &self.payload.len())
            .finish()
    }
}

impl Subscription {
    pub(super) fn new(bus: Bus, raw: Listening) -> Self {
        let (fetches, fetched) = mpsc::channel(FETCHES);
        Self { bus, raw, fetched, fetches, under_way: 0, ended: false }
    }

    /// Unsubscribes, so that no message is lost: [`Subscription::next`] yields what has arrived already, then
    /// `None`.
    pub fn drain(&mut self) {
        self.raw.drain();
    }

    /// The next message; `None` when drained or when the bus is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            if self.ended && self.under_way == 0 {
                return None;
            }
            tokio::select! {
                Some(fetched) = self.fetched.recv() => {
                    self.under_way = self.under_way.saturating_sub(1);
                    if fetched.is_some() {
                        return fetched;
                    }
                }
                raw = self.raw.messages.recv(), if !self.ended => {
                    let Some(raw) = raw else {
                        self.ended = true;
                        continue;
                    };
                    if raw.headers.get(BLOB).is_none() {
                        return Some(Incoming::new(self.bus.clone(), raw, None));
                    }
                    self.fetch(raw).await;
                }
            }
        }
    }

    /// Fetches a large payload beside the others; one that cannot be had is refused and counted.
    async fn fetch(&mut self, raw: Raw) {
        let bus = self.bus.clone();
        let label = verb(&raw.subject).to_owned();
        if self.under_way >= FETCHES {
            bus.0.metrics.failures.inc(&[&label, "busy"]);
            let _ = Incoming::new(bus, raw, None).refuse("busy").await;
            return;
        }
        self.under_way += 1;
        let fetches = self.fetches.clone();
        tokio::spawn(async move {
            // A published message comes from the organisation in its subject; a request from anybody.
            let sender = match raw.reply {
                None => bus.0.parts.subjects.owner_of(&raw.subject),
                Some(_) => None,
            };
            let Raw { subject, reply, headers, payload } = raw;
            let got = match bus.whole(headers.clone(), payload, sender.as_ref()).await {
                Ok((payload, memory)) => {
                    Some(Incoming::new(bus, Raw { subject, reply, headers, payload }, memory))
                }
                Err(error) => {
                    tracing::warn!(verb = label, %error, "a large payload was not received");
                    bus.0.metrics.failures.inc(&[&label, "blob"]);
                    let empty = Raw { subject, reply, headers, payload: Vec::new() };
                    let _ = Incoming::new(bus, empty, None).refuse("blob-unavailable").await;
                    None
                }
            };
            // Nobody waits any more once the subscription is dropped.
            let _ = fetches.send(got).await;
        });
    }
}

impl Incoming {
    fn new(bus: Bus, raw: Raw, memory: Option<OwnedSemaphorePermit>) -> Self {
        let Raw { subject, reply, headers, payload } = raw;
        Self { subject, headers, payload, replier: Replier { bus, subject: reply }, _memory: memory }
    }

    pub(super) fn replier(&self) -> Replier {
        self.replier.clone()
    }

    /// Whether somebody waits for an answer.
    pub fn wants_reply(&self) -> bool {
        self.replier.subject.is_some()
    }

    /// The payload as protobuf.
    pub fn decode<M: Message + Default>(&self) -> Result<M, BusError> {
        M::decode(self.payload.as_slice()).map_err(|error| BusError::Decode(error.to_string()))
    }

    /// Answers; nothing is sent to a sender who wants no answer. The answer may be up to the blob limit.
    pub async fn reply(&self, payload: Vec<u8>) -> Result<(), BusError> {
        self.replier.reply(payload).await
    }

    /// Answers with protobuf.
    pub async fn reply_message<M: Message>(&self, message: &M) -> Result<(), BusError> {
        self.reply(message.encode_to_vec()).await
    }

    /// Tells the requester that the request was not handled; it gets [`BusError::Remote`] with `code`.
    pub async fn refuse(&self, code: &str) -> Result<(), BusError> {
        self.replier.refuse(code).await
    }

    /// A span whose parent is the sender's.
    pub fn span(&self) -> tracing::Span {
        let span = tracing::info_span!("bus handle", otel.kind = "server", verb = verb(&self.subject));
        propagation::extract(&span, |name| self.headers.get(name));
        span
    }
}

impl Replier {
    pub(super) async fn reply(&self, payload: Vec<u8>) -> Result<(), BusError> {
        let Some(subject) = &self.subject else { return Ok(()) };
        let (message, offer) = self.bus.outgoing(subject, payload)?;
        // The requester fetches it in its own time.
        offer.into_iter().for_each(transfer::Offer::leave);
        self.bus.send(message).await
    }

    pub(super) async fn refuse(&self, code: &str) -> Result<(), BusError> {
        let Some(subject) = &self.subject else { return Ok(()) };
        let mut headers = Headers::default();
        headers.insert(ERROR, code);
        self.bus.send(Raw::headers_only(subject.clone(), headers)).await
    }
}
