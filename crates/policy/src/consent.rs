//! The enforceable part of a FHIR R4 Consent.
//!
//! The root provision has no type (R4: "not permitted in root rule"): its effect comes from `policyRule`.
//! A nested provision is an exception to its parent and must say permit or deny.

use crate::period::{Span, period};
use consilium_domain::OrgId;
use serde_json::Value;
use thiserror::Error;

/// System of an organisation's identifier in `actor.reference.identifier`.
pub const ORGANISATION_SYSTEM: &str = "urn:consilium:organisation";
/// Deepest nesting of provisions.
pub const MAX_DEPTH: usize = 8;

/// Why a Consent cannot be enforced. Names the element, never its value.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConsentError {
    #[error("the consent is not a JSON object with resourceType `Consent`")]
    NotConsent,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` cannot be enforced: use one of the forms listed in docs/conformance.md")]
    Unsupported(String),
    #[error("`{0}` ends before it starts or is no date")]
    Period(String),
    #[error("`Consent.provision.type` is not allowed in the root rule: say permit or deny in `policyRule`")]
    RootType,
    #[error("provisions are nested deeper than {MAX_DEPTH}")]
    Depth,
}

/// Permit or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Permit,
    Deny,
}

/// A system and code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coding {
    pub system: String,
    pub code: String,
}

/// Who a provision speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    Organisation(OrgId),
    /// `Practitioner/…`, `Patient/…`: a reference that must equal the requester's `fhirUser`.
    Reference(String),
}

/// One provision; empty lists and open spans do not restrict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// `None` only in the root.
    pub effect: Option<Effect>,
    pub period: Span,
    pub actors: Vec<Actor>,
    /// consentaction codes: collect, access, use, disclose, correct.
    pub actions: Vec<String>,
    /// PurposeOfUse codes.
    pub purposes: Vec<String>,
    pub labels: Vec<Coding>,
    /// Resource types.
    pub classes: Vec<String>,
    pub codes: Vec<Coding>,
    pub data_period: Option<Span>,
    /// `Type/id` of single resources.
    pub data: Vec<String>,
    pub exceptions: Vec<Provision>,
}

/// A Consent that can be enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Logical id at the custodian.
    pub id: String,
    /// `status` is `active`.
    pub active: bool,
    /// `Patient/id`.
    pub patient: String,
    /// Milliseconds of `dateTime`, 0 when absent.
    pub written: u64,
    /// What holds where no provision says otherwise.
    pub base: Effect,
    pub root: Provision,
}

fn text<'a>(v: &'a Value, key: &str) -> Option<&'a str> {
    v.get(key)?.as_str()
}

fn items<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn coding(v: &Value, path: &str) -> Result<Coding, ConsentError> {
    let code = text(v, "code").ok_or_else(|| ConsentError::Unsupported(format!("{path}.code")))?;
    Ok(Coding { system: text(v, "system").unwrap_or_default().to_owned(), code: code.to_owned() })
}

fn codings(v: &Value, key: &str, path: &str) -> Result<Vec<Coding>, ConsentError> {
    items(v, key).iter().map(|c| coding(c, &format!("{path}.{key}"))).collect()
}

impl Consent {
    /// Reads a Consent resource. `zone_minutes` is the custodian's zone for dates without one.
    pub fn parse(json: &[u8], zone_minutes: i64) -> Result<Self, ConsentError> {
        let v: Value = serde_json::from_slice(json).map_err(|_| ConsentError::NotConsent)?;
        if text(&v, "resourceType") != Some("Consent") {
            return Err(ConsentError::NotConsent);
        }
        let patient = v
            .get("patient")
            .and_then(|p| text(p, "reference"))
            .ok_or(ConsentError::Missing("Consent.patient.reference"))?;
        let written = text(&v, "dateTime")
            .map(|t| {
                period(Some(t), None, zone_minutes)
                    .ok_or_else(|| ConsentError::Period("Consent.dateTime".into()))
            })
            .transpose()?
            .map_or(0, |s| s.from.0);
        let root = match v.get("provision") {
            None => Provision::open(),
            Some(p) => provision(p, "Consent.provision", zone_minutes, 0)?,
        };
        if root.effect.is_some() {
            return Err(ConsentError::RootType);
        }
        Ok(Self {
            id: text(&v, "id").unwrap_or_default().to_owned(),
            active: text(&v, "status").ok_or(ConsentError::Missing("Consent.status"))? == "active",
            patient: patient.to_owned(),
            written,
            base: base(&v)?,
            root,
        })
    }
}

/// v3-ActCode consent directives: OPTIN and OPTINR permit, OPTOUT and OPTOUTE deny; none denies.
fn base(v: &Value) -> Result<Effect, ConsentError> {
    let Some(rule) = v.get("policyRule") else { return Ok(Effect::Deny) };
    let mut effect = None;
    for c in items(rule, "coding") {
        effect = match text(c, "code") {
            Some("OPTIN" | "OPTINR") => Some(Effect::Permit),
            Some("OPTOUT" | "OPTOUTE") => return Ok(Effect::Deny),
            _ => effect,
        };
    }
    effect.ok_or_else(|| ConsentError::Unsupported("Consent.policyRule".into()))
}

impl Provision {
    fn open() -> Self {
        Self {
            effect: None,
            period: Span::ALWAYS,
            actors: Vec::new(),
            actions: Vec::new(),
            purposes: Vec::new(),
            labels: Vec::new(),
            classes: Vec::new(),
            codes: Vec::new(),
            data_period: None,
            data: Vec::new(),
            exceptions: Vec::new(),
        }
    }
}

fn span_of(v: &Value, key: &str, path: &str, zone: i64) -> Result<Option<Span>, ConsentError> {
    let Some(p) = v.get(key) else { return Ok(None) };
    period(text(p, "start"), text(p, "end"), zone)
        .map(Some)
        .ok_or_else(|| ConsentError::Period(format!("{path}.{key}")))
}

fn provision(v: &Value, path: &str, zone: i64, depth: usize) -> Result<Provision, ConsentError> {
    if depth > MAX_DEPTH {
        return Err(ConsentError::Depth);
    }
    let effect = match text(v, "type") {
        None if depth == 0 => None,
        Some("permit") => Some(Effect::Permit),
        Some("deny") => Some(Effect::Deny),
        _ => return Err(ConsentError::Unsupported(format!("{path}.type"))),
    };
    let mut actions = Vec::new();
    for concept in items(v, "action") {
        for c in codings(concept, "coding", &format!("{path}.action"))? {
            actions.push(c.code);
        }
    }
    let mut codes = Vec::new();
    for concept in items(v, "code") {
        codes.extend(codings(concept, "coding", &format!("{path}.code"))?);
    }
    let mut data = Vec::new();
    for d in items(v, "data") {
        // Other meanings (related, dependents, authoredby) reach further than one instance.
        if text(d, "meaning") != Some("instance") {
            return Err(ConsentError::Unsupported(format!("{path}.data.meaning")));
        }
        let r = d.get("reference").and_then(|r| text(r, "reference"));
        data.push(r.ok_or_else(|| ConsentError::Unsupported(format!("{path}.data.reference")))?.to_owned());
    }
    let mut exceptions = Vec::new();
    for (i, p) in items(v, "provision").iter().enumerate() {
        exceptions.push(provision(p, &format!("{path}.provision[{i}]"), zone, depth + 1)?);
    }
    Ok(Provision {
        effect,
        period: span_of(v, "period", path, zone)?.unwrap_or(Span::ALWAYS),
        actors: items(v, "actor").iter().map(|a| actor(a, path)).collect::<Result<_, _>>()?,
        actions,
        purposes: codings(v, "purpose", path)?.into_iter().map(|c| c.code).collect(),
        labels: codings(v, "securityLabel", path)?,
        classes: codings(v, "class", path)?.into_iter().map(|c| c.code).collect(),
        codes,
        data_period: span_of(v, "dataPeriod", path, zone)?,
        data,
        exceptions,
    })
}

fn actor(v: &Value, path: &str) -> Result<Actor, ConsentError> {
    let unsupported = || ConsentError::Unsupported(format!("{path}.actor.reference"));
    let r = v.get("reference").ok_or_else(unsupported)?;
    if let Some(id) = r.get("identifier").filter(|i| text(i, "system") == Some(ORGANISATION_SYSTEM)) {
        let name = text(id, "value").ok_or_else(unsupported)?;
        return OrgId::new(name).map(Actor::Organisation).map_err(|_| unsupported());
    }
    text(r, "reference").map(|t| Actor::Reference(t.to_owned())).ok_or_else(unsupported)
}
