//! Taking back a batch that the ledger refused.

use crate::app::App;
use crate::audit_event::{Audit, Event};
use crate::content;
use crate::error::ApiError;
use crate::http::read::patient_references;
use crate::resource::id_of;
use consilium_domain::Digest;
use consilium_fhir::Tape;

/// Removes the records of a batch that the ledger refuses with `code`. Their creation was audited when they were stored;
/// now the trail gets the failure too (AuditEvent.outcome 8, hl7.org/fhir/R4/valueset-audit-event-outcome.html).
pub async fn withdraw(app: &App, batch: &Digest, code: &str) -> Result<(), ApiError> {
    let (mut records, mut patients) = (Vec::new(), Vec::new());
    for row in app.records.of_batch(batch).await? {
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
        let audit = Audit {
            id: app.new_id(),
            event,
            recorded: app.now(),
            organisation: &app.organisation,
            outcome: 8,
            reason: Some(format!("the ledger refused the batch ({code}): nothing of it is stored")),
            subject: "consilium-ingest",
            fhir_user: None,
            partner: None,
            purpose: None,
            records,
            patients: patients.clone(),
            query: None,
            request_id: None,
            consents: Vec::new(),
            height: None,
            erasure: None,
        };
        events.push(audit.to_json());
    }
    // First the trail: told twice after a crash is better than never.
    app.audit(events).await?;
    app.records.discard(batch).await.map_err(ApiError::from)
}
