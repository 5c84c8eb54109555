//! AuditEvents after IHE BALP (profiles.ihe.net/ITI/BALP 1.1): who did what to whose data, why and with what outcome.

use consilium_domain::{OrgId, Timestamp};
use serde_json::{Value, json};

const AUDIT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const RESTFUL: &str = "http://hl7.org/fhir/restful-interaction";
const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const BASIC: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const PURPOSE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Create,
    Update,
    /// A record's keys were destroyed.
    Delete,
    Read,
    Vread,
    History,
    Search,
    /// Records left for another organisation (the custodian's side).
    Disclosure,
    /// Records came from another organisation (the requester's side).
    Receipt,
    /// The exchange decided.
    Decision,
    /// A token or assertion was refused.
    Refusal,
}

impl Event {
    fn subtype(self) -> (&'static str, &'static str) {
        match self {
            Self::Create => (RESTFUL, "create"),
            Self::Update => (RESTFUL, "update"),
            Self::Delete => (RESTFUL, "delete"),
            Self::Read | Self::Disclosure | Self::Receipt => (RESTFUL, "read"),
            Self::Vread => (RESTFUL, "vread"),
            Self::History => (RESTFUL, "history-instance"),
            Self::Search => (RESTFUL, "search-type"),
            Self::Decision => ("urn:consilium:audit-event", "decision"),
            Self::Refusal => ("urn:consilium:audit-event", "refusal"),
        }
    }
    fn kind(self) -> Value {
        match self {
            Self::Disclosure => json!({ "system": DCM, "code": "110106", "display": "Export" }),
            Self::Receipt => json!({ "system": DCM, "code": "110107", "display": "Import" }),
            Self::Decision | Self::Refusal => {
                json!({ "system": DCM, "code": "110113", "display": "Security Alert" })
            }
            _ => json!({ "system": AUDIT_TYPE, "code": "rest", "display": "RESTful Operation" }),
        }
    }
    fn action(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Update => "U",
            Self::Delete => "D",
            Self::Read | Self::Vread | Self::History | Self::Disclosure | Self::Receipt => "R",
            Self::Search | Self::Decision | Self::Refusal => "E",
        }
    }
    fn profile(self, patient: bool, entities: bool) -> Option<String> {
        let name = match self {
            // Those profiles want what it was done to.
            _ if !entities => return None,
            Self::Create => "Create",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Read | Self::Vread => "Read",
            Self::Search => "Query",
            _ => return None,
        };
        let name = if patient { format!("Patient{name}") } else { name.to_owned() };
        Some(format!("https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{name}"))
    }
}

/// Everything that an AuditEvent is made of. Absent parts are left out.
#[derive(Debug, Clone)]
pub struct Audit<'a> {
    pub id: String,
    pub event: Event,
    pub recorded: Timestamp,
    pub organisation: &'a OrgId,
    /// 0 success, 4 the caller's fault, 8 ours.
    pub outcome: u8,
    /// Short and without a patient's value: a reason code.
    pub reason: Option<String>,
    /// The token's subject.
    pub subject: &'a str,
    pub fhir_user: Option<&'a str>,
    /// Another organisation on the other end.
    pub partner: Option<&'a OrgId>,
    pub purpose: Option<&'a str>,
    /// `Type/id` or `Type/id/_history/v`.
    pub records: Vec<String>,
    /// `Patient/id` of those concerned.
    pub patients: Vec<String>,
    /// The search as sent.
    pub query: Option<String>,
    pub request_id: Option<&'a str>,
    /// `Consent/id` of the consents that took part in a decision.
    pub consents: Vec<String>,
    /// Ledger height of a decision.
    pub height: Option<u64>,
    /// The erasure record whose digest the ledger has, in hexadecimal.
    pub erasure: Option<String>,
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

impl Audit<'_> {
    /// The resource as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let (system, code) = self.event.subtype();
        let organisation = |o: &OrgId| {
            json!({
                "identifier": { "system": "urn:consilium:organisation", "value": o.as_str() },
                "display": o.as_str()
            })
        };
        let mut who = json!({
            "identifier": { "system": "urn:consilium:subject", "value": self.subject }
        });
        if let (Some(user), Some(object)) = (self.fhir_user, who.as_object_mut()) {
            object.insert("reference".to_owned(), json!(user));
        }
        let mut requestor = json!({
            "type": { "coding": [coding(PARTICIPATION, "IRCP", "information recipient")] },
            "who": who,
            "requestor": true
        });
        if let (Some(purpose), Some(object)) = (self.purpose, requestor.as_object_mut()) {
            object.insert(
                "purposeOfUse".to_owned(),
                json!([{ "coding": [{ "system": PURPOSE, "code": purpose }] }]),
            );
        }
        let mut agents = vec![
            requestor,
            json!({
                "type": { "coding": [coding(DCM, "110152", "Destination Role ID")] },
                "who": organisation(self.organisation),
                "requestor": false
            }),
        ];
        if let Some(partner) = self.partner {
            agents.push(json!({
                "type": { "coding": [coding(DCM, "110153", "Source Role ID")] },
                "who": organisation(partner),
                "requestor": false
            }));
        }
        let mut entities = Vec::new();
        for patient in &self.patients {
            entities.push(json!({
                "what": { "reference": patient },
                "type": coding(ENTITY_TYPE, "1", "Person"),
                "role": coding(OBJECT_ROLE, "1", "Patient")
            }));
        }
        for record in &self.records {
            entities.push(json!({
                "what": { "reference": record },
                "type": coding(ENTITY_TYPE, "2", "System Object"),
                "role": coding(OBJECT_ROLE, "4", "Domain Resource")
            }));
        }
        for consent in &self.consents {
            entities.push(json!({
                "what": { "reference": consent },
                "type": coding(ENTITY_TYPE, "2", "System Object"),
                "role": coding(OBJECT_ROLE, "13", "Security Resource")
            }));
        }
        if let Some(query) = &self.query {
            use base64::Engine as _;
            entities.push(json!({
                "type": coding(ENTITY_TYPE, "2", "System Object"),
                "role": coding(OBJECT_ROLE, "24", "Query"),
                "query": base64::engine::general_purpose::STANDARD.encode(query)
            }));
        }
        if let Some(id) = self.request_id {
            entities.push(json!({
                "what": { "identifier": { "value": id } },
                "type": coding(BASIC, "XrequestId", "X-Request-Id")
            }));
        }
        if let Some(height) = self.height {
            entities.push(json!({
                "type": coding(ENTITY_TYPE, "4", "Other"),
                "detail": [{ "type": "ledger-height", "valueString": height.to_string() }]
            }));
        }
        if let Some(erasure) = &self.erasure {
            entities.push(json!({
                "type": coding(ENTITY_TYPE, "4", "Other"),
                "detail": [{ "type": "erasure-record", "valueString": erasure }]
            }));
        }
        let mut resource = json!({
            "resourceType": "AuditEvent",
            "id": self.id,
            "type": self.event.kind(),
            "subtype": [{ "system": system, "code": code }],
            "action": self.event.action(),
            "recorded": self.recorded.to_instant(),
            "outcome": self.outcome.to_string(),
            "agent": agents,
            "source": {
                "observer": organisation(self.organisation),
                "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")]
            }
        });
        if let Some(object) = resource.as_object_mut() {
            if let Some(profile) = self.event.profile(!self.patients.is_empty(), !entities.is_empty()) {
                object.insert("meta".to_owned(), json!({ "profile": [profile] }));
            }
            if let Some(reason) = &self.reason {
                object.insert("outcomeDesc".to_owned(), json!(reason));
            }
            if !entities.is_empty() {
                object.insert("entity".to_owned(), Value::Array(entities));
            }
        }
        resource.to_string().into_bytes()
    }
}
