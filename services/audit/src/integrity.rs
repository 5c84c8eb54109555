//! The log checks itself: every event still opens, hashes to its leaf, and the tree still has the anchored root.

use crate::log::Log;
use consilium_domain::Timestamp;
use consilium_domain::merkle::{Frontier, leaf_hash};
use consilium_runtime::Kit;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// What the last check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Verdict {
    /// No check is through yet, or the last one could not read the log: an old verdict says nothing about it.
    #[default]
    Unknown,
    /// All events are as anchored.
    Intact { events: u64, anchored: u64, block: u64, at: Timestamp },
    /// The first event that is not what was logged; `None`: they are all readable, but the anchored root differs.
    Altered { first: Option<u64>, at: Timestamp },
}

/// Shared by the checker and the pages.
#[derive(Debug, Clone, Default)]
pub struct State(Arc<RwLock<Verdict>>);

impl State {
    pub fn get(&self) -> Verdict {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn set(&self, v: Verdict) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = v;
    }
}

/// Events read at a time.
const PAGE: u64 = 500;

/// Checks the whole log every `interval` until shutdown.
pub async fn run(kit: Kit, log: Arc<Log>, state: State, interval: Duration) {
    // The first check comes soon, so that a fresh dashboard has something to say.
    let mut wait = interval.min(Duration::from_secs(3));
    loop {
        tokio::select! {
            () = kit.shutdown.wait() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = interval;
        state.set(verdict(&log, kit.clock.now()).await);
    }
}

/// What a check found, said in the service's own log too.
pub async fn verdict(log: &Log, at: Timestamp) -> Verdict {
    match check(log, at).await {
        Ok(verdict) => {
            if let Verdict::Altered { first, .. } = &verdict {
                tracing::error!(first = ?first, "the audit log was altered");
            }
            verdict
        }
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "the audit log could not be checked");
            Verdict::Unknown
        }
    }
}

/// One pass over the log.
async fn check(log: &Log, at: Timestamp) -> anyhow::Result<Verdict> {
    let anchor = log.store.newest_anchor().await?;
    let size = log.store.size().await?;
    let mut frontier = Frontier::default();
    let mut anchored_root = None;
    let (mut from, anchored) = (0, anchor.as_ref().map_or(0, |a| a.size));
    while from < size {
        let to = (from + PAGE).min(size);
        let mut expected = from;
        for stored in log.store.range(from, to).await? {
            let seq = stored.seq;
            let leaf = stored.leaf;
            let same = seq == expected && log.entry(stored).is_ok_and(|e| leaf_hash(&e.json) == leaf);
            if !same {
                return Ok(Verdict::Altered { first: Some(expected.min(seq)), at });
            }
            frontier.push(leaf);
            if frontier.size() == anchored {
                anchored_root = Some(frontier.root());
            }
            expected += 1;
        }
        if expected != to {
            return Ok(Verdict::Altered { first: Some(expected), at });
        }
        from = to;
        tokio::task::yield_now().await;
    }
    let Some(anchor) = anchor else { return Ok(Verdict::Unknown) };
    if anchored_root != Some(anchor.root) {
        return Ok(Verdict::Altered { first: None, at });
    }
    let block = anchor.committed.map_or(0, |(height, _)| height);
    Ok(Verdict::Intact { events: size, anchored, block, at })
}
