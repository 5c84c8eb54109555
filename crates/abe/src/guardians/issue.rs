//! Attribute keys by t of n guardians.
//!
//! RW15 key generation is linear in (α, y): guardian i computes K_i = g2^f(i) · H(GID)^h(i) · F(u)^t_i and
//! K'_i = g1^t_i with a t_i of its own, and with Lagrange's coefficients L_i of the guardians taking part
//! K = Π K_i^L_i, K' = Π K'_i^L_i is a key with t = Σ L_i·t_i. One round, no joint randomness.
//!
//! Each part is checked against the commitments of its guardian: e(g1,K_i) = A_i · e(Y_i,H(GID)) · e(K'_i,F(u)).

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::{Group, Share, lagrange};
use crate::AbeError;
use crate::attribute::Attribute;
use crate::authority::{AttributeKey, AuthoritySecretKey, issue_all};
use crate::codec::{Reader, Writer};
use crate::gid::Gid;

const PART: &str = "part of an attribute key";
const MAX_PART: usize = 4096;

/// One guardian's part of an attribute key. Secret: `threshold` of them are the key.
pub struct KeyPart {
    group: [u8; 32],
    guardian: u8,
    key: AttributeKey,
}

/// One guardian's parts of several attributes of an identity. The guardian has seen a proof of the identity
/// ([`crate::GidChallenge`]) and knows by itself that the attributes hold: that is what the threshold is for.
///
/// # Errors
/// [`AbeError::Guardian`] if the share is not of this group and generation.
pub fn issue_parts(
    group: &Group,
    share: &Share,
    gid: &Gid,
    attributes: &[Attribute],
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<KeyPart>, AbeError> {
    group.check_digest(share.guardian, &share.group)?;
    let alpha = share.pair.alpha.duplicate();
    let own = AuthoritySecretKey::from_parts(group.public_key(), alpha, share.pair.y.duplicate());
    let keys = issue_all(&own, gid, attributes, rng).into_iter();
    Ok(keys.map(|key| KeyPart { group: share.group, guardian: share.guardian, key }).collect())
}

/// What [`combine`] gives.
pub struct Combined {
    /// The attribute key, which verifies against the authority's public key.
    pub key: AttributeKey,
    /// Guardians whose part did not verify.
    pub misbehaved: Vec<u8>,
}

/// The attribute key from `threshold` or more parts for the same identity and attribute. Parts that do not verify are
/// left out and their guardians named.
///
/// # Errors
/// [`AbeError::TooFewGuardians`] if fewer than `threshold` parts verify and are for `gid` and `attribute`.
pub fn combine(
    group: &Group,
    gid: &Gid,
    attribute: &Attribute,
    parts: &[KeyPart],
) -> Result<Combined, AbeError> {
    let term = attribute.at(group.public_key().authority());
    let check = |part: &KeyPart| {
        group.check_digest(part.guardian, &part.group)?;
        let same = *part.key.gid() == *gid
            && *part.key.term() == term
            && part.key.channel() == group.public_key().channel();
        let commitment = group.commitment(part.guardian);
        if same && part.key.satisfies(&commitment.a, &commitment.y) {
            Ok(())
        } else {
            Err(super::fault(part.guardian, "its part of the attribute key does not verify"))
        }
    };
    let (good, misbehaved) = group.sort_out(parts, |part| part.guardian, check)?;
    let set: Vec<u8> = good.keys().copied().collect();
    let weighted: Vec<_> =
        good.iter().map(|(guardian, part)| (lagrange(*guardian, &set, 0), &part.key)).collect();
    let key = AttributeKey::combine(group.public_key().channel(), gid, term, &weighted);
    Ok(Combined { key, misbehaved })
}

impl KeyPart {
    /// Who issued it.
    #[must_use]
    pub fn guardian(&self) -> u8 {
        self.guardian
    }

    /// The part as a key: one of the authority with this guardian's scalars.
    #[cfg(test)]
    pub(super) fn attribute_key(&self) -> &AttributeKey {
        &self.key
    }

    /// Suite, digest of the group, guardian, then as [`AttributeKey::to_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let out = Writer::with_capacity(MAX_PART).fixed(&crate::SUITE.to_be_bytes()).fixed(&self.group);
        Zeroizing::new(out.byte(self.guardian).bytes(&self.key.to_bytes()).finish())
    }

    /// Decodes a part. It is verified when it is [combined](combine).
    ///
    /// # Errors
    /// [`AbeError::Malformed`], [`AbeError::UnknownSuite`], [`AbeError::TooLong`] or [`AbeError::InvalidName`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AbeError> {
        let mut reader = Reader::with_suite(bytes, PART, MAX_PART)?;
        let (group, guardian) = (*reader.array()?, reader.byte()?);
        let key = AttributeKey::from_bytes(reader.bytes(MAX_PART)?)?;
        reader.end()?;
        Ok(Self { group, guardian, key })
    }
}
