//! Messages for heights that this node has not reached: verified before they are kept, bounded per sender.

use crate::input::Limits;
use crate::wire::Message;
use consilium_domain::OrgId;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Ahead {
    heights: BTreeMap<u64, BTreeMap<OrgId, Vec<Message>>>,
}

impl Ahead {
    /// Whether a message of this sender would be kept: asked before paying for its verification.
    pub(crate) fn has_room(
        &self,
        limits: &Limits,
        current: u64,
        height: u64,
        sender: &OrgId,
        message: &Message,
    ) -> bool {
        if height <= current || height - current > limits.heights_ahead {
            return false;
        }
        let Some(held) = self.heights.get(&height).and_then(|senders| senders.get(sender)) else {
            return true;
        };
        let proposals = held.iter().filter(|m| matches!(m, Message::Proposal(..))).count();
        let full = matches!(message, Message::Proposal(..)) && proposals >= limits.proposals_per_sender;
        held.len() < limits.per_sender && !full && !held.contains(message)
    }

    /// Keeps a verified message for which there is room.
    pub(crate) fn keep(&mut self, height: u64, sender: OrgId, message: Message) {
        self.heights.entry(height).or_default().entry(sender).or_default().push(message);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heights.values().flat_map(BTreeMap::values).map(Vec::len).sum()
    }

    /// The messages of `height`; drops those of earlier heights.
    pub(crate) fn take(&mut self, height: u64) -> Vec<Message> {
        let mut later = self.heights.split_off(&height);
        let now = later.remove(&height).unwrap_or_default();
        self.heights = later;
        now.into_values().flatten().collect()
    }
}
