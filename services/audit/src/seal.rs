//! What lies on the disk: events sealed with AES-256-GCM-SIV (RFC 8452), search keys as HMAC-SHA-256.

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

/// Why a sealed event did not open.
#[derive(Debug, Error)]
#[error(
    "event {0} does not open: the log was altered on disk, or the storage key is not the one it was written with"
)]
pub struct SealError(pub u64);

/// The storage key's two uses.
pub struct Seal {
    aead: Aes256GcmSiv,
    index: Hmac<Sha256>,
}

fn derive(key: &[u8; 32], label: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    if let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(key) {
        mac.update(label);
        out = mac.finalize().into_bytes().into();
    }
    out
}

impl Seal {
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        let aead = Aes256GcmSiv::new_from_slice(&derive(key, b"consilium/v1/audit/seal")).ok()?;
        let index = <Hmac<Sha256> as Mac>::new_from_slice(&derive(key, b"consilium/v1/audit/index")).ok()?;
        Some(Self { aead, index })
    }

    /// Seals the event of sequence number `seq`. The nonce is the number: each is used for one event, and a repeat
    /// after a lost write costs nothing but equality (RFC 8452 §1).
    pub fn seal(&self, seq: u64, event: &[u8]) -> Option<Vec<u8>> {
        let aad = seq.to_be_bytes();
        self.aead.encrypt(&nonce(seq), Payload { msg: event, aad: &aad }).ok()
    }

    pub fn open(&self, seq: u64, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let aad = seq.to_be_bytes();
        self.aead.decrypt(&nonce(seq), Payload { msg: sealed, aad: &aad }).map_err(|_| SealError(seq))
    }

    /// Keyed hash of what identifies: a patient, an agent, an event id.
    pub fn blind(&self, kind: &str, value: &str) -> Vec<u8> {
        let mut mac = self.index.clone();
        mac.update(&[u8::try_from(kind.len()).unwrap_or(u8::MAX)]);
        mac.update(kind.as_bytes());
        mac.update(value.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
}

fn nonce(seq: u64) -> Nonce {
    let mut n = [0; 12];
    for (to, from) in n.iter_mut().zip(seq.to_be_bytes()) {
        *to = from;
    }
    n.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_opens_at_its_place_only_and_unaltered_only() {
        let s = Seal::new(&[7; 32]).unwrap();
        let mut sealed = s.seal(3, b"event").unwrap();
        assert_eq!(s.open(3, &sealed).unwrap(), b"event");
        assert!(s.open(4, &sealed).is_err());
        sealed[0] ^= 1;
        assert!(s.open(3, &sealed).is_err());
        assert_ne!(s.blind("patient", "Patient/1"), s.blind("agent", "Patient/1"));
    }
}
