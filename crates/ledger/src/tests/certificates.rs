//! Commit certificates: quorum off by one, duplicates, other blocks, other sets.

use super::fixture::World;
use crate::certificate::{CertificateError, verify};
use consilium_domain::Height;
use consilium_domain::block::Precommit;

#[test]
fn more_than_two_thirds_commit_and_one_fewer_does_not() {
    for n in [1_usize, 2, 3, 4, 6, 7, 9, 10] {
        let mut world = World::new(n);
        let (block, _) = world.commit(&[]);
        for have in 0..=n {
            let signers: Vec<u16> = (0..have as u16).collect();
            let certificate = world.certificate(&block, &signers);
            let verdict = verify(world.channel(), &world.genesis.validators(), &block.header, &certificate);
            let expected = if have * 3 > n * 2 { Ok(()) } else { Err(CertificateError::NoQuorum) };
            assert_eq!(verdict, expected, "{have} of {n}");
        }
    }
}

#[test]
fn a_certificate_commits_one_block_by_distinct_validators() {
    let mut world = World::new(4);
    let (first, _) = world.commit(&[]);
    let (second, _) = world.commit(&[]);
    let set = world.genesis.validators();
    let channel = world.channel();
    let good = world.certificate(&first, &[0, 2, 3]);
    verify(channel, &set, &first.header, &good).unwrap();
    let judge = |c| verify(channel, &set, &first.header, &c).unwrap_err();

    assert_eq!(verify(channel, &set, &second.header, &good), Err(CertificateError::OtherHeight(Height(1))));
    let mut retold = first.header.clone();
    retold.time.0 += 1;
    assert_eq!(verify(channel, &set, &retold, &good), Err(CertificateError::OtherBlock(first.id())));
    let mut twice = good.clone();
    twice.signatures[1] = twice.signatures[0].clone();
    assert_eq!(judge(twice), CertificateError::NotSorted);
    let mut unsorted = good.clone();
    unsorted.signatures.swap(0, 1);
    assert_eq!(judge(unsorted), CertificateError::NotSorted);
    let mut unknown = good.clone();
    unknown.signatures[2].validator = 4;
    assert_eq!(judge(unknown), CertificateError::UnknownValidator(4));
    let mut renamed = good.clone();
    renamed.signatures[0].validator = 1;
    assert_eq!(judge(renamed), CertificateError::BadSignature(1));
    let mut other_round = good.clone();
    other_round.round += 1;
    assert_eq!(judge(other_round), CertificateError::BadSignature(0));
    // A nil precommit is not a vote for the block.
    let mut nil = good.clone();
    let vote = Precommit { height: nil.height, round: nil.round, block: None, validator: 0 };
    nil.signatures[0].signature = world.keys[0].consensus.sign(&vote.signing_bytes(channel));
    assert_eq!(judge(nil), CertificateError::BadSignature(0));
    let other = consilium_domain::ChannelId::new("claims").unwrap();
    assert_eq!(verify(&other, &set, &first.header, &good), Err(CertificateError::BadSignature(0)));
}
