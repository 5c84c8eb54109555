//! The decision: pure in (consents, request, now).

use crate::consent::{Actor, Coding, Consent, Provision};
use crate::period::Span;
use crate::purpose;
use consilium_domain::{OrgId, Timestamp};

pub use crate::consent::Effect;

/// Who asks for what, and why.
#[derive(Debug, Clone)]
pub struct Request {
    /// Organisation of the requester.
    pub organisation: OrgId,
    /// The requester's `fhirUser`, e.g. `Practitioner/17`.
    pub user: String,
    /// consentaction code: `access` for read and search.
    pub action: String,
    /// PurposeOfUse code.
    pub purpose: String,
    pub custodian: OrgId,
    /// `Patient/id` at the custodian; `None` for records of no patient.
    pub patient: Option<String>,
    pub resource_type: String,
    pub id: String,
    /// `meta.security`.
    pub labels: Vec<Coding>,
    /// Codings of `code`.
    pub codes: Vec<Coding>,
    /// Clinically relevant date.
    pub date: Option<Span>,
}

/// What led to a decision; stable names for audit rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The custodian's own staff.
    OwnOrganisation,
    /// A record of no patient: members may read it when its type is one of the catalogue's, else nobody may.
    NoPatient,
    NoConsent,
    /// A provision matched; `path` as in `provision[0].provision[1]`, `base` for the policy rule.
    Provision {
        consent: String,
        path: String,
        effect: Effect,
    },
    /// A consent could not be read: error means deny.
    Unreadable,
    PurposeUnknown,
    /// HRESCH gives statistics, never raw records.
    PurposeNotForRecords,
    ActionUnknown,
}

/// Permit or deny, with everything that spoke for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub effect: Effect,
    pub reasons: Vec<Reason>,
    /// Ids of the consents that took part.
    pub consents: Vec<String>,
}

impl Decision {
    fn of(effect: Effect, reason: Reason) -> Self {
        Self { effect, reasons: vec![reason], consents: Vec::new() }
    }
    pub fn permits(&self) -> bool {
        self.effect == Effect::Permit
    }
}

/// Types that describe the organisation and not a person in its care.
const CATALOGUE: [&str; 10] = [
    "Organization",
    "Location",
    "Practitioner",
    "PractitionerRole",
    "HealthcareService",
    "Endpoint",
    "Medication",
    "Substance",
    "ValueSet",
    "CodeSystem",
];

/// Decides. `consents` holds what is known of the patient's consents that the ledger says are current, unreadable
/// ones as `None`; `now` is the ledger's time. Several consents: deny overrides permit.
pub fn decide(consents: &[Option<Consent>], request: &Request, now: Timestamp) -> Decision {
    if !purpose::is_known(&request.purpose) {
        return Decision::of(Effect::Deny, Reason::PurposeUnknown);
    }
    if !["access", "collect", "use", "disclose", "correct"].contains(&request.action.as_str()) {
        return Decision::of(Effect::Deny, Reason::ActionUnknown);
    }
    if request.organisation == request.custodian {
        return Decision::of(Effect::Permit, Reason::OwnOrganisation);
    }
    if purpose::is_a(&request.purpose, "HRESCH") {
        return Decision::of(Effect::Deny, Reason::PurposeNotForRecords);
    }
    let Some(patient) = &request.patient else {
        let effect =
            if CATALOGUE.contains(&request.resource_type.as_str()) { Effect::Permit } else { Effect::Deny };
        return Decision::of(effect, Reason::NoPatient);
    };
    let mut decision = Decision { effect: Effect::Deny, reasons: Vec::new(), consents: Vec::new() };
    let (mut permit, mut deny) = (false, false);
    for consent in consents {
        let Some(consent) = consent else {
            deny = true;
            decision.reasons.push(Reason::Unreadable);
            continue;
        };
        if !consent.active || consent.patient != *patient || !applies(&consent.root, request, now) {
            continue;
        }
        let (effect, path, depth) =
            exceptions(&consent.root, request, now, "", 0).unwrap_or((consent.base, "base".to_owned(), 0));
        // The base of an opt-out says only that nothing is granted by this consent; another may grant it.
        if effect == Effect::Deny && depth == 0 && consent.base == Effect::Deny {
            continue;
        }
        permit |= effect == Effect::Permit;
        deny |= effect == Effect::Deny;
        decision.consents.push(consent.id.clone());
        decision.reasons.push(Reason::Provision { consent: consent.id.clone(), path, effect });
    }
    if decision.reasons.is_empty() {
        decision.reasons.push(Reason::NoConsent);
    }
    if permit && !deny {
        decision.effect = Effect::Permit;
    }
    decision
}

/// The effect of the deepest matching exception; at equal depth deny wins.
fn exceptions(
    parent: &Provision,
    r: &Request,
    now: Timestamp,
    path: &str,
    depth: usize,
) -> Option<(Effect, String, usize)> {
    let mut best: Option<(Effect, String, usize)> = None;
    for (i, p) in parent.exceptions.iter().enumerate() {
        if !applies(p, r, now) {
            continue;
        }
        let Some(effect) = p.effect else { continue };
        let here = if path.is_empty() { format!("provision[{i}]") } else { format!("{path}.provision[{i}]") };
        let found = exceptions(p, r, now, &here, depth + 1).unwrap_or((effect, here, depth + 1));
        let wins = best.as_ref().is_none_or(|b| found.2 > b.2 || (found.2 == b.2 && found.0 == Effect::Deny));
        if wins {
            best = Some(found);
        }
    }
    best
}

/// Whether every criterion that the provision states is met.
fn applies(p: &Provision, r: &Request, now: Timestamp) -> bool {
    let any = |list: &[String], ok: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|x| ok(x));
    let actor_ok = |a: &Actor| match a {
        Actor::Organisation(o) => *o == r.organisation,
        Actor::Reference(t) => *t == r.user,
    };
    p.period.contains(now)
        && (p.actors.is_empty() || p.actors.iter().any(actor_ok))
        && any(&p.actions, &|a| a == r.action)
        && any(&p.purposes, &|c| purpose::is_a(&r.purpose, c))
        && any(&p.classes, &|c| c == r.resource_type)
        && any(&p.data, &|d| d.strip_prefix(&format!("{}/", r.resource_type)) == Some(&r.id))
        && (p.codes.is_empty() || p.codes.iter().any(|c| r.codes.contains(c)))
        && (p.labels.is_empty() || p.labels.iter().any(|l| labelled(l, &r.labels)))
        // A record without a date is outside every data period: it cannot be shown to be inside.
        && p.data_period.is_none_or(|d| r.date.is_some_and(|x| d.overlaps(&x)))
}

/// HL7 Confidentiality, lowest first.
const LEVELS: [&str; 6] = ["U", "L", "M", "N", "R", "V"];
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// A confidentiality label in a rule covers that level and those below; any other label must be there.
/// A record without a confidentiality label counts as N, the code system's normal case.
fn labelled(rule: &Coding, labels: &[Coding]) -> bool {
    let level = |code: &str| LEVELS.iter().position(|l| *l == code);
    if rule.system != CONFIDENTIALITY {
        return labels.contains(rule);
    }
    let Some(most) = level(&rule.code) else { return false };
    let has = labels
        .iter()
        .filter(|l| l.system == CONFIDENTIALITY)
        .map(|l| level(&l.code).unwrap_or(LEVELS.len()))
        .max();
    has.or_else(|| level("N")).is_some_and(|h| h <= most)
}
