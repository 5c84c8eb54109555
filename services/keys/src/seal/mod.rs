//! How the master key lies on the disk: wrapped by one of four methods behind one trait.
//!
//! Every file of the vault is sealed under the master key, 32 random bytes. `master.seal` holds the master key
//! wrapped by the configured method; whoever has both the disk and what the method needs opens the vault, with
//! either alone nobody does.

mod key_file;
mod master;
mod passphrase;
mod pkcs11;
mod transit;

pub use key_file::KeyFile;
pub use master::{Files, Master, Unlocked};
pub use passphrase::Passphrase;
pub use pkcs11::Pkcs11Token;
pub use transit::VaultTransit;

use consilium_abe::rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why the master key cannot be wrapped or unwrapped.
#[derive(Debug, Error)]
pub enum SealError {
    #[error("cannot read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("cannot write `{}`: {cause}", path.display())]
    Write { path: PathBuf, cause: std::io::Error },
    #[error(
        "`{}` may be read by everybody or written by its group (mode {mode:o}): make it 0600, or 0440 in a Kubernetes volume",
        path.display()
    )]
    Permissions { path: PathBuf, mode: u32 },
    #[error("`{field}` {rule}")]
    Invalid { field: &'static str, rule: &'static str },
    #[error("`{}` was sealed by `{found}`, the configuration says `{configured}`: name the method in `[seal]`, or reseal", path.display())]
    OtherMethod { path: PathBuf, found: String, configured: &'static str },
    #[error("`{}` is no sealed master key of format 1", .0.display())]
    Malformed(PathBuf),
    #[error(
        "there is no `master.seal` and no `keys.unseal_key_file` under which the authority was made: make the authority first (`consilium keys init`)"
    )]
    NoMaster,
    /// Altered bytes and a wrong key, passphrase or token are not told apart.
    #[error("the master key does not open by `{0}`: another key, passphrase or token than it was sealed by")]
    DoesNotOpen(&'static str),
    /// Worth trying again.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Refused(String),
    /// Only a person can go on.
    #[error("the vault is sealed: a person gives the passphrase (`consilium keys unseal`)")]
    NeedsPerson,
}

/// One way to wrap the master key. Calls block: they read files or ask a device or server.
pub trait Seal: Send + Sync {
    /// The method's name, as `[seal]` and `master.seal` write it.
    fn method(&self) -> &'static str;

    /// Wraps the master key for `context` (channel and organisation), which is authenticated.
    fn wrap(&self, master: &Master, context: &str, rng: &mut dyn CryptoRngCore)
    -> Result<Vec<u8>, SealError>;

    /// Unwraps what [`Seal::wrap`] made for the same context.
    fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<Master, SealError>;

    /// Takes the passphrase that a person gives; other methods need no person.
    fn give(&self, _passphrase: Zeroizing<String>) -> Result<(), SealError> {
        Err(SealError::Refused(format!("the vault is sealed by `{}`: it asks nobody", self.method())))
    }
}

/// `[seal]`: the method and what it needs. Secrets are file paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SealConfig {
    /// 64 hexadecimal digits in a file, e.g. of a mounted Kubernetes Secret.
    KeyFile { file: PathBuf },
    /// Argon2id (RFC 9106). Without `file`, a person unseals after each start.
    Passphrase {
        #[serde(default)]
        file: Option<PathBuf>,
        #[serde(default = "passphrase::default_memory")]
        memory_kib: u32,
        #[serde(default = "passphrase::default_passes")]
        passes: u32,
    },
    /// HashiCorp Vault's or OpenBao's transit engine: an AEAD key that never leaves it.
    VaultTransit {
        /// `https://host:8200`; `http://` only to the own host, e.g. of an agent.
        address: String,
        #[serde(default = "transit::default_mount")]
        mount: String,
        key: String,
        /// A token that may `update` `<mount>/encrypt/<key>` and `<mount>/decrypt/<key>`; read at each use.
        token_file: PathBuf,
        /// PEM file of the authorities that sign the server's certificate; needed with `https://`.
        #[serde(default)]
        ca_file: Option<PathBuf>,
        #[serde(default)]
        namespace: Option<String>,
    },
    /// A PKCS #11 token: an AES key that never leaves it, used by CKM_AES_GCM.
    Pkcs11 {
        /// The vendor's shared library.
        module: PathBuf,
        /// Label of the token.
        token: String,
        pin_file: PathBuf,
        /// Label of the AES key.
        key: String,
    },
}

impl SealConfig {
    /// The method's name.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::KeyFile { .. } => "key-file",
            Self::Passphrase { .. } => "passphrase",
            Self::VaultTransit { .. } => "vault-transit",
            Self::Pkcs11 { .. } => "pkcs11",
        }
    }

    /// The method that this configures.
    ///
    /// # Errors
    /// [`SealError::Invalid`] for a combination that would be unsafe.
    pub fn build(&self) -> Result<Box<dyn Seal>, SealError> {
        Ok(match self {
            Self::KeyFile { file } => Box::new(KeyFile::new(file)),
            Self::Passphrase { file, memory_kib, passes } => {
                Box::new(Passphrase::new(file.clone(), *memory_kib, *passes)?)
            }
            Self::VaultTransit { address, mount, key, token_file, ca_file, namespace } => Box::new(
                VaultTransit::new(address, mount, key, token_file, ca_file.as_deref(), namespace.clone())?,
            ),
            Self::Pkcs11 { module, token, pin_file, key } => {
                Box::new(Pkcs11Token::new(module, token, pin_file, key))
            }
        })
    }
}

/// The text of a secret's file, without the line break at its end. A file that everybody may read holds no
/// secret: it is refused. The error names the path, never the content.
pub fn secret_file(path: &Path) -> Result<Zeroizing<String>, SealError> {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    let read = |cause| SealError::Read { path: path.to_owned(), cause };
    let mut file = std::fs::File::open(path).map_err(read)?;
    // Of the open file, so that it cannot be another one by the time it is read.
    let mode = file.metadata().map_err(read)?.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(SealError::Permissions { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.by_ref().take(64 * 1024).read_to_string(&mut text).map_err(read)?;
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
