//! Configuration: one TOML file per service. Four tables are the same everywhere ([`Common`]); the rest is
//! the service's own type. Unknown keys are refused, secrets are paths of files.

use consilium_domain::{ChannelId, OrgId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Names of the tables that [`Common`] takes; a service's own configuration cannot have them.
const COMMON: [&str; 4] = ["organisation", "bus", "health", "telemetry"];

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("the configuration is not acceptable: {0}")]
    Refused(String),
}

/// The tables that every service has.
#[derive(Debug, Clone, Deserialize)]
pub struct Common {
    pub organisation: Organisation,
    pub bus: BusConfig,
    pub health: HealthConfig,
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

/// `[organisation]`: whose service this is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organisation {
    pub name: OrgId,
    pub channel: ChannelId,
    #[serde(default)]
    pub profile: Profile,
}

/// How much the service insists on. `Demo` allows what a laptop needs, e.g. keys without a KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    #[default]
    Production,
    Demo,
}

/// `[bus]`: the NATS server and this service's user there.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusConfig {
    /// `nats://host:port` or `tls://host:port`, several separated by commas; without user and password.
    pub url: String,
    pub user: String,
    pub password_file: PathBuf,
    /// PEM file of the authorities that sign the server's certificate, with `tls://`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Largest payload, in bytes, that is taken in chunks.
    #[serde(default = "default_blob_limit")]
    pub blob_limit: usize,
}

fn default_blob_limit() -> usize {
    64 * 1024 * 1024
}

impl fmt::Debug for BusConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever stands before an `@` could be a password, even though such an address is refused.
        let url = if self.url.contains('@') { "(refused)" } else { self.url.as_str() };
        f.debug_struct("BusConfig")
            .field("url", &url)
            .field("user", &self.user)
            .field("password_file", &self.password_file)
            .field("ca_file", &self.ca_file)
            .field("blob_limit", &self.blob_limit)
            .finish()
    }
}

/// `[health]`: where probes and Prometheus ask.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// `host:port`.
    pub listen: String,
    /// Longest time, in milliseconds, that started work may take after the signal to stop.
    #[serde(default = "default_grace")]
    pub grace_ms: u64,
}

fn default_grace() -> u64 {
    20_000
}

impl HealthConfig {
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

/// `[telemetry]`: logs and traces.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// gRPC address of an OpenTelemetry collector; none = no traces leave the process.
    pub otlp_endpoint: Option<String>,
    /// `tracing_subscriber::EnvFilter`, e.g. `info,consilium_ingest=debug`.
    pub filter: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

/// Our own events; libraries that log each vote and each connection speak up only to warn.
const DEFAULT_FILTER: &str =
    "info,arc_malachitebft_core_consensus=warn,arc_malachitebft_core_driver=warn,actix_server=warn";

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, filter: DEFAULT_FILTER.to_owned(), json: false }
    }
}

/// Reads and checks a configuration file.
pub fn load<C: DeserializeOwned>(path: &Path) -> Result<(Common, C), ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
    parse(&text)
}

/// Takes the common tables out of a configuration and gives the rest to the service's own type, which
/// should be `deny_unknown_fields`.
pub fn parse<C: DeserializeOwned>(text: &str) -> Result<(Common, C), ConfigError> {
    let refused = |cause: toml::de::Error| ConfigError::Refused(cause.to_string().trim().replace('\n', " "));
    let common: Common = toml::from_str(text).map_err(refused)?;
    if common.bus.url.contains('@') {
        return Err(ConfigError::Refused(
            "`bus.url` holds a user or password: put them in `user` and `password_file`".to_owned(),
        ));
    }
    let mut own: toml::Table = toml::from_str(text).map_err(refused)?;
    for table in COMMON {
        own.remove(table);
    }
    let own = own.try_into().map_err(refused)?;
    Ok((common, own))
}

/// Reads a secret's file, without the line break at its end. The error names the path, never the content.
pub fn read_secret(path: &Path) -> Result<String, ConfigError> {
    let mut text =
        std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Own {
        listen: String,
    }

    const GOOD: &str = r#"
        listen = "127.0.0.1:8080"
        [organisation]
        name = "hospital-a"
        channel = "north"
        profile = "demo"
        [bus]
        url = "nats://127.0.0.1:4222"
        user = "hospital-a.ingest"
        password_file = "/run/secrets/nats"
        [health]
        listen = "127.0.0.1:9090"
    "#;

    #[test]
    fn common_tables_and_own_keys_are_told_apart() {
        let (common, own) = parse::<Own>(GOOD).unwrap();
        assert_eq!(common.organisation.name.as_str(), "hospital-a");
        assert_eq!(common.organisation.profile, Profile::Demo);
        assert_eq!(common.bus.blob_limit, 64 * 1024 * 1024);
        assert_eq!(common.telemetry.filter, DEFAULT_FILTER);
        assert_eq!(own.listen, "127.0.0.1:8080");
    }

    #[test]
    fn unknown_keys_are_refused_everywhere() {
        for (place, extra) in [
            ("listen = \"127.0.0.1:8080\"", "lisen = 1"),
            ("[organisation]", "profil = \"demo\""),
            ("[bus]", "pasword_file = \"x\""),
            ("[health]", "port = 1"),
        ] {
            let text = GOOD.replacen(place, &format!("{place}\n{extra}\n"), 1);
            let key = extra.split(' ').next().unwrap();
            let error = parse::<Own>(&text).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(parse::<Own>(&GOOD.replace("hospital-a\"", "Hospital A\"")).is_err());
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_shown() {
        let text = GOOD.replace("nats://", "nats://me:hush@");
        assert!(!parse::<Own>(&text).unwrap_err().to_string().contains("hush"));
        let common: Common = toml::from_str(&text.replace("listen = \"127.0.0.1:8080\"", "")).unwrap();
        assert!(!format!("{common:?}").contains("hush"));
    }
}
