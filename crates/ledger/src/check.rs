//! What a transaction must be: first by its bytes alone, then against the state.

use crate::committee;
use crate::genesis::MembersError;
use crate::interop::{self, InteropError};
use crate::sign::{self, Role};
use crate::state::{
    self, AnchorRecord, ConsentRecord, ErasureRecord, KeyEpochRecord, PolicyRecord, ReadError, SchemaRecord,
    VoteRecord,
};
use crate::{dispute, evidence, governance, samples};
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::{Genesis, Member, Params};
use consilium_domain::governance::Sanction;
use consilium_domain::samples::MAX_SAMPLES;
use consilium_domain::tx::{AuditAnchor, Batch, ConsentChange, MAX_TX, ProfileVote, Tx, TxBody};
use consilium_domain::{CanonError, ChannelId, Digest, Height, OrgId, merkle};
use thiserror::Error;

/// Most attestations in one proof: more than any consortium has members.
pub const MAX_ATTESTATIONS: usize = 256;

/// Why a transaction may not enter a block.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TxError {
    #[error("the transaction has {0} bytes, at most {MAX_TX} are allowed")]
    TooLarge(usize),
    #[error("the transaction is not canonical: {0}")]
    NotCanonical(#[from] CanonError),
    #[error("the sender `{0}` is not a member of this channel")]
    UnknownSender(OrgId),
    #[error("the transaction's signature is not by the sender's {0:?} key")]
    BadSignature(Role),
    #[error("a batch is sent by its custodian `{0}` only")]
    NotCustodian(OrgId),
    #[error("a batch holds at least one record")]
    EmptyBatch,
    #[error("the schema {0} is not admitted: validate by an admitted one, or vote it in")]
    UnknownSchema(Digest),
    #[error("the signatures expire at height {expires}; at height {height} that is too early or too late")]
    Expired { expires: Height, height: Height },
    #[error("the attestation is of epoch {epoch}, only {current} and the one before are accepted")]
    WrongEpoch { epoch: u64, current: u64 },
    #[error("the batch {0} is already on the ledger")]
    DuplicateBatch(Digest),
    #[error("no proof of interoperability: {0}")]
    Interop(#[from] InteropError),
    #[error("the consent's version is {found}, the next one is {expected}")]
    ConsentVersion { expected: u64, found: u64 },
    #[error("the consent is not signed by the controller that its last version names")]
    NotController,
    #[error("the audit log was anchored at size {anchored}, an anchor at size {size} brings nothing new")]
    AnchorSize { anchored: u64, size: u64 },
    #[error("the audit log does not extend the one anchored before")]
    NotConsistent,
    #[error("`admit` is 0 or 1, found {0}")]
    BadVote(u16),
    #[error("the vote's round is {found}, the last one was {last}: it has to grow")]
    OldVote { last: u64, found: u64 },
    #[error("its number is {found}, the next one is {expected}")]
    Sequence { expected: u64, found: u64 },
    #[error("{have} organisations have signed, {need} are needed")]
    Approvals { have: usize, need: usize },
    #[error("the signature of `{0}` does not verify")]
    BadApproval(OrgId),
    #[error("the approvals are not sorted by organisation, each once")]
    ApprovalsNotSorted,
    #[error("`{0}` is a member already: rotate its keys instead")]
    AlreadyMember(OrgId),
    #[error("`{0}` is not a member of this channel")]
    NotMember(OrgId),
    #[error("a change of the members is in flight until height {0}: send this one again then")]
    ChangeInFlight(Height),
    #[error("no channel could run after this change: {0}")]
    Members(#[from] MembersError),
    #[error("`{organisation}` is under a sanction until height {until}")]
    Sanctioned { organisation: OrgId, until: Height },
    #[error("no evidence: {0}")]
    NoEvidence(&'static str),
    #[error("evidence against `{offender}` at height {height} is on the ledger already")]
    KnownEvidence { offender: OrgId, height: Height },
    #[error("no dispute: {0}")]
    NoDispute(&'static str),
    #[error("nothing was destroyed: `count` is 0")]
    NothingErased,
    #[error("it would be in force from height {activates} on, before its own block {height}")]
    TooEarly { activates: Height, height: Height },
    #[error("a batch has 1 to {MAX_SAMPLES} samples, this one has {0}")]
    SampleCount(u32),
    #[error("the series is described by no record of the sender on the ledger")]
    UnknownSeries,
}

impl TxError {
    /// Stable name of the error for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too-large",
            Self::NotCanonical(_) => "not-canonical",
            Self::UnknownSender(_) => "unknown-sender",
            Self::BadSignature(_) => "bad-signature",
            Self::NotCustodian(_) => "not-custodian",
            Self::EmptyBatch => "empty-batch",
            Self::UnknownSchema(_) => "unknown-schema",
            Self::Expired { .. } => "expired",
            Self::WrongEpoch { .. } => "wrong-epoch",
            Self::DuplicateBatch(_) => "duplicate-batch",
            Self::Interop(_) => "no-interop-proof",
            Self::ConsentVersion { .. } => "consent-version",
            Self::NotController => "not-controller",
            Self::AnchorSize { .. } => "anchor-size",
            Self::NotConsistent => "not-consistent",
            Self::BadVote(_) => "bad-vote",
            Self::OldVote { .. } => "old-vote",
            Self::Sequence { .. } => "sequence",
            Self::Approvals { .. } => "no-quorum",
            Self::BadApproval(_) => "bad-approval",
            Self::ApprovalsNotSorted => "approvals-not-sorted",
            Self::AlreadyMember(_) => "already-member",
            Self::NotMember(_) => "not-member",
            Self::ChangeInFlight(_) => "change-in-flight",
            Self::Members(_) => "members",
            Self::Sanctioned { .. } => "sanctioned",
            Self::NoEvidence(_) => "no-evidence",
            Self::KnownEvidence { .. } => "known-evidence",
            Self::NoDispute(_) => "no-dispute",
            Self::NothingErased => "nothing-erased",
            Self::TooEarly { .. } => "too-early",
            Self::SampleCount(_) => "sample-count",
            Self::UnknownSeries => "unknown-series",
        }
    }
}

/// A transaction is invalid, or the state could not be read.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CheckError {
    #[error(transparent)]
    Invalid(#[from] TxError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Stateless check: size, canonical bytes, shape. Safe to run in parallel on anything that arrives.
pub fn check(bytes: &[u8]) -> Result<Tx, TxError> {
    if bytes.len() > MAX_TX {
        return Err(TxError::TooLarge(bytes.len()));
    }
    let tx = Tx::from_canonical(bytes)?;
    match &tx.unsigned.body {
        TxBody::Batch(batch) => {
            if batch.statement.custodian != tx.unsigned.sender {
                return Err(TxError::NotCustodian(batch.statement.custodian.clone()));
            }
            if batch.statement.records == 0 {
                return Err(TxError::EmptyBatch);
            }
            if batch.proof.attestations.len() > MAX_ATTESTATIONS {
                return Err(CanonError::TooLong("attestations").into());
            }
            if !interop::sorted(&batch.proof) {
                return Err(InteropError::NotSorted.into());
            }
        }
        TxBody::Consent(change) => {
            if change.core.version == 0 {
                return Err(TxError::ConsentVersion { expected: 1, found: 0 });
            }
        }
        TxBody::AuditAnchor(anchor) => {
            // RFC 6962 §2.1.2: a consistency proof has at most ceil(log2(n)) + 1 hashes.
            if anchor.size == 0 {
                return Err(TxError::AnchorSize { anchored: 0, size: 0 });
            }
            if anchor.consistency.len() > 65 {
                return Err(CanonError::TooLong("consistency").into());
            }
        }
        TxBody::ProfileVote(vote) => {
            if vote.admit > 1 {
                return Err(TxError::BadVote(vote.admit));
            }
        }
        TxBody::Governance(governance) => {
            if governance.approvals.len() > MAX_ATTESTATIONS {
                return Err(CanonError::TooLong("approvals").into());
            }
            if !governance.approvals.is_sorted_by(|a, b| a.organisation < b.organisation) {
                return Err(TxError::ApprovalsNotSorted);
            }
        }
        TxBody::Evidence(evidence) => {
            if !evidence.contradicts() {
                return Err(TxError::NoEvidence(
                    "the two steps do not contradict each other, or stand in the wrong order",
                ));
            }
        }
        TxBody::Dispute(dispute) => dispute::check_shape(dispute)?,
        TxBody::Erasure(erasure) => {
            if erasure.count == 0 {
                return Err(TxError::NothingErased);
            }
        }
        TxBody::Samples(batch) => samples::check_shape(batch)?,
        // Nothing can be wrong with these but their number, which the state knows.
        TxBody::Policy(_) | TxBody::KeyEpoch(_) => {}
    }
    Ok(tx)
}

/// Whose key signs a transaction of this kind.
pub fn signer(body: &TxBody) -> Role {
    match body {
        TxBody::Batch(_)
        | TxBody::Consent(_)
        | TxBody::Dispute(_)
        | TxBody::KeyEpoch(_)
        | TxBody::Erasure(_)
        | TxBody::Samples(_) => Role::Ingest,
        TxBody::AuditAnchor(_) => Role::Audit,
        TxBody::ProfileVote(_) | TxBody::Governance(_) | TxBody::Policy(_) => Role::Governance,
        TxBody::Evidence(_) => Role::Consensus,
    }
}

/// What every check needs to know and no transaction changes.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub channel: ChannelId,
    pub genesis: Digest,
    pub members: Vec<Member>,
    pub params: Params,
}

impl Context {
    pub fn of(genesis: &Genesis) -> Self {
        Self {
            channel: genesis.channel.clone(),
            genesis: genesis.digest(),
            members: genesis.members.clone(),
            params: genesis.params.clone(),
        }
    }
    pub fn member(&self, organisation: &OrgId) -> Result<&Member, TxError> {
        self.members
            .iter()
            .find(|m| m.organisation == *organisation)
            .ok_or_else(|| TxError::UnknownSender(organisation.clone()))
    }
}

/// Reads state keys as they are in the middle of a block.
pub(crate) trait Look {
    /// The value of a state key.
    fn look(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;
}

pub(crate) fn find<T: Canonical>(state: &mut impl Look, key: &[u8]) -> Result<Option<T>, ReadError> {
    match state.look(key)? {
        None => Ok(None),
        Some(bytes) => state::decode(&bytes, &String::from_utf8_lossy(key)).map(Some),
    }
}

/// Checks a transaction against the state for a block at `height`; the signatures last, because they cost most, and
/// not at all when `signed` says that they were verified before.
pub(crate) fn check_with_state(
    context: &Context,
    state: &mut impl Look,
    height: Height,
    tx: &Tx,
    signed: bool,
) -> Result<(), CheckError> {
    context.member(&tx.unsigned.sender)?;
    match &tx.unsigned.body {
        TxBody::Batch(batch) => check_batch(context, state, height, batch)?,
        TxBody::Consent(change) => check_consent(state, change)?,
        TxBody::AuditAnchor(anchor) => check_anchor(state, &tx.unsigned.sender, anchor)?,
        TxBody::ProfileVote(vote) => check_vote(state, &tx.unsigned.sender, vote)?,
        TxBody::Governance(g) => governance::check(context, state, height, g)?,
        TxBody::Evidence(e) => evidence::check(state, height, e)?,
        TxBody::Dispute(d) => dispute::check(context, state, d)?,
        TxBody::Policy(n) => {
            let before: Option<PolicyRecord> = find(state, &state::policy_key(&tx.unsigned.sender))?;
            check_next(before.map_or(0, |b| b.version), n.version)?;
            if n.activates < height {
                return Err(TxError::TooEarly { activates: n.activates, height }.into());
            }
        }
        TxBody::KeyEpoch(k) => {
            let before: Option<KeyEpochRecord> = find(state, &state::key_epoch_key(&tx.unsigned.sender))?;
            check_next(before.map_or(0, |b| b.epoch), k.epoch)?;
        }
        TxBody::Erasure(e) => {
            let before: Option<ErasureRecord> = find(state, &state::erasure_key(&tx.unsigned.sender))?;
            check_next(before.map_or(0, |b| b.sequence), e.sequence)?;
        }
        TxBody::Samples(s) => {
            check_sanction(state, height, &tx.unsigned.sender)?;
            samples::check(state, &tx.unsigned.sender, s)?;
        }
    }
    if !signed {
        check_sender_signature(context, tx)?;
        match &tx.unsigned.body {
            TxBody::Batch(batch) => {
                let committee = committee_of(context, state, batch)?;
                interop::verify(
                    &context.channel,
                    &context.members,
                    &committee,
                    &batch.statement,
                    &batch.proof,
                )
                .map_err(TxError::from)?;
            }
            TxBody::Consent(change) => {
                let controller = controller(state, change)?;
                if !sign::verify_consent(&context.channel, &controller, change) {
                    return Err(TxError::NotController.into());
                }
            }
            TxBody::Governance(g) => governance::check_signatures(context, g)?,
            TxBody::Evidence(e) => evidence::check_signatures(context, state, e)?,
            TxBody::Dispute(d) => dispute::check_signatures(context, d)?,
            TxBody::AuditAnchor(_)
            | TxBody::ProfileVote(_)
            | TxBody::Policy(_)
            | TxBody::KeyEpoch(_)
            | TxBody::Erasure(_)
            | TxBody::Samples(_) => {}
        }
    }
    Ok(())
}

/// Numbers that count up by one protect what is announced against replay.
fn check_next(last: u64, found: u64) -> Result<(), TxError> {
    let expected = last.saturating_add(1);
    if found == expected { Ok(()) } else { Err(TxError::Sequence { expected, found }) }
}

/// The sanctions in force at a height.
fn sanctions(state: &mut impl Look, height: Height) -> Result<Vec<Sanction>, ReadError> {
    let mut all: Vec<Sanction> = find(state, &state::sanctions_key())?.unwrap_or_default();
    all.retain(|s| s.until > height);
    Ok(all)
}

fn check_sanction(state: &mut impl Look, height: Height, sender: &OrgId) -> Result<(), CheckError> {
    match sanctions(state, height)?.into_iter().find(|s| s.organisation == *sender) {
        None => Ok(()),
        Some(s) => Err(TxError::Sanctioned { organisation: s.organisation, until: s.until }.into()),
    }
}

fn check_sender_signature(context: &Context, tx: &Tx) -> Result<(), TxError> {
    let role = signer(&tx.unsigned.body);
    let key = role.key(context.member(&tx.unsigned.sender)?);
    if sign::verify_tx(&context.channel, &key, tx) { Ok(()) } else { Err(TxError::BadSignature(role)) }
}

/// What makes a batch admissible: schema in the agreed set, epoch, expiry, root new,
/// and a quorum of distinct attesters of the epoch's committee.
fn check_batch(
    context: &Context,
    state: &mut impl Look,
    height: Height,
    batch: &Batch,
) -> Result<(), CheckError> {
    let statement = &batch.statement;
    let latest = height.0.saturating_add(context.params.attestation_blocks);
    if statement.expires < height || statement.expires.0 > latest {
        return Err(TxError::Expired { expires: statement.expires, height }.into());
    }
    let current = committee::epoch_of(&context.params, height);
    if statement.epoch > current || statement.epoch.saturating_add(1) < current {
        return Err(TxError::WrongEpoch { epoch: statement.epoch, current }.into());
    }
    let schema: Option<SchemaRecord> = find(state, &state::schema_key(&statement.schema))?;
    if !schema.is_some_and(|s| s.in_force(height)) {
        return Err(TxError::UnknownSchema(statement.schema).into());
    }
    if state.look(&state::batch_key(&statement.batch_root))?.is_some() {
        return Err(TxError::DuplicateBatch(statement.batch_root).into());
    }
    let sanctioned = sanctions(state, height)?;
    if let Some(s) = sanctioned.iter().find(|s| s.organisation == statement.custodian) {
        return Err(TxError::Sanctioned { organisation: s.organisation.clone(), until: s.until }.into());
    }
    let committee = committee_of(context, state, batch)?;
    interop::check_shape(&context.members, &committee, &batch.proof).map_err(TxError::from)?;
    if !sanctioned.is_empty() {
        // The word of a sanctioned member does not count; the quorum is of the same committee.
        let mut proof = batch.proof.clone();
        proof.attestations.retain(|a| !sanctioned.iter().any(|s| s.organisation == a.attester));
        interop::check_shape(&context.members, &committee, &proof).map_err(TxError::from)?;
    }
    Ok(())
}

fn committee_of(context: &Context, state: &mut impl Look, batch: &Batch) -> Result<Vec<usize>, ReadError> {
    if committee::is_everybody(&context.params, context.members.len()) {
        return Ok((0..context.members.len()).collect());
    }
    let epoch = batch.statement.epoch;
    let seed = match epoch {
        0 => context.genesis,
        _ => find(state, &state::epoch_key(epoch))?
            .ok_or_else(|| ReadError(format!("the seed of epoch {epoch} is missing")))?,
    };
    let names: Vec<OrgId> = context.members.iter().map(|m| m.organisation.clone()).collect();
    let custodian = &batch.statement.custodian;
    Ok(committee::committee(&context.channel, &context.params, &names, epoch, &seed, custodian))
}

fn check_consent(state: &mut impl Look, change: &ConsentChange) -> Result<(), CheckError> {
    let before: Option<ConsentRecord> = find(state, &state::consent_key(&change.core.handle))?;
    let expected = before.map_or(1, |b| b.core.version.saturating_add(1));
    let found = change.core.version;
    if found != expected {
        return Err(TxError::ConsentVersion { expected, found }.into());
    }
    Ok(())
}

/// The controller named by the version before; by the first version itself when there is none.
fn controller(
    state: &mut impl Look,
    change: &ConsentChange,
) -> Result<consilium_domain::PublicKey, ReadError> {
    let before: Option<ConsentRecord> = find(state, &state::consent_key(&change.core.handle))?;
    Ok(before.map_or(change.core.controller, |b| b.core.controller))
}

fn check_anchor(state: &mut impl Look, sender: &OrgId, anchor: &AuditAnchor) -> Result<(), CheckError> {
    let before: Option<AnchorRecord> = find(state, &state::anchor_key(sender))?;
    let (size, root) = before.map_or_else(|| (0, merkle::root(&[])), |b| (b.size, b.root));
    // Strictly larger: an anchor that adds nothing would be a replay.
    if anchor.size <= size {
        return Err(TxError::AnchorSize { anchored: size, size: anchor.size }.into());
    }
    if !merkle::verify_consistency(size, &root, anchor.size, &anchor.root, &anchor.consistency) {
        return Err(TxError::NotConsistent.into());
    }
    Ok(())
}

fn check_vote(state: &mut impl Look, sender: &OrgId, vote: &ProfileVote) -> Result<(), CheckError> {
    let before: Option<VoteRecord> = find(state, &state::vote_key(&vote.schema, sender))?;
    match before {
        Some(b) if vote.round <= b.round => Err(TxError::OldVote { last: b.round, found: vote.round }.into()),
        _ => Ok(()),
    }
}
