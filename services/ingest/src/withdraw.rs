//! Taking back a batch that the ledger refused, or of which records were destroyed before the ledger had them.

use crate::app::App;
use crate::audit_event::{Audit, Event};
use crate::commit::root_of;
use crate::content;
use crate::error::ApiError;
use crate::http::read::patient_references;
use crate::resource::id_of;
use consilium_domain::Digest;
use consilium_fhir::Tape;
use consilium_store::sql::outbox::{Kind, NewEntry};
use consilium_store::sql::records::{Status, StoredRecord};

/// Removes the records of a batch that the ledger refuses with `code`. Their creation was audited when they were stored;
/// now the trail gets the failure too (AuditEvent.outcome 8, hl7.org/fhir/R4/valueset-audit-event-outcome.html).
pub async fn withdraw(app: &App, batch: &Digest, code: &str) -> Result<(), ApiError> {
    let (mut records, mut patients) = (Vec::new(), Vec::new());
    for row in app.records.of_batch(batch).await? {
        if row.status == Status::Erased {
            continue;
        }
        let (content, _) = app.open(&row).await?;
        let tape = Tape::parse(&content, &app.tape_limits()).map_err(ApiError::internal)?;
        let id = id_of(tape.root()).ok_or_else(|| ApiError::internal("a stored resource has no id"))?;
        patients.push(content::facts(tape.root(), &row.resource_type, &id, &app.base_url).patient);
        records.push((row.version, format!("{}/{id}/_history/{}", row.resource_type, row.version)));
    }
    let patients = patient_references(&patients);
    let mut events = Vec::new();
    for event in [Event::Create, Event::Update] {
        let of_this = |version: u64| (version == 1) == (event == Event::Create);
        let records: Vec<String> =
            records.iter().filter(|(v, _)| of_this(*v)).map(|(_, r)| r.clone()).collect();
        if records.is_empty() {
            continue;
        }
        let reason = format!("the ledger refused the batch ({code}): nothing of it is stored");
        let audit = failure(app, event, reason);
        let audit = Audit { records, patients: patients.clone(), ..audit };
        events.push(audit.to_json());
    }
    // First the trail: told twice after a crash is better than never.
    app.audit(events).await?;
    app.records.discard(batch).await.map_err(ApiError::from)
}

/// Classes were destroyed that records of a batch belong to, and the ledger does not have the batch. Nobody can attest
/// what nobody can read, so the batch ends; the records that are left become one of their own. The ledger learns of the
/// destruction by the erasure's transaction.
pub async fn regroup(app: &App, batch: &Digest, rows: &[StoredRecord]) -> Result<(), ApiError> {
    let left: Vec<&StoredRecord> = rows.iter().filter(|row| row.status == Status::Pending).collect();
    let destroyed = rows.iter().filter(|row| row.status == Status::Erased).count();
    // What they were is gone with their keys: the trail is told how many.
    let reason = format!(
        "{destroyed} of {} records of a batch were destroyed with their class before the ledger had them",
        rows.len()
    );
    app.audit(vec![failure(app, Event::Create, reason).to_json()]).await?;
    let pending: Vec<u64> = left.iter().map(|row| row.seq).collect();
    let commitments: Vec<Digest> = left.iter().map(|row| row.commitment).collect();
    let rest = (!left.is_empty()).then(|| NewEntry {
        key: root_of(&commitments),
        kind: Kind::Batch,
        tx: None,
        expires: 0,
        next_ms: app.now().0,
    });
    if !app.records.regroup(batch, &pending, rest.as_ref()).await? {
        return Err(ApiError::unavailable("records of the batch changed meanwhile"));
    }
    tracing::warn!(
        destroyed,
        left = left.len(),
        "a batch ended: its records were destroyed before the ledger had it"
    );
    app.wake.notify_one();
    Ok(())
}

/// The trail's word for what was stored once and does not reach the ledger.
fn failure(app: &App, event: Event, reason: String) -> Audit<'_> {
    Audit {
        id: app.new_id(),
        event,
        recorded: app.now(),
        organisation: &app.organisation,
        outcome: 8,
        reason: Some(reason),
        subject: "consilium-ingest",
        fhir_user: None,
        partner: None,
        purpose: None,
        records: Vec::new(),
        patients: Vec::new(),
        query: None,
        request_id: None,
        consents: Vec::new(),
        height: None,
        erasure: None,
    }
}
