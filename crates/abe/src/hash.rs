//! Hashing to the curve, coins and key derivation, each under a label of its own.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use sha3::Shake256;
use sha3::digest::{ExtendableOutput, Update, XofReader};
use std::sync::LazyLock;
use zeroize::Zeroizing;

use crate::attribute::Term;
use crate::codec::Writer;
use crate::curve::{G2, Scalar};
use crate::gid::Gid;

/// RFC 9380 §3.1 domain separation tag of H: identity to G2. `CS01` is the suite.
pub(crate) const DST_H: &[u8] = b"CONSILIUM-MAABE-V01-CS01-H-BLS12381G2_XMD:SHA-256_SSWU_RO_";
/// RFC 9380 §3.1 domain separation tag of F: attribute to G2.
pub(crate) const DST_F: &[u8] = b"CONSILIUM-MAABE-V01-CS01-F-BLS12381G2_XMD:SHA-256_SSWU_RO_";

const DST_COINS: &[u8] = b"CONSILIUM-MAABE-V01-CS01-COINS-SHAKE256";
const SALT_KDF: &[u8] = b"CONSILIUM-MAABE-V01-CS01-KDF-HKDF-SHA-256";

/// H(GID) in a channel.
pub(crate) fn identity_point(channel: &str, gid: &Gid) -> G2 {
    let message = Writer::new().text(channel).text(gid.as_str()).finish();
    G2::hash(&message, DST_H)
}

/// The bytes hashed by F: channel, authority, name, value, epoch, version.
pub(crate) fn attribute_message(channel: &str, term: &Term) -> Vec<u8> {
    let attribute = &term.attribute;
    Writer::new()
        .text(channel)
        .text(term.authority.as_str())
        .text(&attribute.name)
        .text(&attribute.value)
        .text(&attribute.epoch)
        .u32(attribute.version)
        .finish()
}

/// F(attribute) in a channel.
pub(crate) fn attribute_point(channel: &str, term: &Term) -> G2 {
    G2::hash(&attribute_message(channel, term), DST_F)
}

/// SHA-256 of a label and fields.
pub(crate) fn digest(label: &str, fields: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut update = |bytes: &[u8]| {
        Digest::update(&mut hasher, (bytes.len() as u64).to_be_bytes());
        Digest::update(&mut hasher, bytes);
    };
    update(label.as_bytes());
    fields.iter().for_each(|field| update(field));
    hasher.finalize().into()
}

/// What a coin is used for; no two kinds share a value.
#[derive(Clone, Copy)]
pub(crate) enum CoinKind {
    /// The secret exponent s of a header.
    Secret = 1,
    /// Column entries that share s.
    SecretColumn = 2,
    /// Column entries that share zero.
    ZeroColumn = 3,
    /// The exponent t of a row.
    Row = 4,
}

/// The coins of one encapsulation, derived from its message and context.
pub(crate) struct Coins {
    seed: Zeroizing<Vec<u8>>,
}

impl Coins {
    /// Coins of message `m` under the context hash.
    pub(crate) fn new(m: &[u8; 32], context_hash: &[u8; 32]) -> Self {
        let seed = Writer::with_capacity(DST_COINS.len() + 64)
            .fixed(DST_COINS)
            .fixed(m)
            .fixed(context_hash)
            .finish();
        Self { seed: Zeroizing::new(seed) }
    }

    /// The coin of a kind and index: 512 bits of SHAKE256 reduced modulo r.
    pub(crate) fn scalar(&self, kind: CoinKind, index: u32) -> Scalar {
        let mut xof = Shake256::default();
        xof.update(&self.seed);
        xof.update(&[kind as u8]);
        xof.update(&index.to_be_bytes());
        let mut wide = Zeroizing::new([0u8; 64]);
        xof.finalize_xof().read(wide.as_mut());
        Scalar::from_wide(&wide)
    }
}

/// A challenge of a Schnorr proof over public bytes.
pub(crate) fn challenge(transcript: &[u8]) -> Scalar {
    let mut xof = Shake256::default();
    xof.update(b"CONSILIUM-MAABE-V01-CS01-POP-SHAKE256");
    xof.update(transcript);
    let mut wide = [0u8; 64];
    xof.finalize_xof().read(&mut wide);
    Scalar::from_wide(&wide)
}

/// HMAC-SHA-256 (RFC 2104) under a key of at most a block, which needs no hashing and cannot fail.
pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0u8; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    <Hmac<Sha256> as KeyInit>::new((&*block).into())
}

/// A secret from which keys are derived by HKDF-SHA-256 (RFC 5869): extracted once for any number of them.
pub(crate) struct Extracted(Hmac<Sha256>);

/// HMAC under the salt, which is public and the same for all.
static SALTED: LazyLock<Hmac<Sha256>> = LazyLock::new(|| {
    const { assert!(SALT_KDF.len() <= 64, "RFC 2104: a longer key would be hashed") };
    let mut block = [0; 64];
    block.iter_mut().zip(SALT_KDF).for_each(|(to, from)| *to = *from);
    <Hmac<Sha256> as KeyInit>::new((&block).into())
});

impl Extracted {
    pub(crate) fn new(secret: &[u8]) -> Self {
        // §2.2: PRK = HMAC(salt, secret).
        let mut extract = SALTED.clone();
        Mac::update(&mut extract, secret);
        Self(keyed(&Zeroizing::new(extract.finalize().into_bytes().into())))
    }

    /// 32 bytes; the label and all fields are bound with their lengths.
    pub(crate) fn expand(&self, label: &str, fields: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut info = Writer::new().text(label);
        for field in fields {
            info = info.bytes(field);
        }
        // §2.3 for one block: T(1) = HMAC(PRK, info | 0x01).
        let mut expand = self.0.clone();
        Mac::update(&mut expand, &info.finish());
        Mac::update(&mut expand, &[1]);
        Zeroizing::new(expand.finalize().into_bytes().into())
    }
}

/// One key of a secret.
pub(crate) fn derive(secret: &[u8], label: &str, fields: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    Extracted::new(secret).expand(label, fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hkdf::Hkdf;

    #[test]
    fn derivation_is_hkdf() {
        let mut expected = [0u8; 32];
        let info = Writer::new().text("label").bytes(b"field").finish();
        Hkdf::<Sha256>::new(Some(SALT_KDF), b"secret").expand(&info, &mut expected).unwrap();
        assert_eq!(*derive(b"secret", "label", &[b"field"]), expected);
    }

    #[test]
    fn coins_differ_by_kind_index_message_and_context() {
        let scalar = |m, c, kind, index| Coins::new(&[m; 32], &[c; 32]).scalar(kind, index).to_bytes();
        let mut seen = std::collections::BTreeSet::new();
        let kinds = [CoinKind::Secret, CoinKind::SecretColumn, CoinKind::ZeroColumn, CoinKind::Row];
        for kind in kinds {
            for index in 0..20 {
                for (m, c) in [(0, 0), (0, 1), (1, 0)] {
                    assert!(seen.insert(scalar(m, c, kind, index)));
                }
            }
        }
    }
}
