//! Crypto-shredding: without its key, what was sealed is noise, here and in every copy.

use crate::class::ClassName;
use crate::error::KeysError;
use crate::vault::{Vault, VaultError};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_domain::tx::ErasureGround;
use consilium_domain::{CanonError, Canonical, ChannelId, Decoder, Digest, Encoder, OrgId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most classes of one erasure.
pub const MOST: usize = 10_000;

/// What an erasure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One class: a patient compartment at one sensitivity.
    Class,
    /// All classes of a patient.
    Patient,
}

impl Scope {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Patient => "patient",
        }
    }
}

/// The erasure record: what was destroyed, when and by whom, without saying whose. Anybody who knows the class
/// ids and the salt (kept sealed with the ids) can show that a class was among them; nobody else learns anything
/// from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub channel: ChannelId,
    pub organisation: OrgId,
    pub scope: Scope,
    pub ground: ErasureGround,
    pub classes: u64,
    pub epochs: u64,
    /// SHA-256 over salt and sorted class ids.
    pub commitment: Digest,
    pub at: Timestamp,
    /// Names of the officers.
    pub officers: Vec<String>,
}

impl Erasure {
    /// What is hashed and anchored.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.str("consilium/v1/erasure").value(&self.channel).value(&self.organisation);
        out.str(self.scope.as_str())
            .value(&self.ground)
            .u64(self.classes)
            .u64(self.epochs)
            .value(&self.commitment);
        out.value(&self.at).u32(u32::try_from(self.officers.len()).unwrap_or(u32::MAX));
        for officer in &self.officers {
            out.str(officer);
        }
        out.into_bytes()
    }

    /// Digest of the record: what the ledger and the audit trail carry.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&[&self.bytes()])
    }

    pub fn to_json(&self) -> Value {
        json!({
            "channel": self.channel,
            "organisation": self.organisation,
            "scope": self.scope.as_str(),
            "ground": self.ground,
            "classes": self.classes,
            "epochs": self.epochs,
            "commitment": self.commitment,
            "at": self.at.to_instant(),
            "officers": self.officers,
            "digest": self.digest(),
        })
    }
}

/// Digest over a salt and class ids in ascending order.
pub fn commitment(salt: &[u8; 32], ids: &[Vec<u8>]) -> Digest {
    let mut sorted: Vec<&Vec<u8>> = ids.iter().collect();
    sorted.sort();
    let mut out = Encoder::default();
    out.str("consilium/v1/erased classes").fixed(salt);
    for id in sorted {
        out.bytes(id);
    }
    Digest::sha256(&[&out.into_bytes()])
}

/// The file that says that a class was destroyed, so that it is never made anew under the same id: ciphertext
/// of before would then be claimed by a key that never sealed it.
fn tombstone(name: &ClassName) -> String {
    name.file().replacen("classes/", "erased/", 1)
}

/// Whether a class was destroyed.
pub fn erased(vault: &Vault, name: &ClassName) -> Result<bool, KeysError> {
    Ok(vault.read(&tombstone(name))?.is_some())
}

/// Destroys every key of a class and leaves a tombstone. Again after a crash: the rest is done.
pub fn destroy(
    vault: &Vault,
    name: &ClassName,
    at: Timestamp,
    rng: &mut dyn CryptoRngCore,
) -> Result<(), KeysError> {
    // The tombstone first: between the two nobody makes the class anew.
    let mut stone = Encoder::default();
    stone.value(&at);
    vault.write(&tombstone(name), &stone.into_bytes(), rng)?;
    vault.destroy(&name.file(), rng)?;
    Ok(())
}

/// Folder of the erasures, by number.
const FOLDER: &str = "erasures";
/// Longest erasure record, in bytes.
const MAX_RECORD: usize = 64 * 1024;

fn file(sequence: u64) -> String {
    format!("{FOLDER}/{sequence:020}.sealed")
}

/// What ingest and the ledger are told of an erasure, and what finishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub ground: ErasureGround,
    /// Digest of the erasure record.
    pub record: Digest,
    pub at: Timestamp,
    pub ids: Vec<Vec<u8>>,
}

/// Keeps an erasure before it is carried out, sealed, under the next number: the record and what proves that a class
/// was among them. Callers do so one at a time.
pub fn keep(
    vault: &Vault,
    erasure: &Erasure,
    salt: &[u8; 32],
    ids: &[Vec<u8>],
    rng: &mut dyn CryptoRngCore,
) -> Result<(), KeysError> {
    let mut out = Encoder::default();
    out.bytes(&erasure.bytes()).value(&erasure.ground).value(&erasure.at).fixed(salt);
    out.u32(u32::try_from(ids.len()).unwrap_or(u32::MAX));
    for id in ids {
        out.bytes(id);
    }
    Ok(vault.write(&file(count(vault)?.saturating_add(1)), &out.into_bytes(), rng)?)
}

/// How many erasures there are: the number of the newest.
pub fn count(vault: &Vault) -> Result<u64, VaultError> {
    Ok(u64::try_from(vault.list(FOLDER)?.len()).unwrap_or(u64::MAX))
}

/// An erasure by its number, from 1.
pub fn kept(vault: &Vault, sequence: u64) -> Result<Option<Kept>, VaultError> {
    let name = file(sequence);
    let Some(bytes) = vault.read(&name)? else { return Ok(None) };
    let decode = || {
        let mut input = Decoder::new(&bytes);
        let record = Digest::sha256(&[input.bytes(MAX_RECORD, "erasure record")?]);
        let (ground, at) = (input.value()?, input.value()?);
        input.take(32, "salt")?;
        let number = input.u32("classes")?;
        let ids = (0..number)
            .map(|_| Ok(input.bytes(64, "class id")?.to_vec()))
            .collect::<Result<Vec<_>, CanonError>>()?;
        input.finish()?;
        Ok(Kept { ground, record, at, ids })
    };
    decode().map(Some).map_err(|cause: CanonError| VaultError::Content { path: vault.path(&name), cause })
}

/// The octet by which the ledger and the bus know a ground.
pub fn octet(ground: ErasureGround) -> u32 {
    ground.to_canonical().first().copied().unwrap_or_default().into()
}

/// Finishes what a crash interrupted: the newest erasure, of which the record is kept.
pub fn finish(
    vault: &Vault,
    (channel, organisation): (&ChannelId, &OrgId),
    rng: &mut dyn CryptoRngCore,
) -> Result<(), KeysError> {
    let Some(kept) = kept(vault, count(vault)?)? else { return Ok(()) };
    for id in &kept.ids {
        let name = ClassName::new(channel, organisation, id)?;
        if vault.read(&name.file())?.is_some() {
            destroy(vault, &name, kept.at, rng)?;
        }
    }
    Ok(())
}
