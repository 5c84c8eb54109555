//! A node that may have missed messages does not wait for the next one to find out.

use crate::context::{Address, Height, Vote};
use crate::wire::{Control, Message, What, control_bytes, sign_vote, signed_by};
use crate::{Class, Config, Input, Limits, Output, Recipient, Recovery, Rotation, State, Timeouts, step};
use arc_malachitebft_core_types::{NilOrVal, Round, VoteType};
use arc_malachitebft_signing_ed25519::PrivateKey;
use consilium_domain::block::{Validator, ValidatorSet};
use consilium_domain::{ChannelId, Digest, OrgId, PublicKey};
use std::time::Duration;

fn org(i: u8) -> OrgId {
    OrgId::new(format!("org-{i}")).unwrap()
}

fn channel() -> ChannelId {
    ChannelId::new("test").unwrap()
}

fn validators() -> ValidatorSet {
    let key = |i: u8| PublicKey(*PrivateKey::from([i + 1; 32]).public_key().as_bytes());
    let one = |i| Validator { organisation: org(i), key: key(i), power: 1 };
    ValidatorSet { validators: (0..4).map(one).collect() }
}

#[test]
fn whoever_missed_something_shows_its_height_and_asks_who_is_ahead() {
    let config = Config {
        channel: channel(),
        organisation: org(0),
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        identify: |bytes| Some(Digest::sha256(&[bytes])),
    };
    let mut state = State::new(config, [1; 32]);
    let mut feed = |input| step(&mut state, Duration::from_secs(1), input).unwrap();
    assert!(feed(Input::Missed).is_empty(), "before the first height");
    feed(Input::StartHeight {
        height: 1,
        validators: validators(),
        rotation: Rotation { seed: Digest([7; 32]), since: 0, weights: Vec::new() },
        participate: true,
        recovery: Recovery::default(),
    });
    let shown = |out: &[Output]| {
        out.iter().any(|o| matches!(o, Output::Send { to: Recipient::All, class: Class::Control, .. }))
    };
    let asked = |out: &[Output]| out.iter().any(|o| matches!(o, Output::RequestSync { height: 1, .. }));
    let out = feed(Input::Missed);
    assert!(shown(&out) && !asked(&out), "nobody is known to be ahead: {out:?}");
    // One height ahead: usually the missing votes are on their way, and the node waits a little.
    let control = Control { sender: org(1), height: 2, what: What::Status };
    let signature = PrivateKey::from([2; 32]).sign(&control_bytes(&channel(), &control));
    let out = feed(Input::NetworkMessage(Message::Control(control, signature).to_bytes()));
    assert!(!asked(&out), "{out:?}");
    let out = feed(Input::Missed);
    assert!(shown(&out) && asked(&out), "{out:?}");
    assert!(!asked(&feed(Input::Missed)), "asked once already");
}

#[test]
fn a_vote_names_its_signer() {
    let set = validators();
    let vote = |address| Vote {
        kind: VoteType::Prevote,
        height: Height(7),
        round: Round::new(0),
        value: NilOrVal::Nil,
        address: Address(address),
        extension: None,
    };
    let bytes = |address, key: u8| {
        Message::Vote(sign_vote(&channel(), &PrivateKey::from([key; 32]), vote(address))).to_bytes()
    };
    assert_eq!(signed_by(&channel(), &set, &bytes(2, 3)), Some((7, &org(2))));
    assert_eq!(signed_by(&channel(), &set, &bytes(2, 2)), None, "another's key");
    assert_eq!(signed_by(&channel(), &set, &bytes(9, 3)), None, "no such validator");
    assert_eq!(signed_by(&ChannelId::new("other").unwrap(), &set, &bytes(2, 3)), None);
    assert_eq!(signed_by(&channel(), &set, b"rubbish"), None);
}
