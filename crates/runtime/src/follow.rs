//! Values that another service decides and that may change while this one runs.

use crate::{Bus, Kit};
use consilium_contracts::Message;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Patience with one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two questions where nobody answers.
const AGAIN: Duration = Duration::from_millis(200);

/// The newest value that is known.
#[derive(Debug)]
pub struct Followed<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Followed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Followed<T> {
    /// A value that does not change unless it is [`Followed::set`].
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    pub fn get(&self) -> Arc<T> {
        // A value is replaced whole, so a panic elsewhere leaves none half written.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// Asks again until somebody answers; `None` when `patience` is over.
pub async fn ask<Q: Message, A: Message + Default>(
    bus: &Bus,
    subject: &str,
    request: &Q,
    patience: Duration,
) -> Option<A> {
    let asking = async {
        loop {
            match bus.request_message(subject, request, PATIENCE).await {
                Ok(answer) => return answer,
                Err(error) => tracing::debug!(subject, %error, "asked in vain"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(patience, asking).await.ok()
}

/// Keeps a value up to date until shutdown, by asking every `period`. `read` takes the value out of an answer; where
/// there is none, or nobody answers, the last one stays.
pub fn follow<Q, A, T>(
    kit: &Kit,
    subject: String,
    request: Q,
    period: Duration,
    value: Followed<T>,
    read: impl Fn(A) -> Option<T> + Send + 'static,
) where
    Q: Message + 'static,
    A: Message + Default + 'static,
    T: PartialEq + Send + Sync + 'static,
{
    let (bus, shutdown) = (kit.bus.clone(), kit.shutdown.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                answer = bus.request_message::<Q, A>(&subject, &request, PATIENCE) => {
                    if let Some(new) = answer.ok().and_then(&read)
                        && *value.get() != new
                    {
                        tracing::info!(subject, "a followed value has changed");
                        value.set(new);
                    }
                }
            }
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(period) => {}
            }
        }
    });
}
