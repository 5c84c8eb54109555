//! fjall: a log-structured store. One keyspace; a batch is one journal entry, so it is there whole or not at all.

use consilium_domain::port::kv::{Kv, KvError, KvView, Pair, Write};
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use std::path::Path;

/// Longest key: fjall panics on longer ones, and on the empty key.
const MAX_KEY: usize = 65_535;

/// A key-value store in one folder. Only one process may have it open.
pub struct FjallKv {
    db: Database,
    pairs: Keyspace,
}

fn failed(error: fjall::Error) -> KvError {
    match error {
        // All that fjall says once a thread of its own could not write; what was durable before is there after a restart.
        fjall::Error::Poisoned => KvError(
            "an earlier write to the disk failed, and nothing is written any more until a restart: is the disk full?"
                .to_owned(),
        ),
        fjall::Error::Io(cause) if cause.kind() == std::io::ErrorKind::StorageFull => KvError(
            "the disk is full: make room and start again; nothing that was acknowledged is lost".to_owned(),
        ),
        other => KvError(other.to_string()),
    }
}

impl FjallKv {
    /// Opens the store in `folder`, creating it when there is none. Fails when another process has it open.
    pub fn open(folder: &Path) -> Result<Self, KvError> {
        let db = Database::builder(folder).open().map_err(failed)?;
        let pairs = db.keyspace("pairs", KeyspaceCreateOptions::default).map_err(failed)?;
        Ok(Self { db, pairs })
    }
}

fn pair(guard: Guard) -> Result<Pair, KvError> {
    guard.into_inner().map(|(k, v)| (k.to_vec(), v.to_vec())).map_err(failed)
}

/// The store at one moment.
struct View {
    snapshot: Snapshot,
    pairs: Keyspace,
}

impl KvView for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.snapshot.get(&self.pairs, key).map_err(failed)?.map(|v| v.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.snapshot.range(&self.pairs, from..to).take(limit).map(pair).collect()
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError> {
        if from > to {
            return Ok(None);
        }
        self.snapshot.range(&self.pairs, from..=to).next_back().map(pair).transpose()
    }
}

impl Kv for FjallKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.pairs.get(key).map_err(failed)?.map(|v| v.to_vec()))
    }

    fn view(&self) -> Result<Box<dyn KvView>, KvError> {
        Ok(Box::new(View { snapshot: self.db.snapshot(), pairs: self.pairs.clone() }))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.pairs.range(from..to).take(limit).map(pair).collect()
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError> {
        if from > to {
            return Ok(None);
        }
        self.pairs.range(from..=to).next_back().map(pair).transpose()
    }

    fn write(&self, batch: &[Write], durable: bool) -> Result<(), KvError> {
        // SyncAll = fsync of the journal: the only mode that survives a power cut.
        let mode = durable.then_some(PersistMode::SyncAll);
        let mut out = self.db.batch().durability(mode);
        for write in batch {
            let (Write::Put(key, _) | Write::Delete(key)) = write;
            if !(1..=MAX_KEY).contains(&key.len()) {
                return Err(KvError(format!("a key of {} bytes: it has 1 to {MAX_KEY}", key.len())));
            }
            match write {
                Write::Put(key, value) => out.insert(&self.pairs, key.as_slice(), value.as_slice()),
                Write::Delete(key) => out.remove(&self.pairs, key.as_slice()),
            }
        }
        if batch.is_empty() {
            return if durable { self.db.persist(PersistMode::SyncAll).map_err(failed) } else { Ok(()) };
        }
        out.commit().map_err(failed)
    }
}
