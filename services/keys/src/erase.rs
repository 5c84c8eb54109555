//! Crypto-shredding: without its key, what was sealed is noise, here and in every copy.

use crate::class::ClassName;
use crate::error::KeysError;
use crate::vault::Vault;
use consilium_abe::rand_core::CryptoRngCore;
use consilium_domain::{ChannelId, Digest, Encoder, OrgId, Timestamp};
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
        out.str(self.scope.as_str()).u64(self.classes).u64(self.epochs).value(&self.commitment);
        out.value(&self.at).u32(u32::try_from(self.officers.len()).unwrap_or(u32::MAX));
        for officer in &self.officers {
            out.str(officer);
        }
        out.into_bytes()
    }

    /// Digest of the record: what the audit trail carries to the ledger.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&[&self.bytes()])
    }

    pub fn to_json(&self) -> Value {
        json!({
            "channel": self.channel,
            "organisation": self.organisation,
            "scope": self.scope.as_str(),
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

/// Destroys every key of a class and leaves a tombstone; how many epochs there were. Again after a crash: the
/// rest is done.
pub fn destroy(
    vault: &Vault,
    name: &ClassName,
    epochs: u64,
    at: Timestamp,
    rng: &mut dyn CryptoRngCore,
) -> Result<(), KeysError> {
    // The tombstone first: between the two nobody makes the class anew.
    let mut stone = Encoder::default();
    stone.u64(epochs).value(&at);
    vault.write(&tombstone(name), &stone.into_bytes(), rng)?;
    vault.destroy(&name.file(), rng)?;
    Ok(())
}

/// Keeps what proves membership, sealed: the salt and the ids.
pub fn keep_proof(
    vault: &Vault,
    erasure: &Erasure,
    salt: &[u8; 32],
    ids: &[Vec<u8>],
    rng: &mut dyn CryptoRngCore,
) -> Result<(), KeysError> {
    let mut out = Encoder::default();
    out.bytes(&erasure.bytes()).fixed(salt).u32(u32::try_from(ids.len()).unwrap_or(u32::MAX));
    for id in ids {
        out.bytes(id);
    }
    Ok(vault.write(&format!("erasures/{}.sealed", erasure.digest()), &out.into_bytes(), rng)?)
}
