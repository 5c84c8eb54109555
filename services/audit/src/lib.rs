//! The audit service: an append-only log of AuditEvents (IHE BALP), its anchors on the ledger, the dashboard.
//!
//! An event is acknowledged when it is durable. The log is a tree of RFC 6962 over the events' bytes; its checkpoints
//! go to the ledger, so a log that was rewritten afterwards no longer fits what more than two thirds of the
//! organisations signed.

mod anchor;
mod event;
mod http;
mod integrity;
mod ledger;
mod log;
mod seal;
#[cfg(test)]
mod tests;
mod tiles;
mod tree;
mod views;

use anyhow::{Context, bail};
use consilium_contracts::v1::{AppendRequest, AppendResponse, Failure};
use consilium_domain::genesis::Genesis;
use consilium_ledger::SigningKey;
use consilium_runtime::members::{self, Own};
use consilium_runtime::{Kit, Service};
use consilium_store::sql::{Sql, audit::AuditLog};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Configuration beside the common tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `sqlite://FILE?mode=rwc` or `postgres://…`. Use `database_url_file` for a URL with a password.
    #[serde(default)]
    pub database_url: Option<String>,
    /// File that holds the URL.
    #[serde(default)]
    pub database_url_file: Option<PathBuf>,
    /// Genesis of the channel (JSON).
    pub genesis_file: PathBuf,
    /// Seed of the key that signs anchors: 64 hexadecimal digits.
    pub key_file: PathBuf,
    /// Key under which events lie on the disk: 64 hexadecimal digits.
    pub storage_key_file: PathBuf,
    #[serde(default)]
    pub anchor: AnchorConfig,
    pub dashboard: DashboardConfig,
}

/// `[anchor]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnchorConfig {
    /// Longest time, in milliseconds, that an event waits for its checkpoint to be sent to the ledger.
    pub interval_ms: u64,
    /// Time between two checks of the whole log, in milliseconds.
    pub check_ms: u64,
}

impl Default for AnchorConfig {
    fn default() -> Self {
        Self { interval_ms: 2000, check_ms: 30_000 }
    }
}

/// `[dashboard]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DashboardConfig {
    /// `host:port`.
    pub listen: String,
    /// Name of the compliance officer who may sign in (HTTP Basic, so only behind TLS or on loopback).
    pub officer: String,
    /// File with the officer's password.
    pub password_file: PathBuf,
}

/// The service.
pub struct Audit;

/// A 32-byte key from a file of 64 hexadecimal digits.
fn key(path: &Path) -> anyhow::Result<[u8; 32]> {
    let text = consilium_runtime::config::read_secret(path)?;
    let mut out = [0; 32];
    if hex::decode_to_slice(text.trim(), &mut out).is_err() {
        bail!("{} must hold 64 hexadecimal digits", path.display());
    }
    Ok(out)
}

impl Service for Audit {
    const NAME: &'static str = "audit";
    type Config = Config;

    async fn run(config: Config, kit: Kit) -> anyhow::Result<()> {
        let genesis = std::fs::read(&config.genesis_file).context("read `genesis_file`")?;
        let genesis: Genesis = serde_json::from_slice(&genesis).context("`genesis_file` is no genesis")?;
        let signing = SigningKey::from_seed(key(&config.key_file)?);
        let own = Own { key: "audit", is: &|member| member.audit == signing.public() };
        members::of_own_key(&genesis, &kit, &own).await.context("`key_file`")?;
        let seal =
            seal::Seal::new(&key(&config.storage_key_file)?).context("`storage_key_file` is unusable")?;
        let stored = kit.health.check("log");
        stored.not_ready("opening");
        let url = match (&config.database_url, &config.database_url_file) {
            (Some(url), None) => url.clone(),
            (None, Some(path)) => consilium_runtime::config::read_secret(path)?,
            _ => bail!("give exactly one of `database_url` and `database_url_file`"),
        };
        let sql = Sql::open(&url, 4).await.context("open the database")?;
        let log = Arc::new(log::Log::open(AuditLog::new(&sql), seal, kit.clock.clone(), &kit.meter).await?);
        stored.ready();

        let appender = Arc::clone(&log);
        kit.bus
            .serve_messages(&kit.subjects.audit_append(), Some("audit"), 16, move |request: AppendRequest| {
                let log = Arc::clone(&appender);
                async move {
                    match log.append(request.events).await {
                        Ok(first) => AppendResponse { first, failure: None },
                        Err(e) => {
                            tracing::warn!(error = %e, "events were not appended");
                            let failure = Failure::new(e.code(), e.to_string());
                            AppendResponse { first: 0, failure: Some(failure) }
                        }
                    }
                }
            })
            .await?;

        let state = integrity::State::default();
        let anchors = anchor::Anchors::new(kit.clone(), Arc::clone(&log), signing, genesis.clone());
        let anchoring = tokio::spawn(anchors.run(Duration::from_millis(config.anchor.interval_ms)));
        let checking = tokio::spawn(integrity::run(
            kit.clone(),
            Arc::clone(&log),
            state.clone(),
            Duration::from_millis(config.anchor.check_ms),
        ));
        let password = consilium_runtime::config::read_secret(&config.dashboard.password_file)?;
        let genesis_channel = genesis.channel.clone();
        let app = http::App {
            log,
            ledger: ledger::Ledger::new(kit.clone(), genesis.clone()),
            genesis,
            state,
            clock: kit.clock.clone(),
            entropy: kit.entropy.clone(),
            organisation: kit.common.organisation.name.clone(),
            publisher: tiles::Publisher::new(
                SigningKey::from_seed(key(&config.key_file)?),
                genesis_channel.as_str(),
                &kit.common.organisation.name,
            ),
            officer: config.dashboard.officer.clone(),
            password,
        };
        let server = http::server(&config.dashboard.listen, app)?;
        let handle = server.handle();
        let serving = tokio::spawn(server);
        tracing::info!(dashboard = %config.dashboard.listen, "audit is up");
        kit.shutdown.wait().await;
        handle.stop(true).await;
        serving.await??;
        anchoring.await?;
        checking.await?;
        sql.close().await;
        Ok(())
    }
}
