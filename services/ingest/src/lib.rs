//! The FHIR endpoint of an organisation: REST, search, transactions, the exchange with other organisations.
//!
//! `http` is the edge, `commit` the way of records onto the ledger, `exchange` the custodian's answers to others,
//! `worker` what goes on in the background.

mod app;
mod audit;
mod audit_event;
mod auth;
mod blind;
mod commit;
pub mod config;
mod consent;
mod content;
mod erasure;
mod error;
mod exchange;
mod http;
mod issuer;
mod leaves;
mod peers;
mod resource;
mod scope;
mod sealing;
mod transit;
mod withdraw;
mod worker;

#[cfg(test)]
mod tests;

use actix_web::{HttpServer, web};
use anyhow::Context as _;
use app::{App, Metrics};
use auth::{Keys, Verifier};
use blind::Blind;
use config::Config;
use consilium_abe::transit::TransitKey;
use consilium_contracts::v1::ExchangeRequest;
use consilium_domain::Canonical;
use consilium_domain::genesis::Genesis;
use consilium_fhir::Schema;
use consilium_ledger::SigningKey;
use consilium_runtime::config::read_secret;
use consilium_runtime::gather::{COMPANY, Gather};
use consilium_runtime::members::{self, Own};
use consilium_runtime::{Kit, Profile, Service};
use consilium_store::Sql;
use consilium_store::sql::consents::Consents;
use consilium_store::sql::outbox::Outbox;
use consilium_store::sql::records::Records;
use consilium_store::sql::seen::Seen;
use consilium_store::sql::spool::Spool;
use issuer::{Issuer, IssuerClient};
use jsonwebtoken::jwk::JwkSet;
use peers::Peers;
use sealing::ClassKeys;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// The service.
pub struct Ingest;

/// Exchange requests answered at a time.
const EXCHANGES: usize = 32;

impl Service for Ingest {
    const NAME: &'static str = "ingest";
    type Config = Config;

    async fn run(config: Config, kit: Kit) -> anyhow::Result<()> {
        let app = Arc::new(build(&config, &kit).await?);
        let store = kit.health.check("store");
        store.ready();
        let handler = Arc::clone(&app);
        kit.bus
            .serve_some_messages(
                &kit.subjects.ingest_exchange(),
                Some("ingest"),
                EXCHANGES,
                move |request: ExchangeRequest| exchange::answer(Arc::clone(&handler), request),
            )
            .await?;
        let background = tokio::spawn(worker::run(Arc::clone(&app), kit.shutdown.clone()));
        let erasures = tokio::spawn(erasure::run(Arc::clone(&app), kit.shutdown.clone()));
        let data = web::Data::new(Arc::clone(&app));
        let server = HttpServer::new(move || {
            actix_web::App::new().app_data(data.clone()).default_service(web::to(http::dispatch))
        })
        .disable_signals()
        .shutdown_timeout(15)
        .bind(&config.http.listen)
        .with_context(|| format!("`http.listen`: cannot bind {}", config.http.listen))?
        .run();
        let handle = server.handle();
        let shutdown = kit.shutdown.clone();
        tokio::spawn(async move {
            shutdown.wait().await;
            handle.stop(true).await;
        });
        tracing::info!(listen = config.http.listen, base = config.http.base_url, "FHIR endpoint");
        server.await?;
        kit.shutdown.trigger();
        background.await?;
        erasures.await?;
        Ok(())
    }
}

fn key_of(path: &Path) -> anyhow::Result<[u8; 32]> {
    let text = read_secret(path)?;
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key)
        .map_err(|_| anyhow::anyhow!("`{}` must hold 64 hexadecimal digits", path.display()))?;
    Ok(key)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn key_set(path: &Path) -> anyhow::Result<JwkSet> {
    serde_json::from_slice(&read(path)?)
        .with_context(|| format!("`{}` is no JSON Web Key Set", path.display()))
}

/// The compiled schema: from the cache when it was made of these very packages, else compiled and cached.
fn schema(config: &config::Fhir) -> anyhow::Result<Schema> {
    let packages: Vec<Vec<u8>> =
        config.packages.iter().map(|p: &PathBuf| read(p)).collect::<Result<_, _>>()?;
    let mut wanted: Vec<[u8; 32]> = packages.iter().map(|p| Sha256::digest(p).into()).collect();
    wanted.sort_unstable();
    if let Some(path) = &config.schema_cache
        && let Ok(bytes) = std::fs::read(path)
        && let Ok(schema) = Schema::from_bytes(&bytes)
    {
        let mut have: Vec<[u8; 32]> = schema.packages().iter().map(|p| p.sha256).collect();
        have.sort_unstable();
        if have == wanted {
            return Ok(schema);
        }
    }
    let borrowed: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
    let schema = Schema::compile(&borrowed).context("`fhir.packages`")?;
    if let Some(path) = &config.schema_cache {
        // Whole or not at all: several services may share the file.
        let own = path.with_extension(format!("{}.part", std::process::id()));
        let written = std::fs::write(&own, schema.to_bytes()).and_then(|()| std::fs::rename(&own, path));
        if let Err(error) = written {
            tracing::warn!(%error, "the compiled schema could not be cached");
        }
    }
    Ok(schema)
}

fn verifier(config: &Config, issuer: Option<&Issuer>) -> anyhow::Result<Verifier> {
    let set = match (&config.auth.jwks_file, issuer) {
        (Some(path), _) => key_set(path)?,
        (None, Some(issuer)) => issuer.jwks().clone(),
        (None, None) => anyhow::bail!("no key set to verify tokens with"),
    };
    let keys = Keys::new(&set);
    anyhow::ensure!(!keys.is_empty(), "`auth.jwks_file` holds no ES384 or RS384 key with a `kid`");
    Ok(Verifier { keys, issuer: config.auth.issuer.clone(), audience: config.auth.audience.clone() })
}

fn development_issuer(config: &Config) -> anyhow::Result<Option<Issuer>> {
    let Some(own) = &config.development_issuer else { return Ok(None) };
    let clients = own
        .clients
        .iter()
        .map(|c| {
            Ok(IssuerClient {
                id: c.id.clone(),
                keys: Keys::new(&key_set(&c.jwks_file)?),
                scope: c.scope.clone(),
            })
        })
        .collect::<anyhow::Result<_>>()?;
    tracing::warn!("the development issuer gives tokens to whoever asks");
    let token_url = format!("{}/token", config.auth.issuer);
    Issuer::open(&own.key_file, clients, &config.auth.issuer, &config.auth.audience, &token_url).map(Some)
}

/// Puts the service's parts together; refuses what would be unsafe.
async fn build(config: &Config, kit: &Kit) -> anyhow::Result<App> {
    config.check(kit.common.organisation.profile == Profile::Demo)?;
    let organisation = kit.common.organisation.name.clone();
    let channel = kit.common.organisation.channel.clone();
    let genesis: Genesis =
        serde_json::from_slice(&read(&config.ledger.genesis_file)?).context("`ledger.genesis_file`")?;
    anyhow::ensure!(
        genesis.channel == channel,
        "`ledger.genesis_file` is of another channel than `organisation.channel`"
    );
    let seed = key_of(&config.ledger.signing_key_file)?;
    let (key, transit) = (Arc::new(SigningKey::from_seed(seed)), TransitKey::from_seed(&seed));
    let members = members::follow_from(
        &genesis,
        kit,
        &Own { key: "ingest", is: &|member| member.ingest == key.public() },
    )
    .await
    .context("`ledger.signing_key_file`")?;
    let blind = Blind::new(&key_of(&config.database.index_key_file)?).context("`database.index_key_file`")?;
    let url = match (&config.database.url, &config.database.url_file) {
        (Some(url), _) => url.clone(),
        (None, Some(path)) => read_secret(path)?,
        (None, None) => anyhow::bail!("`database.url` is missing"),
    };
    let sql = Sql::open(&url, config.database.readers).await.context("`database`")?;
    let fhir = config.fhir.clone();
    let schema = tokio::task::spawn_blocking(move || schema(&fhir)).await??;
    let issuer = development_issuer(config)?;
    let verifier = verifier(config, issuer.as_ref())?;
    let peers = Peers::new(kit.bus.clone(), kit.subjects.clone());
    let token_endpoint =
        config.auth.token_endpoint.clone().or_else(|| issuer.as_ref().map(|i| i.token_url.clone()));
    let hand = (Arc::clone(&key), channel.clone());
    let signer = Gather::new(Arc::clone(&kit.clock), COMPANY, move |all| {
        let (key, channel) = &hand;
        key.sign_txs(channel, all).iter().map(Canonical::to_canonical).collect()
    });
    Ok(App {
        organisation,
        channel,
        genesis_digest: genesis.digest(),
        genesis,
        members,
        key,
        signer,
        transit,
        blind,
        schema: Arc::new(schema),
        records: Records::new(&sql),
        outbox: Outbox::new(&sql),
        consents: Consents::new(&sql),
        seen: Seen::new(&sql),
        spool: Spool::new(&sql),
        classes: ClassKeys::new(peers.clone(), Arc::clone(&kit.clock)),
        peers,
        verifier,
        issuer,
        token_endpoint,
        authorize_endpoint: config.auth.authorize_endpoint.clone(),
        base_url: config.http.base_url.clone(),
        acknowledge: config.ledger.acknowledge,
        limits: config.limits,
        zone_minutes: config.fhir.zone_minutes,
        clock: Arc::clone(&kit.clock),
        entropy: kit.entropy.clone(),
        wake: Notify::new(),
        metrics: Metrics {
            requests: kit.meter.histogram(
                "http_request_seconds",
                "duration of requests",
                &["method", "status"],
            )?,
            records: kit.meter.counter(
                "records_total",
                "records stored, and batches committed",
                &["stage"],
            )?,
            decisions: kit.meter.counter(
                "decisions_total",
                "decisions of the exchange by effect",
                &["effect"],
            )?,
            repeated: kit.meter.counter(
                "exchange_repeated_total",
                "exchange requests seen before, left unanswered",
                &[],
            )?,
        },
    })
}
