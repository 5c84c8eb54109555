//! redb behind the port: one table, one transaction for a batch.

use consilium_domain::port::kv::{Kv, KvError, KvView, Pair, Write};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, TableDefinition};
use std::path::Path;

const PAIRS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("pairs");

pub struct RedbKv(Database);

fn failed(error: impl std::fmt::Display) -> KvError {
    KvError(error.to_string())
}

impl RedbKv {
    pub fn open(folder: &Path) -> Result<Self, KvError> {
        let db = Database::create(folder.join("redb")).map_err(failed)?;
        let tx = db.begin_write().map_err(failed)?;
        tx.open_table(PAIRS).map_err(failed)?;
        tx.commit().map_err(failed)?;
        Ok(Self(db))
    }

    fn read(&self) -> Result<View, KvError> {
        Ok(View(self.0.begin_read().map_err(failed)?))
    }
}

struct View(ReadTransaction);

impl KvView for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let table = self.0.open_table(PAIRS).map_err(failed)?;
        Ok(table.get(key).map_err(failed)?.map(|v| v.value().to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let table = self.0.open_table(PAIRS).map_err(failed)?;
        let range = table.range(from..to).map_err(failed)?;
        let pair = |p: Result<(redb::AccessGuard<&[u8]>, redb::AccessGuard<&[u8]>), redb::StorageError>| {
            p.map(|(k, v)| (k.value().to_vec(), v.value().to_vec())).map_err(failed)
        };
        range.take(limit).map(pair).collect()
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError> {
        if from > to {
            return Ok(None);
        }
        let table = self.0.open_table(PAIRS).map_err(failed)?;
        let last = table.range(from..=to).map_err(failed)?.next_back();
        last.map(|p| p.map(|(k, v)| (k.value().to_vec(), v.value().to_vec())).map_err(failed)).transpose()
    }
}

impl Kv for RedbKv {
    fn view(&self) -> Result<Box<dyn KvView>, KvError> {
        Ok(Box::new(self.read()?))
    }
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.read()?.get(key)
    }
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        self.read()?.scan(from, to, limit)
    }
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, KvError> {
        self.read()?.last(from, to)
    }

    fn write(&self, batch: &[Write], durable: bool) -> Result<(), KvError> {
        let mut tx = self.0.begin_write().map_err(failed)?;
        tx.set_durability(if durable { Durability::Immediate } else { Durability::None }).map_err(failed)?;
        {
            let mut table = tx.open_table(PAIRS).map_err(failed)?;
            for write in batch {
                match write {
                    Write::Put(key, value) => {
                        table.insert(key.as_slice(), value.as_slice()).map_err(failed)?;
                    }
                    Write::Delete(key) => {
                        table.remove(key.as_slice()).map_err(failed)?;
                    }
                }
            }
        }
        tx.commit().map_err(failed)
    }
}
