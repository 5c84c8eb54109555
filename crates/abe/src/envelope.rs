//! Records under data keys, data keys under class keys, class keys under encapsulated secrets.
//!
//! * A record version has its own random [`RecordKey`]; the record is sealed with AES-256-GCM.
//! * The record key and its salt seed are wrapped under the [`ClassKey`] with AES-256-GCM-SIV
//!   (RFC 8452), which tolerates the many wraps of one class.
//! * The class key is wrapped under a secret of [`crate::kem`].
//!
//! AES-GCM does not commit to its key: one ciphertext may open under two. So each key is split by
//! HKDF into an encryption key and a commitment key, and a 32-byte commitment, HMAC-SHA-256 over
//! suite, kind, nonce and context, is compared before anything is opened.
//!
//! Every operation takes a `context`: the canonical bytes of what the object belongs to, such as
//! record id, version, class, epoch and policy digest. It is authenticated, not stored.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, AeadInPlace, KeyInit, Payload};
use aes_gcm_siv::Aes256GcmSiv;
use hmac::{Hmac, Mac};
use rand_core::CryptoRngCore;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::codec::{Reader, Writer};
use crate::{AbeError, SUITE, Secret32, hash};

const NONCE_BYTES: usize = 12;
const COMMITMENT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Bytes that sealing adds: suite, nonce, commitment and tag.
pub const OVERHEAD: usize = 2 + NONCE_BYTES + COMMITMENT_BYTES + TAG_BYTES;
/// Longest record, in bytes.
pub const MAX_RECORD: usize = 256 * 1024 * 1024;
/// Longest content of a sealed file, in bytes.
pub const MAX_FILE: usize = 16 * 1024 * 1024;
/// Longest context, in bytes.
pub const MAX_CONTEXT: usize = 64 * 1024;

/// The key-encryption key of a class: patient compartment, sensitivity and class epoch.
pub struct ClassKey(Secret32);

impl ClassKey {
    /// A fresh class key.
    pub fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        Self(Secret32::random(rng))
    }

    /// A class key from storage that is itself protected.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Secret32::from_bytes(bytes))
    }

    /// The bytes, for sealing by a key management service.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// The data key and salt seed of one record version. A data key seals one record, once.
pub struct RecordKey {
    dek: Secret32,
    salt_seed: Secret32,
}

impl RecordKey {
    /// A fresh data key and salt seed.
    pub fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        Self { dek: Secret32::random(rng), salt_seed: Secret32::random(rng) }
    }

    /// The seed from which the salts of the record's commitments derive.
    #[must_use]
    pub fn salt_seed(&self) -> &[u8; 32] {
        self.salt_seed.expose()
    }
}

/// The sealed objects; the kind is part of key derivation, so none stands for another.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Record,
    RecordKeyWrap,
    ClassKeyWrap,
    /// See [`crate::sealing`].
    File,
    /// See [`crate::post_quantum`].
    Custody,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Record => "sealed record",
            Self::RecordKeyWrap => "wrapped record key",
            Self::ClassKeyWrap => "wrapped class key",
            Self::File => "sealed file",
            Self::Custody => "post-quantum custody",
        }
    }

    fn limit(self) -> usize {
        match self {
            Self::Record => MAX_RECORD,
            Self::RecordKeyWrap => 64,
            Self::ClassKeyWrap | Self::Custody => 32,
            Self::File => MAX_FILE,
        }
    }

    /// Encrypts where the plaintext lies; the tag.
    fn encrypt(
        self,
        key: &[u8; 32],
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        match self {
            Self::Record => Aes256Gcm::new(key.into()).encrypt_in_place_detached(nonce.into(), aad, text),
            _ => Aes256GcmSiv::new(key.into()).encrypt_in_place_detached(nonce.into(), aad, text),
        }
        .ok()
        .map(Into::into)
    }

    fn decrypt(self, key: &[u8; 32], nonce: &[u8; 12], payload: Payload<'_, '_>) -> Option<Vec<u8>> {
        match self {
            Self::Record => Aes256Gcm::new(key.into()).decrypt(nonce.into(), payload),
            _ => Aes256GcmSiv::new(key.into()).decrypt(nonce.into(), payload),
        }
        .ok()
    }
}

/// The encryption key, and the commitment to it for this nonce and context.
struct Split {
    encryption: Zeroizing<[u8; 32]>,
    commitment: Hmac<Sha256>,
}

fn split(kind: Kind, key: &Secret32, associated: &[u8]) -> Split {
    let label = kind.name().as_bytes();
    let keys = hash::Extracted::new(key.expose());
    let mut commitment = hash::keyed(&keys.expand("commitment key", &[label]));
    commitment.update(associated);
    Split { encryption: keys.expand("encryption key", &[label]), commitment }
}

/// What both commitment and AEAD authenticate besides the ciphertext.
fn associated(kind: Kind, nonce: &[u8; NONCE_BYTES], context: &[u8]) -> Result<Vec<u8>, AbeError> {
    if context.len() > MAX_CONTEXT {
        return Err(AbeError::TooLong { what: "context", length: context.len(), limit: MAX_CONTEXT });
    }
    Ok(Writer::with_suite().text(kind.name()).fixed(nonce).bytes(context).finish())
}

pub(crate) fn seal(
    kind: Kind,
    key: &Secret32,
    context: &[u8],
    plaintext: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, AbeError> {
    if plaintext.len() > kind.limit() {
        return Err(AbeError::TooLong { what: kind.name(), length: plaintext.len(), limit: kind.limit() });
    }
    let mut nonce = [0u8; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let aad = associated(kind, &nonce, context)?;
    let split = split(kind, key, &aad);
    let mut out = Writer::with_capacity(OVERHEAD + plaintext.len())
        .fixed(&SUITE.to_be_bytes())
        .fixed(&nonce)
        .fixed(&split.commitment.finalize().into_bytes())
        .fixed(plaintext)
        .finish();
    let tag = out
        .get_mut(OVERHEAD - TAG_BYTES..)
        .and_then(|text| kind.encrypt(&split.encryption, &nonce, &aad, text));
    let Some(tag) = tag else {
        out.zeroize();
        return Err(AbeError::DoesNotOpen { what: kind.name() });
    };
    out.extend_from_slice(&tag);
    Ok(out)
}

pub(crate) fn open(
    kind: Kind,
    key: &Secret32,
    context: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AbeError> {
    let refused = AbeError::DoesNotOpen { what: kind.name() };
    let mut reader = Reader::with_suite(sealed, kind.name(), kind.limit() + OVERHEAD)?;
    let nonce = reader.array::<NONCE_BYTES>()?;
    let commitment = reader.array::<COMMITMENT_BYTES>()?;
    let aad = associated(kind, nonce, context)?;
    let split = split(kind, key, &aad);
    if split.commitment.verify(commitment.into()).is_err() {
        return Err(refused);
    }
    let payload = Payload { msg: reader.rest(), aad: &aad };
    let plaintext = kind.decrypt(&split.encryption, nonce, payload);
    plaintext.map(Zeroizing::new).ok_or(refused)
}

/// Seals a record: suite, nonce, commitment, ciphertext and tag; [`OVERHEAD`] bytes longer.
///
/// # Errors
/// [`AbeError::TooLong`] for a record over [`MAX_RECORD`] or a context over [`MAX_CONTEXT`].
pub fn seal_record(
    key: &RecordKey,
    context: &[u8],
    plaintext: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, AbeError> {
    seal(Kind::Record, &key.dek, context, plaintext, rng)
}

/// Opens a sealed record.
///
/// # Errors
/// [`AbeError::DoesNotOpen`] for another key or context or altered bytes;
/// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`] for bytes that are
/// no sealed record.
pub fn open_record(key: &RecordKey, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, AbeError> {
    open(Kind::Record, &key.dek, context, sealed)
}

/// Wraps a record's data key and salt seed under its class key: 126 bytes. Destroying the wrap,
/// and every copy of it, destroys the record.
///
/// # Errors
/// [`AbeError::TooLong`] for a context over [`MAX_CONTEXT`].
pub fn wrap_dek(
    class_key: &ClassKey,
    context: &[u8],
    key: &RecordKey,
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, AbeError> {
    let mut both = Zeroizing::new(Vec::with_capacity(64));
    both.extend_from_slice(key.dek.expose());
    both.extend_from_slice(key.salt_seed.expose());
    seal(Kind::RecordKeyWrap, &class_key.0, context, &both, rng)
}

/// Unwraps a record's data key and salt seed.
///
/// # Errors
/// As [`open_record`].
pub fn unwrap_dek(class_key: &ClassKey, context: &[u8], wrapped: &[u8]) -> Result<RecordKey, AbeError> {
    let kind = Kind::RecordKeyWrap;
    let both = open(kind, &class_key.0, context, wrapped)?;
    let parts = both.split_first_chunk::<32>();
    let parts = parts.and_then(|(dek, rest)| Some((dek, rest.first_chunk::<32>()?, rest.len())));
    match parts {
        Some((dek, salt_seed, 32)) => {
            Ok(RecordKey { dek: Secret32::from_bytes(dek), salt_seed: Secret32::from_bytes(salt_seed) })
        }
        _ => Err(AbeError::DoesNotOpen { what: kind.name() }),
    }
}

/// Wraps a class key under an encapsulated secret: 94 bytes.
///
/// # Errors
/// [`AbeError::TooLong`] for a context over [`MAX_CONTEXT`].
pub fn wrap_class_key(
    secret: &Secret32,
    context: &[u8],
    class_key: &ClassKey,
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, AbeError> {
    seal(Kind::ClassKeyWrap, secret, context, class_key.expose(), rng)
}

/// Unwraps a class key with a decapsulated secret. A rejected header shows here, as the same
/// error as any other wrong key.
///
/// # Errors
/// As [`open_record`].
pub fn unwrap_class_key(secret: &Secret32, context: &[u8], wrapped: &[u8]) -> Result<ClassKey, AbeError> {
    let kind = Kind::ClassKeyWrap;
    let bytes = open(kind, secret, context, wrapped)?;
    match <&[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Ok(ClassKey::from_bytes(bytes)),
        Err(_) => Err(AbeError::DoesNotOpen { what: kind.name() }),
    }
}
