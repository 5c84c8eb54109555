//! The log as files: what any monitor of C2SP logs reads, and what `consilium verify --log` checks a proof against.

use super::{At, Desk};
use crate::client::Answer;
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use consilium_domain::receipt::{CheckpointProof, TxProof};
use consilium_ledger::log_proof::{entries_path, path, tiles_of};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args)]
pub(super) struct ExportArgs {
    /// Folder to write. What is there already is not fetched again.
    #[arg(long, default_value = "log")]
    out: PathBuf,
    /// Wait until the checkpoint covers the transaction of this proof or receipt, half a minute at most.
    #[arg(long = "for")]
    proof: Option<PathBuf>,
    /// Also the transactions themselves, not only their hashes.
    #[arg(long)]
    entries: bool,
    #[command(flatten)]
    at: At,
}

/// Looks for a newer checkpoint, and time between two of them.
const TRIES: u32 = 60;
const AGAIN: Duration = Duration::from_millis(500);

/// The newest checkpoint, as it came and as it reads.
fn newest(desk: &Desk) -> Result<(Answer, CheckpointProof)> {
    let proof = super::good(desk.get("/ledger/checkpoint.json")?)?;
    let checkpoint = serde_json::from_str(&proof.body).context("the checkpoint is of another version")?;
    Ok((proof, checkpoint))
}

/// The number in the log of a proof's transaction.
fn number(file: &Path) -> Result<u64> {
    #[derive(Deserialize)]
    struct About {
        transaction: TxProof,
    }
    let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let about: About = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is no proof of a transaction", file.display()))?;
    Ok(about.transaction.header.log_size.saturating_add(about.transaction.inclusion.index))
}

pub(super) fn run(args: &ExportArgs, out: &mut Output) -> Result<Exit> {
    let desk = args.at.desk()?;
    let number = args.proof.as_deref().map(number).transpose()?;
    let mut tries = TRIES;
    let (proof, checkpoint) = loop {
        let found = newest(&desk);
        tries -= 1;
        match (found, number) {
            (Ok((proof, c)), wanted) if wanted.is_none_or(|n| n < c.header.log_size) => break (proof, c),
            (Err(error), None) => return Err(error),
            (Err(error), _) if tries == 0 => return Err(error),
            (Ok(_), _) if tries == 0 => bail!(
                "no checkpoint covers the transaction yet: more than two thirds of the members must run; try again"
            ),
            _ => std::thread::sleep(AGAIN),
        }
    };
    let size = checkpoint.header.log_size;
    let (mut files, mut fetched) = (0_u64, 0_u64);
    for (level, index, width) in tiles_of(size) {
        let mut names = vec![path(level, index, width)];
        if level == 0 && args.entries {
            names.push(entries_path(index, width));
        }
        for name in names {
            files += 1;
            fetched += u64::from(fetch(&desk, &args.out, &name)?);
        }
    }
    // Last: whoever finds a checkpoint finds its tiles.
    put(&args.out.join("checkpoint.json"), proof.body.as_bytes())?;
    put(&args.out.join("checkpoint"), checkpoint.note.as_bytes())?;
    let text = format!(
        "wrote {size} transactions' hashes in {files} tiles ({fetched} new) and the checkpoint to {}",
        args.out.display()
    );
    let value = json!({"size": size, "tiles": files, "fetched": fetched, "out": args.out});
    out.result(&text, &value);
    Ok(Exit::Good)
}

/// Fetches a tile that is not there yet; tiles never change.
fn fetch(desk: &Desk, folder: &Path, name: &str) -> Result<bool> {
    let file = folder.join("tile").join(name);
    if file.exists() {
        return Ok(false);
    }
    let bytes = desk.octets(&format!("/ledger/tile/{name}"))?;
    let bytes = bytes.with_context(|| {
        format!("the node does not have the tile `{name}`: ask another organisation's with `--at`")
    })?;
    put(&file, &bytes)?;
    Ok(true)
}

/// Writes a file whole or not at all.
fn put(file: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    let partial = file.with_extension("part");
    std::fs::write(&partial, bytes).with_context(|| format!("write {}", partial.display()))?;
    std::fs::rename(&partial, file).with_context(|| format!("write {}", file.display()))
}
