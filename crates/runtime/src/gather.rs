//! Work that costs one item as much as many: what comes in at nearly the same time is done together. Who comes alone is
//! not kept waiting.

use consilium_domain::Clock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long one waits for company who came shortly after another.
pub const COMPANY: Duration = Duration::from_millis(5);

struct Waiting<T, R> {
    items: Vec<(T, oneshot::Sender<R>)>,
    /// A group is being gathered: whoever comes now belongs to it.
    gathering: bool,
    /// When the last group was closed.
    closed: Option<Duration>,
}

struct Inner<T, R> {
    waiting: Mutex<Waiting<T, R>>,
    work: Box<dyn Fn(Vec<T>) -> Vec<R> + Send + Sync>,
    clock: Arc<dyn Clock>,
    company: Duration,
}

/// The place where items meet. Clones are the same place.
pub struct Gather<T, R>(Arc<Inner<T, R>>);

impl<T, R> Clone for Gather<T, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static, R: Send + 'static> Gather<T, R> {
    /// `work` gives one result for each item, in their order.
    pub fn new(
        clock: Arc<dyn Clock>,
        company: Duration,
        work: impl Fn(Vec<T>) -> Vec<R> + Send + Sync + 'static,
    ) -> Self {
        let waiting = Mutex::new(Waiting { items: Vec::new(), gathering: false, closed: None });
        Self(Arc::new(Inner { waiting, work: Box::new(work), clock, company }))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T, R>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result for `item`; `None` when the work had none, or panicked.
    pub async fn add(&self, item: T) -> Option<R> {
        let (answer, result) = oneshot::channel();
        let now = self.0.clock.monotonic();
        let (first, busy) = {
            let mut waiting = self.lock();
            waiting.items.push((item, answer));
            let first = !std::mem::replace(&mut waiting.gathering, true);
            (first, waiting.closed.is_some_and(|at| now.saturating_sub(at) < self.0.company))
        };
        if first && busy {
            // In a task of its own: whoever came first may give up, the others still wait.
            let gather = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(gather.0.company).await;
                gather.close();
            });
        } else if first {
            self.close();
        }
        result.await.ok()
    }

    /// Does what has gathered.
    fn close(&self) {
        let items = {
            let mut waiting = self.lock();
            waiting.gathering = false;
            waiting.closed = Some(self.0.clock.monotonic());
            std::mem::take(&mut waiting.items)
        };
        let (items, answers): (Vec<T>, Vec<_>) = items.into_iter().unzip();
        for (answer, result) in answers.into_iter().zip((self.0.work)(items)) {
            // Nobody listens any more if the caller gave up.
            let _ = answer.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_domain::Timestamp;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Stands still until it is told otherwise.
    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Hand {
        fn advance(&self, ms: u64) {
            self.0.fetch_add(ms, Ordering::SeqCst);
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::SeqCst))
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    type Groups = Arc<Mutex<Vec<usize>>>;

    fn doubling(clock: &Arc<Hand>) -> (Gather<u32, u32>, Groups) {
        let groups = Groups::default();
        let seen = Arc::clone(&groups);
        let work = move |items: Vec<u32>| {
            seen.lock().unwrap().push(items.len());
            items.into_iter().map(|n| n * 2).collect()
        };
        (Gather::new(Arc::clone(clock) as _, Duration::from_millis(2), work), groups)
    }

    #[tokio::test]
    async fn who_comes_alone_does_not_wait_and_who_comes_together_is_served_together() {
        let clock = Arc::new(Hand::default());
        let (gather, groups) = doubling(&clock);
        for n in 0..3 {
            assert_eq!(gather.add(n).await, Some(2 * n));
            clock.advance(2);
        }
        assert_eq!(*groups.lock().unwrap(), [1, 1, 1]);
        // The clock stands still: they all come just after the first.
        let all = join_all((0..50).map(|n| gather.add(n))).await;
        assert_eq!(all, (0..50).map(|n| Some(2 * n)).collect::<Vec<_>>());
        assert_eq!(*groups.lock().unwrap(), [1, 1, 1, 1, 49]);
    }

    #[tokio::test]
    async fn others_are_served_when_the_first_gives_up() {
        let clock = Arc::new(Hand::default());
        let (gather, groups) = doubling(&clock);
        gather.add(0).await;
        let first = tokio::spawn({
            let gather = gather.clone();
            async move { gather.add(1).await }
        });
        let second = gather.add(2);
        tokio::pin!(second);
        // Both are in the queue before the first is dropped.
        tokio::task::yield_now().await;
        let _ = futures::poll!(&mut second);
        first.abort();
        assert_eq!(second.await, Some(4));
        assert_eq!(groups.lock().unwrap().iter().sum::<usize>(), 3);
    }
}
