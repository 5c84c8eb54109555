//! Who attests a batch.
//!
//! Sortition by an integer Fisher–Yates shuffle over the members' indexes, seeded by SHA-256 over tag, channel, epoch,
//! the last block id of the epoch before and the custodian. The batch root is not part of the seed: its salts could be
//! ground until a friendly committee comes out. The custodian always belongs to the committee and its attestation
//! counts: without it n = 4 would need 3 of 3 others and tolerate nobody.

use consilium_domain::genesis::Params;
use consilium_domain::{ChannelId, Digest, Encoder, Height, OrgId};

/// Attestations that a committee of `size` needs: more than two thirds.
pub fn quorum(size: usize) -> usize {
    size.saturating_mul(2) / 3 + 1
}

/// Smallest committee in which every quorum holds an honest member although f of n = 3f + 1 are not:
/// floor(2c/3) ≥ f, that is c ≥ ceil(3f/2).
pub fn smallest(members: usize) -> usize {
    let f = members.saturating_sub(1) / 3;
    f.saturating_mul(3).div_ceil(2)
}

/// Epoch of a height.
pub fn epoch_of(params: &Params, height: Height) -> u64 {
    height.0.checked_div(params.epoch_blocks).unwrap_or(0)
}

/// The committee of a custodian in an epoch, as sorted indexes into the members.
///
/// `seed` is the id of the last block of the epoch before (the genesis digest in epoch 0). With `params.committee` 0,
/// or one at least as large as the membership, everybody is in it.
pub fn committee(
    channel: &ChannelId,
    params: &Params,
    members: &[OrgId],
    epoch: u64,
    seed: &Digest,
    custodian: &OrgId,
) -> Vec<usize> {
    let wanted = usize::try_from(params.committee).unwrap_or(usize::MAX);
    if wanted == 0 || wanted >= members.len() {
        return (0..members.len()).collect();
    }
    let mut chosen: Vec<usize> = members.iter().position(|m| m == custodian).into_iter().collect();
    let mut others: Vec<usize> = (0..members.len()).filter(|i| !chosen.contains(i)).collect();
    let mut draws = Draws::new(channel, epoch, seed, custodian);
    while chosen.len() < wanted && !others.is_empty() {
        let pick = draws.below(others.len());
        chosen.push(others.swap_remove(pick));
    }
    chosen.sort_unstable();
    chosen
}

/// Uniform integers from SHA-256 in counter mode.
struct Draws {
    seed: Digest,
    counter: u64,
}

impl Draws {
    fn new(channel: &ChannelId, epoch: u64, seed: &Digest, custodian: &OrgId) -> Self {
        let mut out = Encoder::default();
        out.value(channel).u64(epoch).value(seed).value(custodian);
        Self { seed: Digest::tagged("consilium/v1/committee", &out.into_bytes()), counter: 0 }
    }

    fn next(&mut self) -> u64 {
        let Digest(bytes) = Digest::sha256(&[&self.seed.0, &self.counter.to_be_bytes()]);
        self.counter = self.counter.wrapping_add(1);
        let mut head = [0; 8];
        head.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        u64::from_be_bytes(head)
    }

    /// An integer below `bound` (≥ 1), by rejection: a draw from the incomplete last stretch is thrown away, so no
    /// remainder is likelier than another.
    fn below(&mut self, bound: usize) -> usize {
        let bound = (bound as u64).max(1);
        let whole = u64::MAX - u64::MAX % bound;
        loop {
            let draw = self.next();
            if draw < whole {
                return usize::try_from(draw % bound).unwrap_or(0);
            }
        }
    }
}
