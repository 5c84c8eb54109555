//! One encapsulation for the classes of one policy.
//!
//! A class key is wrapped under a secret that opens for a policy. Who may open it is said by policy and attribute epoch
//! alone; so all classes that are wrapped for the same policy in the same week share one header and its secret, the
//! *envelope*, and each has a wrap of its own under it, bound to class, epoch and policy. An encapsulation costs as much
//! as a hundred records; most patients of a hospital have the same policy.
//!
//! Nobody opens more than before: whoever opens an envelope satisfies the policy, and would open each class's own header
//! as well. What a class has for itself stays its own: its key, its wrap, the post-quantum lock, its epochs and its end.
//! ADR 0018 has the argument and what was rejected.

use crate::standing::Standing;
use consilium_abe::rand_core::CryptoRngCore;
use consilium_abe::{AbeError, AccessPolicy, KemContext, Secret32, kem};
use consilium_domain::{ChannelId, Digest, OrgId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Classes under one envelope: what is lost with its secret is bounded.
const MOST_CLASSES: u32 = 1024;
/// Policies remembered: more than an organisation's patients choose among in a week.
const MOST_POLICIES: usize = 1024;

/// What an envelope is bound to besides its policy: the custodian. No class of that name exists, since class ids are
/// hexadecimal.
pub fn context(channel: &ChannelId, custodian: &OrgId) -> Result<KemContext, AbeError> {
    KemContext::new(channel.as_str(), &format!("{custodian}/envelope"), 0)
}

/// An encapsulated secret and the header in which it is, in rows of 480 bytes.
pub struct Envelope {
    pub header: Vec<u8>,
    pub secret: Secret32,
}

/// How many classes hold an envelope.
type Used = (u32, Arc<Envelope>);

/// The envelopes in use, by canonical policy and the keys that they were made with. In memory only: a service that starts makes new ones.
#[derive(Default)]
pub struct Envelopes(Mutex<BTreeMap<(Vec<u8>, Digest), Used>>);

impl Envelopes {
    /// The envelope of a policy, made when there is none or it has its classes.
    ///
    /// `policy` is restricted to those of the standing.
    pub fn of(
        &self,
        policy: &AccessPolicy,
        standing: &Standing,
        context: &KemContext,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Arc<Envelope>, AbeError> {
        // After a change of keys no envelope of the old ones is given out.
        let name = (policy.canonical_bytes(), standing.digest(policy, None));
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((classes, envelope)) = lock().get_mut(&name)
            && *classes < MOST_CLASSES
        {
            *classes += 1;
            return Ok(Arc::clone(envelope));
        }
        // Not under the lock: two at once make two, and both are good.
        let (header, secret) = kem::encapsulate(policy, standing.public_keys(), context, rng)?;
        let envelope = Arc::new(Envelope { header: header.to_compact_bytes(), secret });
        let mut envelopes = lock();
        if envelopes.len() >= MOST_POLICIES {
            envelopes.clear();
        }
        envelopes.insert(name, (1, Arc::clone(&envelope)));
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_domain::genesis::{Genesis, Member, Params};
    use consilium_domain::{PublicKey, Timestamp};

    fn genesis(public: &consilium_abe::AuthorityPublicKey) -> Genesis {
        let key = PublicKey([0; 32]);
        let member = Member {
            organisation: OrgId::new("a").unwrap(),
            consensus: key,
            validate: key,
            ingest: key,
            audit: key,
            governance: key,
            cosign: key,
            authority: public.to_bytes(),
        };
        Genesis {
            channel: ChannelId::new("north").unwrap(),
            time: Timestamp(0),
            members: vec![member],
            schemas: Vec::new(),
            params: Params::default(),
        }
    }

    #[test]
    fn an_envelope_holds_so_many_classes_of_one_policy() {
        let rng = &mut consilium_testkit::seeded(4);
        let (public, secret) = consilium_abe::authority::setup(rng, "north", "a").unwrap();
        let founders = genesis(&public);
        let secret = std::sync::Arc::new(secret);
        let keys = Standing::of_genesis(&founders, std::sync::Arc::clone(&secret)).unwrap();
        let context = context(&ChannelId::new("north").unwrap(), &OrgId::new("a").unwrap()).unwrap();
        let envelopes = Envelopes::default();
        let policy = |week: &str| AccessPolicy::parse("clinician@a").unwrap().with_epoch(week).unwrap();
        let mut of = |week: &str| envelopes.of(&policy(week), &keys, &context, rng).unwrap();
        let first = of("2026W01");
        assert!((1..MOST_CLASSES).all(|_| Arc::ptr_eq(&first, &of("2026W01"))));
        let second = of("2026W01");
        assert!(!Arc::ptr_eq(&first, &second) && !first.secret.ct_eq(&second.secret));
        assert!(!Arc::ptr_eq(&second, &of("2026W02")), "a new week has new keys");
        assert!(Arc::ptr_eq(&second, &of("2026W01")));
        // Nor is one shared after the authority's key has changed.
        let (public, _) = consilium_abe::authority::setup(rng, "north", "a").unwrap();
        let rotated = Standing::of_genesis(&genesis(&public), secret).unwrap();
        let third = envelopes.of(&policy("2026W01"), &rotated, &context, rng).unwrap();
        assert!(!Arc::ptr_eq(&second, &third));
    }
}
