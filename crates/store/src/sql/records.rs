//! Record versions: pending until the ledger has their batch, then current, then history.

use super::outbox::{Kind, NewEntry};
use super::{Sql, StoreError, int, rows, uint};
use consilium_domain::Digest;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};
use thiserror::Error;

/// Where a record version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Stored, its batch not yet known to be on the ledger.
    Pending,
    Current,
    /// Superseded by a later version.
    History,
    /// Its key and ciphertext were destroyed: the commitment is left, under which nothing can be shown any more.
    Erased,
}

impl Status {
    fn from_code(code: i64) -> Result<Self, StoreError> {
        match code {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Current),
            2 => Ok(Self::History),
            3 => Ok(Self::Erased),
            _ => Err(StoreError::Corrupt("records.status")),
        }
    }
}

/// One version of a record as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Position in the order of storing; the key of paging.
    pub seq: u64,
    pub resource_type: String,
    /// Keyed hash of type and id.
    pub handle: Vec<u8>,
    pub version: u64,
    pub status: Status,
    pub updated_ms: u64,
    pub ciphertext: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub class_id: Vec<u8>,
    pub epoch: u64,
    /// Commitment digest, number of leaves, root over the leaves.
    pub commitment: Digest,
    pub leaf_count: u32,
    pub root: Digest,
    /// Batch and position of the record in it.
    pub batch: Digest,
    pub position: u64,
    /// Keyed hash of the patient whose compartment it is in.
    pub compartment: Option<Vec<u8>>,
}

/// A record version to store.
#[derive(Debug, Clone)]
pub struct NewRecord {
    pub resource_type: String,
    pub handle: Vec<u8>,
    /// Must be exactly one more than the newest stored version (1 for a new record).
    pub version: u64,
    pub updated_ms: u64,
    pub ciphertext: Vec<u8>,
    pub wrapped_key: Vec<u8>,
    pub class_id: Vec<u8>,
    pub epoch: u64,
    pub commitment: Digest,
    pub leaf_count: u32,
    pub root: Digest,
    pub compartment: Option<Vec<u8>>,
    /// Keyed hashes of the values by which it can be found.
    pub index: Vec<Vec<u8>>,
}

/// A conditional create: refused when the claim is taken or when a record has all of the index values by now.
#[derive(Debug, Clone)]
pub struct NewClaim {
    pub claim: Vec<u8>,
    pub resource_type: String,
    /// All of these must match; each is a set of alternatives.
    pub index: Vec<Vec<Vec<u8>>>,
}

/// A consent's place on the ledger, changed together with its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRow {
    pub ledger_handle: Digest,
    pub record_handle: Vec<u8>,
    pub compartment: Vec<u8>,
    /// Version of the core on the ledger.
    pub version: u64,
    /// Version of the Consent resource that the core commits to.
    pub record_version: u64,
    /// The controller's signing key, sealed under the class key.
    pub sealed_controller: Vec<u8>,
    pub class_id: Vec<u8>,
    pub epoch: u64,
}

/// Everything that one request stores.
#[derive(Debug, Clone)]
pub struct NewBatch {
    pub batch: Digest,
    /// In batch order.
    pub records: Vec<NewRecord>,
    pub claims: Vec<NewClaim>,
    /// Ledger transactions to deliver: the batch, consent changes.
    pub outbox: Vec<NewEntry>,
    pub consents: Vec<ConsentRow>,
    /// Classes used, with their policy, by compartment: (class id, compartment, policy).
    pub classes: Vec<(Vec<u8>, Vec<u8>, String)>,
    /// Sealed audit events to be delivered.
    pub spool: Vec<Vec<u8>>,
}

/// Why a batch was not stored. Nothing of it was.
#[derive(Debug, Error)]
pub enum InsertError {
    #[error("record {0} of the batch: another request stored this version first")]
    Version(usize),
    #[error("condition {0} of the batch: another request is creating or has created a match")]
    Claim(usize),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The record versions of one custodian.
#[derive(Debug, Clone)]
pub struct Records {
    sql: Sql,
}

const COLUMNS: &str = "seq, resource_type, handle, version, status, updated_ms, ciphertext, wrapped_key, class_id, \
                       epoch, commitment, leaf_count, root, batch, position, compartment";
/// Rows per multi-row insert: 500 rows × 2 columns stay below every engine's parameter limit.
const CHUNK: usize = 500;

pub(super) fn columns(prefix: &str) -> String {
    COLUMNS.split(", ").map(|c| format!("{prefix}{}", c.trim())).collect::<Vec<_>>().join(", ")
}

impl Records {
    pub fn new(sql: &Sql) -> Self {
        Self { sql: sql.clone() }
    }

    pub(super) fn sql(&self) -> &Sql {
        &self.sql
    }

    /// Stores a batch as pending together with its outbox rows, in one transaction.
    /// Durable when it returns `Ok`; nothing stored otherwise.
    pub async fn insert(&self, new: &NewBatch) -> Result<(), InsertError> {
        let mut tx = self.sql.write.begin().await.map_err(StoreError::from)?;
        for (i, claim) in new.claims.iter().enumerate() {
            let taken = sqlx::query("INSERT INTO claims (claim, batch) VALUES ($1, $2)")
                .bind(claim.claim.clone())
                .bind(new.batch.0.to_vec())
                .execute(&mut *tx)
                .await
                .map_err(StoreError::from);
            match taken {
                Ok(_) => {}
                Err(e) if e.is_unique() => return Err(InsertError::Claim(i)),
                Err(e) => return Err(e.into()),
            }
            // The claim is held now, so whoever created a match has committed it: look again.
            if super::search::exists(&mut tx, &claim.resource_type, &claim.index).await? {
                return Err(InsertError::Claim(i));
            }
        }
        let mut index: Vec<(Vec<u8>, i64)> = Vec::new();
        for (position, record) in new.records.iter().enumerate() {
            let newest = newest_version(&mut tx, &record.resource_type, &record.handle).await?;
            if newest + 1 != record.version {
                return Err(InsertError::Version(position));
            }
            let seq = match insert_record(&mut tx, record, &new.batch, position).await {
                Ok(seq) => seq,
                Err(e) if e.is_unique() => return Err(InsertError::Version(position)),
                Err(e) => return Err(e.into()),
            };
            let mut values = record.index.clone();
            values.sort();
            values.dedup();
            index.extend(values.into_iter().map(|v| (v, seq)));
        }
        for chunk in index.chunks(CHUNK) {
            let text = format!("INSERT INTO index_values (value, rec) VALUES {}", rows(chunk.len(), 2));
            let mut query = sqlx::query(AssertSqlSafe(text));
            for (value, seq) in chunk {
                query = query.bind(value.clone()).bind(*seq);
            }
            query.execute(&mut *tx).await.map_err(StoreError::from)?;
        }
        for entry in &new.outbox {
            super::outbox::insert(&mut tx, entry).await?;
        }
        for consent in &new.consents {
            super::consents::upsert(&mut tx, consent).await?;
        }
        for (class_id, compartment, policy) in &new.classes {
            sqlx::query(
                "INSERT INTO classes (class_id, compartment, policy) VALUES ($1, $2, $3) ON CONFLICT (class_id) DO NOTHING",
            )
            .bind(class_id.clone())
            .bind(compartment.clone())
            .bind(policy.clone())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::from)?;
        }
        for sealed in &new.spool {
            sqlx::query("INSERT INTO spool (sealed) VALUES ($1)")
                .bind(sealed.clone())
                .execute(&mut *tx)
                .await
                .map_err(StoreError::from)?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// The batch's transaction is in a committed block: pending becomes current, current becomes history, the
    /// receipt's parts are kept, claims end, the outbox row is done. Idempotent; durable when it returns.
    pub async fn promote(&self, batch: &Digest, height: u64, proof: &[u8]) -> Result<(), StoreError> {
        let mut tx = self.sql.write.begin().await?;
        sqlx::query(
            "INSERT INTO batches (batch, height, proof) VALUES ($1, $2, $3) ON CONFLICT (batch) DO NOTHING",
        )
        .bind(batch.0.to_vec())
        .bind(int(height))
        .bind(proof.to_vec())
        .execute(&mut *tx)
        .await?;
        // `+status` keeps SQLite from driving these by the status index, which would visit every record of a type.
        // A batch may commit after a later version of one of its records did: then it goes straight to history.
        sqlx::query(
            "UPDATE records SET status = CASE WHEN EXISTS (SELECT 1 FROM records n WHERE n.resource_type = records.resource_type \
             AND n.handle = records.handle AND n.version > records.version AND +n.status = 1) THEN 2 ELSE 1 END \
             WHERE batch = $1 AND status = 0",
        )
        .bind(batch.0.to_vec())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE records SET status = 2 WHERE seq IN (SELECT o.seq FROM records n JOIN records o ON \
             o.resource_type = n.resource_type AND o.handle = n.handle AND o.version < n.version AND +o.status = 1 \
             WHERE n.batch = $1 AND +n.status = 1)",
        )
        .bind(batch.0.to_vec())
        .execute(&mut *tx)
        .await?;
        // Only what is pending or current can be found by value.
        sqlx::query(
            "DELETE FROM index_values WHERE rec IN (SELECT o.seq FROM records n JOIN records o ON \
             o.resource_type = n.resource_type AND o.handle = n.handle AND +o.status = 2 WHERE n.batch = $1)",
        )
        .bind(batch.0.to_vec())
        .execute(&mut *tx)
        .await?;
        end_claims(&mut tx, batch).await?;
        super::outbox::finish(&mut tx, batch, Kind::Batch).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The ledger will never have this batch: its pending records, claims and outbox rows go.
    /// Idempotent; durable when it returns. Records that are no longer pending stay.
    pub async fn discard(&self, batch: &Digest) -> Result<(), StoreError> {
        let mut tx = self.sql.write.begin().await?;
        sqlx::query(
            "DELETE FROM index_values WHERE rec IN (SELECT seq FROM records WHERE batch = $1 AND status = 0)",
        )
        .bind(batch.0.to_vec())
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM records WHERE batch = $1 AND status = 0")
            .bind(batch.0.to_vec())
            .execute(&mut *tx)
            .await?;
        end_claims(&mut tx, batch).await?;
        sqlx::query("DELETE FROM outbox WHERE batch = $1").bind(batch.0.to_vec()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The newest version: the current one, or with `pending` the newest stored.
    pub async fn newest(
        &self,
        resource_type: &str,
        handle: &[u8],
        pending: bool,
    ) -> Result<Option<StoredRecord>, StoreError> {
        let text = format!(
            "SELECT {COLUMNS} FROM records WHERE resource_type = $1 AND handle = $2 AND +status >= $3 AND +status <= 1 \
             ORDER BY version DESC LIMIT 1"
        );
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(resource_type.to_owned())
            .bind(handle.to_vec())
            .bind(if pending { 0i64 } else { 1 })
            .fetch_optional(&self.sql.read)
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// One version; pending ones only with `pending`.
    pub async fn version(
        &self,
        resource_type: &str,
        handle: &[u8],
        version: u64,
        pending: bool,
    ) -> Result<Option<StoredRecord>, StoreError> {
        let text = format!(
            "SELECT {COLUMNS} FROM records WHERE resource_type = $1 AND handle = $2 AND version = $3 AND status >= $4"
        );
        let row = sqlx::query(AssertSqlSafe(text))
            .bind(resource_type.to_owned())
            .bind(handle.to_vec())
            .bind(int(version))
            .bind(if pending { 0i64 } else { 1 })
            .fetch_optional(&self.sql.read)
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Versions below `before` (0 = all), newest first, at most `limit`.
    pub async fn history(
        &self,
        resource_type: &str,
        handle: &[u8],
        before: u64,
        limit: u32,
        pending: bool,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let text = format!(
            "SELECT {COLUMNS} FROM records WHERE resource_type = $1 AND handle = $2 AND version < $3 AND status >= $4 \
             ORDER BY version DESC LIMIT $5"
        );
        let found = sqlx::query(AssertSqlSafe(text))
            .bind(resource_type.to_owned())
            .bind(handle.to_vec())
            .bind(if before == 0 { i64::MAX } else { int(before) })
            .bind(if pending { 0i64 } else { 1 })
            .bind(i64::from(limit))
            .fetch_all(&self.sql.read)
            .await?;
        found.iter().map(from_row).collect()
    }

    /// All records of a batch in batch order.
    pub async fn of_batch(&self, batch: &Digest) -> Result<Vec<StoredRecord>, StoreError> {
        let text = format!("SELECT {COLUMNS} FROM records WHERE batch = $1 ORDER BY position");
        let found = sqlx::query(AssertSqlSafe(text)).bind(batch.0.to_vec()).fetch_all(&self.sql.read).await?;
        found.iter().map(from_row).collect()
    }

    /// Commitment digests of a batch in batch order: the leaves of its tree.
    pub async fn commitments(&self, batch: &Digest) -> Result<Vec<Digest>, StoreError> {
        let found = sqlx::query("SELECT commitment FROM records WHERE batch = $1 ORDER BY position")
            .bind(batch.0.to_vec())
            .fetch_all(&self.sql.read)
            .await?;
        found.iter().map(|row| digest(row, 0, "records.commitment")).collect()
    }

    /// Height and receipt parts of a committed batch.
    pub async fn proof(&self, batch: &Digest) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let row = sqlx::query("SELECT height, proof FROM batches WHERE batch = $1")
            .bind(batch.0.to_vec())
            .fetch_optional(&self.sql.read)
            .await?;
        row.map(|r| Ok((uint(r.try_get(0)?, "batches.height")?, r.try_get(1)?))).transpose()
    }

    /// Number of records by type, current versions only.
    pub async fn counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let found = sqlx::query(
            "SELECT resource_type, CAST(COUNT(*) AS BIGINT) FROM records WHERE status = 1 GROUP BY resource_type \
             ORDER BY resource_type",
        )
        .fetch_all(&self.sql.read)
        .await?;
        found.iter().map(|r| Ok((r.try_get(0)?, uint(r.try_get(1)?, "count")?))).collect()
    }
}

async fn newest_version(
    tx: &mut AnyConnection,
    resource_type: &str,
    handle: &[u8],
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM records WHERE resource_type = $1 AND handle = $2",
    )
    .bind(resource_type.to_owned())
    .bind(handle.to_vec())
    .fetch_one(tx)
    .await?;
    uint(row.try_get(0)?, "records.version")
}

async fn insert_record(
    tx: &mut AnyConnection,
    record: &NewRecord,
    batch: &Digest,
    position: usize,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO records (resource_type, handle, version, status, updated_ms, ciphertext, wrapped_key, class_id, \
         epoch, commitment, leaf_count, root, batch, position, compartment) \
         VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING seq",
    )
    .bind(record.resource_type.clone())
    .bind(record.handle.clone())
    .bind(int(record.version))
    .bind(int(record.updated_ms))
    .bind(record.ciphertext.clone())
    .bind(record.wrapped_key.clone())
    .bind(record.class_id.clone())
    .bind(int(record.epoch))
    .bind(record.commitment.0.to_vec())
    .bind(i64::from(record.leaf_count))
    .bind(record.root.0.to_vec())
    .bind(batch.0.to_vec())
    .bind(int(position as u64))
    .bind(record.compartment.clone())
    .fetch_one(tx)
    .await?;
    Ok(row.try_get(0)?)
}

pub(super) async fn end_claims(tx: &mut AnyConnection, batch: &Digest) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM claims WHERE batch = $1").bind(batch.0.to_vec()).execute(tx).await?;
    Ok(())
}

pub(super) fn digest(row: &AnyRow, column: usize, name: &'static str) -> Result<Digest, StoreError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    Digest::from_slice(&bytes).ok_or(StoreError::Corrupt(name))
}

pub(super) fn from_row(row: &AnyRow) -> Result<StoredRecord, StoreError> {
    Ok(StoredRecord {
        seq: uint(row.try_get(0)?, "records.seq")?,
        resource_type: row.try_get(1)?,
        handle: row.try_get(2)?,
        version: uint(row.try_get(3)?, "records.version")?,
        status: Status::from_code(row.try_get(4)?)?,
        updated_ms: uint(row.try_get(5)?, "records.updated_ms")?,
        ciphertext: row.try_get(6)?,
        wrapped_key: row.try_get(7)?,
        class_id: row.try_get(8)?,
        epoch: uint(row.try_get(9)?, "records.epoch")?,
        commitment: digest(row, 10, "records.commitment")?,
        leaf_count: u32::try_from(row.try_get::<i64, _>(11)?)
            .map_err(|_| StoreError::Corrupt("records.leaf_count"))?,
        root: digest(row, 12, "records.root")?,
        batch: digest(row, 13, "records.batch")?,
        position: uint(row.try_get(14)?, "records.position")?,
        compartment: row.try_get(15)?,
    })
}
