//! Whether this service's key is the member's, by the genesis or, where it was rotated since, by the ledger.

use anyhow::{Context, bail};
use consilium_contracts::v1::{StateRequest, StateResponse};
use consilium_domain::Canonical;
use consilium_domain::PublicKey;
use consilium_domain::genesis::{Genesis, Member};
use consilium_ledger::{Role, state};
use consilium_runtime::{Kit, follow};
use std::time::Duration;

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

/// Makes sure that this service's key is the organisation's.
///
/// # Errors
/// When neither the genesis nor the ledger names the key for this organisation.
pub async fn check(genesis: &Genesis, kit: &Kit, role: Role, key: &PublicKey) -> anyhow::Result<()> {
    let organisation = &kit.common.organisation.name;
    let named =
        |members: &[Member]| members.iter().any(|m| m.organisation == *organisation && role.key(m) == *key);
    if named(&genesis.members) {
        return Ok(());
    }
    // It may have been admitted, or its keys rotated, since.
    let subject = kit.subjects.consensus_state();
    let answer: Option<StateResponse> = follow::ask(&kit.bus, &subject, &request(), PATIENCE).await;
    let now = answer.as_ref().and_then(read).with_context(|| {
        format!("the genesis does not list this key as `{role:?}` of `{organisation}`, and the own ledger node gives no answer: check the key, or start that node first")
    })?;
    if !named(&now) {
        bail!("neither the genesis nor the ledger lists this key as `{role:?}` of `{organisation}`");
    }
    Ok(())
}
