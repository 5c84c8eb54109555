//! What the log needs to know of an AuditEvent (hl7.org/fhir/R4/auditevent.html, IHE BALP) to find it again.

use serde_json::{Value, json};
use thiserror::Error;

/// Largest AuditEvent, in bytes.
pub const MAX_EVENT: usize = 4 * 1024 * 1024;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum EventError {
    #[error("the event is larger than {MAX_EVENT} bytes")]
    TooLarge,
    #[error("the event is not a JSON object with resourceType `AuditEvent`")]
    NotAuditEvent,
    #[error("`AuditEvent.{0}` is missing")]
    Missing(&'static str),
}

/// The parts by which an event is found and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub id: String,
    /// FHIR instant.
    pub recorded: String,
    /// Code of the first subtype, else of the type.
    pub kind: String,
    /// C, R, U, D or E.
    pub action: String,
    /// 0 success, 4 minor, 8 serious, 12 major failure.
    pub outcome: String,
    pub agent: String,
    pub organisation: String,
    pub purpose: String,
    /// `Patient/id` of each patient concerned.
    pub patients: Vec<String>,
    /// What was touched, e.g. `Observation/17`.
    pub objects: Vec<String>,
    /// Why: `entity.detail` and `outcomeDesc`.
    pub reasons: Vec<String>,
}

fn text<'a>(v: &'a Value, pointer: &str) -> Option<&'a str> {
    v.pointer(pointer)?.as_str()
}

fn items<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

impl Facts {
    /// Reads them from the JSON text.
    pub fn read(json: &[u8]) -> Result<Self, EventError> {
        if json.len() > MAX_EVENT {
            return Err(EventError::TooLarge);
        }
        let v: Value = serde_json::from_slice(json).map_err(|_| EventError::NotAuditEvent)?;
        if text(&v, "/resourceType") != Some("AuditEvent") {
            return Err(EventError::NotAuditEvent);
        }
        let must = |p: &str, name| text(&v, p).map(str::to_owned).ok_or(EventError::Missing(name));
        let kind = text(&v, "/subtype/0/code").or_else(|| text(&v, "/type/code"));
        let requestor = items(&v, "agent").iter().find(|a| a.get("requestor") == Some(&Value::Bool(true)));
        let agents = items(&v, "agent");
        let of_agent = |a: &Value| {
            ["/who/identifier/value", "/who/reference", "/who/display", "/altId", "/name"]
                .iter()
                .find_map(|p| text(a, p))
                .map(str::to_owned)
        };
        let mut facts = Self {
            id: must("/id", "id")?,
            recorded: must("/recorded", "recorded")?,
            kind: kind.ok_or(EventError::Missing("type"))?.to_owned(),
            action: text(&v, "/action").unwrap_or("E").to_owned(),
            outcome: text(&v, "/outcome").unwrap_or("0").to_owned(),
            agent: requestor.or(agents.first()).and_then(of_agent).unwrap_or_default(),
            // Whoever asked from elsewhere is the DICOM "Source Role" (CID 402, 110153).
            organisation: agents
                .iter()
                .find(|a| text(a, "/type/coding/0/code") == Some("110153"))
                .and_then(|a| text(a, "/who/identifier/value"))
                .or_else(|| text(&v, "/source/observer/identifier/value"))
                .or_else(|| text(&v, "/source/observer/display"))
                .unwrap_or_default()
                .to_owned(),
            purpose: text(&v, "/purposeOfEvent/0/coding/0/code")
                .or_else(|| agents.iter().find_map(|a| text(a, "/purposeOfUse/0/coding/0/code")))
                .unwrap_or_default()
                .to_owned(),
            patients: Vec::new(),
            objects: Vec::new(),
            reasons: text(&v, "/outcomeDesc").map(str::to_owned).into_iter().collect(),
        };
        for entity in items(&v, "entity") {
            if let Some(r) = text(entity, "/what/reference") {
                // object-role 1 = Patient (DICOM PS3.16 CID; object-role code system).
                let patient = text(entity, "/role/code") == Some("1") || r.starts_with("Patient/");
                let list = if patient { &mut facts.patients } else { &mut facts.objects };
                list.push(without_version(r).to_owned());
            }
            for d in items(entity, "detail") {
                if let (Some(t), Some(value)) = (text(d, "/type"), text(d, "/valueString")) {
                    facts.reasons.push(format!("{t}: {value}"));
                }
            }
        }
        facts.patients.sort();
        facts.patients.dedup();
        Ok(facts)
    }

    /// `permitted`, `denied` or `failed`, for people.
    pub fn verdict(&self) -> &'static str {
        match self.outcome.as_str() {
            "0" => "permitted",
            "4" => "denied",
            _ => "failed",
        }
    }
}

fn without_version(reference: &str) -> &str {
    reference.split_once("/_history/").map_or(reference, |(r, _)| r)
}

/// The AuditEvent of an officer who looked at the dashboard (DICOM 110101 "Audit Log Used").
pub fn viewed(
    id: &str,
    at: &str,
    organisation: &str,
    officer: &str,
    what: &str,
    patient: Option<&str>,
) -> Value {
    let mut entities = vec![json!({
        "what": {"display": "audit log"},
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "2", "display": "System Object"},
        "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "13", "display": "Security Resource"},
        "detail": [{"type": "page", "valueString": what}]
    })];
    entities.extend(patient.map(|p| {
        json!({
            "what": {"reference": p},
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1", "display": "Person"},
            "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1", "display": "Patient"}
        })
    }));
    json!({
        "resourceType": "AuditEvent",
        "id": id,
        "type": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110101", "display": "Audit Log Used"},
        "subtype": [{"system": "urn:consilium:audit-subtype", "code": "audit-log-used"}],
        "action": "R",
        "recorded": at,
        "outcome": "0",
        "purposeOfEvent": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HCOMPL"}]}],
        "agent": [{
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
            "who": {"identifier": {"value": officer}},
            "requestor": true
        }],
        "source": {
            "observer": {"identifier": {"system": "urn:consilium:organisation", "value": organisation}},
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4", "display": "Application Server"}]
        },
        "entity": entities
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patients_objects_and_reasons_are_told_apart() {
        let event = br#"{"resourceType":"AuditEvent","id":"e1","type":{"code":"rest"},"subtype":[{"code":"read"}],
          "action":"R","recorded":"2026-11-22T10:00:00.000Z","outcome":"0",
          "agent":[{"requestor":false,"who":{"display":"gateway"}},
            {"type":{"coding":[{"code":"110153"}]},"requestor":false,"who":{"identifier":{"value":"hospital-b"}}},{"requestor":true,"who":{"identifier":{"value":"dr-b"}},
            "purposeOfUse":[{"coding":[{"code":"TREAT"}]}]}],
          "source":{"observer":{"display":"hospital-a"}},
          "entity":[{"what":{"reference":"Patient/p1"},"role":{"code":"1"}},
            {"what":{"reference":"Observation/o1/_history/2"},"detail":[{"type":"rule","valueString":"provision[0]"}]}]}"#;
        let f = Facts::read(event).unwrap();
        assert_eq!((f.kind.as_str(), f.agent.as_str(), f.purpose.as_str()), ("read", "dr-b", "TREAT"));
        assert_eq!(f.organisation, "hospital-b");
        assert_eq!(f.patients, ["Patient/p1"]);
        assert_eq!(f.objects, ["Observation/o1"]);
        assert_eq!(f.reasons, ["rule: provision[0]"]);
        assert_eq!(f.verdict(), "permitted");
    }

    #[test]
    fn what_is_no_audit_event_is_refused_by_name() {
        assert_eq!(Facts::read(b"{}"), Err(EventError::NotAuditEvent));
        assert_eq!(Facts::read(br#"{"resourceType":"AuditEvent"}"#), Err(EventError::Missing("id")));
        assert_eq!(Facts::read(b"\xff"), Err(EventError::NotAuditEvent));
    }
}
