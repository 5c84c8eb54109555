//! The way of records into the store and onto the ledger: leaves, commitments, attestations, sealing, one SQL
//! transaction, the ledger, receipts.

use crate::app::App;
use crate::config::Acknowledge;
use crate::consent;
use crate::content;
use crate::error::ApiError;
use crate::leaves::{self, ContentLeaf};
use crate::sealing::{Binding, Class};
use crate::withdraw::withdraw;
use consilium_abe::envelope::{RecordKey, seal_record, wrap_dek};
use consilium_contracts::v1::submit_response::Status;
use consilium_domain::canon::Canonical;
use consilium_domain::interop::{InteropProof, Statement};
use consilium_domain::merkle;
use consilium_domain::message::Sealed;
use consilium_domain::receipt::TxProof;
use consilium_domain::record::RecordCommitment;
use consilium_domain::tx::{Batch, TxBody, UnsignedTx};
use consilium_domain::{Digest, Height, OrgId};
use consilium_fhir::Tape;
use consilium_ledger::commitment;
use consilium_ledger::interop::Collector;
use consilium_ledger::{committee, envelope, state};
use consilium_store::sql::outbox::{Kind, NewEntry};
use consilium_store::sql::records::{InsertError, NewBatch, NewClaim, NewRecord};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Subject of attestation requests inside their envelope.
pub const ATTEST_SUBJECT: &str = "validate/attest";

/// How long the handler has to bring keys in line with a consent before the worker tries, in milliseconds.
const REKEY_MS: u64 = 2000;

/// A record version on its way.
#[derive(Debug, Clone)]
pub struct Draft {
    pub resource_type: String,
    pub id: String,
    pub version: u64,
    pub updated_ms: u64,
    /// The resource as it will be read back.
    pub content: Vec<u8>,
}

/// Why a batch was not committed. Nothing of it is stored, unless the text says so.
#[derive(Debug)]
pub enum CommitError {
    /// Another request stored the next version of a record first, or creates or created a match of a condition.
    Busy,
    Api(ApiError),
}

impl From<ApiError> for CommitError {
    fn from(e: ApiError) -> Self {
        Self::Api(e)
    }
}

/// A draft with all that is computed from its bytes.
pub struct Prepared {
    pub draft: Draft,
    pub patient: Option<String>,
    class_id: Vec<u8>,
    index: Vec<Vec<u8>>,
    pub key: RecordKey,
    pub commitment: RecordCommitment,
    projection: Vec<u8>,
}

/// Computes leaves, commitment, projection and index of a record under a fresh key.
fn prepare(app: &App, draft: Draft) -> Result<Prepared, ApiError> {
    let key = RecordKey::generate(&mut app.entropy.rng());
    prepare_with(app, draft, key)
}

/// As [`prepare`], under a known key (attestations that must be fetched again).
pub fn prepare_with(app: &App, draft: Draft, key: RecordKey) -> Result<Prepared, ApiError> {
    let tape = Tape::parse(&draft.content, &app.tape_limits()).map_err(ApiError::internal)?;
    let facts = content::facts(tape.root(), &draft.resource_type, &draft.id, &app.base_url);
    let found: Vec<ContentLeaf<'_>> = leaves::of(&app.schema, &tape).map_err(ApiError::unprocessable)?;
    let borrowed: Vec<commitment::Leaf<'_>> = found.iter().map(ContentLeaf::as_leaf).collect();
    let committed = commitment::commit(&draft.resource_type, &borrowed, key.salt_seed())
        .map_err(|e| ApiError::unprocessable(e.to_string()))?;
    let withhold: Vec<bool> = found.iter().map(|l| l.withheld).collect();
    let projection = committed.project(&withhold).map_err(ApiError::internal)?.to_canonical();
    let commitment = committed.commitment().clone();
    let index = facts
        .values
        .iter()
        .map(|(parameter, value)| app.blind.value(&draft.resource_type, parameter, value))
        .collect();
    let class_id = consent::class_of(app, &draft.resource_type, facts.patient.as_deref(), &facts.sensitivity);
    Ok(Prepared { patient: facts.patient, class_id, index, key, commitment, projection, draft })
}

/// Stores drafts as one batch and brings it to the ledger, as far as the configuration's `acknowledge` demands.
///
/// `claims` guard conditional creates; `audit` are the events that are stored with the batch and then delivered.
pub async fn commit(
    app: &Arc<App>,
    drafts: Vec<Draft>,
    claims: Vec<NewClaim>,
    audit: Vec<Vec<u8>>,
) -> Result<(), CommitError> {
    let shared = Arc::clone(app);
    // Hashing of a large bundle takes a while: off the request threads.
    let prepared: Vec<Prepared> = tokio::task::spawn_blocking(move || {
        drafts.into_iter().map(|d| prepare(&shared, d)).collect::<Result<_, _>>()
    })
    .await
    .map_err(ApiError::internal)??;
    let commitments: Vec<RecordCommitment> = prepared.iter().map(|p| p.commitment.clone()).collect();
    let root = commitment::batch_root(&commitments);
    // Consents are checked before anybody is asked: one that cannot be enforced is refused.
    let consents = consent::parse_all(app, &prepared)?;

    let attested = attest(app, root, &prepared).await;
    let (tx, expires) = match attested {
        Ok((statement, proof)) => {
            let expires = statement.expires.0;
            (Some(sign_batch(app, statement, proof).await?), expires)
        }
        Err(e) if app.acknowledge == Acknowledge::Stored && e.status.as_u16() == 503 => {
            tracing::warn!(cause = %e, "no attestations now: stored as unproven");
            (None, 0)
        }
        Err(e) => return Err(e.into()),
    };

    let classes = classes_of(app, &prepared).await?;
    let now = app.now();
    // The handler delivers first; the worker takes over when it has had its time.
    let next_ms = now.0 + app.limits.commit_ms + 2000;
    let mut records = Vec::with_capacity(prepared.len());
    for p in &prepared {
        let Some((class, _)) = classes.get(&p.class_id) else {
            return Err(ApiError::internal("a class is missing").into());
        };
        records.push(seal(app, p, class)?);
    }
    let mut outbox = vec![NewEntry {
        key: root,
        kind: Kind::Batch,
        tx: tx.clone(),
        expires,
        next_ms: if tx.is_some() { next_ms } else { now.0 },
    }];
    let changes = consent::changes(app, &prepared, consents, &classes).await?;
    for change in &changes {
        outbox.push(NewEntry {
            key: change.key,
            kind: Kind::Consent,
            tx: Some(change.tx.clone()),
            expires: 0,
            next_ms,
        });
    }
    let batch = NewBatch {
        batch: root,
        records,
        claims,
        outbox,
        consents: changes.iter().map(|c| c.row.clone()).collect(),
        classes: classes
            .iter()
            .filter_map(|(id, (class, patient))| {
                Some((id.clone(), app.blind.patient(patient.as_deref()?), class.policy.clone()))
            })
            .collect(),
        spool: app.seal_events(&audit)?,
    };
    app.records.insert(&batch).await.map_err(|e| match e {
        InsertError::Version(_) | InsertError::Claim(_) => CommitError::Busy,
        InsertError::Store(e) => CommitError::Api(e.into()),
    })?;
    app.metrics.records.add(&["stored"], batch.records.len() as u64);
    app.wake.notify_one();

    if app.acknowledge == Acknowledge::Stored {
        let app = Arc::clone(app);
        tokio::spawn(async move {
            if let Some(tx) = tx
                && let Err(cause) = deliver(&app, root, &tx, &changes).await
            {
                tracing::warn!(%cause, "a stored batch is not on the ledger yet: the worker goes on");
                return;
            }
            consent::follow_all(&app, &changes).await;
        });
        return Ok(());
    }
    let Some(tx) = tx else { return Ok(()) };
    deliver(app, root, &tx, &changes).await?;
    consent::follow_all(app, &changes).await;
    Ok(())
}

/// Submits a batch and its consent changes and takes in what the ledger says.
async fn deliver(
    app: &Arc<App>,
    root: Digest,
    tx: &[u8],
    changes: &[consent::Change],
) -> Result<(), ApiError> {
    let wait = Duration::from_millis(app.limits.commit_ms);
    match submit(app, root, Kind::Batch, tx, wait).await? {
        Delivery::Committed => {}
        Delivery::Pending => return Err(unconfirmed()),
        Delivery::Refused(code) => {
            withdraw(app, &root, &code).await?;
            for change in changes {
                app.outbox.remove(&change.key).await?;
            }
            tracing::error!(code, "the ledger refused a batch: nothing of it is stored");
            return Err(ApiError::unavailable(format!(
                "the ledger refused the batch (`{code}`): nothing was stored"
            )));
        }
    }
    for change in changes {
        match submit(app, change.key, Kind::Consent, &change.tx, wait).await? {
            Delivery::Committed => {}
            Delivery::Pending => return Err(unconfirmed()),
            Delivery::Refused(code) => {
                app.outbox.remove(&change.key).await?;
                tracing::error!(code, "the ledger refused a consent change: the consent does not count");
                return Err(ApiError::unavailable(format!(
                    "the ledger refused the consent change (`{code}`): it does not count"
                )));
            }
        }
    }
    Ok(())
}

fn unconfirmed() -> ApiError {
    ApiError::unavailable(
        "the records are stored and will reach the ledger, but it has not confirmed them yet: read them back before \
         sending them again, or send again with `If-None-Exist`",
    )
}

/// What the ledger said.
pub enum Delivery {
    Committed,
    Pending,
    /// A stable code, e.g. `expired`.
    Refused(String),
}

/// Submits one transaction and, when it is committed, notes that durably.
pub async fn submit(
    app: &App,
    key: Digest,
    kind: Kind,
    tx: &[u8],
    wait: Duration,
) -> Result<Delivery, ApiError> {
    let answer = match app.peers.submit(tx, wait).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(%error, "the consensus service does not answer");
            return Ok(Delivery::Pending);
        }
    };
    match (answer.status(), answer.committed) {
        (Status::Committed, Some(committed)) => {
            note_committed(app, key, kind, committed).await?;
            Ok(Delivery::Committed)
        }
        (Status::Refused, _) => {
            Ok(Delivery::Refused(answer.failure.map_or_else(|| "unknown".to_owned(), |f| f.code)))
        }
        _ => Ok(Delivery::Pending),
    }
}

/// Keeps the receipt's parts and makes the records current; or has the keys follow a consent.
pub async fn note_committed(
    app: &App,
    key: Digest,
    kind: Kind,
    committed: consilium_contracts::v1::CommittedTx,
) -> Result<(), ApiError> {
    match kind {
        // Whoever submitted has the keys follow at once; the row is for the worker, should that not happen.
        Kind::Consent => app.outbox.rekey_at(&key, app.now().0 + REKEY_MS).await?,
        Kind::Erasure => app.outbox.remove(&key).await?,
        Kind::Rekey => return Err(ApiError::internal("the keys' way is not the ledger's")),
        Kind::Batch => {
            let proof = TxProof::try_from(committed).map_err(ApiError::internal)?;
            let height = proof.header.height.0;
            let json = serde_json::to_vec(&proof).map_err(ApiError::internal)?;
            app.records.promote(&key, height, &json).await?;
            app.metrics.records.inc(&["committed"]);
        }
    }
    Ok(())
}

/// The signed transaction of an attested batch.
pub async fn sign_batch(app: &App, statement: Statement, proof: InteropProof) -> Result<Vec<u8>, ApiError> {
    let body = TxBody::Batch(Batch { statement, proof });
    let signed = app.signer.add(UnsignedTx { sender: app.organisation.clone(), body }).await;
    signed.ok_or_else(|| ApiError::internal("a batch could not be signed"))
}

/// Seals a record under its class.
fn seal(app: &App, p: &Prepared, class: &Class) -> Result<NewRecord, ApiError> {
    let commitment = p.commitment.digest();
    let context = Binding {
        channel: &app.channel,
        custodian: &app.organisation,
        resource_type: &p.draft.resource_type,
        version: p.draft.version,
        class_id: &p.class_id,
        epoch: class.epoch,
        commitment: &commitment,
    }
    .context();
    let mut rng = app.entropy.rng();
    Ok(NewRecord {
        resource_type: p.draft.resource_type.clone(),
        handle: app.blind.record(&p.draft.resource_type, &p.draft.id),
        version: p.draft.version,
        updated_ms: p.draft.updated_ms,
        ciphertext: seal_record(&p.key, &context, &p.draft.content, &mut rng).map_err(ApiError::internal)?,
        wrapped_key: wrap_dek(&class.key, &context, &p.key, &mut rng).map_err(ApiError::internal)?,
        class_id: p.class_id.clone(),
        epoch: class.epoch,
        commitment,
        leaf_count: p.commitment.leaf_count,
        root: p.commitment.root,
        compartment: p.patient.as_deref().map(|id| app.blind.patient(id)),
        index: p.index.clone(),
    })
}

/// Class id → its current key and the patient it belongs to.
pub type Classes = BTreeMap<Vec<u8>, (Class, Option<String>)>;

/// The class keys that the records need, each asked for once.
async fn classes_of(app: &App, prepared: &[Prepared]) -> Result<Classes, ApiError> {
    let mut out = Classes::new();
    for p in prepared {
        if out.contains_key(&p.class_id) {
            continue;
        }
        let policy =
            consent::policy_of(app, &p.class_id, &p.draft.resource_type, p.patient.as_deref()).await?;
        let class = app.classes.current(&p.class_id, &policy).await?;
        out.insert(p.class_id.clone(), (class, p.patient.clone()));
    }
    Ok(out)
}

impl Prepared {
    pub fn class_id(&self) -> &[u8] {
        &self.class_id
    }
}

/// Asks the committee, and when it does not answer in time everybody, until there is a quorum.
pub async fn attest(
    app: &App,
    root: Digest,
    prepared: &[Prepared],
) -> Result<(Statement, InteropProof), ApiError> {
    let unavailable =
        |what: &str| ApiError::unavailable(format!("{what} does not answer: nothing was stored, try again"));
    // As they are now: the ledger refuses a batch of those who were members before.
    let (head, schema, now) = tokio::join!(app.peers.head(), app.peers.schema(), app.peers.members());
    let head = head.map_err(|_| unavailable("the ledger node of this organisation"))?;
    let schema = schema.map_err(|_| unavailable("the validate service of this organisation"))?;
    if Digest::from_slice(&head.genesis).is_some_and(|g| g != app.genesis_digest) {
        return Err(ApiError::internal("the ledger node is of another genesis than this service"));
    }
    let schema = Digest::from_slice(&schema.schema_digest)
        .ok_or_else(|| ApiError::internal("the validate service's schema digest is not 32 bytes long"))?;
    let everyone = now.unwrap_or_else(|| app.members.get().to_vec());
    let params = &app.genesis.params;
    let height = Height(head.height);
    let epoch = committee::epoch_of(params, height);
    let statement = Statement {
        custodian: app.organisation.clone(),
        batch_root: root,
        records: u32::try_from(prepared.len()).map_err(ApiError::internal)?,
        schema,
        epoch,
        expires: Height(height.0.saturating_add(params.attestation_blocks)),
    };
    let members: Vec<OrgId> = everyone.iter().map(|m| m.organisation.clone()).collect();
    let seed = epoch_seed(app, epoch).await?;
    let chosen = committee::committee(&app.channel, params, &members, epoch, &seed, &app.organisation);
    let payload = crate::peers::attest_payload(
        statement.to_canonical(),
        prepared.iter().map(|p| p.projection.clone()).collect(),
    );
    let everybody: Vec<usize> = (0..members.len()).collect();
    let mut collector = Collector::new(&app.channel, &everyone, &statement, &chosen);
    let rounds: &[&[usize]] = if chosen == everybody { &[&chosen] } else { &[&chosen, &everybody] };
    let mut reasons = Vec::new();
    for asked in rounds {
        let timeout = Duration::from_millis(app.limits.attest_ms);
        let mut answers: FuturesUnordered<_> = asked
            .iter()
            .filter_map(|i| members.get(*i))
            .map(|member| {
                let sealed = Sealed {
                    sender: app.organisation.clone(),
                    recipient: member.clone(),
                    subject: ATTEST_SUBJECT.to_owned(),
                    height,
                    time: app.now(),
                    nonce: Digest(app.entropy.bytes()),
                    payload: payload.clone(),
                };
                let envelope = envelope::seal(&app.key, &app.channel, sealed);
                async move { (member, app.peers.attest(member, &envelope, timeout).await) }
            })
            .collect();
        while let Some((member, answer)) = answers.next().await {
            let added = answer.and_then(|a| collector.add(a).map_err(|e| e.to_string()));
            if let Err(reason) = added {
                tracing::warn!(%member, reason, "no attestation");
                reasons.push(format!("{member}: {reason}"));
                continue;
            }
            if let Some(proof) = collector.proof() {
                return Ok((statement.clone(), proof));
            }
        }
    }
    Err(ApiError::unavailable(format!(
        "too few members of the consortium attest the records: nothing was stored ({})",
        reasons.join("; ")
    )))
}

/// Seed of an epoch's committee: the genesis digest in epoch 0, else the ledger's.
async fn epoch_seed(app: &App, epoch: u64) -> Result<Digest, ApiError> {
    // With everybody in the committee, the seed decides nothing.
    if epoch == 0 || app.genesis.params.committee == 0 {
        return Ok(app.genesis_digest);
    }
    let answer = app.peers.state(&state::epoch_key(epoch)).await?;
    Digest::from_slice(&answer.value)
        .ok_or_else(|| ApiError::unavailable("the ledger node does not know this epoch yet"))
}

/// Root of a batch by its records' commitment digests.
pub fn root_of(commitments: &[Digest]) -> Digest {
    merkle::root(commitments)
}
