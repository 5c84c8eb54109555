//! Adapters for the storage ports of `domain`: relational stores through sqlx (SQLite, PostgreSQL), an embedded
//! key-value store, and TiKV. Nothing is decided here; every method's comment says what is durable when it returns.

pub mod backup;
pub mod kv;
pub mod sql;

pub use kv::fjall::FjallKv;
pub use sql::{Sql, StoreError};
