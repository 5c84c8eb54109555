//! The service on the bus, as its neighbours meet it.

use super::fixture::{
    NOW, PATIENT, as_agreed, attester, core_package, genesis, key, org, payload, record, request, seed,
    statement,
};
use crate::{Config, Validate};
use consilium_contracts::Participant;
use consilium_contracts::v1::{
    AttestRequest, AttestResponse, CheckRequest, CheckResponse, SchemaRequest, SchemaResponse,
};
use consilium_domain::interop::Attestation;
use consilium_domain::{Canonical, Clock, Timestamp};
use consilium_ledger::sign::verify_attestation;
use consilium_runtime::{Common, Entropy, Kit, MemoryHub, Service};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(60);

/// Wall time stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn kit(hub: &MemoryHub, organisation: &str, participant: Participant) -> Kit {
    let text = format!(
        "organisation = {{ name = \"{organisation}\", channel = \"north\" }}\n\
         bus = {{ url = \"nats://memory\", user = \"x\", password_file = \"x\" }}\n\
         health = {{ listen = \"127.0.0.1:0\" }}"
    );
    let (common, _): (Common, serde_json::Value) = consilium_runtime::config::parse(&text).unwrap();
    Kit::in_memory(hub, participant, common, Arc::new(Still), Entropy::system()).unwrap()
}

struct Files(PathBuf);

impl Files {
    /// Genesis and key of riverside in a folder of their own, and the configuration that names them.
    fn new(test: &str, signing_seed: [u8; 32]) -> Option<(Self, Config)> {
        let core = core_package()?;
        let folder = std::env::temp_dir().join(format!("consilium-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (genesis_file, signing_key_file) = (folder.join("genesis.json"), folder.join("key"));
        std::fs::write(&genesis_file, serde_json::to_vec(&genesis(Vec::new())).unwrap()).unwrap();
        std::fs::write(&signing_key_file, hex::encode(signing_seed) + "\n").unwrap();
        let validate = crate::ValidateConfig {
            packages: vec![core],
            genesis_file,
            signing_key_file,
            schema_cache: None,
            concurrency: Some(2),
            window_ms: 30_000,
        };
        Some((Self(folder), Config { validate }))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neighbours_get_verdicts_attestations_and_the_schema() {
    let Some(a) = attester() else { return };
    let Some((_files, config)) = Files::new("serving", seed("riverside", "validate")) else { return };
    let hub = MemoryHub::new();
    let service = kit(&hub, "riverside", Participant::Validate);
    let (home, abroad) =
        (kit(&hub, "riverside", Participant::Ingest), kit(&hub, "lakeside", Participant::Ingest));
    let (health, shutdown, meter) = (service.health.clone(), service.shutdown.clone(), service.meter.clone());
    let running = tokio::spawn(Validate::run(config, service));
    while !health.readiness().1.contains("definitions: ready") {
        assert!(!running.is_finished(), "{:?}", running.await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let subject = home.subjects.validate_schema();
    let schema: SchemaResponse = home.bus.request_message(&subject, &SchemaRequest {}, WAIT).await.unwrap();
    assert_eq!(schema.schema_digest, a.schema().0);

    let ask = CheckRequest { resource: PATIENT.as_bytes().to_vec(), profiles: Vec::new() };
    let subject = home.subjects.validate_check();
    let verdict: CheckResponse = home.bus.request_message(&subject, &ask, WAIT).await.unwrap();
    assert!(verdict.valid);
    assert!(
        abroad.bus.request_message::<_, CheckResponse>(&subject, &ask, WAIT).await.is_err(),
        "not for others"
    );

    let records = [record(a.validator.schema(), PATIENT, 1, as_agreed)];
    let stated = statement(&a, &records);
    let subject = abroad.subjects.at(&org("riverside")).validate_attest();
    let attest = async |envelope: Vec<u8>| -> AttestResponse {
        abroad.bus.request_message(&subject, &AttestRequest { envelope }, WAIT).await.unwrap()
    };
    let answer = attest(request(&a, payload(&stated, &records), NOW).to_canonical()).await;
    assert_eq!(answer.failure, None);
    let attestation = Attestation::from_canonical(&answer.attestation).unwrap();
    let public = key("riverside", "validate").public();
    assert!(verify_attestation(home.subjects.channel(), &public, &stated, &attestation));

    let broken = [record(a.validator.schema(), &PATIENT.replace("female", "femal"), 1, as_agreed)];
    let answer = attest(request(&a, payload(&statement(&a, &broken), &broken), NOW).to_canonical()).await;
    assert_eq!(answer.failure.unwrap().code, "not-conforming");
    assert!(answer.attestation.is_empty() && !answer.outcome.is_empty());
    let answer = attest(vec![1, 2, 3]).await;
    assert_eq!(answer.failure.unwrap().code, "malformed");

    let text = meter.text();
    for line in [
        "consilium_validate_checks_total{verdict=\"valid\"} 1",
        "consilium_validate_attestations_total{outcome=\"attested\"} 1",
        "consilium_validate_attestations_total{outcome=\"not-conforming\"} 1",
        "consilium_validate_attested_records_total 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    shutdown.trigger();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_key_that_genesis_does_not_list_stops_the_start() {
    let Some((_files, config)) = Files::new("wrong-key", [7; 32]) else { return };
    let hub = MemoryHub::new();
    let error = Validate::run(config, kit(&hub, "riverside", Participant::Validate)).await.unwrap_err();
    assert!(format!("{error:#}").contains("does not list this key"), "{error:#}");
    let Some((_files, config)) = Files::new("stranger", [7; 32]) else { return };
    let error = Validate::run(config, kit(&hub, "hillside", Participant::Validate)).await.unwrap_err();
    assert!(format!("{error:#}").contains("does not list this key"), "{error:#}");
}
