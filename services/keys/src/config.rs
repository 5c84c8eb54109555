//! Settings of the keys service.

use serde::Deserialize;
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
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// Folder of the sealed files; used by one process at a time.
    pub data_dir: PathBuf,
    /// Genesis of the channel, JSON: the members' authority public keys.
    pub genesis_file: PathBuf,
    /// 64 hexadecimal digits of random bytes.
    pub unseal_key_file: PathBuf,
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
