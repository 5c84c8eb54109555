//! create, update and their conditional forms, one by one or as a transaction (hl7.org/fhir/R4/http.html#create).

use super::search::{id_in, matches_of};
use super::{Conditions, Ctx, Reply, check_type, encode, parse, parse_version};
use crate::audit_event::{Audit, Event};
use crate::commit::{CommitError, Draft, commit};
use crate::config::Acknowledge;
use crate::content;
use crate::error::ApiError;
use crate::resource::{assign, id_of, is_id, references, type_of};
use crate::scope::Interaction;
use actix_web::http::StatusCode;
use consilium_domain::Timestamp;
use consilium_fhir::Tape;
use consilium_fhir::tape::NodeId;
use consilium_store::sql::records::{NewClaim, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One resource to write.
#[derive(Debug, Clone)]
pub struct Write {
    pub resource_type: String,
    /// The resource in its tape.
    pub node: NodeId,
    /// Where an error is reported, e.g. `Bundle.entry[3].resource`.
    pub place: String,
    /// `fullUrl` of its entry.
    pub full_url: Option<String>,
    pub verb: Verb,
}

#[derive(Debug, Clone)]
pub enum Verb {
    Create { if_none_exist: Option<String> },
    Update { id: String, if_match: Option<String> },
}

/// What became of a write.
#[derive(Debug, Clone)]
pub struct Written {
    pub status: StatusCode,
    pub resource_type: String,
    pub id: String,
    pub version: u64,
    pub updated_ms: u64,
    /// The stored resource; empty when it was there before.
    pub content: Vec<u8>,
}

impl Written {
    /// `Type/id/_history/v`.
    pub fn location(&self) -> String {
        format!("{}/{}/_history/{}", self.resource_type, self.id, self.version)
    }
}

/// Full validation; any error refuses the resource with all its issues.
pub async fn check(ctx: &Ctx, body: &[u8]) -> Result<(), ApiError> {
    let answer = ctx.app.peers.check(body, &[]).await?;
    if answer.valid { Ok(()) } else { Err(ApiError::invalid(answer.outcome)) }
}

/// POST of one resource.
pub async fn create(
    ctx: &Ctx,
    resource_type: &str,
    body: &[u8],
    conditions: &Conditions,
) -> Result<Reply, ApiError> {
    ctx.principal.may(Interaction::Create, resource_type)?;
    let verb = Verb::Create { if_none_exist: conditions.if_none_exist.clone() };
    single(ctx, resource_type, body, verb).await
}

/// PUT of one resource.
pub async fn update(
    ctx: &Ctx,
    resource_type: &str,
    id: &str,
    body: &[u8],
    conditions: &Conditions,
) -> Result<Reply, ApiError> {
    ctx.principal.may(Interaction::Update, resource_type)?;
    single(
        ctx,
        resource_type,
        body,
        Verb::Update { id: id.to_owned(), if_match: conditions.if_match.clone() },
    )
    .await
}

async fn single(ctx: &Ctx, resource_type: &str, body: &[u8], verb: Verb) -> Result<Reply, ApiError> {
    check_type(&ctx.app, resource_type)?;
    let tape = parse(&ctx.app, body)?;
    if type_of(tape.root()).as_deref() != Some(resource_type) {
        return Err(ApiError::bad_request(format!(
            "`resourceType` is not `{resource_type}` as the URL says"
        ))
        .at("resourceType"));
    }
    check(ctx, body).await?;
    let write = Write {
        resource_type: resource_type.to_owned(),
        node: NodeId::ROOT,
        place: resource_type.to_owned(),
        full_url: None,
        verb,
    };
    let written = execute(ctx, &tape, vec![write]).await?;
    let Some(one) = written.into_iter().next() else {
        return Err(ApiError::internal("a write has no result"));
    };
    let mut reply = Reply::ok(Vec::new());
    reply.status = one.status;
    reply.version = Some(one.version);
    reply.updated_ms = Some(one.updated_ms);
    reply.location = Some(format!("{}/{}", ctx.app.base_url, one.location()));
    if !ctx.minimal {
        reply.body = if one.content.is_empty() {
            super::read::read(ctx, resource_type, &one.id).await?.body
        } else {
            one.content
        };
    }
    Ok(reply)
}

/// What a write is going to do, decided on the store as it is.
pub(super) enum Step {
    /// The condition's only match.
    Exists {
        id: String,
        version: u64,
        updated_ms: u64,
    },
    Store {
        id: String,
        version: u64,
        claim: Option<NewClaim>,
    },
}

/// Another request is at work on the same record or condition.
pub(super) struct Busy;

/// Carries out writes whose resources are valid: all of them or none.
pub async fn execute(ctx: &Ctx, tape: &Tape<'_>, writes: Vec<Write>) -> Result<Vec<Written>, ApiError> {
    let deadline = ctx.app.clock.monotonic()
        + Duration::from_millis(ctx.app.limits.commit_ms + ctx.app.limits.attest_ms);
    check_distinct(&writes)?;
    loop {
        if let Ok(written) = attempt(ctx, tape, &writes).await? {
            return Ok(written);
        }
        if ctx.app.clock.monotonic() > deadline {
            return Err(ApiError::conflict(
                "other requests keep changing the same resource: read it and try again",
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A transaction may touch each resource once (hl7.org/fhir/R4/http.html#trules).
fn check_distinct(writes: &[Write]) -> Result<(), ApiError> {
    let (mut ids, mut conditions) = (BTreeSet::new(), BTreeSet::new());
    for w in writes {
        let fresh = match &w.verb {
            Verb::Update { id, .. } => ids.insert((w.resource_type.as_str(), id.as_str())),
            Verb::Create { if_none_exist: Some(c) } => {
                conditions.insert((w.resource_type.as_str(), c.as_str()))
            }
            Verb::Create { if_none_exist: None } => true,
        };
        if !fresh {
            return Err(ApiError::bad_request("the same resource or condition occurs in two entries")
                .at(w.place.clone()));
        }
    }
    Ok(())
}

async fn attempt(
    ctx: &Ctx,
    tape: &Tape<'_>,
    writes: &[Write],
) -> Result<Result<Vec<Written>, Busy>, ApiError> {
    let mut steps = Vec::with_capacity(writes.len());
    for write in writes {
        match plan(ctx, tape, write).await? {
            Ok(step) => steps.push(step),
            Err(Busy) => return Ok(Err(Busy)),
        }
    }
    let map = references_map(ctx, tape, writes, &steps).await?;
    let mut group = Group::new(ctx);
    let mut written = Vec::with_capacity(writes.len());
    for (write, step) in writes.iter().zip(steps) {
        written.push(group.add(tape, write, step, &map)?);
    }
    Ok(group.store(ctx).await?.map(|()| written))
}

/// What is stored together, as one batch on the ledger.
pub(super) struct Group {
    now: Timestamp,
    drafts: Vec<Draft>,
    claims: Vec<NewClaim>,
}

impl Group {
    pub fn new(ctx: &Ctx) -> Self {
        Self { now: ctx.app.now(), drafts: Vec::new(), claims: Vec::new() }
    }

    /// Whether something here already writes what `step` would, or claims its condition.
    pub fn clashes(&self, write: &Write, step: &Step) -> bool {
        let Step::Store { id, claim, .. } = step else { return false };
        self.drafts.iter().any(|d| d.id == *id && d.resource_type == write.resource_type)
            || claim.as_ref().is_some_and(|c| self.claims.iter().any(|other| other.claim == c.claim))
    }

    /// Adds what a step stores. The result holds when the group is stored.
    pub fn add(
        &mut self,
        tape: &Tape<'_>,
        write: &Write,
        step: Step,
        map: &BTreeMap<String, String>,
    ) -> Result<Written, ApiError> {
        let resource_type = write.resource_type.clone();
        match step {
            Step::Exists { id, version, updated_ms } => Ok(Written {
                status: StatusCode::OK,
                resource_type,
                id,
                version,
                updated_ms,
                content: Vec::new(),
            }),
            Step::Store { id, version, claim } => {
                let content = assign(tape.cursor(write.node), &id, version, &self.now.to_instant(), map)
                    .ok_or_else(|| ApiError::internal("a resource could not be assigned its id"))?
                    .into_bytes();
                self.claims.extend(claim);
                let updated_ms = self.now.0;
                self.drafts.push(Draft {
                    resource_type: resource_type.clone(),
                    id: id.clone(),
                    version,
                    updated_ms,
                    content: content.clone(),
                });
                let status = if version == 1 { StatusCode::CREATED } else { StatusCode::OK };
                Ok(Written { status, resource_type, id, version, updated_ms, content })
            }
        }
    }

    /// Stores everything or nothing.
    pub async fn store(self, ctx: &Ctx) -> Result<Result<(), Busy>, ApiError> {
        if self.drafts.is_empty() {
            return Ok(Ok(()));
        }
        let audit = events(ctx, &self.drafts, self.now)?;
        match commit(&ctx.app, self.drafts, self.claims, audit).await {
            Ok(()) => Ok(Ok(())),
            Err(CommitError::Busy) => Ok(Err(Busy)),
            Err(CommitError::Api(e)) => Err(e),
        }
    }
}

/// One event for what was created and one for what was updated.
fn events(ctx: &Ctx, drafts: &[Draft], now: Timestamp) -> Result<Vec<Vec<u8>>, ApiError> {
    let mut out = Vec::new();
    for event in [Event::Create, Event::Update] {
        let (mut records, mut patients) = (Vec::new(), Vec::new());
        for d in drafts.iter().filter(|d| (d.version == 1) == (event == Event::Create)) {
            let tape = parse(&ctx.app, &d.content)?;
            patients.push(content::facts(tape.root(), &d.resource_type, &d.id, &ctx.app.base_url).patient);
            records.push(format!("{}/{}/_history/{}", d.resource_type, d.id, d.version));
        }
        if records.is_empty() {
            continue;
        }
        let audit = Audit {
            id: ctx.app.new_id(),
            event,
            recorded: now,
            organisation: &ctx.app.organisation,
            outcome: 0,
            reason: None,
            subject: &ctx.principal.subject,
            fhir_user: ctx.principal.fhir_user.as_deref(),
            partner: None,
            purpose: ctx.purpose.as_deref(),
            records,
            patients: super::read::patient_references(&patients),
            query: None,
            request_id: Some(&ctx.request_id),
            consents: Vec::new(),
            height: None,
            erasure: None,
        };
        out.push(audit.to_json());
    }
    Ok(out)
}

pub(super) async fn plan(ctx: &Ctx, tape: &Tape<'_>, write: &Write) -> Result<Result<Step, Busy>, ApiError> {
    let app = &ctx.app;
    match &write.verb {
        Verb::Create { if_none_exist: None } => {
            Ok(Ok(Step::Store { id: app.new_id(), version: 1, claim: None }))
        }
        Verb::Create { if_none_exist: Some(condition) } => {
            ctx.principal.may(Interaction::Search, &write.resource_type)?;
            let condition = condition.trim_start_matches('?');
            let condition = condition.strip_prefix(&format!("{}?", write.resource_type)).unwrap_or(condition);
            let at = |e: ApiError| e.at(write.place.clone());
            let (query, rows) =
                matches_of(app, &write.resource_type, condition, app.pending()).await.map_err(at)?;
            match rows.as_slice() {
                [] => {}
                [one] => {
                    let (content, _) = app.open(one).await?;
                    return Ok(Ok(Step::Exists {
                        id: id_in(app, &content)?,
                        version: one.version,
                        updated_ms: one.updated_ms,
                    }));
                }
                _ => return Err(at(ApiError::precondition("the condition has several matches"))),
            }
            // Somebody else's match may be on its way to the ledger: its outcome decides.
            if !matches_of(app, &write.resource_type, condition, true).await?.1.is_empty() {
                return Ok(Err(Busy));
            }
            let mut applied = query.applied.clone();
            applied.sort();
            let canonical: Vec<String> =
                applied.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
            let claim = NewClaim {
                claim: app.blind.claim(&write.resource_type, &canonical.join("&")),
                resource_type: write.resource_type.clone(),
                index: query.search.index.clone(),
            };
            if claim.index.is_empty() {
                return Err(at(ApiError::unsupported(
                    "a condition needs a filter by value, e.g. `identifier=system|value`",
                )));
            }
            Ok(Ok(Step::Store { id: app.new_id(), version: 1, claim: Some(claim) }))
        }
        Verb::Update { id, if_match } => {
            if !is_id(id) {
                return Err(ApiError::bad_request("the id is 1 to 64 letters, digits, `-` and `.`")
                    .at(format!("{}.id", write.place)));
            }
            if id_of(tape.cursor(write.node)).as_deref() != Some(id) {
                return Err(ApiError::bad_request("the resource's `id` must be there and equal the URL's")
                    .at(format!("{}.id", write.place)));
            }
            let handle = app.blind.record(&write.resource_type, id);
            let newest = app.records.newest(&write.resource_type, &handle, true).await?;
            if newest.is_none() && app.records.erased(&write.resource_type, &handle).await?.is_some() {
                return Err(ApiError::gone().at(write.place.clone()));
            }
            if newest.as_ref().is_some_and(|r| r.status == Status::Pending)
                && app.acknowledge == Acknowledge::Committed
            {
                return Ok(Err(Busy));
            }
            if let Some(etag) = if_match {
                let wanted = parse_version(etag);
                if wanted.is_none() || newest.as_ref().map(|r| r.version) != wanted {
                    return Err(ApiError::precondition(
                        "`If-Match` does not name the newest version: read it and try again",
                    )
                    .at(write.place.clone()));
                }
            }
            let version = newest.map_or(1, |r| r.version + 1);
            Ok(Ok(Step::Store { id: id.clone(), version, claim: None }))
        }
    }
}

/// What bundle-local and conditional references stand for.
pub(super) async fn references_map(
    ctx: &Ctx,
    tape: &Tape<'_>,
    writes: &[Write],
    steps: &[Step],
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut map = BTreeMap::new();
    for (write, step) in writes.iter().zip(steps) {
        let id = match step {
            Step::Exists { id, .. } | Step::Store { id, .. } => id,
        };
        let local = format!("{}/{id}", write.resource_type);
        let Some(url) = &write.full_url else { continue };
        map.insert(url.clone(), local.clone());
        // A relative reference is resolved against the entry's own base (hl7.org/fhir/R4/bundle.html#references).
        if let Some(old) = url.rsplit_once(&format!("/{}/", write.resource_type)).map(|(_, id)| id)
            && is_id(old)
        {
            map.insert(format!("{}/{old}", write.resource_type), local);
        }
    }
    let mut conditional: BTreeMap<String, String> = BTreeMap::new();
    for write in writes {
        references(tape.cursor(write.node), &mut |cursor, text| {
            if cursor.key_is("reference") && text.contains('?') && !map.contains_key(text) {
                conditional.entry(text.to_owned()).or_insert_with(|| write.place.clone());
            }
        });
    }
    for (reference, place) in conditional {
        let to = resolve_condition(ctx, &reference).await.map_err(|e| e.at(place))?;
        map.insert(reference, to);
    }
    Ok(map)
}

/// `Practitioner?identifier=system|value` → `Practitioner/id`; exactly one match or an error.
async fn resolve_condition(ctx: &Ctx, reference: &str) -> Result<String, ApiError> {
    let refused = |text: &str| ApiError::precondition(text.to_owned());
    let (resource_type, condition) =
        reference.split_once('?').ok_or_else(|| refused("a conditional reference is `Type?filter=value`"))?;
    check_type(&ctx.app, resource_type)
        .map_err(|_| refused("a conditional reference names a type that is not kept here"))?;
    let (_, rows) = matches_of(&ctx.app, resource_type, condition, ctx.app.pending()).await?;
    match rows.as_slice() {
        [one] => {
            let (content, _) = ctx.app.open(one).await?;
            Ok(format!("{resource_type}/{}", id_in(&ctx.app, &content)?))
        }
        [] => Err(refused(&format!(
            "a conditional reference to `{resource_type}` matches nothing here: load it first"
        ))),
        _ => Err(refused(&format!("a conditional reference to `{resource_type}` matches several"))),
    }
}
