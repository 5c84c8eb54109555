//! A second lock on a class, for records that must stay closed for decades.
//!
//! A quantum computer breaks the pairing of suite 1. So the key that wraps a class key may depend on two secrets: one
//! that attribute keys open ([`crate::kem`]) and one that the custodian holds and gives to an authenticated reader after
//! its decision. Who copies the archive and breaks the pairing lacks the second; a custodian, or who breaks into it,
//! lacks the first.
//!
//! * [`DecapsulationKey`], [`EncapsulationKey`]: ML-KEM-1024 (FIPS 203) and X25519 (RFC 7748) side by side; the shared
//!   secret holds as long as one of the two does. HKDF-SHA-256 combines both secrets and binds both ciphertexts, the
//!   recipient's key and the context.
//! * [`Custody`]: the second secret, encapsulated to the custodian and stored beside the class's header.
//! * [`Custody::release`] and [`receive`]: the custodian opens it and encapsulates it again to one reader, for one
//!   request.
//! * [`class_secret`]: the key under which [`crate::envelope::wrap_class_key`] wraps the class key.
//!
//! Price: a reader needs the custodian's answer for each class; there is no reading off line.

use std::fmt;

use curve25519_dalek::montgomery::MontgomeryPoint;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{MlKem1024, array::Array};
use rand_core::CryptoRngCore;
use zeroize::{Zeroize, Zeroizing};

use crate::codec::{Reader, Writer};
use crate::envelope::{self, Kind, OVERHEAD};
use crate::kem::KemContext;
use crate::{AbeError, Secret32, hash};

/// Bytes of an ML-KEM-1024 encapsulation key and ciphertext (FIPS 203 §8, table 3).
const LATTICE_BYTES: usize = 1568;
/// Bytes of an ML-KEM key's seed, d ‖ z (FIPS 203 §7.1).
const SEED_BYTES: usize = 64;
const CURVE_BYTES: usize = 32;
/// Bytes of an encoded [`EncapsulationKey`].
pub const ENCAPSULATION_KEY_BYTES: usize = 2 + LATTICE_BYTES + CURVE_BYTES;
/// Bytes of an encoded [`DecapsulationKey`].
pub const DECAPSULATION_KEY_BYTES: usize = 2 + SEED_BYTES + CURVE_BYTES;
/// Bytes of an encapsulation, before what it encrypts.
const ENCAPSULATED_BYTES: usize = LATTICE_BYTES + CURVE_BYTES;
/// Bytes of an encoded [`Custody`] and of a release.
pub const CUSTODY_BYTES: usize = 2 + 32 + ENCAPSULATED_BYTES + OVERHEAD + 32;
/// Longest description of a request, in bytes.
pub const MAX_REQUEST: usize = 4096;

const PUBLIC: &str = "post-quantum encapsulation key";
const SECRET: &str = "post-quantum decapsulation key";
const CUSTODY: &str = "post-quantum custody";

/// The public half of a custodian's or reader's key pair.
#[derive(Clone)]
pub struct EncapsulationKey {
    lattice: ml_kem::EncapsulationKey<MlKem1024>,
    curve: MontgomeryPoint,
    digest: [u8; 32],
}

/// The secret half. Zeroized on drop; neither `Clone` nor `Debug`.
pub struct DecapsulationKey {
    seed: Zeroizing<[u8; SEED_BYTES + CURVE_BYTES]>,
    lattice: ml_kem::DecapsulationKey<MlKem1024>,
    public: EncapsulationKey,
}

impl EncapsulationKey {
    fn new(lattice: ml_kem::EncapsulationKey<MlKem1024>, curve: MontgomeryPoint) -> Self {
        let mut key = Self { lattice, curve, digest: [0; 32] };
        key.digest = hash::digest(PUBLIC, &[&key.to_bytes()]);
        key
    }

    /// SHA-256 of a label and the encoding.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Suite, ML-KEM-1024 encapsulation key (FIPS 203 §7.1), X25519 public key (RFC 7748 §5):
    /// [`ENCAPSULATION_KEY_BYTES`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Writer::with_suite().fixed(&self.lattice.to_bytes()).fixed(&self.curve.0).finish()
    }

    /// Decodes a key, with the modulus check of FIPS 203 §7.2; a curve key of small order is refused.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, PUBLIC, ENCAPSULATION_KEY_BYTES)?;
        let lattice = Array::from(*reader.array::<LATTICE_BYTES>()?);
        let lattice = ml_kem::EncapsulationKey::new(&lattice)
            .map_err(|_| reader.malformed("its ML-KEM part has a coefficient that is not reduced"))?;
        let curve = MontgomeryPoint(*reader.array::<CURVE_BYTES>()?);
        // Clamped zero is 2^254, a multiple of the cofactor: only a point of small order gives zero.
        if curve.mul_clamped([0; CURVE_BYTES]).0 == [0; CURVE_BYTES] {
            return Err(reader.malformed("its X25519 part has small order"));
        }
        reader.end()?;
        Ok(Self::new(lattice, curve))
    }

    /// A shared secret for the holder of the other half, bound to `context`, and what carries it.
    fn encapsulate(&self, context: &[u8], rng: &mut dyn CryptoRngCore) -> (Vec<u8>, Secret32) {
        let mut m = Array::from([0u8; 32]);
        rng.fill_bytes(&mut m);
        let (lattice, mut first) = self.lattice.encapsulate_deterministic(&m);
        m.zeroize();
        let mut ephemeral = Zeroizing::new([0u8; CURVE_BYTES]);
        rng.fill_bytes(ephemeral.as_mut());
        let curve = MontgomeryPoint::mul_base_clamped(*ephemeral);
        let mut second = self.curve.mul_clamped(*ephemeral);
        let carried = Writer::new().fixed(&lattice).fixed(&curve.0).finish();
        let secret = self.combine((&first, &second.0), &carried, context);
        first.zeroize();
        second.zeroize();
        (carried, secret)
    }

    /// HKDF over both secrets; ciphertexts, recipient and context are bound with their lengths.
    fn combine(&self, (first, second): (&[u8], &[u8; 32]), carried: &[u8], context: &[u8]) -> Secret32 {
        let mut both = Zeroizing::new(Vec::with_capacity(64));
        both.extend_from_slice(first);
        both.extend_from_slice(second);
        let fields: [&[u8]; 3] = [&self.digest, carried, context];
        Secret32::from_bytes(&hash::derive(&both, "post-quantum encapsulation", &fields))
    }
}

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncapsulationKey").finish_non_exhaustive()
    }
}

impl PartialEq for EncapsulationKey {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for EncapsulationKey {}

impl DecapsulationKey {
    /// A fresh key pair (FIPS 203 §7.1, RFC 7748 §6.1).
    pub fn generate(rng: &mut dyn CryptoRngCore) -> Self {
        let mut seed = Zeroizing::new([0u8; SEED_BYTES + CURVE_BYTES]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(seed)
    }

    fn from_seed(seed: Zeroizing<[u8; SEED_BYTES + CURVE_BYTES]>) -> Self {
        let mut lattice_seed = Array::from([0u8; SEED_BYTES]);
        let mut curve_seed = Zeroizing::new([0u8; CURVE_BYTES]);
        let halves = lattice_seed.iter_mut().chain(curve_seed.iter_mut());
        halves.zip(seed.iter()).for_each(|(to, from)| *to = *from);
        let lattice = ml_kem::DecapsulationKey::from_seed(lattice_seed);
        lattice_seed.zeroize();
        let public = EncapsulationKey::new(
            lattice.encapsulation_key().clone(),
            MontgomeryPoint::mul_base_clamped(*curve_seed),
        );
        Self { seed, lattice, public }
    }

    /// The public half.
    #[must_use]
    pub fn encapsulation_key(&self) -> &EncapsulationKey {
        &self.public
    }

    /// Suite, ML-KEM seed d ‖ z, X25519 scalar: [`DECAPSULATION_KEY_BYTES`], to be sealed by their holder.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let out = Writer::with_capacity(DECAPSULATION_KEY_BYTES).fixed(&crate::SUITE.to_be_bytes());
        Zeroizing::new(out.fixed(self.seed.as_ref()).finish())
    }

    /// Decodes a key.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, SECRET, DECAPSULATION_KEY_BYTES)?;
        let seed = Zeroizing::new(*reader.array()?);
        reader.end()?;
        Ok(Self::from_seed(seed))
    }

    /// The shared secret of an encapsulation. One that was not made for this key gives another secret, not an error
    /// (implicit rejection, FIPS 203 §6.3).
    fn decapsulate(&self, carried: &[u8; ENCAPSULATED_BYTES], context: &[u8]) -> Secret32 {
        let (mut lattice, mut curve) = (Array::from([0u8; LATTICE_BYTES]), [0u8; CURVE_BYTES]);
        lattice.iter_mut().chain(curve.iter_mut()).zip(carried).for_each(|(to, from)| *to = *from);
        let mut own = Zeroizing::new([0u8; CURVE_BYTES]);
        own.iter_mut().zip(self.seed.iter().skip(SEED_BYTES)).for_each(|(to, from)| *to = *from);
        let mut first = self.lattice.decapsulate(&lattice);
        let mut second = MontgomeryPoint(curve).mul_clamped(*own);
        let secret = self.public.combine((&first, &second.0), carried, context);
        first.zeroize();
        second.zeroize();
        secret
    }
}

/// A class's second secret, encapsulated to its custodian. Stored beside the header; public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custody(Sealed);

/// A secret for the holder of one key: who that is, an encapsulation, and the secret sealed under it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sealed {
    recipient: [u8; 32],
    encapsulated: Box<[u8; ENCAPSULATED_BYTES]>,
    sealed: [u8; OVERHEAD + 32],
}

/// The bytes of what a class's second secret belongs to: class context and header, and for a release the request.
fn class_bytes(label: &str, context: &KemContext, header: &[u8], request: &[u8]) -> Vec<u8> {
    Writer::with_suite()
        .text(label)
        .text(context.channel())
        .text(context.class())
        .u64(context.epoch())
        .fixed(&hash::digest("header", &[header]))
        .bytes(request)
        .finish()
}

impl Sealed {
    fn new(
        to: &EncapsulationKey,
        context: &[u8],
        secret: &Secret32,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, AbeError> {
        let (carried, key) = to.encapsulate(context, rng);
        let sealed = envelope::seal(Kind::Custody, &key, context, secret.expose(), rng)?;
        let mismatch = || AbeError::Malformed { what: CUSTODY, reason: "an unexpected length" };
        Ok(Self {
            recipient: to.digest,
            encapsulated: carried.into_boxed_slice().try_into().map_err(|_| mismatch())?,
            sealed: sealed.try_into().map_err(|_| mismatch())?,
        })
    }

    fn open(&self, key: &DecapsulationKey, context: &[u8]) -> Result<Secret32, AbeError> {
        let refused = AbeError::DoesNotOpen { what: CUSTODY };
        if self.recipient != key.public.digest {
            return Err(refused);
        }
        let secret = key.decapsulate(&self.encapsulated, context);
        let opened = envelope::open(Kind::Custody, &secret, context, &self.sealed)?;
        opened.first_chunk::<32>().filter(|_| opened.len() == 32).map(Secret32::from_bytes).ok_or(refused)
    }

    fn to_bytes(&self) -> Vec<u8> {
        Writer::with_suite()
            .fixed(&self.recipient)
            .fixed(self.encapsulated.as_ref())
            .fixed(&self.sealed)
            .finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, CUSTODY, CUSTODY_BYTES)?;
        let recipient = *reader.array()?;
        let (encapsulated, sealed) = (Box::new(*reader.array()?), *reader.array()?);
        reader.end()?;
        Ok(Self { recipient, encapsulated, sealed })
    }
}

const HELD: &str = "held by the custodian";
const RELEASED: &str = "released to a reader";

impl Custody {
    /// A fresh second secret for the class of `context` and the encoded `header`, held by `custodian`.
    ///
    /// # Errors
    /// [`AbeError::TooLong`] never happens for contexts of this crate.
    pub fn new(
        custodian: &EncapsulationKey,
        context: &KemContext,
        header: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Self, Secret32), AbeError> {
        let secret = Secret32::random(rng);
        let bytes = class_bytes(HELD, context, header, &[]);
        Ok((Self(Sealed::new(custodian, &bytes, &secret, rng)?), secret))
    }

    /// Digest of the custodian's key ([`EncapsulationKey::digest`]).
    #[must_use]
    pub fn custodian(&self) -> [u8; 32] {
        self.0.recipient
    }

    /// The secret, for the custodian itself.
    ///
    /// # Errors
    /// [`AbeError::DoesNotOpen`] for another key, class, header or altered bytes.
    pub fn open(
        &self,
        custodian: &DecapsulationKey,
        context: &KemContext,
        header: &[u8],
    ) -> Result<Secret32, AbeError> {
        self.0.open(custodian, &class_bytes(HELD, context, header, &[]))
    }

    /// The same secret under another key of the custodian, or of a new one. The class key stays wrapped as it is.
    ///
    /// # Errors
    /// As [`Custody::open`].
    pub fn transfer(
        &self,
        custodian: &DecapsulationKey,
        context: &KemContext,
        header: &[u8],
        next: &EncapsulationKey,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, AbeError> {
        let bytes = class_bytes(HELD, context, header, &[]);
        let secret = self.0.open(custodian, &bytes)?;
        Ok(Self(Sealed::new(next, &bytes, &secret, rng)?))
    }

    /// The secret encapsulated again to one reader, for one `request`: bytes that both sides have, such as the digest of
    /// the signed question that the custodian has just decided. The custodian has authenticated the reader's key.
    ///
    /// # Errors
    /// As [`Custody::open`]; [`AbeError::TooLong`] for a request over [`MAX_REQUEST`].
    pub fn release(
        &self,
        custodian: &DecapsulationKey,
        context: &KemContext,
        header: &[u8],
        (reader, request): (&EncapsulationKey, &[u8]),
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, AbeError> {
        check_request(request)?;
        let secret = self.open(custodian, context, header)?;
        let bytes = class_bytes(RELEASED, context, header, request);
        Ok(Sealed::new(reader, &bytes, &secret, rng)?.to_bytes())
    }

    /// Suite, digest of the custodian's key, ML-KEM ciphertext, X25519 key, sealed secret: [`CUSTODY_BYTES`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Decodes what [`Custody::to_bytes`] gave.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        Sealed::from_bytes(bytes).map(Self)
    }
}

fn check_request(request: &[u8]) -> Result<(), AbeError> {
    let (length, limit) = (request.len(), MAX_REQUEST);
    if length > limit { Err(AbeError::TooLong { what: "request", length, limit }) } else { Ok(()) }
}

/// The reader's side of [`Custody::release`].
///
/// # Errors
/// [`AbeError::DoesNotOpen`] for another reader, class, header or request or altered bytes;
/// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::TooLong`] for bytes that are no release.
pub fn receive(
    reader: &DecapsulationKey,
    context: &KemContext,
    header: &[u8],
    request: &[u8],
    released: &[u8],
) -> Result<Secret32, AbeError> {
    check_request(request)?;
    Sealed::from_bytes(released)?.open(reader, &class_bytes(RELEASED, context, header, request))
}

/// The secret that wraps a class key with both locks on: HKDF of the secret of the header and that of the custody, bound
/// to class and header. Neither alone tells anything about it.
#[must_use]
pub fn class_secret(abe: &Secret32, custody: &Secret32, context: &KemContext, header: &[u8]) -> Secret32 {
    let mut both = Zeroizing::new(Vec::with_capacity(64));
    both.extend_from_slice(abe.expose());
    both.extend_from_slice(custody.expose());
    let bound = class_bytes("both locks", context, header, &[]);
    Secret32::from_bytes(&hash::derive(&both, "class secret", &[&bound]))
}

#[cfg(test)]
#[path = "post_quantum_tests.rs"]
mod tests;
