//! Crypto-shredding on this side: records destroyed one by one, the rows of classes whose keys officers destroyed, and
//! the ledger, which is told what was destroyed, when and by whom, and not whose.

use crate::app::App;
use crate::commit::{self, Delivery};
use crate::error::ApiError;
use consilium_contracts::v1::ErasedResponse;
use consilium_domain::canon::{Canonical, Decoder, Encoder};
use consilium_domain::tx::{ErasedKind, Erasure, ErasureGround, Tx, TxBody, UnsignedTx, tx_id};
use consilium_domain::{Digest, Timestamp};
use consilium_ledger::state::{ErasureRecord, erasure_key};
use consilium_store::sql::outbox::{Entry, Kind, NewEntry};
use std::sync::Arc;
use std::time::Duration;

/// Between two questions to the keys service whether officers have destroyed classes.
const PAUSE: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_secs(10);

/// The erasure of a record's versions: what is shown to whom it concerns. Its digest goes to the ledger.
pub fn record_of(
    app: &App,
    (by, at): (&str, Timestamp),
    ground: ErasureGround,
    commitments: &[Digest],
    salt: &[u8; 32],
) -> Vec<u8> {
    let mut salted = Encoder::default();
    salted.fixed(salt).list(commitments);
    let mut out = Encoder::default();
    out.str("consilium/v1/record erasure").value(&app.channel).value(&app.organisation);
    out.value(&ground).value(&at).str(by).u32(u32::try_from(commitments.len()).unwrap_or(u32::MAX));
    out.value(&Digest::sha256(&[&salted.into_bytes()])).fixed(salt);
    out.into_bytes()
}

/// The outbox row that tells the ledger.
pub fn entry(
    app: &App,
    (kind, ground): (ErasedKind, ErasureGround),
    count: usize,
    record: Digest,
) -> NewEntry {
    // The number is known when it is sent: the ledger counts them.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let tx = sign(app, Erasure { sequence: 0, kind, ground, count, record });
    NewEntry { key: record, kind: Kind::Erasure, tx: Some(tx), expires: 0, next_ms: app.now().0 }
}

fn sign(app: &App, erasure: Erasure) -> Vec<u8> {
    let unsigned = UnsignedTx { sender: app.organisation.clone(), body: TxBody::Erasure(erasure) };
    app.key.sign_tx(&app.channel, unsigned).to_canonical()
}

/// One attempt to bring an erasure to the ledger. Exactly one transaction gets there: the numbered one is kept before
/// it is sent, and it is numbered anew only when its number belongs to another.
pub async fn deliver(app: &App, waiting: &Entry, tx: &[u8]) -> Result<(), ApiError> {
    let found = app.peers.find(&tx_id(tx)).await?;
    // The block may be gone; the erasure is on the ledger all the same.
    if found.committed.is_some() || found.failure.is_some_and(|f| f.code == "deleted") {
        return app.outbox.remove(&waiting.key).await.map_err(ApiError::from);
    }
    let decoded = Tx::from_canonical(tx).map_err(ApiError::internal)?;
    let TxBody::Erasure(erasure) = decoded.unsigned.body else {
        return Err(ApiError::internal("an erasure's row holds another transaction"));
    };
    let state = app.peers.state(&erasure_key(&app.organisation)).await?;
    if let Some(failure) = state.failure {
        tracing::warn!(code = failure.code, "the ledger node cannot read its state");
        return Err(ApiError::unavailable("the ledger node cannot read its state"));
    }
    let last = match state.has_value {
        true => ErasureRecord::from_canonical(&state.value).map_err(ApiError::internal)?.sequence,
        false => 0,
    };
    let numbered = if erasure.sequence == last.saturating_add(1) {
        tx.to_vec()
    } else {
        let tx = sign(app, Erasure { sequence: last.saturating_add(1), ..erasure });
        app.outbox.replace(&waiting.key, &tx, 0).await?;
        tx
    };
    match commit::submit(app, waiting.key, Kind::Erasure, &numbered, WAIT).await? {
        Delivery::Committed | Delivery::Pending => Ok(()),
        Delivery::Refused(code) => {
            // Another replica's erasure took the number; the next attempt takes another.
            tracing::warn!(code, "the ledger did not take an erasure yet");
            app.wake.notify_one();
            Ok(())
        }
    }
}

/// Asks until shutdown. What this process remembers of class keys counts only while it is answered.
pub async fn run(app: Arc<App>, shutdown: consilium_runtime::Shutdown) {
    let mut after = 0;
    loop {
        let asked = app.clock.monotonic();
        match app.peers.erased(after).await {
            Ok(answer) if answer.sequence == 0 => app.classes.confirm(asked),
            Ok(answer) => match follow(&app, &answer).await {
                Ok(()) => {
                    after = answer.sequence;
                    continue;
                }
                Err(cause) => tracing::warn!(%cause, "the rows of destroyed classes are not destroyed yet"),
            },
            Err(cause) => tracing::debug!(%cause, "the keys service does not say what was destroyed"),
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Officers destroyed classes: their keys leave memory, what was sealed under them leaves the store, and the ledger is
/// told, once however often this is called.
pub async fn follow(app: &App, answer: &ErasedResponse) -> Result<(), ApiError> {
    for class in &answer.class_ids {
        app.classes.forget(class);
    }
    let octet = u8::try_from(answer.ground).map_err(ApiError::internal)?;
    let ground = ErasureGround::decode(&mut Decoder::new(&[octet])).map_err(ApiError::internal)?;
    let record = Digest::from_slice(&answer.record)
        .ok_or_else(|| ApiError::internal("the digest of an erasure is not 32 bytes long"))?;
    let entry = entry(app, (ErasedKind::ClassKey, ground), answer.class_ids.len(), record);
    let once = app.blind.once("erasure", "keys", &record.to_string());
    if app.records.erase_classes(&once, &answer.class_ids, &entry).await? {
        tracing::info!(classes = answer.class_ids.len(), "records of destroyed classes were destroyed");
        app.wake.notify_one();
    }
    Ok(())
}
