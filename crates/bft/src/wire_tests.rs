//! Bytes on the wire and in the log are pinned: a change here breaks running networks and old disks.

use crate::context::{Address, CoreInput, Height, Proposal, ValueId, Vote};
use crate::wire::{Control, Message, SyncResponse, What, control_bytes, proposal_bytes, vote_bytes};
use crate::{Body, wal};
use arc_malachitebft_core_consensus::ProposedValue;
use arc_malachitebft_core_types::{NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate};
use arc_malachitebft_core_types::{RoundCertificateType, RoundSignature, SignedMessage, Timeout, Validity};
use arc_malachitebft_core_types::{ValueOrigin, VoteType};
use arc_malachitebft_signing_ed25519::Signature;
use consilium_domain::block::{CommitCertificate, CommitSignature};
use consilium_domain::{ChannelId, Digest, OrgId};

fn id() -> ValueId {
    ValueId(Digest([0xab; 32]))
}

fn signature() -> Signature {
    Signature::from_bytes([0x5a; 64])
}

fn vote(kind: VoteType, value: NilOrVal<ValueId>) -> Vote {
    let (height, round) = (Height(7), Round::new(2));
    Vote { kind, height, round, value, address: Address(3), extension: None }
}

fn proposal() -> Proposal {
    let (round, pol_round) = (Round::new(2), Round::new(1));
    Proposal { height: Height(7), round, value: id(), pol_round, address: Address(1) }
}

fn polka() -> PolkaCertificate<crate::context::Ctx> {
    let polka_signatures = vec![PolkaSignature::new(Address(3), signature())];
    PolkaCertificate { height: Height(7), round: Round::new(2), value_id: id(), polka_signatures }
}

fn messages() -> Vec<Message> {
    let signatures = vec![
        RoundSignature::new(VoteType::Prevote, NilOrVal::Nil, Address(0), signature()),
        RoundSignature::new(VoteType::Precommit, NilOrVal::Val(id()), Address(2), signature()),
    ];
    let control = |what| Control { sender: OrgId::new("north").unwrap(), height: 7, what };
    vec![
        Message::Vote(SignedMessage::new(vote(VoteType::Prevote, NilOrVal::Nil), signature())),
        Message::Vote(SignedMessage::new(vote(VoteType::Precommit, NilOrVal::Val(id())), signature())),
        Message::Proposal(SignedMessage::new(proposal(), signature()), None),
        Message::Proposal(SignedMessage::new(proposal(), signature()), Some(Body::from(&b"body"[..]))),
        Message::Polka(polka()),
        Message::Round(RoundCertificate {
            height: Height(7),
            round: Round::new(2),
            cert_type: RoundCertificateType::Skip,
            round_signatures: signatures,
        }),
        Message::Control(control(What::Status), signature()),
        Message::Control(control(What::Want(4)), signature()),
    ]
}

fn entries() -> Vec<CoreInput> {
    let value = ProposedValue {
        height: Height(7),
        round: Round::new(2),
        valid_round: Round::Nil,
        proposer: Address(1),
        value: id(),
        validity: Validity::Valid,
    };
    vec![
        CoreInput::Vote(SignedMessage::new(vote(VoteType::Precommit, NilOrVal::Val(id())), signature())),
        CoreInput::Proposal(SignedMessage::new(proposal(), signature())),
        CoreInput::ProposedValue(value, ValueOrigin::Consensus),
        CoreInput::PolkaCertificate(polka()),
        CoreInput::TimeoutElapsed(Timeout::prevote(Round::new(2))),
    ]
}

/// Runs of one octet are written `octet*count`.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        text.push_str(&hex(run[0]));
        if run.len() > 1 {
            text.push_str(&format!("*{}", run.len()));
        }
        text.push(' ');
    }
    text.trim_end().to_owned()
}

fn hex(octet: u8) -> String {
    format!("{octet:02x}")
}

#[test]
fn messages_have_exactly_one_encoding() {
    for message in messages() {
        let bytes = message.to_bytes();
        assert_eq!(Message::from_bytes(&bytes, 64).as_ref(), Ok(&message));
        for cut in 0..bytes.len() {
            assert!(Message::from_bytes(&bytes[..cut], 64).is_err(), "{message:?} cut at {cut}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(Message::from_bytes(&longer, 64).is_err());
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(Message::from_bytes(&other, 64).as_ref(), Ok(&message), "octet {at} says nothing");
        }
    }
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let bytes = messages().remove(3).to_bytes();
    assert!(Message::from_bytes(&bytes, 4).is_ok());
    assert!(Message::from_bytes(&bytes, 3).is_err());
}

#[test]
fn a_sync_response_has_exactly_one_encoding() {
    let signature = CommitSignature { validator: 3, signature: consilium_domain::Signature([0x5a; 64]) };
    let certificate = CommitCertificate {
        height: consilium_domain::Height(7),
        round: 2,
        block: id().0,
        signatures: vec![signature],
    };
    let response = SyncResponse { certificate, body: Body::from(&b"body"[..]) };
    let bytes = response.to_bytes();
    assert_eq!(SyncResponse::from_bytes(&bytes, 4), Ok(response));
    assert!(SyncResponse::from_bytes(&bytes, 3).is_err());
    for cut in 0..bytes.len() {
        assert!(SyncResponse::from_bytes(&bytes[..cut], 64).is_err());
    }
}

#[test]
fn log_entries_come_back_as_they_were() {
    for entry in entries() {
        let bytes = wal::encode(7, &entry).unwrap();
        assert_eq!(wal::decode(&bytes), Ok((7, entry)));
        for cut in 0..bytes.len() {
            assert!(wal::decode(&bytes[..cut]).is_err());
        }
    }
}

#[test]
fn signed_bytes_keep_purposes_and_channels_apart() {
    let (one, two) = (ChannelId::new("one").unwrap(), ChannelId::new("two").unwrap());
    let prevote = vote(VoteType::Prevote, NilOrVal::Val(id()));
    let precommit = vote(VoteType::Precommit, NilOrVal::Val(id()));
    let Some(Message::Control(control, _)) = messages().pop() else { panic!("the last one is a control") };
    let all = [
        vote_bytes(&one, &prevote),
        vote_bytes(&one, &precommit),
        vote_bytes(&two, &precommit),
        vote_bytes(&one, &vote(VoteType::Precommit, NilOrVal::Nil)),
        proposal_bytes(&one, &proposal()),
        control_bytes(&one, &control),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn the_formats_are_pinned() {
    let mut text = String::new();
    for message in messages() {
        text.push_str(&format!("message {}\n", shown(&message.to_bytes())));
    }
    for entry in entries() {
        text.push_str(&format!("entry {}\n", shown(&wal::encode(7, &entry).unwrap())));
    }
    assert_eq!(text, include_str!("../tests/formats.txt"), "\n{text}");
}
