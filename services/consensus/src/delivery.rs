//! How much of each member's agreement comes over which hub. A hub that holds one member's messages back shows in
//! that it hands over less of them than the other hub does.
//!
//! Only votes and proposals count that the member has signed, of the present height: a hub cannot make the other one
//! look bad with inventions and repetitions. The label that says which hub a copy came over is kept honest by the own
//! message server, which takes from each hub only that hub's label.

use crate::chain::Chain;
use crate::metrics::Metrics;
use consilium_bft::wire::signed_by;
use consilium_domain::block::ValidatorSet;
use consilium_domain::genesis::validators_of;
use consilium_domain::{ChannelId, Clock, OrgId};
use consilium_runtime::Incoming;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Signatures looked at in a second, of all members together: more says nothing more.
const LOOKS: usize = 200;
/// How often the members are read again.
const REFRESH: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
/// What stands for a hub where a message came without a label, or with that of no member.
const NONE: &str = "none";
const OTHER: &str = "other";

pub(crate) struct Delivery {
    channel: ChannelId,
    own: OrgId,
    /// Weak: listening goes on a little longer than the node, which must let go of its store.
    chain: Weak<Chain>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    set: ValidatorSet,
    names: Arc<BTreeSet<String>>,
    height: u64,
    refreshed: Option<Duration>,
    second: Duration,
    looks: BTreeMap<OrgId, usize>,
    /// Hubs seen so far: one that goes silent keeps its place in the numbers.
    hubs: Arc<Mutex<BTreeSet<String>>>,
}

impl Delivery {
    pub(crate) fn new(
        channel: ChannelId,
        own: OrgId,
        chain: Weak<Chain>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let set = ValidatorSet { validators: Vec::new() };
        Self {
            channel,
            own,
            chain,
            clock,
            metrics,
            set,
            names: Arc::default(),
            height: 0,
            refreshed: None,
            second: Duration::ZERO,
            looks: BTreeMap::new(),
            hubs: Arc::default(),
        }
    }

    /// Looks at a message of `from`'s agreement that has just arrived for the first time.
    pub(crate) fn look(&mut self, from: &OrgId, bytes: &[u8], incoming: &Incoming) {
        let now = self.clock.monotonic();
        if self.refreshed.is_none_or(|at| now.saturating_sub(at) >= REFRESH) {
            self.refreshed = Some(now);
            self.refresh();
        }
        if now.saturating_sub(self.second) >= SECOND {
            self.second = now;
            self.looks.clear();
        }
        let share = (LOOKS / self.set.validators.len().max(1)).max(5);
        let looks = self.looks.entry(from.clone()).or_default();
        if *looks >= share {
            return;
        }
        *looks += 1;
        if !counts(&self.channel, &self.set, self.height, from, bytes) {
            return;
        }
        let (from, hubs, known) = (from.to_string(), Arc::clone(&self.hubs), Arc::clone(&self.names));
        let delivered = self.metrics.delivered.clone();
        incoming.on_each_link(move |hub| {
            let via = match hub {
                None => NONE,
                Some(hub) if known.contains(hub) => hub,
                Some(_) => OTHER,
            };
            delivered.inc(&[&from, via]);
            let mut hubs = hubs.lock().unwrap_or_else(PoisonError::into_inner);
            if !hubs.contains(via) {
                hubs.insert(via.to_owned());
            }
        });
    }

    fn refresh(&mut self) {
        let Some(chain) = self.chain.upgrade() else { return };
        let read = || {
            let view = chain.view()?;
            let ledger = view.ledger()?;
            Ok::<_, crate::chain::ChainError>((validators_of(ledger.members()), ledger.head().height.0))
        };
        match read() {
            Ok((set, height)) => (self.set, self.height) = (set, height),
            Err(error) => tracing::warn!(%error, "the members could not be read"),
        }
        self.names = Arc::new(self.set.validators.iter().map(|v| v.organisation.to_string()).collect());
        // A pair that never occurs must show as zero, not as absent.
        let hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        for member in self.set.validators.iter().filter(|v| v.organisation != self.own) {
            for via in hubs.iter() {
                self.metrics.delivered.add(&[member.organisation.as_str(), via], 0);
            }
        }
    }
}

/// Whether a message is one that `from` has signed, and not an old one.
fn counts(channel: &ChannelId, set: &ValidatorSet, newest: u64, from: &OrgId, bytes: &[u8]) -> bool {
    signed_by(channel, set, bytes).is_some_and(|(height, signer)| signer == from && height >= newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_bft::evidence::message_of;
    use consilium_domain::Height;
    use consilium_domain::block::{Precommit, Validator};
    use consilium_domain::evidence::{SignedStep, Step};
    use consilium_ledger::SigningKey;

    #[test]
    fn inventions_and_old_messages_count_for_nobody() {
        let org = |i: u8| OrgId::new(format!("org-{i}")).unwrap();
        let key = |i: u8| SigningKey::from_seed([i + 1; 32]);
        let channel = ChannelId::new("north").unwrap();
        let one = |i| Validator { organisation: org(i), key: key(i).public(), power: 1 };
        let set = ValidatorSet { validators: (0..4).map(one).collect() };
        let vote = |height, validator: u8, signer: u8| {
            let (height, validator) = (Height(height), u16::from(validator));
            let step = Step::Prevote(Precommit { height, round: 0, block: None, validator });
            let signature = key(signer).sign(&step.signing_bytes(&channel));
            message_of(&SignedStep { step, signature })
        };
        let counts = |from: u8, bytes: &[u8]| counts(&channel, &set, 7, &org(from), bytes);
        assert!(counts(2, &vote(7, 2, 2)) && counts(2, &vote(8, 2, 2)));
        assert!(!counts(2, &vote(6, 2, 2)), "an old one");
        assert!(!counts(2, &vote(7, 2, 1)), "signed by another");
        assert!(!counts(2, &vote(7, 1, 1)), "another's vote under this member's name");
        assert!(!counts(2, b"rubbish"));
    }
}
