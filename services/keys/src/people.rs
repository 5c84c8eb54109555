//! The organisation's own people: who was withdrawn, and who has shown that an identity is theirs.

use crate::bounded::Bounded;
use crate::error::KeysError;
use crate::vault::{Vault, VaultError};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::{AuthorityName, Gid, GidChallenge};
use consilium_contracts::v1::Claims;
use consilium_domain::{
    CanonError, Canonical, Decoder, Encoder, OrgId, PublicKey, Signature, canonical_struct,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

const FILE: &str = "people.sealed";
const FORMAT: u16 = 1;
/// Most withdrawals and most holders.
const MOST: usize = 1_000_000;
/// Longest list of roles that a caller may have.
const MAX_ROLES: usize = 64;
/// How long a challenge waits for its signature, and how many wait.
const CHALLENGE_TIME: Duration = Duration::from_secs(600);
const CHALLENGES: usize = 1000;

/// A role that somebody no longer has whatever a token says; an empty role is every role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Withdrawal {
    subject: String,
    role: String,
}

impl Canonical for Withdrawal {
    fn encode(&self, out: &mut Encoder) {
        out.str(&self.subject).str(&self.role);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        let text = |text: &str| text.to_owned();
        Ok(Self { subject: text(input.str(512, "subject")?), role: text(input.str(512, "role")?) })
    }
}

/// A person's registered key.
#[derive(Debug, Clone)]
struct Holder {
    subject: String,
    key: PublicKey,
}

impl Canonical for Holder {
    fn encode(&self, out: &mut Encoder) {
        out.str(&self.subject).value(&self.key);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(Self { subject: input.str(512, "subject")?.to_owned(), key: input.value()? })
    }
}

#[derive(Clone, Default)]
struct Register {
    withdrawn: BTreeSet<Withdrawal>,
    holders: BTreeMap<String, PublicKey>,
}

/// The file's content.
struct Stored {
    format: u16,
    withdrawn: Vec<Withdrawal>,
    holders: Vec<Holder>,
}
canonical_struct!(Stored { format, withdrawn, holders });

/// What an admitted caller counts as.
pub struct Admitted {
    pub gid: Gid,
    pub roles: BTreeSet<String>,
}

/// Who may have attribute keys at all, and under which identity.
pub struct People {
    organisation: OrgId,
    /// Only people with a registered key are admitted.
    registered_only: bool,
    register: RwLock<Register>,
    /// One writer at a time.
    writer: Mutex<()>,
    challenges: Mutex<Bounded<[u8; 32], GidChallenge>>,
}

fn invalid(field: &'static str, rule: &'static str) -> KeysError {
    KeysError::Invalid { field, rule }
}

impl People {
    pub fn load(vault: &Vault, organisation: &OrgId, registered_only: bool) -> Result<Self, VaultError> {
        let register = match vault.read(FILE)? {
            None => Register::default(),
            Some(bytes) => {
                let content = |cause| VaultError::Content { path: vault.path(FILE), cause };
                let stored = Stored::from_canonical(&bytes).map_err(content)?;
                if stored.format != FORMAT {
                    return Err(content(CanonError::NotCanonical("format")));
                }
                Register {
                    withdrawn: stored.withdrawn.into_iter().collect(),
                    holders: stored.holders.into_iter().map(|h| (h.subject, h.key)).collect(),
                }
            }
        };
        Ok(Self {
            organisation: organisation.clone(),
            registered_only,
            register: RwLock::new(register),
            writer: Mutex::default(),
            challenges: Mutex::new(Bounded::new(CHALLENGES, CHALLENGE_TIME)),
        })
    }

    /// The identity and the roles that count. Withdrawn people are refused, withdrawn roles left out, whatever
    /// the token says.
    pub fn admit(&self, claims: &Claims) -> Result<Admitted, KeysError> {
        let bad = || invalid("claims.subject", "must be a name of visible ASCII characters");
        // Also when a registered key decides the identity: the audit trail names the subject.
        let plain = Gid::new(&format!("{}/{}", self.organisation, claims.subject)).map_err(|_| bad())?;
        if claims.subject.is_empty() {
            return Err(bad());
        }
        let register = self.register.read().unwrap_or_else(PoisonError::into_inner);
        let withdrawn = |role: &str| {
            register
                .withdrawn
                .contains(&Withdrawal { subject: claims.subject.clone(), role: role.to_owned() })
        };
        if withdrawn("") {
            return Err(KeysError::Denied);
        }
        let gid = match register.holders.get(&claims.subject) {
            Some(key) => did_key(key)?,
            None if self.registered_only => return Err(KeysError::Denied),
            None => plain,
        };
        let roles = claims.roles.get(..claims.roles.len().min(MAX_ROLES)).unwrap_or_default();
        Ok(Admitted { gid, roles: roles.iter().filter(|role| !withdrawn(role)).cloned().collect() })
    }

    /// Withdraws a role, or everything. In force when this returns, and durable.
    pub fn withdraw(
        &self,
        vault: &Vault,
        subject: &str,
        role: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), KeysError> {
        checked(subject, role)?;
        self.change(vault, rng, |register| {
            register.withdrawn.insert(Withdrawal { subject: subject.to_owned(), role: role.to_owned() });
            if register.withdrawn.len() > MOST {
                return Err(invalid("subject", "is one too many: restore what tokens no longer claim"));
            }
            Ok(())
        })
    }

    /// Takes a withdrawal back. Whether there was one.
    pub fn restore(
        &self,
        vault: &Vault,
        subject: &str,
        role: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<bool, KeysError> {
        checked(subject, role)?;
        let mut was = false;
        self.change(vault, rng, |register| {
            let withdrawal = Withdrawal { subject: subject.to_owned(), role: role.to_owned() };
            was = register.withdrawn.remove(&withdrawal);
            Ok(())
        })?;
        Ok(was)
    }

    /// A challenge that a person signs with the key of their identity; good for one signature.
    pub fn challenge(
        &self,
        channel: &str,
        authority: &AuthorityName,
        epoch: &str,
        now: Duration,
        rng: &mut dyn CryptoRngCore,
    ) -> GidChallenge {
        let challenge = GidChallenge::new(rng, channel, authority, epoch);
        let mut waiting = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(challenge.nonce, challenge.clone(), now);
        challenge
    }

    /// Registers the key of a person who signed a challenge with it. One key is one person's: two who shared a
    /// key would share an identity and could combine their attribute keys.
    pub fn register(
        &self,
        vault: &Vault,
        subject: &str,
        proof: (&PublicKey, &[u8; 32], &Signature),
        now: Duration,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Gid, KeysError> {
        checked(subject, "")?;
        let (key, nonce, signature) = proof;
        let gid = did_key(key)?;
        let challenge = self.challenges.lock().unwrap_or_else(PoisonError::into_inner).take(nonce, now);
        let challenge = challenge.ok_or(invalid("nonce", "is of no open challenge: ask for a new one"))?;
        if !verify(key, &challenge.signing_bytes(&gid), signature) {
            return Err(invalid("signature", "is not the key's over the challenge"));
        }
        self.change(vault, rng, |register| {
            if register.holders.iter().any(|(other, held)| held == key && other != subject) {
                return Err(invalid("public_key", "is another person's"));
            }
            if register.holders.len() >= MOST && !register.holders.contains_key(subject) {
                return Err(invalid("subject", "is one too many"));
            }
            register.holders.insert(subject.to_owned(), *key);
            Ok(())
        })?;
        Ok(gid)
    }

    /// How many withdrawals and holders there are.
    pub fn counts(&self) -> (usize, usize) {
        let register = self.register.read().unwrap_or_else(PoisonError::into_inner);
        (register.withdrawn.len(), register.holders.len())
    }

    /// Durable first, then in force.
    fn change(
        &self,
        vault: &Vault,
        rng: &mut dyn CryptoRngCore,
        act: impl FnOnce(&mut Register) -> Result<(), KeysError>,
    ) -> Result<(), KeysError> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = self.register.read().unwrap_or_else(PoisonError::into_inner).clone();
        act(&mut next)?;
        let stored = Stored {
            format: FORMAT,
            withdrawn: next.withdrawn.iter().cloned().collect(),
            holders: next.holders.iter().map(|(s, k)| Holder { subject: s.clone(), key: *k }).collect(),
        };
        vault.write(FILE, &stored.to_canonical(), rng)?;
        *self.register.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

fn checked(subject: &str, role: &str) -> Result<(), KeysError> {
    let fits = |text: &str| text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic());
    if subject.is_empty() || !fits(subject) {
        return Err(invalid("subject", "must be 1 to 256 visible ASCII characters"));
    }
    if !fits(role) {
        return Err(invalid("role", "must be at most 256 visible ASCII characters"));
    }
    Ok(())
}

/// Ed25519 by the ZIP 215 rules, as everywhere in a channel. A key that is no curve point verifies nothing.
pub(crate) fn verify(key: &PublicKey, bytes: &[u8], signature: &Signature) -> bool {
    let Ok(key) = ed25519_consensus::VerificationKey::try_from(key.0) else { return false };
    key.verify(&ed25519_consensus::Signature::from(signature.0), bytes).is_ok()
}

/// `did:key` of an Ed25519 key (w3c-ccg.github.io/did-key-spec): `z`, then the multicodec 0xed01 and the key in
/// base58btc.
pub fn did_key(key: &PublicKey) -> Result<Gid, KeysError> {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = Vec::new();
    // The first octet is not zero, so there are no leading zeros to keep.
    for octet in [0xed, 0x01].iter().chain(&key.0) {
        let mut carry = u32::from(*octet);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = u8::try_from(carry % 58).unwrap_or_default();
            carry /= 58;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 58).unwrap_or_default());
            carry /= 58;
        }
    }
    let text = digits.iter().rev().filter_map(|digit| ALPHABET.get(usize::from(*digit)));
    let text: String = text.map(|c| char::from(*c)).collect();
    Gid::new(&format!("did:key:z{text}")).map_err(KeysError::Abe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_of_a_key_is_its_did() {
        // did-key-spec, §7.1, an Ed25519 test vector.
        let key = hex::decode("2e6fcce36701dc791488e0d0b1745cc1e33a4c1c9fcc41c63bd343dbbe0970e6").unwrap();
        let gid = did_key(&PublicKey(key.try_into().unwrap())).unwrap();
        assert_eq!(gid.as_str(), "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK");
    }
}
