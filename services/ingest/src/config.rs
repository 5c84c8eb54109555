//! Settings of the ingest service. Secrets are file paths; whatever is unknown is refused.

use serde::Deserialize;
use std::path::PathBuf;
use thiserror::Error;

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// When its block is committed.
    #[default]
    Committed,
    /// When it is durable here; it is *unproven* until the ledger has it, readable at home, not exchangeable.
    Stored,
}

/// The service's own part of its configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub http: Http,
    pub database: Database,
    pub ledger: Ledger,
    pub fhir: Fhir,
    pub auth: Auth,
    #[serde(default)]
    pub development_issuer: Option<DevelopmentIssuer>,
    #[serde(default)]
    pub limits: Limits,
}

/// `[http]`: where to listen, and how clients see it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// e.g. `127.0.0.1:8081`.
    pub listen: String,
    /// The base URL as clients see it, without a trailing slash, e.g. `https://fhir.hospital-a.example/fhir`.
    pub base_url: String,
}

/// `[database]`: the records.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite://FILE?mode=rwc`. Use `url_file` for a URL with a password.
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// Connections for reading (SQLite), or for all work (PostgreSQL).
    #[serde(default = "default_readers")]
    pub readers: u32,
    /// Key of the blind indexes: 64 hexadecimal digits. Losing it makes the store unsearchable.
    pub index_key_file: PathBuf,
}

/// `[ledger]`: the channel and this service's key there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Genesis of the channel, JSON.
    pub genesis_file: PathBuf,
    /// Seed of the ingest signing key: 64 hexadecimal digits.
    pub signing_key_file: PathBuf,
    #[serde(default)]
    pub acknowledge: Acknowledge,
}

/// `[fhir]`: definitions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fhir {
    /// FHIR packages (`.tgz`): `hl7.fhir.r4.core` and what the profiles need. The same as the validate service's.
    pub packages: Vec<PathBuf>,
    /// Where the compiled schema is kept between starts.
    #[serde(default)]
    pub schema_cache: Option<PathBuf>,
    /// Offset of the organisation's zone from UTC in minutes, for dates without a zone.
    #[serde(default)]
    pub zone_minutes: i64,
}

/// Whose tokens are accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub issuer: String,
    pub audience: String,
    /// JSON Web Key Set with ES384 and RS384 keys. Absent: the development issuer's own key.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// Shown to clients in `smart-configuration`.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// Where a person signs in (SMART App Launch), if the issuer offers that. Shown like the token endpoint.
    #[serde(default)]
    pub authorize_endpoint: Option<String>,
}

/// Issues tokens without asking anybody. Only with `organisation.profile = "demo"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevelopmentIssuer {
    /// PKCS#8 PEM of an EC P-384 key.
    pub key_file: PathBuf,
    #[serde(default)]
    pub clients: Vec<Client>,
}

/// A client of the development issuer that authenticates with a signed assertion (RFC 7523).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub id: String,
    pub jwks_file: PathBuf,
    /// Scopes it may have, separated by spaces.
    pub scope: String,
}

/// What a request may cost.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub body_bytes: usize,
    pub depth: usize,
    pub nodes: usize,
    /// Entries of a bundle.
    pub entries: usize,
    /// Matches per page: without `_count`, and at most.
    pub page: u32,
    pub page_max: u32,
    /// Milliseconds to wait for attestations, and for the ledger.
    pub attest_ms: u64,
    pub commit_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 * 1024 * 1024,
            depth: 64,
            nodes: 4 * 1024 * 1024,
            entries: 10_000,
            page: 50,
            page_max: 500,
            attest_ms: 10_000,
            commit_ms: 20_000,
        }
    }
}

fn default_readers() -> u32 {
    4
}

/// Why the configuration is refused although each value is well formed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error(
        "`development_issuer` gives tokens to anybody: it is allowed only with `organisation.profile = \"demo\"`"
    )]
    DevelopmentIssuer,
    #[error(
        "`auth.jwks_file` is missing and there is no `development_issuer`: no token could ever be verified"
    )]
    NoKeys,
    #[error("`database` needs exactly one of `url` and `url_file`")]
    DatabaseUrl,
    #[error("`http.base_url` must start with `http://` or `https://` and must not end with `/`")]
    BaseUrl,
}

impl Config {
    /// Refuses combinations that would be unsafe. `demo` = the organisation's profile is `demo`.
    pub fn check(&self, demo: bool) -> Result<(), ConfigError> {
        if self.development_issuer.is_some() && !demo {
            return Err(ConfigError::DevelopmentIssuer);
        }
        if self.auth.jwks_file.is_none() && self.development_issuer.is_none() {
            return Err(ConfigError::NoKeys);
        }
        if self.database.url.is_some() == self.database.url_file.is_some() {
            return Err(ConfigError::DatabaseUrl);
        }
        let url = &self.http.base_url;
        if !(url.starts_with("http://") || url.starts_with("https://")) || url.ends_with('/') {
            return Err(ConfigError::BaseUrl);
        }
        Ok(())
    }
}
