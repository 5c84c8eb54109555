//! Motions: who joins, who leaves, whose keys change; from which height on; and what stays verifiable.

use super::fixture::{Keys, World, known_none, org};
use crate::apply::{BlockError, Effect};
use crate::check::{CheckError, TxError};
use crate::genesis::MembersError;
use crate::receipt::{ReceiptError, verify_header, verify_receipt, verify_tx_proof};
use crate::sign::Role;
use crate::state;
use consilium_domain::block::Header;
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::{Params, members_digest};
use consilium_domain::governance::{Action, Governance, Motion, Sanction};
use consilium_domain::receipt::ValidatorChange;
use consilium_domain::tx::{Tx, TxBody};
use consilium_domain::{Digest, Height};
use proptest::prelude::*;

fn refused(world: &World, tx: &Tx) -> TxError {
    match world.ledger().check_tx(&tx.to_canonical()) {
        Err(CheckError::Invalid(error)) => error,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Admits one more organisation; its index.
fn admit(world: &mut World) -> usize {
    let new = world.keys.len();
    world.keys.push(Keys::new(org(new), 0));
    let tx = world.motion(Action::Admit(world.keys[new].member()), &[0, 1, 2]);
    world.commit(&[tx]);
    new
}

#[test]
fn a_new_member_counts_two_heights_after_its_block_and_the_old_sign_it_in() {
    let mut world = World::new(4);
    world.commit(&[]);
    let new = admit(&mut world);
    // Block 2 holds the motion; blocks 2 and 3 are the old members', block 4 is the first of the new.
    let four = members_digest(&world.genesis.members);
    let five = members_digest(&world.keys.iter().map(Keys::member).collect::<Vec<_>>());
    let n = |w: &World, h| w.ledger().validators_at(Height(h)).unwrap().map(|v| v.validators.len());
    assert_eq!([0, 1, 2, 3, 4, 5].map(|h| n(&world, h)), [None, Some(4), Some(4), Some(4), Some(5), None]);
    assert_eq!(world.ledger().members().len(), 4);
    assert_eq!(refused(&world, &world.vote(new, Digest::default(), 1, 1)), TxError::UnknownSender(org(4)));
    let (third, applied) = world.commit(&[]);
    assert!(applied.members_change);
    assert_eq!(world.chain[1].0.header.next_members, four);
    assert_eq!(third.header.next_members, five);
    assert_eq!(world.ledger().members().len(), 5);
    // Three of four were enough, three of five are not.
    let (fourth, applied) = world.commit(&[world.vote(new, Digest::default(), 1, 1)]);
    assert!(!applied.members_change);
    assert_eq!([2, 3, 4, 5, 6].map(|h| n(&world, h)), [Some(4), Some(4), Some(5), Some(5), Some(5)]);
    assert_eq!(world.ledger().changes_before(Height(3)).unwrap(), []);
    assert_eq!(world.ledger().changes_before(Height(4)).unwrap(), [Height(3)]);
    let changes = world.changes_before(Height(4));
    let judge = |header: &Header, signers: &[u16], changes: &[ValidatorChange]| {
        let block = if header.height == Height(4) { &fourth } else { &third };
        verify_header(&world.genesis, header, &world.certificate(block, signers), changes)
    };
    assert_eq!(judge(&fourth.header, &[0, 1, 2, 4], &changes).unwrap().len(), 5);
    assert!(matches!(judge(&fourth.header, &[0, 1, 2], &changes), Err(ReceiptError::Certificate(_))));
    assert!(judge(&fourth.header, &[0, 1, 2, 4], &[]).is_err(), "the change must be shown");
    // The old members certify the header that announces the new ones, and nothing after it.
    judge(&third.header, &[0, 1, 2], &[]).unwrap();
    assert_eq!(judge(&third.header, &[0, 1, 2], &changes), Err(ReceiptError::ValidatorChange(0)));
}

#[test]
fn a_forged_chain_of_members_is_refused_where_it_breaks() {
    let mut world = World::new(4);
    admit(&mut world);
    world.commit(&[]);
    let (block, _) = world.commit(&[]);
    let (certificate, good) = (world.certificate(&block, &[0, 1, 2, 3]), world.changes_before(Height(3)));
    let judge = |changes: &[ValidatorChange]| {
        verify_header(&world.genesis, &block.header, &certificate, changes).map(|_| ())
    };
    judge(&good).unwrap();
    let with = |change: &dyn Fn(&mut ValidatorChange)| {
        let mut forged = good.clone();
        change(&mut forged[0]);
        judge(&forged).unwrap_err()
    };
    // Other members than announced: one fewer, one with another key for votes, one with another key for records.
    let unannounced = ReceiptError::ValidatorChange(0);
    assert_eq!(with(&|c| c.members.truncate(4)), unannounced);
    assert_eq!(with(&|c| c.members[4].consensus = c.members[0].consensus), unannounced);
    assert_eq!(with(&|c| c.members[1].ingest = c.members[0].ingest), unannounced);
    // An announcement that nobody certified, too few did, or that the new members certified themselves.
    let villains = members_digest(&good[0].members[..1]);
    assert!(matches!(
        with(&|c| {
            c.members.truncate(1);
            c.header.next_members = villains;
        }),
        ReceiptError::ValidatorCertificate { index: 0, .. }
    ));
    assert!(matches!(
        with(&|c| c.certificate.signatures.truncate(2)),
        ReceiptError::ValidatorCertificate { index: 0, .. }
    ));
    let of_motion = world.chain[0].clone();
    assert_eq!(with(&|c| c.header = of_motion.0.header.clone()), unannounced);
    // Out of order, or twice.
    assert_eq!(judge(&[good[0].clone(), good[0].clone()]), Err(ReceiptError::ValidatorChange(1)));
    let other = World::on("claims", 4, Params::default());
    assert_eq!(with(&|c| c.header.channel = other.genesis.channel.clone()), unannounced);
}

#[test]
fn receipts_outlive_the_members_who_signed_them() {
    let mut world = World::new(5);
    let receipt = world.receipt_by(&[0, 1, 2, 3]);
    assert_eq!(receipt.transaction.header.height, Height(1));
    // The custodian of that record leaves, another rotates all its keys.
    let tx = world.motion(Action::Remove(org(1)), &[0, 2, 3, 4]);
    world.commit(&[tx]);
    world.commit(&[]);
    let rotated = Keys::new(org(2), 1);
    let tx = world.motion(Action::Rotate(rotated.member()), &[0, 3, 4]);
    world.commit(&[tx]);
    world.keys.push(rotated);
    world.commit(&[]);
    let verified = verify_receipt(&world.genesis, &receipt, None).unwrap();
    assert_eq!((verified.height, &verified.custodian), (Height(1), &org(1)));
    // The one who left is heard no more, the rotated one only by its new key.
    assert_eq!(refused(&world, &world.any_batch_of(1)), TxError::UnknownSender(org(1)));
    assert_eq!(
        refused(&world, &world.vote(2, Digest::default(), 1, 1)),
        TxError::BadSignature(Role::Governance)
    );
    let (block, _) = world.commit(&[world.vote(5, Digest::default(), 1, 1)]);
    let proof = world.tx_proof(&block, 0);
    assert_eq!(proof.validator_changes.len(), 2);
    let shown = verify_tx_proof(&world.genesis, &proof).unwrap();
    assert_eq!((shown.height, shown.tx.unsigned.sender), (Height(6), org(2)));
    let mut shortened = proof;
    shortened.validator_changes.pop();
    assert!(verify_tx_proof(&world.genesis, &shortened).is_err());
}

#[test]
fn a_motion_needs_more_than_two_thirds_of_the_organisations() {
    let mut world = World::new(7);
    world.keys.push(Keys::new(org(7), 0));
    let action = Action::Admit(world.keys[7].member());
    for have in 1..=7_usize {
        let approvers: Vec<usize> = (0..have).collect();
        let verdict = world.ledger().check_tx(&world.motion(action.clone(), &approvers).to_canonical());
        if have >= 5 {
            verdict.unwrap();
        } else {
            let error = CheckError::Invalid(TxError::Approvals { have, need: 5 });
            assert_eq!(verdict.unwrap_err(), error);
        }
    }
    let changed = |change: &dyn Fn(&mut Governance)| {
        let mut tx = world.motion(action.clone(), &[0, 1, 2, 3, 4]);
        let TxBody::Governance(g) = &mut tx.unsigned.body else { panic!("a motion") };
        change(g);
        let body = tx.unsigned.body;
        refused(&world, &world.sign(0, body))
    };
    assert_eq!(changed(&|g| g.approvals[4] = g.approvals[3].clone()), TxError::ApprovalsNotSorted);
    assert_eq!(changed(&|g| g.approvals.swap(0, 1)), TxError::ApprovalsNotSorted);
    assert_eq!(changed(&|g| g.approvals[4].organisation = org(5)), TxError::BadApproval(org(5)));
    assert_eq!(changed(&|g| g.approvals[4].organisation = org(9)), TxError::UnknownSender(org(9)));
    // What was approved is what is done.
    assert_eq!(changed(&|g| g.motion.expires = Height(99)), TxError::BadApproval(org(0)));
    assert_eq!(changed(&|g| g.motion.action = Action::Remove(org(3))), TxError::BadApproval(org(0)));
}

#[test]
fn a_motion_is_carried_once_in_its_time_and_one_change_at_a_time() {
    let mut world = World::new(4);
    world.keys.push(Keys::new(org(4), 0));
    let first = world.motion(Action::Admit(world.keys[4].member()), &[0, 1, 2]);
    let lapsed = world.motion(Action::Remove(org(3)), &[0, 1, 2]);
    world.commit(std::slice::from_ref(&first));
    assert_eq!(refused(&world, &first), TxError::Sequence { expected: 2, found: 1 });
    assert_eq!(refused(&world, &lapsed), TxError::Sequence { expected: 2, found: 1 });
    let next = world.motion(Action::Remove(org(3)), &[0, 1, 2]);
    assert_eq!(refused(&world, &next), TxError::ChangeInFlight(Height(3)));
    // Sanctions change no members and need not wait.
    let until = Height(5);
    let sanction = Sanction { organisation: org(3), until, grounds: Digest::default() };
    world.commit(&[world.motion(Action::Sanction(sanction), &[0, 1, 2])]);
    // Now five are members, and three are no quorum of five.
    let next = world.motion(Action::Remove(org(3)), &[0, 1, 2]);
    assert_eq!(refused(&world, &next), TxError::Approvals { have: 3, need: 4 });
    let late = Motion { sequence: 3, expires: Height(2), action: Action::Remove(org(3)) };
    let late = world.approved(late, &[0, 1, 2, 4]);
    assert_eq!(refused(&world, &late), TxError::Expired { expires: Height(2), height: Height(3) });
    let (_, applied) = world.commit(&[world.motion(Action::Remove(org(3)), &[0, 1, 2, 4])]);
    assert_eq!(applied.outcomes[0].effect, Effect::Members { sequence: 3, from: Height(5) });
}

#[test]
fn two_motions_do_not_fit_into_one_block() {
    let mut world = World::new(4);
    world.keys.push(Keys::new(org(4), 0));
    world.keys.push(Keys::new(org(5), 0));
    let one = Motion { sequence: 1, expires: Height(9), action: Action::Admit(world.keys[4].member()) };
    let two = Motion { sequence: 2, expires: Height(9), action: Action::Admit(world.keys[5].member()) };
    let txs = [one, two].map(|m| world.approved(m, &[0, 1, 3]).to_canonical());
    let built = world.ledger().build_block(&org(0), &txs, world.now, &known_none).unwrap();
    assert_eq!((built.block.txs.len(), &built.dropped[0].1), (1, &TxError::ChangeInFlight(Height(3))));
}

#[test]
fn members_with_whom_nobody_could_run_are_refused() {
    let mut world = World::with(4, Params { committee: 2, ..Params::default() });
    world.keys.extend((4..7).map(|i| Keys::new(org(i), 0)));
    let judge = |world: &World, action: Action| refused(world, &world.motion(action, &[0, 1, 2]));
    let member = |i: usize| world.keys[i].member();
    assert_eq!(judge(&world, Action::Admit(member(2))), TxError::AlreadyMember(org(2)));
    assert_eq!(judge(&world, Action::Remove(org(5))), TxError::NotMember(org(5)));
    assert_eq!(judge(&world, Action::Rotate(member(5))), TxError::NotMember(org(5)));
    let mut stolen = member(4);
    stolen.audit = member(1).ingest;
    let shared = MembersError::SharedKey(stolen.audit);
    assert_eq!(judge(&world, Action::Admit(stolen)), TxError::Members(shared));
    // A committee of two is enough for six members, not for seven (f = 2).
    for i in 4..6 {
        let all: Vec<usize> = (0..i).collect();
        world.commit(&[world.motion(Action::Admit(world.keys[i].member()), &all)]);
        world.commit(&[]);
    }
    let tx = world.motion(Action::Admit(world.keys[6].member()), &[0, 1, 2, 3, 4]);
    assert_eq!(refused(&world, &tx), TxError::Members(MembersError::Committee { found: 2, least: 3 }));
    let mut alone = World::new(1);
    let tx = alone.motion(Action::Remove(org(0)), &[0]);
    assert_eq!(refused(&alone, &tx), TxError::Members(MembersError::Count(0)));
    alone.commit(&[]);
}

#[test]
fn a_header_that_hides_a_change_or_makes_one_up_is_refused() {
    let mut world = World::new(4);
    admit(&mut world);
    let now = world.now;
    let good = world.ledger().build_block(&org(0), &[], now, &known_none).unwrap().block;
    let wrong = BlockError::Header("next_members");
    for digest in [members_digest(&world.genesis.members), Digest::default()] {
        let mut block = good.clone();
        block.header.next_members = digest;
        assert_eq!(world.ledger().validate_block(&block, now, &known_none).unwrap_err(), wrong);
    }
}

#[test]
fn a_rotated_key_signs_no_block_that_is_checked_afresh() {
    let mut world = World::new(4);
    let waiting = world.vote(2, Digest::default(), 1, 1).to_canonical();
    world.ledger().check_tx(&waiting).unwrap();
    let rotated = Keys::new(org(2), 1);
    world.commit(&[world.motion(Action::Rotate(rotated.member()), &[0, 1, 2])]);
    world.keys.push(rotated);
    let (_, applied) = world.commit(&[]);
    assert!(applied.members_change, "whoever holds verified transactions must be told");
    let candidates = std::slice::from_ref(&waiting);
    let built = world.ledger().build_block(&org(0), candidates, world.now, &known_none).unwrap();
    assert_eq!(built.dropped[0].1, TxError::BadSignature(Role::Governance));
}

#[test]
fn a_sanctioned_members_word_does_not_count_until_it_is_over() {
    let mut world = World::new(4);
    let sanction = |until| {
        Action::Sanction(Sanction { organisation: org(3), until: Height(until), grounds: Digest::default() })
    };
    world.commit(&[world.motion(sanction(4), &[0, 1, 2])]);
    let statement = world.statement(0, Digest::default(), 1);
    world.ledger().check_tx(&world.batch(statement.clone(), &[0, 1, 2]).to_canonical()).unwrap();
    assert!(matches!(refused(&world, &world.batch(statement, &[0, 1, 3])), TxError::Interop(_)));
    let until = Height(4);
    let own = world.any_batch_of(3);
    assert_eq!(refused(&world, &own), TxError::Sanctioned { organisation: org(3), until });
    // It still votes on blocks and motions, and anchors its audit log: the others want to see that.
    world.commit(&[world.vote(3, Digest::default(), 1, 1)]);
    assert!(matches!(refused(&world, &own), TxError::Sanctioned { .. }));
    world.commit(&[]);
    world.ledger().check_tx(&world.any_batch_of(3).to_canonical()).unwrap();
    // A later one that ends at once lifts it.
    world.commit(&[world.motion(sanction(1000), &[0, 1, 2])]);
    assert!(matches!(refused(&world, &world.any_batch_of(3)), TxError::Sanctioned { .. }));
    world.commit(&[world.motion(sanction(0), &[0, 1, 2])]);
    world.ledger().check_tx(&world.any_batch_of(3).to_canonical()).unwrap();
    assert_eq!(world.state::<Vec<Sanction>>(&state::sanctions_key()), Some(vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever order members come, go and change keys in: each header announces whoever certifies the next, and a
    /// proof made at any height is verifiable from genesis.
    #[test]
    fn any_history_of_members_is_followed(plan in proptest::collection::vec((0_u8..4, any::<usize>()), 1..12)) {
        let mut world = World::new(4);
        for (generation, (kind, pick)) in (1_u8..).zip(plan) {
            let members: Vec<_> = world.ledger().members().to_vec();
            let current = |m: &consilium_domain::genesis::Member| {
                world.keys.iter().position(|k| k.consensus.public() == m.consensus).unwrap()
            };
            let approvers: Vec<usize> = members.iter().map(current).collect();
            let chosen = members[pick % members.len()].organisation.clone();
            let (action, new) = match kind {
                0 => {
                    let new = Keys::new(org(10 + usize::from(generation)), generation);
                    (Action::Admit(new.member()), Some(new))
                }
                1 if members.len() > 1 => (Action::Remove(chosen), None),
                _ => {
                    let new = Keys::new(chosen, generation);
                    (Action::Rotate(new.member()), Some(new))
                }
            };
            let motion = world.motion(action, &approvers);
            world.keys.extend(new);
            world.commit(&[motion]);
            if kind != 3 {
                world.commit(&[]);
            } else {
                world.commit(&[]);
                world.commit(&[]);
            }
        }
        let last = world.chain.len();
        for (at, (block, certificate)) in world.chain.iter().enumerate() {
            let changes = world.changes_before(block.header.height);
            let members = verify_header(&world.genesis, &block.header, certificate, &changes).unwrap();
            let own = world.ledger().members_at(block.header.height).unwrap().unwrap();
            prop_assert_eq!(&members, &own);
            let next = world.ledger().members_at(block.header.height.next()).unwrap().unwrap();
            prop_assert_eq!(members_digest(&next), block.header.next_members, "{} of {}", at, last);
        }
    }
}
