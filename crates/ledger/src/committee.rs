//! Who attests a batch.
//!
//! Sortition by an integer Fisher–Yates shuffle over the members' indexes, seeded by SHA-256 over tag, channel, epoch,
//! the last block id of the epoch before and the custodian. The batch root is not part of the seed: its salts could be
//! ground until a friendly committee comes out. The custodian always belongs to the committee and its attestation
//! counts: without it n = 4 would need 3 of 3 others and tolerate nobody.

use consilium_domain::draws::Draws;
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

/// Whether the committee of every custodian is all of this many members.
pub fn is_everybody(params: &Params, members: usize) -> bool {
    let wanted = usize::try_from(params.committee).unwrap_or(usize::MAX);
    wanted == 0 || wanted >= members
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
    if is_everybody(params, members.len()) {
        return (0..members.len()).collect();
    }
    let wanted = usize::try_from(params.committee).unwrap_or(usize::MAX);
    let mut chosen: Vec<usize> = members.iter().position(|m| m == custodian).into_iter().collect();
    let mut others: Vec<usize> = (0..members.len()).filter(|i| !chosen.contains(i)).collect();
    let mut about = Encoder::default();
    about.value(channel).u64(epoch).value(seed).value(custodian);
    let mut draws = Draws::new("consilium/v1/committee", about);
    while chosen.len() < wanted && !others.is_empty() {
        let pick = draws.below(others.len());
        chosen.push(others.swap_remove(pick));
    }
    chosen.sort_unstable();
    chosen
}
