//! Settings of the keys service.

use crate::motion::Officer;
use crate::seal::SealConfig;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The service's own part of its configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub keys: KeysConfig,
    /// Which attribute each role of a verified caller stands for; a role without a rule stands for none.
    #[serde(default)]
    pub mapping: Vec<Mapping>,
    #[serde(default)]
    pub limits: Limits,
    /// How the master key is wrapped; absent: by `keys.unseal_key_file`.
    #[serde(default)]
    pub seal: Option<SealConfig>,
    /// Who may ask for what an operator may not do alone. Taken up once, into the vault; from then on only the
    /// officers there change the list.
    #[serde(default, rename = "officer")]
    pub officers: Vec<Officer>,
    #[serde(default)]
    pub admin: Option<Admin>,
    #[serde(default)]
    pub epochs: Epochs,
    #[serde(default)]
    pub holders: Holders,
    #[serde(default)]
    pub post_quantum: PostQuantumConfig,
}

/// `[post_quantum]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostQuantumConfig {
    /// Folder with `<organisation>.pub` of every member of the genesis; class keys then have a second lock.
    pub keys_dir: Option<PathBuf>,
}

/// `[admin]`: where `consilium keys` asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// An address of the own host, e.g. `127.0.0.1:9091`; in Kubernetes `kubectl port-forward` reaches it.
    pub listen: SocketAddr,
}

/// `[epochs]`: attribute epochs are weeks (ISO 8601, UTC).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Epochs {
    /// Hours of a new week in which keys of the one before are still issued.
    pub overlap_hours: u32,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { overlap_hours: 24 }
    }
}

impl Epochs {
    pub(crate) fn overlap(self) -> Duration {
        Duration::from_secs(u64::from(self.overlap_hours.min(168)) * 3600)
    }
}

/// `[holders]`: people of this organisation.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Holders {
    /// Attribute keys only for people who registered a key of their own (`consilium keys gid`).
    pub registered_only: bool,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// Folder of the sealed files; used by one process at a time.
    pub data_dir: PathBuf,
    /// Genesis of the channel, JSON: the members' authority public keys.
    pub genesis_file: PathBuf,
    /// 64 hexadecimal digits of random bytes. With a `[seal]` of another method only needed for the first start,
    /// to take over what `consilium keys init` made.
    #[serde(default)]
    pub unseal_key_file: Option<PathBuf>,
}

/// `[[mapping]]`: callers with `role` have `attribute` of this organisation's authority.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// As ingest reads it from the token.
    pub role: String,
    /// `name` or `name=value`, as policies write it before the `@`.
    pub attribute: String,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Class keys that one caller may have opened in a minute, on average and in one burst.
    pub opens_per_minute: u32,
    /// Opened class keys that are remembered.
    pub cache_entries: usize,
    /// Seconds for which they are; also how long a caller whose role was withdrawn elsewhere may profit.
    pub cache_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { opens_per_minute: 600, cache_entries: 4096, cache_seconds: 300 }
    }
}

impl Limits {
    pub(crate) fn cache_time(&self) -> Duration {
        Duration::from_secs(self.cache_seconds)
    }
}
