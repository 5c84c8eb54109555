//! Private keys in files, and small files of ceremonies.

use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use consilium_ledger::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct KeygenArgs {
    /// New file for the private key.
    #[arg(long)]
    out: PathBuf,
}

/// 32 random bytes of the operating system.
pub(crate) fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the operating system gave no randomness")?;
    Ok(bytes)
}

pub(super) fn rng() -> Result<ChaCha20Rng> {
    Ok(ChaCha20Rng::from_seed(random()?))
}

/// Writes a new file that only its owner may read; an existing one is never overwritten.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("make {}", path.display()))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

/// The seed in a private key's file.
pub(super) fn seed(path: &Path) -> Result<[u8; 32]> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed)
        .map_err(|_| anyhow::anyhow!("{} must hold 64 hexadecimal digits", path.display()))?;
    Ok(seed)
}

/// The private key in a file.
pub(crate) fn key(path: &Path) -> Result<SigningKey> {
    Ok(SigningKey::from_seed(seed(path)?))
}

/// A public key of 64 hexadecimal digits.
pub(super) fn public(text: &str) -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex::decode_to_slice(text, &mut bytes).is_err() {
        bail!("`{text}` is no public key: 64 hexadecimal digits, as `consilium keys keygen` prints them");
    }
    Ok(bytes)
}

pub(super) fn keygen(args: &KeygenArgs, out: &mut Output) -> Result<Exit> {
    let seed = random()?;
    write_private(&args.out, hex::encode(seed).as_bytes())?;
    let public = SigningKey::from_seed(seed).public();
    out.result(&public.to_string(), &json!({"public_key": public, "file": args.out}));
    Ok(Exit::Good)
}
