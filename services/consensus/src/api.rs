//! The service's own organisation asks here (`proto/consilium/v1/consensus.proto`).

use crate::admission::Arrival;
use crate::chain::{Chain, ChainError};
use crate::cosign::Newest;
use crate::fresh;
use crate::log as files;
use crate::mempool::{Fate, Pool};
use crate::node::Shared;
use crate::prune::DELETED;
use consilium_contracts::v1::submit_response::Status;
use consilium_contracts::v1::{
    BlockRequest, BlockResponse, CheckpointRequest, CheckpointResponse, CommittedTx, Failure, FindRequest,
    FindResponse, HeadRequest, HeadResponse, StateRequest, StateResponse, SubmitRequest, SubmitResponse,
    TileRequest, TileResponse,
};
use consilium_domain::Digest;
use consilium_domain::receipt::HexBytes;
use consilium_runtime::Kit;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests answered at a time, per verb. Submissions wait for their block.
const CONCURRENCY: usize = 64;
const SUBMISSIONS: usize = 4096;
/// Longest wait for a commit.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    pub chain: Arc<Chain>,
    pub shared: Arc<Shared>,
    pub pool: Arc<Pool>,
    pub kit: Kit,
    /// The mempool's door.
    pub door: SyncSender<Arrival>,
    /// The newest cosigned checkpoint.
    pub checkpoint: Newest,
}

impl Api {
    /// Answers until shutdown.
    pub async fn serve(self, kit: &Kit) -> anyhow::Result<()> {
        let (bus, subjects) = (&kit.bus, &kit.subjects);
        let api = self.clone();
        bus.serve_messages(&subjects.consensus_submit(), None, SUBMISSIONS, move |request| {
            let api = api.clone();
            async move { api.submit(request).await }
        })
        .await?;
        let api = self.clone();
        bus.serve_messages(&subjects.consensus_find(), None, CONCURRENCY, move |request| {
            let api = api.clone();
            async move { api.find(&request) }
        })
        .await?;
        let api = self.clone();
        bus.serve_messages(&subjects.consensus_state(), None, CONCURRENCY, move |request| {
            let api = api.clone();
            async move { api.state(&request).await }
        })
        .await?;
        let api = self.clone();
        bus.serve_messages(&subjects.consensus_head(), None, CONCURRENCY, move |_: HeadRequest| {
            let api = api.clone();
            async move { api.head() }
        })
        .await?;
        let api = self.clone();
        bus.serve_messages(&subjects.consensus_block(), None, CONCURRENCY, move |request| {
            let api = api.clone();
            async move { api.block(&request) }
        })
        .await?;
        let newest = self.checkpoint.clone();
        bus.serve_messages(
            &subjects.consensus_checkpoint(),
            None,
            CONCURRENCY,
            move |_: CheckpointRequest| {
                let newest = newest.clone();
                async move { CheckpointResponse { proof: newest.get() } }
            },
        )
        .await?;
        bus.serve_messages(&subjects.consensus_tile(), None, CONCURRENCY, move |request| {
            let api = self.clone();
            async move { api.tile(&request) }
        })
        .await?;
        Ok(())
    }

    /// Answers when the transaction is committed or refused, or when the wait is over: then it may still be
    /// committed later, and submitting it again is harmless.
    pub async fn submit(&self, request: SubmitRequest) -> SubmitResponse {
        let (answer, fate) = oneshot::channel();
        if self.door.try_send(Arrival::Submit { tx: request.tx, answer }).is_err() {
            return refused("busy", "the node is busy: try again later");
        }
        let wait = Duration::from_millis(u64::from(request.wait_ms)).min(LONGEST_WAIT);
        match tokio::time::timeout(wait, fate).await {
            Ok(Ok(Fate::Committed(proof))) => SubmitResponse {
                status: Status::Committed.into(),
                committed: Some(CommittedTx::from(&*proof)),
                failure: None,
            },
            Ok(Ok(Fate::Refused { code, text })) => refused(code, &text),
            Ok(Err(_)) => refused("unavailable", "the node is stopping"),
            Err(_) => SubmitResponse { status: Status::Pending.into(), committed: None, failure: None },
        }
    }

    pub fn find(&self, request: &FindRequest) -> FindResponse {
        let read = |id: Digest| {
            let view = self.chain.view()?;
            let proof = view.find(&id)?;
            let place = if proof.is_none() { view.place(&id)? } else { None };
            Ok::<_, ChainError>((proof, place))
        };
        match Digest::from_slice(&request.tx_id).map(read) {
            None => FindResponse::default(),
            Some(Ok((proof, place))) => FindResponse {
                committed: proof.as_ref().map(CommittedTx::from),
                failure: place
                    .map(|(height, _)| Failure::new("deleted", format!("block {height}: {DELETED}"))),
            },
            Some(Err(error)) => {
                log(&error);
                FindResponse::default()
            }
        }
    }

    pub async fn state(&self, request: &StateRequest) -> StateResponse {
        if request.current && !fresh::wait(&self.kit, &self.chain, &self.shared).await {
            let failure =
                Some(Failure::new("unavailable", "the newest state of the ledger cannot be made sure of"));
            return StateResponse { failure, ..StateResponse::default() };
        }
        if request.prove {
            return self.proven(&request.key);
        }
        let read = || {
            let view = self.chain.view()?;
            let ledger = view.ledger()?;
            let value = ledger.get(&request.key)?;
            Ok::<_, ChainError>((value, ledger.head().height.0, ledger.head().time.0))
        };
        match read() {
            Ok((value, height, time_ms)) => StateResponse {
                has_value: value.is_some(),
                value: value.unwrap_or_default(),
                height,
                time_ms,
                ..StateResponse::default()
            },
            Err(error) => {
                log(&error);
                let failure = Some(Failure::new("internal", "the state cannot be read"));
                StateResponse { failure, ..StateResponse::default() }
            }
        }
    }

    /// The state before the newest block, which is the newest that a certified header has the root of.
    fn proven(&self, key: &[u8]) -> StateResponse {
        let read = || {
            let view = self.chain.view()?;
            let proof = files::state_proof(&view, key)?;
            Ok::<_, ChainError>(proof)
        };
        match read() {
            Ok(Some(proof)) => StateResponse {
                has_value: proof.value.is_some(),
                value: proof.value.clone().unwrap_or_else(|| HexBytes(Vec::new())).0,
                height: proof.header.height.previous().0,
                time_ms: proof.header.time.0,
                failure: None,
                proof: serde_json::to_vec(&proof).unwrap_or_default(),
            },
            Ok(None) => {
                let text = "there is no block yet, and so no proof: try again in a moment";
                StateResponse { failure: Some(Failure::new("too-early", text)), ..StateResponse::default() }
            }
            Err(error) => {
                log(&error);
                let failure = Some(Failure::new("internal", "the state cannot be proven"));
                StateResponse { failure, ..StateResponse::default() }
            }
        }
    }

    fn tile(&self, request: &TileRequest) -> TileResponse {
        let (level, index, width) = (request.level, request.index, u64::from(request.width));
        let found = self.chain.view().and_then(|view| {
            if request.entries {
                files::entries(&view, index, width)
            } else {
                files::tile(&view, level, index, width)
            }
        });
        let tile = found.unwrap_or_else(|error| {
            log(&error);
            None
        });
        TileResponse { tile: tile.unwrap_or_default() }
    }

    pub fn head(&self) -> HeadResponse {
        let view = self.chain.view();
        match view.as_ref().map_err(ToString::to_string).and_then(|v| v.ledger().map_err(|e| e.to_string())) {
            Ok(ledger) => HeadResponse {
                height: ledger.head().height.0,
                time_ms: ledger.head().time.0,
                block_id: ledger.head().block.0.to_vec(),
                txs: ledger.log_size(),
                mempool: u32::try_from(self.pool.lock().len()).unwrap_or(u32::MAX),
                syncing: self.shared.syncing.load(Ordering::Relaxed),
                genesis: ledger.genesis().0.to_vec(),
            },
            Err(error) => {
                tracing::error!(error, "the chain cannot be read");
                // Height 0 at time 0 is as stale as can be: whoever needs a fresh ledger refuses.
                HeadResponse { syncing: true, ..HeadResponse::default() }
            }
        }
    }

    pub fn block(&self, request: &BlockRequest) -> BlockResponse {
        let read = || {
            let view = self.chain.view()?;
            let block = view.block_bytes(request.height)?;
            Ok::<_, ChainError>(block.zip(view.certificate_bytes(request.height)?))
        };
        match read() {
            Ok(found) => {
                let (block, certificate) = found.unwrap_or_default();
                BlockResponse { block, certificate }
            }
            Err(error) => {
                log(&error);
                BlockResponse::default()
            }
        }
    }
}

fn log(error: &ChainError) {
    tracing::error!(%error, "the chain cannot be read");
}

fn refused(code: &str, text: &str) -> SubmitResponse {
    let failure = Some(Failure::new(code, text));
    SubmitResponse { status: Status::Refused.into(), committed: None, failure }
}
