//! The relational store: one query path for SQLite and PostgreSQL through sqlx's `Any` driver.
//!
//! SQLite runs in WAL mode with `synchronous=FULL`, so a committed transaction survives a power cut; it has one
//! write connection and a pool of readers. On PostgreSQL durability is the server's `synchronous_commit` (on by
//! default). Whatever identifies a person arrives here as a keyed hash or as ciphertext.

pub mod audit;
pub mod consents;
pub mod erasures;
pub mod outbox;
pub mod records;
pub mod search;
pub mod seen;
pub mod spool;

use sqlx::AnyPool;
use sqlx::Executor as _;
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migrator};
use std::time::Duration;
use thiserror::Error;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// A store operation failed and changed nothing, unless the method says otherwise.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the store's URL starts with neither `sqlite:` nor `postgres:`")]
    Url,
    #[error("the store has schema version {0}, which this program does not know: use a newer program")]
    Schema(i64),
    #[error("the store's schema could not be brought up to date: {0}")]
    Migrate(#[source] MigrateError),
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the store holds a value out of its range in `{0}`")]
    Corrupt(&'static str),
}

impl StoreError {
    /// Whether a unique constraint refused the write (SQLite 2067 and 1555, PostgreSQL 23505).
    fn is_unique(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.is_unique_violation())
    }
}

/// An open database with its schema up to date. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct Sql {
    /// SQLite: exactly one connection, because the engine has one writer.
    write: AnyPool,
    read: AnyPool,
    sqlite: bool,
}

impl Sql {
    /// Opens `sqlite://FILE?mode=rwc` or `postgres://…`, applies the migrations that are missing and refuses a
    /// schema that is newer than this program.
    pub async fn open(url: &str, readers: u32) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let sqlite = url.starts_with("sqlite:");
        if !sqlite && !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            return Err(StoreError::Url);
        }
        let write = pool(if sqlite { 1 } else { readers }, sqlite).connect(url).await?;
        let migrations = if sqlite { &SQLITE } else { &POSTGRES };
        migrations.run(&write).await.map_err(|e| match e {
            MigrateError::VersionMissing(v) => StoreError::Schema(v),
            other => StoreError::Migrate(other),
        })?;
        let read = if sqlite { pool(readers, true).connect(url).await? } else { write.clone() };
        Ok(Self { write, read, sqlite })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    /// Waits for statements under way and closes the connections.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

fn pool(connections: u32, sqlite: bool) -> AnyPoolOptions {
    let options = AnyPoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(Duration::from_secs(30))
        .idle_timeout(None)
        .max_lifetime(None);
    if !sqlite {
        return options;
    }
    options.after_connect(|connection, _| {
        Box::pin(async move {
            connection.execute("PRAGMA busy_timeout=10000").await?;
            connection.execute("PRAGMA journal_mode=WAL").await?;
            connection.execute("PRAGMA synchronous=FULL").await?;
            connection.execute("PRAGMA temp_store=MEMORY").await?;
            // What an erasure removes is overwritten, not only forgotten.
            connection.execute("PRAGMA secure_delete=ON").await?;
            Ok(())
        })
    })
}

/// A count or millisecond value as SQL stores it. Values beyond `i64` do not occur in the store's domain.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn uint(value: i64, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt(column))
}

/// `($1, $2), ($3, $4), …` for a multi-row insert: the text depends on numbers only, never on data.
pub(crate) fn rows(count: usize, columns: usize) -> String {
    let mut out = String::with_capacity(count * columns * 6);
    for row in 0..count {
        out.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            if column > 0 {
                out.push_str(", ");
            }
            out.push('$');
            out.push_str(&(row * columns + column + 1).to_string());
        }
        out.push(')');
    }
    out
}
