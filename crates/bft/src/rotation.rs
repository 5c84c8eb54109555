//! Who proposes: a seeded rotation in which a seed decides the order and never the share.
//!
//! Peterson et al. 2016 (Algorithm 3) elect the next miner by numbers that the signers reveal, so that the last
//! to reveal chooses the winner. Here nothing is revealed. The seed is the id of a block that was committed a
//! whole epoch earlier, before anybody could know what the blocks of this epoch would contain. Its proposer
//! could still grind it; so within a cycle of [`SLOTS_PER_MEMBER`] × n heights every member has a number of slots
//! that only the weights decide, and the seed merely shuffles them. Grinding buys another order, not more turns.
//!
//! Rounds after the first go through all other members, each once, in an order of their own per height: with at
//! most f faulty members one of f + 1 rounds in a row has an honest proposer (arXiv:1807.04938, section III).

use consilium_domain::draws::Draws;
use consilium_domain::{ChannelId, Digest, Encoder};

/// Slots of a cycle per member on average; every member has at least one.
pub const SLOTS_PER_MEMBER: u64 = 4;

/// What the proposers of a height are drawn from. All members must give the same: it comes from the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Id of a block that was certified at least one whole epoch before [`Rotation::since`].
    pub seed: Digest,
    /// First height of the epoch: cycles are counted from here.
    pub since: u64,
    /// One per validator, in the order of the set: what it has done for the proof of interoperability. Empty =
    /// all alike. A weight counts as at least half and at most twice the mean, so that nobody is kept from
    /// proposing and nobody comes near to being the only proposer.
    pub weights: Vec<u64>,
}

impl Rotation {
    /// All alike, from the first height on.
    pub fn even(seed: Digest) -> Self {
        Self { seed, since: 0, weights: Vec::new() }
    }

    /// Places in a set of `members` (at least 1) in the order in which they propose at `height`: round `r` is
    /// entry `r mod n`.
    pub fn order(&self, channel: &ChannelId, height: u64, members: u16) -> Vec<u16> {
        let slots = self.slots(members);
        let length = u64::try_from(slots.len()).unwrap_or(u64::MAX).max(1);
        let at = height.saturating_sub(self.since);
        let (cycle, slot) = (at / length, usize::try_from(at % length).unwrap_or(0));
        let mut cycle_slots = slots;
        self.draws("consilium/v1/proposer-cycle", channel, cycle).shuffle(&mut cycle_slots);
        let first = cycle_slots.get(slot).copied().unwrap_or(0);
        let mut others: Vec<u16> = (0..members).filter(|m| *m != first).collect();
        self.draws("consilium/v1/proposer-rounds", channel, height).shuffle(&mut others);
        others.insert(0, first);
        others
    }

    fn draws(&self, tag: &str, channel: &ChannelId, number: u64) -> Draws {
        let mut about = Encoder::default();
        about.value(channel).u64(number).value(&self.seed);
        Draws::new(tag, about)
    }

    /// The slots of one cycle before they are shuffled: one each, the rest by largest remainder (Hamilton), ties
    /// to the earlier member.
    fn slots(&self, members: u16) -> Vec<u16> {
        let n = u128::from(members.max(1));
        let given = |m: u16| self.weights.get(usize::from(m)).copied().map_or(0, u128::from);
        let total: u128 = (0..members).map(given).sum();
        let (least, most) = (total.div_ceil(2 * n).max(1), (2 * total).div_ceil(n).max(1));
        let weight = |m: u16| given(m).clamp(least, most);
        let total: u128 = (0..members).map(weight).sum::<u128>().max(1);
        let spare = (u128::from(SLOTS_PER_MEMBER) - 1) * n;
        let mut slots: Vec<u16> = Vec::new();
        let mut remainders = Vec::new();
        for m in 0..members {
            let share = weight(m) * spare;
            (0..=share / total).for_each(|_| slots.push(m));
            remainders.push((u128::MAX - share % total, m));
        }
        remainders.sort_unstable();
        let wanted = usize::try_from(u128::from(SLOTS_PER_MEMBER) * n).unwrap_or(usize::MAX);
        let missing = wanted.saturating_sub(slots.len());
        slots.extend(remainders.iter().take(missing).map(|(_, m)| *m));
        slots
    }
}
