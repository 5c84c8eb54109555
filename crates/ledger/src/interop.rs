//! Proofs of interoperability: collecting attestations, and checking that enough of them are there.

use crate::committee::quorum;
use crate::sign;
use consilium_domain::genesis::Member;
use consilium_domain::interop::{Attestation, InteropProof, Statement};
use consilium_domain::{ChannelId, OrgId};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why attestations are no proof.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum InteropError {
    #[error("the attestations are not sorted by attester, each attester once")]
    NotSorted,
    #[error("the attester `{0}` is not a member of this channel")]
    NotMember(OrgId),
    #[error("the attestation of `{0}` does not verify over the statement")]
    BadSignature(OrgId),
    #[error("{have} attestations of the committee, {need} are needed")]
    NoQuorum { have: usize, need: usize },
}

/// Attestations of one statement as they come in.
#[derive(Debug)]
pub struct Collector<'a> {
    channel: &'a ChannelId,
    members: &'a [Member],
    statement: &'a Statement,
    committee: &'a [usize],
    have: BTreeMap<OrgId, Attestation>,
}

impl<'a> Collector<'a> {
    /// `committee` holds indexes into `members` (see [`crate::committee::committee`]).
    pub fn new(
        channel: &'a ChannelId,
        members: &'a [Member],
        statement: &'a Statement,
        committee: &'a [usize],
    ) -> Self {
        Self { channel, members, statement, committee, have: BTreeMap::new() }
    }

    /// Takes one attestation in; a repeated one changes nothing.
    pub fn add(&mut self, attestation: Attestation) -> Result<(), InteropError> {
        verify_one(self.channel, self.members, self.statement, &attestation)?;
        self.have.entry(attestation.attester.clone()).or_insert(attestation);
        Ok(())
    }

    /// The proof, as soon as there is a quorum of the committee or of all members.
    pub fn proof(&self) -> Option<InteropProof> {
        let proof = InteropProof { attestations: self.have.values().cloned().collect() };
        count(self.members, self.committee, &proof).ok().map(|()| proof)
    }
}

/// Checks a proof: sorted, distinct members, each signature over the statement, and a quorum of the committee — or of
/// all members, to whom a custodian turns when the committee does not answer in time.
pub fn verify(
    channel: &ChannelId,
    members: &[Member],
    committee: &[usize],
    statement: &Statement,
    proof: &InteropProof,
) -> Result<(), InteropError> {
    check_shape(members, committee, proof)?;
    for attestation in &proof.attestations {
        verify_one(channel, members, statement, attestation)?;
    }
    Ok(())
}

/// Everything of [`verify`] but the signatures.
pub fn check_shape(
    members: &[Member],
    committee: &[usize],
    proof: &InteropProof,
) -> Result<(), InteropError> {
    if !sorted(proof) {
        return Err(InteropError::NotSorted);
    }
    for attestation in &proof.attestations {
        if !members.iter().any(|m| m.organisation == attestation.attester) {
            return Err(InteropError::NotMember(attestation.attester.clone()));
        }
    }
    count(members, committee, proof)
}

/// Whether the attesters ascend strictly.
pub fn sorted(proof: &InteropProof) -> bool {
    proof.attestations.is_sorted_by(|a, b| a.attester < b.attester)
}

fn count(members: &[Member], committee: &[usize], proof: &InteropProof) -> Result<(), InteropError> {
    let all = proof.attestations.len();
    let of_committee = committee
        .iter()
        .filter_map(|i| members.get(*i))
        .filter(|m| proof.attestations.iter().any(|a| a.attester == m.organisation))
        .count();
    let need = quorum(committee.len());
    if of_committee >= need || all >= quorum(members.len()) {
        Ok(())
    } else {
        Err(InteropError::NoQuorum { have: of_committee, need })
    }
}

fn verify_one(
    channel: &ChannelId,
    members: &[Member],
    statement: &Statement,
    attestation: &Attestation,
) -> Result<(), InteropError> {
    let member = members
        .iter()
        .find(|m| m.organisation == attestation.attester)
        .ok_or_else(|| InteropError::NotMember(attestation.attester.clone()))?;
    if sign::verify_attestation(channel, &member.validate, statement, attestation) {
        Ok(())
    } else {
        Err(InteropError::BadSignature(attestation.attester.clone()))
    }
}
