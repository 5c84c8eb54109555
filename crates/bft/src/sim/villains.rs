//! What villains make of the messages, bodies and answers of the honest node that each runs.

use super::app::{Block, DRIFT, ORGS, channel, identify, organisation, seed};
use super::node::Node;
use super::plan::Conduct;
use crate::context::{Address, Height, ValueId, Vote};
use crate::wire::{self, Control, Message, SyncResponse, What};
use crate::{Body, Recipient};
use arc_malachitebft_core_types as types;
use arc_malachitebft_signing_ed25519::{PrivateKey, Signature};
use consilium_domain::block::{CommitCertificate, CommitSignature};
use consilium_domain::{ChannelId, Digest};
use types::{NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate, RoundCertificateType};
use types::{RoundSignature, SignedMessage, VoteType};

/// Something to send instead of, or beside, what the honest node would have sent.
pub struct Parcel {
    pub to: Recipient,
    /// Only to even or odd nodes.
    pub half: Option<usize>,
    pub bytes: Vec<u8>,
    /// Microseconds that it is held back.
    pub late: u64,
}

fn parcel(to: &Recipient, bytes: Vec<u8>) -> Parcel {
    Parcel { to: to.clone(), half: None, bytes, late: 0 }
}

fn key(node: &Node) -> PrivateKey {
    PrivateKey::from(seed(node.index))
}

fn signed(node: &Node, vote: Vote) -> Vec<u8> {
    Message::Vote(wire::sign_vote(&channel(), &key(node), vote)).to_bytes()
}

/// The vote that contradicts this one.
fn contradiction(vote: &Vote, random: u64) -> Vote {
    let value = match vote.value {
        NilOrVal::Val(_) if !random.is_multiple_of(3) => NilOrVal::Nil,
        _ => NilOrVal::Val(ValueId(Digest::sha256(&[&random.to_be_bytes()]))),
    };
    Vote { value, ..vote.clone() }
}

/// What `node` sends instead of `bytes`.
pub fn twist(node: &mut Node, to: &Recipient, bytes: Vec<u8>, random: u64) -> Vec<Parcel> {
    let message = Message::from_bytes(&bytes, usize::MAX);
    let all = Recipient::All;
    match (node.conduct, message) {
        (Conduct::Mute, _) => Vec::new(),
        (Conduct::DoubleVoter, Ok(Message::Vote(vote))) => {
            let other = parcel(to, signed(node, contradiction(&vote.message, random)));
            vec![parcel(to, bytes), other]
        }
        (Conduct::SplitVoter, Ok(Message::Vote(vote))) => {
            let other = signed(node, contradiction(&vote.message, random));
            vec![Parcel { half: Some(0), ..parcel(to, bytes) }, Parcel { half: Some(1), ..parcel(to, other) }]
        }
        (Conduct::NilVoter, Ok(Message::Vote(vote))) => {
            vec![parcel(to, signed(node, Vote { value: NilOrVal::Nil, ..vote.message }))]
        }
        (Conduct::DoubleProposer, Ok(Message::Proposal(proposal, Some(body)))) => {
            let Some(block) = Block::read(&body) else { return Vec::new() };
            let by: Vec<usize> = block.proof.iter().map(|(m, _)| usize::from(*m)).collect();
            let other = Block { nonce: block.nonce ^ (1 << 63), ..block }.attested(by.iter()).body();
            let mut second = proposal.message.clone();
            second.value = ValueId(identify(&other).unwrap());
            let signature = key(node).sign(&wire::proposal_bytes(&channel(), &second));
            let second = Message::Proposal(SignedMessage::new(second, signature), Some(other)).to_bytes();
            let (first, second) = (parcel(to, bytes), parcel(to, second));
            match random % 3 {
                0 => vec![first, second],
                1 => vec![second, first],
                _ => vec![Parcel { half: Some(0), ..first }, Parcel { half: Some(1), ..second }],
            }
        }
        (Conduct::Withholder, Ok(Message::Proposal(proposal, _))) => {
            let bare = parcel(&all, Message::Proposal(proposal, None).to_bytes());
            match (to, random % 2) {
                (Recipient::One(_), _) => Vec::new(),
                (Recipient::All, 0) => vec![bare],
                (Recipient::All, _) => vec![Parcel { half: Some(0), ..parcel(to, bytes) }, bare],
            }
        }
        (Conduct::Delayer, _) => {
            let late = [50_000, 90_000, 110_000, 290_000, 310_000, 1_200_000][(random % 6) as usize];
            vec![Parcel { late, ..parcel(to, bytes) }]
        }
        (Conduct::Flooder, message) => {
            let mut parcels = flood(node, message.ok(), random);
            parcels.push(parcel(to, bytes));
            parcels
        }
        (Conduct::Replayer, _) => {
            let mut parcels = vec![parcel(to, bytes)];
            let n = node.overheard.len();
            for i in 0..3.min(n) {
                let old = node.overheard[(random as usize).wrapping_mul(i + 1) % n].clone();
                parcels.push(parcel(&all, elsewhere(&old, random)));
                parcels.push(parcel(&all, old));
            }
            parcels
        }
        (Conduct::CertForger, message) => {
            let mut parcels = vec![parcel(to, bytes)];
            if let Ok(Message::Vote(vote)) = message {
                parcels.extend(
                    forge(node, &vote.message, random).into_iter().map(|m| parcel(&all, m.to_bytes())),
                );
            }
            parcels
        }
        (Conduct::FalseSyncer, _) => {
            let height = node.height() + 3 + random % 5;
            let boast = control(node, height, What::Status);
            vec![parcel(to, bytes), parcel(&all, boast)]
        }
        _ => vec![parcel(to, bytes)],
    }
}

fn control(node: &Node, height: u64, what: What) -> Vec<u8> {
    let control = Control { sender: organisation(node.index), height, what };
    let signature = key(node).sign(&wire::control_bytes(&channel(), &control));
    Message::Control(control, signature).to_bytes()
}

/// Properly signed and perfectly useless.
fn flood(node: &mut Node, message: Option<Message>, random: u64) -> Vec<Parcel> {
    let all = Recipient::All;
    let mut parcels = Vec::new();
    let Some(address) = node.address().map(Address) else { return parcels };
    let height = node.height() + 1;
    for i in 0..12_u64 {
        let r = random.rotate_left(i as u32 * 5).wrapping_add(i);
        let value = NilOrVal::Val(ValueId(Digest::sha256(&[&r.to_be_bytes()])));
        let round = Round::new((r % 14) as u32);
        let kind = if r % 2 == 0 { VoteType::Prevote } else { VoteType::Precommit };
        let height = Height(height + r % 5);
        let vote = Vote { kind, height, round, value, address, extension: None };
        parcels.push(parcel(&all, signed(node, vote)));
    }
    let big: Body = [b"simulated block".as_slice(), &vec![7; 4096]].concat().into();
    for ahead in 0..4 {
        let round = Round::new((random >> 8) as u32 % 12);
        let value = ValueId(Digest::sha256(&[&random.to_be_bytes(), &[ahead as u8]]));
        let proposal = crate::context::Proposal {
            height: Height(height + ahead),
            round,
            value,
            pol_round: Round::Nil,
            address,
        };
        let signature = key(node).sign(&wire::proposal_bytes(&channel(), &proposal));
        let message = Message::Proposal(SignedMessage::new(proposal, signature), Some(big.clone()));
        parcels.push(parcel(&all, message.to_bytes()));
    }
    parcels.push(parcel(&all, control(node, random, What::Status)));
    for round in 0..8 {
        parcels.push(parcel(&all, control(node, height, What::Want((random >> 16) as u32 % 12 + round))));
    }
    parcels.push(parcel(&all, random.to_be_bytes().to_vec()));
    if let Some(message) = message {
        let mut bytes = message.to_bytes();
        let at = random as usize % bytes.len();
        bytes[at] ^= 1 << (random % 8);
        parcels.push(parcel(&all, bytes));
    }
    parcels
}

/// A vote of an honest organisation as it signs it in another channel, sent into this one.
fn elsewhere(old: &[u8], random: u64) -> Vec<u8> {
    match Message::from_bytes(old, usize::MAX) {
        Ok(Message::Vote(vote)) if usize::from(vote.message.address.0) < ORGS => {
            let other = ChannelId::new("elsewhere").unwrap();
            // An address is a place in a set; with all organisations in it, it is the number.
            let key = PrivateKey::from(seed(usize::from(vote.message.address.0)));
            Message::Vote(wire::sign_vote(&other, &key, contradiction(&vote.message, random))).to_bytes()
        }
        _ => old.to_vec(),
    }
}

/// Certificates that prove nothing.
fn forge(node: &Node, vote: &Vote, random: u64) -> Vec<Message> {
    let (height, round) = (vote.height, vote.round);
    let value = ValueId(Digest::sha256(&[&random.to_be_bytes()]));
    let own = |kind, value| {
        let vote = Vote { kind, height, round, value, address: vote.address, extension: None };
        wire::sign_vote(&channel(), &key(node), vote).signature
    };
    let prevote = own(VoteType::Prevote, NilOrVal::Val(value));
    let precommit = own(VoteType::Precommit, NilOrVal::Nil);
    let empty = Signature::from_bytes([0; 64]);
    // One signer many times; everybody, unsigned; one alone.
    let polka = |signatures| {
        Message::Polka(PolkaCertificate { height, round, value_id: value, polka_signatures: signatures })
    };
    let later = Round::new(wire::round_number(round) + 1 + (random % 3) as u32);
    let skip = |cert_type, signatures| {
        Message::Round(RoundCertificate { height, round: later, cert_type, round_signatures: signatures })
    };
    let bogus = |a: u16| RoundSignature::new(VoteType::Precommit, NilOrVal::Nil, Address(a), empty);
    let mine = RoundSignature::new(VoteType::Precommit, NilOrVal::Nil, vote.address, precommit);
    vec![
        polka(vec![PolkaSignature::new(vote.address, prevote); 7]),
        polka((0..7).map(|a| PolkaSignature::new(Address(a), prevote)).collect()),
        polka(vec![PolkaSignature::new(vote.address, prevote)]),
        polka(Vec::new()),
        skip(RoundCertificateType::Skip, (0..7).map(bogus).collect()),
        skip(RoundCertificateType::Precommit, vec![mine; 7]),
        skip(RoundCertificateType::Skip, Vec::new()),
    ]
}

/// The body that a villain proposes instead of an honest one.
pub fn spoil(conduct: Conduct, honest: Block, set: &super::app::Set, clock: u64, random: u64) -> Block {
    let everyone = |block: Block| block.attested(set.iter());
    let too_few = super::app::quorum(set.len()) - 1;
    match (conduct, random % 4) {
        (Conduct::WrongRoot, 0) => everyone(Block { next_set: Digest([4; 32]), ..honest }),
        (Conduct::WrongRoot, 1) => everyone(Block { change: Some(0), ..honest }),
        (Conduct::WrongRoot, _) => everyone(Block { root: Digest([4; 32]), ..honest }),
        (Conduct::BadParent, 0) => everyone(Block { height: honest.height + 1, ..honest }),
        (Conduct::BadParent, _) => everyone(Block { parent: Digest([9; 32]), ..honest }),
        (Conduct::InvalidPoi, 0) => honest.attested(set.iter().take(too_few)),
        (Conduct::InvalidPoi, 1) => {
            let mut block = honest.attested(set.iter().take(too_few));
            let first = block.proof[0];
            block.proof.extend([first; 3]);
            block
        }
        (Conduct::InvalidPoi, 2) => {
            let mut block = everyone(honest);
            block.proof.iter_mut().for_each(|(_, tag)| *tag ^= 1);
            block
        }
        (Conduct::InvalidPoi, _) => Block { nonce: honest.nonce ^ 1, ..everyone(honest) },
        (Conduct::TimeWarper, 0) => everyone(Block { time: clock + 3_600_000, ..honest }),
        (Conduct::TimeWarper, 1) => everyone(Block { time: honest.time.saturating_sub(500_000), ..honest }),
        (Conduct::TimeWarper, 2) => everyone(Block { time: clock + DRIFT, ..honest }),
        (Conduct::TimeWarper, _) => everyone(Block { time: clock + DRIFT / 2, ..honest }),
        _ => honest,
    }
}

/// The answer to a sync request; `None` is silence.
pub fn answer(node: &Node, height: u64, random: u64) -> Option<Vec<u8>> {
    let at = |h: u64| node.disk.blocks.get(usize::try_from(h).ok()?.checked_sub(1)?);
    let whole = |certificate: &CommitCertificate, body: &Body| {
        SyncResponse { certificate: certificate.clone(), body: body.clone() }.to_bytes()
    };
    let honest = at(height).map(|c| whole(&c.certificate, &c.body));
    match (node.conduct, random % 4) {
        (Conduct::Mute, _) => Some(vec![1, 2, 3]),
        (Conduct::Withholder, _) => None,
        // A true certificate with the body of another height.
        (Conduct::FalseSyncer, 0) => Some(whole(&at(height)?.certificate, &at(height - 1)?.body)),
        // A true pair of another height.
        (Conduct::FalseSyncer, 1) => at(height - 1).map(|c| whole(&c.certificate, &c.body)),
        (Conduct::FalseSyncer | Conduct::CertForger, n) => {
            // A body that nobody has voted for, under our own signature or a broken true certificate.
            let block = Block {
                height,
                parent: Digest([8; 32]),
                time: 0,
                root: Digest([8; 32]),
                next_set: Digest([8; 32]),
                change: None,
                nonce: random,
                proof: Vec::new(),
            };
            let body = block.body();
            let block = identify(&body)?;
            let vote = Vote {
                kind: VoteType::Precommit,
                height: Height(height),
                round: Round::new(0),
                value: NilOrVal::Val(ValueId(block)),
                address: Address(node.address().unwrap_or(0)),
                extension: None,
            };
            let validator = vote.address.0;
            let members = u16::try_from(node.disk.chain.set_of(height).len()).unwrap();
            let signature = wire::sign_vote(&channel(), &key(node), vote).signature.to_bytes();
            let own = CommitSignature { validator, signature: consilium_domain::Signature(signature) };
            let signatures = match n {
                2 => (0..members).map(|validator| CommitSignature { validator, ..own.clone() }).collect(),
                _ => vec![own; 7],
            };
            let certificate =
                CommitCertificate { height: consilium_domain::Height(height), round: 0, block, signatures };
            Some(whole(&certificate, &body))
        }
        _ => honest,
    }
}
