//! The second lock on class keys: ML-KEM-1024 with X25519 beside the pairing (`abe::post_quantum`).
//!
//! Whoever copies headers and records today and owns a quantum computer in thirty years breaks the pairing. So the
//! key under which a class key is wrapped depends on a second secret, released to each organisation that the policy
//! names, under that organisation's own key. Releases leave the custodian only with a header, hence after its
//! decision for a reader whom it has authenticated.
//!
//! On for every class as soon as the members' keys are configured: clinical records are kept for decades.

use crate::error::KeysError;
use crate::vault::{Vault, VaultError};
use consilium_abe::post_quantum::{
    CUSTODY_BYTES, Custody, DecapsulationKey, EncapsulationKey, class_secret, receive,
};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::{AbeError, AccessPolicy, KemContext, Secret32};
use consilium_domain::genesis::Genesis;
use consilium_domain::{CanonError, Canonical, Decoder, Encoder, OrgId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;

/// Holds the organisation's own key.
const FILE: &str = "post-quantum.sealed";
/// What a release is bound to besides class, epoch and header.
const REQUEST: &[u8] = b"consilium/v1/class header";

/// The second lock cannot be set up.
#[derive(Debug, Error)]
pub enum PostQuantumError {
    #[error("cannot read the post-quantum key of `{organisation}`, `{}`: {cause}", path.display())]
    Read { organisation: OrgId, path: PathBuf, cause: std::io::Error },
    #[error("`{}` is no post-quantum key: {cause}", path.display())]
    Key { path: PathBuf, cause: AbeError },
    #[error("`{}` is not this vault's key, which `consilium keys status` shows", .0.display())]
    Other(PathBuf),
    #[error("`{FILE}`: {0}")]
    Own(AbeError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// The own key, and those of all members when the lock is on.
pub struct PostQuantum {
    organisation: OrgId,
    own: DecapsulationKey,
    /// Where the members' keys are, when the lock is on.
    folder: Option<PathBuf>,
    members: RwLock<BTreeMap<String, Arc<EncapsulationKey>>>,
}

/// The second secret for one organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    organisation: String,
    sealed: Vec<u8>,
}

impl Canonical for Release {
    fn encode(&self, out: &mut Encoder) {
        out.str(&self.organisation).bytes(&self.sealed);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        let organisation = input.str(128, "organisation")?.to_owned();
        Ok(Self { organisation, sealed: input.bytes(CUSTODY_BYTES, "release")?.to_vec() })
    }
}

impl PostQuantum {
    /// Loads or makes the own key; with a folder of `<organisation>.pub`, 3204 hexadecimal digits each, the lock is
    /// on and every member has to be there.
    pub fn load(
        vault: &Vault,
        folder: Option<&Path>,
        genesis: &Genesis,
        organisation: &OrgId,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, PostQuantumError> {
        let own = match vault.read(FILE)? {
            Some(bytes) => DecapsulationKey::from_bytes(&bytes).map_err(PostQuantumError::Own)?,
            None => {
                let made = DecapsulationKey::generate(rng);
                vault.write(FILE, &made.to_bytes(), rng)?;
                made
            }
        };
        let mut members = BTreeMap::new();
        if let Some(folder) = folder {
            for member in &genesis.members {
                let path = folder.join(format!("{}.pub", member.organisation));
                let key = read(&path, &member.organisation)?;
                if member.organisation == *organisation && key.digest() != own.encapsulation_key().digest() {
                    return Err(PostQuantumError::Other(path));
                }
                members.insert(member.organisation.to_string(), Arc::new(key));
            }
        }
        let (organisation, folder) = (organisation.clone(), folder.map(Path::to_owned));
        Ok(Self { organisation, own, folder, members: RwLock::new(members) })
    }

    /// Whether own classes get the second lock.
    pub fn is_on(&self) -> bool {
        self.folder.is_some()
    }

    /// The key of an organisation. That of a member who joined since is read as soon as its file is there; until then
    /// what is locked does not open for its people.
    pub fn key_of(&self, organisation: &str) -> Option<Arc<EncapsulationKey>> {
        let folder = self.folder.as_deref()?;
        let known = self.members.read().unwrap_or_else(PoisonError::into_inner).get(organisation).cloned();
        if known.is_some() {
            return known;
        }
        let organisation = OrgId::new(organisation).ok()?;
        let path = folder.join(format!("{organisation}.pub"));
        if !path.exists() {
            return None;
        }
        match read(&path, &organisation) {
            Ok(key) => {
                let key = Arc::new(key);
                let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
                members.insert(organisation.to_string(), Arc::clone(&key));
                Some(key)
            }
            Err(error) => {
                tracing::warn!(%error, "a member's post-quantum key cannot be used");
                None
            }
        }
    }

    /// The own public key, for the other members.
    pub fn public_key(&self) -> Vec<u8> {
        self.own.encapsulation_key().to_bytes()
    }

    /// Locks a class header that is about to be made: a release for each organisation that the policy names, and
    /// the secret under which the class key is wrapped.
    pub fn lock(
        &self,
        context: &KemContext,
        (header, policy): (&[u8], &AccessPolicy),
        abe: &Secret32,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Vec<Release>, Secret32), KeysError> {
        let (custody, second) = Custody::new(self.own.encapsulation_key(), context, header, rng)?;
        let mut releases = Vec::new();
        for authority in policy.authorities() {
            let organisation = authority.as_str().to_owned();
            let Some(key) = self.key_of(&organisation) else { continue };
            let sealed = custody.release(&self.own, context, header, (&key, REQUEST), rng)?;
            releases.push(Release { organisation, sealed });
        }
        Ok((releases, class_secret(abe, &second, context, header)))
    }

    /// The secret under which a locked class key is wrapped, for a reader of this organisation who has opened the
    /// first lock.
    pub fn unlock(
        &self,
        context: &KemContext,
        header: &[u8],
        releases: &[Release],
        abe: &Secret32,
    ) -> Result<Secret32, KeysError> {
        let own = releases.iter().find(|release| release.organisation == self.organisation.as_str());
        let own = own.ok_or(KeysError::Denied)?;
        let second =
            receive(&self.own, context, header, REQUEST, &own.sealed).map_err(|_| KeysError::Denied)?;
        Ok(class_secret(abe, &second, context, header))
    }
}

fn read(path: &Path, organisation: &OrgId) -> Result<EncapsulationKey, PostQuantumError> {
    let text = std::fs::read_to_string(path).map_err(|cause| PostQuantumError::Read {
        organisation: organisation.clone(),
        path: path.to_owned(),
        cause,
    })?;
    let reason = "it must be hexadecimal";
    let bytes = hex::decode(text.trim())
        .map_err(|_| AbeError::Malformed { what: "post-quantum key file", reason })
        .and_then(|bytes| EncapsulationKey::from_bytes(&bytes));
    bytes.map_err(|cause| PostQuantumError::Key { path: path.to_owned(), cause })
}
