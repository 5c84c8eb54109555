//! What others have made a node hold.

use crate::State;

/// Bounded, whatever the others do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Footprint {
    /// Messages of later heights.
    pub ahead: usize,
    /// Bodies of this height, and proposals.
    pub bodies: usize,
    pub proposals: usize,
    /// Votes that stand for a value, and what is kept per member.
    pub votes: usize,
    pub members: usize,
    pub timers: usize,
}

impl State {
    pub(crate) fn footprint(&self) -> Footprint {
        let shell = &self.shell;
        Footprint {
            ahead: shell.ahead.len(),
            bodies: shell.held.len(),
            proposals: shell.proposals.values().map(Vec::len).sum(),
            votes: shell.voters.values().map(std::collections::BTreeSet::len).sum(),
            members: shell.hinted.len() + shell.answered.len() + shell.sync.members(),
            timers: shell.timers.len(),
        }
    }
}
