//! Graceful shutdown: one signal, and guards that keep the process until started work is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Says when to stop, and counts the work that should be finished first.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<State>);

#[derive(Debug)]
struct State {
    begun: watch::Sender<bool>,
    guards: AtomicUsize,
    released: Notify,
}

/// Keeps the process from ending (up to the grace period) until dropped.
#[derive(Debug)]
pub struct Guard(Arc<State>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.guards.fetch_sub(1, Ordering::AcqRel);
        self.0.released.notify_waiters();
    }
}

impl Shutdown {
    pub fn new() -> Self {
        Self(Arc::new(State {
            begun: watch::Sender::new(false),
            guards: AtomicUsize::new(0),
            released: Notify::new(),
        }))
    }

    /// Begins the shutdown; a second call does nothing.
    pub fn trigger(&self) {
        self.0.begun.send_replace(true);
    }

    /// Whether shutdown has begun.
    pub fn triggered(&self) -> bool {
        *self.0.begun.borrow()
    }

    /// Returns once shutdown has begun; at once if it has already. Cancel-safe.
    pub async fn wait(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.0.begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// Marks a piece of work that the process should finish before it ends.
    pub fn guard(&self) -> Guard {
        self.0.guards.fetch_add(1, Ordering::AcqRel);
        Guard(Arc::clone(&self.0))
    }

    /// Waits until no guard is held; `false` when `grace` is over before that.
    pub async fn drained(&self, grace: Duration) -> bool {
        let idle = async {
            loop {
                let released = self.0.released.notified();
                tokio::pin!(released);
                released.as_mut().enable();
                if self.0.guards.load(Ordering::Acquire) == 0 {
                    return;
                }
                released.await;
            }
        };
        tokio::time::timeout(grace, idle).await.is_ok()
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guard_holds_the_end_back() {
        let shutdown = Shutdown::new();
        let guard = shutdown.guard();
        shutdown.trigger();
        shutdown.wait().await;
        assert!(!shutdown.drained(Duration::from_millis(20)).await);
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.drained(Duration::from_secs(10)).await }
        });
        tokio::task::yield_now().await;
        drop(guard);
        assert!(waiting.await.unwrap());
    }
}
