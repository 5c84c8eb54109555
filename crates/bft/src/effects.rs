//! What the core asks for, effect by effect. None of it can fail: the core logs a handler's error and goes on.

use crate::certify;
use crate::context::{Address, Ctx, Proposal, SignedProposal, SignedVote, Vote};
use crate::output::{Class, Evidence, Output, Poisoned, Recipient};
use crate::step::Shell;
use crate::timers::Purpose;
use crate::wal;
use crate::wire::{self, Message, What, round_number};
use arc_malachitebft_core_consensus as core_consensus;
use arc_malachitebft_core_types as types;
use arc_malachitebft_signing_ed25519::{PublicKey, Signature};
use core_consensus::{ConsensusMsg, Effect, Error, LivenessMsg, MisbehaviorEvidence, Resumable as _, Resume};
use core_consensus::{SignedConsensusMsg, VoteExtensionError};
use types::{CommitCertificate, SignedMessage, VoteType};

/// Stands where a signature was refused. It verifies under no member's key (R = 0 and s = 0 would ask for
/// `[8][k]A = 0`), so the core drops the message, and we never send it.
const ABSTAIN: [u8; 64] = [0; 64];

impl Shell {
    pub(crate) fn handle(&mut self, effect: Effect<Ctx>) -> Resume<Ctx> {
        match effect {
            Effect::CancelAllTimeouts(r) => {
                self.timers.cancel(&mut self.out, |p| matches!(p, Purpose::Core(_) | Purpose::Fetch { .. }));
                r.resume_with(())
            }
            Effect::CancelTimeout(timeout, r) => {
                self.timers.cancel(&mut self.out, |p| *p == Purpose::Core(timeout));
                r.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, r) => {
                let after = self.config.timeouts.of(&timeout);
                self.timers.set(Purpose::Core(timeout), after, &mut self.out);
                r.resume_with(())
            }
            Effect::StartRound(_, round, proposer, _, r) => {
                self.on_round(round_number(round), proposer);
                r.resume_with(())
            }
            Effect::PublishConsensusMsg(message, r) => {
                match message {
                    SignedConsensusMsg::Vote(vote) => self.publish_vote(vote),
                    SignedConsensusMsg::Proposal(proposal) => self.publish_proposal(proposal),
                }
                r.resume_with(())
            }
            Effect::PublishLivenessMsg(message, r) => {
                match message {
                    LivenessMsg::Vote(vote) => self.publish_vote(vote),
                    LivenessMsg::PolkaCertificate(c) => {
                        self.send(Recipient::All, Class::Certificate, &Message::Polka(c));
                    }
                    LivenessMsg::SkipRoundCertificate(c) => {
                        self.send(Recipient::All, Class::Certificate, &Message::Round(c));
                    }
                }
                r.resume_with(())
            }
            Effect::RepublishVote(vote, r) => {
                self.publish_vote(vote);
                r.resume_with(())
            }
            Effect::RepublishRoundCertificate(c, r) => {
                self.send(Recipient::All, Class::Certificate, &Message::Round(c));
                r.resume_with(())
            }
            Effect::GetValue(_, round, _, r) => {
                self.on_value_wanted(round_number(round));
                r.resume_with(())
            }
            // The body travels in every published proposal, and the proposal follows this effect.
            Effect::RestreamProposal(.., r) => r.resume_with(()),
            Effect::CertVerifiedSyncValue(_, proposer, r) => {
                self.on_certificate_accepted(proposer);
                r.resume_with(())
            }
            Effect::CertRejectedSyncValue(_, _, error, r) => {
                self.on_certificate_refused(matches!(error, Error::InvalidCommitCertificate(..)));
                r.resume_with(())
            }
            // Without a target time `Finalize` follows at once with the same certificate.
            Effect::Decide(_, _, r) => r.resume_with(()),
            Effect::Finalize(certificate, _, evidence, r) => {
                self.on_final(&certificate, &evidence);
                r.resume_with(())
            }
            Effect::SignVote(vote, r) => r.resume_with(self.sign_vote(vote)),
            Effect::SignProposal(proposal, r) => r.resume_with(self.sign_proposal(proposal)),
            Effect::VerifySignature(message, key, r) => r.resume_with(self.verify(&message, &key)),
            Effect::VerifyCommitCertificate(c, set, _, r) => {
                r.resume_with(certify::commit(&self.config.channel, &set, &c))
            }
            Effect::VerifyExtendedCommitCertificate(c, set, _, _, r) => {
                r.resume_with(certify::extended_commit(&self.config.channel, &set, &c))
            }
            Effect::VerifyPolkaCertificate(c, set, _, r) => {
                r.resume_with(certify::polka(&self.config.channel, &set, &c))
            }
            Effect::VerifyRoundCertificate(c, set, _, r) => {
                r.resume_with(certify::round(&self.config.channel, &set, &c))
            }
            Effect::WalAppend(height, input, r) => {
                self.log(height.0, &input);
                r.resume_with(())
            }
            // Only asked for where extensions are required; here they are disabled.
            Effect::ExtendVote(_, _, _, _, r) => r.resume_with(None),
            Effect::VerifyVoteExtension(.., r) => {
                r.resume_with(Err(VoteExtensionError::InvalidVoteExtension))
            }
        }
    }

    fn on_round(&mut self, round: u32, proposer: Address) {
        self.round = round;
        self.wanted = None;
        if let Some(org) = self.org(proposer).cloned() {
            self.out.push(Output::RoundStarted { height: self.height, round, proposer: org });
        }
        if proposer != self.me {
            let after = self.config.timeouts.grow(self.config.timeouts.propose, round) / 2;
            self.timers.set(Purpose::Fetch { round, attempt: 0 }, after, &mut self.out);
        }
    }

    fn on_value_wanted(&mut self, round: u32) {
        self.wanted = Some(round);
        if self.replaying.is_none() {
            self.answer_value();
        }
    }

    /// The same round always gets the same body, after a restart too: otherwise we would contradict ourselves.
    pub(crate) fn answer_value(&mut self) {
        let Some(round) = self.wanted else { return };
        if let Some(id) = self.built.get(&round).copied() {
            self.propose(round, id);
        } else {
            let within = self.config.timeouts.grow(self.config.timeouts.propose, round);
            self.out.push(Output::RequestValue { height: self.height, round, within });
        }
    }

    fn publish_vote(&mut self, vote: SignedVote) {
        if vote.signature.to_bytes() != ABSTAIN {
            self.send(Recipient::All, Class::Vote, &Message::Vote(vote));
        }
    }

    fn publish_proposal(&mut self, proposal: SignedProposal) {
        if proposal.signature.to_bytes() == ABSTAIN {
            return;
        }
        let round = round_number(proposal.message.round);
        let list = self.proposals.entry(round).or_default();
        if !list.contains(&proposal) {
            list.push(proposal.clone());
        }
        let body = self.held.get(&proposal.message.value.0).map(|held| held.body.clone());
        self.send(Recipient::All, Class::Proposal, &Message::Proposal(proposal, body));
        // By name, so that whoever is behind a change of the set learns of it: there, addresses mean others.
        self.say(Recipient::All, What::Status);
    }

    /// Never two votes of one type and round: the core's log does not cover rounds that it entered by a
    /// commit certificate, so after a crash there it may ask again with another value. Then we abstain.
    fn sign_vote(&mut self, vote: Vote) -> SignedVote {
        let key = (vote.kind, round_number(vote.round));
        match self.signed_votes.get(&key) {
            Some(before) if before.message == vote => before.clone(),
            Some(_) => SignedMessage::new(vote, Signature::from_bytes(ABSTAIN)),
            None => {
                let signed = wire::sign_vote(&self.config.channel, &self.key, vote);
                self.signed_votes.insert(key, signed.clone());
                signed
            }
        }
    }

    fn sign_proposal(&mut self, proposal: Proposal) -> SignedProposal {
        let round = round_number(proposal.round);
        match self.signed_proposals.get(&round) {
            Some(before) if before.message == proposal => before.clone(),
            Some(_) => SignedMessage::new(proposal, Signature::from_bytes(ABSTAIN)),
            None => {
                let signature = self.key.sign(&wire::proposal_bytes(&self.config.channel, &proposal));
                let signed = SignedProposal::new(proposal, signature);
                self.signed_proposals.insert(round, signed.clone());
                signed
            }
        }
    }

    fn verify(&self, message: &SignedMessage<Ctx, ConsensusMsg<Ctx>>, key: &PublicKey) -> bool {
        let bytes = match &message.message {
            ConsensusMsg::Vote(vote) => {
                let own = self.signed_votes.get(&(vote.kind, round_number(vote.round)));
                if own.is_some_and(|o| o.message == *vote && o.signature == message.signature) {
                    return true;
                }
                wire::vote_bytes(&self.config.channel, vote)
            }
            ConsensusMsg::Proposal(proposal) => {
                // Checked when it arrived.
                let known = self.proposals.get(&round_number(proposal.round));
                let same = |p: &SignedProposal| p.message == *proposal && p.signature == message.signature;
                if known.is_some_and(|list| list.iter().any(same)) {
                    return true;
                }
                wire::proposal_bytes(&self.config.channel, proposal)
            }
        };
        wire::is_signed(key, &bytes, &message.signature)
    }

    fn log(&mut self, height: u64, input: &crate::context::CoreInput) {
        if let crate::context::CoreInput::Vote(vote) = input {
            self.note_vote(vote);
        }
        if let crate::context::CoreInput::PolkaCertificate(certificate) = input {
            self.note_polka(certificate.value_id.0);
        }
        let Some(entry) = wal::encode(height, input) else { return };
        // What is being replayed is on the disk; what is signed anew during the replay is not.
        if self.replaying.as_ref().is_none_or(|entries| !entries.contains(&entry)) {
            self.out.push(Output::PersistWal { height, entry });
        }
    }

    fn on_final(&mut self, certificate: &CommitCertificate<Ctx>, evidence: &MisbehaviorEvidence<Ctx>) {
        let (id, height) = (certificate.value_id.0, certificate.height.0);
        let Some(held) = self.held.get(&id) else {
            self.failure = Some(Poisoned::MissingBody(id, height));
            return;
        };
        let output = Output::Decide {
            height,
            id,
            body: held.body.clone(),
            certificate: certify::to_domain(certificate),
            evidence: self.evidence(evidence),
        };
        self.decided = true;
        self.timers.cancel(&mut self.out, |_| true);
        self.out.push(output);
    }

    fn evidence(&self, found: &MisbehaviorEvidence<Ctx>) -> Vec<Evidence> {
        let mut all = Vec::new();
        for (address, pairs) in found.votes.iter() {
            for (first, second) in pairs {
                let bytes = |vote: &SignedVote| Message::Vote(vote.clone()).to_bytes();
                self.push_evidence(*address, bytes(first), bytes(second), &mut all);
            }
        }
        for (address, pairs) in found.proposals.iter() {
            // The core pairs a proposal with itself when a second one is there and a verdict on the first changes.
            for (first, second) in pairs.iter().filter(|(first, second)| first.message != second.message) {
                let bytes = |proposal: &SignedProposal| Message::Proposal(proposal.clone(), None).to_bytes();
                self.push_evidence(*address, bytes(first), bytes(second), &mut all);
            }
        }
        all
    }

    fn push_evidence(&self, address: Address, first: Vec<u8>, second: Vec<u8>, all: &mut Vec<Evidence>) {
        if let Some(org) = self.org(address) {
            all.push(Evidence { validator: org.clone(), first, second });
        }
    }

    /// What the log says that we signed binds us.
    pub(crate) fn remember_signed(&mut self, input: &crate::context::CoreInput) {
        match input {
            crate::context::CoreInput::Vote(vote) if vote.message.address == self.me => {
                let key: (VoteType, u32) = (vote.message.kind, round_number(vote.message.round));
                self.signed_votes.entry(key).or_insert_with(|| vote.clone());
            }
            crate::context::CoreInput::Proposal(proposal) if proposal.message.address == self.me => {
                let round = round_number(proposal.message.round);
                self.signed_proposals.entry(round).or_insert_with(|| proposal.clone());
            }
            _ => {}
        }
    }
}
