//! The FHIR definitions by which this service judges: packages from files, compiled once.

use crate::config::ValidateConfig;
use anyhow::{Context, bail};
use consilium_domain::Digest;
use consilium_fhir::Schema;
use std::collections::BTreeSet;
use std::path::Path;

/// Reads the packages and compiles them, or takes what an earlier start compiled from the very same packages.
/// Slow without a cache: not for an executor's thread.
pub fn load(config: &ValidateConfig) -> anyhow::Result<Schema> {
    if config.packages.is_empty() {
        bail!("`validate.packages` is empty: name `hl7.fhir.r4.core` 4.0.1 at least");
    }
    let mut packages = Vec::with_capacity(config.packages.len());
    for path in &config.packages {
        let bytes = std::fs::read(path)
            .with_context(|| format!("cannot read the package {} of `validate.packages`", path.display()))?;
        packages.push(bytes);
    }
    let digests: BTreeSet<[u8; 32]> = packages.iter().map(|p| Digest::sha256(&[p]).0).collect();
    if let Some(cache) = &config.schema_cache
        && let Some(schema) = cached(cache, &digests)
    {
        return Ok(schema);
    }
    let slices: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
    let schema = Schema::compile(&slices).context("`validate.packages` cannot be compiled")?;
    if let Some(cache) = &config.schema_cache
        && let Err(error) = keep(cache, &schema)
    {
        tracing::warn!(%error, "the compiled definitions are not kept: `validate.schema_cache` cannot be written");
    }
    Ok(schema)
}

/// The cache's schema, if it is of this release and of exactly these packages.
fn cached(path: &Path, packages: &BTreeSet<[u8; 32]>) -> Option<Schema> {
    let schema = Schema::from_bytes(&std::fs::read(path).ok()?).ok()?;
    let compiled: BTreeSet<[u8; 32]> = schema.packages().iter().map(|p| p.sha256).collect();
    (compiled == *packages).then_some(schema)
}

/// Writes beside and renames, so that a reader never meets half a file.
fn keep(path: &Path, schema: &Schema) -> std::io::Result<()> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&beside, schema.to_bytes())?;
    std::fs::rename(&beside, path)
}
