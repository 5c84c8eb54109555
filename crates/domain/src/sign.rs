//! Ed25519 key and signature bytes, and what a signature is over. The arithmetic is in `ledger`.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use crate::id::ChannelId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

macro_rules! octets {
    ($(#[$doc:meta])* $type:ident, $n:literal, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub [u8; $n]);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Canonical for $type {
            fn encode(&self, out: &mut Encoder) {
                out.fixed(&self.0);
            }
            fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
                input.array($field).map(Self)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&hex::encode(self.0))
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                let mut out = [0; $n];
                hex::decode_to_slice(&text, &mut out)
                    .map_err(|_| serde::de::Error::custom(concat!("expected ", $n, " bytes in hexadecimal")))?;
                Ok(Self(out))
            }
        }
    };
}

octets!(
    /// Ed25519 verification key (RFC 8032).
    PublicKey,
    32,
    "public key"
);
octets!(
    /// Ed25519 signature (RFC 8032), accepted by the ZIP 215 rules everywhere, offline verifier included.
    Signature,
    64,
    "signature"
);

/// What a signature is for. It stands first in the signed bytes, so no signature serves two purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Prevote,
    Precommit,
    Proposal,
    Transaction,
    Attestation,
    Consent,
    Message,
    Checkpoint,
    /// An organisation's approval of a [`crate::governance::Motion`].
    Motion,
    /// An organisation's [`crate::dispute::Finding`].
    Finding,
}

impl Purpose {
    fn tag(self) -> &'static str {
        match self {
            Self::Prevote => "consilium/v1/prevote",
            Self::Precommit => "consilium/v1/precommit",
            Self::Proposal => "consilium/v1/proposal",
            Self::Transaction => "consilium/v1/transaction",
            Self::Attestation => "consilium/v1/attestation",
            Self::Consent => "consilium/v1/consent",
            Self::Message => "consilium/v1/message",
            Self::Checkpoint => "consilium/v1/checkpoint",
            Self::Motion => "consilium/v1/motion",
            Self::Finding => "consilium/v1/finding",
        }
    }

    /// The bytes to sign: purpose, channel, canonical body.
    pub fn bytes<T: Canonical>(self, channel: &ChannelId, body: &T) -> Vec<u8> {
        let mut out = Encoder::default();
        out.str(self.tag()).value(channel).value(body);
        out.into_bytes()
    }
}
