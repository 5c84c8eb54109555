//! What `consilium ledger` asks, and the page. Errors are JSON with a text that says what to do.

use super::{Carried, Committed, Deleted, Found, files, page, words};
use crate::http::App;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use consilium_contracts::v1::submit_response::Status;
use consilium_domain::receipt::{TRANSACTION_FORMAT, TransactionProof};
use consilium_domain::tx::{MAX_TX, Tx, tx_id};
use consilium_domain::{Canonical, Digest};
use serde::Deserialize;
use serde_json::{Value, json};

/// Blocks of one answer at most.
const MOST_BLOCKS: u64 = 200;
/// Longest state key.
const MAX_KEY: usize = 512;

/// Adds the ledger's addresses.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(MAX_TX))
        .route("/ledger", web::get().to(page::show))
        .route("/ledger/checkpoint", web::get().to(checkpoint))
        .route("/ledger/checkpoint.json", web::get().to(checkpoint_proof))
        .route("/ledger/tile/{name:.*}", web::get().to(tile))
        .route("/ledger/api/status", web::get().to(status))
        .route("/ledger/api/blocks", web::get().to(blocks))
        .route("/ledger/api/block/{height}", web::get().to(block))
        .route("/ledger/api/tx/{id}", web::get().to(tx))
        .route("/ledger/api/proof/{id}", web::get().to(proof))
        .route("/ledger/api/state", web::get().to(state))
        .route("/ledger/api/members", web::get().to(members))
        .route("/ledger/api/evidence", web::get().to(evidence))
        .route("/ledger/api/submit", web::post().to(submit));
}

fn problem(status: StatusCode, text: impl Into<String>) -> HttpResponse {
    HttpResponse::build(status).json(json!({"error": text.into()}))
}

/// JSON, or that the node cannot be asked.
fn shown(found: anyhow::Result<Value>) -> HttpResponse {
    match found {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(error) => unavailable(&error),
    }
}

fn unavailable(error: &anyhow::Error) -> HttpResponse {
    tracing::warn!(error = %format!("{error:#}"), "the ledger could not be shown");
    let text =
        format!("the organisation's consensus service gave no answer ({error:#}): look whether it runs");
    problem(StatusCode::SERVICE_UNAVAILABLE, text)
}

fn not_there(text: impl Into<String>) -> HttpResponse {
    problem(StatusCode::NOT_FOUND, text)
}

fn file(found: anyhow::Result<Option<HttpResponse>>, missing: &str) -> HttpResponse {
    match found {
        Ok(Some(answer)) => answer,
        Ok(None) => not_there(missing),
        Err(error) => unavailable(&error),
    }
}

const NO_CHECKPOINT: &str =
    "more than two thirds of the members have not cosigned a checkpoint yet: ask again in a few seconds";

async fn checkpoint(app: web::Data<App>) -> HttpResponse {
    file(files::checkpoint(&app.ledger, false).await, NO_CHECKPOINT)
}

async fn checkpoint_proof(app: web::Data<App>) -> HttpResponse {
    file(files::checkpoint(&app.ledger, true).await, NO_CHECKPOINT)
}

async fn tile(app: web::Data<App>, name: web::Path<String>) -> HttpResponse {
    let missing = "no such tile: the log is not that long, or this node does not keep blocks that old";
    file(files::tile(&app.ledger, &name).await, missing)
}

async fn status(app: web::Data<App>) -> HttpResponse {
    shown(status_of(&app).await)
}

async fn status_of(app: &App) -> anyhow::Result<Value> {
    let ledger = &app.ledger;
    let (head, members) = (ledger.head().await?, ledger.members().await?);
    let checkpoint = ledger.checkpoint().await?.map(|(_, c)| {
        // Text, empty line, one line per cosignature.
        let cosigners = c.note.lines().count().saturating_sub(4);
        json!({"size": c.header.log_size, "height": c.header.height, "cosignatures": cosigners})
    });
    let motions: Option<u64> = ledger.state(consilium_ledger::state::motions_key()).await?;
    let mut contradictions = 0;
    for member in &members {
        contradictions += ledger.evidence(&member.organisation).await?.0;
    }
    let time = consilium_domain::Timestamp(head.time_ms);
    Ok(json!({
        "organisation": app.organisation, "channel": ledger.genesis().channel,
        "genesis": ledger.genesis().digest(), "height": head.height, "time": time.to_instant(),
        "age_ms": u64::try_from(app.clock.now().since(time).as_millis())?,
        "staleness_ms": ledger.genesis().params.staleness_ms,
        "block": hex::encode(&head.block_id), "transactions": head.txs, "waiting": head.mempool,
        "syncing": head.syncing, "members": members.len(),
        "quorum": consilium_ledger::committee::quorum(members.len()),
        "motions": motions.unwrap_or(0), "evidence": contradictions, "checkpoint": checkpoint,
    }))
}

#[derive(Deserialize)]
struct Range {
    before: Option<u64>,
    limit: Option<u64>,
}

async fn blocks(app: web::Data<App>, range: web::Query<Range>) -> HttpResponse {
    let found = async {
        let before = match range.before {
            Some(before) => before,
            None => app.ledger.head().await?.height + 1,
        };
        let limit = range.limit.unwrap_or(20).min(MOST_BLOCKS);
        Ok(app.ledger.blocks(before, limit).await?.iter().map(summary).collect::<Value>())
    };
    shown(found.await)
}

fn summary(c: &Committed) -> Value {
    let header = &c.block.header;
    json!({
        "height": header.height, "time": header.time.to_instant(), "proposer": header.proposer,
        "round": c.certificate.round, "transactions": c.block.txs.len(),
        "signatures": c.certificate.signatures.len(), "id": header.id(),
    })
}

async fn block(app: web::Data<App>, height: web::Path<u64>) -> HttpResponse {
    match app.ledger.block(*height).await {
        Err(error) => unavailable(&error),
        Ok(None) => not_there(format!("there is no block {height} here: see `consilium ledger status`")),
        Ok(Some(c)) => {
            let txs: Vec<Value> = c.block.txs.iter().map(|bytes| transaction(bytes)).collect();
            let mut value = summary(&c);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("contents".to_owned(), Value::Array(txs));
                fields.insert("header".to_owned(), json!(c.block.header));
                fields.insert("certificate".to_owned(), json!(c.certificate));
            }
            HttpResponse::Ok().json(value)
        }
    }
}

fn transaction(bytes: &[u8]) -> Value {
    let id = tx_id(bytes);
    match Tx::from_canonical(bytes) {
        Ok(tx) => {
            let (kind, text) = words::transaction(&tx);
            json!({"id": id, "kind": kind, "sender": tx.unsigned.sender, "text": text, "bytes": bytes.len()})
        }
        Err(_) => json!({"id": id, "kind": "unknown", "bytes": bytes.len()}),
    }
}

/// The proof file of the transaction whose id a path names.
async fn find(app: &App, id: &str) -> Result<TransactionProof, HttpResponse> {
    let Some(id) = hex::decode(id).ok().and_then(|bytes| Digest::from_slice(&bytes)) else {
        let text =
            "a transaction id has 64 hexadecimal digits: `consilium ledger blocks` and a receipt name some";
        return Err(problem(StatusCode::BAD_REQUEST, text));
    };
    match app.ledger.find(&id).await {
        Err(error) if error.is::<Deleted>() => Err(problem(StatusCode::GONE, error.to_string())),
        Err(error) => Err(unavailable(&error)),
        Ok(None) => {
            let text =
                "no such transaction is committed as far as this node knows; it may be of another channel";
            Err(not_there(text))
        }
        Ok(Some(transaction)) => Ok(TransactionProof {
            format: TRANSACTION_FORMAT.to_owned(),
            genesis: app.ledger.genesis().digest(),
            transaction,
        }),
    }
}

async fn tx(app: web::Data<App>, id: web::Path<String>) -> HttpResponse {
    match find(&app, &id).await {
        Err(answer) => answer,
        Ok(p) => {
            let (header, place) = (&p.transaction.header, &p.transaction.inclusion);
            let mut value = transaction(&p.transaction.tx);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("height".to_owned(), json!(header.height));
                fields.insert("time".to_owned(), json!(header.time.to_instant()));
                // Its number in the log: those of the blocks before, and its place in its own.
                fields.insert("number".to_owned(), json!(header.log_size + place.index));
                let content = Tx::from_canonical(&p.transaction.tx).ok().map(|tx| json!(tx.unsigned.body));
                fields.insert("content".to_owned(), json!(content));
            }
            HttpResponse::Ok().json(value)
        }
    }
}

async fn proof(app: web::Data<App>, id: web::Path<String>) -> HttpResponse {
    match find(&app, &id).await {
        Err(answer) => answer,
        Ok(proof) => HttpResponse::Ok().json(proof),
    }
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

async fn state(app: web::Data<App>, key: web::Query<Key>) -> HttpResponse {
    if key.key.is_empty() || key.key.len() > MAX_KEY {
        return problem(StatusCode::BAD_REQUEST, format!("a state key has 1 to {MAX_KEY} octets"));
    }
    match app.ledger.prove(key.key.clone().into_bytes()).await {
        Ok(json) => HttpResponse::Ok().content_type("application/json").body(json),
        Err(error) => unavailable(&error),
    }
}

async fn members(app: web::Data<App>) -> HttpResponse {
    let found = async {
        let ledger = &app.ledger;
        let (members, sanctions) = (ledger.members().await?, ledger.sanctions().await?);
        let next = ledger.head().await?.height + 1;
        let mut list = Vec::new();
        for m in members {
            let (evidence, _) = ledger.evidence(&m.organisation).await?;
            let sanction = sanctions.iter().find(|s| s.organisation == m.organisation && s.until.0 > next);
            let mut value = serde_json::to_value(&m)?;
            if let Some(fields) = value.as_object_mut() {
                fields.insert("evidence".to_owned(), json!(evidence));
                fields.insert("suspended_until".to_owned(), json!(sanction.map(|s| s.until)));
            }
            list.push(value);
        }
        let history: Vec<Value> = ledger.history().await?.iter().map(carried).collect();
        let pending: Option<consilium_ledger::state::PendingMembers> =
            ledger.state(consilium_ledger::state::pending_key()).await?;
        let motions: Option<u64> = ledger.state(consilium_ledger::state::motions_key()).await?;
        Ok(json!({
            "members": list, "history": history, "motions": motions.unwrap_or(0), "height": next - 1,
            "change_from": pending.map(|p| p.from),
        }))
    };
    shown(found.await)
}

fn carried(c: &Carried) -> Value {
    let motion = &c.governance.motion;
    let approvals: Vec<_> = c.governance.approvals.iter().map(|a| &a.organisation).collect();
    json!({
        "height": c.height, "sequence": motion.sequence, "text": words::motion(motion), "approvals": approvals,
    })
}

async fn evidence(app: web::Data<App>) -> HttpResponse {
    let found = async {
        let mut list = Vec::new();
        for member in app.ledger.members().await? {
            list.extend(app.ledger.evidence(&member.organisation).await?.1.iter().map(piece));
        }
        Ok(Value::Array(list))
    };
    shown(found.await)
}

fn piece(found: &Found) -> Value {
    json!({
        "organisation": found.organisation, "about": found.about, "reporter": found.record.reporter,
        "height": found.record.height, "tx": found.record.tx,
    })
}

/// A transaction that somebody has signed elsewhere, e.g. a motion with the officers' approvals. Octets, so that no
/// other site's form can send one with the officer's sign-in.
async fn submit(app: web::Data<App>, request: HttpRequest, tx: web::Bytes) -> HttpResponse {
    if actix_web::HttpMessage::content_type(&request) != "application/octet-stream" {
        return problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the transaction as application/octet-stream",
        );
    }
    let id = tx_id(&tx);
    match app.ledger.submit(tx.to_vec()).await {
        Err(error) => unavailable(&error),
        Ok(answer) => match answer.status() {
            Status::Committed => HttpResponse::Ok().json(json!({"status": "committed", "id": id})),
            Status::Pending => HttpResponse::Accepted().json(json!({"status": "pending", "id": id})),
            Status::Refused => {
                let failure = answer.failure.unwrap_or_default();
                let text = format!("the ledger refused it: {}", failure.text);
                HttpResponse::UnprocessableEntity().json(json!({"error": text, "code": failure.code}))
            }
        },
    }
}
