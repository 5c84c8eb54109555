//! Backups of a running node, and a node out of one.
//!
//! A backup holds blocks, certificates, state and the index of transactions of one moment, and **never the write-ahead
//! log**: a restored node has forgotten its votes. It finds no log, takes itself for one that lost it
//! ([`crate::sync`]), and follows in silence until it cannot contradict what it may have signed.

use crate::chain::View;
use anyhow::{Context, ensure};
use consilium_store::{FjallKv, backup};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Backups kept: one may be on its way elsewhere while the next is made.
const KEPT: usize = 2;

/// Where a node puts its backups.
#[derive(Debug, Clone)]
pub struct Backups(PathBuf);

impl Backups {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Writes `HEIGHT.backup`, durable and whole or not at all, and deletes old ones. Gives its path.
    ///
    /// # Errors
    /// When the store or the disk fails.
    pub fn make(&self, view: &View) -> anyhow::Result<PathBuf> {
        let height = view.ledger()?.head().height.0;
        std::fs::create_dir_all(&self.0)?;
        let (unfinished, whole) = (self.0.join("unfinished"), self.0.join(format!("{height:020}.backup")));
        let mut file = BufWriter::new(File::create(&unfinished)?);
        // All keys are text.
        backup::write(view.kv(), &[], &[0xff], &mut file)?;
        file.flush()?;
        file.into_inner().context("the backup's file")?.sync_all()?;
        std::fs::rename(&unfinished, &whole)?;
        // The file's name is durable only once its folder is.
        File::open(&self.0)?.sync_all()?;
        let entries = std::fs::read_dir(&self.0)?.flatten().map(|e| e.path());
        let mut all: Vec<PathBuf> =
            entries.filter(|p| p.extension().is_some_and(|e| e == "backup")).collect();
        all.sort();
        for old in all.iter().take(all.len().saturating_sub(KEPT)) {
            std::fs::remove_file(old)?;
        }
        Ok(whole)
    }
}

/// Makes `data_dir`, which must not exist or be empty, hold what the backup holds. Gives the number of pairs.
///
/// # Errors
/// When the backup is damaged, or the disk fails: then there is no `kv` in `data_dir`.
pub fn restore(file: &Path, data_dir: &Path) -> anyhow::Result<u64> {
    let open = || Ok::<_, anyhow::Error>(BufReader::new(File::open(file).context("open the backup")?));
    backup::check(&mut open()?)?;
    std::fs::create_dir_all(data_dir)?;
    let empty = std::fs::read_dir(data_dir)?.next().is_none();
    ensure!(empty, "`{}` is not empty: a log beside older blocks would be no memory", data_dir.display());
    let (unfinished, whole) = (data_dir.join("kv.unfinished"), data_dir.join("kv"));
    let contents = backup::restore(&mut open()?, &FjallKv::open(&unfinished)?)?;
    std::fs::rename(&unfinished, &whole)?;
    File::open(data_dir)?.sync_all()?;
    Ok(contents.pairs)
}
