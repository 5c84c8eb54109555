//! Messages that arrive.

use super::copies::{Arrival, Copies, Whole};
use super::error::BusError;
use super::message::{BLOB, ERROR, Headers, Listening, Raw};
use super::metrics::verb;
use super::{Bus, transfer};
use crate::propagation;
use consilium_contracts::{Message, Subjects};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

/// Large payloads that one subscription fetches, or waits to fetch, at a time.
const FETCHES: usize = 64;

/// Yields the messages of a subject. Dropping it unsubscribes.
pub struct Subscription {
    bus: Bus,
    raw: Listening,
    /// Nothing where no copies come: at subjects that never leave the organisation.
    copies: Option<Copies>,
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
    whole: Arc<Whole>,
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
    /// `across`: from other organisations, perhaps over several hubs.
    pub(super) fn new(bus: Bus, raw: Listening, across: bool) -> Self {
        let (fetches, fetched) = mpsc::channel(FETCHES);
        let copies = across.then(Copies::default);
        Self { bus, raw, copies, fetched, fetches, under_way: 0, ended: false }
    }

    /// Unsubscribes, so that no message is lost: [`Subscription::next`] yields what has arrived already, then
    /// `None`.
    pub fn drain(&mut self) {
        self.raw.drain();
    }

    /// How many messages were lost because too many waited here.
    pub fn lost(&self) -> watch::Receiver<u64> {
        self.raw.messages.lost()
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
                    let Some((raw, whole)) = self.admit(raw) else { continue };
                    if raw.headers.get(BLOB).is_none() {
                        return Some(Incoming::new(self.bus.clone(), raw, whole, None));
                    }
                    self.fetch(raw, whole).await;
                }
            }
        }
    }

    /// A message without its hub's label; nothing for one that has arrived already, whose sender gets the answer
    /// that the first copy got.
    fn admit(&mut self, mut raw: Raw) -> Option<(Raw, Arc<Whole>)> {
        let Some(copies) = &mut self.copies else {
            let whole = Arc::new(Whole::alone(raw.reply.take()));
            return Some((raw, whole));
        };
        let (published, link) = Subjects::split_label(&raw.subject);
        let (published, link) = (published.to_owned(), link.map(str::to_owned));
        raw.subject = published;
        let now = self.bus.0.parts.clock.monotonic();
        let label = verb(&raw.subject).to_owned();
        match copies.admit(raw, link.as_deref(), now) {
            Arrival::First(raw, whole) => Some((raw, whole)),
            Arrival::Copy(answer) => {
                self.bus.0.metrics.copies.inc(&[&label]);
                if let Some(answer) = answer {
                    let bus = self.bus.clone();
                    tokio::spawn(async move { bus.send(answer).await });
                }
                None
            }
        }
    }

    /// Fetches a large payload beside the others; one that cannot be had is refused and counted.
    async fn fetch(&mut self, raw: Raw, whole: Arc<Whole>) {
        let bus = self.bus.clone();
        let label = verb(&raw.subject).to_owned();
        if self.under_way >= FETCHES {
            bus.0.metrics.failures.inc(&[&label, "busy"]);
            let _ = Incoming::new(bus, raw, whole, None).refuse("busy").await;
            return;
        }
        self.under_way += 1;
        let fetches = self.fetches.clone();
        tokio::spawn(async move {
            // A published message comes from the organisation in its subject; a request from anybody.
            let sender = match whole.wants_reply() {
                false => bus.0.parts.subjects.owner_of(&raw.subject),
                true => None,
            };
            let Raw { subject, reply, headers, payload } = raw;
            let got = match bus.whole(headers.clone(), payload, sender.as_ref()).await {
                Ok((payload, memory)) => {
                    Some(Incoming::new(bus, Raw { subject, reply, headers, payload }, whole, memory))
                }
                Err(error) => {
                    tracing::warn!(verb = label, %error, "a large payload was not received");
                    bus.0.metrics.failures.inc(&[&label, "blob"]);
                    let empty = Raw { subject, reply, headers, payload: Vec::new() };
                    let _ = Incoming::new(bus, empty, whole, None).refuse("blob-unavailable").await;
                    None
                }
            };
            // Nobody waits any more once the subscription is dropped.
            let _ = fetches.send(got).await;
        });
    }
}

impl Incoming {
    fn new(bus: Bus, raw: Raw, whole: Arc<Whole>, memory: Option<OwnedSemaphorePermit>) -> Self {
        let Raw { subject, headers, payload, .. } = raw;
        Self { subject, headers, payload, replier: Replier { bus, whole }, _memory: memory }
    }

    /// Calls `each` once for every hub over which this message has come or will come: with the organisation that
    /// runs it, or with nothing for a message that no hub has labelled.
    pub fn on_each_link(&self, mut each: impl FnMut(Option<&str>) + Send + 'static) {
        let each = move |link: &str| each(Some(link).filter(|link| !link.is_empty()));
        self.replier.whole.on_each_link(Box::new(each));
    }

    pub(super) fn replier(&self) -> Replier {
        self.replier.clone()
    }

    /// Whether somebody waits for an answer.
    pub fn wants_reply(&self) -> bool {
        self.replier.whole.wants_reply()
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
        // Also where nobody seems to wait: a copy may come whose sender does.
        let (message, offer) = self.bus.outgoing("", payload)?;
        // The requester fetches it in its own time.
        offer.into_iter().for_each(transfer::Offer::leave);
        self.send(message).await
    }

    pub(super) async fn refuse(&self, code: &str) -> Result<(), BusError> {
        let mut headers = Headers::default();
        headers.insert(ERROR, code);
        self.send(Raw::headers_only(String::new(), headers)).await
    }

    /// To every copy's sender: which of the hubs hands an answer over is not known.
    async fn send(&self, answer: Raw) -> Result<(), BusError> {
        let mut sent = Ok(());
        for message in self.whole.answer(answer) {
            sent = sent.and(self.bus.send(message).await);
        }
        sent
    }
}
