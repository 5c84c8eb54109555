//! The requester's side of the exchange: one of our people reads at another organisation.

use super::read::patient_references;
use super::{Ctx, Reply, check_type, pairs};
use crate::audit_event::{Audit, Event};
use crate::error::ApiError;
use crate::exchange::{READ, SEARCH, WINDOW, check_purpose};
use crate::leaves;
use crate::scope::Interaction;
use crate::sealing::Binding;
use actix_web::http::StatusCode;
use consilium_abe::envelope::{ClassKey, open_record, unwrap_dek};
use consilium_contracts::Message;
use consilium_contracts::v1::{Claims, ExchangeAnswer, ExchangeQuery, Parameter, SealedRecord};
use consilium_domain::canon::Canonical;
use consilium_domain::message::{Envelope, Sealed};
use consilium_domain::receipt::Receipt;
use consilium_domain::{Digest, Height, OrgId};
use consilium_fhir::Tape;
use consilium_ledger::envelope::{self, Expect};
use consilium_ledger::{Role, commitment, verify_receipt};

/// A record of another organisation, opened and checked against the ledger.
struct Received {
    resource_type: String,
    id: String,
    version: u64,
    updated_ms: u64,
    content: Vec<u8>,
    patient: Option<String>,
}

impl Ctx {
    fn purpose(&self) -> Result<String, ApiError> {
        let code = self.purpose.clone().ok_or_else(|| {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "required",
                "the purpose of use is missing: send `X-Purpose-Of-Use` with a v3 PurposeOfUse code, e.g. `TREAT`",
            )
        })?;
        check_purpose(&code)?;
        Ok(code)
    }

    fn partner(&self, organisation: &str) -> Result<OrgId, ApiError> {
        let members = self.app.members.get();
        let known = |o: &OrgId| members.iter().any(|m| m.organisation == *o);
        OrgId::new(organisation).ok().filter(known).ok_or_else(|| {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "not-found",
                "there is no such organisation in this consortium",
            )
        })
    }

    /// Who asks: the person where the token names one, else the system.
    fn claims(&self) -> Claims {
        Claims {
            subject: self.principal.fhir_user.clone().unwrap_or_else(|| self.principal.subject.clone()),
            roles: self.principal.roles.clone(),
        }
    }

    /// Base URL of another organisation's records as our clients see them.
    fn exchange_base(&self, organisation: &OrgId) -> String {
        let root = self.app.base_url.strip_suffix("/fhir").unwrap_or(&self.app.base_url);
        format!("{root}/exchange/{organisation}/fhir")
    }
}

/// Read of one record at another organisation.
pub async fn read(ctx: &Ctx, organisation: &str, resource_type: &str, id: &str) -> Result<Reply, ApiError> {
    let purpose = ctx.purpose()?;
    clinical(ctx, Interaction::Read, resource_type)?;
    check_type(&ctx.app, resource_type)?;
    let partner = ctx.partner(organisation)?;
    if partner == ctx.app.organisation {
        return super::read::read(ctx, resource_type, id).await;
    }
    let query = ExchangeQuery {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
        parameters: Vec::new(),
        purpose: purpose.clone(),
        claims: Some(ctx.claims()),
        request_id: ctx.request_id.clone(),
    };
    let received = ask(ctx, &partner, READ, query).await?;
    let one =
        received.into_iter().next().filter(|r| r.resource_type == resource_type && r.id == id).ok_or_else(
            || ApiError::internal("another organisation answered with a record that was not asked for"),
        )?;
    let mut reply = Reply::ok(one.content);
    reply.version = Some(one.version);
    reply.updated_ms = Some(one.updated_ms);
    Ok(reply)
}

/// Search at another organisation.
pub async fn search(
    ctx: &Ctx,
    organisation: &str,
    resource_type: &str,
    query: &str,
) -> Result<Reply, ApiError> {
    let purpose = ctx.purpose()?;
    clinical(ctx, Interaction::Search, resource_type)?;
    check_type(&ctx.app, resource_type)?;
    let partner = ctx.partner(organisation)?;
    if partner == ctx.app.organisation {
        return super::search::search(ctx, resource_type, query).await;
    }
    let query = ExchangeQuery {
        resource_type: resource_type.to_owned(),
        id: String::new(),
        parameters: pairs(query)?.into_iter().map(|(name, value)| Parameter { name, value }).collect(),
        purpose: purpose.clone(),
        claims: Some(ctx.claims()),
        request_id: ctx.request_id.clone(),
    };
    let received = ask(ctx, &partner, SEARCH, query).await?;
    let base = ctx.exchange_base(&partner);
    let entries: Vec<String> = received
        .iter()
        .map(|r| {
            format!(
                "{{\"fullUrl\":\"{base}/{}/{}\",\"resource\":{},\"search\":{{\"mode\":\"match\"}}}}",
                r.resource_type,
                r.id,
                String::from_utf8_lossy(&r.content)
            )
        })
        .collect();
    let entry =
        if entries.is_empty() { String::new() } else { format!(",\"entry\":[{}]", entries.join(",")) };
    let body = format!(
        "{{\"resourceType\":\"Bundle\",\"id\":\"{}\",\"type\":\"searchset\",\"total\":{},\"link\":[{{\"relation\":\"self\",\"url\":\"{base}/{resource_type}\"}}]{entry}}}",
        ctx.app.new_id(),
        received.len()
    );
    Ok(Reply::ok(body.into_bytes()))
}

/// The exchange is for people and systems of the organisation, not for patients' apps.
fn clinical(ctx: &Ctx, interaction: Interaction, resource_type: &str) -> Result<(), ApiError> {
    match ctx.principal.may(interaction, resource_type)?.patient {
        None => Ok(()),
        Some(_) => Err(ApiError::forbidden("the exchange needs a `user/` or `system/` scope")),
    }
}

/// Asks, checks the answer's signature, opens what came and checks it against the ledger; both ends are audited.
async fn ask(
    ctx: &Ctx,
    partner: &OrgId,
    subject: &'static str,
    query: ExchangeQuery,
) -> Result<Vec<Received>, ApiError> {
    let result = ask_and_open(ctx, partner, subject, &query).await;
    let (records, patients, outcome, reason) = match &result {
        Ok(received) => (
            received
                .iter()
                .map(|r| format!("{}/{}/{}", ctx.exchange_base(partner), r.resource_type, r.id))
                .collect(),
            received.iter().map(|r| r.patient.clone()).collect::<Vec<_>>(),
            0,
            None,
        ),
        Err(e) => (
            Vec::new(),
            Vec::new(),
            if e.status.is_server_error() { 8 } else { 4 },
            Some(e.status.as_u16().to_string()),
        ),
    };
    let base = ctx.exchange_base(partner);
    let event = Audit {
        id: ctx.app.new_id(),
        event: Event::Receipt,
        recorded: ctx.app.now(),
        organisation: &ctx.app.organisation,
        outcome,
        reason,
        subject: &ctx.principal.subject,
        fhir_user: ctx.principal.fhir_user.as_deref(),
        partner: Some(partner),
        purpose: Some(&query.purpose),
        records,
        patients: patient_references(&patients).into_iter().map(|p| format!("{base}/{p}")).collect(),
        query: Some(format!("{partner}: {}/{}", query.resource_type, query.id)),
        request_id: Some(&ctx.request_id),
        consents: Vec::new(),
        height: None,
        erasure: None,
    };
    ctx.app.audit(vec![event.to_json()]).await?;
    result
}

async fn ask_and_open(
    ctx: &Ctx,
    partner: &OrgId,
    subject: &'static str,
    query: &ExchangeQuery,
) -> Result<Vec<Received>, ApiError> {
    let app = &ctx.app;
    let nonce = Digest(app.entropy.bytes());
    // Only for the partner's information: it decides on its own ledger state.
    let height = app.peers.head().await.map(|h| h.height).unwrap_or(0);
    let sealed = Sealed {
        sender: app.organisation.clone(),
        recipient: partner.clone(),
        subject: subject.to_owned(),
        height: Height(height),
        time: app.now(),
        nonce,
        payload: app.seal_payload(partner, subject, &nonce, &query.encode_to_vec())?,
    };
    let request = envelope::seal(&app.key, &app.channel, sealed);
    let silent = || ApiError::unavailable("the other organisation does not answer: try again");
    let response = app.peers.exchange(partner, &request).await.map_err(|e| {
        tracing::warn!(%partner, cause = %e, "no answer");
        silent()
    })?;
    if let Some(failure) = response.failure {
        tracing::warn!(%partner, code = failure.code, "the exchange request was refused");
        return Err(silent());
    }
    let envelope = Envelope::from_canonical(&response.envelope).map_err(|_| silent())?;
    let members = app.members.get();
    let expect = Expect {
        channel: &app.channel,
        members: &members,
        role: Role::Ingest,
        recipient: &app.organisation,
        subject,
        now: app.now(),
        window: WINDOW,
    };
    let opened = envelope::open_answer(envelope, &expect, partner, &nonce).map_err(|e| {
        tracing::warn!(%partner, cause = %e, "the answer is not acceptable");
        silent()
    })?;
    let answer = ExchangeAnswer::decode(app.open_payload(&opened)?.as_slice()).map_err(|_| silent())?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    let mut out = Vec::with_capacity(answer.records.len());
    for record in &answer.records {
        out.push(open_one(ctx, partner, record).await?);
    }
    Ok(out)
}

/// The custodian's refusal, with a status from the short list of those it may have.
fn refused(answer: &ExchangeAnswer) -> ApiError {
    let status = match answer.status {
        400 => StatusCode::BAD_REQUEST,
        403 => StatusCode::FORBIDDEN,
        404 => return ApiError::not_found(),
        422 => StatusCode::UNPROCESSABLE_ENTITY,
        _ => return ApiError::unavailable("the other organisation cannot answer now: try again"),
    };
    let mut error = ApiError::new(status, "processing", "the other organisation refuses the request");
    error.outcome = Some(answer.outcome.clone()).filter(|o| !o.is_empty());
    error
}

async fn open_one(ctx: &Ctx, partner: &OrgId, record: &SealedRecord) -> Result<Received, ApiError> {
    let app = &ctx.app;
    let bad = |what: &str| {
        tracing::warn!(%partner, what, "a record of the exchange is not what the ledger says");
        ApiError::new(
            StatusCode::BAD_GATEWAY,
            "security",
            format!("the other organisation's record does not pass its proof ({what}): it is withheld"),
        )
    };
    let receipt: Receipt = serde_json::from_slice(&record.receipt).map_err(|_| bad("receipt"))?;
    let verified = verify_receipt(&app.genesis, &receipt, None).map_err(|e| bad(&e.to_string()))?;
    if verified.custodian != *partner || verified.resource_type != record.resource_type {
        return Err(bad("the receipt is of another record"));
    }
    let opened =
        app.peers.open(partner, &record.class_id, record.epoch, &record.header, ctx.claims()).await?;
    if let Some(failure) = opened.failure {
        tracing::warn!(%partner, code = failure.code, "the keys service opens nothing");
        return Err(if failure.code == "unavailable" {
            ApiError::unavailable("the keys service does not answer: try again")
        } else {
            ApiError::forbidden(
                "your attributes do not open this record's key: ask your administrator for the role",
            )
        });
    }
    let kek: &[u8; 32] = opened.kek.as_slice().try_into().map_err(|_| bad("key"))?;
    let digest = receipt.record.digest();
    let context = Binding {
        channel: &app.channel,
        custodian: partner,
        resource_type: &record.resource_type,
        version: record.version,
        class_id: &record.class_id,
        epoch: record.epoch,
        commitment: &digest,
    }
    .context();
    let key =
        unwrap_dek(&ClassKey::from_bytes(kek), &context, &record.wrapped_key).map_err(|_| bad("key wrap"))?;
    let content = open_record(&key, &context, &record.ciphertext).map_err(|_| bad("ciphertext"))?.to_vec();
    let tape = Tape::parse(&content, &app.tape_limits()).map_err(|_| bad("content"))?;
    let found = leaves::of(&app.schema, &tape).map_err(|_| bad("content"))?;
    let borrowed: Vec<_> = found.iter().map(leaves::ContentLeaf::as_leaf).collect();
    // What was decrypted is what the committee attested and the ledger holds.
    commitment::verify_record(&borrowed, key.salt_seed(), &receipt.record).map_err(|_| bad("commitment"))?;
    let id = crate::resource::id_of(tape.root()).ok_or_else(|| bad("id"))?;
    if id != record.id {
        return Err(bad("id"));
    }
    let patient = crate::content::facts(tape.root(), &record.resource_type, &id, "").patient;
    Ok(Received {
        resource_type: record.resource_type.clone(),
        id,
        version: record.version,
        updated_ms: record.updated_ms,
        content,
        patient,
    })
}
