//! A key file: what a Kubernetes Secret, a credential of systemd or an operator's own safe mounts.

use super::{Master, Seal, SealError, secret_file};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::sealing::SealingKey;
use std::path::{Path, PathBuf};

const METHOD: &str = "key-file";

/// 64 hexadecimal digits of random bytes in a file. The file is read at each use.
pub struct KeyFile(PathBuf);

impl KeyFile {
    pub fn new(file: &Path) -> Self {
        Self(file.to_owned())
    }

    /// The key itself; a vault that `consilium keys init` made is sealed directly under it.
    pub fn key(&self) -> Result<SealingKey, SealError> {
        let text = secret_file(&self.0)?;
        SealingKey::from_key_file(&text).map_err(|_| SealError::Invalid {
            field: "unseal key file",
            rule: "must hold 64 hexadecimal digits of random bytes",
        })
    }
}

impl Seal for KeyFile {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn wrap(
        &self,
        master: &Master,
        context: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, SealError> {
        wrap_under(&self.key()?, METHOD, master, context, rng)
    }

    fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<Master, SealError> {
        unwrap_under(&self.key()?, METHOD, wrapped, context)
    }
}

fn name(method: &str, context: &str) -> String {
    format!("master key/{method}/{context}")
}

/// Wraps under a symmetric key by the envelope of `abe::sealing`: AES-256-GCM-SIV with key commitment.
pub(super) fn wrap_under(
    key: &SealingKey,
    method: &'static str,
    master: &Master,
    context: &str,
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, SealError> {
    key.seal(&name(method, context), master.expose(), rng).map_err(|_| SealError::DoesNotOpen(method))
}

/// Unwraps what [`wrap_under`] wrapped.
pub(super) fn unwrap_under(
    key: &SealingKey,
    method: &'static str,
    wrapped: &[u8],
    context: &str,
) -> Result<Master, SealError> {
    let opened = key.open(&name(method, context), wrapped).map_err(|_| SealError::DoesNotOpen(method))?;
    Master::from_slice(&opened).ok_or(SealError::DoesNotOpen(method))
}
