//! Cosigned checkpoints of the ledger log (ADR 0017): every member signs the checkpoint of any block that it has
//! committed when it is asked, and keeps the newest one that more than two thirds have signed.
//!
//! A request, among those of `sync`, is `k` and the height (eight octets, big-endian). The line is a function of the
//! key and of the committed header, so nothing has to be remembered before it leaves.

use crate::chain::{Chain, ChainError, View};
use crate::sync::{self, PATIENCE};
use consilium_domain::block::{Block, Header};
use consilium_domain::genesis::Member;
use consilium_domain::receipt::{CHECKPOINT_FORMAT, CheckpointProof};
use consilium_domain::{CanonError, Canonical, Height, OrgId};
use consilium_ledger::{SigningKey, checkpoint, committee};
use consilium_runtime::Kit;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Time between two looks at whether the log has grown.
const LOOK: Duration = Duration::from_secs(1);
const ASK: u8 = b'k';

/// Signs for the own organisation.
#[derive(Clone)]
pub struct Cosigner {
    organisation: OrgId,
    key: Arc<SigningKey>,
}

impl Cosigner {
    /// The key is derived from the seed of the consensus key.
    pub fn new(organisation: OrgId, consensus_seed: [u8; 32]) -> Self {
        Self { organisation, key: Arc::new(SigningKey::cosigner(consensus_seed)) }
    }

    /// The line under the checkpoint of a committed block; `None` where the node has no such block.
    pub(crate) fn line(&self, view: &View, height: u64) -> Result<Option<String>, ChainError> {
        let header = header(view, height)?;
        Ok(header.map(|h| checkpoint::cosign(&self.key, &self.organisation, &h)))
    }
}

/// The height that a request asks a cosignature for.
pub(crate) fn asked(request: &[u8]) -> Option<u64> {
    match request.split_first() {
        Some((&ASK, height)) => Some(u64::from_be_bytes(height.try_into().ok()?)),
        _ => None,
    }
}

fn header(view: &View, height: u64) -> Result<Option<Header>, ChainError> {
    let Some(bytes) = view.block_bytes(height)? else { return Ok(None) };
    let block = Block::from_canonical(&bytes).map_err(|e: CanonError| ChainError::Broken("block", e))?;
    Ok(Some(block.header))
}

/// The newest checkpoint that more than two thirds have cosigned: JSON of a [`CheckpointProof`].
#[derive(Clone, Default)]
pub struct Newest(Arc<RwLock<Vec<u8>>>);

impl Newest {
    /// Empty before the first.
    pub fn get(&self) -> Vec<u8> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Collects cosignatures whenever the log has grown, until shutdown.
pub async fn collect(kit: Kit, chain: Arc<Chain>, cosigner: Cosigner, newest: Newest) {
    let mut size = None;
    loop {
        tokio::select! {
            () = kit.shutdown.wait() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let found = tokio::select! {
            () = kit.shutdown.wait() => return,
            found = round(&kit, &chain, &cosigner, size) => found,
        };
        match found {
            Ok(None) => {}
            Ok(Some(proof)) => match serde_json::to_vec(&proof) {
                Ok(json) => {
                    size = Some(proof.header.log_size);
                    *newest.0.write().unwrap_or_else(PoisonError::into_inner) = json;
                }
                Err(error) => tracing::error!(%error, "a checkpoint could not be written down"),
            },
            Err(error) => tracing::error!(%error, "no checkpoint: the chain cannot be read"),
        }
    }
}

/// A checkpoint of the log as the newest block commits to it, if it is longer than `before` and enough members sign.
async fn round(
    kit: &Kit,
    chain: &Chain,
    cosigner: &Cosigner,
    before: Option<u64>,
) -> Result<Option<CheckpointProof>, ChainError> {
    let Some((header, members)) = newest_header(chain)?.filter(|(h, _)| Some(h.log_size) != before) else {
        return Ok(None);
    };
    let (text, height) = (checkpoint::text(&header), header.height);
    let need = committee::quorum(members.len());
    let ask = |member: Member| {
        let text = &text;
        async move {
            let line = if member.organisation == cosigner.organisation {
                cosigner.line(&chain.view().ok()?, height.0).ok()??
            } else {
                let subject = kit.subjects.at(&member.organisation).consensus_sync();
                let request = [&[ASK][..], &height.0.to_be_bytes()].concat();
                let answer = kit.bus.request(&subject, request, PATIENCE).await.ok()?;
                String::from_utf8(sync::answer(&answer)?.to_vec()).ok()?
            };
            // One bad line of a member's key would void the whole note.
            let alone = checkpoint::note(text, std::slice::from_ref(&line));
            let good = checkpoint::verify(&kit.common.organisation.channel, &[member], &alone).is_ok();
            good.then_some(line)
        }
    };
    let mut answers: FuturesUnordered<_> = members.into_iter().map(ask).collect();
    let mut lines = Vec::new();
    while lines.len() < need
        && let Some(answer) = answers.next().await
    {
        lines.extend(answer);
    }
    if lines.len() < need {
        tracing::debug!(height = height.0, have = lines.len(), need, "too few have cosigned the checkpoint");
        return Ok(None);
    }
    lines.sort();
    let view = chain.view()?;
    let genesis = view.ledger()?.genesis();
    let missing = || ChainError::Broken("certificate", CanonError::Truncated("certificate"));
    let certificate = view.certificate_bytes(height.0)?.ok_or_else(missing)?;
    Ok(Some(CheckpointProof {
        format: CHECKPOINT_FORMAT.to_owned(),
        genesis,
        note: checkpoint::note(&text, &lines),
        certificate: Canonical::from_canonical(&certificate)
            .map_err(|e| ChainError::Broken("certificate", e))?,
        validator_changes: view.changes_before(height)?,
        header,
    }))
}

/// The newest block's header and the members of its height.
fn newest_header(chain: &Chain) -> Result<Option<(Header, Vec<Member>)>, ChainError> {
    let view = chain.view()?;
    let ledger = view.ledger()?;
    let height = ledger.head().height;
    if height == Height(0) {
        return Ok(None);
    }
    let members = ledger.members_at(height)?;
    drop(ledger);
    Ok(header(&view, height.0)?.zip(members))
}
