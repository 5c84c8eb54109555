//! The members as the ledger has them: whoever is admitted or removed, or gets new keys, counts without a restart.

use anyhow::{Context, bail};
use consilium_contracts::v1::{StateRequest, StateResponse};
use consilium_domain::Canonical;
use consilium_domain::PublicKey;
use consilium_domain::genesis::{Genesis, Member};
use consilium_ledger::{Role, state};
use consilium_runtime::{Followed, Kit, follow};
use std::time::Duration;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// How long the own node may take to say whether a key that the genesis does not name is a rotated one.
const PATIENCE: Duration = Duration::from_secs(5);

/// The question to the own node.
fn request() -> StateRequest {
    StateRequest { key: state::members_key(), current: false, prove: false }
}

/// The members in its answer.
fn read(answer: &StateResponse) -> Option<Vec<Member>> {
    answer.has_value.then(|| Vec::from_canonical(&answer.value).ok()).flatten()
}

/// Follows the members, from those of the genesis on, and makes sure that this service's key is one of theirs.
///
/// # Errors
/// When neither the genesis nor the ledger names the key for this organisation.
pub async fn follow_from(
    genesis: &Genesis,
    kit: &Kit,
    role: Role,
    key: &PublicKey,
) -> anyhow::Result<Followed<Vec<Member>>> {
    let organisation = &kit.common.organisation.name;
    let named =
        |members: &[Member]| members.iter().any(|m| m.organisation == *organisation && role.key(m) == *key);
    let subject = kit.subjects.consensus_state();
    let members = Followed::new(genesis.members.clone());
    if !named(&genesis.members) {
        // It may have been admitted, or its keys rotated, since.
        let answer: Option<StateResponse> = follow::ask(&kit.bus, &subject, &request(), PATIENCE).await;
        let now = answer.as_ref().and_then(read).with_context(|| {
            format!("the genesis does not list this key as `{role:?}` of `{organisation}`, and the own ledger node gives no answer: check the key, or start that node first")
        })?;
        if !named(&now) {
            bail!("neither the genesis nor the ledger lists this key as `{role:?}` of `{organisation}`");
        }
        members.set(now);
    }
    follow::follow(kit, subject.into(), request(), PERIOD, members.clone(), |answer: StateResponse| {
        read(&answer)
    });
    Ok(members)
}
