//! What the agreement finds of members that contradict themselves becomes a transaction, so that everybody has it.
//!
//! Nothing follows from it here: a member that lost its write-ahead log looks the same. What does is for a motion.

use crate::admission::Arrival;
use crate::chain::{Chain, ChainError};
use consilium_bft::evidence::step_of;
use consilium_domain::evidence::Evidence;
use consilium_domain::tx::{TxBody, UnsignedTx};
use consilium_domain::{Canonical, ChannelId, OrgId};
use consilium_ledger::{SigningKey, state};
use std::sync::mpsc::SyncSender;
use tokio::sync::oneshot;

/// Reports to the ledger in the name of the own organisation.
pub struct Reporter {
    channel: ChannelId,
    organisation: OrgId,
    key: SigningKey,
    /// The mempool's door.
    door: SyncSender<Arrival>,
}

impl Reporter {
    /// `seed` is that of the consensus key, which signs evidence.
    pub fn new(channel: ChannelId, organisation: OrgId, seed: [u8; 32], door: SyncSender<Arrival>) -> Self {
        Self { channel, organisation, key: SigningKey::from_seed(seed), door }
    }

    /// Submits one transaction per member and height of which the ledger has none yet. All honest members do so; the
    /// ledger takes the first and refuses the others.
    ///
    /// # Errors
    /// When the chain cannot be read.
    pub fn report(&self, chain: &Chain, found: &[consilium_bft::Evidence]) -> Result<(), ChainError> {
        if found.is_empty() {
            return Ok(());
        }
        let view = chain.view()?;
        let ledger = view.ledger()?;
        let mut reported = std::collections::BTreeSet::new();
        for one in found {
            let pair = step_of(&one.first).and_then(|first| Ok(Evidence::new(first, step_of(&one.second)?)));
            // Two proposals of one block with different reasons are odd, and nothing that the ledger convicts of.
            let Some(evidence) = pair.ok().filter(Evidence::contradicts) else { continue };
            let key = state::evidence_at_key(&one.validator, evidence.first.step.height());
            if !reported.insert(key.clone()) || ledger.get(&key)?.is_some() {
                continue;
            }
            let body = TxBody::Evidence(evidence);
            let unsigned = UnsignedTx { sender: self.organisation.clone(), body };
            let tx = self.key.sign_tx(&self.channel, unsigned).to_canonical();
            // Nobody waits: it is committed, or refused because another member was first.
            let (answer, _) = oneshot::channel();
            if self.door.try_send(Arrival::Submit { tx, answer }).is_err() {
                tracing::warn!(validator = %one.validator, "the node is busy: evidence was not reported");
            }
        }
        Ok(())
    }
}
