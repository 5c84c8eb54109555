//! The other services, as typed calls over the bus.

use crate::error::ApiError;
use consilium_contracts::v1::{
    AppendRequest, AppendResponse, AttestPayload, AttestRequest, AttestResponse, CheckRequest, CheckResponse,
    Claims, ClassRequest, ClassResponse, ErasedRequest, ErasedResponse, ExchangeRequest, ExchangeResponse,
    FindRequest, FindResponse, HeadRequest, HeadResponse, OpenRequest, OpenResponse, PolicyRequest,
    SchemaRequest, SchemaResponse, StateRequest, StateResponse, SubmitRequest, SubmitResponse,
};
use consilium_contracts::{Message, Subjects};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::Member;
use consilium_domain::interop::Attestation;
use consilium_domain::message::Envelope;
use consilium_domain::{Digest, OrgId};
use consilium_runtime::{Bus, BusError};
use std::time::Duration;

const QUICK: Duration = Duration::from_secs(5);
const VALIDATE: Duration = Duration::from_secs(60);

/// Calls to the other services.
#[derive(Clone)]
pub struct Peers {
    bus: Bus,
    subjects: Subjects,
}

impl Peers {
    pub fn new(bus: Bus, subjects: Subjects) -> Self {
        Self { bus, subjects }
    }

    /// Full validation of a resource.
    pub async fn check(&self, resource: &[u8], profiles: &[String]) -> Result<CheckResponse, BusError> {
        let request = CheckRequest { resource: resource.to_vec(), profiles: profiles.to_vec() };
        self.bus.request_message(&self.subjects.validate_check(), &request, VALIDATE).await
    }

    /// The digest of the definitions by which the own validate service attests.
    pub async fn schema(&self) -> Result<SchemaResponse, BusError> {
        self.bus.request_message(&self.subjects.validate_schema(), &SchemaRequest {}, QUICK).await
    }

    /// One member's attestation of a batch; `Err` with the reason when it gives none.
    pub async fn attest(
        &self,
        member: &OrgId,
        envelope: &Envelope,
        timeout: Duration,
    ) -> Result<Attestation, String> {
        let request = AttestRequest { envelope: envelope.to_canonical() };
        let subject = self.subjects.at(member).validate_attest();
        let answer: AttestResponse =
            self.bus.request_message(&subject, &request, timeout).await.map_err(|e| e.to_string())?;
        if let Some(failure) = answer.failure {
            return Err(format!("{}: {}", failure.code, failure.text));
        }
        Attestation::from_canonical(&answer.attestation).map_err(|e| e.to_string())
    }

    /// The newest block of the own node.
    pub async fn head(&self) -> Result<HeadResponse, BusError> {
        self.bus.request_message(&self.subjects.consensus_head(), &HeadRequest {}, QUICK).await
    }

    /// Hands a transaction to the ledger and waits up to `wait` for its block.
    pub async fn submit(&self, tx: &[u8], wait: Duration) -> Result<SubmitResponse, BusError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let request = SubmitRequest { tx: tx.to_vec(), wait_ms };
        self.bus.request_message(&self.subjects.consensus_submit(), &request, wait + QUICK).await
    }

    /// A committed transaction by its id.
    pub async fn find(&self, tx_id: &Digest) -> Result<FindResponse, BusError> {
        let request = FindRequest { tx_id: tx_id.0.to_vec() };
        self.bus.request_message(&self.subjects.consensus_find(), &request, QUICK).await
    }

    /// A key of the ledger's state.
    pub async fn state(&self, key: &[u8]) -> Result<StateResponse, BusError> {
        let request = StateRequest { key: key.to_vec(), current: false, prove: false };
        self.bus.request_message(&self.subjects.consensus_state(), &request, QUICK).await
    }

    /// The members of the next block; `None` where the own node does not say.
    pub async fn members(&self) -> Option<Vec<Member>> {
        let subject = self.subjects.consensus_state();
        let answer: StateResponse =
            self.bus.request_message(&subject, &StateRequest::members(), QUICK).await.ok()?;
        answer.members()
    }

    /// A class key; `epoch` 0 = the current one, created with `policy` when there is none.
    pub async fn class(&self, class_id: &[u8], epoch: u64, policy: &str) -> Result<ClassResponse, ApiError> {
        let request = ClassRequest { class_id: class_id.to_vec(), epoch, policy: policy.to_owned() };
        let answer: ClassResponse =
            self.bus.request_message(&self.subjects.keys_class(), &request, QUICK).await?;
        refused(answer.failure.as_ref().map(|f| f.code.as_str()))?;
        Ok(answer)
    }

    /// Changes a class's policy; `rotate` starts a new epoch.
    pub async fn policy(
        &self,
        class_id: &[u8],
        policy: &str,
        rotate: bool,
    ) -> Result<ClassResponse, ApiError> {
        let request = PolicyRequest { class_id: class_id.to_vec(), policy: policy.to_owned(), rotate };
        let answer: ClassResponse =
            self.bus.request_message(&self.subjects.keys_policy(), &request, QUICK).await?;
        refused(answer.failure.as_ref().map(|f| f.code.as_str()))?;
        Ok(answer)
    }

    /// The first erasure of classes after one; number 0 = there is none.
    pub async fn erased(&self, after: u64) -> Result<ErasedResponse, String> {
        let request = ErasedRequest { after };
        let answer: ErasedResponse = self
            .bus
            .request_message(&self.subjects.keys_erased(), &request, QUICK)
            .await
            .map_err(|e| e.to_string())?;
        match answer.failure {
            None => Ok(answer),
            Some(failure) => Err(format!("{}: {}", failure.code, failure.text)),
        }
    }

    /// Opens another organisation's class header with the attributes of one of our people.
    pub async fn open(
        &self,
        custodian: &OrgId,
        class_id: &[u8],
        epoch: u64,
        header: &[u8],
        claims: Claims,
    ) -> Result<OpenResponse, BusError> {
        let request = OpenRequest {
            custodian: custodian.to_string(),
            class_id: class_id.to_vec(),
            epoch,
            header: header.to_vec(),
            claims: Some(claims),
        };
        self.bus.request_message(&self.subjects.keys_open(), &request, QUICK).await
    }

    /// Appends audit events; `Ok` = durable there.
    pub async fn append(&self, events: &[Vec<u8>]) -> Result<(), String> {
        let request = AppendRequest { events: events.to_vec() };
        let answer: AppendResponse = self
            .bus
            .request_message(&self.subjects.audit_append(), &request, Duration::from_secs(3))
            .await
            .map_err(|e| e.to_string())?;
        answer.failure.map_or(Ok(()), |f| Err(format!("{}: {}", f.code, f.text)))
    }

    /// Asks another organisation's ingest.
    pub async fn exchange(
        &self,
        organisation: &OrgId,
        envelope: &Envelope,
    ) -> Result<ExchangeResponse, BusError> {
        let request = ExchangeRequest { envelope: envelope.to_canonical() };
        self.bus
            .request_message(
                &self.subjects.at(organisation).ingest_exchange(),
                &request,
                Duration::from_secs(15),
            )
            .await
    }
}

fn refused(code: Option<&str>) -> Result<(), ApiError> {
    match code {
        None => Ok(()),
        Some("erased") => Err(ApiError::gone()),
        Some(code) => {
            tracing::warn!(code, "the keys service refused");
            Err(ApiError::unavailable("the keys service gives no class key: try again"))
        }
    }
}

/// Bytes of the payload of an attestation request.
pub fn attest_payload(statement: Vec<u8>, projections: Vec<Vec<u8>>) -> Vec<u8> {
    AttestPayload { statement, projections }.encode_to_vec()
}
