//! read, vread, history of an instance, receipts (hl7.org/fhir/R4/http.html#read).

use super::{Ctx, Reply, check_type, pairs, parse};
use crate::audit_event::{Audit, Event};
use crate::auth::Access;
use crate::error::ApiError;
use crate::leaves;
use crate::resource::is_id;
use crate::scope::Interaction;
use actix_web::http::StatusCode;
use consilium_domain::Timestamp;
use consilium_domain::receipt::{RECEIPT_FORMAT, Receipt, TxProof};
use consilium_domain::record::RecordCommitment;
use consilium_fhir::Tape;
use consilium_ledger::commitment;
use consilium_store::sql::records::{Status, StoredRecord};

/// A record of our own, decrypted.
pub struct Opened {
    pub row: StoredRecord,
    pub content: Vec<u8>,
    pub patient: Option<String>,
}

impl Ctx {
    /// Whether the access covers a record; outside it, the record does not exist.
    fn within(&self, access: &Access, row: &StoredRecord) -> bool {
        match &access.patient {
            None => true,
            Some(id) => row.compartment.as_deref() == Some(self.app.blind.patient(id).as_slice()),
        }
    }

    /// Decrypts a record and finds its patient again, so that the access can be checked on the content itself.
    pub async fn opened(&self, access: &Access, row: StoredRecord) -> Result<Opened, ApiError> {
        if !self.within(access, &row) {
            return Err(ApiError::not_found());
        }
        if row.status == Status::Erased {
            return Err(ApiError::gone());
        }
        let (content, _) = self.app.open(&row).await?;
        let patient = patient_of(self, &row, &content)?;
        // The predicate again, on what would leave: the index and the content must agree.
        if access.patient.is_some() && access.patient != patient {
            return Err(ApiError::internal("a record's compartment differs from its content: withheld"));
        }
        Ok(Opened { row, content, patient })
    }

    /// Why there is nothing: it never was, or was destroyed; the difference is told within the caller's access only.
    async fn absent(
        &self,
        access: &Access,
        resource_type: &str,
        handle: &[u8],
    ) -> Result<ApiError, ApiError> {
        let own = access.patient.as_deref().map(|id| self.app.blind.patient(id));
        Ok(match self.app.records.erased(resource_type, handle).await? {
            Some(compartment) if own.is_none() || own == compartment => ApiError::gone(),
            _ => ApiError::not_found(),
        })
    }

    /// The audit event of reading these records.
    pub fn access_event(
        &self,
        event: Event,
        records: Vec<String>,
        patients: Vec<String>,
        query: Option<String>,
    ) -> Vec<u8> {
        Audit {
            id: self.app.new_id(),
            event,
            recorded: self.app.now(),
            organisation: &self.app.organisation,
            outcome: 0,
            reason: None,
            subject: &self.principal.subject,
            fhir_user: self.principal.fhir_user.as_deref(),
            partner: None,
            purpose: self.purpose.as_deref(),
            records,
            patients,
            query,
            request_id: Some(&self.request_id),
            consents: Vec::new(),
            height: None,
            erasure: None,
        }
        .to_json()
    }
}

fn patient_of(ctx: &Ctx, row: &StoredRecord, content: &[u8]) -> Result<Option<String>, ApiError> {
    let tape = Tape::parse(content, &consilium_fhir::Limits::default()).map_err(ApiError::internal)?;
    let id = crate::resource::id_of(tape.root()).unwrap_or_default();
    Ok(crate::content::facts(tape.root(), &row.resource_type, &id, &ctx.app.base_url).patient)
}

/// `Patient/x` entries of an audit event.
pub fn patient_references<'a>(patients: impl IntoIterator<Item = &'a Option<String>>) -> Vec<String> {
    let mut all: Vec<String> = patients.into_iter().flatten().map(|id| format!("Patient/{id}")).collect();
    all.sort();
    all.dedup();
    all
}

fn reply(opened: Opened) -> Reply {
    let mut reply = Reply::ok(opened.content);
    reply.version = Some(opened.row.version);
    reply.updated_ms = Some(opened.row.updated_ms);
    reply
}

/// What was destroyed is no match and no version any more.
pub fn unless_gone(opened: Result<Opened, ApiError>) -> Result<Option<Opened>, ApiError> {
    match opened {
        Err(error) if error.status == StatusCode::GONE => Ok(None),
        opened => opened.map(Some),
    }
}

/// The newest version.
pub async fn read(ctx: &Ctx, resource_type: &str, id: &str) -> Result<Reply, ApiError> {
    let access = ctx.principal.may(Interaction::Read, resource_type)?;
    check_type(&ctx.app, resource_type)?;
    if !is_id(id) {
        return Err(ApiError::not_found());
    }
    let handle = ctx.app.blind.record(resource_type, id);
    let Some(row) = ctx.app.records.newest(resource_type, &handle, ctx.app.pending()).await? else {
        return Err(ctx.absent(&access, resource_type, &handle).await?);
    };
    let opened = ctx.opened(&access, row).await?;
    let patients = patient_references([&opened.patient]);
    ctx.app
        .audit(vec![ctx.access_event(Event::Read, vec![format!("{resource_type}/{id}")], patients, None)])
        .await?;
    Ok(reply(opened))
}

async fn version_row(
    ctx: &Ctx,
    resource_type: &str,
    id: &str,
    version: &str,
) -> Result<StoredRecord, ApiError> {
    check_type(&ctx.app, resource_type)?;
    let (true, Ok(number)) = (is_id(id), version.parse::<u64>()) else { return Err(ApiError::not_found()) };
    let handle = ctx.app.blind.record(resource_type, id);
    ctx.app
        .records
        .version(resource_type, &handle, number, ctx.app.pending())
        .await?
        .ok_or_else(ApiError::not_found)
}

/// One version.
pub async fn vread(ctx: &Ctx, resource_type: &str, id: &str, version: &str) -> Result<Reply, ApiError> {
    let access = ctx.principal.may(Interaction::Read, resource_type)?;
    let row = version_row(ctx, resource_type, id, version).await?;
    let opened = ctx.opened(&access, row).await?;
    let record = format!("{resource_type}/{id}/_history/{}", opened.row.version);
    let patients = patient_references([&opened.patient]);
    ctx.app.audit(vec![ctx.access_event(Event::Vread, vec![record], patients, None)]).await?;
    Ok(reply(opened))
}

/// All versions of an instance, newest first, as a `history` bundle.
pub async fn history(ctx: &Ctx, resource_type: &str, id: &str, query: &str) -> Result<Reply, ApiError> {
    let access = ctx.principal.may(Interaction::Read, resource_type)?;
    check_type(&ctx.app, resource_type)?;
    let mut count = ctx.app.limits.page;
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "_count" => count = value.parse().map_err(|_| ApiError::bad_request("`_count` is a number"))?,
            "_format" | "_pretty" => {}
            _ => return Err(ApiError::bad_request("the history of an instance knows `_count` only")),
        }
    }
    let count = count.clamp(1, ctx.app.limits.page_max);
    if !is_id(id) {
        return Err(ApiError::not_found());
    }
    let handle = ctx.app.blind.record(resource_type, id);
    let rows = ctx.app.records.history(resource_type, &handle, 0, count, ctx.app.pending()).await?;
    if rows.is_empty() {
        return Err(ApiError::not_found());
    }
    let (mut entries, mut patients) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(opened) = unless_gone(ctx.opened(&access, row).await)? else { continue };
        let (method, url, status) = if opened.row.version == 1 {
            ("POST", resource_type.to_owned(), "201")
        } else {
            ("PUT", format!("{resource_type}/{id}"), "200")
        };
        entries.push(format!(
            "{{\"fullUrl\":\"{}/{resource_type}/{id}\",\"resource\":{},\"request\":{{\"method\":\"{method}\",\"url\":\"{url}\"}},\
             \"response\":{{\"status\":\"{status}\",\"etag\":\"W/\\\"{}\\\"\",\"lastModified\":\"{}\"}}}}",
            ctx.app.base_url,
            String::from_utf8_lossy(&opened.content),
            opened.row.version,
            Timestamp(opened.row.updated_ms).to_instant()
        ));
        patients.push(opened.patient);
    }
    if entries.is_empty() {
        return Err(ApiError::gone());
    }
    let event = ctx.access_event(
        Event::History,
        vec![format!("{resource_type}/{id}")],
        patient_references(&patients),
        None,
    );
    ctx.app.audit(vec![event]).await?;
    let body = format!(
        "{{\"resourceType\":\"Bundle\",\"id\":\"{}\",\"type\":\"history\",\"total\":{},\"entry\":[{}]}}",
        ctx.app.new_id(),
        entries.len(),
        entries.join(",")
    );
    Ok(Reply::ok(body.into_bytes()))
}

/// The receipt of a version (domain::receipt::Receipt as JSON): with every leaf laid open, or, with `openings=none`,
/// the commitment alone.
pub async fn receipt(
    ctx: &Ctx,
    resource_type: &str,
    id: &str,
    version: &str,
    query: &str,
) -> Result<Vec<u8>, ApiError> {
    let access = ctx.principal.may(Interaction::Read, resource_type)?;
    let row = version_row(ctx, resource_type, id, version).await?;
    let opened = ctx.opened(&access, row).await?;
    let mut receipt = committed_receipt(&ctx.app, &opened.row).await?.ok_or_else(|| {
        ApiError::new(
            actix_web::http::StatusCode::NOT_FOUND,
            "not-found",
            "the ledger has not confirmed this version yet: it has no receipt",
        )
    })?;
    if !pairs(query)?.iter().any(|(n, v)| n == "openings" && v == "none") {
        let (content, key) = ctx.app.open(&opened.row).await?;
        let tape = parse(&ctx.app, &content)?;
        let found = leaves::of(&ctx.app.schema, &tape).map_err(ApiError::internal)?;
        let borrowed: Vec<_> = found.iter().map(leaves::ContentLeaf::as_leaf).collect();
        let committed =
            commitment::commit(resource_type, &borrowed, key.salt_seed()).map_err(ApiError::internal)?;
        receipt.openings = committed.open_all().map_err(ApiError::internal)?;
    }
    let record = format!("{resource_type}/{id}/_history/{version}");
    let event = ctx.access_event(Event::Vread, vec![record], patient_references([&opened.patient]), None);
    ctx.app.audit(vec![event]).await?;
    serde_json::to_vec(&receipt).map_err(ApiError::internal)
}

/// The receipt of a record without openings; `None` while it is unproven.
pub async fn committed_receipt(
    app: &crate::app::App,
    row: &StoredRecord,
) -> Result<Option<Receipt>, ApiError> {
    if row.status == Status::Pending {
        return Ok(None);
    }
    let Some((_, proof)) = app.records.proof(&row.batch).await? else { return Ok(None) };
    let transaction: TxProof = serde_json::from_slice(&proof).map_err(ApiError::internal)?;
    let digests = app.records.commitments(&row.batch).await?;
    let index = usize::try_from(row.position).map_err(ApiError::internal)?;
    let batch = consilium_domain::merkle::Inclusion::of(&digests, index)
        .ok_or_else(|| ApiError::internal("a record is not in its batch"))?;
    Ok(Some(Receipt {
        format: RECEIPT_FORMAT.to_owned(),
        genesis: app.genesis_digest,
        record: RecordCommitment {
            resource_type: row.resource_type.clone(),
            leaf_count: row.leaf_count,
            root: row.root,
        },
        batch,
        transaction,
        openings: Vec::new(),
    }))
}
