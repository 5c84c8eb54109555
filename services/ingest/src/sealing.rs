//! Records at rest: data key and salt seed per version, wrapped under the key of the record's class.

use crate::error::ApiError;
use crate::peers::Peers;
use consilium_abe::AbeError;
use consilium_abe::envelope::{ClassKey, RecordKey, open_record, seal_record, unwrap_dek, wrap_dek};
use consilium_abe::rand_core::CryptoRngCore;
use consilium_domain::{ChannelId, Clock, Digest, Encoder, OrgId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a current class key is used without asking again: a rotation elsewhere is noticed this late.
const CURRENT_FOR: Duration = Duration::from_secs(5);
/// How long a key of a fixed epoch is kept.
const EPOCH_FOR: Duration = Duration::from_secs(60);
/// How long keys are used after the keys service last said what was destroyed: a key outlives its destruction by the
/// time between two such answers, or by this where none comes.
const CONFIRMED_FOR: Duration = Duration::from_secs(10);
/// Most keys kept.
const CAPACITY: usize = 10_000;

/// What a sealed record belongs to; authenticated with it, never stored beside it.
pub struct Binding<'a> {
    pub channel: &'a ChannelId,
    pub custodian: &'a OrgId,
    pub resource_type: &'a str,
    pub version: u64,
    pub class_id: &'a [u8],
    pub epoch: u64,
    /// Commitment digest: it covers every leaf, the id included.
    pub commitment: &'a Digest,
}

impl Binding<'_> {
    /// The context bytes of wrap and seal.
    pub fn context(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.str("consilium/v1/sealed-record")
            .value(self.channel)
            .value(self.custodian)
            .str(self.resource_type)
            .u64(self.version)
            .bytes(self.class_id)
            .u64(self.epoch)
            .value(self.commitment);
        out.into_bytes()
    }
}

/// A class key of one epoch and the header under which others may open it.
#[derive(Clone)]
pub struct Class {
    pub key: Arc<ClassKey>,
    pub epoch: u64,
    pub header: Vec<u8>,
    pub policy: String,
}

/// (class, epoch; 0 = the current one) → the class and until when it is used without asking.
type Cache = BTreeMap<(Vec<u8>, u64), (Duration, Class)>;

/// Class keys of the own organisation, from the keys service.
pub struct ClassKeys {
    peers: Peers,
    clock: Arc<dyn Clock>,
    cache: Mutex<Cache>,
    /// Until when what is kept may be used.
    confirmed: Mutex<Duration>,
}

impl ClassKeys {
    pub fn new(peers: Peers, clock: Arc<dyn Clock>) -> Self {
        Self { peers, clock, cache: Mutex::default(), confirmed: Mutex::default() }
    }

    /// The current key of a class, which is created with `policy` when there is none.
    pub async fn current(&self, class_id: &[u8], policy: &str) -> Result<Class, ApiError> {
        self.get(class_id, 0, policy).await
    }

    /// The key of an epoch (from 1).
    pub async fn at(&self, class_id: &[u8], epoch: u64) -> Result<Class, ApiError> {
        self.get(class_id, epoch, "").await
    }

    async fn get(&self, class_id: &[u8], epoch: u64, policy: &str) -> Result<Class, ApiError> {
        let now = self.clock.monotonic();
        let key = (class_id.to_vec(), epoch);
        let confirmed = *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if now < confirmed
            && let Some((until, class)) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key)
            && *until > now
        {
            return Ok(class.clone());
        }
        let answer = self.peers.class(class_id, epoch, policy).await?;
        let kek: &[u8; 32] =
            answer.kek.as_slice().try_into().map_err(|_| {
                ApiError::internal("the keys service gave a class key that is not 32 bytes long")
            })?;
        let class = Class {
            key: Arc::new(ClassKey::from_bytes(kek)),
            epoch: answer.epoch,
            header: answer.header,
            policy: answer.policy,
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CAPACITY {
            cache.retain(|_, (until, _)| *until > now);
            if cache.len() >= CAPACITY {
                cache.clear();
            }
        }
        let lifetime = if epoch == 0 { CURRENT_FOR } else { EPOCH_FOR };
        cache.insert(key, (now + lifetime, class.clone()));
        Ok(class)
    }

    /// At this time the keys service knew of no destroyed class that is still kept here.
    pub fn confirm(&self, at: Duration) {
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        *confirmed = at.saturating_add(CONFIRMED_FOR);
    }

    /// Forgets a class: its policy or key has changed, or it was destroyed.
    pub fn forget(&self, class_id: &[u8]) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _), _| id != class_id);
    }
}

/// Seals something small under a key: a fresh data key, its wrap, then the ciphertext.
pub fn seal_small(
    key: &ClassKey,
    context: &[u8],
    plaintext: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<Vec<u8>, AbeError> {
    let once = RecordKey::generate(rng);
    let mut out = wrap_dek(key, context, &once, rng)?;
    out.extend(seal_record(&once, context, plaintext, rng)?);
    Ok(out)
}

/// Bytes of a wrapped data key: 62 of overhead and two keys.
const WRAP: usize = consilium_abe::envelope::OVERHEAD + 64;

/// Opens what [`seal_small`] sealed.
pub fn open_small(key: &ClassKey, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, AbeError> {
    let (wrap, rest) = sealed.split_at_checked(WRAP).ok_or(AbeError::DoesNotOpen { what: "sealed value" })?;
    let once = unwrap_dek(key, context, wrap)?;
    Ok(open_record(&once, context, rest)?.to_vec())
}
