//! Background work: what the handlers could not finish. Outbox rows are delivered until the ledger answers, expired
//! attestations are fetched again, spooled audit events are delivered, used-up nonces forgotten.

use crate::app::App;
use crate::commit::{self, Delivery, Draft, Prepared};
use crate::config::Acknowledge;
use crate::consent;
use crate::error::ApiError;
use crate::withdraw::withdraw;
use consilium_domain::tx::tx_id;
use consilium_domain::{Digest, Timestamp};
use consilium_store::sql::outbox::{Entry, Kind};
use consilium_store::sql::records::Status;
use std::sync::Arc;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(500);
const WAIT: Duration = Duration::from_secs(10);
/// Longest pause between two attempts of one row.
const BACKOFF_MS: u64 = 30_000;

/// Runs until shutdown.
pub async fn run(app: Arc<App>, shutdown: consilium_runtime::Shutdown) {
    let mut forget = 0u32;
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = app.wake.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
        app.drain_spool().await;
        let due = match app.outbox.due(app.now().0, 50).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                continue;
            }
        };
        for entry in due {
            if shutdown.triggered() {
                return;
            }
            if let Err(cause) = attempt(&app, &entry).await {
                tracing::warn!(%cause, attempts = entry.attempts, "an outbox row was not delivered");
            }
        }
        forget += 1;
        if forget >= 600 {
            forget = 0;
            if let Err(error) = app.seen.forget(app.now().0).await {
                tracing::warn!(%error, "expired nonces could not be removed");
            }
        }
    }
}

/// One attempt; whatever does not succeed is tried again later.
async fn attempt(app: &Arc<App>, entry: &Entry) -> Result<(), ApiError> {
    let pause = 1000u64.saturating_mul(1 << entry.attempts.min(5)).min(BACKOFF_MS);
    app.outbox.retry_at(&entry.key, app.now().0 + pause).await?;
    let Some(tx) = &entry.tx else { return again(app, entry).await };
    match entry.kind {
        Kind::Rekey => return follow(app, entry, tx).await,
        Kind::Erasure => return crate::erasure::deliver(app, entry, tx).await,
        Kind::Batch | Kind::Consent => {}
    }
    // It may be there already: this process or its predecessor was killed before it noted that.
    if let Some(committed) = app.peers.find(&tx_id(tx)).await?.committed {
        commit::note_committed(app, entry.key, entry.kind, committed).await?;
        return follow(app, entry, tx).await;
    }
    match commit::submit(app, entry.key, entry.kind, tx, WAIT).await? {
        Delivery::Committed => follow(app, entry, tx).await,
        Delivery::Pending => Ok(()),
        Delivery::Refused(code) => refused(app, entry, &code).await,
    }
}

/// Keys follow a consent that is on the ledger now.
async fn follow(app: &App, entry: &Entry, tx: &[u8]) -> Result<(), ApiError> {
    if entry.kind == Kind::Batch {
        return Ok(());
    }
    match consent::compartment_of(app, tx).await? {
        Some(compartment) => consent::follow(app, entry.key, &compartment).await,
        None => app.outbox.remove(&entry.key).await.map_err(ApiError::from),
    }
}

async fn refused(app: &App, entry: &Entry, code: &str) -> Result<(), ApiError> {
    let stale = matches!(code, "expired" | "wrong-epoch" | "unknown-schema" | "no-interop-proof");
    match entry.kind {
        Kind::Batch if stale => again(app, entry).await,
        // Whoever was told "stored" keeps the records: an operator decides what becomes of them.
        Kind::Batch if app.acknowledge == Acknowledge::Stored => {
            tracing::error!(code, "the ledger refuses an acknowledged batch: its records stay unproven");
            Ok(())
        }
        Kind::Batch => {
            tracing::error!(code, "the ledger refused a batch that was never acknowledged: removed");
            withdraw(app, &entry.key, code).await
        }
        Kind::Consent | Kind::Rekey | Kind::Erasure => {
            tracing::error!(code, "the ledger refused a consent change: the consent does not count");
            app.outbox.remove(&entry.key).await.map_err(ApiError::from)
        }
    }
}

/// Fetches attestations anew for a batch whose old ones are missing or can no longer enter a block.
async fn again(app: &App, entry: &Entry) -> Result<(), ApiError> {
    let rows = app.records.of_batch(&entry.key).await?;
    if rows.iter().any(|row| row.status == Status::Erased) {
        return crate::withdraw::regroup(app, &entry.key, &rows).await;
    }
    let mut prepared: Vec<Prepared> = Vec::with_capacity(rows.len());
    for row in rows {
        let (content, key) = app.open(&row).await?;
        let id = id_in(&content).ok_or_else(|| ApiError::internal("a stored resource has no id"))?;
        let draft = Draft {
            resource_type: row.resource_type.clone(),
            id,
            version: row.version,
            updated_ms: row.updated_ms,
            content,
        };
        prepared.push(commit::prepare_with(app, draft, key)?);
    }
    let digests: Vec<Digest> = prepared.iter().map(|p| p.commitment.digest()).collect();
    if commit::root_of(&digests) != entry.key {
        return Err(ApiError::internal("a stored batch no longer leads to its root"));
    }
    let (statement, proof) = commit::attest(app, entry.key, &prepared).await?;
    let expires = statement.expires.0;
    let tx = commit::sign_batch(app, statement, proof).await?;
    app.outbox.replace(&entry.key, &tx, expires).await?;
    app.outbox.retry_at(&entry.key, Timestamp(0).0).await?;
    app.wake.notify_one();
    Ok(())
}

fn id_in(content: &[u8]) -> Option<String> {
    let tape = consilium_fhir::Tape::parse(content, &consilium_fhir::Limits::default()).ok()?;
    crate::resource::id_of(tape.root())
}
