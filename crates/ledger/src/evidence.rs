//! Evidence of equivocation: anyone can check it, everyone is shown it, nobody is punished by it.

use crate::check::{CheckError, Context, Look, TxError};
use crate::{sign, state};
use consilium_domain::evidence::Evidence;
use consilium_domain::genesis::Member;
use consilium_domain::{ChannelId, Height};

/// Checks evidence against the state: a validator of that height, of whom nothing is recorded at that height yet.
pub(crate) fn check(state: &mut impl Look, height: Height, evidence: &Evidence) -> Result<(), CheckError> {
    let step = &evidence.first.step;
    if step.height() > height || step.height() == Height(0) {
        return Err(TxError::NoEvidence("it is of a height that is not decided here").into());
    }
    let members = state::members_at(state, step.height())?;
    let Some(offender) = members.get(usize::from(step.validator())) else {
        return Err(TxError::NoEvidence("its height has no such validator").into());
    };
    let key = state::evidence_at_key(&offender.organisation, step.height());
    if state.look(&key)?.is_some() {
        return Err(TxError::KnownEvidence {
            offender: offender.organisation.clone(),
            height: step.height(),
        }
        .into());
    }
    Ok(())
}

/// Checks both signatures.
pub(crate) fn check_signatures(
    context: &Context,
    state: &mut impl Look,
    evidence: &Evidence,
) -> Result<(), CheckError> {
    let members = state::members_at(state, evidence.first.step.height())?;
    if verify(&context.channel, &members, evidence) {
        Ok(())
    } else {
        Err(TxError::NoEvidence("a signature is not the validator's").into())
    }
}

/// Whether evidence convicts: two contradicting steps, both signed by the same validator of `members`, who are those
/// of the height that it is about.
pub fn verify(channel: &ChannelId, members: &[Member], evidence: &Evidence) -> bool {
    let Some(member) = members.get(usize::from(evidence.first.step.validator())) else { return false };
    evidence.contradicts()
        && [&evidence.first, &evidence.second]
            .into_iter()
            .all(|s| sign::verify(&member.consensus, &s.step.signing_bytes(channel), &s.signature))
}
