//! Ordered key-value store for blocks, state and the consensus node's own marks.

use thiserror::Error;

/// A store failed. Whoever writes and gets this stops: it must not go on as if the write had happened.
#[derive(Debug, Error)]
#[error("the key-value store failed: {0}")]
pub struct KvError(pub String);

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

/// The pairs of one moment: no later write shows in it, and no batch shows in part. Keep it short: what it shows cannot
/// be reclaimed.
pub trait KvView: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;
    /// Up to `limit` pairs with `from <= key < to`, ascending.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError>;
    /// The pair with the greatest key in `from <= key <= to`.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError>;
}

/// An ordered map of byte strings with one writer. While a batch is being written, single reads may see a part of it;
/// whoever reads several pairs that belong together takes a [`Kv::view`].
pub trait Kv: Send + Sync {
    /// The pairs as they are now.
    fn view(&self) -> Result<Box<dyn KvView>, KvError>;
    /// The newest value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;
    /// Up to `limit` pairs with `from <= key < to`, ascending.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError>;
    /// The pair with the greatest key in `from <= key <= to`.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError>;
    /// Applies all writes or none. With `durable`, they survive a crash once this returns.
    fn write(&self, batch: &[Write], durable: bool) -> Result<(), KvError>;
}
