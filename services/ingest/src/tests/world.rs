//! Two organisations in one process on the in-memory bus: real ingest, with stand-ins for the other services that
//! keep their contracts (the validator and the ledger are the real crates).

use crate::app::App;
use crate::{build, exchange, http, worker};
use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::{test, web};
use consilium_contracts::v1::submit_response::Status;
use consilium_contracts::v1::{
    AppendRequest, AppendResponse, AttestPayload, AttestRequest, AttestResponse, CheckRequest, CheckResponse,
    ClassRequest, ClassResponse, CommittedTx, ErasedRequest, ErasedResponse, ExchangeRequest, Failure,
    FindRequest, FindResponse, HeadRequest, HeadResponse, OpenRequest, OpenResponse, PolicyRequest,
    SchemaRequest, SchemaResponse, StateRequest, StateResponse, SubmitRequest, SubmitResponse,
};
use consilium_contracts::{Message, Participant};
use consilium_domain::block::{CommitCertificate, CommitSignature, Precommit};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::interop::Statement;
use consilium_domain::merkle::Inclusion;
use consilium_domain::message::Envelope;
use consilium_domain::port::kv::{Kv, Pair};
use consilium_domain::receipt::TxProof;
use consilium_domain::record::Projection;
use consilium_domain::tx::tx_id;
use consilium_domain::{ChannelId, Clock, Digest, OrgId, Timestamp};
use consilium_fhir::{Limits, Options, Schema, Validator};
use consilium_ledger::{Ledger, ReadError, SigningKey, StateRead, commitment, genesis_state};
use consilium_runtime::config::parse;
use consilium_runtime::{Entropy, Kit, MemoryHub, SystemClock};
use consilium_testkit::MemoryKv;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const PEM: &str = include_str!("issuer-test-key.pem");
static NEXT: AtomicU64 = AtomicU64::new(0);

fn seed(org: &str, service: &str) -> [u8; 32] {
    Digest::sha256(&[org.as_bytes(), service.as_bytes()]).0
}

/// The compiled R4 core, once per test process; `None`, said loudly, where the package is not installed.
pub fn packages() -> Option<PathBuf> {
    let folder = std::env::var("CONSILIUM_FHIR_PACKAGES").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/fhir")),
        PathBuf::from,
    );
    let path = folder.join("hl7.fhir.r4.core.tgz");
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var("CONSILIUM_REQUIRE_TEST_DATA").as_deref() != Ok("1"),
        "{} is missing",
        path.display()
    );
    eprintln!("SKIPPED: {} is missing; run scripts/setup.sh", path.display());
    None
}

struct View<'a>(&'a MemoryKv);

impl StateRead for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        self.0.get(key).map_err(|e| ReadError(e.to_string()))
    }
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, ReadError> {
        self.0.last(from, to).map_err(|e| ReadError(e.to_string()))
    }
}

/// One ledger for everybody: each transaction is a block signed by all.
pub struct Chain {
    kv: MemoryKv,
    genesis: Genesis,
    committed: BTreeMap<Vec<u8>, CommittedTx>,
    /// How many transactions were committed.
    pub txs: usize,
    /// The bytes of every transaction, for looking for what must not be there.
    pub bytes: Vec<u8>,
    /// The transactions in order.
    all: Vec<Vec<u8>>,
    height: u64,
}

impl Chain {
    fn submit(&mut self, tx: &[u8], now: Timestamp) -> SubmitResponse {
        let id = tx_id(tx).0.to_vec();
        if let Some(found) = self.committed.get(&id) {
            return SubmitResponse {
                status: Status::Committed.into(),
                committed: Some(found.clone()),
                failure: None,
            };
        }
        let view = View(&self.kv);
        let ledger = Ledger::open(&view).unwrap();
        let proposer = self.genesis.members[0].organisation.clone();
        let built = ledger.build_block(&proposer, &[tx.to_vec()], now, &|_| false).unwrap();
        if let Some((_, error)) = built.dropped.first() {
            let failure = Some(Failure::new(error.code(), error.to_string()));
            return SubmitResponse { status: Status::Refused.into(), committed: None, failure };
        }
        let header = built.block.header.clone();
        let signatures = (0u16..)
            .zip(&self.genesis.members)
            .map(|(validator, m)| {
                let vote = Precommit { height: header.height, round: 0, block: Some(header.id()), validator };
                let key = SigningKey::from_seed(seed(m.organisation.as_str(), "consensus"));
                CommitSignature { validator, signature: key.sign(&vote.signing_bytes(&self.genesis.channel)) }
            })
            .collect();
        let certificate =
            CommitCertificate { height: header.height, round: 0, block: header.id(), signatures };
        let inclusion = Inclusion::of(&built.block.tx_leaves(), 0).unwrap();
        let proof = TxProof { tx: tx.to_vec(), inclusion, header, certificate, validator_changes: vec![] };
        self.height = built.applied.height.0;
        self.kv.write(&built.applied.writes, false).unwrap();
        self.bytes.extend_from_slice(tx);
        self.all.push(tx.to_vec());
        self.txs += 1;
        let committed = CommittedTx::from(&proof);
        self.committed.insert(id, committed.clone());
        SubmitResponse { status: Status::Committed.into(), committed: Some(committed), failure: None }
    }
}

type ClassTable = BTreeMap<(String, Vec<u8>), Vec<(Vec<u8>, String)>>;

/// What the stand-ins share.
pub struct Shared {
    pub chain: Mutex<Chain>,
    classes: Mutex<ClassTable>,
    pub events: Mutex<BTreeMap<String, Vec<Vec<u8>>>>,
    pub audit_down: AtomicBool,
    pub consensus_down: AtomicBool,
    /// The ledger refuses every transaction.
    pub consensus_refuses: AtomicBool,
    pub validate_down: AtomicBool,
    /// The keys services change no class.
    pub keys_down: AtomicBool,
    /// What officers destroyed: organisation and classes.
    erasures: Mutex<Vec<(String, Vec<Vec<u8>>)>>,
    pub head_age_ms: AtomicU64,
    validator: Validator,
}

impl Shared {
    /// Epochs of all classes of an organisation.
    pub fn epochs(&self, org: &str) -> usize {
        self.classes.lock().unwrap().iter().filter(|((o, _), _)| o == org).map(|(_, e)| e.len()).sum()
    }

    /// The ledger's transactions.
    pub fn transactions(&self) -> Vec<Vec<u8>> {
        self.chain.lock().unwrap().all.clone()
    }

    /// Officers of an organisation destroy classes.
    pub fn destroy(&self, org: &str, classes: &[Vec<u8>]) {
        self.erasures.lock().unwrap().push((org.to_owned(), classes.to_vec()));
        self.classes.lock().unwrap().retain(|(o, class), _| o != org || !classes.contains(class));
    }
}

pub struct World {
    pub shared: Arc<Shared>,
    pub apps: BTreeMap<String, Arc<App>>,
    pub kits: BTreeMap<String, Kit>,
    pub folder: PathBuf,
    workers: Vec<consilium_runtime::Shutdown>,
}

impl Drop for World {
    fn drop(&mut self) {
        for shutdown in &self.workers {
            shutdown.trigger();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// An answer, taken apart.
pub struct Got {
    pub status: u16,
    pub body: String,
    pub headers: BTreeMap<String, String>,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

impl World {
    /// `None` where the FHIR package is missing.
    pub async fn start(acknowledge: &str) -> Option<Self> {
        let package = packages()?;
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("consilium-ingest-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let cache = std::env::temp_dir().join("consilium-ingest-test-schema.bin");
        let orgs = ["org-a", "org-b"];
        let clock = Arc::new(SystemClock::new());
        let member = |org: &&str| Member {
            organisation: OrgId::new(*org).unwrap(),
            consensus: SigningKey::from_seed(seed(org, "consensus")).public(),
            validate: SigningKey::from_seed(seed(org, "validate")).public(),
            ingest: SigningKey::from_seed(seed(org, "ingest")).public(),
            audit: SigningKey::from_seed(seed(org, "audit")).public(),
            cosign: SigningKey::from_seed(seed(org, "cosign")).public(),
            governance: SigningKey::from_seed(seed(org, "governance")).public(),
            authority: vec![],
        };
        let schema = {
            let known = std::fs::read(&cache).ok().and_then(|b| Schema::from_bytes(&b).ok());
            known.unwrap_or_else(|| {
                let schema = Schema::compile(&[&std::fs::read(&package).unwrap()]).unwrap();
                let part = cache.with_extension(format!("{}.{n}.part", std::process::id()));
                std::fs::write(&part, schema.to_bytes()).unwrap();
                std::fs::rename(&part, &cache).unwrap();
                schema
            })
        };
        let genesis = Genesis {
            channel: ChannelId::new("test").unwrap(),
            time: clock.now(),
            members: orgs.iter().map(member).collect(),
            schemas: vec![Digest(schema.digest())],
            params: Params::default(),
        };
        let kv = MemoryKv::new();
        kv.write(&genesis_state(&genesis).unwrap().writes, false).unwrap();
        let shared = Arc::new(Shared {
            chain: Mutex::new(Chain {
                kv,
                genesis: genesis.clone(),
                committed: BTreeMap::new(),
                txs: 0,
                bytes: vec![],
                all: vec![],
                height: 0,
            }),
            classes: Mutex::default(),
            events: Mutex::default(),
            audit_down: AtomicBool::new(false),
            consensus_down: AtomicBool::new(false),
            consensus_refuses: AtomicBool::new(false),
            validate_down: AtomicBool::new(false),
            keys_down: AtomicBool::new(false),
            erasures: Mutex::default(),
            head_age_ms: AtomicU64::new(0),
            validator: Validator::new(Arc::new(schema)),
        });
        std::fs::write(folder.join("genesis.json"), serde_json::to_vec(&genesis).unwrap()).unwrap();
        std::fs::write(folder.join("issuer.pem"), PEM).unwrap();
        let hub = MemoryHub::new();
        let mut workers = Vec::new();
        let (mut apps, mut kits) = (BTreeMap::new(), BTreeMap::new());
        for org in orgs {
            for service in ["ingest", "index"] {
                std::fs::write(folder.join(format!("{org}.{service}")), hex::encode(seed(org, service)))
                    .unwrap();
            }
            let dir = folder.display();
            let text = format!(
                "[http]\nlisten = \"127.0.0.1:0\"\nbase_url = \"http://{org}/fhir\"\n[database]\n\
                 url = \"sqlite://{dir}/{org}.db?mode=rwc\"\nindex_key_file = \"{dir}/{org}.index\"\n[ledger]\n\
                 genesis_file = \"{dir}/genesis.json\"\nsigning_key_file = \"{dir}/{org}.ingest\"\n\
                 acknowledge = \"{acknowledge}\"\n[fhir]\npackages = [\"{}\"]\nschema_cache = \"{}\"\n[auth]\n\
                 issuer = \"http://{org}/auth\"\naudience = \"http://{org}/fhir\"\n[development_issuer]\n\
                 key_file = \"{dir}/issuer.pem\"\n[limits]\nattest_ms = 2000\ncommit_ms = 3000\nbody_bytes = 4000000\n[organisation]\n\
                 name = \"{org}\"\nchannel = \"test\"\nprofile = \"demo\"\n[bus]\nurl = \"nats://none\"\nuser = \"x\"\n\
                 password_file = \"x\"\n[health]\nlisten = \"x\"\n",
                package.display(),
                cache.display()
            );
            let (common, config): (_, crate::config::Config) = parse(&text).unwrap();
            let kit = |p| Kit::in_memory(&hub, p, common.clone(), clock.clone(), Entropy::system()).unwrap();
            serve(&kit, org, &shared).await;
            let kit = kit(Participant::Ingest);
            let app = Arc::new(build(&config, &kit).await.unwrap());
            let handler = Arc::clone(&app);
            kit.bus
                .serve_some_messages(
                    &kit.subjects.ingest_exchange(),
                    Some("ingest"),
                    8,
                    move |request: ExchangeRequest| exchange::answer(Arc::clone(&handler), request),
                )
                .await
                .unwrap();
            tokio::spawn(worker::run(Arc::clone(&app), kit.shutdown.clone()));
            tokio::spawn(crate::erasure::run(Arc::clone(&app), kit.shutdown.clone()));
            workers.push(kit.shutdown.clone());
            apps.insert(org.to_owned(), app);
            kits.insert(org.to_owned(), kit);
        }
        Some(Self { shared, apps, kits, folder, workers })
    }

    /// A token of an organisation's development issuer.
    pub fn token(&self, org: &str, scope: &str, more: &[(&str, &str)]) -> String {
        let app = &self.apps[org];
        let mut asked = crate::issuer::TokenRequest {
            subject: "someone".into(),
            scope: scope.into(),
            ..crate::issuer::TokenRequest::default()
        };
        for (name, value) in more {
            match *name {
                "patient" => asked.patient = (*value).into(),
                "fhirUser" => asked.fhir_user = (*value).into(),
                "roles" => asked.roles = vec![(*value).into()],
                _ => asked.lifetime = value.parse().ok(),
            }
        }
        let token = app.issuer.as_ref().unwrap().for_demo(&asked, &app.new_id(), app.now()).unwrap();
        token["access_token"].as_str().unwrap().to_owned()
    }

    pub fn system(&self, org: &str) -> String {
        self.token(org, "system/*.cruds", &[])
    }

    /// One HTTP request to an organisation's endpoint.
    pub async fn send(
        &self,
        org: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Got {
        let data = web::Data::new(Arc::clone(&self.apps[org]));
        let service =
            test::init_service(actix_web::App::new().app_data(data).default_service(web::to(http::dispatch)))
                .await;
        let mut request = test::TestRequest::default().method(method).uri(path).set_payload(body.to_vec());
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let response: ServiceResponse = test::call_service(&service, request.to_request()).await;
        let headers = response
            .headers()
            .iter()
            .map(|(n, v)| (n.as_str().to_owned(), v.to_str().unwrap_or_default().to_owned()))
            .collect();
        let status = response.status().as_u16();
        let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
        Got { status, body, headers }
    }

    pub async fn get(&self, org: &str, token: &str, path: &str) -> Got {
        self.send(org, Method::GET, path, &[("authorization", &format!("Bearer {token}"))], b"").await
    }

    pub async fn write(
        &self,
        org: &str,
        method: Method,
        path: &str,
        body: &Value,
        more: &[(&str, &str)],
    ) -> Got {
        let bearer = format!("Bearer {}", self.system(org));
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/fhir+json")];
        headers.extend_from_slice(more);
        self.send(org, method, path, &headers, body.to_string().as_bytes()).await
    }

    pub async fn post(&self, org: &str, path: &str, body: &Value) -> Got {
        self.write(org, Method::POST, path, body, &[]).await
    }

    /// Codes of the events that an organisation's audit service has.
    pub fn events(&self, org: &str) -> Vec<Value> {
        let events = self.shared.events.lock().unwrap();
        events.get(org).into_iter().flatten().map(|e| serde_json::from_slice(e).unwrap()).collect()
    }

    /// Every emitted AuditEvent passes our own validator.
    pub fn check_events(&self) {
        for event in self.shared.events.lock().unwrap().values().flatten() {
            self.valid(event);
        }
    }

    pub fn valid(&self, resource: &[u8]) {
        let limits = Limits::default();
        let report = self.shared.validator.validate_bytes(resource, &limits, &Options::default());
        let outcome = report.to_operation_outcome_json();
        assert!(report.is_valid(), "{outcome}\n{}", String::from_utf8_lossy(resource));
    }
}

async fn serve(kit: &impl Fn(Participant) -> Kit, org: &str, shared: &Arc<Shared>) {
    serve_validate(&kit(Participant::Validate), org, shared).await;
    serve_consensus(&kit(Participant::Consensus), shared).await;
    serve_keys(&kit(Participant::Keys), org, shared).await;
    let audit = kit(Participant::Audit);
    let (own, org) = (Arc::clone(shared), org.to_owned());
    audit
        .bus
        .serve_messages(&audit.subjects.audit_append(), None, 4, move |r: AppendRequest| {
            let failure = own.audit_down.load(Ordering::Relaxed).then(|| Failure::new("unavailable", "down"));
            if failure.is_none() {
                own.events.lock().unwrap().entry(org.clone()).or_default().extend(r.events);
            }
            async move { AppendResponse { first: 0, failure } }
        })
        .await
        .unwrap();
}

async fn serve_validate(kit: &Kit, org: &str, shared: &Arc<Shared>) {
    let own = Arc::clone(shared);
    let check = move |r: CheckRequest| {
        let options = Options { profiles: r.profiles, ..Options::default() };
        let report = own.validator.validate_bytes(&r.resource, &Limits::default(), &options);
        let answer = CheckResponse {
            valid: report.is_valid(),
            outcome: report.to_operation_outcome_json().into_bytes(),
            ..CheckResponse::default()
        };
        async move { answer }
    };
    kit.bus.serve_messages(&kit.subjects.validate_check(), None, 4, check).await.unwrap();
    let own = Arc::clone(shared);
    let schema = move |_: SchemaRequest| {
        let digest = own.validator.schema().digest().to_vec();
        async move { SchemaResponse { schema_digest: digest, engine: String::new() } }
    };
    kit.bus.serve_messages(&kit.subjects.validate_schema(), None, 4, schema).await.unwrap();
    let (own, org) = (Arc::clone(shared), OrgId::new(org).unwrap());
    let attest = move |r: AttestRequest| {
        let sealed = Envelope::from_canonical(&r.envelope).unwrap().sealed;
        assert_eq!(sealed.recipient, org);
        let payload = AttestPayload::decode(sealed.payload.as_slice()).unwrap();
        let statement = Statement::from_canonical(&payload.statement).unwrap();
        let commitments: Vec<_> = payload
            .projections
            .iter()
            .map(|p| commitment::commitment_of(&Projection::from_canonical(p).unwrap()).unwrap())
            .collect();
        let mut answer = AttestResponse::default();
        if own.validate_down.load(Ordering::Relaxed)
            || commitment::batch_root(&commitments) != statement.batch_root
        {
            answer.failure = Some(Failure::new("unavailable", "down"));
        } else {
            let key = SigningKey::from_seed(seed(org.as_str(), "validate"));
            let channel = own.chain.lock().unwrap().genesis.channel.clone();
            answer.attestation = key.attest(&channel, &org, &statement).to_canonical();
        }
        async move { answer }
    };
    kit.bus.serve_messages(&kit.subjects.validate_attest(), None, 4, attest).await.unwrap();
}

async fn serve_consensus(kit: &Kit, shared: &Arc<Shared>) {
    let (own, clock) = (Arc::clone(shared), Arc::clone(&kit.clock));
    let submit = move |r: SubmitRequest| {
        let answer = if own.consensus_down.load(Ordering::Relaxed) {
            SubmitResponse::default()
        } else if own.consensus_refuses.load(Ordering::Relaxed) {
            let failure = Some(Failure::new("sanctioned", "no"));
            SubmitResponse { status: Status::Refused.into(), committed: None, failure }
        } else {
            own.chain.lock().unwrap().submit(&r.tx, clock.now())
        };
        async move { answer }
    };
    kit.bus.serve_messages(&kit.subjects.consensus_submit(), None, 4, submit).await.unwrap();
    let own = Arc::clone(shared);
    let find = move |r: FindRequest| {
        let committed = own.chain.lock().unwrap().committed.get(&r.tx_id).cloned();
        async move { FindResponse { committed, failure: None } }
    };
    kit.bus.serve_messages(&kit.subjects.consensus_find(), None, 4, find).await.unwrap();
    let own = Arc::clone(shared);
    let state = move |r: StateRequest| {
        let chain = own.chain.lock().unwrap();
        let view = View(&chain.kv);
        let value = Ledger::open(&view).unwrap().get(&r.key).unwrap();
        let answer = StateResponse {
            has_value: value.is_some(),
            value: value.unwrap_or_default(),
            height: chain.height,
            ..StateResponse::default()
        };
        async move { answer }
    };
    kit.bus.serve_messages(&kit.subjects.consensus_state(), None, 4, state).await.unwrap();
    let (own, clock) = (Arc::clone(shared), Arc::clone(&kit.clock));
    let head = move |_: HeadRequest| {
        let chain = own.chain.lock().unwrap();
        let answer = HeadResponse {
            height: chain.height,
            time_ms: clock.now().0 - own.head_age_ms.load(Ordering::Relaxed),
            genesis: chain.genesis.digest().0.to_vec(),
            ..HeadResponse::default()
        };
        async move { answer }
    };
    kit.bus.serve_messages(&kit.subjects.consensus_head(), None, 4, head).await.unwrap();
}

fn class_answer(epoch: u64, (kek, policy): &(Vec<u8>, String)) -> ClassResponse {
    ClassResponse {
        epoch,
        kek: kek.clone(),
        header: policy.clone().into_bytes(),
        policy: policy.clone(),
        failure: None,
    }
}

async fn serve_keys(kit: &Kit, org: &str, shared: &Arc<Shared>) {
    let (own, name, entropy) = (Arc::clone(shared), org.to_owned(), kit.entropy.clone());
    let class = move |r: ClassRequest| {
        let gone = own.erasures.lock().unwrap().iter().any(|(o, c)| *o == name && c.contains(&r.class_id));
        if gone {
            let failure = Some(Failure::new("erased", "the class was destroyed"));
            return std::future::ready(ClassResponse { failure, ..ClassResponse::default() });
        }
        let mut table = own.classes.lock().unwrap();
        let epochs = table.entry((name.clone(), r.class_id)).or_default();
        if epochs.is_empty() {
            epochs.push((entropy.bytes::<32>().to_vec(), r.policy));
        }
        let epoch = if r.epoch == 0 { epochs.len() as u64 } else { r.epoch };
        let answer = class_answer(epoch, &epochs[epoch as usize - 1]);
        std::future::ready(answer)
    };
    kit.bus.serve_messages(&kit.subjects.keys_class(), None, 4, class).await.unwrap();
    let (own, name) = (Arc::clone(shared), org.to_owned());
    let erased = move |r: ErasedRequest| {
        let all = own.erasures.lock().unwrap();
        let next = all.iter().filter(|(o, _)| *o == name).nth(r.after as usize);
        let answer = next.map_or_else(ErasedResponse::default, |(_, classes)| ErasedResponse {
            sequence: r.after + 1,
            class_ids: classes.clone(),
            ground: 1,
            record: Digest::sha256(&[&classes.concat()]).0.to_vec(),
            failure: None,
        });
        std::future::ready(answer)
    };
    kit.bus.serve_messages(&kit.subjects.keys_erased(), None, 4, erased).await.unwrap();
    let (own, name, entropy) = (Arc::clone(shared), org.to_owned(), kit.entropy.clone());
    let policy = move |r: PolicyRequest| {
        if own.keys_down.load(Ordering::Relaxed) {
            let failure = Some(Failure::new("unavailable", "sealed"));
            return std::future::ready(ClassResponse { failure, ..ClassResponse::default() });
        }
        let mut table = own.classes.lock().unwrap();
        let epochs = table.get_mut(&(name.clone(), r.class_id)).unwrap();
        if r.rotate {
            epochs.push((entropy.bytes::<32>().to_vec(), r.policy));
        } else {
            epochs.last_mut().unwrap().1 = r.policy;
        }
        std::future::ready(class_answer(epochs.len() as u64, epochs.last().unwrap()))
    };
    kit.bus.serve_messages(&kit.subjects.keys_policy(), None, 4, policy).await.unwrap();
    let (own, name) = (Arc::clone(shared), org.to_owned());
    let open = move |r: OpenRequest| {
        let attributes: Vec<String> =
            r.claims.unwrap_or_default().roles.iter().map(|role| format!("{role}@{name}")).collect();
        let header = String::from_utf8(r.header).unwrap();
        let satisfied = header.split(" OR ").any(|term| attributes.iter().any(|a| a == term));
        let table = own.classes.lock().unwrap();
        let answer = if satisfied {
            let kek = table[&(r.custodian, r.class_id)][r.epoch as usize - 1].0.clone();
            OpenResponse { kek, failure: None }
        } else {
            OpenResponse { kek: vec![], failure: Some(Failure::new("denied", "no")) }
        };
        async move { answer }
    };
    kit.bus.serve_messages(&kit.subjects.keys_open(), None, 4, open).await.unwrap();
}
