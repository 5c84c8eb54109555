//! The log: appends in one order, sealed on disk, and gives proofs of what it holds.

use crate::event::{EventError, Facts};
use crate::seal::{Seal, SealError};
use crate::tree;
use consilium_domain::merkle::{Frontier, Inclusion, leaf_hash};
use consilium_domain::{Clock, Digest};
use consilium_runtime::{Counter, Gauge, Meter};
use consilium_store::sql::StoreError;
use consilium_store::sql::audit::{AppendError, AuditLog, NewEvent, StoredEvent};
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::Mutex;

/// Most events of one request.
pub const MAX_EVENTS: usize = 10_000;

/// Why the log did not do it. Nothing was appended.
#[derive(Debug, Error)]
pub enum LogError {
    #[error("event {index} of the request: {error}")]
    Event { index: usize, error: EventError },
    #[error("a request may bring {MAX_EVENTS} events")]
    TooMany,
    #[error("an event could not be sealed")]
    Unsealable,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("the log was written to by someone else: is a second audit service running on this database?")]
    Moved,
    #[error("the log's tree is incomplete: restore the database from a backup")]
    Incomplete,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LogError {
    /// Stable code for the bus.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Event { .. } | Self::TooMany => "invalid",
            _ => "unavailable",
        }
    }
}

/// An event as it is shown.
pub struct Entry {
    pub stored: StoredEvent,
    /// The event's bytes as they were appended.
    pub json: Vec<u8>,
    pub facts: Facts,
}

pub struct Log {
    pub store: AuditLog,
    seal: Seal,
    clock: Arc<dyn Clock>,
    frontier: Mutex<Frontier>,
    appended: Counter,
    size: Gauge,
}

impl Log {
    pub async fn open(
        store: AuditLog,
        seal: Seal,
        clock: Arc<dyn Clock>,
        meter: &Meter,
    ) -> anyhow::Result<Self> {
        let appended = meter.counter("events_total", "AuditEvents appended", &["kind"])?;
        let size = meter.gauge("log_events", "Events in the log", &[])?;
        let frontier = restore(&store).await?;
        size.set(&[], frontier.size() as f64);
        Ok(Self { store, seal, clock, frontier: Mutex::new(frontier), appended, size })
    }

    /// Appends events and returns the number of the first one that was new. Idempotent by the events' ids; durable
    /// when it returns.
    pub async fn append(&self, events: Vec<Vec<u8>>) -> Result<u64, LogError> {
        if events.len() > MAX_EVENTS {
            return Err(LogError::TooMany);
        }
        let mut facts = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            facts.push(Facts::read(event).map_err(|error| LogError::Event { index, error })?);
        }
        let mut frontier = self.frontier.lock().await;
        let first = frontier.size();
        let (mut rows, mut hashes, mut grown) = (Vec::new(), Vec::new(), frontier.clone());
        let mut seen = BTreeSet::new();
        for (event, f) in events.iter().zip(&facts) {
            let event_id = self.seal.blind("event", &f.id);
            if !seen.insert(event_id.clone()) || self.store.find(&event_id).await?.is_some() {
                continue;
            }
            let (seq, leaf) = (grown.size(), leaf_hash(event));
            rows.push(NewEvent {
                event_id,
                event: self.seal.seal(seq, event).ok_or(LogError::Unsealable)?,
                leaf,
                recorded_ms: self.clock.now().0,
                kind: f.kind.clone(),
                action: f.action.clone(),
                outcome: f.outcome.clone(),
                agent: Some(self.seal.blind("agent", &f.agent)),
                patients: f.patients.iter().map(|p| self.seal.blind("patient", p)).collect(),
            });
            tree::push(&mut grown, leaf, &mut hashes);
        }
        if rows.is_empty() {
            return Ok(first);
        }
        match self.store.append(first, &rows, &hashes).await {
            Ok(()) => {}
            Err(AppendError::Store(e)) => {
                // Whether it was committed is unknown: the store says, before the next append.
                *frontier = restore(&self.store).await?;
                return Err(e.into());
            }
            Err(AppendError::Moved { .. } | AppendError::Duplicate) => {
                *frontier = restore(&self.store).await?;
                return Err(LogError::Moved);
            }
        }
        *frontier = grown;
        self.size.set(&[], frontier.size() as f64);
        for row in &rows {
            self.appended.inc(&[&row.kind]);
        }
        Ok(first)
    }

    /// Opens a stored event.
    pub fn entry(&self, stored: StoredEvent) -> Result<Entry, LogError> {
        let json = self.seal.open(stored.seq, &stored.event)?;
        let facts = Facts::read(&json).map_err(|error| LogError::Event { index: 0, error })?;
        Ok(Entry { stored, json, facts })
    }

    /// Newest events about a patient (`Patient/id`).
    pub async fn of_patient(
        &self,
        patient: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Entry>, LogError> {
        let found = self.store.by_patient(&self.seal.blind("patient", patient), before, limit).await?;
        found.into_iter().map(|e| self.entry(e)).collect()
    }

    /// Root of the first `size` events.
    pub async fn root(&self, size: u64) -> Result<Digest, LogError> {
        self.hash(&tree::range(0, size)).await
    }

    /// Proof that event `index` is among the first `size`.
    pub async fn inclusion(&self, index: u64, size: u64) -> Result<Option<Inclusion>, LogError> {
        let Some(terms) = tree::inclusion(index, size) else { return Ok(None) };
        Ok(Some(Inclusion { index, size, path: self.hash_all(&terms).await? }))
    }

    /// Proof that the first `old` events are a prefix of the first `new`.
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Option<Vec<Digest>>, LogError> {
        match tree::consistency(old, new) {
            None => Ok(None),
            Some(terms) => self.hash_all(&terms).await.map(Some),
        }
    }

    async fn hash_all(&self, terms: &[tree::Term]) -> Result<Vec<Digest>, LogError> {
        let mut out = Vec::with_capacity(terms.len());
        for term in terms {
            out.push(self.hash(term).await?);
        }
        Ok(out)
    }

    async fn hash(&self, term: &tree::Term) -> Result<Digest, LogError> {
        Ok(tree::fold(&nodes(&self.store, term).await?))
    }
}

async fn nodes(store: &AuditLog, term: &tree::Term) -> Result<Vec<Digest>, LogError> {
    let mut hashes = Vec::with_capacity(term.len());
    for node in term {
        let found = store.hashes(node.level, node.position, node.position + 1).await?;
        hashes.push(*found.first().ok_or(LogError::Incomplete)?);
    }
    Ok(hashes)
}

async fn restore(store: &AuditLog) -> Result<Frontier, LogError> {
    let size = store.size().await?;
    let peaks = nodes(store, &tree::range(0, size)).await?;
    Frontier::from_parts(size, peaks).ok_or(LogError::Incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_domain::Timestamp;
    use consilium_domain::merkle::verify_consistency;
    use consilium_store::sql::Sql;
    use std::time::Duration;

    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp(1_795_355_269_000)
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn event(i: usize) -> Vec<u8> {
        format!(
            r#"{{"resourceType":"AuditEvent","id":"e{i}","type":{{"code":"rest"}},"subtype":[{{"code":"read"}}],"recorded":"2026-11-22T10:00:00Z","agent":[{{"requestor":true,"who":{{"display":"Dr Planted"}}}}],"entity":[{{"what":{{"reference":"Patient/p{}"}}}}]}}"#,
            i % 3
        )
        .into_bytes()
    }

    async fn open(file: &std::path::Path) -> (Log, Sql) {
        let sql = Sql::open(&format!("sqlite://{}?mode=rwc", file.display()), 2).await.unwrap();
        let seal = Seal::new(&[5; 32]).unwrap();
        (Log::open(AuditLog::new(&sql), seal, Arc::new(Fixed), &Meter::new("audit")).await.unwrap(), sql)
    }

    #[tokio::test]
    async fn appends_survive_a_restart_repeat_nothing_and_hide_what_they_say() {
        let dir = std::env::temp_dir().join(format!("consilium-audit-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("audit.db");
        let (log, sql) = open(&file).await;
        assert_eq!(log.append((0..5).map(event).collect()).await.unwrap(), 0);
        assert_eq!(log.append(vec![event(3), event(5), event(5)]).await.unwrap(), 5);
        assert_eq!(log.store.size().await.unwrap(), 6);
        let old = log.root(6).await.unwrap();
        sql.close().await;
        let (log, sql) = open(&file).await;
        log.append((6..20).map(event).collect()).await.unwrap();
        let new = log.root(20).await.unwrap();
        assert!(verify_consistency(6, &old, 20, &new, &log.consistency(6, 20).await.unwrap().unwrap()));
        for i in 0..20 {
            let p = log.inclusion(i, 20).await.unwrap().unwrap();
            assert!(p.verify(&leaf_hash(&event(i as usize)), &new));
        }
        let mine = log.of_patient("Patient/p1", None, 100).await.unwrap();
        assert_eq!(mine.len(), 7);
        assert!(mine.iter().all(|e| e.facts.patients == ["Patient/p1"]));
        assert!(matches!(log.append(vec![b"{}".to_vec()]).await, Err(LogError::Event { index: 0, .. })));
        sql.close().await;
        for f in std::fs::read_dir(&dir).unwrap() {
            let bytes = std::fs::read(f.unwrap().path()).unwrap();
            for secret in ["Dr Planted", "Patient/p"] {
                assert!(
                    !bytes.windows(secret.len()).any(|w| w == secret.as_bytes()),
                    "{secret} is on the disk"
                );
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
