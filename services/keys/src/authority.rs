//! The organisation's attribute authority: its secret key, and the attribute keys of its own people.

use crate::config::Mapping;
use crate::vault::{Vault, VaultError};
use consilium_abe::guardians::{Group, Share};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::sealing::AUTHORITY_FILE;
use consilium_abe::{
    AbeError, AccessPolicy, Attribute, AttributeKey, AttributeSet, AuthorityName, AuthorityPublicKey,
    AuthoritySecretKey, Gid, PublicKeys, Term, authority,
};
use consilium_domain::genesis::Genesis;
use consilium_domain::{ChannelId, OrgId};
use std::collections::BTreeSet;
use thiserror::Error;
use zeroize::Zeroizing;

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
    #[error("the vault has no `{AUTHORITY_FILE}`: make the authority first (`consilium keys init`)")]
    NoSecret,
    #[error("`{AUTHORITY_FILE}`: {0}")]
    Secret(AbeError),
    #[error("the secret key in the vault is not the one whose public key is in the genesis")]
    OtherSecret,
    #[error("`mapping` for role `{role}`: {cause}")]
    Mapping { role: String, cause: AbeError },
    #[error("`mapping` for role `{0}` names an epoch: epochs move by the clock")]
    MappingEpoch(String),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// The authority, and the public keys of all members'.
pub struct Authority {
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
                if !attribute.epoch().is_empty() {
                    return Err(AuthorityError::MappingEpoch(rule.role.clone()));
                }
                Ok((rule.role.clone(), attribute))
            })
            .collect::<Result<_, AuthorityError>>()?;
        Ok(Self { name, secret, public_keys, mapping })
    }

    pub fn public_keys(&self) -> &PublicKeys {
        &self.public_keys
    }

    pub fn name(&self) -> &AuthorityName {
        &self.name
    }

    /// The secret key's bytes, for a backup or for guardians.
    pub fn secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.secret.to_bytes()
    }

    /// The secret key in shares, for `(threshold, guardians)`.
    pub fn share(
        &self,
        size: (u8, u8),
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Group, Vec<Share>), AbeError> {
        let missing = AbeError::InvalidName { what: "authority", rule: "that the genesis names" };
        let public = self.public_keys.get(&self.name).ok_or(missing)?;
        Group::deal(&self.secret, public, size, rng)
    }

    /// The attributes, without an epoch, that the mapping gives for roles.
    pub fn attributes(&self, roles: &BTreeSet<String>) -> BTreeSet<Attribute> {
        let held = self.mapping.iter().filter(|(role, _)| roles.contains(role));
        held.map(|(_, attribute)| attribute.clone()).collect()
    }

    /// Attribute keys for what `policy` asks of this authority in one of the weeks `epochs` and the caller has;
    /// nothing when that does not satisfy the policy. No key is issued for an attribute without a week, which
    /// would never end.
    pub fn issue(
        &self,
        policy: &AccessPolicy,
        gid: &Gid,
        attributes: &BTreeSet<Attribute>,
        epochs: &BTreeSet<String>,
        rng: &mut dyn CryptoRngCore,
    ) -> Option<Vec<AttributeKey>> {
        let has = |term: &Term| {
            let asked = term.attribute();
            let same = |held: &&Attribute| held.name() == asked.name() && held.value() == asked.value();
            *term.authority() == self.name
                && asked.version() == 0
                && epochs.contains(asked.epoch())
                && attributes.iter().any(|held| same(&held))
        };
        let held: AttributeSet = policy.terms().into_iter().filter(has).collect();
        if !policy.satisfied_by(&held) {
            return None;
        }
        let asked: Vec<Attribute> = held.iter().map(|term| term.attribute().clone()).collect();
        Some(authority::issue_all(&self.secret, gid, &asked, rng))
    }
}
