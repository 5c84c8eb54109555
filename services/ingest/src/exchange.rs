//! The custodian's side of the exchange: another organisation asks, the ledger's consents and our policy decide, and
//! what is permitted leaves as ciphertext with a receipt.

use crate::app::App;
use crate::audit_event::{Audit, Event};
use crate::consent::effective;
use crate::error::ApiError;
use crate::http::read::{committed_receipt, patient_references};
use crate::http::search::{Query, parse_query};
use actix_web::http::StatusCode;
use consilium_contracts::Message;
use consilium_contracts::v1::{
    ExchangeAnswer, ExchangeQuery, ExchangeRequest, ExchangeResponse, Failure, SealedRecord,
};
use consilium_domain::canon::Canonical;
use consilium_domain::message::{Envelope, Sealed};
use consilium_domain::{Height, OrgId, Timestamp};
use consilium_fhir::tape::{Cursor, Kind};
use consilium_fhir::{Limits, Tape};
use consilium_ledger::Role;
use consilium_ledger::envelope::{self, Expect};
use consilium_policy::consent::Coding;
use consilium_policy::period::{Span, period, span};
use consilium_policy::{Consent, Decision, Request, decide, purpose};
use consilium_store::sql::records::StoredRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Subjects inside the envelopes.
pub const READ: &str = "exchange/read";
pub const SEARCH: &str = "exchange/search";
/// How far a request's time may be from our clock.
pub const WINDOW: Duration = Duration::from_secs(30);
/// Most records of one answer.
const MAX_RECORDS: u32 = 200;

/// Answers one request of another organisation; nothing for one that was seen before. A second copy, which came over
/// another hub, is in good hands at another replica, and a refusal would race its answer; a replay gets nothing.
pub async fn answer(app: Arc<App>, request: ExchangeRequest) -> Option<ExchangeResponse> {
    let opened = match open(&app, &request.envelope).await {
        Ok(opened) => opened,
        Err(failure) => return Some(ExchangeResponse { envelope: Vec::new(), failure: Some(failure) }),
    };
    let Some(sealed) = opened else {
        app.metrics.repeated.inc(&[]);
        return None;
    };
    Some(respond(&app, sealed).await)
}

async fn respond(app: &App, sealed: Sealed) -> ExchangeResponse {
    let answer = match decided(app, &sealed).await {
        Ok(answer) => answer,
        Err(error) => ExchangeAnswer {
            status: u32::from(error.status.as_u16()),
            outcome: error.body(),
            records: Vec::new(),
            decided_at: 0,
        },
    };
    let content = answer.encode_to_vec();
    let payload = match app.seal_payload(&sealed.sender, &sealed.subject, &sealed.nonce, &content) {
        Ok(payload) => payload,
        Err(error) => {
            tracing::error!(cause = %error, "an answer could not be sealed");
            let failure = Failure::new("unavailable", "the answer could not be sealed");
            return ExchangeResponse { envelope: Vec::new(), failure: Some(failure) };
        }
    };
    let reply = Sealed {
        sender: app.organisation.clone(),
        recipient: sealed.sender,
        subject: sealed.subject,
        height: Height(answer.decided_at),
        time: app.now(),
        nonce: sealed.nonce,
        payload,
    };
    let envelope = envelope::seal(&app.key, &app.channel, reply).to_canonical();
    ExchangeResponse { envelope, failure: None }
}

/// Checks signature, recipient, subject and time; nothing for a message that was seen before.
async fn open(app: &App, bytes: &[u8]) -> Result<Option<Sealed>, Failure> {
    // Details stay in our log: a forger learns nothing from us.
    let refuse = |why: String| {
        tracing::warn!(why, "an exchange request was refused");
        Failure::new("refused", "the request is not acceptable")
    };
    let envelope = Envelope::from_canonical(bytes).map_err(|e| refuse(e.to_string()))?;
    let members = app.members.get();
    let subject = if envelope.sealed.subject == SEARCH { SEARCH } else { READ };
    let expect = Expect {
        channel: &app.channel,
        members: &members,
        role: Role::Ingest,
        recipient: &app.organisation,
        subject,
        now: app.now(),
        window: WINDOW,
    };
    // The nonce is remembered durably below: a restart must not open the window again.
    let sealed = envelope::open(envelope, &expect, |_, _| true).map_err(|e| refuse(e.to_string()))?;
    let once = app.blind.once("exchange", sealed.sender.as_str(), &sealed.nonce.to_hex());
    let keep = app.now().plus(WINDOW * 3).0;
    match app.seen.first_use(&once, keep).await {
        Ok(true) => Ok(Some(sealed)),
        Ok(false) => Ok(None),
        Err(error) => Err(refuse(error.to_string())),
    }
}

/// The newest block's height and time, if it is fresh enough to decide on.
async fn fresh_head(app: &App) -> Result<(u64, Timestamp), ApiError> {
    let head = app.peers.head().await?;
    let time = Timestamp(head.time_ms);
    let age = app.now().since(time);
    if head.syncing || age > Duration::from_millis(app.genesis.params.staleness_ms) {
        // Fails closed: a consent may have been withdrawn in blocks that this node has not seen.
        return Err(ApiError::unavailable("the ledger here is not up to date: nothing can be decided now"));
    }
    Ok((head.height, time))
}

/// What depends on the request alone, before any data is looked at.
pub fn check_purpose(code: &str) -> Result<(), ApiError> {
    if !purpose::is_known(code) {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "code-invalid",
            "the purpose of use is no code of v3 PurposeOfUse: use e.g. `TREAT`",
        ));
    }
    if purpose::is_a(code, "HRESCH") {
        return Err(ApiError::forbidden("research gets statistics, never raw records"));
    }
    Ok(())
}

async fn decided(app: &App, sealed: &Sealed) -> Result<ExchangeAnswer, ApiError> {
    let query = ExchangeQuery::decode(app.open_payload(sealed)?.as_slice())
        .map_err(|_| ApiError::bad_request("the exchange query does not decode"))?;
    check_purpose(&query.purpose)?;
    crate::http::check_type(app, &query.resource_type)?;
    let (height, time) = fresh_head(app).await?;
    let rows = if sealed.subject == SEARCH { found(app, &query).await? } else { one(app, &query).await? };
    let mut case = Case {
        app,
        query: &query,
        requester: &sealed.sender,
        time,
        consents: BTreeMap::new(),
        log: Vec::new(),
    };
    let mut records = Vec::new();
    let (mut disclosed, mut patients) = (Vec::new(), Vec::new());
    for row in rows {
        let looked = match case.look(row).await {
            // Destroyed is as absent: without its content nothing can be decided, hence nothing be told.
            Err(error) if error.status == StatusCode::GONE => continue,
            looked => looked?,
        };
        if looked.decision.permits()
            && let Some(record) = case.sealed_record(&looked).await?
        {
            disclosed.push(format!("{}/{}", looked.row.resource_type, looked.id));
            patients.push(looked.patient.clone());
            records.push(record);
        }
    }
    let events = case.events(height, disclosed, &patients);
    // No trace, no data.
    app.audit(events).await?;
    if sealed.subject == READ && records.is_empty() {
        // The same for absent and denied.
        return Err(ApiError::not_found());
    }
    Ok(ExchangeAnswer { status: 200, outcome: Vec::new(), records, decided_at: height })
}

async fn one(app: &App, query: &ExchangeQuery) -> Result<Vec<StoredRecord>, ApiError> {
    let handle = app.blind.record(&query.resource_type, &query.id);
    // Unproven records do not leave: only what the ledger has.
    Ok(app.records.newest(&query.resource_type, &handle, false).await?.into_iter().collect())
}

async fn found(app: &App, query: &ExchangeQuery) -> Result<Vec<StoredRecord>, ApiError> {
    let given: Vec<(String, String)> =
        query.parameters.iter().map(|p| (p.name.clone(), p.value.clone())).collect();
    let Query { mut search, count, .. } = parse_query(app, &query.resource_type, &given)?;
    if search.index.is_empty() && search.handles.is_none() {
        return Err(ApiError::bad_request(
            "a search across organisations names `_id`, `identifier`, `patient` or `subject`",
        ));
    }
    search.pending = false;
    let limit = count.unwrap_or(MAX_RECORDS).clamp(1, MAX_RECORDS);
    Ok(app.records.search(&search, 0, limit).await?)
}

/// A record that was looked at to decide on it.
struct Looked {
    row: StoredRecord,
    id: String,
    patient: Option<String>,
    decision: Decision,
}

/// One request under decision.
struct Case<'a> {
    app: &'a App,
    query: &'a ExchangeQuery,
    requester: &'a OrgId,
    /// The ledger's time.
    time: Timestamp,
    /// Consents by patient, read once per request.
    consents: BTreeMap<String, Vec<Option<Consent>>>,
    log: Vec<(Option<String>, Decision)>,
}

impl Case<'_> {
    async fn look(&mut self, row: StoredRecord) -> Result<Looked, ApiError> {
        let (content, _) = self.app.open(&row).await?;
        let (request, id, patient) = {
            let tape = Tape::parse(&content, &Limits::default()).map_err(ApiError::internal)?;
            let root = tape.root();
            let id = crate::resource::id_of(root).unwrap_or_default();
            let patient = crate::content::facts(root, &row.resource_type, &id, &self.app.base_url).patient;
            (self.request(root, &row.resource_type, &id, patient.as_deref()), id, patient)
        };
        let none = Vec::new();
        let consents = match &patient {
            None => &none,
            Some(p) => {
                if !self.consents.contains_key(p) {
                    let read = effective(self.app, &self.app.blind.patient(p)).await?;
                    self.consents.insert(p.clone(), read);
                }
                self.consents.get(p).unwrap_or(&none)
            }
        };
        let decision = decide(consents, &request, self.time);
        let word = if decision.permits() { "permit" } else { "deny" };
        self.app.metrics.decisions.inc(&[word]);
        self.log.push((patient.clone(), decision.clone()));
        Ok(Looked { row, id, patient, decision })
    }

    fn request(&self, root: Cursor<'_, '_>, resource_type: &str, id: &str, patient: Option<&str>) -> Request {
        let labels = root.get("meta").and_then(|m| m.get("security")).map(codings).unwrap_or_default();
        let codes = root.get("code").and_then(|c| c.get("coding")).map(codings).unwrap_or_default();
        Request {
            organisation: self.requester.clone(),
            user: self.query.claims.as_ref().map(|c| c.subject.clone()).unwrap_or_default(),
            action: "access".to_owned(),
            purpose: self.query.purpose.clone(),
            custodian: self.app.organisation.clone(),
            patient: patient.map(|p| format!("Patient/{p}")),
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            labels,
            codes,
            date: date_of(root, self.app.zone_minutes),
        }
    }

    /// The record as it leaves; `None` while the ledger has no proof of it.
    async fn sealed_record(&self, looked: &Looked) -> Result<Option<SealedRecord>, ApiError> {
        let Some(receipt) = committed_receipt(self.app, &looked.row).await? else { return Ok(None) };
        let class = self.app.classes.at(&looked.row.class_id, looked.row.epoch).await?;
        Ok(Some(SealedRecord {
            resource_type: looked.row.resource_type.clone(),
            id: looked.id.clone(),
            version: looked.row.version,
            updated_ms: looked.row.updated_ms,
            ciphertext: looked.row.ciphertext.clone(),
            wrapped_key: looked.row.wrapped_key.clone(),
            class_id: looked.row.class_id.clone(),
            epoch: looked.row.epoch,
            header: class.header,
            receipt: serde_json::to_vec(&receipt).map_err(ApiError::internal)?,
        }))
    }

    /// The decision, and the disclosure if there is one.
    fn events(&self, height: u64, disclosed: Vec<String>, patients: &[Option<String>]) -> Vec<Vec<u8>> {
        let permitted = !disclosed.is_empty();
        let subject = self.query.claims.as_ref().map_or("unknown", |c| c.subject.as_str());
        let mut consents: Vec<String> =
            self.log.iter().flat_map(|(_, d)| d.consents.iter().map(|c| format!("Consent/{c}"))).collect();
        consents.sort();
        consents.dedup();
        let mut reasons: Vec<String> =
            self.log.iter().flat_map(|(_, d)| d.reasons.iter().map(reason_code)).collect();
        reasons.sort();
        reasons.dedup();
        let word = if permitted { "permit" } else { "deny" };
        let concerned: Vec<Option<String>> = self.log.iter().map(|(p, _)| p.clone()).collect();
        let base = Audit {
            id: self.app.new_id(),
            event: Event::Decision,
            recorded: self.app.now(),
            organisation: &self.app.organisation,
            outcome: if permitted { 0 } else { 4 },
            reason: Some(format!(
                "{word}: {}",
                if reasons.is_empty() { "absent".to_owned() } else { reasons.join(", ") }
            )),
            subject,
            fhir_user: None,
            partner: Some(self.requester),
            purpose: Some(&self.query.purpose),
            records: Vec::new(),
            patients: patient_references(&concerned),
            query: Some(format!("{}/{}", self.query.resource_type, self.query.id)),
            request_id: Some(&self.query.request_id).filter(|id| !id.is_empty()).map(String::as_str),
            consents,
            height: Some(height),
            erasure: None,
        };
        let mut events = vec![base.to_json()];
        if permitted {
            let disclosure = Audit {
                id: self.app.new_id(),
                event: Event::Disclosure,
                reason: None,
                query: None,
                records: disclosed,
                patients: patient_references(patients),
                ..base
            };
            events.push(disclosure.to_json());
        }
        events
    }
}

/// A reason's name for the audit trail.
fn reason_code(reason: &consilium_policy::Reason) -> String {
    use consilium_policy::Reason;
    match reason {
        Reason::OwnOrganisation => "own-organisation".to_owned(),
        Reason::NoPatient => "no-patient".to_owned(),
        Reason::NoConsent => "no-consent".to_owned(),
        Reason::Provision { consent, path, .. } => format!("Consent/{consent}#{path}"),
        Reason::Unreadable => "unreadable-consent".to_owned(),
        Reason::PurposeUnknown => "purpose-unknown".to_owned(),
        Reason::PurposeNotForRecords => "purpose-not-for-records".to_owned(),
        Reason::ActionUnknown => "action-unknown".to_owned(),
    }
}

fn codings(list: Cursor<'_, '_>) -> Vec<Coding> {
    list.children()
        .filter_map(|c| {
            let text = |key: &str| c.get(key).and_then(|v| v.as_str()).map(|s| s.into_owned());
            Some(Coding { system: text("system").unwrap_or_default(), code: text("code")? })
        })
        .collect()
}

/// Elements that say when what a record tells of happened.
const DATES: [&str; 12] = [
    "effectiveDateTime",
    "effectiveInstant",
    "occurrenceDateTime",
    "performedDateTime",
    "onsetDateTime",
    "authoredOn",
    "recordedDate",
    "issued",
    "started",
    "date",
    "created",
    "recorded",
];
const PERIODS: [&str; 6] =
    ["effectivePeriod", "occurrencePeriod", "performedPeriod", "onsetPeriod", "period", "billablePeriod"];

/// The clinically relevant date.
fn date_of(root: Cursor<'_, '_>, zone_minutes: i64) -> Option<Span> {
    for key in PERIODS {
        if let Some(p) = root.get(key).filter(|p| p.kind() == Kind::Object) {
            let text = |key: &str| p.get(key).and_then(|v| v.as_str());
            let (start, end) = (text("start"), text("end"));
            return period(start.as_deref(), end.as_deref(), zone_minutes);
        }
    }
    DATES.iter().find_map(|key| span(&root.get(key)?.as_str()?, zone_minutes))
}
