//! Messages between organisations: everything that a hostile carrier could try.

use super::fixture::{World, org};
use crate::envelope::{EnvelopeError, Expect, ReplayGuard, open, open_answer, seal};
use crate::sign::Role;
use consilium_domain::message::{Envelope, Sealed};
use consilium_domain::{Canonical, ChannelId, Digest, Height, Timestamp};
use std::time::Duration;

const NOW: Timestamp = Timestamp(1_000_000);
const WINDOW: Duration = Duration::from_secs(30);

fn sealed() -> Sealed {
    Sealed {
        sender: org(1),
        recipient: org(2),
        subject: "exchange/read".into(),
        height: Height(7),
        time: Timestamp(NOW.0 - 1000),
        nonce: Digest::tagged("nonce", b"1"),
        payload: b"who".to_vec(),
    }
}

fn expect<'a>(world: &'a World, me: &'a consilium_domain::OrgId) -> Expect<'a> {
    Expect {
        channel: world.channel(),
        members: &world.genesis.members,
        role: Role::Ingest,
        recipient: me,
        subject: "exchange/read",
        now: NOW,
        window: WINDOW,
    }
}

#[test]
fn a_message_is_opened_by_whom_it_is_for_and_once() {
    let world = World::new(4);
    let me = org(2);
    let envelope = seal(&world.keys[1].ingest, world.channel(), sealed());
    let mut guard = ReplayGuard::new(WINDOW, 10);
    let mut take = || open(envelope.clone(), &expect(&world, &me), |s, n| guard.accept(s, n, NOW));
    assert_eq!(take(), Ok(sealed()));
    assert_eq!(take(), Err(EnvelopeError::Replayed));
}

#[test]
fn each_expectation_is_checked() {
    let world = World::new(4);
    let (me, other) = (org(2), org(3));
    let judge =
        |s: Sealed, e: Expect<'_>| open(seal(&world.keys[1].ingest, world.channel(), s), &e, |_, _| true);
    let with = |change: &dyn Fn(&mut Sealed)| {
        let mut s = sealed();
        change(&mut s);
        judge(s, expect(&world, &me)).unwrap_err()
    };
    assert_eq!(with(&|s| s.sender = org(50)), EnvelopeError::UnknownSender(org(50)));
    assert_eq!(with(&|s| s.sender = org(3)), EnvelopeError::BadSignature);
    assert_eq!(with(&|s| s.recipient = org(3)), EnvelopeError::WrongRecipient(org(3)));
    assert_eq!(with(&|s| s.subject = "x".into()), EnvelopeError::WrongSubject("exchange/read".into()));
    assert_eq!(with(&|s| s.time = Timestamp(NOW.0 - 30_001)), EnvelopeError::OutsideWindow);
    assert_eq!(with(&|s| s.time = Timestamp(NOW.0 + 30_001)), EnvelopeError::OutsideWindow);
    assert_eq!(with(&|s| s.time = Timestamp(u64::MAX)), EnvelopeError::OutsideWindow);
    assert!(judge(sealed(), expect(&world, &other)).is_err());
    let role = Expect { role: Role::Validate, ..expect(&world, &me) };
    assert_eq!(judge(sealed(), role).unwrap_err(), EnvelopeError::BadSignature);
    let channel = ChannelId::new("claims").unwrap();
    let elsewhere = Expect { channel: &channel, ..expect(&world, &me) };
    assert_eq!(judge(sealed(), elsewhere).unwrap_err(), EnvelopeError::BadSignature);
}

#[test]
fn every_byte_of_a_message_matters_and_a_forgery_uses_no_nonce() {
    let world = World::new(4);
    let me = org(2);
    let bytes = seal(&world.keys[1].ingest, world.channel(), sealed()).to_canonical();
    for i in 0..bytes.len() {
        let mut mutated = bytes.clone();
        mutated[i] ^= 1;
        if let Ok(envelope) = Envelope::from_canonical(&mutated) {
            let opened = open(envelope, &expect(&world, &me), |_, _| panic!("the nonce was asked for"));
            assert!(opened.is_err(), "byte {i}");
        }
    }
}

#[test]
fn an_answer_belongs_to_its_request() {
    let world = World::new(4);
    let (me, nonce) = (org(2), sealed().nonce);
    let envelope = seal(&world.keys[1].ingest, world.channel(), sealed());
    let answer = |from, nonce| open_answer(envelope.clone(), &expect(&world, &me), &from, &nonce);
    assert_eq!(answer(org(1), nonce), Ok(sealed()));
    assert_eq!(answer(org(3), nonce), Err(EnvelopeError::NotTheAnswer));
    assert_eq!(answer(org(1), Digest::default()), Err(EnvelopeError::NotTheAnswer));
}

#[test]
fn the_guard_forgets_only_what_can_no_longer_arrive_and_refuses_when_full() {
    let mut guard = ReplayGuard::new(Duration::from_secs(1), 2);
    let nonce = |i: u8| Digest::tagged("nonce", &[i]);
    assert!(guard.accept(&org(1), &nonce(1), Timestamp(0)));
    assert!(guard.accept(&org(2), &nonce(1), Timestamp(10)), "another sender's nonce");
    assert!(!guard.accept(&org(1), &nonce(2), Timestamp(20)), "full");
    assert!(!guard.accept(&org(1), &nonce(1), Timestamp(2000)));
    assert!(guard.accept(&org(1), &nonce(1), Timestamp(2001)), "its message is outside every window by now");
}
