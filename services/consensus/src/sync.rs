//! Blocks for members that are behind, and how a node that may have forgotten its votes comes back.
//!
//! A request is the height (eight octets, big-endian), 0 for the newest block. The answer is `0` for "I have no
//! such block", or `1` and a [`SyncResponse`]. An empty request asks for the greatest height at which the member may
//! have voted: `1` and eight octets, or `0` when it may have forgotten votes.

use crate::chain::Chain;
use crate::cosign::{self, Cosigner};
use crate::node::Shared;
use crate::snapshot::{Ask, Snapshots};
use anyhow::Context;
use consilium_bft::rejoin::first_safe_height;
use consilium_bft::wire::SyncResponse;
use consilium_domain::block::{Block, ValidatorSet};
use consilium_domain::{Canonical, ChannelId, OrgId};
use consilium_runtime::{Answer, Kit};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Requests answered at a time.
const CONCURRENCY: usize = 16;
/// Patience with one peer's answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
const NONE: u8 = 0;
const SOME: u8 = 1;

pub(crate) fn request(height: u64) -> Vec<u8> {
    height.to_be_bytes().to_vec()
}

/// The bytes of the response, if the peer had the block.
pub(crate) fn answer(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first() {
        Some((&SOME, response)) => Some(response),
        _ => None,
    }
}

/// Answers the members' requests.
pub(crate) async fn serve(
    kit: &Kit,
    chain: Arc<Chain>,
    shared: Arc<Shared>,
    snapshots: Snapshots,
    cosigner: Cosigner,
) -> anyhow::Result<()> {
    let subject = kit.subjects.consensus_sync();
    let handler = move |incoming: consilium_runtime::Incoming| {
        let (chain, shared, snapshots) = (Arc::clone(&chain), Arc::clone(&shared), snapshots.clone());
        let cosigner = cosigner.clone();
        async move {
            if incoming.payload.is_empty() {
                return Answer::Payload(voted(&shared));
            }
            if let Some(height) = cosign::asked(&incoming.payload) {
                return match chain.view().and_then(|view| cosigner.line(&view, height)) {
                    Ok(line) => {
                        Answer::Payload(line.map_or_else(|| vec![NONE], |l| [&[SOME], l.as_bytes()].concat()))
                    }
                    Err(error) => {
                        tracing::error!(%error, "a cosignature could not be given");
                        Answer::Refused("internal")
                    }
                };
            }
            if let Some(ask) = Ask::from_bytes(&incoming.payload).filter(|_| incoming.payload.len() != 8) {
                return match ask.answer(&snapshots, &chain) {
                    Ok(found) => Answer::Payload(
                        found.map_or_else(|| vec![NONE], |b| [&[SOME], b.as_slice()].concat()),
                    ),
                    Err(error) => {
                        tracing::error!(%error, "a sync request could not be answered");
                        Answer::Refused("internal")
                    }
                };
            }
            match <[u8; 8]>::try_from(incoming.payload.as_slice()).map(u64::from_be_bytes) {
                Err(_) => Answer::Refused("undecodable"),
                Ok(height) => match respond(&chain, height) {
                    Ok(bytes) => Answer::Payload(bytes),
                    Err(error) => {
                        tracing::error!(%error, "a sync request could not be answered");
                        Answer::Refused("internal")
                    }
                },
            }
        }
    };
    Ok(kit.bus.serve(&subject, None, CONCURRENCY, handler).await?)
}

fn voted(shared: &Shared) -> Vec<u8> {
    match shared.voted.load(Ordering::SeqCst) {
        0 => vec![NONE],
        height => [&[SOME][..], &height.to_be_bytes()].concat(),
    }
}

/// Asks for the greatest height at which a member may have voted.
pub(crate) fn working() -> Vec<u8> {
    Vec::new()
}

/// The answer to [`working`].
pub(crate) fn worked(bytes: &[u8]) -> Option<u64> {
    match bytes.split_first() {
        Some((&SOME, height)) => Some(u64::from_be_bytes(height.try_into().ok()?)),
        _ => None,
    }
}

fn respond(chain: &Chain, height: u64) -> Result<Vec<u8>, crate::chain::ChainError> {
    let view = chain.view()?;
    let height = if height == 0 { view.ledger()?.head().height.0 } else { height };
    let response = view.sync_response(height)?;
    Ok(response.map_or_else(|| vec![NONE], |r| [&[SOME], r.to_bytes().as_slice()].concat()))
}

/// Finds out from which height on this node may sign, which has forgotten what it signed, and lets it (`bft::rejoin`).
///
/// The node follows in silence meanwhile: an answer counts only with a certificate of members that this node knows, and
/// where the members have changed it knows them once it has caught up.
///
/// # Errors
/// When the store fails.
pub(crate) async fn rejoin(
    kit: &Kit,
    chain: &Chain,
    shared: &Shared,
    body_limit: usize,
) -> anyhow::Result<()> {
    let me = &kit.common.organisation.name;
    let channel = &kit.common.organisation.channel;
    loop {
        let (own, set) = {
            let view = chain.view()?;
            let ledger = view.ledger()?;
            (ledger.head().height.0, ledger.validators())
        };
        let others = set.validators.iter().map(|v| v.organisation.clone()).filter(|org| org != me);
        let asked = others.map(|org| async {
            let subject = kit.subjects.at(&org).consensus_sync();
            let bytes = kit.bus.request(&subject, request(0), Duration::from_secs(1)).await.ok()?;
            match certified_height(&bytes, own, channel, &set, body_limit) {
                Ok(height) => Some((org, height)),
                Err(error) => {
                    tracing::debug!(peer = %org, %error, "a newest block that cannot be checked yet");
                    None
                }
            }
        });
        let answers: BTreeMap<OrgId, u64> =
            futures::future::join_all(asked).await.into_iter().flatten().collect();
        if let Some(from) = first_safe_height(&set, me, own, &answers) {
            chain.may_sign_from(from)?;
            shared.signs_from.store(from, Ordering::SeqCst);
            tracing::info!(from, "this node may sign again from that height on");
            if own == 0 && answers.values().all(|height| *height == 0) {
                tracing::warn!(
                    "no member has decided a block, and this one does not know whether it has ever signed: \
                     where a consortium starts for the first time, set `first_start_until`"
                );
            }
            return Ok(());
        }
        tracing::info!(
            answers = answers.len(),
            "waiting for more members to tell their height before signing"
        );
        tokio::select! {
            () = kit.shutdown.wait() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
    }
}

/// The height of a newest block; what is not above `own` needs no certificate.
fn certified_height(
    bytes: &[u8],
    own: u64,
    channel: &ChannelId,
    set: &ValidatorSet,
    body_limit: usize,
) -> anyhow::Result<u64> {
    let response = match bytes.split_first() {
        Some((&NONE, [])) => return Ok(0),
        Some((&SOME, response)) => SyncResponse::from_bytes(response, body_limit)?,
        _ => anyhow::bail!("neither a block nor its absence"),
    };
    let block = Block::from_canonical(&response.body).context("the block")?;
    if block.header.height.0 > own {
        consilium_ledger::certificate::verify(channel, set, &block.header, &response.certificate)?;
    }
    Ok(block.header.height.0)
}
