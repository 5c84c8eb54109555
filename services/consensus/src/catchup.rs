//! Many blocks at once for a node that is far behind, before it takes part: the agreement asks for one block after the
//! other, which costs a round trip each.

use crate::chain::{Chain, identify};
use crate::sync;
use consilium_bft::wire::SyncResponse;
use consilium_domain::block::Block;
use consilium_domain::{Canonical, OrgId};
use consilium_runtime::Kit;
use futures::StreamExt;
use futures::future::join_all;
use std::time::Duration;

/// Blocks under way at a time.
const FETCHES: u64 = 32;
/// Blocks that the agreement may as well fetch.
const FEW: u64 = 16;
/// Blocks after which the store is made durable.
const DURABLE: u64 = 256;
/// Wait for a member to tell its height.
const TIP: Duration = Duration::from_secs(1);

/// Fetches, checks and executes blocks until the members have only a few more; says how many it was. Stops early where
/// a block is not to be had or wrong: the agreement finds out from whom it gets a right one.
///
/// # Errors
/// When the store fails.
pub async fn run(kit: &Kit, chain: &Chain, body_limit: usize) -> anyhow::Result<u64> {
    let mut done = 0_u64;
    loop {
        let (head, orgs, channel) = {
            let view = chain.view()?;
            let ledger = view.ledger()?;
            let orgs: Vec<OrgId> = ledger.members().iter().map(|m| m.organisation.clone()).collect();
            (ledger.head().height.0, orgs, ledger.channel().clone())
        };
        let me = &kit.common.organisation.name;
        let tips = join_all(orgs.into_iter().filter(|org| org != me).map(|org| async move {
            let height = ask(kit, &org, 0, TIP, body_limit).await?.certificate.height.0;
            Some((org, height))
        }));
        let tips: Vec<(OrgId, u64)> = tips.await.into_iter().flatten().collect();
        let tip = tips.iter().map(|(_, height)| *height).max().unwrap_or(0);
        if tip <= head.saturating_add(FEW) || kit.shutdown.triggered() {
            break;
        }
        tracing::info!(from = head + 1, to = tip, "fetching blocks");
        let tips = &tips;
        let fetches = (head + 1..=tip).map(|height| async move {
            let able: Vec<_> = tips.iter().filter(|(_, tip)| *tip >= height).map(|(org, _)| org).collect();
            let first = usize::try_from(height).unwrap_or(0) % able.len().max(1);
            for org in able.iter().cycle().skip(first).take(able.len()) {
                if let Some(response) = ask(kit, org, height, sync::PATIENCE, body_limit).await {
                    return Some(response);
                }
            }
            None
        });
        let mut fetched = futures::stream::iter(fetches).buffered(usize::try_from(FETCHES)?);
        let before = done;
        while let Some(Some(SyncResponse { certificate, body })) = fetched.next().await {
            let Ok(block) = Block::from_canonical(&body) else { break };
            let applied = {
                let view = chain.view()?;
                let ledger = view.ledger()?;
                let set = ledger.validators();
                let certified =
                    consilium_ledger::certificate::verify(&channel, &set, &block.header, &certificate);
                if certified.is_err() || identify(&body) != Some(certificate.block) {
                    tracing::warn!(
                        height = certificate.height.0,
                        "a member sent a block that is not certified"
                    );
                    break;
                }
                match ledger.apply_block(&block) {
                    Ok(applied) => applied,
                    Err(error) => {
                        tracing::warn!(height = certificate.height.0, %error, "a block cannot be executed");
                        break;
                    }
                }
            };
            chain.commit(&body, &certificate, applied)?;
            done += 1;
            if done.is_multiple_of(DURABLE) {
                chain.persist()?;
                if kit.shutdown.triggered() {
                    return Ok(done);
                }
            }
        }
        if done == before {
            tracing::warn!(
                height = head + 1,
                "no member gave the next block: if all of them have deleted it (`keep_blocks`), stop this node, move its \
                 `data_dir` away and start it again: it loads a snapshot, and signs when that is safe"
            );
            break;
        }
    }
    chain.persist()?;
    Ok(done)
}

/// A member's block; nothing of it has been checked.
async fn ask(
    kit: &Kit,
    org: &OrgId,
    height: u64,
    patience: Duration,
    body_limit: usize,
) -> Option<SyncResponse> {
    let subject = kit.subjects.at(org).consensus_sync();
    let bytes = kit.bus.request(&subject, sync::request(height), patience).await.ok()?;
    SyncResponse::from_bytes(sync::answer(&bytes)?, body_limit).ok()
}
