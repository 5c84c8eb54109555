//! Verification of certificates: members only, none twice, every signature over rebuilt bytes, enough power.

use crate::context::{Address, Ctx, Height, Members, ValueId, Vote};
use crate::wire::{is_signed, vote_bytes};
use arc_malachitebft_core_types as types;
use arc_malachitebft_signing_ed25519::Signature;
use consilium_domain::ChannelId;
use consilium_domain::block::{CommitCertificate, CommitSignature};
use std::collections::BTreeSet;
use types::{
    CertificateError, ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate,
};
use types::{Round, RoundCertificate, RoundCertificateType, VoteType};

type Verdict = Result<(), CertificateError<Ctx>>;

/// Adds up the power behind one certificate, refusing strangers and repetition.
struct Tally<'a> {
    channel: &'a ChannelId,
    set: &'a Members,
    seen: BTreeSet<Address>,
    power: u64,
}

impl<'a> Tally<'a> {
    fn new(channel: &'a ChannelId, set: &'a Members) -> Self {
        Self { channel, set, seen: BTreeSet::new(), power: 0 }
    }

    /// `Ok(false)` if the signature is wrong.
    fn add(&mut self, vote: &Vote, signature: &Signature) -> Result<bool, CertificateError<Ctx>> {
        let member = self.set.get(vote.address).ok_or(CertificateError::UnknownValidator(vote.address))?;
        if !self.seen.insert(vote.address) {
            return Err(CertificateError::DuplicateVote(vote.address));
        }
        if !is_signed(&member.key, &vote_bytes(self.channel, vote), signature) {
            return Ok(false);
        }
        self.power = self.power.saturating_add(member.power);
        Ok(true)
    }

    fn quorum(&self, enough: bool) -> Verdict {
        if enough {
            return Ok(());
        }
        let total = types::ValidatorSet::total_voting_power(self.set);
        Err(CertificateError::NotEnoughVotingPower { signed: self.power, total, expected: total * 2 / 3 + 1 })
    }
}

pub(crate) fn commit(
    channel: &ChannelId,
    set: &Members,
    certificate: &types::CommitCertificate<Ctx>,
) -> Verdict {
    let mut tally = Tally::new(channel, set);
    for s in &certificate.commit_signatures {
        let vote = Vote {
            kind: VoteType::Precommit,
            height: certificate.height,
            round: certificate.round,
            value: NilOrVal::Val(certificate.value_id),
            address: s.address,
            extension: None,
        };
        if !tally.add(&vote, &s.signature)? {
            return Err(CertificateError::InvalidCommitSignature(s.clone()));
        }
    }
    tally.quorum(set.is_quorum(tally.power))
}

/// Vote extensions are switched off, so none may be attached.
pub(crate) fn extended_commit(
    channel: &ChannelId,
    set: &Members,
    certificate: &ExtendedCommitCertificate<Ctx>,
) -> Verdict {
    if let Some(s) = certificate.commit_signatures.iter().find(|s| s.extension.is_some()) {
        return Err(CertificateError::UnexpectedVoteExtension(s.address));
    }
    commit(channel, set, &certificate.trim_vote_extensions())
}

pub(crate) fn polka(channel: &ChannelId, set: &Members, certificate: &PolkaCertificate<Ctx>) -> Verdict {
    let mut tally = Tally::new(channel, set);
    for s in &certificate.polka_signatures {
        let vote = Vote {
            kind: VoteType::Prevote,
            height: certificate.height,
            round: certificate.round,
            value: NilOrVal::Val(certificate.value_id),
            address: s.address,
            extension: None,
        };
        if !tally.add(&vote, &s.signature)? {
            return Err(CertificateError::InvalidPolkaSignature(s.clone()));
        }
    }
    tally.quorum(set.is_quorum(tally.power))
}

/// Precommit type: precommits of more than two thirds end a round (arXiv:1807.04938 line 47).
/// Skip type: any votes of more than one third open a later round (line 55).
pub(crate) fn round(channel: &ChannelId, set: &Members, certificate: &RoundCertificate<Ctx>) -> Verdict {
    let mut tally = Tally::new(channel, set);
    let precommits_only = certificate.cert_type == RoundCertificateType::Precommit;
    for s in &certificate.round_signatures {
        if precommits_only && s.vote_type != VoteType::Precommit {
            return Err(CertificateError::InvalidVoteType(s.address));
        }
        let vote = Vote {
            kind: s.vote_type,
            height: certificate.height,
            round: certificate.round,
            value: s.value_id,
            address: s.address,
            extension: None,
        };
        if !tally.add(&vote, &s.signature)? {
            return Err(CertificateError::InvalidRoundSignature(s.clone()));
        }
    }
    tally.quorum(if precommits_only { set.is_quorum(tally.power) } else { set.is_honest(tally.power) })
}

/// The core's certificate in the form that outlives it: sorted by validator.
pub(crate) fn to_domain(certificate: &types::CommitCertificate<Ctx>) -> CommitCertificate {
    let mut signatures: Vec<_> = certificate
        .commit_signatures
        .iter()
        .map(|s| CommitSignature {
            validator: s.address.0,
            signature: consilium_domain::Signature(s.signature.to_bytes()),
        })
        .collect();
    signatures.sort_by_key(|s| s.validator);
    CommitCertificate {
        height: consilium_domain::Height(certificate.height.0),
        round: crate::wire::round_number(certificate.round),
        block: certificate.value_id.0,
        signatures,
    }
}

pub(crate) fn from_domain(certificate: &CommitCertificate) -> ExtendedCommitCertificate<Ctx> {
    ExtendedCommitCertificate {
        height: Height(certificate.height.0),
        round: Round::new(certificate.round),
        value_id: ValueId(certificate.block),
        commit_signatures: certificate
            .signatures
            .iter()
            .map(|s| {
                let signature = Signature::from_bytes(s.signature.0);
                ExtendedCommitSignature::new(Address(s.validator), signature, None)
            })
            .collect(),
    }
}
