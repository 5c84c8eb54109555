//! Global identities of holders, and the challenge by which a holder shows an identity is theirs.

use std::fmt;

use rand_core::CryptoRngCore;

use crate::AbeError;
use crate::attribute::AuthorityName;
use crate::codec::Writer;

/// Longest identity, in bytes.
pub const MAX_GID: usize = 512;

/// A holder's global identity, such as a DID: all attribute keys of a holder are bound to it, and
/// keys of different identities do not combine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(String);

impl Gid {
    /// Checks an identity: 1 to 512 visible ASCII characters.
    ///
    /// # Errors
    /// [`AbeError::InvalidName`].
    pub fn new(gid: &str) -> Result<Self, AbeError> {
        let fits = (1..=MAX_GID).contains(&gid.len()) && gid.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(gid.to_owned()))
            .ok_or(AbeError::InvalidName { what: "identity", rule: "1 to 512 visible ASCII characters" })
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a holder signs, with the key of its identity, before an authority issues attribute keys.
///
/// Without it two people could obtain keys for one identity and combine them. The authority makes
/// the challenge, keeps it, and accepts one signature over [`GidChallenge::signing_bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GidChallenge {
    /// The channel.
    pub channel: String,
    /// The authority that will issue.
    pub authority: AuthorityName,
    /// The attribute epoch of the keys.
    pub epoch: String,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
}

impl GidChallenge {
    /// A fresh challenge.
    pub fn new(rng: &mut dyn CryptoRngCore, channel: &str, authority: &AuthorityName, epoch: &str) -> Self {
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        Self { channel: channel.to_owned(), authority: authority.clone(), epoch: epoch.to_owned(), nonce }
    }

    /// The bytes the holder of `gid` signs: label, suite, channel, authority, epoch, identity and
    /// nonce, each after its length.
    #[must_use]
    pub fn signing_bytes(&self, gid: &Gid) -> Vec<u8> {
        Writer::with_suite()
            .text("consilium gid proof of possession")
            .text(&self.channel)
            .text(self.authority.as_str())
            .text(&self.epoch)
            .text(gid.as_str())
            .bytes(&self.nonce)
            .finish()
    }
}
