//! Attribute authorities: key pairs and the attribute keys they issue.
//!
//! RW15 (Rouselakis and Waters, Financial Cryptography 2015, §5) in the placement K, H, F in G2
//! and K' in G1: the public key is A = e(g1,g2)^α and Y = g1^y, and the key of an attribute u is
//! K = g2^α · H(GID)^y · F(u)^t, K' = g1^t with a fresh t.
//!
//! α leaves this module as e(g1,g2)^α only: with g2^α every row of every header would open.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::attribute::{Attribute, AuthorityName, MAX_EPOCH, MAX_NAME, Term, check_name};
use crate::codec::{Reader, Writer};
use crate::curve::{
    G1, G1_BYTES, G1Table, G2, G2_BYTES, GT_BYTES, Gt, GtTable, SCALAR_BYTES, Scalar, multi_pairing,
};
use crate::gid::{Gid, MAX_GID};
use crate::points::Points;
use crate::{AbeError, hash};

const PUBLIC_KEY: &str = "authority public key";
const SECRET_KEY: &str = "authority secret key";
const ATTRIBUTE_KEY: &str = "attribute key";
/// Longest encoding of any key here, in bytes.
const MAX_ENCODED: usize = 2048;

/// An authority's public key, with a proof that its sender knows the secret key.
#[derive(Clone)]
pub struct AuthorityPublicKey(Arc<PublicParts>);

struct PublicParts {
    channel: String,
    authority: AuthorityName,
    a: Gt,
    y: G1,
    proof: Proof,
    digest: [u8; 32],
    tables: OnceLock<Tables>,
    points: Points,
}

/// Tables of powers of A and Y, made when first needed.
pub(crate) struct Tables {
    pub(crate) a: GtTable,
    pub(crate) y: G1Table,
}

/// A Schnorr proof of knowledge of α (base e(g1,g2)) and y (base g1) under one challenge.
struct Proof {
    challenge: Scalar,
    alpha: Scalar,
    y: Scalar,
}

/// The bytes the challenge is hashed from: suite, channel, authority, public key, commitments.
fn proof_challenge(
    channel: &str,
    authority: &AuthorityName,
    (a, y): (&Gt, &G1),
    (commit_a, commit_y): (&Gt, &G1),
) -> Scalar {
    let transcript = Writer::with_suite()
        .text(channel)
        .text(authority.as_str())
        .fixed(&a.to_bytes())
        .fixed(&y.to_bytes())
        .fixed(&commit_a.to_bytes())
        .fixed(&commit_y.to_bytes())
        .finish();
    hash::challenge(&transcript)
}

impl AuthorityPublicKey {
    fn new(channel: &str, authority: &AuthorityName, a: Gt, y: G1, proof: Proof) -> Self {
        let mut parts = PublicParts {
            channel: channel.to_owned(),
            authority: authority.clone(),
            a,
            y,
            proof,
            digest: [0; 32],
            tables: OnceLock::new(),
            points: Points::default(),
        };
        parts.digest = hash::digest("authority public key", &[&parts.to_bytes()]);
        Self(Arc::new(parts))
    }

    /// The channel the key is for.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// The authority's name.
    #[must_use]
    pub fn authority(&self) -> &AuthorityName {
        &self.0.authority
    }

    /// SHA-256 of a label and the encoding: what headers bind and registers list.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.0.digest
    }

    /// Suite, channel, authority, A (576 bytes), Y (48 bytes) and the proof (96 bytes).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Decodes a public key and verifies its proof of possession.
    ///
    /// # Errors
    /// [`AbeError::Malformed`] for any but the one encoding, for points off the curve or outside
    /// the subgroup and for the identity; [`AbeError::ProofOfPossession`] if the proof fails.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, PUBLIC_KEY, MAX_ENCODED)?;
        let channel = check_name("channel", reader.text(MAX_NAME)?)?;
        let authority = AuthorityName::new(reader.text(MAX_NAME)?)?;
        let a = Gt::from_bytes(reader.array::<GT_BYTES>()?)
            .ok_or_else(|| reader.malformed("A is no element of the group"))?;
        let y = G1::from_bytes(reader.array::<G1_BYTES>()?)
            .ok_or_else(|| reader.malformed("Y is no element of the group"))?;
        let mut scalar = || {
            let bytes = reader.array::<SCALAR_BYTES>()?;
            Scalar::from_bytes(bytes).ok_or_else(|| reader.malformed("a scalar is not reduced"))
        };
        let proof = Proof { challenge: scalar()?, alpha: scalar()?, y: scalar()? };
        reader.end()?;

        // R = base^z / key^c must give the same challenge.
        let minus = proof.challenge.neg();
        let commit_a = Gt::generator().pow(&proof.alpha).mul(&a.pow(&minus));
        let commit_y = G1Table::generator().mul(&proof.y).add(&y.mul(&minus));
        let expected = proof_challenge(&channel, &authority, (&a, &y), (&commit_a, &commit_y));
        if !expected.public_eq(&proof.challenge) {
            return Err(AbeError::ProofOfPossession { authority: authority.as_str().to_owned() });
        }
        Ok(Self::new(&channel, &authority, a, y, proof))
    }

    /// A and Y.
    pub(crate) fn points(&self) -> (&Gt, &G1) {
        (&self.0.a, &self.0.y)
    }

    /// F of an attribute of this authority.
    pub(crate) fn attribute_point(&self, term: &Term) -> G2 {
        self.0.points.of(&self.0.channel, term)
    }

    pub(crate) fn tables(&self) -> &Tables {
        self.0.tables.get_or_init(|| Tables { a: GtTable::new(&self.0.a), y: G1Table::new(&self.0.y) })
    }
}

impl PublicParts {
    fn to_bytes(&self) -> Vec<u8> {
        Writer::with_suite()
            .text(&self.channel)
            .text(self.authority.as_str())
            .fixed(&self.a.to_bytes())
            .fixed(&self.y.to_bytes())
            .fixed(&self.proof.challenge.to_bytes())
            .fixed(&self.proof.alpha.to_bytes())
            .fixed(&self.proof.y.to_bytes())
            .finish()
    }
}

impl PartialEq for AuthorityPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for AuthorityPublicKey {}

impl fmt::Debug for AuthorityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityPublicKey")
            .field("channel", &self.0.channel)
            .field("authority", &self.0.authority)
            .finish_non_exhaustive()
    }
}

/// An authority's secret key (α, y), with g2^α kept because every attribute key needs it.
pub struct AuthoritySecretKey {
    channel: String,
    authority: AuthorityName,
    alpha: Scalar,
    y: Scalar,
    g2_alpha: Zeroizing<G2>,
    points: Points,
}

impl AuthoritySecretKey {
    fn new(channel: &str, authority: &AuthorityName, alpha: Scalar, y: Scalar) -> Self {
        let g2_alpha = Zeroizing::new(G2::generator().mul(&alpha));
        Self {
            channel: channel.to_owned(),
            authority: authority.clone(),
            alpha,
            y,
            g2_alpha,
            points: Points::default(),
        }
    }

    /// The channel the key is for.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The authority's name.
    #[must_use]
    pub fn authority(&self) -> &AuthorityName {
        &self.authority
    }

    /// Suite, channel, authority, α and y, to be sealed by a key management service.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let (alpha, y) = (Zeroizing::new(self.alpha.to_bytes()), Zeroizing::new(self.y.to_bytes()));
        let bytes = Writer::with_capacity(MAX_ENCODED)
            .fixed(&crate::SUITE.to_be_bytes())
            .text(&self.channel)
            .text(self.authority.as_str())
            .fixed(alpha.as_ref())
            .fixed(y.as_ref())
            .finish();
        Zeroizing::new(bytes)
    }

    /// Decodes what [`AuthoritySecretKey::to_bytes`] gave.
    ///
    /// # Errors
    /// [`AbeError::Malformed`] or [`AbeError::UnknownSuite`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, SECRET_KEY, MAX_ENCODED)?;
        let channel = check_name("channel", reader.text(MAX_NAME)?)?;
        let authority = AuthorityName::new(reader.text(MAX_NAME)?)?;
        let mut scalar = || {
            let bytes = reader.array::<SCALAR_BYTES>()?;
            Scalar::from_bytes(bytes)
                .filter(|scalar| !scalar.public_eq(&Scalar::zero()))
                .ok_or_else(|| reader.malformed("a scalar is zero or not reduced"))
        };
        let (alpha, y) = (scalar()?, scalar()?);
        reader.end()?;
        Ok(Self::new(&channel, &authority, alpha, y))
    }

    /// The key of a public key's authority with these scalars: the whole key, or a guardian's share of it.
    pub(crate) fn from_parts(public: &AuthorityPublicKey, alpha: Scalar, y: Scalar) -> Self {
        Self::new(public.channel(), public.authority(), alpha, y)
    }

    /// α and y, for sharing among guardians.
    pub(crate) fn duplicate_scalars(&self) -> (Scalar, Scalar) {
        (self.alpha.duplicate(), self.y.duplicate())
    }

    /// Whether the public key names the same channel and authority.
    pub(crate) fn same_place(&self, public: &AuthorityPublicKey) -> bool {
        self.channel == public.channel() && self.authority == *public.authority()
    }

    /// The public key, with a fresh proof of possession. Its digest differs from that of another
    /// proof, so an authority makes it once and keeps the bytes.
    pub fn public_key(&self, rng: &mut dyn CryptoRngCore) -> AuthorityPublicKey {
        let a = GtTable::generator().pow(&self.alpha);
        let y = G1Table::generator().mul(&self.y);
        let (random_a, random_y) = (Scalar::random(rng), Scalar::random(rng));
        let commit_a = GtTable::generator().pow(&random_a);
        let commit_y = G1Table::generator().mul(&random_y);
        let challenge = proof_challenge(&self.channel, &self.authority, (&a, &y), (&commit_a, &commit_y));
        let proof = Proof {
            alpha: random_a.add(&challenge.mul(&self.alpha)),
            y: random_y.add(&challenge.mul(&self.y)),
            challenge,
        };
        AuthorityPublicKey::new(&self.channel, &self.authority, a, y, proof)
    }
}

/// Makes an authority's key pair. `channel` and `name` have 1 to 128 letters, digits or
/// `-_.:/+~%`.
///
/// # Errors
/// [`AbeError::InvalidName`].
pub fn setup(
    rng: &mut dyn CryptoRngCore,
    channel: &str,
    name: &str,
) -> Result<(AuthorityPublicKey, AuthoritySecretKey), AbeError> {
    let channel = check_name("channel", channel)?;
    let authority = AuthorityName::new(name)?;
    let (alpha, y) = (Scalar::random(rng), Scalar::random(rng));
    let secret = AuthoritySecretKey::new(&channel, &authority, alpha, y);
    Ok((secret.public_key(rng), secret))
}

/// A key for one attribute of one identity: K in G2 and K' in G1. Secret of its holder.
pub struct AttributeKey {
    channel: String,
    gid: Gid,
    term: Term,
    pub(crate) k: Zeroizing<G2>,
    pub(crate) k_prime: Zeroizing<G1>,
    /// H(GID), hashed when first needed. Public.
    identity: OnceLock<G2>,
}

/// Issues the key of one attribute. The caller has seen a proof of the identity
/// ([`crate::GidChallenge`]) and knows that the attribute holds.
pub fn issue(
    key: &AuthoritySecretKey,
    gid: &Gid,
    attribute: &Attribute,
    rng: &mut dyn CryptoRngCore,
) -> AttributeKey {
    issue_one(key, gid, &identity_part(key, gid), attribute, rng)
}

/// Issues the keys of several attributes; cheaper than one by one.
pub fn issue_all(
    key: &AuthoritySecretKey,
    gid: &Gid,
    attributes: &[Attribute],
    rng: &mut dyn CryptoRngCore,
) -> Vec<AttributeKey> {
    let shared = identity_part(key, gid);
    attributes.iter().map(|attribute| issue_one(key, gid, &shared, attribute, rng)).collect()
}

/// g2^α · H(GID)^y, the same for all attributes of an identity.
fn identity_part(key: &AuthoritySecretKey, gid: &Gid) -> Zeroizing<G2> {
    let identity = Zeroizing::new(hash::identity_point(&key.channel, gid).mul(&key.y));
    Zeroizing::new(key.g2_alpha.add(&identity))
}

fn issue_one(
    key: &AuthoritySecretKey,
    gid: &Gid,
    shared: &G2,
    attribute: &Attribute,
    rng: &mut dyn CryptoRngCore,
) -> AttributeKey {
    let term = attribute.at(&key.authority);
    let t = Scalar::random(rng);
    let attribute = Zeroizing::new(key.points.of(&key.channel, &term).mul(&t));
    AttributeKey {
        channel: key.channel.clone(),
        gid: gid.clone(),
        term,
        k: Zeroizing::new(shared.add(&attribute)),
        k_prime: Zeroizing::new(G1Table::generator().mul(&t)),
        identity: OnceLock::new(),
    }
}

impl AttributeKey {
    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The identity the key is for.
    #[must_use]
    pub fn gid(&self) -> &Gid {
        &self.gid
    }

    /// The attribute and its authority.
    #[must_use]
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// Checks the key against its authority: e(g1,K) = A · e(Y,H(GID)) · e(K',F(u)). A receiver
    /// does so once, before storing the key.
    ///
    /// # Errors
    /// [`AbeError::InvalidAttributeKey`].
    pub fn verify(&self, authority: &AuthorityPublicKey) -> Result<(), AbeError> {
        let same_place = authority.channel() == self.channel && *authority.authority() == self.term.authority;
        if same_place && self.satisfies(&authority.0.a, &authority.0.y) {
            Ok(())
        } else {
            Err(AbeError::InvalidAttributeKey { term: self.term.to_string() })
        }
    }

    /// H(GID) of the holder.
    pub(crate) fn identity_point(&self) -> &G2 {
        self.identity.get_or_init(|| hash::identity_point(&self.channel, &self.gid))
    }

    /// Whether e(g1,K) = A · e(Y,H(GID)) · e(K',F(u)).
    pub(crate) fn satisfies(&self, a: &Gt, y: &G1) -> bool {
        let identity = self.identity_point();
        let attribute = hash::attribute_point(&self.channel, &self.term);
        let (minus_y, minus_k) = (y.neg(), Zeroizing::new(self.k_prime.neg()));
        let product =
            multi_pairing(&[(G1::generator(), &self.k), (&minus_y, identity), (&minus_k, &attribute)]);
        product.public_eq(a)
    }

    /// Π K^w, Π K'^w over keys of one identity and attribute with their weights.
    pub(crate) fn combine(channel: &str, gid: &Gid, term: Term, keys: &[(Scalar, &Self)]) -> Self {
        let (mut k, mut k_prime) = (Zeroizing::new(G2::identity()), Zeroizing::new(G1::identity()));
        for (weight, key) in keys {
            let (next, next_prime) =
                (Zeroizing::new(key.k.mul(weight)), Zeroizing::new(key.k_prime.mul(weight)));
            *k = k.add(&next);
            *k_prime = k_prime.add(&next_prime);
        }
        Self { channel: channel.to_owned(), gid: gid.clone(), term, k, k_prime, identity: OnceLock::new() }
    }

    /// Suite, channel, identity, authority, attribute, K (96 bytes) and K' (48 bytes).
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let attribute = &self.term.attribute;
        let (k, k_prime) = (Zeroizing::new(self.k.to_bytes()), Zeroizing::new(self.k_prime.to_bytes()));
        let bytes = Writer::with_capacity(MAX_ENCODED)
            .fixed(&crate::SUITE.to_be_bytes())
            .text(&self.channel)
            .text(self.gid.as_str())
            .text(self.term.authority.as_str())
            .text(&attribute.name)
            .text(&attribute.value)
            .text(&attribute.epoch)
            .u32(attribute.version)
            .fixed(k.as_ref())
            .fixed(k_prime.as_ref())
            .finish();
        Zeroizing::new(bytes)
    }

    /// Decodes an attribute key. It is not [verified](AttributeKey::verify) yet.
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`] or [`AbeError::InvalidName`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, ATTRIBUTE_KEY, MAX_ENCODED)?;
        let channel = check_name("channel", reader.text(MAX_NAME)?)?;
        let gid = Gid::new(reader.text(MAX_GID)?)?;
        let authority = AuthorityName::new(reader.text(MAX_NAME)?)?;
        let (name, value) = (reader.text(MAX_NAME)?, reader.text(MAX_NAME)?);
        let epoch = reader.text(MAX_EPOCH)?;
        let attribute = Attribute::from_fields(name, value, epoch, reader.u32()?)?;
        let k = G2::from_bytes(reader.array::<G2_BYTES>()?)
            .ok_or_else(|| reader.malformed("K is no element of the group"))?;
        let k_prime = G1::from_bytes(reader.array::<G1_BYTES>()?)
            .ok_or_else(|| reader.malformed("K' is no element of the group"))?;
        reader.end()?;
        Ok(Self {
            channel,
            gid,
            term: attribute.at(&authority),
            k: Zeroizing::new(k),
            k_prime: Zeroizing::new(k_prime),
            identity: OnceLock::new(),
        })
    }
}
