//! The master key, and the file that holds it wrapped.
//!
//! `master.seal` is the one in force. `master.next` exists only while the vault's files move from one master
//! key to the next: until the last file has moved both are needed, then it takes the place of `master.seal`.

use super::{KeyFile, Seal, SealError};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::sealing::SealingKey;
use consilium_domain::genesis::hexbytes;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const FORMAT: u16 = 1;
const IN_FORCE: &str = "master.seal";
const NEXT: &str = "master.next";

/// 32 random bytes: the key of all keys of an organisation's keys service.
#[derive(Clone)]
pub struct Master(Zeroizing<[u8; 32]>);

impl Master {
    pub fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// The key of exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; 32]>::try_from(bytes).ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// The bytes, for wrapping.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key under which the vault's files are sealed.
    pub fn sealing_key(&self) -> Result<SealingKey, SealError> {
        sealing_key(&self.0)
    }
}

pub(super) fn sealing_key(bytes: &[u8; 32]) -> Result<SealingKey, SealError> {
    let digits = Zeroizing::new(hex::encode(bytes));
    SealingKey::from_key_file(&digits)
        .map_err(|_| SealError::Invalid { field: "key", rule: "must be random, not zeros" })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    format: u16,
    method: String,
    #[serde(with = "hexbytes")]
    wrapped: Vec<u8>,
}

/// What opens a vault.
pub struct Unlocked {
    pub master: Master,
    /// The key that files may still be sealed under, while they move.
    pub previous: Option<SealingKey>,
}

/// The two files of a vault's folder.
pub struct Files {
    folder: PathBuf,
    /// Channel and organisation.
    context: String,
}

impl Files {
    pub fn new(folder: &Path, context: String) -> Self {
        Self { folder: folder.to_owned(), context }
    }

    /// Unwraps the master key in force. A vault without one was made under a key file (`direct`): then a
    /// master key is made and its files have to move to it.
    pub fn unlock(
        &self,
        seal: &dyn Seal,
        direct: Option<&KeyFile>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Unlocked, SealError> {
        let in_force = self.read(IN_FORCE, seal)?;
        let previous = match &in_force {
            Some(master) => Some(master.sealing_key()?),
            None => direct.map(KeyFile::key).transpose()?,
        };
        match (self.read(NEXT, seal)?, in_force) {
            (Some(next), _) => Ok(Unlocked { master: next, previous }),
            (None, Some(master)) => Ok(Unlocked { master, previous: None }),
            (None, None) => {
                let previous = previous.ok_or(SealError::NoMaster)?;
                let master = self.begin(seal, rng)?;
                Ok(Unlocked { master, previous: Some(previous) })
            }
        }
    }

    /// The method that the master key in force is wrapped by; nothing before there is one.
    pub fn method(&self) -> Result<Option<String>, SealError> {
        Ok(self.sealed(IN_FORCE)?.map(|sealed| sealed.method))
    }

    /// Makes and stores the next master key. Durable once this returns.
    pub fn begin(&self, seal: &dyn Seal, rng: &mut dyn CryptoRngCore) -> Result<Master, SealError> {
        let master = Master::generate(rng);
        self.write(NEXT, seal, &master, rng)?;
        Ok(master)
    }

    /// Puts the next master key in force: every file has moved.
    pub fn finish(&self) -> Result<(), SealError> {
        let (from, to) = (self.folder.join(NEXT), self.folder.join(IN_FORCE));
        std::fs::rename(&from, &to).map_err(|cause| SealError::Write { path: to, cause })?;
        self.sync()
    }

    /// Wraps the master key in force by another method. The old wrap is overwritten by the rename's target
    /// only: copies of it in backups still open by the old method.
    pub fn reseal(
        &self,
        seal: &dyn Seal,
        master: &Master,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), SealError> {
        self.write(IN_FORCE, seal, master, rng)
    }

    fn sealed(&self, name: &str) -> Result<Option<Sealed>, SealError> {
        let path = self.folder.join(name);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(SealError::Read { path, cause }),
        };
        let sealed: Option<Sealed> = serde_json::from_slice(&text).ok();
        sealed.filter(|sealed| sealed.format == FORMAT).ok_or(SealError::Malformed(path)).map(Some)
    }

    fn read(&self, name: &str, seal: &dyn Seal) -> Result<Option<Master>, SealError> {
        let Some(sealed) = self.sealed(name)? else { return Ok(None) };
        if sealed.method != seal.method() {
            let path = self.folder.join(name);
            return Err(SealError::OtherMethod { path, found: sealed.method, configured: seal.method() });
        }
        seal.unwrap(&sealed.wrapped, &self.context).map(Some)
    }

    fn write(
        &self,
        name: &str,
        seal: &dyn Seal,
        master: &Master,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), SealError> {
        let wrapped = seal.wrap(master, &self.context, rng)?;
        // What cannot be opened again would lose every key.
        if seal.unwrap(&wrapped, &self.context)?.expose() != master.expose() {
            return Err(SealError::DoesNotOpen(seal.method()));
        }
        let sealed = Sealed { format: FORMAT, method: seal.method().to_owned(), wrapped };
        let text = serde_json::to_vec(&sealed).map_err(|_| SealError::Malformed(self.folder.join(name)))?;
        let (path, new) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        let write = |cause| SealError::Write { path: path.clone(), cause };
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(true).write(true).mode(0o600).open(&new).map_err(write)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(write)?;
        std::fs::rename(&new, &path).map_err(write)?;
        self.sync()
    }

    fn sync(&self) -> Result<(), SealError> {
        let path = self.folder.clone();
        File::open(&path).and_then(|f| f.sync_all()).map_err(|cause| SealError::Write { path, cause })
    }
}
