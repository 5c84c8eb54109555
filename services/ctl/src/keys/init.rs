//! The set-up ceremony of an authority: at home, before the consortium has a genesis.

use super::files;
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use consilium_abe::authority;
use consilium_abe::sealing::{AUTHORITY_FILE, SealingKey};
use consilium_domain::{ChannelId, OrgId};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct InitArgs {
    #[arg(long)]
    channel: String,
    #[arg(long)]
    organisation: String,
    /// `keys.data_dir` of the service. It must not hold an authority yet.
    #[arg(long)]
    data_dir: PathBuf,
    /// `keys.unseal_key_file`; made when it is not there.
    #[arg(long)]
    unseal_key_file: PathBuf,
}

pub(super) fn run(args: &InitArgs, out: &mut Output) -> Result<Exit> {
    let (channel, organisation) = (ChannelId::new(&*args.channel)?, OrgId::new(&*args.organisation)?);
    let (public, secret) = authority::setup(&mut files::rng()?, channel.as_str(), organisation.as_str())?;
    install(&args.data_dir, &args.unseal_key_file, &secret.to_bytes())?;
    let public = hex::encode(public.to_bytes());
    out.result(&public, &json!({"authority": public}));
    Ok(Exit::Good)
}

/// Puts an authority's secret key into a new vault, sealed under a key file that is made if it is not there.
pub(super) fn install(data_dir: &std::path::Path, key_file: &std::path::Path, secret: &[u8]) -> Result<()> {
    let path = data_dir.join(AUTHORITY_FILE);
    if path.exists() {
        bail!("{} exists: an authority is never overwritten", path.display());
    }
    if !key_file.exists() {
        files::write_private(key_file, hex::encode(files::random()?).as_bytes())?;
    }
    let text = std::fs::read_to_string(key_file).with_context(|| format!("read {}", key_file.display()))?;
    let sealed = SealingKey::from_key_file(&text)?.seal(AUTHORITY_FILE, secret, &mut files::rng()?)?;
    files::write_private(&path, &sealed)
}
