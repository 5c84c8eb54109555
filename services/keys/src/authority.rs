//! The organisation's attribute authority: its secret key, and the attribute keys of its own people.
//!
//! The key changes without a restart: the next one is made here, the members' motion names its public half, and when
//! the ledger has that, it takes the place of the old one.

use crate::config::Mapping;
use crate::standing::Standing;
use crate::vault::{Vault, VaultError};
use consilium_abe::guardians::{Group, Share};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::sealing::AUTHORITY_FILE;
use consilium_abe::{
    AbeError, AccessPolicy, Attribute, AttributeKey, AttributeSet, AuthorityName, AuthorityPublicKey,
    AuthoritySecretKey, Gid, PublicKeys, Term, authority,
};
use consilium_domain::genesis::{Genesis, Member};
use consilium_domain::{ChannelId, Decoder, Encoder, OrgId};
use consilium_runtime::Followed;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use thiserror::Error;
use zeroize::Zeroizing;

/// The authority cannot work with this genesis and vault.
#[derive(Debug, Error)]
pub enum AuthorityError {
    #[error("the genesis is of channel `{0}`")]
    Channel(ChannelId),
    #[error("organisation `{0}` is no member")]
    NoMember(OrgId),
    #[error("the members' list has no usable authority key of `{organisation}`: {cause}")]
    PublicKey { organisation: OrgId, cause: AbeError },
    #[error("the authority key of `{0}` in the members' list names another channel or organisation")]
    Mismatch(OrgId),
    #[error("the vault has no `{AUTHORITY_FILE}`: make the authority first (`consilium keys init`)")]
    NoSecret,
    #[error("`{AUTHORITY_FILE}`: {0}")]
    Secret(AbeError),
    #[error("the secret key in the vault is not the one whose public key is in the genesis or on the ledger")]
    OtherSecret,
    #[error("`mapping` for role `{role}`: {cause}")]
    Mapping { role: String, cause: AbeError },
    #[error("`mapping` for role `{0}` names an epoch: epochs move by the clock")]
    MappingEpoch(String),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Holds a secret key that the ledger does not name yet, and its public key.
const NEXT_FILE: &str = "authority-next.sealed";
/// Most bytes of either.
const MAX_KEY: usize = 4096;

/// The authority, and the public keys of all members' as the ledger has them.
pub struct Authority {
    channel: ChannelId,
    organisation: OrgId,
    name: AuthorityName,
    members: Followed<Vec<Member>>,
    standings: RwLock<Standings>,
    /// One change at a time.
    changing: Mutex<()>,
    mapping: Vec<(String, Attribute)>,
}

/// As it is, and as it was before the last change of the members.
#[derive(Clone)]
pub(crate) struct Standings {
    pub now: Arc<Standing>,
    pub before: Option<Arc<Standing>>,
}

/// A member's authority key, with a valid proof of possession and for this place.
pub(crate) fn decode(member: &Member, channel: &ChannelId) -> Result<AuthorityPublicKey, AuthorityError> {
    let organisation = &member.organisation;
    let key = AuthorityPublicKey::from_bytes(&member.authority)
        .map_err(|cause| AuthorityError::PublicKey { organisation: organisation.clone(), cause })?;
    if key.channel() != channel.as_str() || key.authority().as_str() != organisation.as_str() {
        return Err(AuthorityError::Mismatch(organisation.clone()));
    }
    Ok(key)
}

/// The public keys of a genesis, each with a valid proof of possession.
pub fn public_keys(genesis: &Genesis) -> Result<PublicKeys, AuthorityError> {
    genesis.members.iter().map(|member| decode(member, &genesis.channel)).collect()
}

/// The secret keys in a vault: the one in use, and the one that the ledger does not name yet.
pub(crate) struct Held {
    current: AuthoritySecretKey,
    next: Option<(AuthoritySecretKey, Vec<u8>)>,
}

impl Held {
    pub(crate) fn load(vault: &Vault) -> Result<Self, AuthorityError> {
        let bytes = vault.read(AUTHORITY_FILE)?.ok_or(AuthorityError::NoSecret)?;
        let current = AuthoritySecretKey::from_bytes(&bytes).map_err(AuthorityError::Secret)?;
        Ok(Self { current, next: next(vault)? })
    }

    /// Whether a member's entry has the public key of one of them.
    pub(crate) fn is_of(&self, member: &Member, channel: &ChannelId, rng: &mut dyn CryptoRngCore) -> bool {
        let Ok(public) = decode(member, channel) else { return false };
        let next = self.next.as_ref().map(|(secret, _)| secret);
        std::iter::once(&self.current).chain(next).any(|secret| belong(secret, &public, rng))
    }
}

/// The secret key that waits for the ledger, and the bytes of its public key.
fn next(vault: &Vault) -> Result<Option<(AuthoritySecretKey, Vec<u8>)>, AuthorityError> {
    let Some(bytes) = vault.read(NEXT_FILE)? else { return Ok(None) };
    let content = |cause| VaultError::Content { path: vault.path(NEXT_FILE), cause };
    let mut input = Decoder::new(&bytes);
    let public = input.bytes(MAX_KEY, "public key").map_err(content)?.to_vec();
    let secret = AuthoritySecretKey::from_bytes(input.bytes(MAX_KEY, "secret key").map_err(content)?);
    input.finish().map_err(content)?;
    Ok(Some((secret.map_err(AuthorityError::Secret)?, public)))
}

/// Whether a secret key is a public key's: what it issues verifies.
fn belong(secret: &AuthoritySecretKey, public: &AuthorityPublicKey, rng: &mut dyn CryptoRngCore) -> bool {
    let trial = Gid::new("self-check").and_then(|gid| {
        Ok(authority::issue(secret, &gid, &Attribute::parse("self-check")?, rng).verify(public).is_ok())
    });
    let same = secret.channel() == public.channel() && secret.authority() == public.authority();
    same && trial == Ok(true)
}

impl Authority {
    /// Loads the secret key and proves that it belongs to the public key that the members' list has.
    pub fn load(
        vault: &Vault,
        (genesis, members): (&Genesis, Followed<Vec<Member>>),
        channel: &ChannelId,
        organisation: &OrgId,
        mapping: &[Mapping],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, AuthorityError> {
        if genesis.channel != *channel {
            return Err(AuthorityError::Channel(genesis.channel.clone()));
        }
        let name = AuthorityName::new(organisation.as_str()).map_err(AuthorityError::Secret)?;
        let secret = Arc::new(Held::load(vault)?.current);
        let founded = Arc::new(Standing::of_genesis(genesis, secret)?);
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
        let founder = founded.has(organisation);
        let own = Self {
            channel: channel.clone(),
            organisation: organisation.clone(),
            name,
            members,
            standings: RwLock::new(Standings { now: founded, before: None }),
            changing: Mutex::default(),
            mapping,
        };
        own.follow(vault, rng)?;
        // What was before the start is nothing to open by.
        own.standings.write().unwrap_or_else(PoisonError::into_inner).before = None;
        match own.now().has(organisation) {
            true if own.is_listed(rng) => Ok(own),
            true => Err(AuthorityError::OtherSecret),
            false if founder => {
                tracing::warn!("this organisation has left the consortium: its own records stay readable");
                Ok(own)
            }
            false => Err(AuthorityError::NoMember(organisation.clone())),
        }
    }

    /// Takes up the members as they are now, with the own next key if it is the one that they name. Costs nothing as
    /// long as they are the same.
    pub(crate) fn follow(&self, vault: &Vault, rng: &mut dyn CryptoRngCore) -> Result<(), AuthorityError> {
        let members = self.members.get();
        if self.now().is_of(&members) {
            return Ok(());
        }
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.now();
        if before.is_of(&members) {
            return Ok(());
        }
        let mut secret = Arc::clone(before.secret());
        let place = (&self.channel, &self.organisation);
        let listed = before.next(Arc::clone(&members), Arc::clone(&secret), place);
        if let Some(public) = listed.public_keys().get(&self.name)
            && !belong(&secret, public, rng)
        {
            match next(vault)? {
                Some((made, _)) if belong(&made, public, rng) => {
                    vault.write(AUTHORITY_FILE, &made.to_bytes(), rng)?;
                    vault.destroy(NEXT_FILE, rng)?;
                    tracing::info!("the authority's next key is in force");
                    secret = Arc::new(made);
                }
                _ => tracing::error!(
                    "the ledger names an authority key of this organisation that is not in the vault:                      nobody here opens what is sealed from now on"
                ),
            }
        }
        let now = Arc::new(before.next(members, secret, place));
        *self.standings.write().unwrap_or_else(PoisonError::into_inner) =
            Standings { now, before: Some(before) };
        Ok(())
    }

    /// The members' keys as they are now.
    pub fn now(&self) -> Arc<Standing> {
        Arc::clone(&self.standings.read().unwrap_or_else(PoisonError::into_inner).now)
    }

    pub(crate) fn standings(&self) -> Standings {
        self.standings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the secret key in use is that of the organisation's key in the members' list.
    pub fn is_listed(&self, rng: &mut dyn CryptoRngCore) -> bool {
        let now = self.now();
        now.has(&self.organisation)
            && now.public_keys().get(&self.name).is_some_and(|public| belong(now.secret(), public, rng))
    }

    /// Makes the key that will be in force once the members' list names it, and gives its public half; the same one
    /// until then.
    pub(crate) fn prepare(
        &self,
        vault: &Vault,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, AuthorityError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // A crash may have left the one that is in force by now.
        if let Some((_, public)) = next(vault)?
            && self.now().listed(&self.organisation) != Some(public.as_slice())
        {
            return Ok(public);
        }
        let (public, secret) = authority::setup(rng, self.channel.as_str(), self.organisation.as_str())
            .map_err(AuthorityError::Secret)?;
        let public = public.to_bytes();
        let mut out = Encoder::default();
        out.bytes(&public).bytes(&secret.to_bytes());
        vault.write(NEXT_FILE, &Zeroizing::new(out.into_bytes()), rng)?;
        Ok(public)
    }

    pub fn name(&self) -> &AuthorityName {
        &self.name
    }

    /// The authority key that the members' list has.
    pub fn listed(&self) -> Option<Vec<u8>> {
        self.now().listed(&self.organisation).map(<[u8]>::to_vec)
    }

    /// The secret key's bytes, for a backup or for guardians.
    pub fn secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        self.now().secret().to_bytes()
    }

    /// The secret key in shares, for `(threshold, guardians)`.
    pub fn share(
        &self,
        size: (u8, u8),
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Group, Vec<Share>), AbeError> {
        let missing = AbeError::InvalidName { what: "authority", rule: "that the members' list names" };
        let now = self.now();
        let public = now.public_keys().get(&self.name).ok_or(missing)?;
        Group::deal(now.secret(), public, size, rng)
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
        standing: &Standing,
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
        Some(authority::issue_all(standing.secret(), gid, &asked, rng))
    }
}
