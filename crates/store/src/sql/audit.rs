//! The audit log of one organisation: events in a gapless order, the tree's hashes, the patients they are about,
//! the checkpoints that were anchored.

use super::records::digest;
use super::{Sql, StoreError, int, rows, uint};
use consilium_domain::Digest;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use thiserror::Error;

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Keyed hash or digest of the event's id: the key of idempotency.
    pub event_id: Vec<u8>,
    /// The event, sealed by the caller if the disk shall not show it.
    pub event: Vec<u8>,
    /// RFC 6962 leaf hash.
    pub leaf: Digest,
    pub recorded_ms: u64,
    /// Subtype code, e.g. `create`, `read`, `decision`.
    pub kind: String,
    /// AuditEvent.action: `C`, `R`, `U`, `D`, `E`.
    pub action: String,
    /// AuditEvent.outcome: `0`, `4`, `8`, `12`.
    pub outcome: String,
    /// Keyed hash of the acting person or system.
    pub agent: Option<Vec<u8>>,
    /// Keyed hashes of the patients concerned.
    pub patients: Vec<Vec<u8>>,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    pub seq: u64,
    pub event: Vec<u8>,
    pub leaf: Digest,
    pub recorded_ms: u64,
    pub kind: String,
    pub action: String,
    pub outcome: String,
}

/// Hash of a complete subtree of the log's tree: level 0 = leaves, `position` counts subtrees of the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHash {
    pub level: u32,
    pub position: u64,
    pub hash: Digest,
}

/// A checkpoint that was sent to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    pub size: u64,
    pub root: Digest,
    pub tx: Vec<u8>,
    /// Height and receipt parts once committed.
    pub committed: Option<(u64, Vec<u8>)>,
}

/// Why events were not appended. None was.
#[derive(Debug, Error)]
pub enum AppendError {
    #[error("the log has {actual} events, not {expected}: another writer appended")]
    Moved { expected: u64, actual: u64 },
    #[error("an event of the request is in the log already")]
    Duplicate,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The append-only log. There is no method that changes or removes an event.
#[derive(Debug, Clone)]
pub struct AuditLog {
    sql: Sql,
}

const SELECT: &str =
    "SELECT e.seq, e.event, e.leaf, e.recorded_ms, e.kind, e.action, e.outcome FROM audit_events e";
const CHUNK: usize = 500;

fn from_row(row: &AnyRow) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        seq: uint(row.try_get(0)?, "audit_events.seq")?,
        event: row.try_get(1)?,
        leaf: digest(row, 2, "audit_events.leaf")?,
        recorded_ms: uint(row.try_get(3)?, "audit_events.recorded_ms")?,
        kind: row.try_get(4)?,
        action: row.try_get(5)?,
        outcome: row.try_get(6)?,
    })
}

fn before(seq: Option<u64>) -> i64 {
    seq.map_or(i64::MAX, int)
}

impl AuditLog {
    pub fn new(sql: &Sql) -> Self {
        Self { sql: sql.clone() }
    }

    /// Number of events: sequence numbers run from 0 to one less.
    pub async fn size(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT CAST(COALESCE(MAX(seq) + 1, 0) AS BIGINT) FROM audit_events")
            .fetch_one(&self.sql.write)
            .await?;
        uint(row.try_get(0)?, "audit_events.seq")
    }

    /// Appends events from sequence number `first`, which must be the log's size, together with the hashes of the
    /// subtrees they complete (level 0 included). All or nothing; durable when it returns.
    pub async fn append(
        &self,
        first: u64,
        events: &[NewEvent],
        hashes: &[TreeHash],
    ) -> Result<(), AppendError> {
        let mut tx = self.sql.write.begin().await.map_err(StoreError::from)?;
        let row = sqlx::query("SELECT CAST(COALESCE(MAX(seq) + 1, 0) AS BIGINT) FROM audit_events")
            .fetch_one(&mut *tx)
            .await
            .map_err(StoreError::from)?;
        let actual = uint(row.try_get(0).map_err(StoreError::from)?, "audit_events.seq")?;
        if actual != first {
            return Err(AppendError::Moved { expected: first, actual });
        }
        let mut patients: Vec<(Vec<u8>, i64)> = Vec::new();
        for (i, event) in events.iter().enumerate() {
            let seq = int(first + i as u64);
            let done = sqlx::query(
                "INSERT INTO audit_events (seq, event_id, event, leaf, recorded_ms, kind, action, outcome, agent) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            )
            .bind(seq)
            .bind(event.event_id.clone())
            .bind(event.event.clone())
            .bind(event.leaf.0.to_vec())
            .bind(int(event.recorded_ms))
            .bind(event.kind.clone())
            .bind(event.action.clone())
            .bind(event.outcome.clone())
            .bind(event.agent.clone())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::from);
            match done {
                Ok(_) => {}
                Err(e) if e.is_unique() => return Err(AppendError::Duplicate),
                Err(e) => return Err(e.into()),
            }
            let mut of_event = event.patients.clone();
            of_event.sort();
            of_event.dedup();
            patients.extend(of_event.into_iter().map(|p| (p, seq)));
        }
        for chunk in patients.chunks(CHUNK) {
            let text = format!("INSERT INTO audit_patients (patient, seq) VALUES {}", rows(chunk.len(), 2));
            let mut query = sqlx::query(AssertSqlSafe(text));
            for (patient, seq) in chunk {
                query = query.bind(patient.clone()).bind(*seq);
            }
            query.execute(&mut *tx).await.map_err(StoreError::from)?;
        }
        for chunk in hashes.chunks(CHUNK) {
            let text =
                format!("INSERT INTO audit_hashes (level, position, hash) VALUES {}", rows(chunk.len(), 3));
            let mut query = sqlx::query(AssertSqlSafe(text));
            for h in chunk {
                query = query.bind(i64::from(h.level)).bind(int(h.position)).bind(h.hash.0.to_vec());
            }
            query.execute(&mut *tx).await.map_err(StoreError::from)?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Sequence number of an event by its id's hash.
    pub async fn find(&self, event_id: &[u8]) -> Result<Option<u64>, StoreError> {
        let row = sqlx::query("SELECT seq FROM audit_events WHERE event_id = $1")
            .bind(event_id.to_vec())
            .fetch_optional(&self.sql.write)
            .await?;
        row.map(|r| uint(r.try_get(0)?, "audit_events.seq")).transpose()
    }

    /// One event.
    pub async fn by_seq(&self, seq: u64) -> Result<Option<StoredEvent>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("{SELECT} WHERE e.seq = $1")))
            .bind(int(seq))
            .fetch_optional(&self.sql.read)
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Events with a sequence number in `from..to`, ascending: for reports and for checking the log.
    pub async fn range(&self, from: u64, to: u64) -> Result<Vec<StoredEvent>, StoreError> {
        let found =
            sqlx::query(AssertSqlSafe(format!("{SELECT} WHERE e.seq >= $1 AND e.seq < $2 ORDER BY e.seq")))
                .bind(int(from))
                .bind(int(to))
                .fetch_all(&self.sql.read)
                .await?;
        found.iter().map(from_row).collect()
    }

    /// The newest events below `before`, newest first; `kind` narrows.
    pub async fn page(
        &self,
        before_seq: Option<u64>,
        kind: Option<&str>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let narrowed = if kind.is_some() { " AND e.kind = $3" } else { "" };
        let text = format!("{SELECT} WHERE e.seq < $1{narrowed} ORDER BY e.seq DESC LIMIT $2");
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(before(before_seq)).bind(i64::from(limit));
        if let Some(kind) = kind {
            query = query.bind(kind.to_owned());
        }
        let found = query.fetch_all(&self.sql.read).await?;
        found.iter().map(from_row).collect()
    }

    /// Events about a patient (by keyed hash) below `before`, newest first.
    pub async fn by_patient(
        &self,
        patient: &[u8],
        before_seq: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let text = format!(
            "{SELECT} JOIN audit_patients p ON p.seq = e.seq WHERE p.patient = $1 AND p.seq < $2 \
             ORDER BY p.seq DESC LIMIT $3"
        );
        let found = sqlx::query(AssertSqlSafe(text))
            .bind(patient.to_vec())
            .bind(before(before_seq))
            .bind(i64::from(limit))
            .fetch_all(&self.sql.read)
            .await?;
        found.iter().map(from_row).collect()
    }

    /// Numbers of events by (kind, outcome) recorded in `from_ms..to_ms`.
    pub async fn counts(&self, from_ms: u64, to_ms: u64) -> Result<Vec<(String, String, u64)>, StoreError> {
        let found = sqlx::query(
            "SELECT kind, outcome, CAST(COUNT(*) AS BIGINT) FROM audit_events WHERE recorded_ms >= $1 AND \
             recorded_ms < $2 GROUP BY kind, outcome ORDER BY kind, outcome",
        )
        .bind(int(from_ms))
        .bind(int(to_ms))
        .fetch_all(&self.sql.read)
        .await?;
        found.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?, uint(r.try_get(2)?, "count")?))).collect()
    }

    /// Hashes of a level with positions in `from..to`, ascending.
    pub async fn hashes(&self, level: u32, from: u64, to: u64) -> Result<Vec<Digest>, StoreError> {
        let found = sqlx::query(
            "SELECT hash FROM audit_hashes WHERE level = $1 AND position >= $2 AND position < $3 ORDER BY position",
        )
        .bind(i64::from(level))
        .bind(int(from))
        .bind(int(to))
        .fetch_all(&self.sql.read)
        .await?;
        found.iter().map(|r| digest(r, 0, "audit_hashes.hash")).collect()
    }

    /// Leaf hashes `from..to`, ascending, from the events themselves.
    pub async fn leaves(&self, from: u64, to: u64) -> Result<Vec<Digest>, StoreError> {
        let found = sqlx::query("SELECT leaf FROM audit_events WHERE seq >= $1 AND seq < $2 ORDER BY seq")
            .bind(int(from))
            .bind(int(to))
            .fetch_all(&self.sql.read)
            .await?;
        found.iter().map(|r| digest(r, 0, "audit_events.leaf")).collect()
    }

    /// Notes a checkpoint before it is sent to the ledger. Idempotent by size; durable when it returns.
    pub async fn put_anchor(&self, size: u64, root: &Digest, tx: &[u8]) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO audit_anchors (size, root, tx) VALUES ($1, $2, $3) ON CONFLICT (size) DO UPDATE SET tx = excluded.tx",
        )
        .bind(int(size))
        .bind(root.0.to_vec())
        .bind(tx.to_vec())
        .execute(&self.sql.write)
        .await?;
        Ok(())
    }

    /// The checkpoint is on the ledger. Durable when it returns.
    pub async fn commit_anchor(&self, size: u64, height: u64, proof: &[u8]) -> Result<(), StoreError> {
        sqlx::query("UPDATE audit_anchors SET height = $2, proof = $3 WHERE size = $1")
            .bind(int(size))
            .bind(int(height))
            .bind(proof.to_vec())
            .execute(&self.sql.write)
            .await?;
        Ok(())
    }

    /// Drops a checkpoint that the ledger refused. One that is committed stays.
    pub async fn drop_anchor(&self, size: u64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM audit_anchors WHERE size = $1 AND height IS NULL")
            .bind(int(size))
            .execute(&self.sql.write)
            .await?;
        Ok(())
    }

    /// Checkpoints of at least `size`, smallest first.
    pub async fn anchors(&self, size: u64, limit: u32) -> Result<Vec<Anchor>, StoreError> {
        let found = sqlx::query(
            "SELECT size, root, tx, height, proof FROM audit_anchors WHERE size >= $1 ORDER BY size LIMIT $2",
        )
        .bind(int(size))
        .bind(i64::from(limit))
        .fetch_all(&self.sql.read)
        .await?;
        found.iter().map(anchor).collect()
    }

    /// The newest checkpoint on the ledger.
    pub async fn newest_anchor(&self) -> Result<Option<Anchor>, StoreError> {
        let row = sqlx::query(
            "SELECT size, root, tx, height, proof FROM audit_anchors WHERE height IS NOT NULL ORDER BY size DESC LIMIT 1",
        )
        .fetch_optional(&self.sql.read)
        .await?;
        row.as_ref().map(anchor).transpose()
    }
}

fn anchor(row: &AnyRow) -> Result<Anchor, StoreError> {
    let height: Option<i64> = row.try_get(3)?;
    let proof: Option<Vec<u8>> = row.try_get(4)?;
    let committed = match (height, proof) {
        (Some(h), Some(p)) => Some((uint(h, "audit_anchors.height")?, p)),
        _ => None,
    };
    Ok(Anchor {
        size: uint(row.try_get(0)?, "audit_anchors.size")?,
        root: digest(row, 1, "audit_anchors.root")?,
        tx: row.try_get(2)?,
        committed,
    })
}
