//! The consortium's ledger as the own node shows it: for the dashboard's page, for `consilium ledger`, and as files for
//! monitors of transparency logs.

mod files;
mod http;
mod page;
mod words;

pub use http::routes;

use anyhow::{Context, bail};
use consilium_contracts::v1::{
    BlockRequest, BlockResponse, CheckpointRequest, CheckpointResponse, FindRequest, FindResponse,
    HeadRequest, HeadResponse, StateRequest, StateResponse, SubmitRequest, SubmitResponse, TileRequest,
    TileResponse,
};
use consilium_domain::block::{Block, CommitCertificate};
use consilium_domain::genesis::{Genesis, Member};
use consilium_domain::governance::{Governance, Sanction};
use consilium_domain::receipt::{CheckpointProof, TxProof};
use consilium_domain::tx::{Tx, TxBody};
use consilium_domain::{Canonical, Digest, Height, OrgId};
use consilium_ledger::state::{self, EvidenceHead, EvidenceRecord};
use consilium_runtime::Kit;
use std::time::Duration;

/// Patience with the own node, which may be executing blocks.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for a submitted transaction's block.
const WAIT: Duration = Duration::from_secs(20);
/// Pieces of evidence listed per member.
const LISTED: usize = 100;

/// Asks the own node. Its word is taken for what is shown; what leaves as a proof verifies by itself.
pub struct Ledger {
    kit: Kit,
    genesis: Genesis,
}

/// A transaction whose block the node no longer has; the text is for the reader.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Deleted(String);

/// A block with its certificate.
pub struct Committed {
    pub block: Block,
    pub certificate: CommitCertificate,
}

/// A member that signed two contradicting steps.
pub struct Found {
    pub organisation: OrgId,
    /// Height that it is about.
    pub about: Height,
    pub record: EvidenceRecord,
}

/// A motion that was carried and changed the members.
pub struct Carried {
    /// Block that holds it.
    pub height: Height,
    pub governance: Governance,
}

impl Ledger {
    pub fn new(kit: Kit, genesis: Genesis) -> Self {
        Self { kit, genesis }
    }

    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    pub async fn head(&self) -> anyhow::Result<HeadResponse> {
        let subject = self.kit.subjects.consensus_head();
        Ok(self.kit.bus.request_message(&subject, &HeadRequest {}, PATIENCE).await?)
    }

    async fn answer(&self, key: Vec<u8>, prove: bool) -> anyhow::Result<StateResponse> {
        let subject = self.kit.subjects.consensus_state();
        let request = StateRequest { key, current: false, prove };
        let answer: StateResponse = self.kit.bus.request_message(&subject, &request, PATIENCE).await?;
        if let Some(failure) = &answer.failure {
            bail!("{}", failure.text);
        }
        Ok(answer)
    }

    /// The value of a state key.
    pub async fn state<T: Canonical>(&self, key: Vec<u8>) -> anyhow::Result<Option<T>> {
        let answer = self.answer(key, false).await?;
        let value = answer.has_value.then(|| T::from_canonical(&answer.value)).transpose();
        value.context("the node's state is of another version")
    }

    /// JSON of the proof of a state key, or of its absence.
    pub async fn prove(&self, key: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        Ok(self.answer(key, true).await?.proof)
    }

    pub async fn block(&self, height: u64) -> anyhow::Result<Option<Committed>> {
        let subject = self.kit.subjects.consensus_block();
        let answer: BlockResponse =
            self.kit.bus.request_message(&subject, &BlockRequest { height }, PATIENCE).await?;
        if answer.block.is_empty() {
            return Ok(None);
        }
        Ok(Some(Committed {
            block: Block::from_canonical(&answer.block)?,
            certificate: CommitCertificate::from_canonical(&answer.certificate)?,
        }))
    }

    /// The newest `count` blocks below `before`, newest first.
    pub async fn blocks(&self, before: u64, count: u64) -> anyhow::Result<Vec<Committed>> {
        let mut out = Vec::new();
        for height in (before.saturating_sub(count).max(1)..before).rev() {
            out.extend(self.block(height).await?);
        }
        Ok(out)
    }

    pub async fn find(&self, id: &Digest) -> anyhow::Result<Option<TxProof>> {
        let subject = self.kit.subjects.consensus_find();
        let request = FindRequest { tx_id: id.0.to_vec() };
        let answer: FindResponse = self.kit.bus.request_message(&subject, &request, PATIENCE).await?;
        if let Some(failure) = answer.failure {
            return Err(Deleted(failure.text).into());
        }
        Ok(answer.committed.map(TxProof::try_from).transpose()?)
    }

    /// The members of the next block.
    pub async fn members(&self) -> anyhow::Result<Vec<Member>> {
        self.state(state::members_key()).await?.context("the node has no members")
    }

    pub async fn sanctions(&self) -> anyhow::Result<Vec<Sanction>> {
        Ok(self.state(state::sanctions_key()).await?.unwrap_or_default())
    }

    /// Evidence against an organisation, the last reported first.
    pub async fn evidence(&self, organisation: &OrgId) -> anyhow::Result<(u64, Vec<Found>)> {
        let head: EvidenceHead = self.state(state::evidence_key(organisation)).await?.unwrap_or_default();
        let (mut out, mut at) = (Vec::new(), head.newest);
        while at > Height(0) && out.len() < LISTED {
            let key = state::evidence_at_key(organisation, at);
            let record: EvidenceRecord = self.state(key).await?.context("a piece of evidence is missing")?;
            let about = std::mem::replace(&mut at, record.previous);
            out.push(Found { organisation: organisation.clone(), about, record });
        }
        Ok((head.count, out))
    }

    /// Motions that changed the members, the last one first. Blocks that the node no longer has are passed over.
    pub async fn history(&self) -> anyhow::Result<Vec<Carried>> {
        let announced: Vec<Height> = self.state(state::changes_key()).await?.unwrap_or_default();
        let mut out = Vec::new();
        for height in announced.into_iter().rev().take(LISTED) {
            // The header after the motion's block announces what it changed.
            let Some(committed) = self.block(height.previous().0).await? else { continue };
            for tx in committed.block.txs.iter().filter_map(|bytes| Tx::from_canonical(bytes).ok()) {
                if let TxBody::Governance(governance) = tx.unsigned.body {
                    out.push(Carried { height: height.previous(), governance });
                }
            }
        }
        Ok(out)
    }

    /// JSON of the newest cosigned checkpoint, and what it says.
    pub async fn checkpoint(&self) -> anyhow::Result<Option<(Vec<u8>, CheckpointProof)>> {
        let subject = self.kit.subjects.consensus_checkpoint();
        let answer: CheckpointResponse =
            self.kit.bus.request_message(&subject, &CheckpointRequest {}, PATIENCE).await?;
        if answer.proof.is_empty() {
            return Ok(None);
        }
        let proof = serde_json::from_slice(&answer.proof)?;
        Ok(Some((answer.proof, proof)))
    }

    /// Empty: the log is not that long, or the node no longer has it.
    pub async fn tile(&self, request: &TileRequest) -> anyhow::Result<Vec<u8>> {
        let subject = self.kit.subjects.consensus_tile();
        let answer: TileResponse = self.kit.bus.request_message(&subject, request, PATIENCE).await?;
        Ok(answer.tile)
    }

    pub async fn submit(&self, tx: Vec<u8>) -> anyhow::Result<SubmitResponse> {
        let subject = self.kit.subjects.consensus_submit();
        let wait_ms = u32::try_from(WAIT.as_millis())?;
        let request = SubmitRequest { tx, wait_ms };
        Ok(self.kit.bus.request_message(&subject, &request, WAIT + PATIENCE).await?)
    }
}
