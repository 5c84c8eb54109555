//! Audit events that the audit service has not acknowledged yet, sealed.

use super::{Sql, StoreError, int, uint};
use sqlx::Row as _;

/// The spool of sealed audit events, in order.
#[derive(Debug, Clone)]
pub struct Spool {
    sql: Sql,
}

impl Spool {
    pub fn new(sql: &Sql) -> Self {
        Self { sql: sql.clone() }
    }

    /// Appends sealed events. Durable when it returns.
    pub async fn push(&self, sealed: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut tx = self.sql.write.begin().await?;
        for one in sealed {
            sqlx::query("INSERT INTO spool (sealed) VALUES ($1)").bind(one.clone()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The oldest events with their sequence numbers.
    pub async fn oldest(&self, limit: u32) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let found = sqlx::query("SELECT seq, sealed FROM spool ORDER BY seq LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.sql.read)
            .await?;
        found.iter().map(|r| Ok((uint(r.try_get(0)?, "spool.seq")?, r.try_get(1)?))).collect()
    }

    /// Removes delivered events by sequence number. Durable when it returns.
    pub async fn remove(&self, seqs: &[u64]) -> Result<(), StoreError> {
        let mut tx = self.sql.write.begin().await?;
        for seq in seqs {
            sqlx::query("DELETE FROM spool WHERE seq = $1").bind(int(*seq)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
