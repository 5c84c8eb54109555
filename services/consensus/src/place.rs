//! Where a node keeps blocks and state.

use crate::Config;
use anyhow::Context;
use consilium_domain::port::kv::Kv;
use consilium_runtime::config::Organisation;
use consilium_store::FjallKv;
use consilium_store::kv::tikv::{self, Place, Tls};
use std::sync::Arc;

/// Opens the store that the configuration names.
///
/// # Errors
/// When it cannot be opened, or this build does not know it.
pub async fn open(config: &Config, organisation: &Organisation) -> anyhow::Result<Arc<dyn Kv>> {
    let Some(tikv) = &config.tikv else {
        let kv = FjallKv::open(&config.data_dir.join("kv")).context("open the store in `data_dir`")?;
        return Ok(Arc::new(kv));
    };
    let tls = tikv.tls.as_ref().map(|tls| Tls {
        ca: tls.ca_file.clone(),
        cert: tls.cert_file.clone(),
        key: tls.key_file.clone(),
    });
    let prefix = format!("{}/{}/{}", tikv.prefix, organisation.channel, organisation.name);
    let place = Place { pd: tikv.pd.clone(), prefix, tls };
    // It waits for the cluster.
    let opened = tokio::task::spawn_blocking(move || tikv::open(&place)).await?;
    opened.context("open the store that `[tikv]` names")
}
