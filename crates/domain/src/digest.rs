//! SHA-256 digests with domain separation.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256 value (FIPS 180-4), written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 over a length-prefixed tag and the content, so that no two purposes share a digest.
    pub fn tagged(tag: &str, content: &[u8]) -> Self {
        let mut h = Sha256::new();
        h.update([u8::try_from(tag.len()).unwrap_or(u8::MAX)]);
        h.update(tag.as_bytes());
        h.update(content);
        Self(h.finalize().into())
    }
    /// Plain SHA-256 of the concatenated parts.
    pub fn sha256(parts: &[&[u8]]) -> Self {
        let mut h = Sha256::new();
        for part in parts {
            h.update(part);
        }
        Self(h.finalize().into())
    }
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    pub fn to_hex(&self) -> String {
        // Several for every transaction: written in one piece, which `hex::encode` does not do.
        let mut out = vec![0; 64];
        let written = hex::encode_to_slice(self.0, &mut out);
        written.ok().and_then(|()| String::from_utf8(out).ok()).unwrap_or_default()
    }
    /// `None` unless the text is 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut out = [0; 32];
        hex::decode_to_slice(text, &mut out).ok()?;
        Some(Self(out))
    }
    /// `None` unless there are exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Canonical for Digest {
    fn encode(&self, out: &mut Encoder) {
        out.fixed(&self.0);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        input.array("digest").map(Self)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hexadecimal digits"))
    }
}
