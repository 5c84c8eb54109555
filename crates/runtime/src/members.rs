//! The members as the ledger has them: whoever is admitted or removed, or gets new keys, counts without a restart.

use crate::{Followed, Kit, follow};
use anyhow::{Context, bail};
use consilium_contracts::v1::{StateRequest, StateResponse};
use consilium_domain::genesis::{Genesis, Member};
use std::time::Duration;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// How long the own node may take to say whether a key that the genesis does not name is a rotated one.
const PATIENCE: Duration = Duration::from_secs(5);

/// A service's own key: what it is called, and whether a member's entry holds it.
pub struct Own<'a> {
    pub key: &'a str,
    pub is: &'a (dyn Fn(&Member) -> bool + Sync),
}

/// The members of the genesis if the own key is among theirs, else those of the ledger: the organisation may have been
/// admitted, or its keys rotated, since.
///
/// # Errors
/// When neither names the key for this organisation.
pub async fn of_own_key(genesis: &Genesis, kit: &Kit, own: &Own<'_>) -> anyhow::Result<Vec<Member>> {
    let (organisation, key) = (&kit.common.organisation.name, own.key);
    let named = |members: &[Member]| members.iter().any(|m| m.organisation == *organisation && (own.is)(m));
    if named(&genesis.members) {
        return Ok(genesis.members.clone());
    }
    let subject = kit.subjects.consensus_state();
    let answer: Option<StateResponse> =
        follow::ask(&kit.bus, &subject, &StateRequest::members(), PATIENCE).await;
    let now = answer.as_ref().and_then(StateResponse::members).with_context(|| {
        format!("the genesis does not list this key as `{key}` of `{organisation}`, and the own ledger node gives no answer: check the key, or start that node first")
    })?;
    if !named(&now) {
        bail!("neither the genesis nor the ledger lists this key as `{key}` of `{organisation}`");
    }
    Ok(now)
}

/// Follows the members from those of [`of_own_key`] on, until shutdown.
///
/// # Errors
/// As [`of_own_key`].
pub async fn follow_from(
    genesis: &Genesis,
    kit: &Kit,
    own: &Own<'_>,
) -> anyhow::Result<Followed<Vec<Member>>> {
    let members = Followed::new(of_own_key(genesis, kit, own).await?);
    let subject = kit.subjects.consensus_state().into();
    follow::follow(
        kit,
        subject,
        StateRequest::members(),
        PERIOD,
        members.clone(),
        |answer: StateResponse| answer.members(),
    );
    Ok(members)
}
