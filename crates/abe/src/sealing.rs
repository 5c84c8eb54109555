//! Files at rest: every file of a keys service is sealed under its unseal key.
//!
//! The format is that of [`crate::envelope`]: suite, nonce, key commitment, AES-256-GCM-SIV. The
//! file's name is authenticated, so no sealed file stands in another's place.

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::codec::Writer;
use crate::envelope::{self, Kind};
use crate::{AbeError, Secret32, hash};

/// Name of the file that holds an authority's secret key ([`crate::AuthoritySecretKey::to_bytes`]).
pub const AUTHORITY_FILE: &str = "authority.sealed";

/// The key under which a keys service seals its files.
pub struct SealingKey(Secret32);

impl SealingKey {
    /// Derives the key from the content of a key file: 64 hexadecimal digits of random bytes, with
    /// or without a line break at the end. A passphrase is no key file: it is too weak for a KDF
    /// without stretching.
    ///
    /// # Errors
    /// [`AbeError::Malformed`].
    pub fn from_key_file(content: &str) -> Result<Self, AbeError> {
        let what = "unseal key file";
        let digits = content.trim_end_matches(['\r', '\n']).as_bytes();
        let malformed = AbeError::Malformed { what, reason: "it must be 64 hexadecimal digits" };
        if digits.len() != 64 {
            return Err(malformed);
        }
        let mut bytes = Zeroizing::new([0u8; 32]);
        for (out, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |digit: Option<&u8>| digit.and_then(|d| char::from(*d).to_digit(16));
            let value = nibble(pair.first()).zip(nibble(pair.get(1))).map(|(high, low)| high * 16 + low);
            *out = value.and_then(|v| u8::try_from(v).ok()).ok_or_else(|| malformed.clone())?;
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(AbeError::Malformed { what, reason: "it is all zeros, not random" });
        }
        let derived = hash::derive(bytes.as_ref(), "sealing key", &[]);
        Ok(Self(Secret32::from_bytes(&derived)))
    }

    /// Seals the content of the file `name`.
    ///
    /// # Errors
    /// [`AbeError::TooLong`] for more than [`envelope::MAX_FILE`] bytes.
    pub fn seal(&self, name: &str, content: &[u8], rng: &mut dyn CryptoRngCore) -> Result<Vec<u8>, AbeError> {
        envelope::seal(Kind::File, &self.0, &context(name), content, rng)
    }

    /// Opens what was sealed as the file `name`.
    ///
    /// # Errors
    /// [`AbeError::DoesNotOpen`] for another key or name or altered bytes;
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`] for bytes that
    /// are no sealed file.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AbeError> {
        envelope::open(Kind::File, &self.0, &context(name), sealed)
    }

    /// A secret for one other purpose, the same each time.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Secret32 {
        Secret32::from_bytes(&hash::derive(self.0.expose(), "sealing purpose", &[purpose.as_bytes()]))
    }
}

fn context(name: &str) -> Vec<u8> {
    Writer::new().text("file name").text(name).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn key(digit: char) -> SealingKey {
        SealingKey::from_key_file(&format!("{}\n", digit.to_string().repeat(64))).unwrap()
    }

    #[test]
    fn a_file_opens_under_its_key_and_name_only() {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let mut sealed = key('a').seal(AUTHORITY_FILE, b"secret", rng).unwrap();
        assert_eq!(key('A').open(AUTHORITY_FILE, &sealed).unwrap().as_slice(), b"secret");
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        let refused = Err(AbeError::DoesNotOpen { what: "sealed file" });
        assert_eq!(key('b').open(AUTHORITY_FILE, &sealed), refused);
        assert_eq!(key('a').open("other", &sealed), refused);
        for index in 2..sealed.len() {
            sealed[index] ^= 1;
            assert_eq!(key('a').open(AUTHORITY_FILE, &sealed), refused, "byte {index}");
            sealed[index] ^= 1;
        }
        assert!(key('a').open(AUTHORITY_FILE, &sealed[..20]).is_err());
    }

    #[test]
    fn a_weak_or_malformed_key_file_is_refused() {
        for content in ["", "correct horse battery staple", &"0".repeat(64), &"g".repeat(64), &"a".repeat(66)]
        {
            assert!(SealingKey::from_key_file(content).is_err(), "{content}");
        }
    }

    #[test]
    fn derived_secrets_differ_by_purpose_and_key() {
        assert!(key('a').derive("x").ct_eq(&key('a').derive("x")));
        assert!(!key('a').derive("x").ct_eq(&key('a').derive("y")));
        assert!(!key('a').derive("x").ct_eq(&key('b').derive("x")));
    }
}
