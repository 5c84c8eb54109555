//! Signed steps as they travel, and as the ledger records them.

use crate::context::{Address, Height, Proposal, ValueId, Vote};
use crate::wire::{Message, round_number};
use arc_malachitebft_core_types as types;
use arc_malachitebft_signing_ed25519::Signature;
use consilium_domain::block::{self, Precommit};
use consilium_domain::evidence::{SignedStep, Step};
use consilium_domain::{CanonError, Digest};
use types::{NilOrVal, Round, SignedMessage, VoteType};

/// The vote or proposal in a message of the wire. Its signature is not checked here.
///
/// # Errors
/// When the bytes are no vote and no proposal without a body.
pub fn step_of(message: &[u8]) -> Result<SignedStep, CanonError> {
    let domain = |signature: Signature| consilium_domain::Signature(signature.to_bytes());
    match Message::from_bytes(message, 0)? {
        Message::Vote(SignedMessage { message: vote, signature }) => {
            let content = Precommit {
                height: consilium_domain::Height(vote.height.0),
                round: round_number(vote.round),
                block: match vote.value {
                    NilOrVal::Nil => None,
                    NilOrVal::Val(id) => Some(id.0),
                },
                validator: vote.address.0,
            };
            let step = match vote.kind {
                VoteType::Prevote => Step::Prevote(content),
                VoteType::Precommit => Step::Precommit(content),
            };
            Ok(SignedStep { step, signature: domain(signature) })
        }
        Message::Proposal(SignedMessage { message: p, signature }, None) => {
            let step = Step::Proposal(block::Proposal {
                height: consilium_domain::Height(p.height.0),
                round: round_number(p.round),
                pol_round: p.pol_round.as_u32(),
                block: p.value.0,
                validator: p.address.0,
            });
            Ok(SignedStep { step, signature: domain(signature) })
        }
        _ => Err(CanonError::NotCanonical("step")),
    }
}

/// The message in which a step travels: what [`step_of`] reads.
pub fn message_of(signed: &SignedStep) -> Vec<u8> {
    let signature = Signature::from_bytes(signed.signature.0);
    let vote = |kind, v: &Precommit| {
        let value = v.block.map_or(NilOrVal::Nil, |id: Digest| NilOrVal::Val(ValueId(id)));
        let (height, round) = (Height(v.height.0), Round::new(v.round));
        Vote { kind, height, round, value, address: Address(v.validator), extension: None }
    };
    match &signed.step {
        Step::Prevote(v) => Message::Vote(SignedMessage::new(vote(VoteType::Prevote, v), signature)),
        Step::Precommit(v) => Message::Vote(SignedMessage::new(vote(VoteType::Precommit, v), signature)),
        Step::Proposal(p) => {
            let proposal = Proposal {
                height: Height(p.height.0),
                round: Round::new(p.round),
                pol_round: p.pol_round.map_or(Round::Nil, Round::new),
                value: ValueId(p.block),
                address: Address(p.validator),
            };
            Message::Proposal(SignedMessage::new(proposal, signature), None)
        }
    }
    .to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_domain::{Canonical, ChannelId};

    #[test]
    fn what_is_signed_on_the_wire_is_what_the_ledger_checks() {
        let channel = ChannelId::new("test").unwrap();
        let height = consilium_domain::Height(7);
        let vote = |block| Precommit { height, round: 2, block, validator: 3 };
        let proposal =
            |pol_round| block::Proposal { height, round: 2, pol_round, block: Digest([9; 32]), validator: 3 };
        let steps = [
            Step::Prevote(vote(None)),
            Step::Precommit(vote(Some(Digest([8; 32])))),
            Step::Proposal(proposal(None)),
            Step::Proposal(proposal(Some(1))),
        ];
        for step in steps {
            let signed = SignedStep { step, signature: consilium_domain::Signature([5; 64]) };
            let bytes = message_of(&signed);
            assert_eq!(step_of(&bytes).unwrap().to_canonical(), signed.to_canonical());
            let wire = match Message::from_bytes(&bytes, 0).unwrap() {
                Message::Vote(v) => crate::wire::vote_bytes(&channel, &v.message),
                Message::Proposal(p, _) => crate::wire::proposal_bytes(&channel, &p.message),
                _ => Vec::new(),
            };
            assert_eq!(wire, signed.step.signing_bytes(&channel));
            for cut in 0..bytes.len() {
                assert!(step_of(&bytes[..cut]).is_err());
            }
        }
    }
}
