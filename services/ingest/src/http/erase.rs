//! delete (hl7.org/fhir/R4/http.html#delete): here it is for good. The keys of every version are destroyed, and what was
//! said of them on the ledger says nothing any more.

use super::{Ctx, Reply, check_type};
use crate::audit_event::{Audit, Event};
use crate::erasure;
use crate::error::ApiError;
use crate::http::read::patient_references;
use crate::resource::is_id;
use crate::scope::Interaction;
use actix_web::http::StatusCode;
use consilium_domain::Digest;
use consilium_domain::tx::{ErasedKind, ErasureGround};
use consilium_store::sql::erasures::Erased;
use serde_json::{Value, json};

/// Header that says why, because the ledger will say it.
pub const GROUND: &str = "x-erasure-ground";

fn ground(text: Option<&str>) -> Result<ErasureGround, ApiError> {
    let known = text.and_then(|text| serde_json::from_value(Value::String(text.to_owned())).ok());
    known.ok_or_else(|| {
        ApiError::bad_request(
            "a delete is for good and goes to the ledger: say why in `X-Erasure-Ground`, as `request`, `retention`, \
             `mistake` or `order`",
        )
    })
}

/// Destroys the keys and the ciphertext of all versions of a record.
pub async fn delete(ctx: &Ctx, resource_type: &str, id: &str, why: Option<&str>) -> Result<Reply, ApiError> {
    let access = ctx.principal.may(Interaction::Delete, resource_type)?;
    check_type(&ctx.app, resource_type)?;
    if !is_id(id) {
        return Err(ApiError::not_found());
    }
    let ground = ground(why)?;
    if resource_type == "Consent" {
        return Err(ApiError::conflict(
            "a Consent is part of the ledger's history: set its `status` to `inactive` instead",
        ));
    }
    let app = &ctx.app;
    let handle = app.blind.record(resource_type, id);
    // Whose it was is for the audit trail alone; a record whose class is gone already cannot tell.
    let patient = match app.records.newest(resource_type, &handle, false).await? {
        Some(row) => ctx.opened(&access, row).await.ok().and_then(|opened| opened.patient),
        None => None,
    };
    let (now, salt) = (app.now(), app.entropy.bytes());
    let event = |erasure: &[u8]| Audit {
        id: app.new_id(),
        event: Event::Delete,
        recorded: now,
        organisation: &app.organisation,
        outcome: 0,
        reason: None,
        subject: &ctx.principal.subject,
        fhir_user: ctx.principal.fhir_user.as_deref(),
        partner: None,
        purpose: ctx.purpose.as_deref(),
        records: vec![format!("{resource_type}/{id}")],
        patients: patient_references([&patient]),
        query: None,
        request_id: Some(&ctx.request_id),
        consents: Vec::new(),
        height: None,
        erasure: Some(hex::encode(erasure)),
    };
    let by = ctx.principal.fhir_user.as_deref().unwrap_or(&ctx.principal.subject);
    // Sealing of the event fails only without memory; then nothing is destroyed.
    app.seal_events(&[event(&[]).to_json()])?;
    let told = |commitments: &[Digest]| {
        let record = erasure::record_of(app, (by, now), ground, commitments, &salt);
        let entry =
            erasure::entry(app, (ErasedKind::DataKey, ground), commitments.len(), Digest::sha256(&[&record]));
        (entry, app.seal_events(&[event(&record).to_json()]).unwrap_or_default())
    };
    match app.records.erase(resource_type, &handle, told).await? {
        Erased::Done(versions) => {
            tracing::info!(versions, "a record was destroyed");
            app.wake.notify_one();
            Ok(Reply { status: StatusCode::NO_CONTENT, ..Reply::ok(Vec::new()) })
        }
        // Deleting what is deleted succeeds (http.html#delete).
        Erased::Already => Ok(Reply { status: StatusCode::NO_CONTENT, ..Reply::ok(Vec::new()) }),
        Erased::Unknown => Err(ApiError::not_found()),
        Erased::Pending => Err(ApiError::unavailable(
            "a version of this record has not reached the ledger yet: try again when it has",
        )),
    }
}

/// The key classes of a patient's compartment, for officers who are to destroy them.
pub async fn classes(ctx: &Ctx, id: &str) -> Result<Vec<u8>, ApiError> {
    let access = ctx.principal.may(Interaction::Delete, "Patient")?;
    if access.patient.is_some() || !is_id(id) {
        return Err(ApiError::not_found());
    }
    let known = ctx.app.consents.classes(&ctx.app.blind.patient(id)).await?;
    let parameters: Vec<Value> = known
        .iter()
        .map(|(class, policy)| {
            json!({
                "name": "class",
                "part": [
                    { "name": "id", "valueString": hex::encode(class) },
                    { "name": "policy", "valueString": policy }
                ]
            })
        })
        .collect();
    let record = format!("Patient/{id}");
    let event = ctx.access_event(Event::Read, vec![record.clone()], vec![record], None);
    ctx.app.audit(vec![event]).await?;
    let mut body = json!({ "resourceType": "Parameters" });
    if let (false, Some(object)) = (parameters.is_empty(), body.as_object_mut()) {
        // An empty array is no valid JSON of FHIR.
        object.insert("parameter".to_owned(), Value::Array(parameters));
    }
    Ok(body.to_string().into_bytes())
}
