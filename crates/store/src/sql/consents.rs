//! Where this custodian's consents stand on the ledger, and which key classes a patient's compartment has.

use super::records::{ConsentRow, digest};
use super::{Sql, StoreError, int, uint};
use consilium_domain::Digest;
use sqlx::AnyConnection;
use sqlx::Row as _;
use sqlx::any::AnyRow;

/// Consents and key classes by patient compartment.
#[derive(Debug, Clone)]
pub struct Consents {
    sql: Sql,
}

const SELECT: &str = "SELECT ledger_handle, record_handle, compartment, version, record_version, sealed_controller, \
                      class_id, epoch FROM consents ";

fn from_row(row: &AnyRow) -> Result<ConsentRow, StoreError> {
    Ok(ConsentRow {
        ledger_handle: digest(row, 0, "consents.ledger_handle")?,
        record_handle: row.try_get(1)?,
        compartment: row.try_get(2)?,
        version: uint(row.try_get(3)?, "consents.version")?,
        record_version: uint(row.try_get(4)?, "consents.record_version")?,
        sealed_controller: row.try_get(5)?,
        class_id: row.try_get(6)?,
        epoch: uint(row.try_get(7)?, "consents.epoch")?,
    })
}

impl Consents {
    pub fn new(sql: &Sql) -> Self {
        Self { sql: sql.clone() }
    }

    /// The consents of a patient.
    pub async fn of_patient(&self, compartment: &[u8]) -> Result<Vec<ConsentRow>, StoreError> {
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE compartment = $1 ORDER BY ledger_handle"
        )))
        .bind(compartment.to_vec())
        .fetch_all(&self.sql.read)
        .await?;
        found.iter().map(from_row).collect()
    }

    /// The consent whose resource has this record handle.
    pub async fn of_record(&self, handle: &[u8]) -> Result<Option<ConsentRow>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE record_handle = $1")))
            .bind(handle.to_vec())
            .fetch_optional(&self.sql.read)
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Key classes of a patient's compartment with the policy they have now.
    pub async fn classes(&self, compartment: &[u8]) -> Result<Vec<(Vec<u8>, String)>, StoreError> {
        let found =
            sqlx::query("SELECT class_id, policy FROM classes WHERE compartment = $1 ORDER BY class_id")
                .bind(compartment.to_vec())
                .fetch_all(&self.sql.read)
                .await?;
        found.iter().map(|r| Ok((r.try_get(0)?, r.try_get(1)?))).collect()
    }

    /// Notes the policy that a class has now. Durable when it returns.
    pub async fn set_policy(&self, class_id: &[u8], policy: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE classes SET policy = $2 WHERE class_id = $1")
            .bind(class_id.to_vec())
            .bind(policy.to_owned())
            .execute(&self.sql.write)
            .await?;
        Ok(())
    }

    /// The consent with this handle on the ledger.
    pub async fn of_ledger(&self, handle: &Digest) -> Result<Option<ConsentRow>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE ledger_handle = $1")))
            .bind(handle.0.to_vec())
            .fetch_optional(&self.sql.read)
            .await?;
        row.as_ref().map(from_row).transpose()
    }
}

pub(super) async fn upsert(tx: &mut AnyConnection, row: &ConsentRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO consents (ledger_handle, record_handle, compartment, version, record_version, sealed_controller, \
         class_id, epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (ledger_handle) DO UPDATE SET \
         version = excluded.version, record_version = excluded.record_version, \
         sealed_controller = excluded.sealed_controller, class_id = excluded.class_id, epoch = excluded.epoch",
    )
    .bind(row.ledger_handle.0.to_vec())
    .bind(row.record_handle.clone())
    .bind(row.compartment.clone())
    .bind(int(row.version))
    .bind(int(row.record_version))
    .bind(row.sealed_controller.clone())
    .bind(row.class_id.clone())
    .bind(int(row.epoch))
    .execute(tx)
    .await?;
    Ok(())
}
