//! Sortition: everybody's turn comes equally often, and a quorum always holds an honest member.

use super::fixture::org;
use crate::committee::{committee, epoch_of, quorum, smallest};
use consilium_domain::genesis::Params;
use consilium_domain::{ChannelId, Digest, Height, OrgId};

fn params(committee: u32) -> Params {
    Params { committee, ..Params::default() }
}

#[test]
fn quorums_and_smallest_committees_are_those_of_the_design() {
    let expected = [(4, 2), (7, 3), (10, 5), (31, 15), (100, 50)];
    for (n, c) in expected {
        assert_eq!(smallest(n), c, "{n}");
        let f = (n - 1) / 3;
        assert!(quorum(c) > f, "a quorum of the smallest committee can be all villains at n = {n}");
    }
    assert_eq!([1, 2, 3, 4, 7, 10].map(quorum), [1, 2, 3, 3, 5, 7]);
}

#[test]
fn epochs_follow_heights() {
    let p = Params { epoch_blocks: 10, ..Params::default() };
    assert_eq!([0, 9, 10, 19, 20].map(|h| epoch_of(&p, Height(h))), [0, 0, 1, 1, 2]);
}

#[test]
fn everybody_is_drawn_equally_often_and_the_custodian_always() {
    let channel = ChannelId::new("care").unwrap();
    let members: Vec<OrgId> = (0..10).map(org).collect();
    let (mut drawn, rounds) = ([0_u32; 10], 4000_u64);
    for epoch in 0..rounds {
        let seed = Digest::tagged("seed", &epoch.to_be_bytes());
        let c = committee(&channel, &params(5), &members, epoch, &seed, &members[3]);
        assert_eq!(c.len(), 5);
        assert!(c.is_sorted_by(|a, b| a < b));
        assert!(c.contains(&3));
        c.iter().for_each(|i| drawn[*i] += 1);
    }
    // 4 of the 9 others each time: 1778 expected, standard deviation about 31; six of them is one in 10⁹.
    for (i, count) in drawn.iter().enumerate().filter(|(i, _)| *i != 3) {
        assert!(count.abs_diff(1778) < 190, "member {i}: {count}");
    }
}

#[test]
fn each_part_of_the_seed_changes_the_draw() {
    let members: Vec<OrgId> = (0..30).map(org).collect();
    let (care, claims) = (ChannelId::new("care").unwrap(), ChannelId::new("claims").unwrap());
    let (s, t) = (Digest::tagged("a", b""), Digest::tagged("b", b""));
    let draw = |channel, epoch, seed, custodian: usize| {
        committee(channel, &params(15), &members, epoch, seed, &members[custodian])
    };
    let base = draw(&care, 1, &s, 0);
    assert_eq!(base, draw(&care, 1, &s, 0));
    assert_ne!(base, draw(&claims, 1, &s, 0));
    assert_ne!(base, draw(&care, 2, &s, 0));
    assert_ne!(base, draw(&care, 1, &t, 0));
    assert_ne!(base, draw(&care, 1, &s, 1));
}

#[test]
fn without_a_size_everybody_attests() {
    let channel = ChannelId::new("care").unwrap();
    let members: Vec<OrgId> = (0..4).map(org).collect();
    for size in [0, 4, 9] {
        let c = committee(&channel, &params(size), &members, 0, &Digest::default(), &members[0]);
        assert_eq!(c, vec![0, 1, 2, 3]);
    }
}
