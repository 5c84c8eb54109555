//! Two organisations, made-up records, requests as an ingest service sends them.

use crate::attest::{Attester, SUBJECT};
use crate::error::Refusal;
use consilium_contracts::Message;
use consilium_contracts::v1::AttestPayload;
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::interop::{Attestation, Statement};
use consilium_domain::message::{Envelope, Sealed};
use consilium_domain::record::{LeafKind, Projection, RecordCommitment};
use consilium_domain::{Canonical, ChannelId, Digest, Height, OrgId, PublicKey, Timestamp};
use consilium_fhir::deid::Action;
use consilium_fhir::leaves::{LeafKind as FhirKind, leaves};
use consilium_fhir::projection::project;
use consilium_fhir::tape::NodeId;
use consilium_fhir::{Limits, Options, Schema, Tape, Validator};
use consilium_ledger::SigningKey;
use consilium_ledger::commitment::{self, Leaf};
use consilium_ledger::envelope::seal;
use consilium_runtime::Followed;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub const NOW: Timestamp = Timestamp(1_795_000_000_000);

/// Path of the core package, if it is there.
pub fn core_package() -> Option<PathBuf> {
    let folder = std::env::var_os("CONSILIUM_FHIR_PACKAGES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/fhir"), PathBuf::from);
    let path = folder.join("hl7.fhir.r4.core.tgz");
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("CONSILIUM_REQUIRE_TEST_DATA").is_some_and(|v| v == "1");
    assert!(!required, "{} is missing", path.display());
    eprintln!("SKIPPED: {} is missing; run scripts/setup.sh", path.display());
    None
}

/// The compiled core definitions, once for all tests.
pub fn schema() -> Option<Arc<Schema>> {
    static SCHEMA: OnceLock<Option<Arc<Schema>>> = OnceLock::new();
    let compile = || {
        let bytes = std::fs::read(core_package()?).unwrap();
        Some(Arc::new(Schema::compile(&[&bytes]).unwrap()))
    };
    SCHEMA.get_or_init(compile).clone()
}

pub fn key(organisation: &str, role: &str) -> SigningKey {
    SigningKey::from_seed(seed(organisation, role))
}

pub fn seed(organisation: &str, role: &str) -> [u8; 32] {
    Digest::tagged(role, organisation.as_bytes()).0
}

pub fn org(name: &str) -> OrgId {
    OrgId::new(name).unwrap()
}

pub fn genesis(schemas: Vec<Digest>) -> Genesis {
    let member = |name: &str| {
        let public = |role| -> PublicKey { key(name, role).public() };
        Member {
            organisation: org(name),
            consensus: public("consensus"),
            validate: public("validate"),
            ingest: public("ingest"),
            audit: public("audit"),
            governance: public("governance"),
            cosign: public("cosign"),
            authority: Vec::new(),
        }
    };
    Genesis {
        channel: ChannelId::new("north").unwrap(),
        time: Timestamp(0),
        members: vec![member("lakeside"), member("riverside")],
        schemas,
        params: Params::default(),
    }
}

/// Riverside's validate service.
pub fn attester() -> Option<Attester> {
    let validator = Validator::new(schema()?);
    let genesis = genesis(vec![Digest(validator.schema().digest())]);
    Some(Attester {
        validator,
        options: Options::default(),
        members: Followed::new(genesis.members.clone()),
        genesis,
        organisation: org("riverside"),
        key: key("riverside", "validate"),
        window: Duration::from_secs(30),
    })
}

/// A judged statement, signed alone.
#[derive(Debug)]
pub struct Attested {
    pub attestation: Attestation,
    pub records: usize,
    pub unevaluated: u64,
}

/// As the service answers a request.
pub fn attest(attester: &Attester, envelope: &[u8], now: Timestamp) -> Result<Attested, Refusal> {
    let judged = attester.judge(envelope, now)?;
    let attestation = attester.sign(&[judged.statement]).remove(0);
    Ok(Attested { attestation, records: judged.records, unevaluated: judged.unevaluated })
}

pub const PATIENT: &str = r#"{"resourceType":"Patient","id":"p1","active":true,
    "name":[{"family":"Example","given":["Ada","B."]}],"gender":"female","birthDate":"1950-02-03",
    "maritalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus","code":"M"}]}}"#;

pub const AGE: &str = r#"{"resourceType":"Observation","id":"o1","status":"final",
    "code":{"coding":[{"system":"http://loinc.org","code":"30525-0"}]},
    "subject":{"reference":"Patient/p1"},
    "valueQuantity":{"value":93,"unit":"years"}}"#;

/// A record as its custodian holds it: commitment and projection. `mask` may overrule what is withheld.
pub fn record(
    schema: &Schema,
    json: &str,
    salt: u8,
    mask: impl Fn(&str, bool) -> bool,
) -> (RecordCommitment, Projection) {
    let tape = Tape::parse(json.as_bytes(), &Limits::default()).unwrap();
    let found = leaves(tape.root());
    let withhold: Vec<bool> = project(&tape, NodeId::ROOT, schema)
        .into_iter()
        .zip(&found)
        .map(|((_, action), leaf)| mask(&leaf.path, action == Action::Withhold))
        .collect();
    let kind = |k| match k {
        FhirKind::Number => LeafKind::Number,
        FhirKind::Boolean => LeafKind::Boolean,
        FhirKind::Null => LeafKind::Null,
        _ => LeafKind::String,
    };
    let committed: Vec<Leaf<'_>> =
        found.iter().map(|l| Leaf { path: &l.path, kind: kind(l.kind), token: l.token.as_bytes() }).collect();
    let name = tape.root().get("resourceType").and_then(|n| n.as_str()).unwrap().into_owned();
    let record = commitment::commit(&name, &committed, &[salt; 32]).unwrap();
    (record.commitment().clone(), record.project(&withhold).unwrap())
}

pub fn as_agreed(_: &str, withhold: bool) -> bool {
    withhold
}

/// Lakeside's statement about these records.
pub fn statement(attester: &Attester, records: &[(RecordCommitment, Projection)]) -> Statement {
    let commitments: Vec<RecordCommitment> = records.iter().map(|r| r.0.clone()).collect();
    Statement {
        custodian: org("lakeside"),
        batch_root: commitment::batch_root(&commitments),
        records: records.len() as u32,
        schema: attester.schema(),
        epoch: 0,
        expires: Height(100),
    }
}

pub fn payload(statement: &Statement, records: &[(RecordCommitment, Projection)]) -> Vec<u8> {
    AttestPayload {
        statement: statement.to_canonical(),
        projections: records.iter().map(|r| r.1.to_canonical()).collect(),
    }
    .encode_to_vec()
}

/// Lakeside's ingest asks riverside.
pub fn request(attester: &Attester, payload: Vec<u8>, time: Timestamp) -> Envelope {
    let sealed = Sealed {
        sender: org("lakeside"),
        recipient: org("riverside"),
        subject: SUBJECT.to_owned(),
        height: Height(1),
        time,
        nonce: Digest::tagged("nonce", b"1"),
        payload,
    };
    seal(&key("lakeside", "ingest"), &attester.genesis.channel, sealed)
}
