//! The organisation's attribute authority: its secret key, and the attribute keys of its own people.

use crate::config::Mapping;
use crate::vault::{Vault, VaultError};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::sealing::AUTHORITY_FILE;
use consilium_abe::{
    AbeError, AccessPolicy, Attribute, AttributeKey, AuthorityName, AuthorityPublicKey, AuthoritySecretKey,
    Gid, PublicKeys, authority,
};
use consilium_contracts::v1::Claims;
use consilium_domain::genesis::Genesis;
use consilium_domain::{ChannelId, OrgId};
use std::collections::BTreeSet;
use thiserror::Error;

/// Longest list of roles that a caller may have.
const MAX_ROLES: usize = 64;

/// The authority cannot work with this genesis and vault.
#[derive(Debug, Error)]
pub enum AuthorityError {
    #[error("the genesis is of channel `{0}`")]
    Channel(ChannelId),
    #[error("organisation `{0}` is not a member in the genesis")]
    NoMember(OrgId),
    #[error("the genesis has no usable authority key of `{organisation}`: {cause}")]
    PublicKey { organisation: OrgId, cause: AbeError },
    #[error("the authority key of `{0}` in the genesis names another channel or organisation")]
    Mismatch(OrgId),
    #[error("the vault has no `{AUTHORITY_FILE}`: make the authority first (`consilium keys`)")]
    NoSecret,
    #[error("`{AUTHORITY_FILE}`: {0}")]
    Secret(AbeError),
    #[error("the secret key in the vault is not the one whose public key is in the genesis")]
    OtherSecret,
    #[error("`mapping` for role `{role}`: {cause}")]
    Mapping { role: String, cause: AbeError },
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// The authority, and the public keys of all members'.
pub struct Authority {
    organisation: OrgId,
    name: AuthorityName,
    secret: AuthoritySecretKey,
    public_keys: PublicKeys,
    mapping: Vec<(String, Attribute)>,
}

/// The public keys of a genesis, each with a valid proof of possession.
pub fn public_keys(genesis: &Genesis) -> Result<PublicKeys, AuthorityError> {
    let mut keys = PublicKeys::new();
    for member in &genesis.members {
        let organisation = &member.organisation;
        let key = AuthorityPublicKey::from_bytes(&member.authority)
            .map_err(|cause| AuthorityError::PublicKey { organisation: organisation.clone(), cause })?;
        let fits =
            key.channel() == genesis.channel.as_str() && key.authority().as_str() == organisation.as_str();
        if !fits {
            return Err(AuthorityError::Mismatch(organisation.clone()));
        }
        keys.insert(key);
    }
    Ok(keys)
}

impl Authority {
    /// Loads the secret key and proves that it belongs to the public key in the genesis.
    pub fn load(
        vault: &Vault,
        genesis: &Genesis,
        channel: &ChannelId,
        organisation: &OrgId,
        mapping: &[Mapping],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, AuthorityError> {
        if genesis.channel != *channel {
            return Err(AuthorityError::Channel(genesis.channel.clone()));
        }
        let public_keys = public_keys(genesis)?;
        let bytes = vault.read(AUTHORITY_FILE)?.ok_or(AuthorityError::NoSecret)?;
        let secret = AuthoritySecretKey::from_bytes(&bytes).map_err(AuthorityError::Secret)?;
        let name = AuthorityName::new(organisation.as_str()).map_err(AuthorityError::Secret)?;
        let public = public_keys.get(&name).ok_or_else(|| AuthorityError::NoMember(organisation.clone()))?;
        let trial = Gid::new("self-check").and_then(|gid| {
            Ok(authority::issue(&secret, &gid, &Attribute::parse("self-check")?, rng).verify(public).is_ok())
        });
        let same = secret.channel() == channel.as_str() && *secret.authority() == name;
        if !same || trial != Ok(true) {
            return Err(AuthorityError::OtherSecret);
        }
        let mapping = mapping
            .iter()
            .map(|rule| {
                let attribute = Attribute::parse(&rule.attribute)
                    .map_err(|cause| AuthorityError::Mapping { role: rule.role.clone(), cause })?;
                Ok((rule.role.clone(), attribute))
            })
            .collect::<Result<_, AuthorityError>>()?;
        Ok(Self { organisation: organisation.clone(), name, secret, public_keys, mapping })
    }

    pub fn public_keys(&self) -> &PublicKeys {
        &self.public_keys
    }

    /// The identity that all of a caller's attribute keys are bound to: `<organisation>/<subject>`. Nothing if
    /// the subject is empty or has characters outside visible ASCII.
    pub fn gid(&self, claims: &Claims) -> Option<Gid> {
        if claims.subject.is_empty() {
            return None;
        }
        Gid::new(&format!("{}/{}", self.organisation, claims.subject)).ok()
    }

    /// The attributes that the mapping gives to a caller.
    pub fn attributes(&self, claims: &Claims) -> BTreeSet<Attribute> {
        let roles = claims.roles.get(..claims.roles.len().min(MAX_ROLES)).unwrap_or_default();
        self.mapping
            .iter()
            .filter(|(role, _)| roles.contains(role))
            .map(|(_, attribute)| attribute.clone())
            .collect()
    }

    /// Attribute keys for what `policy` asks of this authority and the caller has; nothing when that does not
    /// satisfy the policy.
    pub fn issue(
        &self,
        policy: &AccessPolicy,
        gid: &Gid,
        attributes: &BTreeSet<Attribute>,
        rng: &mut dyn CryptoRngCore,
    ) -> Option<Vec<AttributeKey>> {
        let held = attributes.iter().map(|attribute| attribute.at(&self.name)).collect();
        if !policy.satisfied_by(&held) {
            return None;
        }
        let asked: BTreeSet<_> = policy.terms().into_iter().filter(|term| held.contains(term)).collect();
        let asked: Vec<Attribute> = asked.iter().map(|term| term.attribute().clone()).collect();
        Some(authority::issue_all(&self.secret, gid, &asked, rng))
    }
}
