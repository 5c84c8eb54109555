//! Reads that miss nothing: a state that holds everything committed anywhere before the read was asked for.
//!
//! A block of height h is committed once more than two thirds have sent their precommits. Of any answers of more than
//! two thirds, at least one is from an honest member that was among them, and it says that it has voted at h or later.
//! So a node that has applied the greatest height it was told has applied h. A liar can name a height that does not
//! exist: then the read fails after [`PATIENCE`], and does not answer wrongly.

use crate::chain::Chain;
use crate::node::Shared;
use crate::sync;
use consilium_domain::OrgId;
use consilium_runtime::Kit;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest wait for the members' answers and the own node together.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Time between two looks at the own height.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until this node has applied all that was committed before. `false` when that cannot be made sure in time.
pub async fn wait(kit: &Kit, chain: &Chain, shared: &Shared) -> bool {
    tokio::time::timeout(PATIENCE, now(kit, chain, shared)).await == Ok(Some(()))
}

async fn now(kit: &Kit, chain: &Chain, shared: &Shared) -> Option<()> {
    let set = chain.view().ok()?.ledger().ok()?.validators();
    let me = &kit.common.organisation.name;
    let (mut greatest, mut answered) = (0, BTreeSet::new());
    match shared.voted.load(Ordering::SeqCst) {
        0 => {}
        own => {
            greatest = own;
            answered.insert(me.clone());
        }
    }
    let ask = |org: OrgId| async move {
        let subject = kit.subjects.at(&org).consensus_sync();
        let answer = kit.bus.request(&subject, sync::working(), PATIENCE).await.ok()?;
        Some((org, sync::worked(&answer)?))
    };
    let others = set.validators.iter().map(|v| v.organisation.clone()).filter(|org| org != me);
    let mut answers: FuturesUnordered<_> = others.map(ask).collect();
    let enough = |answered: &BTreeSet<OrgId>| {
        let these = set.validators.iter().filter(|v| answered.contains(&v.organisation));
        set.is_quorum(these.map(|v| v.power).sum())
    };
    while !enough(&answered) {
        if let Some((org, height)) = answers.next().await? {
            greatest = greatest.max(height);
            answered.insert(org);
        }
    }
    while shared.applied.load(Ordering::SeqCst) < greatest {
        tokio::time::sleep(LOOK).await;
    }
    Some(())
}
