//! The key encapsulation: a secret that opens for attribute keys satisfying a policy.
//!
//! The Fujisaki–Okamoto transform with implicit rejection over RW15: all coins derive from a
//! random message m and the context, decapsulation encrypts again with the recovered m and
//! compares, and a header that does not agree yields a pseudorandom secret, not an error. So a
//! header opens to one secret whichever satisfying keys are used.

use rand_core::CryptoRngCore;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::attribute::check_name;
use crate::authority::AttributeKey;
use crate::codec::{Reader, Writer};
use crate::gid::Gid;
use crate::hash::{self, Coins};
use crate::lsss::Lsss;
use crate::policy::{MAX_CANONICAL, MAX_ROWS};
use crate::rows::{self, COMPACT_ROW_BYTES, Form, Place, ROW_BYTES, Row, Used};
use crate::{AbeError, AccessPolicy, AuthorityPublicKey, PublicKeys, SUITE, Secret32, cbor};

const HEADER: &str = "header";
/// Longest header, in bytes.
pub const MAX_HEADER: usize = MAX_CANONICAL + MAX_ROWS * ROW_BYTES + 64;
/// What stands in place of the suite in a compact header of suite 1.
const COMPACT: u16 = SUITE | 0x0100;
/// Longest class id, in bytes.
pub const MAX_CLASS: usize = 512;

/// What a header is bound to besides its policy: it opens under the same context only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KemContext {
    channel: String,
    class: String,
    epoch: u64,
}

impl KemContext {
    /// A context: channel (1 to 128 letters, digits or `-_.:/+~%`), class id (1 to 512 visible
    /// ASCII characters) and class epoch.
    ///
    /// # Errors
    /// [`AbeError::InvalidName`].
    pub fn new(channel: &str, class: &str, epoch: u64) -> Result<Self, AbeError> {
        let fits = (1..=MAX_CLASS).contains(&class.len()) && class.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            return Err(AbeError::InvalidName { what: "class", rule: "1 to 512 visible ASCII characters" });
        }
        Ok(Self { channel: check_name("channel", channel)?, class: class.to_owned(), epoch })
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The class id.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The class epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// SHA-256 of the deterministic CBOR of `[suite, channel, class, epoch, policy, [digests]]`,
    /// with the digest of each row's public key in row order.
    fn hash(&self, policy: &AccessPolicy, keys: &[&AuthorityPublicKey]) -> [u8; 32] {
        let mut out = Vec::new();
        cbor::array(&mut out, 6);
        cbor::unsigned(&mut out, SUITE.into());
        cbor::text(&mut out, &self.channel);
        cbor::text(&mut out, &self.class);
        cbor::unsigned(&mut out, self.epoch);
        cbor::bytes(&mut out, &policy.canonical_bytes());
        cbor::array(&mut out, keys.len());
        for key in keys {
            cbor::bytes(&mut out, &key.digest());
        }
        hash::digest("kem context", &[&out])
    }
}

/// A header as it arrived: canonical, its points on their curves, for [`decapsulate`] only.
///
/// Whether the points are in their subgroups is not asked when it is decoded. Decapsulation computes all of them anew
/// inside the subgroups and compares: what differs in any bit, hence what holds a point of another order, opens to noise.
/// That saves a fifth of the time of opening. Whoever does anything else with a header decodes a [`Header`].
pub struct Received {
    policy: AccessPolicy,
    rows: Vec<Row>,
    masked: [u8; 32],
}

impl Received {
    /// Decodes a header that is to be opened.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`], [`AbeError::TooLong`] or
    /// [`AbeError::Policy`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        Self::read(Reader::with_suite(bytes, HEADER, MAX_HEADER)?, Form::Full, Place::Curve)
    }

    /// Decodes what [`Header::to_compact_bytes`] gave, to be opened.
    ///
    /// # Errors
    /// As [`Received::from_bytes`].
    pub fn from_compact_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let reader = Reader::with_mark(bytes, HEADER, MAX_HEADER, COMPACT)?;
        Self::read(reader, Form::Compact, Place::Curve)
    }

    /// The policy under which the secret opens.
    #[must_use]
    pub fn policy(&self) -> &AccessPolicy {
        &self.policy
    }

    /// As [`Header::to_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(Writer::with_suite(), Form::Full)
    }

    fn write(&self, out: Writer, form: Form) -> Vec<u8> {
        let out = out.bytes(&self.policy.canonical_bytes());
        self.rows.iter().fold(out, |out, row| row.write(out, form)).fixed(&self.masked).finish()
    }

    fn read(mut reader: Reader<'_>, form: Form, place: Place) -> Result<Self, AbeError> {
        let policy = AccessPolicy::from_canonical_bytes(reader.bytes(MAX_CANONICAL)?)?;
        let count = policy.terms().len();
        // The whole length first: reading points is the costly part.
        let row = if form == Form::Full { ROW_BYTES } else { COMPACT_ROW_BYTES };
        if reader.remaining() != count * row + 32 {
            return Err(reader.malformed("the length does not fit the policy"));
        }
        let rows = (0..count).map(|_| Row::read(&mut reader, form, place)).collect::<Result<_, _>>()?;
        let masked = *reader.array::<32>()?;
        reader.end()?;
        Ok(Self { policy, rows, masked })
    }
}

impl AsRef<Self> for Received {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// An encapsulated secret: policy, 768 bytes for each of its rows, and the masked message. All group elements are in
/// their subgroups.
pub struct Header(Received);

impl AsRef<Received> for Header {
    fn as_ref(&self) -> &Received {
        &self.0
    }
}

impl Header {
    /// The policy under which the secret opens.
    #[must_use]
    pub fn policy(&self) -> &AccessPolicy {
        &self.0.policy
    }

    /// Suite, policy after its length, rows of 768 bytes, masked message: what the encapsulated secret is bound to.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The same header in rows of 480 bytes, for storage and transport: 0x0101, then as [`Header::to_bytes`], with each
    /// C1 as a point of the torus. Reading it back costs an inversion for each row.
    #[must_use]
    pub fn to_compact_bytes(&self) -> Vec<u8> {
        self.0.write(Writer::new().fixed(&COMPACT.to_be_bytes()), Form::Compact)
    }

    /// Decodes a header. Every group element is checked: canonical, in the subgroup, not the
    /// identity.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`], [`AbeError::TooLong`] or
    /// [`AbeError::Policy`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let reader = Reader::with_suite(bytes, HEADER, MAX_HEADER)?;
        Received::read(reader, Form::Full, Place::Subgroup).map(Self)
    }

    /// Decodes what [`Header::to_compact_bytes`] gave, with the same checks.
    ///
    /// # Errors
    /// As [`Header::from_bytes`].
    pub fn from_compact_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let reader = Reader::with_mark(bytes, HEADER, MAX_HEADER, COMPACT)?;
        Received::read(reader, Form::Compact, Place::Subgroup).map(Self)
    }
}

/// The ciphertext of message `m`: a function of its arguments.
fn encrypt(
    policy: &AccessPolicy,
    lsss: &Lsss,
    keys: &[&AuthorityPublicKey],
    m: &[u8; 32],
    context_hash: &[u8; 32],
) -> Header {
    let coins = Coins::new(m, context_hash);
    let (rows, z) = rows::encrypt(lsss, keys, &coins);
    let z = Zeroizing::new(z.to_bytes());
    Header(Received { policy: policy.clone(), rows, masked: mask(z.as_ref(), context_hash, m) })
}

/// `value` XOR a pad derived from the pairing secret; its own inverse.
fn mask(z: &[u8], context_hash: &[u8; 32], value: &[u8; 32]) -> [u8; 32] {
    let mut out = *value;
    let pad = hash::derive(z, "mask", &[context_hash]);
    for (byte, pad) in out.iter_mut().zip(pad.iter()) {
        *byte ^= pad;
    }
    out
}

/// The encapsulated secret of message `m` in a header.
fn session(m: &[u8; 32], context_hash: &[u8; 32], header: &[u8]) -> Secret32 {
    let header_hash = hash::digest("header", &[header]);
    Secret32::from_bytes(&hash::derive(m, "secret", &[context_hash, &header_hash]))
}

/// Makes a header that opens under `policy` and `context`, and the secret inside.
///
/// # Errors
/// [`AbeError::MissingPublicKey`] or [`AbeError::OtherChannel`] for an authority of the policy.
pub fn encapsulate(
    policy: &AccessPolicy,
    keys: &PublicKeys,
    context: &KemContext,
    rng: &mut dyn CryptoRngCore,
) -> Result<(Header, Secret32), AbeError> {
    let lsss = policy.lsss();
    let keys = keys.for_rows(&context.channel, &lsss.terms)?;
    let context_hash = context.hash(policy, &keys);
    let mut m = Zeroizing::new([0u8; 32]);
    rng.fill_bytes(m.as_mut());
    let header = encrypt(policy, &lsss, &keys, &m, &context_hash);
    let secret = session(&m, &context_hash, &header.to_bytes());
    Ok((header, secret))
}

/// Recovers the secret of a header with the attribute keys of identity `gid`.
///
/// `reject_secret` is a random secret of the holder, the same for every call. If the header was
/// not made honestly for this context and these public keys, a point of it lies outside its subgroup, or an attribute key is wrong, the
/// result is a secret derived from `reject_secret` and the header: what it wraps does not open.
/// The time taken does not tell the two apart.
///
/// # Errors
/// Facts anyone can see: [`AbeError::MissingPublicKey`] or [`AbeError::OtherChannel`] for an
/// authority of the policy, [`AbeError::NotSatisfied`] if the attributes do not satisfy it. Keys of
/// other identities or channels are passed over.
pub fn decapsulate(
    header: &impl AsRef<Received>,
    context: &KemContext,
    keys: &PublicKeys,
    gid: &Gid,
    attribute_keys: &[AttributeKey],
    reject_secret: &[u8; 32],
) -> Result<Secret32, AbeError> {
    let header = header.as_ref();
    let lsss = header.policy.lsss();
    let keys = keys.for_rows(&context.channel, &lsss.terms)?;
    let held: Vec<Option<&AttributeKey>> = lsss
        .terms
        .iter()
        .map(|term| {
            attribute_keys
                .iter()
                .find(|key| key.term() == term && key.gid() == gid && key.channel() == context.channel)
        })
        .collect();
    let available: Vec<bool> = held.iter().map(Option::is_some).collect();
    let not_satisfied = || AbeError::NotSatisfied { policy: header.policy.to_string() };
    let cover = lsss.reconstruct(&available).ok_or_else(not_satisfied)?;
    let used = cover
        .into_iter()
        .map(|(index, coefficient)| {
            Some(Used { row: header.rows.get(index)?, coefficient, key: held.get(index).copied().flatten()? })
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(not_satisfied)?;

    let context_hash = context.hash(&header.policy, &keys);
    // All keys found are of this identity and channel, so any of them has its point.
    let first = used.first().ok_or_else(not_satisfied)?;
    let z = rows::decrypt(&used, first.key.identity_point());
    let z = Zeroizing::new(z.to_bytes());
    let m = Zeroizing::new(mask(z.as_ref(), &context_hash, &header.masked));
    let again = encrypt(&header.policy, &lsss, &keys, &m, &context_hash);
    let bytes = header.to_bytes();
    let agrees = again.to_bytes().ct_eq(&bytes);

    let rejected = hash::derive(reject_secret, "reject", &[&context_hash]);
    let mut chosen = Zeroizing::new([0u8; 32]);
    for ((out, bad), good) in chosen.iter_mut().zip(rejected.iter()).zip(m.iter()) {
        *out = u8::conditional_select(bad, good, agrees);
    }
    Ok(session(&chosen, &context_hash, &bytes))
}

#[cfg(test)]
#[path = "kem_tests.rs"]
mod tests;
