//! A key stretched from a passphrase by Argon2id (RFC 9106).

use super::key_file::{unwrap_under, wrap_under};
use super::{Master, Seal, SealError, secret_file};
use argon2::{Algorithm, Argon2, Params, Version};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::sealing::SealingKey;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

const METHOD: &str = "passphrase";
const SALT: usize = 16;
/// Lanes, RFC 9106 §4.
const LANES: u32 = 4;
/// Below this, a leaked disk is guessed at too cheaply (OWASP's lower bound for Argon2id).
const LEAST_MEMORY: u32 = 19 * 1024;
/// What a file may ask for: 1 GiB and 64 passes. An altered file cannot stop the machine.
const MOST_MEMORY: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 64;
/// Characters of a passphrase at least: six words of a diceware list have more.
const LEAST_LENGTH: usize = 20;

/// RFC 9106 §4, second recommended option: 64 MiB.
pub(super) fn default_memory() -> u32 {
    64 * 1024
}

/// The same: three passes.
pub(super) fn default_passes() -> u32 {
    3
}

/// Wraps under Argon2id of a passphrase, from a file or from a person.
pub struct Passphrase {
    file: Option<PathBuf>,
    memory_kib: u32,
    passes: u32,
    given: Mutex<Option<Zeroizing<String>>>,
}

impl Passphrase {
    /// Refuses costs outside what this program would read back.
    pub fn new(file: Option<PathBuf>, memory_kib: u32, passes: u32) -> Result<Self, SealError> {
        if !(LEAST_MEMORY..=MOST_MEMORY).contains(&memory_kib) {
            return Err(SealError::Invalid { field: "memory_kib", rule: "must be 19456 to 1048576" });
        }
        if !(2..=MOST_PASSES).contains(&passes) {
            return Err(SealError::Invalid { field: "passes", rule: "must be 2 to 64" });
        }
        Ok(Self { file, memory_kib, passes, given: Mutex::default() })
    }

    fn passphrase(&self) -> Result<Zeroizing<String>, SealError> {
        let text = match &self.file {
            Some(file) => secret_file(file)?,
            None => {
                let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
                given.clone().ok_or(SealError::NeedsPerson)?
            }
        };
        if text.chars().count() < LEAST_LENGTH {
            return Err(SealError::Invalid { field: "passphrase", rule: "must have 20 characters or more" });
        }
        Ok(text)
    }
}

fn stretch(passphrase: &str, salt: &[u8], memory: u32, passes: u32) -> Result<SealingKey, SealError> {
    let bad = |_| SealError::Invalid { field: "passphrase", rule: "cannot be stretched at this cost" };
    let params = Params::new(memory, passes, LANES, Some(32)).map_err(bad)?;
    let mut key = Zeroizing::new([0u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .map_err(bad)?;
    super::master::sealing_key(&key)
}

impl Seal for Passphrase {
    fn method(&self) -> &'static str {
        METHOD
    }

    fn wrap(
        &self,
        master: &Master,
        context: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, SealError> {
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        let key = stretch(&self.passphrase()?, &salt, self.memory_kib, self.passes)?;
        let mut out = [self.memory_kib.to_be_bytes(), self.passes.to_be_bytes()].concat();
        out.extend_from_slice(&salt);
        out.extend(wrap_under(&key, METHOD, master, context, rng)?);
        Ok(out)
    }

    fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<Master, SealError> {
        let passphrase = self.passphrase()?;
        let outcome = (|| {
            let (memory, rest) = wrapped.split_first_chunk::<4>()?;
            let (passes, rest) = rest.split_first_chunk::<4>()?;
            let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
            let (memory, passes) = (u32::from_be_bytes(*memory), u32::from_be_bytes(*passes));
            let fits = memory <= MOST_MEMORY && passes <= MOST_PASSES;
            let key = fits.then(|| stretch(&passphrase, salt, memory, passes).ok()).flatten()?;
            unwrap_under(&key, METHOD, sealed, context).ok()
        })();
        if outcome.is_none() {
            // A mistyped passphrase must not be asked about again and again.
            *self.given.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        outcome.ok_or(SealError::DoesNotOpen(METHOD))
    }

    fn give(&self, passphrase: Zeroizing<String>) -> Result<(), SealError> {
        if self.file.is_some() {
            return Err(SealError::Refused("the passphrase is read from a file: nobody is asked".to_owned()));
        }
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(passphrase);
        Ok(())
    }
}
