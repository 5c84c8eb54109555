//! The keys service: an organisation's attribute authority, its class keys, and the opening of other
//! custodians' class keys for the organisation's own people.
//!
//! Everything on its disk is sealed under the unseal key. Secrets leave it in two messages only, `keys.class`
//! and `keys.open`, which never cross the organisation's NATS account.

mod audit;
pub mod authority;
mod bounded;
pub mod class;
mod config;
mod error;
mod limit;
mod open;
pub mod vault;
mod worker;

pub use config::Config;
pub use error::KeysError;
pub use worker::Worker;

use anyhow::Context;
use consilium_abe::sealing::SealingKey;
use consilium_domain::genesis::Genesis;
use consilium_runtime::{Kit, Service, config::read_secret};
use std::sync::Arc;

/// The service, for `consilium_runtime::main`.
pub struct Keys;

impl Service for Keys {
    const NAME: &'static str = "keys";
    type Config = Config;

    async fn run(config: Config, kit: Kit) -> anyhow::Result<()> {
        let check = kit.health.check("vault");
        let key = read_secret(&config.keys.unseal_key_file).context("`keys.unseal_key_file`")?;
        let key = SealingKey::from_key_file(&key).context("`keys.unseal_key_file`")?;
        let genesis = std::fs::read(&config.keys.genesis_file).with_context(|| {
            format!("cannot read `keys.genesis_file` {}", config.keys.genesis_file.display())
        })?;
        let genesis: Genesis =
            serde_json::from_slice(&genesis).context("`keys.genesis_file` is no genesis file")?;
        let worker = {
            let (config, kit) = (config.clone(), kit.clone());
            tokio::task::spawn_blocking(move || Worker::start(&config, &kit, key, &genesis)).await??
        };
        let recorder = audit::Recorder::start(worker.vault(), &kit)?;
        worker::serve(Arc::new(worker), recorder, &kit).await?;
        check.ready();
        kit.shutdown.wait().await;
        Ok(())
    }
}
