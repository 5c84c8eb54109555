//! Values that may be used once: assertion ids (RFC 7523 §3) and message nonces.

use super::{Sql, StoreError, int};

/// The values used so far, until each would be refused as too old anyway.
#[derive(Debug, Clone)]
pub struct Seen {
    sql: Sql,
}

impl Seen {
    pub fn new(sql: &Sql) -> Self {
        Self { sql: sql.clone() }
    }

    /// Notes a value and says whether it is new. Of several concurrent calls with one value exactly one gets `true`.
    /// Durable when it returns, so a restart lets nothing in twice.
    pub async fn first_use(&self, value: &[u8], expires_ms: u64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO seen (value, expires_ms) VALUES ($1, $2) ON CONFLICT (value) DO NOTHING",
        )
        .bind(value.to_vec())
        .bind(int(expires_ms))
        .execute(&self.sql.write)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets what has expired.
    pub async fn forget(&self, now_ms: u64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM seen WHERE expires_ms < $1")
            .bind(int(now_ms))
            .execute(&self.sql.write)
            .await?;
        Ok(())
    }
}
