//! The dashboard: server-rendered pages for the compliance officer. Works without scripts; looking is logged.

use crate::integrity::State;
use crate::log::{Entry, Log, LogError};
use crate::tiles::{Publisher, TileName, tile};
use crate::views::{Badge, Event, Overview, Page, Problem, Row, Step, Trail, tiles};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{App as Web, HttpResponse, HttpServer, web};
use askama::Template;
use base64::Engine;
use consilium_domain::genesis::Genesis;
use consilium_domain::merkle::leaf_hash;
use consilium_domain::receipt::{AUDIT_FORMAT, AuditProof, TxProof};
use consilium_domain::{Clock, OrgId};
use consilium_ledger::receipt::verify_audit_proof;
use consilium_runtime::Entropy;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Rows of a page.
const ROWS: u32 = 50;

/// What the pages need.
pub struct App {
    pub log: Arc<Log>,
    pub ledger: crate::ledger::Ledger,
    pub genesis: Genesis,
    pub state: State,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    pub organisation: OrgId,
    pub publisher: Publisher,
    pub officer: String,
    pub password: String,
}

/// Binds the dashboard.
pub fn server(listen: &str, app: App) -> std::io::Result<Server> {
    let app = web::Data::new(app);
    let server = HttpServer::new(move || {
        let headers = DefaultHeaders::new()
            .add((header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"))
            .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .add((header::REFERRER_POLICY, "no-referrer"))
            .add((header::CACHE_CONTROL, "no-store"));
        Web::new()
            .app_data(app.clone())
            .app_data(web::FormConfig::default().limit(4096))
            .wrap(from_fn(sign_in))
            .wrap(headers)
            .route("/", web::get().to(overview))
            .route("/trail", web::get().to(ask))
            .route("/trail", web::post().to(trail))
            .route("/event/{seq}", web::get().to(event))
            .route("/event/{seq}/verify", web::post().to(verify))
            .route("/event/{seq}/proof.json", web::get().to(proof))
            .route("/log/checkpoint", web::get().to(checkpoint))
            .route("/log/tile/{name:.*}", web::get().to(tile_of))
            .configure(crate::ledger::routes)
            .route("/ui/style.css", web::get().to(style))
            .route("/ui/icon.svg", web::get().to(icon))
            .default_service(web::to(missing))
    })
    .workers(2)
    .disable_signals()
    .shutdown_timeout(5)
    .bind(listen)?
    .run();
    Ok(server)
}

/// HTTP Basic (RFC 7617). Digests are compared, so neither length nor content shows in the time taken.
async fn sign_in(
    request: ServiceRequest,
    next: Next<impl actix_web::body::MessageBody + 'static>,
) -> Result<ServiceResponse<actix_web::body::BoxBody>, actix_web::Error> {
    let allowed = request.app_data::<web::Data<App>>().is_some_and(|app| {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|h| h.to_str().ok());
        let given = given.and_then(|h| h.strip_prefix("Basic ")).unwrap_or_default();
        let expected =
            base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", app.officer, app.password));
        bool::from(Sha256::digest(given).ct_eq(&Sha256::digest(expected)))
    });
    if allowed {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let answer = HttpResponse::Unauthorized()
        .insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"Consilium audit\", charset=\"UTF-8\""))
        .content_type("text/plain; charset=utf-8")
        .body("Sign in as the organisation's compliance officer.\n");
    Ok(request.into_response(answer))
}

impl App {
    pub fn page(&self, at: &'static str) -> Page {
        let integrity = Badge::new(&self.state.get(), self.clock.now());
        Page { organisation: self.organisation.to_string(), at, integrity }
    }

    /// Logs that the officer looked; what cannot be logged is not shown.
    pub async fn looked(&self, what: &str, patient: Option<&str>) -> Result<(), LogError> {
        let event = crate::event::viewed(
            &hex::encode(self.entropy.bytes::<16>()),
            &self.clock.now().to_instant(),
            self.organisation.as_str(),
            &self.officer,
            what,
            patient,
        );
        self.log.append(vec![event.to_string().into_bytes()]).await.map(|_| ())
    }
}

pub fn show(page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(html) => HttpResponse::Ok().content_type("text/html; charset=utf-8").body(html),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

pub fn problem(app: &App, status: StatusCode, title: &'static str, text: &'static str) -> HttpResponse {
    let page = Problem { page: app.page(""), title, text };
    match page.render() {
        Ok(html) => HttpResponse::build(status).content_type("text/html; charset=utf-8").body(html),
        Err(_) => HttpResponse::build(status).finish(),
    }
}

pub fn unavailable(app: &App, e: &LogError) -> HttpResponse {
    tracing::error!(error = %e, "a page could not be shown");
    let text = "The log could not be read or written. Nothing is shown that could not be logged. Ask your operator to look at the audit service's log.";
    problem(app, StatusCode::SERVICE_UNAVAILABLE, "The log is not available", text)
}

/// Page position: events below this number.
#[derive(Deserialize)]
struct Before {
    before: Option<u64>,
}

fn older(entries: &[Entry]) -> Option<u64> {
    (entries.len() >= ROWS as usize).then(|| entries.last().map(|e| e.stored.seq)).flatten()
}

async fn overview(app: web::Data<App>, query: web::Query<Before>) -> HttpResponse {
    match overview_page(&app, query.before).await {
        Ok(page) => show(&page),
        Err(e) => unavailable(&app, &e),
    }
}

async fn overview_page(app: &App, before: Option<u64>) -> Result<Overview, LogError> {
    let now = app.clock.now();
    let midnight = now.0 - now.0 % 86_400_000;
    let counts = app.log.store.counts(midnight, now.0 + 1).await?;
    let stored = app.log.store.page(before, None, ROWS).await?;
    let entries = stored.into_iter().map(|e| app.log.entry(e)).collect::<Result<Vec<_>, _>>()?;
    app.looked("overview", None).await?;
    Ok(Overview {
        page: app.page("overview"),
        day: now.to_date(),
        tiles: tiles(&counts),
        rows: entries.iter().map(Row::masked).collect(),
        empty: "No event yet. The log is open and waiting: the first request to the FHIR endpoint appears here.",
        older: older(&entries),
    })
}

async fn ask(app: web::Data<App>) -> HttpResponse {
    show(&Trail {
        page: app.page("trail"),
        patient: String::new(),
        summary: None,
        rows: Vec::new(),
        empty: "",
        older: None,
    })
}

#[derive(Deserialize)]
struct TrailForm {
    patient: String,
    before: Option<u64>,
}

async fn trail(app: web::Data<App>, form: web::Form<TrailForm>) -> HttpResponse {
    let id = form.patient.trim();
    let id = id.strip_prefix("Patient/").unwrap_or(id);
    // FHIR id: [A-Za-z0-9\-\.]{1,64}
    let good = (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if !good {
        let text =
            "A patient id has 1 to 64 letters, digits, hyphens and dots. Copy it from the patient's record.";
        return problem(&app, StatusCode::BAD_REQUEST, "That is not a patient id", text);
    }
    let reference = format!("Patient/{id}");
    let found = match app.log.of_patient(&reference, form.before, ROWS).await {
        Ok(f) => f,
        Err(e) => return unavailable(&app, &e),
    };
    if let Err(e) = app.looked("access trail", Some(&reference)).await {
        return unavailable(&app, &e);
    }
    let older = older(&found);
    let summary = match (found.len(), older) {
        (0, _) => "No event names this patient".to_owned(),
        (n, None) if form.before.is_none() => format!("{n} events, newest first"),
        _ => "Events, newest first".to_owned(),
    };
    show(&Trail {
        page: app.page("trail"),
        patient: id.to_owned(),
        summary: Some(summary),
        rows: found.iter().map(Row::masked).collect(),
        empty: "Nobody has looked at this patient's records here, or the id is of another organisation.",
        older,
    })
}

async fn load(app: &App, seq: u64) -> Result<Option<Entry>, LogError> {
    app.log.store.by_seq(seq).await?.map(|e| app.log.entry(e)).transpose()
}

async fn event(app: web::Data<App>, seq: web::Path<u64>) -> HttpResponse {
    event_page(&app, *seq, false).await
}

async fn verify(app: web::Data<App>, seq: web::Path<u64>) -> HttpResponse {
    event_page(&app, *seq, true).await
}

async fn event_page(app: &App, seq: u64, verify: bool) -> HttpResponse {
    let entry = match load(app, seq).await {
        Ok(Some(e)) => e,
        Ok(None) => return no_event(app),
        Err(LogError::Seal(_)) => {
            let text = "The stored bytes do not open: the row was altered, or written with another storage key. Restore it from a backup and compare the checkpoint.";
            return problem(app, StatusCode::INTERNAL_SERVER_ERROR, "This event was altered", text);
        }
        Err(e) => return unavailable(app, &e),
    };
    if let Err(e) = app.looked("event", entry.facts.patients.first().map(String::as_str)).await {
        return unavailable(app, &e);
    }
    let steps = if verify {
        match steps(app, &entry).await {
            Ok(s) => Some(s),
            Err(e) => return unavailable(app, &e),
        }
    } else {
        None
    };
    let pretty = serde_json::from_slice::<serde_json::Value>(&entry.json).ok();
    let raw = pretty.and_then(|v| serde_json::to_string_pretty(&v).ok()).unwrap_or_default();
    show(&Event {
        page: app.page(""),
        row: Row::masked(&entry),
        patients: entry.facts.patients.clone(),
        objects: entry.facts.objects.clone(),
        reasons: entry.facts.reasons.clone(),
        steps,
        raw,
    })
}

fn no_event(app: &App) -> HttpResponse {
    problem(app, StatusCode::NOT_FOUND, "No such event", "The log has no event of that number.")
}

/// The proof of an event, or `None` while its checkpoint is not anchored.
async fn prove(app: &App, entry: &Entry) -> Result<Option<AuditProof>, LogError> {
    let anchors = app.log.store.anchors(entry.stored.seq + 1, 1).await?;
    let Some((anchor, tx)) = anchors.into_iter().find_map(|a| a.committed.clone().map(|(_, tx)| (a, tx)))
    else {
        return Ok(None);
    };
    let Ok(transaction) = serde_json::from_slice::<TxProof>(&tx) else { return Err(LogError::Incomplete) };
    let Some(inclusion) = app.log.inclusion(entry.stored.seq, anchor.size).await? else { return Ok(None) };
    let Ok(event) = String::from_utf8(entry.json.clone()) else { return Err(LogError::Incomplete) };
    Ok(Some(AuditProof {
        format: AUDIT_FORMAT.to_owned(),
        genesis: app.genesis.digest(),
        organisation: app.organisation.clone(),
        event,
        inclusion,
        transaction,
    }))
}

async fn steps(app: &App, entry: &Entry) -> Result<Vec<Step>, LogError> {
    let same = leaf_hash(&entry.json) == entry.stored.leaf;
    let mut steps = vec![Step {
        good: same,
        title: "The event is as it was logged",
        text: format!("Leaf {} at position {}", entry.stored.leaf, entry.stored.seq),
    }];
    let Some(proof) = prove(app, entry).await? else {
        steps.push(Step {
            good: false,
            title: "Not anchored yet",
            text: "The checkpoint that covers this event goes to the ledger within seconds: verify again."
                .to_owned(),
        });
        return Ok(steps);
    };
    match verify_audit_proof(&app.genesis, &proof) {
        Ok(v) => {
            steps.push(Step {
                good: true,
                title: "It is in the anchored log",
                text: format!(
                    "Position {} of {} events, {} hashes to the root",
                    v.index,
                    v.size,
                    proof.inclusion.path.len()
                ),
            });
            steps.push(Step {
                good: true,
                title: "The checkpoint is on the ledger",
                text: format!("Block {} of {}, {}", v.height, v.time.to_instant(), v.block),
            });
            steps.push(Step {
                good: true,
                title: "More than two thirds of the organisations signed that block",
                text: format!(
                    "{} of {} signatures verified",
                    proof.transaction.certificate.signatures.len(),
                    app.genesis.members.len()
                ),
            });
        }
        Err(e) => steps.push(Step { good: false, title: "The proof does not hold", text: e.to_string() }),
    }
    Ok(steps)
}

async fn proof(app: web::Data<App>, seq: web::Path<u64>) -> HttpResponse {
    let found = match load(&app, *seq).await {
        Ok(Some(e)) => e,
        Ok(None) => return no_event(&app),
        Err(e) => return unavailable(&app, &e),
    };
    if let Err(e) = app.looked("proof", found.facts.patients.first().map(String::as_str)).await {
        return unavailable(&app, &e);
    }
    match prove(&app, &found).await {
        Ok(Some(p)) => HttpResponse::Ok().json(p),
        Ok(None) => {
            let text = "The checkpoint that covers this event goes to the ledger within seconds. Try again.";
            problem(&app, StatusCode::CONFLICT, "Not anchored yet", text)
        }
        Err(e) => unavailable(&app, &e),
    }
}

async fn checkpoint(app: web::Data<App>) -> HttpResponse {
    let newest = async {
        let size = app.log.store.size().await?;
        Ok::<_, LogError>(app.publisher.checkpoint(size, &app.log.root(size).await?))
    };
    match newest.await {
        Ok(note) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(note),
        Err(e) => unavailable(&app, &e),
    }
}

async fn tile_of(app: web::Data<App>, name: web::Path<String>) -> HttpResponse {
    let Some(name) = TileName::parse(&name) else { return missing(app).await };
    match tile(&app.log, name).await {
        Ok(Some(hashes)) => HttpResponse::Ok().content_type("application/octet-stream").body(hashes),
        Ok(None) => missing(app).await,
        Err(e) => unavailable(&app, &e),
    }
}

async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(include_str!("../ui/style.css"))
}

async fn icon() -> HttpResponse {
    HttpResponse::Ok().content_type("image/svg+xml").body(include_str!("../ui/icon.svg"))
}

async fn missing(app: web::Data<App>) -> HttpResponse {
    problem(
        &app,
        StatusCode::NOT_FOUND,
        "No such page",
        "The address leads nowhere. The overview has all there is.",
    )
}
