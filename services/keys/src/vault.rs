//! The sealed files.
//!
//! Nothing is readable without the unseal key, file names say only opaque class ids, and a file is either the
//! old one or the new one whenever the process or the machine stops (write, fsync, rename, fsync the folder).

use consilium_abe::AbeError;
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::sealing::SealingKey;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// The vault cannot be read or written.
#[derive(Debug, Error)]
pub enum VaultError {
    #[error("cannot {what} `{}`: {cause}", path.display())]
    Io { what: &'static str, path: PathBuf, cause: std::io::Error },
    #[error("`{}` is in use by another process: a vault has one owner", .0.display())]
    InUse(PathBuf),
    #[error("`{}`: {cause}", path.display())]
    Sealed { path: PathBuf, cause: AbeError },
    #[error("`{}` is sealed correctly but its content is unknown: {cause}", path.display())]
    Content { path: PathBuf, cause: consilium_domain::CanonError },
}

/// A folder of sealed files that belongs to this process.
pub struct Vault {
    folder: PathBuf,
    key: SealingKey,
    // Released with the process.
    _lock: File,
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> VaultError {
    let path = path.to_owned();
    move |cause| VaultError::Io { what, path, cause }
}

impl Vault {
    /// Takes possession of a folder, which is made if it is not there.
    pub fn open(folder: &Path, key: SealingKey) -> Result<Self, VaultError> {
        make_folder(folder)?;
        let path = folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), key, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(VaultError::InUse(folder.to_owned())),
            Err(TryLockError::Error(cause)) => Err(io("lock", &path)(cause)),
        }
    }

    /// Path of the file `name`, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The content of the file `name` (a relative path), or nothing if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let path = self.path(name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(io("open", &path)(cause)),
        };
        let mut sealed = Vec::new();
        file.read_to_end(&mut sealed).map_err(io("read", &path))?;
        self.key.open(name, &sealed).map(Some).map_err(|cause| VaultError::Sealed { path, cause })
    }

    /// Replaces the file `name`. Durable once this returns.
    pub fn write(&self, name: &str, content: &[u8], rng: &mut dyn CryptoRngCore) -> Result<(), VaultError> {
        let path = self.path(name);
        let sealed = self
            .key
            .seal(name, content, rng)
            .map_err(|cause| VaultError::Sealed { path: path.clone(), cause })?;
        let folder = path.parent().unwrap_or(&self.folder);
        if !folder.exists() {
            make_folder(folder)?;
        }
        let new = path.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)
            .map_err(io("create", &new))?;
        file.write_all(&sealed).and_then(|()| file.sync_all()).map_err(io("write", &new))?;
        fs::rename(&new, &path).map_err(io("rename", &new))?;
        sync_folder(folder)
    }

    /// Names of the sealed files in a subfolder, sorted; none if there is no such folder.
    pub fn list(&self, subfolder: &str) -> Result<Vec<String>, VaultError> {
        let path = self.path(subfolder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(io("list", &path)(cause)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(io("list", &path))?.file_name();
            // What a crash left half-written ends in `.new`.
            names
                .extend(name.to_str().filter(|n| n.ends_with(".sealed")).map(|n| format!("{subfolder}/{n}")));
        }
        names.sort();
        Ok(names)
    }

    /// Removes a file. After a crash it may be there again.
    pub fn remove(&self, name: &str) -> Result<(), VaultError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(io("remove", &path))
    }

    /// A secret for one purpose that is the same each time.
    pub fn derive(&self, purpose: &str) -> consilium_abe::Secret32 {
        self.key.derive(purpose)
    }
}

fn sync_folder(folder: &Path) -> Result<(), VaultError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io("sync", folder))
}

fn make_folder(folder: &Path) -> Result<(), VaultError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("create", folder))?;
    folder.parent().filter(|parent| parent.exists()).map_or(Ok(()), sync_folder)
}
