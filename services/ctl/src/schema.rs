//! The FHIR schema for the offline commands: the core package and whatever packages are named, compiled once and kept.

use anyhow::{Context, Result};
use consilium_domain::Digest;
use consilium_fhir::Schema;
use std::path::{Path, PathBuf};

/// File name of the R4 core package.
pub const CORE: &str = "hl7.fhir.r4.core.tgz";

/// Folder of the FHIR packages: `$CONSILIUM_FHIR_PACKAGES`, else `TOOLS/fhir`.
pub fn folder(tools: &Path) -> PathBuf {
    std::env::var_os("CONSILIUM_FHIR_PACKAGES").map_or_else(|| tools.join("fhir"), PathBuf::from)
}

/// Compiles the core package, `more` packages and single definitions, or takes the result of an earlier run from
/// beside the core package.
pub fn load(tools: &Path, more: &[PathBuf], resources: &[PathBuf]) -> Result<Schema> {
    let folder = folder(tools);
    let mut packages = Vec::new();
    for path in std::iter::once(&folder.join(CORE)).chain(more) {
        packages.push(
            std::fs::read(path).with_context(|| {
                format!("read {} (`make setup` fetches the core package)", path.display())
            })?,
        );
    }
    let mut singles = Vec::new();
    for path in resources {
        singles.push(std::fs::read(path).with_context(|| format!("read {}", path.display()))?);
    }
    let parts: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
    let single: Vec<&[u8]> = singles.iter().map(Vec::as_slice).collect();
    let count = (parts.len() as u64).to_be_bytes();
    let hashes: Vec<u8> = parts.iter().chain(&single).flat_map(|p| Digest::sha256(&[p]).0).collect();
    let key = Digest::sha256(&[env!("CARGO_PKG_VERSION").as_bytes(), &count, &hashes]);
    let cache = folder.join(format!("schema-{}.bin", key.to_hex().get(..16).unwrap_or_default()));
    if let Some(schema) = std::fs::read(&cache).ok().and_then(|b| Schema::from_bytes(&b).ok()) {
        return Ok(schema);
    }
    let schema = Schema::compile_with(&parts, &single).context("compile the FHIR definitions")?;
    // A cache that cannot be written only costs time; a half-written one must not be found.
    let part = cache.with_extension(format!("{}.part", std::process::id()));
    if std::fs::write(&part, schema.to_bytes()).is_ok() {
        let _ = std::fs::rename(&part, &cache);
    }
    Ok(schema)
}
