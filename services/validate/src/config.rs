//! Settings of the validate service.

use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The service's own part of its configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub validate: ValidateConfig,
}

/// `[validate]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidateConfig {
    /// FHIR packages (`.tgz`), `hl7.fhir.r4.core` 4.0.1 among them; the same for all members of a channel.
    pub packages: Vec<PathBuf>,
    /// Genesis of the channel, JSON: the members' keys.
    pub genesis_file: PathBuf,
    /// 64 hexadecimal digits: the seed of the key by which attestations are signed.
    pub signing_key_file: PathBuf,
    /// Where the compiled definitions are kept between starts; none = compiled at each start.
    #[serde(default)]
    pub schema_cache: Option<PathBuf>,
    /// Documents that are validated at a time; none = one per processor.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// How far the time of a request for attestation may be from this machine's clock, in milliseconds.
    #[serde(default = "default_window")]
    pub window_ms: u64,
}

fn default_window() -> u64 {
    30_000
}

impl ValidateConfig {
    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    pub(crate) fn parallel(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.concurrency.unwrap_or_else(processors).max(1)
    }
}
