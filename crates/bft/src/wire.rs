//! Messages between validators: canonical bytes, versioned, each signed part over purpose and channel.

use crate::Body;
use crate::context::{
    Address, Ctx, Height, MAX_VALIDATORS, Member, Members, Proposal, SignedProposal, SignedVote,
};
use crate::context::{ValueId, Vote};
use arc_malachitebft_core_types as types;
use arc_malachitebft_signing_ed25519::{PrivateKey, Signature};
use consilium_domain::block::{CommitCertificate, Precommit, ValidatorSet};
use consilium_domain::sign::Purpose;
use consilium_domain::{CanonError, Canonical, ChannelId, Decoder, Digest, Encoder, OrgId};
use types::{NilOrVal, PolkaCertificate, PolkaSignature, Round, RoundCertificate, RoundCertificateType};
use types::{RoundSignature, SignedMessage, VoteType};

/// Version of every message and of the sync response.
pub const WIRE_VERSION: u8 = 1;
/// Highest round that is accepted; a real height ends after a handful.
pub(crate) const MAX_ROUND: u32 = 1_000_000;

/// A message that decoded. Nothing in it is verified yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Vote(SignedVote),
    Proposal(SignedProposal, Option<Body>),
    Polka(PolkaCertificate<Ctx>),
    Round(RoundCertificate<Ctx>),
    Control(Control, Signature),
}

/// Keeps the network alive; decides nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub sender: OrgId,
    pub height: u64,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// "I work on this height": whoever is behind learns whom to ask.
    Status,
    /// "Send me the proposal of this round with its body."
    Want(u32),
}

impl Canonical for Control {
    fn encode(&self, out: &mut Encoder) {
        out.value(&self.sender).u64(self.height);
        match self.what {
            What::Status => out.u8(1),
            What::Want(round) => out.u8(2).u32(round),
        };
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        let (sender, height) = (input.value()?, input.u64("height")?);
        let what = match input.u8("control kind")? {
            1 => What::Status,
            2 => What::Want(round(input)?),
            value => return Err(CanonError::Unknown { field: "control kind", value: u64::from(value) }),
        };
        Ok(Self { sender, height, what })
    }
}

/// What a control message's signature is over: the tag keeps it apart from all other purposes.
pub(crate) fn control_bytes(channel: &ChannelId, control: &Control) -> Vec<u8> {
    let mut out = Encoder::default();
    out.str("consilium/v1/consensus-control").value(channel).value(control);
    out.into_bytes()
}

/// What a vote's signature is over (`Purpose::Prevote` or `Purpose::Precommit`). The extension is left out.
pub(crate) fn vote_bytes(channel: &ChannelId, vote: &Vote) -> Vec<u8> {
    let block = match vote.value {
        NilOrVal::Nil => None,
        NilOrVal::Val(id) => Some(id.0),
    };
    let body = Precommit {
        height: consilium_domain::Height(vote.height.0),
        round: round_number(vote.round),
        block,
        validator: vote.address.0,
    };
    match vote.kind {
        VoteType::Prevote => Purpose::Prevote.bytes(channel, &body),
        VoteType::Precommit => Purpose::Precommit.bytes(channel, &body),
    }
}

impl Canonical for Proposal {
    fn encode(&self, out: &mut Encoder) {
        out.u64(self.height.0).u32(round_number(self.round));
        match self.pol_round {
            Round::Nil => out.u8(0),
            Round::Some(round) => out.u8(1).u32(round),
        };
        out.value(&self.value.0).u16(self.address.0);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        let height = Height(input.u64("height")?);
        let round_ = Round::new(round(input)?);
        let pol_round = match input.u8("pol round")? {
            0 => Round::Nil,
            1 => Round::new(round(input)?),
            value => return Err(CanonError::Unknown { field: "pol round", value: u64::from(value) }),
        };
        let value = ValueId(input.value()?);
        Ok(Self { height, round: round_, value, pol_round, address: Address(input.u16("validator")?) })
    }
}

/// What a proposal's signature is over.
pub(crate) fn proposal_bytes(channel: &ChannelId, proposal: &Proposal) -> Vec<u8> {
    Purpose::Proposal.bytes(channel, proposal)
}

/// A round that is defined; the core's "no round" never stands in a signed message.
pub(crate) fn round_number(round: Round) -> u32 {
    round.as_u32().unwrap_or(u32::MAX)
}

fn round(input: &mut Decoder<'_>) -> Result<u32, CanonError> {
    let round = input.u32("round")?;
    if round > MAX_ROUND { Err(CanonError::TooLong("round")) } else { Ok(round) }
}

fn nil_or(value: &NilOrVal<ValueId>) -> Option<Digest> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(id) => Some(id.0),
    }
}

fn or_nil(value: Option<Digest>) -> NilOrVal<ValueId> {
    value.map_or(NilOrVal::Nil, |id| NilOrVal::Val(ValueId(id)))
}

fn vote_kind(input: &mut Decoder<'_>) -> Result<VoteType, CanonError> {
    match input.u8("vote type")? {
        1 => Ok(VoteType::Prevote),
        2 => Ok(VoteType::Precommit),
        value => Err(CanonError::Unknown { field: "vote type", value: u64::from(value) }),
    }
}

fn kind_number(kind: VoteType) -> u8 {
    match kind {
        VoteType::Prevote => 1,
        VoteType::Precommit => 2,
    }
}

fn signature(input: &mut Decoder<'_>) -> Result<Signature, CanonError> {
    input.array("signature").map(Signature::from_bytes)
}

pub(crate) fn encode_vote(out: &mut Encoder, vote: &SignedVote) {
    let v = &vote.message;
    out.u8(kind_number(v.kind)).u64(v.height.0).u32(round_number(v.round));
    out.option(nil_or(&v.value).as_ref()).u16(v.address.0).fixed(&vote.signature.to_bytes());
}

pub(crate) fn decode_vote(input: &mut Decoder<'_>) -> Result<SignedVote, CanonError> {
    let kind = vote_kind(input)?;
    let height = Height(input.u64("height")?);
    let round = Round::new(round(input)?);
    let value = or_nil(input.option("value")?);
    let address = Address(input.u16("validator")?);
    let vote = Vote { kind, height, round, value, address, extension: None };
    Ok(SignedMessage::new(vote, signature(input)?))
}

pub(crate) fn encode_proposal(out: &mut Encoder, proposal: &SignedProposal) {
    out.value(&proposal.message).fixed(&proposal.signature.to_bytes());
}

pub(crate) fn decode_proposal(input: &mut Decoder<'_>) -> Result<SignedProposal, CanonError> {
    let proposal = input.value()?;
    Ok(SignedMessage::new(proposal, signature(input)?))
}

pub(crate) fn encode_polka(out: &mut Encoder, certificate: &PolkaCertificate<Ctx>) {
    out.u64(certificate.height.0).u32(round_number(certificate.round)).value(&certificate.value_id.0);
    out.u16(u16::try_from(certificate.polka_signatures.len()).unwrap_or(u16::MAX));
    for s in &certificate.polka_signatures {
        out.u16(s.address.0).fixed(&s.signature.to_bytes());
    }
}

/// The number of signatures that follow, at most one per possible validator.
fn count(input: &mut Decoder<'_>) -> Result<usize, CanonError> {
    let count = usize::from(input.u16("signatures")?);
    if count > MAX_VALIDATORS { Err(CanonError::TooLong("signatures")) } else { Ok(count) }
}

pub(crate) fn decode_polka(input: &mut Decoder<'_>) -> Result<PolkaCertificate<Ctx>, CanonError> {
    let height = Height(input.u64("height")?);
    let round = Round::new(round(input)?);
    let value_id = ValueId(input.value()?);
    let mut polka_signatures = Vec::new();
    for _ in 0..count(input)? {
        let address = Address(input.u16("validator")?);
        polka_signatures.push(PolkaSignature::new(address, signature(input)?));
    }
    Ok(PolkaCertificate { height, round, value_id, polka_signatures })
}

fn encode_round(out: &mut Encoder, certificate: &RoundCertificate<Ctx>) {
    out.u64(certificate.height.0).u32(round_number(certificate.round));
    out.u8(match certificate.cert_type {
        RoundCertificateType::Skip => 1,
        RoundCertificateType::Precommit => 2,
    });
    out.u16(u16::try_from(certificate.round_signatures.len()).unwrap_or(u16::MAX));
    for s in &certificate.round_signatures {
        out.u8(kind_number(s.vote_type)).option(nil_or(&s.value_id).as_ref());
        out.u16(s.address.0).fixed(&s.signature.to_bytes());
    }
}

fn decode_round(input: &mut Decoder<'_>) -> Result<RoundCertificate<Ctx>, CanonError> {
    let height = Height(input.u64("height")?);
    let round = Round::new(round(input)?);
    let cert_type = match input.u8("certificate type")? {
        1 => RoundCertificateType::Skip,
        2 => RoundCertificateType::Precommit,
        value => return Err(CanonError::Unknown { field: "certificate type", value: u64::from(value) }),
    };
    let mut round_signatures = Vec::new();
    for _ in 0..count(input)? {
        let vote_type = vote_kind(input)?;
        let value_id = or_nil(input.option("value")?);
        let address = Address(input.u16("validator")?);
        round_signatures.push(RoundSignature::new(vote_type, value_id, address, signature(input)?));
    }
    Ok(RoundCertificate { height, round, cert_type, round_signatures })
}

impl Message {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u8(WIRE_VERSION);
        match self {
            Self::Vote(vote) => encode_vote(out.u8(1), vote),
            Self::Proposal(proposal, body) => {
                encode_proposal(out.u8(2), proposal);
                match body {
                    None => out.u8(0),
                    Some(body) => out.u8(1).bytes(body),
                };
            }
            Self::Polka(certificate) => encode_polka(out.u8(3), certificate),
            Self::Round(certificate) => encode_round(out.u8(4), certificate),
            Self::Control(control, signature) => {
                out.u8(5).value(control).fixed(&signature.to_bytes());
            }
        }
        out.into_bytes()
    }

    /// Refuses anything that [`Message::to_bytes`] does not write, and bodies over `body_limit`.
    pub(crate) fn from_bytes(bytes: &[u8], body_limit: usize) -> Result<Self, CanonError> {
        let mut input = Decoder::new(bytes);
        match input.u8("version")? {
            WIRE_VERSION => {}
            value => return Err(CanonError::Unknown { field: "version", value: u64::from(value) }),
        }
        let message = match input.u8("message kind")? {
            1 => Self::Vote(decode_vote(&mut input)?),
            2 => {
                let proposal = decode_proposal(&mut input)?;
                let body = match input.u8("body")? {
                    0 => None,
                    1 => Some(Body::from(input.bytes(body_limit, "body")?)),
                    value => return Err(CanonError::Unknown { field: "body", value: u64::from(value) }),
                };
                Self::Proposal(proposal, body)
            }
            3 => Self::Polka(decode_polka(&mut input)?),
            4 => Self::Round(decode_round(&mut input)?),
            5 => Self::Control(input.value()?, signature(&mut input)?),
            value => return Err(CanonError::Unknown { field: "message kind", value: u64::from(value) }),
        };
        input.finish()?;
        Ok(message)
    }
}

/// Ed25519 by the rules of ZIP 215.
#[cfg(not(test))]
pub(crate) fn is_signed(
    key: &arc_malachitebft_signing_ed25519::PublicKey,
    bytes: &[u8],
    signature: &Signature,
) -> bool {
    key.verify(bytes, signature).is_ok()
}
#[cfg(test)]
pub(crate) use crate::sim::memo::is_signed;

pub(crate) fn sign_vote(channel: &ChannelId, key: &PrivateKey, vote: Vote) -> SignedVote {
    let signature = key.sign(&vote_bytes(channel, &vote));
    SignedMessage::new(vote, signature)
}

pub(crate) fn vote_is_signed(channel: &ChannelId, by: &Member, vote: &SignedVote) -> bool {
    by.address == vote.message.address
        && is_signed(&by.key, &vote_bytes(channel, &vote.message), &vote.signature)
}

pub(crate) fn proposal_is_signed(channel: &ChannelId, by: &Member, proposal: &SignedProposal) -> bool {
    by.address == proposal.message.address
        && is_signed(&by.key, &proposal_bytes(channel, &proposal.message), &proposal.signature)
}

/// Whether `round`'s proposer in `set` signed it.
pub(crate) fn proposal_is_genuine(channel: &ChannelId, set: &Members, proposal: &SignedProposal) -> bool {
    let p = &proposal.message;
    set.proposer(round_number(p.round))
        .is_some_and(|proposer| proposal_is_signed(channel, proposer, proposal))
}

/// The validator whose signature a vote or a proposal carries, and its height. Nothing for other messages, and for
/// one that nobody of `set` has signed. The body beside a proposal is not looked at.
pub fn signed_by<'a>(channel: &ChannelId, set: &'a ValidatorSet, bytes: &[u8]) -> Option<(u64, &'a OrgId)> {
    let mut input = Decoder::new(bytes);
    if input.u8("version").ok()? != WIRE_VERSION {
        return None;
    }
    let (height, address, signed, signature) = match input.u8("message kind").ok()? {
        1 => {
            let vote = decode_vote(&mut input).ok()?;
            (vote.message.height, vote.message.address, vote_bytes(channel, &vote.message), vote.signature)
        }
        2 => {
            let p = decode_proposal(&mut input).ok()?;
            (p.message.height, p.message.address, proposal_bytes(channel, &p.message), p.signature)
        }
        _ => return None,
    };
    let validator = set.validators.get(usize::from(address.0))?;
    let key = arc_malachitebft_signing_ed25519::PublicKey::from_bytes(validator.key.0).ok()?;
    is_signed(&key, &signed, &signature).then_some((height.0, &validator.organisation))
}

/// A committed body and its certificate: what a peer that is ahead answers to a sync request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncResponse {
    pub certificate: CommitCertificate,
    pub body: Body,
}

impl SyncResponse {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u8(WIRE_VERSION).value(&self.certificate).bytes(&self.body);
        out.into_bytes()
    }

    /// Refuses anything but one canonical response with a body of at most `body_limit` bytes.
    pub fn from_bytes(bytes: &[u8], body_limit: usize) -> Result<Self, CanonError> {
        let mut input = Decoder::new(bytes);
        match input.u8("version")? {
            WIRE_VERSION => {}
            value => return Err(CanonError::Unknown { field: "version", value: u64::from(value) }),
        }
        let certificate: CommitCertificate = input.value()?;
        if certificate.signatures.len() > MAX_VALIDATORS {
            return Err(CanonError::TooLong("signatures"));
        }
        if certificate.round > MAX_ROUND {
            return Err(CanonError::TooLong("round"));
        }
        let body = Body::from(input.bytes(body_limit, "body")?);
        input.finish()?;
        Ok(Self { certificate, body })
    }
}
