//! `consilium consent`: what a patient's app does, from the command line. Each verb prints what it changed.

use crate::client::{Client, FHIR_JSON};
use crate::output::{Exit, Output};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub struct ConsentArgs {
    #[command(subcommand)]
    verb: Verb,
    /// FHIR base address of the patient's custodian.
    #[arg(long, default_value = "http://127.0.0.1:18100/fhir", global = true)]
    at: String,
    /// Bearer token, or `@FILE`; default: $CONSILIUM_TOKEN.
    #[arg(long, global = true)]
    token: Option<String>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Let an organisation read the patient's records.
    Grant {
        /// Logical id of the patient.
        #[arg(long)]
        patient: String,
        /// Name of the organisation.
        #[arg(long)]
        to: String,
        /// PurposeOfUse code that is permitted.
        #[arg(long, default_value = "TREAT")]
        purpose: String,
        /// First day, e.g. 2026-06-01.
        #[arg(long)]
        from: Option<String>,
        /// Last day, inclusive.
        #[arg(long)]
        until: Option<String>,
        /// Only these resource types.
        #[arg(long = "type")]
        types: Vec<String>,
    },
    /// Withdraw a consent.
    Revoke {
        /// Logical id of the Consent.
        id: String,
    },
    /// List the patient's consents.
    List {
        #[arg(long)]
        patient: String,
    },
}

pub fn run(args: &ConsentArgs, out: &mut Output) -> Result<Exit> {
    let client = Client::new(crate::token::given(args.token.as_deref())?);
    let base = args.at.trim_end_matches('/');
    match &args.verb {
        Verb::Grant { patient, to, purpose, from, until, types } => {
            let consent = grant(patient, to, purpose, from.as_deref(), until.as_deref(), types);
            let answer =
                client.post(&format!("{base}/Consent"), FHIR_JSON, consent.to_string().as_bytes())?;
            if !answer.is_success() {
                bail!("the consent was refused: {}", answer.complaint());
            }
            let stored = answer.json()?;
            let id = stored.get("id").and_then(Value::as_str).context("the answer has no id")?;
            out.result(
                &format!("consent {id}: {to} may read Patient/{patient} for {purpose}"),
                &json!({"id": id, "patient": patient, "to": to, "purpose": purpose}),
            );
        }
        Verb::Revoke { id } => {
            let url = format!("{base}/Consent/{id}");
            let answer = client.get(&url, &[])?;
            if !answer.is_success() {
                bail!("the consent could not be read: {}", answer.complaint());
            }
            let mut consent = answer.json()?;
            let map = consent.as_object_mut().context("the consent is not an object")?;
            map.insert("status".into(), "inactive".into());
            let answer = client.put(&url, FHIR_JSON, consent.to_string().as_bytes())?;
            if !answer.is_success() {
                bail!("the revocation was refused: {}", answer.complaint());
            }
            out.result(&format!("consent {id}: revoked"), &json!({"id": id, "status": "inactive"}));
        }
        Verb::List { patient } => {
            let answer = client.get(&format!("{base}/Consent?patient=Patient/{patient}"), &[])?;
            if !answer.is_success() {
                bail!("the consents could not be listed: {}", answer.complaint());
            }
            let bundle = answer.json()?;
            let entries = bundle.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
            for r in entries.iter().filter_map(|e| e.get("resource")) {
                let text = |k: &str| r.get(k).and_then(Value::as_str).unwrap_or("?").to_owned();
                out.result(&format!("{}  {}", text("id"), text("status")), r);
            }
            if entries.is_empty() {
                out.note("no consents");
            }
        }
    }
    Ok(Exit::Good)
}

/// An opt-out with one exception: this organisation, this purpose (hl7.org/fhir/R4/consent.html).
fn grant(
    patient: &str,
    to: &str,
    purpose: &str,
    from: Option<&str>,
    until: Option<&str>,
    types: &[String],
) -> Value {
    let coding = |system: &str, code: &str| json!({"system": format!("http://terminology.hl7.org/CodeSystem/{system}"), "code": code});
    let mut provision = json!({
        "type": "permit",
        "actor": [{
            "role": {"coding": [coding("v3-ParticipationType", "IRCP")]},
            "reference": {"identifier": {"system": "urn:consilium:organisation", "value": to}}
        }],
        "action": [{"coding": [coding("consentaction", "access")]}],
        "purpose": [coding("v3-ActReason", purpose)]
    });
    if let Some(map) = provision.as_object_mut() {
        let mut period = serde_json::Map::new();
        period.extend(from.map(|t| ("start".to_owned(), t.into())));
        period.extend(until.map(|t| ("end".to_owned(), t.into())));
        if !period.is_empty() {
            map.insert("period".into(), period.into());
        }
        if !types.is_empty() {
            let class: Vec<Value> = types
                .iter()
                .map(|t| json!({"system": "http://hl7.org/fhir/resource-types", "code": t}))
                .collect();
            map.insert("class".into(), class.into());
        }
    }
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [coding("consentscope", "patient-privacy")]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": format!("Patient/{patient}")},
        "policyRule": {"coding": [coding("v3-ActCode", "OPTOUT")]},
        "provision": {"provision": [provision]}
    })
}
