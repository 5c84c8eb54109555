//! Where everything of a local consortium lies.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The five services of an organisation.
pub const SERVICES: &[&str] = &["validate", "consensus", "keys", "audit", "ingest"];

/// What a person or a test needs to find its way: `consortium.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    pub channel: String,
    pub nats_port: u16,
    pub organisations: Vec<Organisation>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organisation {
    pub name: String,
    /// First of its ten ports: +0 FHIR, +1 dashboard, +2 … +6 health of the services in order,
    /// +7 the door of the keys service.
    pub port: u16,
}

impl Organisation {
    pub fn fhir_url(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.port)
    }
    /// Where the development issuer answers.
    pub fn issuer_url(&self) -> String {
        format!("http://127.0.0.1:{}/auth", self.port)
    }
    pub fn dashboard_url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port + 1)
    }
    /// Where `consilium keys` asks.
    pub fn door_port(&self) -> u16 {
        self.port + 7
    }
    pub fn health_port(&self, service: &str) -> u16 {
        let i = SERVICES.iter().position(|s| *s == service).and_then(|i| u16::try_from(i).ok());
        self.port + 2 + i.unwrap_or(0)
    }
    pub fn health_url(&self, service: &str) -> String {
        format!("http://127.0.0.1:{}/readyz", self.health_port(service))
    }
    pub fn metrics_url(&self, service: &str) -> String {
        format!("http://127.0.0.1:{}/metrics", self.health_port(service))
    }
}

/// The folder.
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub fn new(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Self { dir: dir.canonicalize()? })
    }
    pub fn book_file(&self) -> PathBuf {
        self.dir.join("consortium.json")
    }
    pub fn book(&self) -> Result<Book> {
        let path = self.book_file();
        let text = std::fs::read(&path).with_context(|| {
            format!("there is no consortium here: run `consilium up` ({})", path.display())
        })?;
        Ok(serde_json::from_slice(&text)?)
    }
    pub fn genesis(&self) -> PathBuf {
        self.dir.join("genesis.json")
    }
    /// Public post-quantum keys of all members, one file each.
    pub fn post_quantum(&self) -> PathBuf {
        self.dir.join("post-quantum")
    }
    pub fn schema_cache(&self) -> PathBuf {
        self.dir.join("schema.bin")
    }
    pub fn nats(&self) -> PathBuf {
        self.dir.join("nats")
    }
    /// A secret of one service, readable by its owner only.
    pub fn secret(&self, org: &str, name: &str) -> PathBuf {
        self.dir.join(org).join("secrets").join(name)
    }
    pub fn data(&self, org: &str, service: &str) -> PathBuf {
        self.dir.join(org).join("data").join(service)
    }
    pub fn config(&self, org: &str, service: &str) -> PathBuf {
        self.dir.join(org).join(format!("{service}.toml"))
    }
    pub fn log(&self, org: &str, service: &str) -> PathBuf {
        self.dir.join(org).join(format!("{service}.log"))
    }
    pub fn pid(&self, org: &str, service: &str) -> PathBuf {
        self.dir.join(org).join(format!("{service}.pid"))
    }
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut f = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    f.write_all(bytes)?;
    Ok(())
}
