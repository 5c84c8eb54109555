//! Answering requests.

use super::error::BusError;
use super::metrics::verb;
use super::subscription::Incoming;
use super::{Bus, Subscription};
use consilium_contracts::Message;
use futures::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::Instrument;

/// Longest wait for one more request after shutdown has begun.
const DRAIN: Duration = Duration::from_secs(2);

impl Bus {
    /// Answers every request at `subject` with what `handler` returns, up to `concurrency` at a time, until
    /// shutdown; then unsubscribes, and answers those that have arrived.
    ///
    /// Returns when subscribed; the work goes on in the background. A handler that panics refuses its
    /// request with `internal` and harms no other.
    pub async fn serve<H, F, R>(
        &self,
        subject: &str,
        queue: Option<&str>,
        concurrency: usize,
        handler: H,
    ) -> Result<(), BusError>
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = R> + Send + 'static,
        R: Into<Answer> + Send + 'static,
    {
        let requests = self.subscribe(subject, queue).await?;
        tokio::spawn(self.clone().accept(requests, concurrency.max(1), Arc::new(handler)));
        Ok(())
    }

    /// [`Bus::serve`] in protobuf. A request that does not decode is refused with `undecodable`.
    pub async fn serve_messages<Q, A, H, F>(
        &self,
        subject: &str,
        queue: Option<&str>,
        concurrency: usize,
        handler: H,
    ) -> Result<(), BusError>
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        H: Fn(Q) -> F + Send + Sync + 'static,
        F: Future<Output = A> + Send + 'static,
    {
        let some = move |request| {
            let answer = handler(request);
            async move { Some(answer.await) }
        };
        self.serve_some_messages(subject, queue, concurrency, some).await
    }

    /// [`Bus::serve_messages`] with a handler that may leave a request unanswered.
    pub async fn serve_some_messages<Q, A, H, F>(
        &self,
        subject: &str,
        queue: Option<&str>,
        concurrency: usize,
        handler: H,
    ) -> Result<(), BusError>
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        H: Fn(Q) -> F + Send + Sync + 'static,
        F: Future<Output = Option<A>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.serve(subject, queue, concurrency, move |incoming: Incoming| {
            let handler = Arc::clone(&handler);
            async move {
                match incoming.decode::<Q>() {
                    Ok(request) => handler(request)
                        .await
                        .map_or(Answer::Silence, |answer| Answer::Payload(answer.encode_to_vec())),
                    Err(_) => Answer::Refused("undecodable"),
                }
            }
        })
        .await
    }

    async fn accept<H, F, R>(self, mut requests: Subscription, concurrency: usize, handler: Arc<H>)
    where
        H: Fn(Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = R> + Send + 'static,
        R: Into<Answer> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(concurrency));
        let shutdown = self.0.parts.shutdown.clone();
        // Held so that the process stays until the last request that arrived is answered.
        let _serving = shutdown.guard();
        let mut draining = false;
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let incoming = tokio::select! {
                () = shutdown.wait(), if !draining => {
                    // What has arrived is still answered; the next request goes to another member.
                    draining = true;
                    requests.drain();
                    continue;
                }
                incoming = next(&mut requests, draining) => incoming,
            };
            let Some(incoming) = incoming else { return };
            let (bus, handler, guard) = (self.clone(), Arc::clone(&handler), shutdown.guard());
            tokio::spawn(async move {
                bus.handle(incoming, &*handler).await;
                drop((slot, guard));
            });
        }
    }

    async fn handle<H, F, R>(&self, incoming: Incoming, handler: &H)
    where
        H: Fn(Incoming) -> F,
        F: Future<Output = R> + Send + 'static,
        R: Into<Answer> + Send + 'static,
    {
        let (replier, span) = (incoming.replier(), incoming.span());
        let subject = incoming.subject.clone();
        let label = verb(&subject);
        let start = self.0.parts.clock.monotonic();
        let work = async { handler(incoming).await };
        let answer = AssertUnwindSafe(work.instrument(span)).catch_unwind().await.map(R::into);
        let sent = match answer {
            Ok(Answer::Payload(payload)) => match replier.reply(payload).await {
                // The requester learns at once that there will be no answer.
                Err(error @ (BusError::TooLarge { .. } | BusError::Busy)) => {
                    replier.refuse("answer-too-large").await.and(Err(error))
                }
                sent => sent,
            },
            Ok(Answer::Silence) => Ok(()),
            Ok(Answer::Refused(code)) => {
                self.0.metrics.failures.inc(&[label, code]);
                replier.refuse(code).await
            }
            Err(_) => {
                self.0.metrics.failures.inc(&[label, "panic"]);
                replier.refuse("internal").await
            }
        };
        if let Err(error) = sent {
            tracing::warn!(verb = label, %error, "an answer was not sent");
            self.0.metrics.failures.inc(&[label, "unanswered"]);
        }
        self.0.metrics.handled.observe(&[label], self.0.parts.clock.monotonic().saturating_sub(start));
    }
}

/// The next request; when draining, waits only a moment: without a connection the end never comes.
async fn next(requests: &mut Subscription, draining: bool) -> Option<Incoming> {
    if draining { tokio::time::timeout(DRAIN, requests.next()).await.ok()? } else { requests.next().await }
}

/// What a handler gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Payload(Vec<u8>),
    /// The request was not handled; a stable kebab-case code from a small set.
    Refused(&'static str),
    /// Nothing is sent: somebody else answers, or nobody should.
    Silence,
}

impl From<Vec<u8>> for Answer {
    fn from(payload: Vec<u8>) -> Self {
        Self::Payload(payload)
    }
}
