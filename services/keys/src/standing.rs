//! What the members' authority keys are at a moment. A change of the members makes a new standing; the one before is
//! kept for headers that were made under it and are still on their way.

use crate::authority::{AuthorityError, decode};
use crate::post_quantum::PostQuantum;
use consilium_abe::{
    AbeError, AccessPolicy, AuthorityName, AuthorityPublicKey, AuthoritySecretKey, PublicKeys,
};
use consilium_domain::genesis::{Genesis, Member};
use consilium_domain::{ChannelId, Digest, Encoder, OrgId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The members, their authority keys, and the own secret key.
pub struct Standing {
    members: Arc<Vec<Member>>,
    keys: BTreeMap<OrgId, AuthorityPublicKey>,
    public_keys: PublicKeys,
    secret: Arc<AuthoritySecretKey>,
}

impl Standing {
    /// Of the genesis, where every key has to be good: nothing was agreed on yet that could not be mended.
    pub fn of_genesis(genesis: &Genesis, secret: Arc<AuthoritySecretKey>) -> Result<Self, AuthorityError> {
        let mut keys = BTreeMap::new();
        for member in &genesis.members {
            keys.insert(member.organisation.clone(), decode(member, &genesis.channel)?);
        }
        let public_keys = keys.values().cloned().collect();
        Ok(Self { members: Arc::new(genesis.members.clone()), keys, public_keys, secret })
    }

    /// Of other members. A key that cannot be used is its organisation's trouble alone: policies come to what they say
    /// without it. The own key stays when the organisation has left, so that its own records can still be read.
    pub(crate) fn next(
        &self,
        members: Arc<Vec<Member>>,
        secret: Arc<AuthoritySecretKey>,
        (channel, own): (&ChannelId, &OrgId),
    ) -> Self {
        let mut keys: BTreeMap<OrgId, AuthorityPublicKey> = BTreeMap::new();
        keys.extend(self.keys.get(own).map(|key| (own.clone(), key.clone())));
        for member in members.iter() {
            let organisation = &member.organisation;
            let same = self
                .members
                .iter()
                .any(|m| m.organisation == *organisation && m.authority == member.authority);
            let key = match self.keys.get(organisation).filter(|_| same) {
                Some(known) => Ok(known.clone()),
                None => decode(member, channel),
            };
            match key {
                Ok(key) => {
                    keys.insert(organisation.clone(), key);
                }
                Err(error) => {
                    tracing::error!(%error, "a member's authority key cannot be used: nothing is sealed for its people");
                }
            }
        }
        let public_keys = keys.values().cloned().collect();
        Self { members, keys, public_keys, secret }
    }

    pub(crate) fn is_of(&self, members: &Arc<Vec<Member>>) -> bool {
        Arc::ptr_eq(&self.members, members)
    }

    /// The authority key that the members' list has for an organisation.
    pub(crate) fn listed(&self, organisation: &OrgId) -> Option<&[u8]> {
        let member = self.members.iter().find(|member| member.organisation == *organisation)?;
        Some(&member.authority)
    }

    pub fn public_keys(&self) -> &PublicKeys {
        &self.public_keys
    }

    pub(crate) fn secret(&self) -> &Arc<AuthoritySecretKey> {
        &self.secret
    }

    /// Whether an organisation is a member.
    pub fn has(&self, organisation: &OrgId) -> bool {
        self.members.iter().any(|member| member.organisation == *organisation)
    }

    fn key_of(&self, authority: &AuthorityName) -> Option<&AuthorityPublicKey> {
        self.public_keys.get(authority)
    }

    /// What a policy comes to among these members.
    ///
    /// # Errors
    /// [`AbeError::MissingPublicKey`] where nobody can satisfy it.
    pub fn restrict(&self, policy: &AccessPolicy) -> Result<AccessPolicy, AbeError> {
        let nobody = || AbeError::MissingPublicKey {
            authority: policy.authorities().first().map(|name| name.as_str().to_owned()).unwrap_or_default(),
        };
        policy.restricted_to(&|authority| self.key_of(authority).is_some()).ok_or_else(nobody)
    }

    /// What a header of this policy is made with besides policy and week: the authorities' keys and the keys of the
    /// second lock. A header that was made with others is made anew.
    pub fn digest(&self, policy: &AccessPolicy, post_quantum: Option<&PostQuantum>) -> Digest {
        let mut out = Encoder::default();
        for authority in policy.authorities() {
            let key = self.key_of(authority).map(AuthorityPublicKey::digest).unwrap_or_default();
            let second = post_quantum.and_then(|lock| lock.key_of(authority.as_str()));
            out.str(authority.as_str()).fixed(&key);
            out.fixed(&second.map(|key| key.digest()).unwrap_or_default());
        }
        Digest::sha256(&[b"consilium/v1/keys of a class header", &out.into_bytes()])
    }
}
