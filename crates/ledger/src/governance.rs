//! Motions of the organisations: enough approvals, one change of members in flight, members that can run.

use crate::check::{CheckError, Context, Look, TxError, find};
use crate::genesis::check_members;
use crate::state::{self, PendingMembers};
use crate::{committee, sign};
use consilium_domain::Height;
use consilium_domain::genesis::Member;
use consilium_domain::governance::{Action, Governance};

/// Checks a motion against the state; not the signatures.
pub(crate) fn check(
    context: &Context,
    state: &mut impl Look,
    height: Height,
    governance: &Governance,
) -> Result<(), CheckError> {
    let motion = &governance.motion;
    if motion.expires < height {
        return Err(TxError::Expired { expires: motion.expires, height }.into());
    }
    let carried: u64 = find(state, &state::motions_key())?.unwrap_or(0);
    let (expected, found) = (carried.saturating_add(1), motion.sequence);
    if found != expected {
        return Err(TxError::Sequence { expected, found }.into());
    }
    for approval in &governance.approvals {
        context.member(&approval.organisation)?;
    }
    let (have, need) = (governance.approvals.len(), committee::quorum(context.members.len()));
    if have < need {
        return Err(TxError::Approvals { have, need }.into());
    }
    let named = match &motion.action {
        Action::Admit(m) | Action::Rotate(m) => &m.organisation,
        Action::Remove(organisation) => organisation,
        Action::Sanction(s) => &s.organisation,
    };
    let member = context.members.iter().any(|m| m.organisation == *named);
    match &motion.action {
        Action::Admit(_) if member => return Err(TxError::AlreadyMember(named.clone()).into()),
        Action::Remove(_) | Action::Rotate(_) | Action::Sanction(_) if !member => {
            return Err(TxError::NotMember(named.clone()).into());
        }
        _ => {}
    }
    if matches!(motion.action, Action::Sanction(_)) {
        return Ok(());
    }
    if let Some(PendingMembers { from, .. }) = find(state, &state::pending_key())? {
        return Err(TxError::ChangeInFlight(from).into());
    }
    let members = after(&context.members, &motion.action);
    check_members(&members, context.params.committee).map_err(TxError::from)?;
    Ok(())
}

/// Checks every approval's signature.
pub(crate) fn check_signatures(context: &Context, governance: &Governance) -> Result<(), TxError> {
    let bytes = governance.motion.signing_bytes(&context.channel);
    for approval in &governance.approvals {
        let member = context.member(&approval.organisation)?;
        if !sign::verify(&member.governance, &bytes, &approval.signature) {
            return Err(TxError::BadApproval(approval.organisation.clone()));
        }
    }
    Ok(())
}

/// The members after an action, sorted.
pub(crate) fn after(members: &[Member], action: &Action) -> Vec<Member> {
    let (gone, new) = match action {
        Action::Admit(member) | Action::Rotate(member) => (&member.organisation, Some(member)),
        Action::Remove(organisation) => (organisation, None),
        Action::Sanction(_) => return members.to_vec(),
    };
    let mut out: Vec<Member> =
        members.iter().filter(|m| m.organisation != *gone).chain(new).cloned().collect();
    out.sort_by(|a, b| a.organisation.cmp(&b.organisation));
    out
}
