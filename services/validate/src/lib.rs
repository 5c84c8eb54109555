//! The validate service: full verdicts on resources for its own organisation, and signed attestations on the
//! projections that other organisations send. It keeps nothing but its key and its definitions.

pub mod attest;
pub mod check;
mod config;
pub mod definitions;
mod error;
mod worker;

pub use config::{Config, ValidateConfig};
pub use error::Refusal;

use anyhow::{Context, bail};
use attest::Attester;
use consilium_domain::genesis::Genesis;
use consilium_fhir::{Options, Validator};
use consilium_ledger::SigningKey;
use consilium_runtime::members::{self, Own};
use consilium_runtime::{Kit, Service, config::read_secret};
use std::sync::Arc;

/// The service, for `consilium_runtime::main`.
pub struct Validate;

impl Service for Validate {
    const NAME: &'static str = "validate";
    type Config = Config;

    async fn run(config: Config, kit: Kit) -> anyhow::Result<()> {
        let ready = kit.health.check("definitions");
        let (genesis, key) = credentials(&config.validate, &kit)?;
        let settings = config.validate.clone();
        let schema = tokio::task::spawn_blocking(move || definitions::load(&settings)).await??;
        for missing in schema.unresolved() {
            tracing::warn!(package = missing, "a package that the loaded ones build on is not loaded");
        }
        let members = members::follow_from(
            &genesis,
            &kit,
            &Own { key: "validate", is: &|member| member.validate == key.public() },
        )
        .await
        .context("`validate.signing_key_file`")?;
        let attester = Attester {
            validator: Validator::new(Arc::new(schema)),
            // Options change verdicts, so they are the same at every member: those of the release.
            options: Options::default(),
            genesis,
            members,
            organisation: kit.common.organisation.name.clone(),
            key,
            window: config.validate.window(),
        };
        let digest = attester.schema();
        tracing::info!(schema = %digest, "the definitions are loaded");
        if !attester.genesis.schemas.contains(&digest) {
            tracing::warn!(
                schema = %digest,
                "the genesis does not admit this schema: until the members vote it in, no batch can be attested by it"
            );
        }
        worker::serve(attester, config.validate.parallel(), &kit).await?;
        ready.ready();
        kit.shutdown.wait().await;
        Ok(())
    }
}

/// Genesis and signing key, once they are known to belong together and to this organisation.
fn credentials(config: &ValidateConfig, kit: &Kit) -> anyhow::Result<(Genesis, SigningKey)> {
    let path = config.genesis_file.display();
    let text = std::fs::read(&config.genesis_file)
        .with_context(|| format!("cannot read `validate.genesis_file` {path}"))?;
    let genesis: Genesis =
        serde_json::from_slice(&text).with_context(|| format!("{path} is no genesis file"))?;
    let organisation = &kit.common.organisation;
    if genesis.channel != organisation.channel {
        bail!("{path} is the genesis of channel `{}`, not of `{}`", genesis.channel, organisation.channel);
    }
    let text = read_secret(&config.signing_key_file).context("`validate.signing_key_file`")?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim(), &mut seed)
        .ok()
        .context("`validate.signing_key_file` does not hold 64 hexadecimal digits")?;
    let key = SigningKey::from_seed(seed);
    Ok((genesis, key))
}

#[cfg(test)]
mod tests;
