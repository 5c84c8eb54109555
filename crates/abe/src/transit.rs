//! Payloads between organisations, readable by the recipient's service alone.
//!
//! Messages are signed with Ed25519; what they say is nobody's business on the way. This is the ECIES shape of
//! RFC 9180 (ephemeral X25519, HKDF-SHA-256, AES-256-GCM) towards the recipient's signing key in its Montgomery form
//! (RFC 7748 §4.1; the birational map is that of libsodium's `crypto_sign_ed25519_pk_to_curve25519`). The sender is
//! authenticated by the signature over the whole message, which covers this ciphertext.

use crate::AbeError;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::montgomery::MontgomeryPoint;
use hkdf::Hkdf;
use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

/// First octet of a sealed payload.
const VERSION: u8 = 1;
/// Version and ephemeral key.
const PREFIX: usize = 33;

/// The recipient's half: derived from the seed of its Ed25519 key.
pub struct TransitKey(Zeroizing<[u8; 32]>);

impl TransitKey {
    /// The scalar of RFC 8032 §5.1.5 step 1, clamped when it is used.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let hash = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(seed)));
        let mut scalar = Zeroizing::new([0; 32]);
        for (to, from) in scalar.iter_mut().zip(hash.iter()) {
            *to = *from;
        }
        Self(scalar)
    }

    fn public(&self) -> MontgomeryPoint {
        MontgomeryPoint::mul_base_clamped(*self.0)
    }

    /// Opens what was sealed to this key under the same context.
    ///
    /// # Errors
    /// One error for everything: wrong key, wrong context, altered bytes.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AbeError> {
        let refused = AbeError::Malformed { what: "transit payload", reason: "it does not open" };
        let (Some((VERSION, rest)), true) =
            (sealed.split_first().map(|(v, r)| (*v, r)), sealed.len() >= PREFIX)
        else {
            return Err(refused);
        };
        let Some((ephemeral, ciphertext)) = rest.split_at_checked(PREFIX - 1) else { return Err(refused) };
        let Ok(ephemeral) = <[u8; 32]>::try_from(ephemeral) else { return Err(refused) };
        let ephemeral = MontgomeryPoint(ephemeral);
        let shared = ephemeral.mul_clamped(*self.0);
        let Some(cipher) = cipher(&shared, &ephemeral, &self.public(), context) else { return Err(refused) };
        let payload = Payload { msg: ciphertext, aad: context };
        cipher.decrypt(&Nonce::default(), payload).map(Zeroizing::new).map_err(|_| refused)
    }
}

/// Seals `content` to the holder of the Ed25519 key `recipient`; `context` must be the same on both sides.
///
/// # Errors
/// If `recipient` is no point of the curve, or of small order.
pub fn seal_to(
    recipient: &[u8; 32],
    context: &[u8],
    content: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, AbeError> {
    let refused = AbeError::Malformed { what: "recipient key", reason: "it is no Ed25519 key of full order" };
    let point = CompressedEdwardsY(*recipient).decompress().ok_or_else(|| refused.clone())?.to_montgomery();
    let mut secret = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *secret);
    let ephemeral = MontgomeryPoint::mul_base_clamped(*secret);
    let shared = point.mul_clamped(*secret);
    let cipher = cipher(&shared, &ephemeral, &point, context).ok_or_else(|| refused.clone())?;
    // The key is used once, so the nonce may be constant (RFC 9180 uses the key schedule's in the same way).
    let ciphertext =
        cipher.encrypt(&Nonce::default(), Payload { msg: content, aad: context }).map_err(|_| refused)?;
    let mut out = Vec::with_capacity(PREFIX + ciphertext.len());
    out.push(VERSION);
    out.extend_from_slice(&ephemeral.0);
    out.extend_from_slice(&ciphertext);
    Ok(out)
}

/// `None` for a shared point of zero, which a key of small order leads to (RFC 7748 §6.1).
fn cipher(
    shared: &MontgomeryPoint,
    ephemeral: &MontgomeryPoint,
    recipient: &MontgomeryPoint,
    context: &[u8],
) -> Option<Aes256Gcm> {
    if shared.0 == [0; 32] {
        return None;
    }
    let salt = [ephemeral.0, recipient.0].concat();
    let mut key = Zeroizing::new([0; 32]);
    let info: [&[u8]; 2] = [b"consilium/v1/transit", context];
    Hkdf::<Sha256>::new(Some(&salt), &shared.0).expand_multi_info(&info, &mut *key).ok()?;
    Aes256Gcm::new_from_slice(&*key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::edwards::EdwardsPoint;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    /// The Ed25519 verification key of a seed (RFC 8032 §5.1.5).
    fn public(seed: &[u8; 32]) -> [u8; 32] {
        EdwardsPoint::mul_base_clamped(*TransitKey::from_seed(seed).0).compress().0
    }

    #[test]
    fn only_the_recipient_opens_and_only_what_was_sealed() {
        let rng = &mut ChaCha20Rng::from_seed([3; 32]);
        let seed = [8; 32];
        let sealed = seal_to(&public(&seed), b"context", b"question", rng).unwrap();
        let key = TransitKey::from_seed(&seed);
        assert_eq!(key.open(b"context", &sealed).unwrap().as_slice(), b"question");
        assert!(!sealed.windows(8).any(|w| w == b"question"));
        assert!(key.open(b"another", &sealed).is_err());
        assert!(TransitKey::from_seed(&[9; 32]).open(b"context", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[i] ^= 1;
            // The top bit of the ephemeral key is the only one without meaning; bit 0 always has one.
            assert!(key.open(b"context", &flipped).is_err(), "octet {i}");
            assert!(key.open(b"context", &sealed[..i]).is_err(), "cut at {i}");
        }
        assert_ne!(sealed, seal_to(&public(&seed), b"context", b"question", rng).unwrap());
    }

    #[test]
    fn the_key_is_that_of_rfc_8032() {
        // RFC 8032 §7.1, test 1.
        let seed: [u8; 32] = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .unwrap()
            .try_into()
            .unwrap();
        let expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(hex::encode(public(&seed)), expected);
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        let rng = &mut ChaCha20Rng::from_seed([3; 32]);
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(seal_to(&identity, b"", b"x", rng).is_err());
        assert!(seal_to(&[0; 32], b"", b"x", rng).is_err());
        let zero = [[VERSION].as_slice(), &[0; 32], &[0; 32]].concat();
        assert!(TransitKey::from_seed(&[1; 32]).open(b"", &zero).is_err());
    }
}
