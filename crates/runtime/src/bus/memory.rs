//! The bus inside one process: same rules, no network. For simulations and for tests of services.

use super::error::BusError;
use super::message::{Inlet, Raw, matches};
use consilium_contracts::Subjects;
use consilium_contracts::nats::MAX_PAYLOAD;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Connects the in-memory buses of any number of organisations.
#[derive(Clone, Default)]
pub struct MemoryHub(Arc<State>);

#[derive(Default)]
struct State {
    listeners: Mutex<Vec<Listener>>,
    waiting: Mutex<BTreeMap<String, oneshot::Sender<Raw>>>,
    next: AtomicU64,
    dropped: AtomicU64,
    twofold: AtomicBool,
}

struct Listener {
    pattern: String,
    queue: Option<String>,
    inlet: Inlet,
}

/// Removes a request's reply subject when the request ends, however it ends.
struct Waiting<'a> {
    hub: &'a MemoryHub,
    inbox: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.hub.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.inbox);
    }
}

impl MemoryHub {
    pub fn new() -> Self {
        Self::default()
    }

    /// Messages that a listener was too slow to take.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// From now on what may come from other organisations is delivered twice, answers aside, each time to whoever's turn
    /// it is: as between organisations that are joined by two hubs.
    pub fn deliver_twice(&self) {
        self.0.twofold.store(true, Ordering::Relaxed);
    }

    pub(super) fn subscribe(&self, pattern: &str, queue: Option<&str>, inlet: Inlet) {
        let listener = Listener { pattern: pattern.to_owned(), queue: queue.map(str::to_owned), inlet };
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    pub(super) fn publish(&self, message: Raw) -> Result<(), BusError> {
        self.deliver(message).map(|_| ())
    }

    pub(super) async fn request(&self, message: Raw, timeout: Duration) -> Result<Raw, BusError> {
        let subject = message.subject.clone();
        let inbox = format!("_INBOX.memory.{}", self.0.next.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(inbox.clone(), sender);
        let waiting = Waiting { hub: self, inbox };
        if !self.deliver(Raw { reply: Some(waiting.inbox.clone()), ..message })? {
            return Err(BusError::NoResponder(subject));
        }
        match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(BusError::Timeout(subject)),
        }
    }

    /// Whether anybody got it.
    fn deliver(&self, message: Raw) -> Result<bool, BusError> {
        let size = message.payload.len() + message.headers.size();
        if size > MAX_PAYLOAD {
            return Err(BusError::TooLarge { size: size as u64, limit: MAX_PAYLOAD as u64 });
        }
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&message.subject);
        if let Some(waiting) = waiting {
            return Ok(waiting.send(message).is_ok());
        }
        let delivered = self.pass_on(&message);
        if self.0.twofold.load(Ordering::Relaxed) && Subjects::reaches_across(&message.subject) {
            self.pass_on(&message);
        }
        Ok(delivered)
    }

    fn pass_on(&self, message: &Raw) -> bool {
        let mut listeners = self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|l| !l.inlet.is_closed());
        let mut groups: BTreeMap<(&str, &str), Vec<&Listener>> = BTreeMap::new();
        let mut chosen: Vec<&Listener> = Vec::new();
        for listener in listeners.iter().filter(|l| matches(&l.pattern, &message.subject)) {
            match &listener.queue {
                None => chosen.push(listener),
                Some(queue) => groups.entry((&listener.pattern, queue)).or_default().push(listener),
            }
        }
        let turn = usize::try_from(self.0.next.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
        for group in groups.values() {
            chosen.extend(turn.checked_rem(group.len()).and_then(|i| group.get(i)));
        }
        for listener in &chosen {
            // Like NATS, a listener that does not keep up loses messages; it never holds the sender back.
            if !listener.inlet.put(message.clone()) {
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        !chosen.is_empty()
    }
}

impl std::fmt::Debug for MemoryHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryHub")
    }
}
