//! The public keys a policy is encrypted under.

use std::collections::BTreeMap;

use crate::attribute::{AuthorityName, Term};
use crate::{AbeError, AuthorityPublicKey};

/// One public key for each authority, all proved and checked when they were decoded.
#[derive(Debug, Clone, Default)]
pub struct PublicKeys(BTreeMap<AuthorityName, AuthorityPublicKey>);

impl PublicKeys {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key; returns the one of the same authority that it replaces.
    pub fn insert(&mut self, key: AuthorityPublicKey) -> Option<AuthorityPublicKey> {
        self.0.insert(key.authority().clone(), key)
    }

    /// The key of an authority.
    #[must_use]
    pub fn get(&self, authority: &AuthorityName) -> Option<&AuthorityPublicKey> {
        self.0.get(authority)
    }

    /// The key of each row's authority, all of one channel.
    pub(crate) fn for_rows(
        &self,
        channel: &str,
        terms: &[Term],
    ) -> Result<Vec<&AuthorityPublicKey>, AbeError> {
        terms
            .iter()
            .map(|term| {
                let authority = || term.authority.as_str().to_owned();
                let key = self
                    .get(&term.authority)
                    .ok_or_else(|| AbeError::MissingPublicKey { authority: authority() })?;
                if key.channel() == channel {
                    Ok(key)
                } else {
                    Err(AbeError::OtherChannel { authority: authority() })
                }
            })
            .collect()
    }
}

impl FromIterator<AuthorityPublicKey> for PublicKeys {
    fn from_iter<I: IntoIterator<Item = AuthorityPublicKey>>(keys: I) -> Self {
        let mut out = Self::new();
        for key in keys {
            out.insert(key);
        }
        out
    }
}
