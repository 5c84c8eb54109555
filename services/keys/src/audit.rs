//! Every use of a key becomes an AuditEvent: on this disk before the key leaves, at the audit service when that
//! has acknowledged it.

use crate::error::KeysError;
use crate::motion::Officer;
use crate::vault::{Vault, VaultError};
use consilium_abe::rand_core::RngCore;
use consilium_contracts::Message;
use consilium_contracts::v1::{AppendRequest, AppendResponse, OpenRequest, PolicyRequest};
use consilium_domain::{OrgId, Timestamp};
use consilium_runtime::{Entropy, Gauge, Kit};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Folder of the events that audit has not acknowledged.
const SPOOL: &str = "spool";
/// Files in it above which no key is used any more.
const MOST_FILES: usize = 50_000;
/// Events written together at most.
const BATCH: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Hands events to the writer.
#[derive(Clone)]
pub(crate) struct Recorder(mpsc::Sender<(Value, oneshot::Sender<bool>)>);

impl Recorder {
    /// Takes up what an earlier process left, and starts writing and delivering.
    pub(crate) fn start(vault: Arc<Vault>, kit: &Kit) -> anyhow::Result<Self> {
        let (sender, events) = mpsc::channel(BATCH);
        let pending: VecDeque<String> = vault.list(SPOOL)?.into();
        // Numbers go on after the newest file, whoever wrote it.
        let next = pending.back().and_then(|name| number(name)).map_or(1, |last| last.saturating_add(1));
        let gauge = kit.meter.gauge("audit_pending_files", "events not yet at the audit service", &[])?;
        let spool = Spool { vault, pending, next, entropy: kit.entropy.clone(), gauge };
        tokio::spawn(spool.run(events, kit.clone()));
        Ok(Self(sender))
    }

    /// Returns when the event is durable.
    pub(crate) async fn record(&self, event: Value) -> Result<(), KeysError> {
        let (done, written) = oneshot::channel();
        self.0.send((event, done)).await.map_err(|_| KeysError::Interrupted)?;
        match written.await {
            Ok(true) => Ok(()),
            _ => Err(KeysError::Interrupted),
        }
    }
}

struct Spool {
    vault: Arc<Vault>,
    /// Names in the order of writing.
    pending: VecDeque<String>,
    next: u64,
    entropy: Entropy,
    gauge: Gauge,
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("spool/")?.strip_suffix(".sealed")?.parse().ok()
}

impl Spool {
    async fn run(mut self, mut events: mpsc::Receiver<(Value, oneshot::Sender<bool>)>, kit: Kit) {
        let mut pause = Duration::ZERO;
        let mut delivery: Option<tokio::task::JoinHandle<bool>> = None;
        loop {
            self.gauge.set(&[], f64::from(u32::try_from(self.pending.len()).unwrap_or(u32::MAX)));
            if delivery.is_none()
                && let Some(name) = self.pending.front().cloned()
            {
                delivery = Some(tokio::spawn(deliver(Arc::clone(&self.vault), kit.clone(), name, pause)));
            }
            tokio::select! {
                delivered = async { match &mut delivery { Some(task) => task.await, None => std::future::pending().await } } => {
                    delivery = None;
                    if matches!(delivered, Ok(true)) {
                        self.pending.pop_front();
                        pause = Duration::ZERO;
                    } else {
                        pause = (pause * 2).clamp(Duration::from_secs(1), LONGEST_PAUSE);
                    }
                }
                event = events.recv() => match event {
                    Some(first) => self.write(first, &mut events).await,
                    None => return,
                },
            }
        }
    }

    /// Writes one event and those that wait behind it as one file: one fsync for all.
    async fn write(
        &mut self,
        first: (Value, oneshot::Sender<bool>),
        events: &mut mpsc::Receiver<(Value, oneshot::Sender<bool>)>,
    ) {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(event) = events.try_recv()
        {
            batch.push(event);
        }
        let (events, waiting): (Vec<Value>, Vec<_>) = batch.into_iter().unzip();
        let name = format!("{SPOOL}/{:020}.sealed", self.next);
        let written = if self.pending.len() >= MOST_FILES {
            tracing::error!(
                "the audit service has taken no events for too long: no key is used until it does"
            );
            false
        } else {
            let events = events.iter().map(|event| event.to_string().into_bytes()).collect();
            let content = AppendRequest { events }.encode_to_vec();
            let (vault, entropy, file) = (Arc::clone(&self.vault), self.entropy.clone(), name.clone());
            let writing =
                tokio::task::spawn_blocking(move || vault.write(&file, &content, &mut entropy.rng())).await;
            match writing {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::error!(%error, "an audit event was not written");
                    false
                }
                Err(_) => false,
            }
        };
        if written {
            self.pending.push_back(name);
            self.next = self.next.saturating_add(1);
        }
        for waiting in waiting {
            // Whoever does not wait any more gets no key either.
            let _ = waiting.send(written);
        }
    }
}

/// Sends one file's events; when the audit service has them, removes the file.
async fn deliver(vault: Arc<Vault>, kit: Kit, name: String, pause: Duration) -> bool {
    tokio::time::sleep(pause).await;
    let (reading, file) = (Arc::clone(&vault), name.clone());
    let content = match tokio::task::spawn_blocking(move || reading.read(&file)).await {
        Ok(Ok(Some(content))) => content,
        Ok(Ok(None)) => return true,
        Ok(Err(error)) => {
            tracing::error!(%error, "an audit event cannot be read");
            return false;
        }
        Err(_) => return false,
    };
    let subject = kit.subjects.audit_append();
    let answer = kit.bus.request(&subject, content.to_vec(), TIMEOUT).await;
    let answer = answer.ok().and_then(|answer| AppendResponse::decode(answer.as_slice()).ok());
    match answer {
        Some(AppendResponse { failure: None, .. }) => {
            let removed: Result<Result<(), VaultError>, _> =
                tokio::task::spawn_blocking(move || vault.remove(&name)).await;
            matches!(removed, Ok(Ok(())))
        }
        Some(AppendResponse { failure: Some(failure), .. }) => {
            tracing::warn!(code = failure.code, "the audit service did not take key events");
            false
        }
        None => {
            tracing::debug!("the audit service is not there");
            false
        }
    }
}

/// System of class ids in events.
const CLASS: &str = "urn:consilium:class";

/// What officers did: the verb, who they are, about what, and one thing more.
pub(crate) struct Deed<'a> {
    pub verb: &'a str,
    pub by: &'a str,
    pub target: &'a str,
    pub detail: Option<(&'a str, &'a str)>,
}

/// Who and when, for an event.
pub(crate) struct Scene<'a> {
    pub organisation: &'a OrgId,
    pub at: Timestamp,
    pub entropy: &'a Entropy,
}

impl Scene<'_> {
    /// `keys.open` as an event: the caller, the class, and whether it was opened.
    pub(crate) fn opened(&self, request: &OpenRequest, outcome: Option<&KeysError>) -> Value {
        let caller = request.claims.as_ref().map_or("", |claims| claims.subject.as_str());
        let class = class(&request.custodian, &request.class_id, request.epoch);
        self.event("key-opened", "E", caller, (CLASS, &class), None, outcome)
    }

    /// `keys.policy` as an event.
    pub(crate) fn changed(&self, request: &PolicyRequest, outcome: Option<&KeysError>) -> Value {
        let what = if request.rotate { "key-rotated" } else { "key-rewrapped" };
        let class = class(self.organisation.as_str(), &request.class_id, 0);
        self.event(what, "U", "ingest", (CLASS, &class), None, outcome)
    }

    /// A vault that was opened at the start of the process, and how.
    pub(crate) fn unsealed(&self, method: &str, officers: &[Officer]) -> Value {
        let names = officers.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(" ");
        let detail = Some(("officers", names.as_str()));
        self.event("keys-unsealed", "E", "keys", ("urn:consilium:seal", method), detail, None)
    }

    /// What officers did, or tried to do.
    pub(crate) fn administered(&self, deed: &Deed<'_>, outcome: Option<&KeysError>) -> Value {
        let subtype = format!("keys-{}", deed.verb);
        let target = shown(deed.target);
        self.event(&subtype, "E", deed.by, ("urn:consilium:keys", &target), deed.detail, outcome)
    }

    /// An R4 AuditEvent (hl7.org/fhir/R4/auditevent.html): DICOM's "Use of Restricted Function", with our own
    /// subtype before it. Names no patient: a class id is opaque.
    fn event(
        &self,
        subtype: &str,
        action: &str,
        caller: &str,
        (system, target): (&str, &str),
        detail: Option<(&str, &str)>,
        error: Option<&KeysError>,
    ) -> Value {
        let mut id = [0; 16];
        self.entropy.rng().fill_bytes(&mut id);
        let mut event = json!({
            "resourceType": "AuditEvent",
            "id": hex::encode(id),
            "type": {
                "system": "http://dicom.nema.org/resources/ontology/DCM",
                "code": "110113",
                "display": "Security Alert"
            },
            "subtype": [
                {"system": "urn:consilium:audit-subtype", "code": subtype},
                {
                    "system": "http://dicom.nema.org/resources/ontology/DCM",
                    "code": "110133",
                    "display": "Use of Restricted Function"
                }
            ],
            "action": action,
            "recorded": self.at.to_instant(),
            // 0 success, 4 minor failure: refused, 8 serious failure (audit-event-outcome).
            "outcome": match error {
                None => "0",
                Some(error) if error.code() == "unavailable" => "8",
                Some(_) => "4",
            },
            "agent": [{
                "who": {"identifier": {"value": shown(caller)}},
                "requestor": true
            }],
            "source": {"observer": {"identifier": {"value": self.organisation.as_str()}, "display": "keys"}},
            "entity": [{
                "what": {"identifier": {"system": system, "value": target}},
                "type": {
                    "system": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
                    "code": "2",
                    "display": "System Object"
                },
                "role": {
                    "system": "http://terminology.hl7.org/CodeSystem/object-role",
                    "code": "13",
                    "display": "Security Resource"
                }
            }]
        });
        let entity = event.pointer_mut("/entity/0").and_then(Value::as_object_mut);
        if let (Some((kind, value)), Some(entity)) = (detail, entity) {
            let value = shown(value);
            entity.insert("detail".to_owned(), json!([{"type": kind, "valueString": value}]));
        }
        if let (Some(error), Some(event)) = (error, event.as_object_mut()) {
            event.insert("outcomeDesc".to_owned(), json!(error.code()));
        }
        event
    }
}

fn class(custodian: &str, id: &[u8], epoch: u64) -> String {
    let id = hex::encode(id.get(..id.len().min(64)).unwrap_or_default());
    format!("{}/{id}/{epoch}", shown(custodian))
}

/// A name as the caller gave it, within what a FHIR string may hold: not empty, not blank, bounded.
fn shown(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).take(128).collect();
    if clean.trim().is_empty() { "(none)".to_owned() } else { clean.trim().to_owned() }
}
