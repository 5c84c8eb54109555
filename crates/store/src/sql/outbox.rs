//! Ledger transactions that must not be lost: written with the records they are about, delivered until the ledger
//! answers. NATS carries, it never remembers.

use super::records::digest;
use super::{Sql, StoreError, int, uint};
use consilium_domain::Digest;
use sqlx::AnyConnection;
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// What the transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Batch,
    Consent,
    /// A consent change is on the ledger, and the patient's key classes do not follow it yet.
    Rekey,
    /// Something was destroyed, which the ledger does not say yet.
    Erasure,
}

impl Kind {
    fn code(self) -> i64 {
        match self {
            Self::Batch => 1,
            Self::Consent => 2,
            Self::Rekey => 3,
            Self::Erasure => 4,
        }
    }
    fn from_code(code: i64) -> Result<Self, StoreError> {
        match code {
            1 => Ok(Self::Batch),
            2 => Ok(Self::Consent),
            3 => Ok(Self::Rekey),
            4 => Ok(Self::Erasure),
            _ => Err(StoreError::Corrupt("outbox.kind")),
        }
    }
}

/// A row of the outbox: waiting, because delivered ones are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Batch root, or the digest by which a consent change is known.
    pub key: Digest,
    pub kind: Kind,
    /// Absent: the batch still lacks its attestations.
    pub tx: Option<Vec<u8>>,
    /// Last height at which the transaction may enter a block; 0 = no limit.
    pub expires: u64,
    pub attempts: u32,
}

/// A row to write.
#[derive(Debug, Clone)]
pub struct NewEntry {
    pub key: Digest,
    pub kind: Kind,
    pub tx: Option<Vec<u8>>,
    pub expires: u64,
    /// When a worker may take it, milliseconds since the epoch.
    pub next_ms: u64,
}

/// The outbox of the ingest service.
#[derive(Debug, Clone)]
pub struct Outbox {
    sql: Sql,
}

fn from_row(row: &AnyRow) -> Result<Entry, StoreError> {
    Ok(Entry {
        key: digest(row, 0, "outbox.batch")?,
        kind: Kind::from_code(row.try_get(1)?)?,
        tx: row.try_get(2)?,
        expires: uint(row.try_get(3)?, "outbox.expires")?,
        attempts: u32::try_from(row.try_get::<i64, _>(4)?)
            .map_err(|_| StoreError::Corrupt("outbox.attempts"))?,
    })
}

impl Outbox {
    pub fn new(sql: &Sql) -> Self {
        Self { sql: sql.clone() }
    }

    /// Rows whose time has come, oldest first.
    pub async fn due(&self, now_ms: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let found = sqlx::query(
            "SELECT batch, kind, tx, expires, attempts FROM outbox WHERE next_ms <= $1 ORDER BY seq LIMIT $2",
        )
        .bind(int(now_ms))
        .bind(i64::from(limit))
        .fetch_all(&self.sql.read)
        .await?;
        found.iter().map(from_row).collect()
    }

    /// Number of rows that wait, and the number of attempts of the one tried most often.
    pub async fn depth(&self) -> Result<(u64, u64), StoreError> {
        let row = sqlx::query(
            "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(MAX(attempts), 0) AS BIGINT) FROM outbox",
        )
        .fetch_one(&self.sql.read)
        .await?;
        Ok((uint(row.try_get(0)?, "count")?, uint(row.try_get(1)?, "outbox.attempts")?))
    }

    /// Notes a failed attempt and when to try again. Durable when it returns.
    pub async fn retry_at(&self, key: &Digest, next_ms: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox SET attempts = attempts + 1, next_ms = $2 WHERE batch = $1")
            .bind(key.0.to_vec())
            .bind(int(next_ms))
            .execute(&self.sql.write)
            .await?;
        Ok(())
    }

    /// Replaces the transaction (fresh attestations). Durable when it returns.
    pub async fn replace(&self, key: &Digest, tx: &[u8], expires: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox SET tx = $2, expires = $3 WHERE batch = $1")
            .bind(key.0.to_vec())
            .bind(tx.to_vec())
            .bind(int(expires))
            .execute(&self.sql.write)
            .await?;
        Ok(())
    }

    /// A consent change is on the ledger: the row waits until the key classes follow. Durable when it returns.
    pub async fn rekey_at(&self, key: &Digest, next_ms: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox SET kind = $2, attempts = 0, next_ms = $3 WHERE batch = $1")
            .bind(key.0.to_vec())
            .bind(Kind::Rekey.code())
            .bind(int(next_ms))
            .execute(&self.sql.write)
            .await?;
        Ok(())
    }

    /// The transaction is on the ledger (or can never be): the row goes. Durable when it returns.
    pub async fn remove(&self, key: &Digest) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM outbox WHERE batch = $1")
            .bind(key.0.to_vec())
            .execute(&self.sql.write)
            .await?;
        Ok(())
    }
}

pub(super) async fn insert(tx: &mut AnyConnection, entry: &NewEntry) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (batch, kind, tx, expires, attempts, next_ms) VALUES ($1, $2, $3, $4, 0, $5)",
    )
    .bind(entry.key.0.to_vec())
    .bind(entry.kind.code())
    .bind(entry.tx.clone())
    .bind(int(entry.expires))
    .bind(int(entry.next_ms))
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn finish(tx: &mut AnyConnection, key: &Digest, kind: Kind) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox WHERE batch = $1 AND kind = $2")
        .bind(key.0.to_vec())
        .bind(kind.code())
        .execute(tx)
        .await?;
    Ok(())
}
