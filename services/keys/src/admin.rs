//! The door for `consilium keys`: JSON over HTTP on an address of the own host.
//!
//! It gives nothing away and trusts nobody: what changes anything carries officers' signatures, and the
//! passphrase proves itself. Whoever reaches the port can at most ask, and that not often.

use crate::epoch;
use crate::error::KeysError;
use crate::limit::Limit;
use crate::motion::Motion;
use crate::office::{Action, Office};
use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, bail};
use consilium_domain::{ChannelId, Clock, OrgId, Signature};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

/// Requests a minute that may change something.
const PER_MINUTE: u32 = 60;
const MAX_BODY: usize = 1024 * 1024;

/// A passphrase, and where to say whether it opened the vault.
pub(crate) type Attempt = (Zeroizing<String>, oneshot::Sender<Result<(), String>>);

/// What the door leads to.
pub(crate) struct Desk {
    channel: ChannelId,
    organisation: OrgId,
    clock: Arc<dyn Clock>,
    method: &'static str,
    unseal: mpsc::Sender<Attempt>,
    /// Nothing while the vault is sealed.
    office: RwLock<Option<Arc<Office>>>,
    limit: Mutex<Limit>,
}

impl Desk {
    pub(crate) fn new(
        (channel, organisation): (ChannelId, OrgId),
        clock: Arc<dyn Clock>,
        method: &'static str,
        unseal: mpsc::Sender<Attempt>,
    ) -> Self {
        let limit = Mutex::new(Limit::new(PER_MINUTE));
        Self { channel, organisation, clock, method, unseal, office: RwLock::default(), limit }
    }

    pub(crate) fn open(&self, office: Arc<Office>) {
        *self.office.write().unwrap_or_else(PoisonError::into_inner) = Some(office);
    }

    fn office(&self) -> Result<Arc<Office>, KeysError> {
        let office = self.office.read().unwrap_or_else(PoisonError::into_inner).clone();
        office.ok_or_else(|| KeysError::Refused("the vault is sealed (`consilium keys unseal`)".to_owned()))
    }

    fn allowed(&self) -> Result<(), KeysError> {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if limit.take("admin", self.clock.monotonic()) { Ok(()) } else { Err(KeysError::RateLimited) }
    }
}

/// Binds the door; only an address of the own host.
pub(crate) fn server(listen: SocketAddr, desk: Arc<Desk>) -> anyhow::Result<Server> {
    if !listen.ip().is_loopback() {
        bail!("`admin.listen` must be an address of the own host, e.g. 127.0.0.1:9091");
    }
    let desk = web::Data::from(desk);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(desk.clone())
            .app_data(web::JsonConfig::default().limit(MAX_BODY))
            .route("/v1/status", web::get().to(status))
            .route("/v1/unseal", web::post().to(unseal))
            .route("/v1/challenges", web::post().to(challenge))
            .route("/v1/motions", web::get().to(motions))
            .route("/v1/motions", web::post().to(propose))
            .route("/v1/motions/{id}/approvals", web::post().to(approve))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .bind(listen)
    .with_context(|| format!("cannot listen on `admin.listen` {listen}"))?
    .run();
    Ok(server)
}

fn told(outcome: Result<Value, KeysError>) -> HttpResponse {
    match outcome {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(error) => {
            // The operator is told what an ingest would not be: she has to mend it.
            let body = json!({"code": error.code(), "error": error.to_string()});
            match error.code() {
                "not-found" => HttpResponse::NotFound().json(body),
                "denied" | "refused" => HttpResponse::Forbidden().json(body),
                "rate-limited" => HttpResponse::TooManyRequests().json(body),
                "unavailable" => HttpResponse::ServiceUnavailable().json(body),
                _ => HttpResponse::BadRequest().json(body),
            }
        }
    }
}

async fn status(desk: web::Data<Desk>) -> HttpResponse {
    let mut value = json!({
        "channel": desk.channel,
        "organisation": desk.organisation,
        "sealed": true,
        "seal": desk.method,
    });
    if let (Ok(office), Some(value)) = (desk.office(), value.as_object_mut()) {
        let names: Vec<String> = office.officers().into_iter().map(|officer| officer.name).collect();
        let (withdrawn, registered) = office.worker.people().counts();
        let now = desk.clock.now();
        value.insert("sealed".to_owned(), json!(false));
        value.insert("seal".to_owned(), json!(office.method()));
        let post_quantum = office.worker.post_quantum();
        value.insert("post_quantum_lock".to_owned(), json!(post_quantum.is_on()));
        value.insert("post_quantum_key".to_owned(), json!(hex::encode(post_quantum.public_key())));
        let authority = office.worker.authority();
        value.insert("authority_key".to_owned(), json!(authority.listed().map(hex::encode)));
        let held = authority.is_listed(&mut office.worker.entropy().rng());
        value.insert("authority_key_held".to_owned(), json!(held));
        value.insert("attribute_epoch".to_owned(), json!(epoch::week(now)));
        value.insert("officers".to_owned(), json!(names));
        value.insert("motions".to_owned(), json!(office.motions.waiting(now).len()));
        value.insert("withdrawn".to_owned(), json!(withdrawn));
        value.insert("registered".to_owned(), json!(registered));
    }
    HttpResponse::Ok().json(value)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unseal {
    passphrase: String,
}

async fn unseal(desk: web::Data<Desk>, body: web::Json<Unseal>) -> HttpResponse {
    let passphrase = Zeroizing::new(body.into_inner().passphrase);
    let attempt = async {
        desk.allowed()?;
        if desk.office().is_ok() {
            return Ok(json!({"sealed": false}));
        }
        let (reply, answer) = oneshot::channel();
        desk.unseal.send((passphrase, reply)).await.map_err(|_| KeysError::Interrupted)?;
        match answer.await {
            Ok(Ok(())) => Ok(json!({"sealed": false})),
            Ok(Err(reason)) => Err(KeysError::Refused(reason)),
            Err(_) => Err(KeysError::Interrupted),
        }
    };
    told(attempt.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Challenge {}

async fn challenge(desk: web::Data<Desk>, _body: web::Json<Challenge>) -> HttpResponse {
    told(desk.allowed().and_then(|()| desk.office()).map(|office| {
        let worker = &office.worker;
        let (now, week) = (worker.clock().monotonic(), epoch::week(worker.clock().now()));
        let (authority, rng) = (worker.authority().name(), &mut worker.entropy().rng());
        let challenge = worker.people().challenge(desk.channel.as_str(), authority, &week, now, rng);
        json!({
            "channel": challenge.channel,
            "authority": challenge.authority.as_str(),
            "epoch": challenge.epoch,
            "nonce": hex::encode(challenge.nonce),
        })
    }))
}

async fn motions(desk: web::Data<Desk>) -> HttpResponse {
    told(desk.office().map(|office| json!(office.motions.waiting(desk.clock.now()))))
}

async fn propose(desk: web::Data<Desk>, action: web::Json<Action>) -> HttpResponse {
    let proposed = desk.allowed().and_then(|()| desk.office()).and_then(|office| office.propose(&action));
    told(proposed.map(|motion| json!(motion)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    officer: String,
    signature: Signature,
}

async fn approve(desk: web::Data<Desk>, id: web::Path<String>, body: web::Json<Approval>) -> HttpResponse {
    let approved = async {
        desk.allowed()?;
        let approval = body.into_inner();
        let (motion, result) = desk.office()?.approve(&id, &approval.officer, &approval.signature).await?;
        Ok(answer(&motion, result))
    };
    told(approved.await)
}

fn answer(motion: &Motion, result: Option<Value>) -> Value {
    json!({"motion": motion, "done": result.is_some(), "result": result})
}
