//! Checkpoints of the log onto the ledger, each with the proof that it extends the one before.

use crate::log::Log;
use consilium_contracts::v1::{CommittedTx, SubmitRequest, SubmitResponse, submit_response::Status};
use consilium_domain::genesis::Genesis;
use consilium_domain::receipt::TxProof;
use consilium_domain::tx::{AuditAnchor, TxBody, UnsignedTx};
use consilium_domain::{Canonical, Digest};
use consilium_ledger::SigningKey;
use consilium_ledger::receipt::verify_tx_proof;
use consilium_runtime::Kit;
use std::sync::Arc;
use std::time::Duration;

pub struct Anchors {
    kit: Kit,
    log: Arc<Log>,
    key: SigningKey,
    genesis: Genesis,
}

impl Anchors {
    pub fn new(kit: Kit, log: Arc<Log>, key: SigningKey, genesis: Genesis) -> Self {
        Self { kit, log, key, genesis }
    }

    /// Anchors what is new, every `interval`, until shutdown.
    pub async fn run(self, interval: Duration) {
        loop {
            tokio::select! {
                () = self.kit.shutdown.wait() => return,
                () = tokio::time::sleep(interval) => {}
            }
            // Logged and tried again: the ledger may be away for a while, the log goes on.
            if let Err(e) = self.advance().await {
                tracing::warn!(error = %format!("{e:#}"), "the checkpoint is not on the ledger yet");
            }
        }
    }

    pub(crate) async fn advance(&self) -> anyhow::Result<()> {
        let (base, base_root) = match self.log.store.newest_anchor().await? {
            Some(a) => (a.size, a.root),
            None => (0, consilium_domain::merkle::root(&[])),
        };
        // One that was sent before and not heard of since goes first: it may be on the ledger already.
        if let Some(open) = self.log.store.anchors(base + 1, 1).await?.into_iter().next() {
            return self.submit(open.size, &open.root, open.tx).await;
        }
        let size = self.log.store.size().await?;
        if size == base {
            return Ok(());
        }
        if self.log.root(base).await? != base_root {
            anyhow::bail!(
                "the log no longer extends the checkpoint anchored at {base} events: it was altered"
            );
        }
        let root = self.log.root(size).await?;
        let consistency = self.log.consistency(base, size).await?.unwrap_or_default();
        let unsigned = UnsignedTx {
            sender: self.kit.common.organisation.name.clone(),
            body: TxBody::AuditAnchor(AuditAnchor { size, root, consistency }),
        };
        let tx = self.key.sign_tx(&self.genesis.channel, unsigned).to_canonical();
        self.log.store.put_anchor(size, &root, &tx).await?;
        self.submit(size, &root, tx).await
    }

    async fn submit(&self, size: u64, root: &Digest, tx: Vec<u8>) -> anyhow::Result<()> {
        let request = SubmitRequest { tx: tx.clone(), wait_ms: 5000 };
        let subject = self.kit.subjects.consensus_submit();
        let answer: SubmitResponse =
            self.kit.bus.request_message(&subject, &request, Duration::from_secs(8)).await?;
        match (answer.status(), answer.committed) {
            (Status::Committed, Some(committed)) => {
                let proof = self.checked(committed, size, root, &tx)?;
                let height = proof.header.height.0;
                self.log.store.commit_anchor(size, height, &serde_json::to_vec(&proof)?).await?;
                tracing::debug!(size, height, "the checkpoint is anchored");
                Ok(())
            }
            (Status::Refused, _) => {
                self.log.store.drop_anchor(size).await?;
                let text = answer.failure.map(|f| f.text).unwrap_or_default();
                anyhow::bail!("the ledger refused the checkpoint: {text}")
            }
            _ => anyhow::bail!("the ledger has not committed the checkpoint yet"),
        }
    }

    /// The node's word is not enough: what is kept must convince a stranger.
    fn checked(
        &self,
        committed: CommittedTx,
        size: u64,
        root: &Digest,
        tx: &[u8],
    ) -> anyhow::Result<TxProof> {
        let proof = TxProof::try_from(committed)?;
        let verified = verify_tx_proof(&self.genesis, &proof)?;
        let fits =
            matches!(&verified.tx.unsigned.body, TxBody::AuditAnchor(a) if a.size == size && a.root == *root);
        if !fits || proof.tx != tx {
            anyhow::bail!("the node answered with the proof of another transaction");
        }
        Ok(proof)
    }
}
