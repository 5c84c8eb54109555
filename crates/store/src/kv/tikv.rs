//! TiKV: a key-value store on machines of its own, for those who already run one. Compiled in only with the feature
//! `tikv`; without it, [`open`] says so.

#[cfg(feature = "tikv")]
mod adapter;
#[cfg(feature = "tikv")]
pub use adapter::TikvKv;

use consilium_domain::port::kv::{Kv, KvError};
use std::path::PathBuf;
use std::sync::Arc;

/// Where in which TiKV cluster a store is.
#[derive(Debug, Clone)]
pub struct Place {
    /// Placement drivers, `HOST:PORT` each.
    pub pd: Vec<String>,
    /// What all keys of this store begin with; no other store's prefix may be equal. Without zero octets.
    pub prefix: String,
    /// TLS to placement drivers and stores; absent: none.
    pub tls: Option<Tls>,
}

/// PEM files: the authority that signed the cluster's certificates, and our own certificate with its key.
#[derive(Debug, Clone)]
pub struct Tls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Opens the store and takes it over: whoever had it open before cannot write any more.
///
/// # Errors
/// When the cluster does not answer, or this build has no TiKV.
#[cfg(feature = "tikv")]
pub fn open(place: &Place) -> Result<Arc<dyn Kv>, KvError> {
    Ok(Arc::new(TikvKv::open(place)?))
}

/// This build has no TiKV.
///
/// # Errors
/// Always.
#[cfg(not(feature = "tikv"))]
pub fn open(_: &Place) -> Result<Arc<dyn Kv>, KvError> {
    Err(KvError("this build has no TiKV: build it with `--features consilium-store/tikv`".to_owned()))
}
