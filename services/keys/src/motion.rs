//! What an operator may not do alone: a motion, signed by officers, that expires.
//!
//! A motion is a text (the action as JSON) under a random id. An officer signs id, expiry and text with an
//! Ed25519 key that only she has; the service carries it out when enough different officers have. So neither an
//! operator with a shell nor one officer turns the master key, exports or destroys anything.

use crate::error::KeysError;
use crate::people::verify;
use crate::vault::{Vault, VaultError};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_domain::officers::motion_bytes;
use consilium_domain::{
    CanonError, Canonical, ChannelId, Decoder, Encoder, OrgId, PublicKey, Signature, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a motion waits for its signatures.
pub const LIFETIME: Duration = Duration::from_secs(3600);
/// Motions that wait. A new one takes the place of the oldest that nobody has signed: whoever reaches the door could
/// otherwise keep all places taken.
const MOST: usize = 64;
/// Motions that wait and were first signed by one officer.
const MOST_OF_ONE: usize = 8;
/// Bytes of an action.
const MAX_ACTION: usize = 256 * 1024;
const MAX_OFFICERS: usize = 64;
const FILE: &str = "officers.sealed";

/// A person who answers for the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Officer {
    pub name: String,
    pub public_key: PublicKey,
}

impl Canonical for Officer {
    fn encode(&self, out: &mut Encoder) {
        out.str(&self.name).value(&self.public_key);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(Self { name: input.str(64, "name")?.to_owned(), public_key: input.value()? })
    }
}

/// Refuses lists with one person or one key twice: two signatures must be two people's.
pub fn check_officers(officers: &[Officer]) -> Result<(), KeysError> {
    let invalid = |rule| KeysError::Invalid { field: "officers", rule };
    if officers.len() > MAX_OFFICERS {
        return Err(invalid("must be 64 at most"));
    }
    for (index, officer) in officers.iter().enumerate() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
        if officer.name.is_empty() || officer.name.len() > 64 || !officer.name.bytes().all(plain) {
            return Err(invalid("must have names of 1 to 64 letters, digits or `-_.@`"));
        }
        let twice = officers
            .iter()
            .take(index)
            .any(|other| other.name == officer.name || other.public_key == officer.public_key);
        if twice {
            return Err(invalid("must differ in name and key"));
        }
    }
    Ok(())
}

/// The officers of the vault; on the first start those of the configuration, kept from then on.
pub fn officers(
    vault: &Vault,
    configured: &[Officer],
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<Officer>, KeysError> {
    if let Some(bytes) = vault.read(FILE)? {
        let content = |cause| VaultError::Content { path: vault.path(FILE), cause };
        let mut input = Decoder::new(&bytes);
        let kept: Vec<Officer> = input.list(MAX_OFFICERS, "officers").map_err(content)?;
        input.finish().map_err(content)?;
        if !configured.is_empty() && kept != configured {
            tracing::warn!(
                "the officers of the configuration are not those of the vault, which hold: \
                 only they change the list (`consilium keys officers`)"
            );
        }
        return Ok(kept);
    }
    check_officers(configured)?;
    if !configured.is_empty() {
        keep_officers(vault, configured, rng)?;
    }
    Ok(configured.to_vec())
}

/// Replaces the officers. Durable once this returns.
pub fn keep_officers(
    vault: &Vault,
    officers: &[Officer],
    rng: &mut dyn CryptoRngCore,
) -> Result<(), KeysError> {
    check_officers(officers)?;
    let mut out = Encoder::default();
    out.list(officers);
    Ok(vault.write(FILE, &out.into_bytes(), rng)?)
}

/// A motion that waits.
#[derive(Debug, Clone, Serialize)]
pub struct Motion {
    /// 32 hexadecimal digits.
    pub id: String,
    /// JSON, exactly as it is signed.
    pub action: String,
    pub needed: usize,
    /// Milliseconds since 1970.
    pub expires_ms: u64,
    /// Names of the officers who have signed.
    pub approved_by: Vec<String>,
}

/// The motions of a service. They do not outlive the process: whoever restarts it starts them anew.
pub struct Motions {
    channel: ChannelId,
    organisation: OrgId,
    waiting: Mutex<BTreeMap<String, Motion>>,
}

impl Motions {
    pub fn new(channel: ChannelId, organisation: OrgId) -> Self {
        Self { channel, organisation, waiting: Mutex::default() }
    }

    /// Opens a motion.
    pub fn propose(
        &self,
        action: String,
        needed: usize,
        now: Timestamp,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Motion, KeysError> {
        if action.len() > MAX_ACTION {
            return Err(KeysError::Invalid { field: "action", rule: "is too long" });
        }
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let expires_ms = now.plus(LIFETIME).0;
        let motion = Motion { id: hex::encode(id), action, needed, expires_ms, approved_by: Vec::new() };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, motion| motion.expires_ms > now.0);
        if waiting.len() >= MOST {
            let unsigned = waiting.values().filter(|motion| motion.approved_by.is_empty());
            let oldest = unsigned.min_by_key(|motion| motion.expires_ms).map(|motion| motion.id.clone());
            let oldest = oldest.ok_or_else(|| {
                KeysError::Refused("too many motions wait for a second signature".to_owned())
            })?;
            waiting.remove(&oldest);
        }
        waiting.insert(motion.id.clone(), motion.clone());
        Ok(motion)
    }

    /// Those that wait.
    pub fn waiting(&self, now: Timestamp) -> Vec<Motion> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, motion| motion.expires_ms > now.0);
        waiting.values().cloned().collect()
    }

    /// One more officer's signature. With the last one needed the motion is taken out: it is carried out once.
    pub fn approve(
        &self,
        id: &str,
        officer: &Officer,
        signature: &Signature,
        now: Timestamp,
    ) -> Result<Motion, KeysError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own = waiting
            .values()
            .filter(|motion| motion.expires_ms > now.0 && motion.approved_by.first() == Some(&officer.name));
        let own = own.count();
        let motion = waiting.get_mut(id).filter(|motion| motion.expires_ms > now.0);
        let motion = motion.ok_or_else(|| {
            KeysError::Refused("there is no such motion: it was carried out, or has expired".to_owned())
        })?;
        let bytes = motion_bytes(&self.channel, &self.organisation, id, motion.expires_ms, &motion.action);
        if !verify(&officer.public_key, &bytes, signature) {
            return Err(KeysError::Refused("the signature is not the officer's over this motion".to_owned()));
        }
        if motion.approved_by.contains(&officer.name) {
            return Err(KeysError::Refused("this officer has signed already: another one has to".to_owned()));
        }
        if motion.needed > 1 && motion.approved_by.is_empty() && own >= MOST_OF_ONE {
            return Err(KeysError::Refused(format!(
                "{MOST_OF_ONE} motions of this officer wait for others' signatures: have them signed first"
            )));
        }
        motion.approved_by.push(officer.name.clone());
        let motion = motion.clone();
        if motion.approved_by.len() >= motion.needed {
            waiting.remove(id);
        }
        Ok(motion)
    }
}

#[cfg(test)]
#[path = "motion_tests.rs"]
mod tests;
