//! Benchmarks of the services: `bench [NAME…]`, all without names. Needs the services beside this program.

use anyhow::{Context, Result, bail};
use consilium_e2e::bench::{NAMES, run};
use consilium_e2e::cluster::Cluster;
use consilium_testkit::bench::wanted;
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    if !NAMES.into_iter().any(wanted) {
        bail!("no such benchmark here; there are {}", NAMES.join(", "));
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        bail!("the TLS provider was installed twice");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this package has no workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let home = target.join("bench").join(format!("run-{}", std::process::id()));
    let (dir, work) = (home.join("consortium"), home.join("work"));
    std::fs::create_dir_all(&dir)?;
    std::fs::create_dir_all(&work)?;
    let mut cluster = Cluster::found(&dir, &root.join(".tools"))?;
    let outcome = run(&cluster, &work).with_context(|| format!("all of it is in {}", home.display()));
    let stopped = cluster.stop();
    outcome?;
    stopped?;
    std::fs::remove_dir_all(&home)?;
    Ok(())
}
