//! Opening another custodian's class header for one of our own people.

use crate::authority::{Authority, Standings};
use crate::bounded::Bounded;
use crate::class::{ClassHeader, ClassName};
use crate::config::Limits;
use crate::error::KeysError;
use crate::limit::Limit;
use crate::people::{Admitted, People};
use crate::post_quantum::PostQuantum;
use crate::standing::Standing;
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::{Attribute, Gid, Secret32};
use consilium_contracts::v1::OpenRequest;
use consilium_domain::{ChannelId, Digest, OrgId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// What an opened key is remembered by: everything that decided that it opens, the caller's attributes of
/// this moment included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    custodian: OrgId,
    class: Vec<u8>,
    epoch: u64,
    header: Digest,
    gid: Gid,
    attributes: BTreeSet<Attribute>,
}

/// What an opened envelope is remembered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shared {
    custodian: OrgId,
    envelope: Digest,
    gid: Gid,
    attributes: BTreeSet<Attribute>,
}

/// Opens class headers, within limits and with a memory: of class keys, and of the envelopes that classes share, since
/// the pairings of an envelope are the cost.
pub(crate) struct Opener {
    channel: ChannelId,
    reject: Secret32,
    limit: Mutex<Limit>,
    opened: Mutex<Bounded<Place, Zeroizing<[u8; 32]>>>,
    envelopes: Mutex<Bounded<Shared, Arc<Secret32>>>,
}

/// An opened class key, and whether it was remembered.
pub(crate) struct Opened {
    pub key: Zeroizing<[u8; 32]>,
    pub remembered: bool,
}

impl Opener {
    pub(crate) fn new(channel: ChannelId, reject: Secret32, limits: &Limits) -> Self {
        Self {
            channel,
            reject,
            limit: Mutex::new(Limit::new(limits.opens_per_minute)),
            opened: Mutex::new(Bounded::new(limits.cache_entries, limits.cache_time())),
            envelopes: Mutex::new(Bounded::new(limits.cache_entries, limits.cache_time())),
        }
    }

    /// Opens a header for a caller whose claims our own ingest has verified. `now` is monotonic, `epochs` are
    /// the weeks that keys are issued for.
    pub(crate) fn open(
        &self,
        request: &OpenRequest,
        (authority, people, post_quantum): (&Authority, &People, &PostQuantum),
        epochs: &BTreeSet<String>,
        now: Duration,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Opened, KeysError> {
        // Asked each time, before memory: a withdrawal is in force for the next request.
        let Admitted { gid, roles } = people.admit(&request.claims.clone().unwrap_or_default())?;
        // Before any work: decoding a hostile header is the costly part.
        if !self.limit.lock().unwrap_or_else(PoisonError::into_inner).take(gid.as_str(), now) {
            return Err(KeysError::RateLimited);
        }
        let Standings { now: standing, before } = authority.standings();
        let custodian = OrgId::new(request.custodian.as_str())
            .ok()
            .filter(|organisation| standing.has(organisation))
            .ok_or(KeysError::Invalid { field: "custodian", rule: "must be a member of the channel" })?;
        let name = ClassName::new(&self.channel, &custodian, &request.class_id)?;
        let place = Place {
            custodian: custodian.clone(),
            class: request.class_id.clone(),
            epoch: request.epoch,
            header: Digest::sha256(&[&request.header]),
            gid,
            attributes: authority.attributes(&roles),
        };
        if let Some(key) = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&place, now) {
            return Ok(Opened { key: key.clone(), remembered: true });
        }
        let header = ClassHeader::decode(&request.header)?;
        let shared = Shared {
            custodian,
            envelope: header.envelope_digest(),
            gid: place.gid.clone(),
            attributes: place.attributes.clone(),
        };
        let known = self.envelopes.lock().unwrap_or_else(PoisonError::into_inner).get(&shared, now).cloned();
        let mut by = |standing: &Standing| {
            let keys = authority.issue(standing, header.policy(), &place.gid, &place.attributes, epochs, rng);
            let keys = keys.ok_or(KeysError::Denied)?;
            let public_keys = standing.public_keys();
            let secret = header.open_envelope(&name, public_keys, &place.gid, &keys, &self.reject)?;
            Ok((header.class_key(&name, request.epoch, post_quantum, &secret)?, Arc::new(secret)))
        };
        let (key, secret) = match &known {
            Some(secret) => {
                (header.class_key(&name, request.epoch, post_quantum, secret)?, Arc::clone(secret))
            }
            // A header says nothing of the keys that it was made with, and custodians keep one for a minute: after a
            // change of keys it may be one of the keys before.
            None => by(&standing).or_else(|error: KeysError| match before {
                Some(before)
                    if before.digest(header.policy(), None) != standing.digest(header.policy(), None) =>
                {
                    by(&before)
                }
                _ => Err(error),
            })?,
        };
        if known.is_none() {
            // Only what has opened something is worth remembering.
            self.envelopes.lock().unwrap_or_else(PoisonError::into_inner).insert(shared, secret, now);
        }
        let key = Zeroizing::new(*key.expose());
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(place, key.clone(), now);
        Ok(Opened { key, remembered: false })
    }

    /// Forgets the keys of a class.
    pub(crate) fn forget(&self, name: &ClassName) {
        let of = |place: &Place| place.custodian == name.custodian && place.class == name.id;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).forget(of);
    }
}
