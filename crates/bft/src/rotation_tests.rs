use crate::rotation::{Rotation, SLOTS_PER_MEMBER};
use consilium_domain::{ChannelId, Digest};

fn channel() -> ChannelId {
    ChannelId::new("rotation").unwrap()
}

fn rotation(seed: u8, weights: &[u64]) -> Rotation {
    Rotation { seed: Digest([seed; 32]), since: 1, weights: weights.to_vec() }
}

/// First proposers per member over `heights` heights from the start of the epoch.
fn turns(rotation: &Rotation, n: u16, heights: u64) -> Vec<u64> {
    let mut turns = vec![0; usize::from(n)];
    for height in 1..=heights {
        turns[usize::from(rotation.order(&channel(), height, n)[0])] += 1;
    }
    turns
}

#[test]
fn every_cycle_gives_everybody_the_same_turns() {
    for n in [1_u16, 2, 4, 7, 10, 31] {
        for seed in 0..4 {
            let cycle = SLOTS_PER_MEMBER * u64::from(n);
            let turns = turns(&rotation(seed, &[]), n, 3 * cycle);
            assert!(turns.iter().all(|t| *t == 3 * SLOTS_PER_MEMBER), "n = {n}: {turns:?}");
        }
    }
}

/// Whoever could choose the seed could not choose more turns for itself.
#[test]
fn a_ground_seed_buys_no_turn() {
    let weights = [5, 1, 3, 0, 9, 2, 2];
    let honest = turns(&rotation(0, &weights), 7, 28);
    for seed in 1..60 {
        assert_eq!(turns(&rotation(seed, &weights), 7, 28), honest);
    }
}

#[test]
fn weights_decide_shares_within_limits() {
    // One slot each and 12 by weight: 1 : 1 : 1 : 3, where 3 is no more than twice the mean.
    assert_eq!(turns(&rotation(1, &[1, 1, 1, 3]), 4, 16), [3, 3, 3, 7]);
    // Half and twice the mean of 25: 13 : 13 : 13 : 50.
    assert_eq!(turns(&rotation(1, &[0, 0, 0, 100]), 4, 16), [3, 3, 3, 7]);
    assert_eq!(turns(&rotation(1, &[0; 4]), 4, 16), [4; 4]);
    let all: u64 = turns(&rotation(2, &[u64::MAX; 10]), 10, 40).iter().sum();
    assert_eq!(all, 40);
}

#[test]
fn n_rounds_in_a_row_have_n_proposers() {
    for height in 0..50 {
        let mut order = rotation(3, &[9, 1, 1, 1, 1]).order(&channel(), height, 5);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn channel_height_and_seed_change_the_order() {
    let base = rotation(4, &[]);
    let orders = |r: &Rotation, c: &ChannelId| (1..=40).map(|h| r.order(c, h, 10)).collect::<Vec<_>>();
    let own = orders(&base, &channel());
    assert_eq!(own, orders(&base.clone(), &channel()));
    assert_ne!(own, orders(&rotation(5, &[]), &channel()));
    assert_ne!(own, orders(&base, &ChannelId::new("other").unwrap()));
    assert!(own.windows(2).any(|w| w[0] != w[1]));
}

/// All members must draw alike for ever: a change of the rule is a change of the protocol.
#[test]
fn the_rule_is_pinned() {
    let orders: Vec<Vec<u16>> = (1..=6).map(|h| rotation(7, &[1, 2, 3, 4]).order(&channel(), h, 4)).collect();
    assert_eq!(format!("{orders:?}"), include_str!("rotation_tests.txt").trim());
}
