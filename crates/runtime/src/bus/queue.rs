//! What waits for a listener: bounded in number and bytes. A listener that does not keep up loses messages, knows
//! that it did, and never holds others back.

use super::message::Raw;
use crate::meter::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, watch};

/// Messages that may wait for one listener. Their memory is taken only as they come.
pub(super) const CAPACITY: usize = 65_536;
/// Bytes that may wait for one listener.
const BYTES: usize = 256 * 1024 * 1024;

struct Load {
    bytes: AtomicUsize,
    lost: watch::Sender<u64>,
    counter: Counter,
    verb: String,
}

/// Where the transport puts messages; clones share the queue.
#[derive(Clone)]
pub(super) struct Inlet {
    sender: mpsc::Sender<Raw>,
    load: Arc<Load>,
}

/// Where the listener takes them.
pub(super) struct Outlet {
    messages: mpsc::Receiver<Raw>,
    load: Arc<Load>,
}

/// A queue of one listener; what it loses is counted under `verb`.
pub(super) fn queue(counter: Counter, verb: &str) -> (Inlet, Outlet) {
    let (sender, messages) = mpsc::channel(CAPACITY);
    let (bytes, lost) = (AtomicUsize::new(0), watch::Sender::new(0));
    let load = Arc::new(Load { bytes, lost, counter, verb: verb.to_owned() });
    (Inlet { sender, load: Arc::clone(&load) }, Outlet { messages, load })
}

impl Inlet {
    /// Whether there was room.
    pub(super) fn put(&self, message: Raw) -> bool {
        let size = message.size();
        let before = self.load.bytes.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) <= BYTES && self.sender.try_send(message).is_ok() {
            return true;
        }
        self.load.bytes.fetch_sub(size, Ordering::Relaxed);
        if !self.sender.is_closed() {
            self.load.counter.inc(&[&self.load.verb]);
            self.load.lost.send_modify(|lost| *lost += 1);
        }
        false
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl Outlet {
    /// The next message; cancel-safe.
    pub(super) async fn recv(&mut self) -> Option<Raw> {
        let message = self.messages.recv().await?;
        self.load.bytes.fetch_sub(message.size(), Ordering::Relaxed);
        Some(message)
    }

    pub(super) fn close(&mut self) {
        self.messages.close();
    }

    /// How many messages were lost.
    pub(super) fn lost(&self) -> watch::Receiver<u64> {
        self.load.lost.subscribe()
    }
}
