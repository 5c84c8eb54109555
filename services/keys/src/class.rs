//! Class keys: one key-encryption key per class and epoch, wrapped under an envelope of attribute-based encryption.

use crate::envelope::{self, Envelopes};
use crate::error::KeysError;
use crate::post_quantum::{PostQuantum, Release};
use crate::standing::Standing;
use crate::vault::{Vault, VaultError};
use consilium_abe::envelope::{ClassKey, unwrap_class_key, wrap_class_key};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::{AbeError, AccessPolicy, KemContext, PublicKeys, Received, Secret32, kem};
use consilium_domain::{CanonError, Canonical, ChannelId, Decoder, Digest, Encoder, OrgId};
use zeroize::Zeroizing;

/// First octets of a class header, and how its envelope is written. 1 and 2 had an encapsulation for each class. 3 and 4
/// are read, and written anew when their class is next asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// One lock, rows of 768 bytes.
    Long = 3,
    /// The second, post-quantum lock too.
    LongLocked = 4,
    /// One lock, rows of 480 bytes.
    Compact = 5,
    CompactLocked = 6,
}

impl Format {
    const ALL: [Self; 4] = [Self::Long, Self::LongLocked, Self::Compact, Self::CompactLocked];

    /// What is written.
    fn current(post_quantum: &PostQuantum) -> Self {
        if post_quantum.is_on() { Self::CompactLocked } else { Self::Compact }
    }

    fn is_locked(self) -> bool {
        matches!(self, Self::LongLocked | Self::CompactLocked)
    }

    fn envelope(self, header: &[u8]) -> Result<Received, AbeError> {
        match self {
            Self::Long | Self::LongLocked => Received::from_bytes(header),
            Self::Compact | Self::CompactLocked => Received::from_compact_bytes(header),
        }
    }
}

/// Organisations that a header may release to.
const MAX_RELEASES: usize = 256;
/// First octets of a class file: with the attribute epoch and the keys of each header.
const FILE_FORMAT: u16 = 3;
/// Without the keys of each header.
const OLD_FILE: u16 = 2;
/// Most bytes of a wrapped class key.
const MAX_WRAP: usize = 256;
/// Epochs that a class file may hold.
const MAX_EPOCHS: usize = 100_000;
/// Most bytes of a policy's text.
const MAX_POLICY: usize = 64 * 1024;

/// What a class header belongs to: it opens for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassName {
    pub channel: ChannelId,
    pub custodian: OrgId,
    /// Opaque: HMAC of patient compartment and sensitivity, made by the custodian's ingest.
    pub id: Vec<u8>,
}

impl ClassName {
    /// Refuses ids outside 16 to 64 bytes.
    pub fn new(channel: &ChannelId, custodian: &OrgId, id: &[u8]) -> Result<Self, KeysError> {
        if !(16..=64).contains(&id.len()) {
            return Err(KeysError::Invalid { field: "class_id", rule: "must have 16 to 64 bytes" });
        }
        Ok(Self { channel: channel.clone(), custodian: custodian.clone(), id: id.to_vec() })
    }

    /// What the second lock is bound to.
    fn kem_context(&self, epoch: u64) -> Result<KemContext, AbeError> {
        let class = format!("{}/{}", self.custodian, hex::encode(&self.id));
        KemContext::new(self.channel.as_str(), &class, epoch)
    }

    /// What the wrapped key authenticates: the same, and the policy.
    fn wrap_context(&self, epoch: u64, policy: &AccessPolicy) -> Vec<u8> {
        let mut out = Encoder::default();
        out.str("consilium/v1/class key").value(&self.channel).value(&self.custodian).bytes(&self.id);
        out.u64(epoch).bytes(&policy.canonical_bytes());
        out.into_bytes()
    }

    pub(crate) fn file(&self) -> String {
        let name = hex::encode(&self.id);
        // Two digits keep folders small with a million classes.
        format!("classes/{}/{name}.sealed", name.get(..2).unwrap_or_default())
    }
}

/// Wraps a class key so that whoever satisfies `policy` can open it: the encoded class header.
pub fn wrap(
    name: &ClassName,
    epoch: u64,
    policy: &AccessPolicy,
    key: &ClassKey,
    scene: &Wrapping<'_>,
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, KeysError> {
    let context = envelope::context(&name.channel, &name.custodian)?;
    let policy = &scene.standing.restrict(policy)?;
    let envelope = scene.envelopes.of(policy, scene.standing, &context, rng)?;
    let (header, secret) = (&envelope.header, &envelope.secret);
    let wrapping = name.wrap_context(epoch, policy);
    let mut out = Encoder::default();
    let wrapped = if scene.post_quantum.is_on() {
        let context = name.kem_context(epoch)?;
        let (releases, secret) = scene.post_quantum.lock(&context, (header, policy), secret, rng)?;
        out.u16(Format::CompactLocked as u16).bytes(header).list(&releases);
        wrap_class_key(&secret, &wrapping, key, rng)?
    } else {
        out.u16(Format::Compact as u16).bytes(header);
        wrap_class_key(secret, &wrapping, key, rng)?
    };
    out.bytes(&wrapped);
    Ok(out.into_bytes())
}

/// A class header taken apart, to be opened.
pub struct ClassHeader {
    envelope: Received,
    /// Its bytes.
    header: Vec<u8>,
    releases: Option<Vec<Release>>,
    wrapped: Vec<u8>,
}

impl ClassHeader {
    /// Decodes what [`wrap`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeysError> {
        let not_one = |_: CanonError| KeysError::Invalid {
            field: "header",
            rule: "is no class header of format 3 to 6",
        };
        let mut input = Decoder::new(bytes);
        let format = input.u16("format").map_err(not_one)?;
        let format = Format::ALL.into_iter().find(|known| *known as u16 == format);
        let format = format.ok_or_else(|| not_one(CanonError::NotCanonical("format")))?;
        let header = input.bytes(kem::MAX_HEADER, "header").map_err(not_one)?.to_vec();
        let releases = match format.is_locked() {
            true => Some(input.list(MAX_RELEASES, "releases").map_err(not_one)?),
            false => None,
        };
        let wrapped = input.bytes(MAX_WRAP, "wrapped key").map_err(not_one)?.to_vec();
        input.finish().map_err(not_one)?;
        Ok(Self { envelope: format.envelope(&header)?, header, releases, wrapped })
    }

    pub fn policy(&self) -> &AccessPolicy {
        self.envelope.policy()
    }

    /// SHA-256 of the envelope's bytes: the same for the classes that share it.
    pub fn envelope_digest(&self) -> Digest {
        Digest::sha256(&[&self.header])
    }

    /// The secret of the envelope, with a caller's attribute keys. For a header that was not made honestly or was made
    /// for another custodian it is noise; where the keys do not satisfy the policy, [`KeysError::Denied`].
    pub fn open_envelope(
        &self,
        name: &ClassName,
        public_keys: &PublicKeys,
        gid: &consilium_abe::Gid,
        keys: &[consilium_abe::AttributeKey],
        reject: &Secret32,
    ) -> Result<Secret32, KeysError> {
        let context = envelope::context(&name.channel, &name.custodian)?;
        kem::decapsulate(&self.envelope, &context, public_keys, gid, keys, reject.expose())
            .map_err(|_| KeysError::Denied)
    }

    /// The class key, with the secret of the envelope. For noise, another class or another epoch:
    /// [`KeysError::Denied`], without saying which.
    pub fn class_key(
        &self,
        name: &ClassName,
        epoch: u64,
        post_quantum: &PostQuantum,
        secret: &Secret32,
    ) -> Result<ClassKey, KeysError> {
        let wrapping = name.wrap_context(epoch, self.policy());
        let opened = match &self.releases {
            None => unwrap_class_key(secret, &wrapping, &self.wrapped),
            Some(releases) => {
                let context = name.kem_context(epoch)?;
                let both = post_quantum.unlock(&context, &self.header, releases, secret)?;
                unwrap_class_key(&both, &wrapping, &self.wrapped)
            }
        };
        opened.map_err(|_| KeysError::Denied)
    }
}

/// One epoch of a class: its key, and for whom it is wrapped.
pub struct Epoch {
    pub number: u64,
    pub key: Zeroizing<Vec<u8>>,
    /// The policy's text as it was asked for.
    pub policy: String,
    /// The attribute epoch that the header names for every attribute without one.
    pub attribute_epoch: String,
    /// [`Standing::digest`] of what the header was made with.
    pub made_with: Digest,
    pub header: Vec<u8>,
}

/// An epoch of a file of format 2. What its header was made with is not known, so it is made anew when it is asked for.
struct OldEpoch(Epoch);

impl Canonical for OldEpoch {
    fn encode(&self, out: &mut Encoder) {
        let epoch = &self.0;
        out.u64(epoch.number).bytes(&epoch.key).str(&epoch.policy).str(&epoch.attribute_epoch);
        out.bytes(&epoch.header);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(Self(Epoch {
            number: input.u64("epoch")?,
            key: Zeroizing::new(input.bytes(32, "class key")?.to_vec()),
            policy: input.str(MAX_POLICY, "policy")?.to_owned(),
            attribute_epoch: input.str(32, "attribute epoch")?.to_owned(),
            made_with: Digest([0; 32]),
            header: input.bytes(consilium_abe::envelope::MAX_FILE, "header")?.to_vec(),
        }))
    }
}

impl Canonical for Epoch {
    fn encode(&self, out: &mut Encoder) {
        out.u64(self.number).bytes(&self.key).str(&self.policy).str(&self.attribute_epoch);
        out.value(&self.made_with).bytes(&self.header);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(Self {
            number: input.u64("epoch")?,
            key: Zeroizing::new(input.bytes(32, "class key")?.to_vec()),
            policy: input.str(MAX_POLICY, "policy")?.to_owned(),
            attribute_epoch: input.str(32, "attribute epoch")?.to_owned(),
            made_with: input.value()?,
            header: input.bytes(consilium_abe::envelope::MAX_FILE, "header")?.to_vec(),
        })
    }
}

impl Epoch {
    /// Wraps the key anew, for a policy in an attribute epoch.
    fn rewrap(
        &mut self,
        name: &ClassName,
        policy: &str,
        scene: &Wrapping<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), KeysError> {
        let parsed = parse(policy)?.with_epoch(scene.attribute_epoch)?;
        self.header = wrap(name, self.number, &parsed, &self.class_key()?, scene, rng)?;
        self.made_with = scene.made_with(&parsed);
        policy.clone_into(&mut self.policy);
        scene.attribute_epoch.clone_into(&mut self.attribute_epoch);
        Ok(())
    }

    fn class_key(&self) -> Result<ClassKey, KeysError> {
        <&[u8; 32]>::try_from(self.key.as_slice())
            .map(ClassKey::from_bytes)
            .map_err(|_| KeysError::Abe(AbeError::DoesNotOpen { what: "class key" }))
    }
}

/// The epochs of one class, the current one last.
pub struct Class {
    pub epochs: Vec<Epoch>,
}

impl Class {
    /// Reads a class; nothing if it was never made.
    pub fn load(vault: &Vault, name: &ClassName) -> Result<Option<Self>, VaultError> {
        let file = name.file();
        let Some(bytes) = vault.read(&file)? else { return Ok(None) };
        let content = |cause| VaultError::Content { path: vault.path(&file), cause };
        let mut input = Decoder::new(&bytes);
        let epochs = match input.u16("format").map_err(content)? {
            FILE_FORMAT => input.list(MAX_EPOCHS, "epochs").map_err(content)?,
            OLD_FILE => {
                let old: Vec<OldEpoch> = input.list(MAX_EPOCHS, "epochs").map_err(content)?;
                old.into_iter().map(|epoch| epoch.0).collect()
            }
            _ => return Err(content(CanonError::NotCanonical("format"))),
        };
        input.finish().map_err(content)?;
        Ok(Some(Self { epochs }))
    }

    /// Durable once this returns.
    pub fn store(
        &self,
        vault: &Vault,
        name: &ClassName,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), VaultError> {
        let mut out = Encoder::default();
        out.u16(FILE_FORMAT).list(&self.epochs);
        vault.write(&name.file(), &Zeroizing::new(out.into_bytes()), rng)
    }

    /// The current epoch (`number` = 0) or a past one.
    pub fn epoch(&self, number: u64) -> Result<&Epoch, KeysError> {
        let found = match number {
            0 => self.epochs.last(),
            _ => self.epochs.iter().find(|epoch| epoch.number == number),
        };
        found.ok_or(KeysError::UnknownEpoch)
    }

    /// Makes a class with its first epoch, 1. Durable once this returns.
    pub fn create(
        vault: &Vault,
        name: &ClassName,
        policy: &str,
        scene: &Wrapping<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, KeysError> {
        let mut class = Self { epochs: Vec::new() };
        class.append(name, policy, scene, rng)?;
        class.store(vault, name, rng)?;
        Ok(class)
    }

    /// Changes the policy: a new epoch with a new key (`rotate`), or the current key under a new header.
    /// Headers already handed out open for whom they opened; so does a key that somebody has.
    pub fn change(
        &mut self,
        vault: &Vault,
        name: &ClassName,
        policy: &str,
        rotate: bool,
        scene: &Wrapping<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), KeysError> {
        if rotate {
            self.append(name, policy, scene, rng)?;
        } else {
            self.epochs.last_mut().ok_or(KeysError::UnknownEpoch)?.rewrap(name, policy, scene, rng)?;
        }
        self.store(vault, name, rng)?;
        Ok(())
    }

    fn append(
        &mut self,
        name: &ClassName,
        policy: &str,
        scene: &Wrapping<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(), KeysError> {
        let number = self.epochs.last().map_or(1, |epoch| epoch.number.saturating_add(1));
        let key = Zeroizing::new(ClassKey::generate(rng).expose().to_vec());
        let (policy_text, attribute_epoch, made_with) = (String::new(), String::new(), Digest([0; 32]));
        let mut epoch =
            Epoch { number, key, policy: policy_text, attribute_epoch, made_with, header: Vec::new() };
        epoch.rewrap(name, policy, scene, rng)?;
        self.epochs.push(epoch);
        Ok(())
    }

    /// Brings the header of an epoch (0 = the current one) up to date, if it is not: attribute epochs move every
    /// week, members come and go and change their keys, and a past epoch follows the policy of the current one, so that what was revoked since does not
    /// open old records either. Whether there was something to do; then the class has to be stored.
    pub fn renew(
        &mut self,
        name: &ClassName,
        number: u64,
        scene: &Wrapping<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<bool, KeysError> {
        let policy = self.epoch(0)?.policy.clone();
        let epoch = match number {
            0 => self.epochs.last_mut(),
            _ => self.epochs.iter_mut().find(|epoch| epoch.number == number),
        };
        let epoch = epoch.ok_or(KeysError::UnknownEpoch)?;
        let format = Format::current(scene.post_quantum) as u16;
        let formed = epoch.header.starts_with(&format.to_be_bytes());
        let same = epoch.attribute_epoch == scene.attribute_epoch && epoch.policy == policy;
        if same && formed && epoch.made_with == scene.made_with(&parse(&policy)?) {
            return Ok(false);
        }
        epoch.rewrap(name, &policy, scene, rng)?;
        Ok(true)
    }
}

/// What headers are made with at a moment.
pub struct Wrapping<'a> {
    pub standing: &'a Standing,
    pub envelopes: &'a Envelopes,
    pub post_quantum: &'a PostQuantum,
    /// As [`crate::epoch::week`] names it.
    pub attribute_epoch: &'a str,
}

impl Wrapping<'_> {
    fn made_with(&self, policy: &AccessPolicy) -> Digest {
        self.standing.digest(policy, Some(self.post_quantum))
    }
}

fn parse(policy: &str) -> Result<AccessPolicy, KeysError> {
    if policy.is_empty() || policy.len() > MAX_POLICY {
        return Err(KeysError::Invalid { field: "policy", rule: "must have 1 to 65536 characters" });
    }
    Ok(AccessPolicy::parse(policy)?)
}
