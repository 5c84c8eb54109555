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
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
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

/// Longest file that the vault writes: what is longer was not written by it.
const MOST_OVERWRITTEN: usize = consilium_abe::envelope::MAX_FILE + consilium_abe::envelope::OVERHEAD;

/// A folder of sealed files that belongs to this process.
pub struct Vault {
    folder: PathBuf,
    keys: RwLock<Keys>,
    // Released with the process.
    _lock: File,
}

/// The key that files are sealed under; while they move from one to the next, also the one before.
struct Keys {
    current: SealingKey,
    previous: Option<SealingKey>,
}

impl Keys {
    fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AbeError> {
        let opened = self.current.open(name, sealed);
        match (&self.previous, opened) {
            (Some(previous), Err(_)) => previous.open(name, sealed),
            (_, opened) => opened,
        }
    }
}

/// A vault's folder, locked: nobody else reads or writes it.
pub struct Folder {
    path: PathBuf,
    lock: File,
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> VaultError {
    let path = path.to_owned();
    move |cause| VaultError::Io { what, path, cause }
}

impl Folder {
    /// Takes possession of a folder, which is made if it is not there.
    pub fn take(folder: &Path) -> Result<Self, VaultError> {
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
            Ok(()) => Ok(Self { path: folder.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(VaultError::InUse(folder.to_owned())),
            Err(TryLockError::Error(cause)) => Err(io("lock", &path)(cause)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The vault, with the key that its files are sealed under and the one that they may still be under.
    pub fn open(self, current: SealingKey, previous: Option<SealingKey>) -> Vault {
        Vault { folder: self.path, keys: RwLock::new(Keys { current, previous }), _lock: self.lock }
    }
}

impl Vault {
    /// Takes possession of a folder whose files are sealed under `key`.
    pub fn open(folder: &Path, key: SealingKey) -> Result<Self, VaultError> {
        Ok(Folder::take(folder)?.open(key, None))
    }

    fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals from now on under another key. Files stay readable; [`Vault::move_all`] brings them along.
    pub fn change_key(&self, key: SealingKey) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.previous = Some(std::mem::replace(&mut keys.current, key));
    }

    /// Seals every file anew that is not yet under the current key, then forgets the previous one. How many
    /// were moved. After a failure or a crash, doing it again goes on where it stopped.
    pub fn move_all(&self, rng: &mut dyn CryptoRngCore) -> Result<u64, VaultError> {
        let mut moved = 0;
        for name in self.every_file()? {
            // Alone, so that nothing is written between reading the old content and writing it back.
            let keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            let path = self.path(&name);
            let Some(sealed) = read_file(&path)? else { continue };
            if keys.current.open(&name, &sealed).is_ok() {
                continue;
            }
            let content = keys
                .open(&name, &sealed)
                .map_err(|cause| VaultError::Sealed { path: path.clone(), cause })?;
            self.write_under(&keys.current, &name, &content, rng)?;
            moved += 1;
        }
        self.keys.write().unwrap_or_else(PoisonError::into_inner).previous = None;
        Ok(moved)
    }

    /// Names of all sealed files.
    fn every_file(&self) -> Result<Vec<String>, VaultError> {
        let (mut names, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let path = self.path(&folder);
            for entry in fs::read_dir(&path).map_err(io("list", &path))? {
                let entry = entry.map_err(io("list", &path))?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if entry.file_type().map_err(io("list", &path))?.is_dir() {
                    folders.push(name);
                } else if name.ends_with(".sealed") {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    /// Path of the file `name`, for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The content of the file `name` (a relative path), or nothing if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let path = self.path(name);
        // Held while reading: a file is never taken up halfway through its move to another key.
        let keys = self.keys();
        let Some(sealed) = read_file(&path)? else { return Ok(None) };
        keys.open(name, &sealed).map(Some).map_err(|cause| VaultError::Sealed { path, cause })
    }

    /// Replaces the file `name`. Durable once this returns.
    pub fn write(&self, name: &str, content: &[u8], rng: &mut dyn CryptoRngCore) -> Result<(), VaultError> {
        self.write_under(&self.keys().current, name, content, rng)
    }

    fn write_under(
        &self,
        key: &SealingKey,
        name: &str,
        content: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), VaultError> {
        let path = self.path(name);
        let sealed =
            key.seal(name, content, rng).map_err(|cause| VaultError::Sealed { path: path.clone(), cause })?;
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
        let _keys = self.keys();
        fs::remove_file(&path).map_err(io("remove", &path))
    }

    /// Overwrites a file, removes it and makes that durable. Storage that writes elsewhere (copy on write,
    /// flash) may still hold the old blocks: they open under the master key of today, not under the next.
    pub fn destroy(&self, name: &str, rng: &mut dyn CryptoRngCore) -> Result<bool, VaultError> {
        let path = self.path(name);
        let _keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(false),
            Err(cause) => return Err(io("open", &path)(cause)),
        };
        let length = file.metadata().map_err(io("read", &path))?.len();
        let mut noise = vec![0; usize::try_from(length).unwrap_or(usize::MAX).min(MOST_OVERWRITTEN)];
        rng.fill_bytes(&mut noise);
        file.write_all(&noise).and_then(|()| file.sync_all()).map_err(io("overwrite", &path))?;
        fs::remove_file(&path).map_err(io("remove", &path))?;
        sync_folder(path.parent().unwrap_or(&self.folder))?;
        Ok(true)
    }

    /// A secret for one purpose that is the same each time.
    pub fn derive(&self, purpose: &str) -> consilium_abe::Secret32 {
        self.keys().current.derive(purpose)
    }
}

/// A sealed file's bytes, or nothing if there is no such file.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, VaultError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(io("open", path)(cause)),
    };
    let mut sealed = Vec::new();
    file.read_to_end(&mut sealed).map_err(io("read", path))?;
    Ok(Some(sealed))
}

fn sync_folder(folder: &Path) -> Result<(), VaultError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(io("sync", folder))
}

fn make_folder(folder: &Path) -> Result<(), VaultError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("create", folder))?;
    folder.parent().filter(|parent| parent.exists()).map_or(Ok(()), sync_folder)
}
