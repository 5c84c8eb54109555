//! Consents: their enforceable core on the ledger, and the key classes that follow them.
//!
//! The custodian holds each consent's controller key sealed, as the patient's delegate: FHIR's Consent arrives from
//! the hospital's EHR, where the patient gave it.

use crate::app::App;
use crate::commit::{Classes, Prepared};
use crate::error::ApiError;
use crate::sealing::{open_small, seal_small};
use actix_web::http::StatusCode;
use consilium_domain::canon::Canonical;
use consilium_domain::tx::{ConsentCore, ConsentStatus, Tx, TxBody, UnsignedTx, tx_id};
use consilium_domain::{Digest, Encoder, OrgId, Timestamp};
use consilium_ledger::SigningKey;
use consilium_ledger::state::{ConsentRecord, consent_key};
use consilium_policy::access::{class_policy, grantees};
use consilium_policy::{Consent, Request, decide};
use consilium_store::sql::records::{ConsentRow, Status};
use std::collections::BTreeSet;

/// A consent's next version on the ledger.
pub struct Change {
    /// Transaction id: the key of its outbox row.
    pub key: Digest,
    pub tx: Vec<u8>,
    pub row: ConsentRow,
}

/// A Consent among the drafts.
pub struct Parsed {
    /// Position in the batch.
    position: usize,
    patient: String,
    active: bool,
}

/// Reads the Consents of a batch; one that cannot be enforced is refused, because it would promise what nobody keeps.
pub fn parse_all(app: &App, prepared: &[Prepared]) -> Result<Vec<Parsed>, ApiError> {
    let mut out = Vec::new();
    for (position, p) in prepared.iter().enumerate().filter(|(_, p)| p.draft.resource_type == "Consent") {
        let consent = Consent::parse(&p.draft.content, app.zone_minutes)
            .map_err(|e| ApiError::unprocessable(e.to_string()).at("Consent"))?;
        let patient = p.patient.clone().ok_or_else(|| {
            ApiError::unprocessable("`Consent.patient` must be a patient of this organisation")
                .at("Consent.patient")
        })?;
        out.push(Parsed { position, patient, active: consent.active });
    }
    Ok(out)
}

fn controller_context(app: &App, handle: &Digest) -> Vec<u8> {
    let mut out = Encoder::default();
    out.str("consilium/v1/consent-controller").value(&app.channel).value(handle);
    out.into_bytes()
}

/// Builds the signed ledger transactions of the Consents and the rows that follow them.
pub async fn changes(
    app: &App,
    prepared: &[Prepared],
    parsed: Vec<Parsed>,
    classes: &Classes,
) -> Result<Vec<Change>, ApiError> {
    let mut out = Vec::new();
    for consent in parsed {
        let Some(p) = prepared.get(consent.position) else { continue };
        let Some((class, _)) = classes.get(p.class_id()) else { continue };
        let record_handle = app.blind.record("Consent", &p.draft.id);
        let known = app.consents.of_record(&record_handle).await?;
        let (handle, version, seed) = match &known {
            None => (Digest(app.entropy.bytes()), 1, app.entropy.bytes::<32>()),
            Some(row) => {
                let sealed_with = app.classes.at(&row.class_id, row.epoch).await?;
                let context = controller_context(app, &row.ledger_handle);
                let opened = open_small(&sealed_with.key, &context, &row.sealed_controller)
                    .map_err(ApiError::internal)?;
                let seed: [u8; 32] = opened
                    .as_slice()
                    .try_into()
                    .map_err(|_| ApiError::internal("a controller key has the wrong length"))?;
                (row.ledger_handle, row.version + 1, seed)
            }
        };
        let controller = SigningKey::from_seed(seed);
        let status = if consent.active { ConsentStatus::Active } else { ConsentStatus::Inactive };
        let core = ConsentCore {
            handle,
            version,
            status,
            content: p.commitment.digest(),
            controller: controller.public(),
        };
        let change = controller.sign_consent(&app.channel, core);
        let unsigned = UnsignedTx { sender: app.organisation.clone(), body: TxBody::Consent(change) };
        let tx = app.key.sign_tx(&app.channel, unsigned).to_canonical();
        let context = controller_context(app, &handle);
        let sealed_controller =
            seal_small(&class.key, &context, &seed, &mut app.entropy.rng()).map_err(ApiError::internal)?;
        out.push(Change {
            key: tx_id(&tx),
            tx,
            row: ConsentRow {
                ledger_handle: handle,
                record_handle,
                compartment: app.blind.patient(&consent.patient),
                version,
                record_version: p.draft.version,
                sealed_controller,
                class_id: p.class_id().to_vec(),
                epoch: class.epoch,
            },
        });
    }
    Ok(out)
}

/// Whether records of this type that belong to no patient may be read by every member.
fn catalogue(app: &App, resource_type: &str) -> bool {
    // Asked of the policy itself, so that keys and decisions cannot drift apart.
    let members = app.members.get();
    let Some(other) = members.iter().map(|m| &m.organisation).find(|o| **o != app.organisation) else {
        return false;
    };
    let request = Request {
        organisation: other.clone(),
        user: String::new(),
        action: "access".to_owned(),
        purpose: "TREAT".to_owned(),
        custodian: app.organisation.clone(),
        patient: None,
        resource_type: resource_type.to_owned(),
        id: String::new(),
        labels: Vec::new(),
        codes: Vec::new(),
        date: None,
    };
    decide(&[], &request, Timestamp(0)).permits()
}

/// Key class of a record.
pub fn class_of(app: &App, resource_type: &str, patient: Option<&str>, sensitivity: &str) -> Vec<u8> {
    match patient {
        Some(_) => app.blind.class(patient, sensitivity),
        None if catalogue(app, resource_type) => app.blind.class(None, "catalogue"),
        None => app.blind.class(None, "own"),
    }
}

/// Policy of a record's class: what it has, or for a new one what the patient's consents say.
pub async fn policy_of(
    app: &App,
    class_id: &[u8],
    resource_type: &str,
    patient: Option<&str>,
) -> Result<String, ApiError> {
    let Some(patient) = patient else {
        let everybody: BTreeSet<OrgId> = if catalogue(app, resource_type) {
            app.members.get().iter().map(|m| m.organisation.clone()).collect()
        } else {
            BTreeSet::new()
        };
        return Ok(class_policy(&app.organisation, &everybody));
    };
    let compartment = app.blind.patient(patient);
    let known = app.consents.classes(&compartment).await?;
    if let Some((_, policy)) = known.into_iter().find(|(id, _)| id == class_id) {
        return Ok(policy);
    }
    let consents: Vec<Consent> = effective(app, &compartment).await?.into_iter().flatten().collect();
    Ok(class_policy(&app.organisation, &grantees(&consents, app.now())))
}

/// The patient's consents that count: active on the ledger with the very content and version that is stored here.
/// One that does not match, or cannot be read, is `None`, which denies.
pub async fn effective(app: &App, compartment: &[u8]) -> Result<Vec<Option<Consent>>, ApiError> {
    let mut out = Vec::new();
    for row in app.consents.of_patient(compartment).await? {
        let answer = app.peers.state(&consent_key(&row.ledger_handle)).await?;
        if let Some(failure) = answer.failure {
            tracing::warn!(code = failure.code, "the ledger node cannot read its state");
            return Err(ApiError::unavailable("the ledger node cannot read its state"));
        }
        if !answer.has_value {
            // Version 1 has not reached the ledger yet: it does not exist for anybody.
            continue;
        }
        let Ok(on_ledger) = ConsentRecord::from_canonical(&answer.value) else {
            out.push(None);
            continue;
        };
        if on_ledger.core.status != ConsentStatus::Active {
            continue;
        }
        out.push(stored(app, &row, &on_ledger.core).await?);
    }
    Ok(out)
}

/// The stored Consent that a core on the ledger commits to.
async fn stored(app: &App, row: &ConsentRow, core: &ConsentCore) -> Result<Option<Consent>, ApiError> {
    if core.version != row.version {
        return Ok(None);
    }
    let record = app.records.version("Consent", &row.record_handle, row.record_version, true).await?;
    let record = record.filter(|r| r.commitment == core.content && r.status != Status::Erased);
    let Some(record) = record else { return Ok(None) };
    let content = match app.open(&record).await {
        Ok((content, _)) => content,
        Err(error) if error.status == StatusCode::GONE => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Consent::parse(&content, app.zone_minutes).ok())
}

/// Brings the key classes in line with consent changes that are on the ledger; each change's outbox row goes when that
/// is done.
pub async fn follow_all(app: &App, changes: &[Change]) {
    for change in changes {
        // Decisions deny whatever the keys would still open; so a failure here is repeated by the worker, not reported.
        if let Err(cause) = follow(app, change.key, &change.row.compartment).await {
            tracing::warn!(%cause, "the key classes of a patient could not be brought in line with the consents yet");
        }
    }
}

/// As [`follow_all`], for one change of which the outbox row has the key.
pub async fn follow(app: &App, key: Digest, compartment: &[u8]) -> Result<(), ApiError> {
    rekey(app, compartment).await?;
    app.outbox.remove(&key).await.map_err(ApiError::from)
}

/// The compartment that a delivered consent change is about.
pub async fn compartment_of(app: &App, tx: &[u8]) -> Result<Option<Vec<u8>>, ApiError> {
    let tx = Tx::from_canonical(tx).map_err(ApiError::internal)?;
    let TxBody::Consent(change) = tx.unsigned.body else { return Ok(None) };
    Ok(app.consents.of_ledger(&change.core.handle).await?.map(|row| row.compartment))
}

/// A grant re-wraps the current key under a wider policy; a revocation starts a new epoch with a new key.
async fn rekey(app: &App, compartment: &[u8]) -> Result<(), ApiError> {
    let consents: Vec<Consent> = effective(app, compartment).await?.into_iter().flatten().collect();
    let wanted = class_policy(&app.organisation, &grantees(&consents, app.now()));
    for (class_id, policy) in app.consents.classes(compartment).await? {
        if policy == wanted {
            continue;
        }
        let removed = policy.split(" OR ").any(|term| !wanted.split(" OR ").any(|w| w == term));
        app.peers.policy(&class_id, &wanted, removed).await?;
        app.classes.forget(&class_id);
        app.consents.set_policy(&class_id, &wanted).await?;
    }
    Ok(())
}
