//! Crypto-shredding: wrapped keys and ciphertexts go, commitments stay, because batches are proven with them.

use super::outbox::{self, NewEntry};
use super::records::{Records, digest, end_claims};
use super::{StoreError, int};
use consilium_domain::Digest;
use sqlx::AnyConnection;
use sqlx::Row as _;

/// What became of an erasure of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erased {
    /// So many versions were destroyed.
    Done(u32),
    /// There is no such record.
    Unknown,
    /// It was destroyed before.
    Already,
    /// A version has not reached the ledger yet; nothing was changed.
    Pending,
}

const DESTROY: &str =
    "UPDATE records SET status = 3, ciphertext = $1, wrapped_key = $1 WHERE status <> 3 AND ";

impl Records {
    /// Destroys all versions of a record, and with them what finds it, in one transaction with what `told` makes of the
    /// versions' commitments: the outbox row for the ledger, and sealed audit events. Durable when it returns.
    pub async fn erase(
        &self,
        resource_type: &str,
        handle: &[u8],
        told: impl FnOnce(&[Digest]) -> (NewEntry, Vec<Vec<u8>>),
    ) -> Result<Erased, StoreError> {
        let mut tx = self.sql().write.begin().await?;
        let found = sqlx::query(
            "SELECT status, commitment FROM records WHERE resource_type = $1 AND handle = $2 ORDER BY version",
        )
        .bind(resource_type.to_owned())
        .bind(handle.to_vec())
        .fetch_all(&mut *tx)
        .await?;
        let mut commitments = Vec::with_capacity(found.len());
        for row in &found {
            match row.try_get::<i64, _>(0)? {
                0 => return Ok(Erased::Pending),
                3 => {}
                _ => commitments.push(digest(row, 1, "records.commitment")?),
            }
        }
        if commitments.is_empty() {
            return Ok(if found.is_empty() { Erased::Unknown } else { Erased::Already });
        }
        sqlx::query(
            "DELETE FROM index_values WHERE rec IN (SELECT seq FROM records WHERE resource_type = $1 AND handle = $2)",
        )
        .bind(resource_type.to_owned())
        .bind(handle.to_vec())
        .execute(&mut *tx)
        .await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("{DESTROY} resource_type = $2 AND handle = $3")))
            .bind(Vec::<u8>::new())
            .bind(resource_type.to_owned())
            .bind(handle.to_vec())
            .execute(&mut *tx)
            .await?;
        let (entry, events) = told(&commitments);
        outbox::insert(&mut tx, &entry).await?;
        for sealed in events {
            sqlx::query("INSERT INTO spool (sealed) VALUES ($1)").bind(sealed).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.shed().await;
        Ok(Erased::Done(u32::try_from(commitments.len()).unwrap_or(u32::MAX)))
    }

    /// Destroys what is left of the records of destroyed classes, once for each `once` (a value of the table of used
    /// ones), in one transaction with the outbox row. Whether this call was the one that did it. Durable when it
    /// returns.
    pub async fn erase_classes(
        &self,
        once: &[u8],
        classes: &[Vec<u8>],
        entry: &NewEntry,
    ) -> Result<bool, StoreError> {
        let mut tx = self.sql().write.begin().await?;
        let first = sqlx::query(
            "INSERT INTO seen (value, expires_ms) VALUES ($1, $2) ON CONFLICT (value) DO NOTHING",
        )
        .bind(once.to_vec())
        .bind(int(u64::MAX))
        .execute(&mut *tx)
        .await?;
        if first.rows_affected() == 0 {
            return Ok(false);
        }
        for class in classes {
            erase_class(&mut tx, class).await?;
        }
        outbox::insert(&mut tx, entry).await?;
        tx.commit().await?;
        self.shed().await;
        Ok(true)
    }

    /// The ledger has not got a batch of which records were destroyed, and cannot get it any more, because nobody can
    /// attest what is gone. The records that are left, `pending` by their `seq` and in batch order, go on as the batch of
    /// `rest`; without any, the batch and its claims end. Durable when it returns.
    ///
    /// Whether this was done: not if other records are pending by now.
    pub async fn regroup(
        &self,
        batch: &Digest,
        pending: &[u64],
        rest: Option<&NewEntry>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.sql().write.begin().await?;
        let next = rest.map_or(*batch, |entry| entry.key);
        for (position, seq) in (0..).zip(pending) {
            let moved = sqlx::query(
                "UPDATE records SET batch = $1, position = $2 WHERE seq = $3 AND batch = $4 AND status = 0",
            )
            .bind(next.0.to_vec())
            .bind(int(position))
            .bind(int(*seq))
            .bind(batch.0.to_vec())
            .execute(&mut *tx)
            .await?;
            if moved.rows_affected() != 1 {
                return Ok(false);
            }
        }
        let left =
            sqlx::query("SELECT CAST(COUNT(*) AS BIGINT) FROM records WHERE batch = $1 AND status = 0")
                .bind(batch.0.to_vec())
                .fetch_one(&mut *tx)
                .await?;
        if left.try_get::<i64, _>(0)? != 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM outbox WHERE batch = $1").bind(batch.0.to_vec()).execute(&mut *tx).await?;
        match rest {
            Some(entry) => {
                sqlx::query("UPDATE claims SET batch = $1 WHERE batch = $2")
                    .bind(entry.key.0.to_vec())
                    .bind(batch.0.to_vec())
                    .execute(&mut *tx)
                    .await?;
                outbox::insert(&mut tx, entry).await?;
            }
            None => end_claims(&mut tx, batch).await?,
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The compartment of a record that was destroyed; nothing if it was not.
    pub async fn erased(
        &self,
        resource_type: &str,
        handle: &[u8],
    ) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        let row = sqlx::query(
            "SELECT compartment FROM records WHERE resource_type = $1 AND handle = $2 AND status = 3 LIMIT 1",
        )
        .bind(resource_type.to_owned())
        .bind(handle.to_vec())
        .fetch_optional(&self.sql().read)
        .await?;
        row.map(|row| Ok(row.try_get(0)?)).transpose()
    }

    /// SQLite keeps the pages as they were in its log until a checkpoint. Readers may hold it up; then the next one
    /// does it.
    async fn shed(&self) {
        if self.sql().sqlite
            && let Err(error) =
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.sql().write).await
        {
            tracing::warn!(%error, "the log of the database was not emptied after an erasure");
        }
    }
}

async fn erase_class(tx: &mut AnyConnection, class: &[u8]) -> Result<(), StoreError> {
    let known = sqlx::query("SELECT compartment FROM classes WHERE class_id = $1")
        .bind(class.to_vec())
        .fetch_optional(&mut *tx)
        .await?;
    let compartment: Option<Vec<u8>> = known.map(|row| row.try_get(0)).transpose()?;
    // By compartment there is an index; a class of no patient's records is looked for among all.
    let place = |first: usize| match &compartment {
        Some(_) => format!("class_id = ${first} AND compartment = ${}", first + 1),
        None => format!("class_id = ${first}"),
    };
    let index = format!("DELETE FROM index_values WHERE rec IN (SELECT seq FROM records WHERE {})", place(1));
    let mut index = sqlx::query(sqlx::AssertSqlSafe(index)).bind(class.to_vec());
    let keys = format!("{DESTROY} {}", place(2));
    let mut keys = sqlx::query(sqlx::AssertSqlSafe(keys)).bind(Vec::<u8>::new()).bind(class.to_vec());
    if let Some(compartment) = &compartment {
        (index, keys) = (index.bind(compartment.clone()), keys.bind(compartment.clone()));
    }
    index.execute(&mut *tx).await?;
    keys.execute(&mut *tx).await?;
    // So that a later consent does not try to give it a policy.
    sqlx::query("DELETE FROM classes WHERE class_id = $1").bind(class.to_vec()).execute(tx).await?;
    Ok(())
}
