//! What the state tree holds, under which keys, and the view through which it is read.
//!
//! State keys are readable text (`consent/<handle>`); the tree holds them by SHA-256. The key-value keys of tree
//! nodes, values and the log's frontier all begin with an octet of [`KINDS`] and are private to this crate.

use crate::check::{Look, find};
use consilium_domain::canon::Canonical;
use consilium_domain::canonical_struct;
use consilium_domain::genesis::Member;
use consilium_domain::port::kv::Pair;
use consilium_domain::tx::ConsentCore;
use consilium_domain::{Digest, Height, OrgId, Timestamp};
use std::ops::RangeInclusive;
use thiserror::Error;

/// First octets of all key-value keys that this crate writes: what a key is of. What tells keys apart follows at once,
/// for a store that compares the beginnings of keys in place finds most of them without looking further.
pub const KINDS: RangeInclusive<u8> = b'A'..=b'Z';

/// Whether a key is that of a node of the state tree: what it names is written once and never changes.
pub fn is_node(key: &[u8]) -> bool {
    key.first() == Some(&NODE)
}

/// First octet of the keys of the tree's nodes.
pub(crate) const NODE: u8 = b'N';

/// Bounds (`from <= key < to`) of all keys of this crate.
pub fn key_range() -> (Vec<u8>, Vec<u8>) {
    (vec![*KINDS.start()], vec![KINDS.end() + 1])
}

/// The view could not be read, or holds something that this crate did not write. The node stops: it must not decide
/// on a state that it cannot see.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the ledger state cannot be read: {0}")]
pub struct ReadError(pub String);

/// A consistent read-only view of the key-value pairs that [`crate::Applied::writes`] have built up. It must not
/// change while a [`crate::Ledger`] uses it.
pub trait StateRead {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError>;
    /// The pair with the greatest key in `from <= key <= to`.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Pair>, ReadError>;
}

/// Key of the [`HeadRecord`], written by every block.
pub fn head_key() -> Vec<u8> {
    b"head".to_vec()
}
/// Key of the canonical `Genesis`.
pub fn genesis_key() -> Vec<u8> {
    b"genesis".to_vec()
}
/// Key of the canonical `Vec<Member>`, sorted by organisation.
pub fn members_key() -> Vec<u8> {
    consilium_domain::genesis::MEMBERS_KEY.to_vec()
}
/// Key of the [`PendingMembers`]; absent unless a change of the members is in flight.
pub fn pending_key() -> Vec<u8> {
    b"members/next".to_vec()
}
/// Key of the canonical `Vec<Member>` in force from a height on: height 1 and the one after each of [`changes_key`].
pub fn members_since_key(since: Height) -> Vec<u8> {
    format!("members/{since}").into_bytes()
}
/// Key of the canonical `Vec<Height>` of the headers that announced new members, ascending; absent before the first.
pub fn changes_key() -> Vec<u8> {
    b"changes".to_vec()
}
/// Key of the number (`u64`) of motions carried so far; absent before the first.
pub fn motions_key() -> Vec<u8> {
    b"motions".to_vec()
}
/// Key of the canonical `Vec<Sanction>`, sorted by organisation. Some may be over.
pub fn sanctions_key() -> Vec<u8> {
    b"sanctions".to_vec()
}
/// Key of an organisation's [`EvidenceHead`]; absent while there is no evidence against it.
pub fn evidence_key(organisation: &OrgId) -> Vec<u8> {
    format!("evidence/{organisation}").into_bytes()
}
/// Key of the [`EvidenceRecord`] against an organisation at a height.
pub fn evidence_at_key(organisation: &OrgId, height: Height) -> Vec<u8> {
    format!("evidence/{organisation}/{height}").into_bytes()
}
/// Key of the [`DisputeRecord`] of a record (by commitment digest) in a batch (by root).
pub fn dispute_key(batch_root: &Digest, record: &Digest) -> Vec<u8> {
    format!("dispute/{batch_root}/{record}").into_bytes()
}
/// Key of an organisation's newest [`PolicyRecord`].
pub fn policy_key(organisation: &OrgId) -> Vec<u8> {
    format!("policy/{organisation}").into_bytes()
}
/// Key of an organisation's newest [`KeyEpochRecord`].
pub fn key_epoch_key(organisation: &OrgId) -> Vec<u8> {
    format!("key-epoch/{organisation}").into_bytes()
}
/// Key of an organisation's newest [`ErasureRecord`].
pub fn erasure_key(organisation: &OrgId) -> Vec<u8> {
    format!("erasure/{organisation}").into_bytes()
}
/// Key of the [`SeriesRecord`] of a sample series, by the commitment digest of the record that describes it.
pub fn series_key(series: &Digest) -> Vec<u8> {
    format!("series/{series}").into_bytes()
}
/// Key of the canonical `Params`.
pub fn params_key() -> Vec<u8> {
    b"params".to_vec()
}
/// Key of a schema's [`SchemaRecord`]; absent unless it was ever admitted.
pub fn schema_key(schema: &Digest) -> Vec<u8> {
    format!("schema/{schema}").into_bytes()
}
/// Key of a batch's [`BatchRecord`] by its root.
pub fn batch_key(root: &Digest) -> Vec<u8> {
    format!("batch/{root}").into_bytes()
}
/// Key of a consent's [`ConsentRecord`] by its handle.
pub fn consent_key(handle: &Digest) -> Vec<u8> {
    format!("consent/{handle}").into_bytes()
}
/// Key of an organisation's newest [`AnchorRecord`].
pub fn anchor_key(organisation: &OrgId) -> Vec<u8> {
    format!("anchor/{organisation}").into_bytes()
}
/// Key of an organisation's newest [`VoteRecord`] on a schema.
pub fn vote_key(schema: &Digest, organisation: &OrgId) -> Vec<u8> {
    format!("vote/{schema}/{organisation}").into_bytes()
}
/// Key of an epoch's committee seed: the `Digest` of the last block before it. The current and the previous epoch's
/// are kept; epoch 0 has none, its seed is the genesis digest.
pub fn epoch_key(epoch: u64) -> Vec<u8> {
    format!("epoch/{epoch}").into_bytes()
}

/// The newest block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRecord {
    pub height: Height,
    pub time: Timestamp,
    /// Id of the block; the genesis digest at height 0.
    pub block: Digest,
}
canonical_struct!(HeadRecord { height, time, block });

/// Members that wait for their height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMembers {
    pub members: Vec<Member>,
    /// First height at which they are in force.
    pub from: Height,
}
canonical_struct!(PendingMembers { members, from });

/// A schema by which batches may be attested at the heights `since <= height < until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaRecord {
    pub since: Height,
    pub until: Option<Height>,
}
canonical_struct!(SchemaRecord { since, until });

impl SchemaRecord {
    /// Whether a batch attested by it may enter a block at this height.
    pub fn in_force(&self, height: Height) -> bool {
        self.since <= height && self.until.is_none_or(|until| height < until)
    }
}

/// A committed batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRecord {
    pub height: Height,
    pub custodian: OrgId,
    pub records: u32,
    /// Id of its transaction.
    pub tx: Digest,
}
canonical_struct!(BatchRecord { height, custodian, records, tx });

/// Evidence against an organisation: the records hang together from the newest to the oldest reported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvidenceHead {
    pub count: u64,
    /// Height that the last reported evidence is about.
    pub newest: Height,
}
canonical_struct!(EvidenceHead { count, newest });

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// Id of the transaction that holds it.
    pub tx: Digest,
    pub reporter: OrgId,
    /// Block of the report.
    pub height: Height,
    /// Height that the evidence reported before this one is about; 0: none.
    pub previous: Height,
}
canonical_struct!(EvidenceRecord { tx, reporter, height, previous });

/// Attestations of a record, shown to be false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputeRecord {
    pub schema: Digest,
    /// Who had attested it.
    pub attesters: Vec<OrgId>,
    pub reporter: OrgId,
    pub height: Height,
    /// Id of the dispute's transaction.
    pub tx: Digest,
}
canonical_struct!(DisputeRecord { schema, attesters, reporter, height, tx });

/// An organisation's announced policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRecord {
    pub version: u64,
    pub digest: Digest,
    pub activates: Height,
    /// Block of the notice.
    pub height: Height,
}
canonical_struct!(PolicyRecord { version, digest, activates, height });

/// The epoch of an organisation's attribute authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEpochRecord {
    pub epoch: u64,
    pub keys: Digest,
    pub height: Height,
}
canonical_struct!(KeyEpochRecord { epoch, keys, height });

/// What an organisation has reported as destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRecord {
    /// Of the newest report.
    pub sequence: u64,
    /// Things destroyed in all reports together.
    pub total: u64,
    /// Block of the newest report.
    pub height: Height,
}
canonical_struct!(ErasureRecord { sequence, total, height });

/// A series of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesRecord {
    pub custodian: OrgId,
    /// Index of the next sample.
    pub next: u64,
    /// Block of the newest samples.
    pub height: Height,
}
canonical_struct!(SeriesRecord { custodian, next, height });

/// A consent as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRecord {
    pub core: ConsentCore,
    /// Height of this version.
    pub height: Height,
    /// Who brought it to the ledger.
    pub sender: OrgId,
}
canonical_struct!(ConsentRecord { core, height, sender });

/// The newest anchored checkpoint of an audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorRecord {
    pub size: u64,
    pub root: Digest,
    pub height: Height,
}
canonical_struct!(AnchorRecord { size, root, height });

/// An organisation's standing vote on a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRecord {
    pub admit: u16,
    pub activates: Height,
    pub round: u64,
}
canonical_struct!(VoteRecord { admit, activates, round });

/// Decodes what this crate wrote.
pub(crate) fn decode<T: Canonical>(bytes: &[u8], what: &str) -> Result<T, ReadError> {
    T::from_canonical(bytes).map_err(|e| ReadError(format!("`{what}`: {e}")))
}

/// The members in force at a height up to the one after the newest block.
pub(crate) fn members_at(state: &mut impl Look, height: Height) -> Result<Vec<Member>, ReadError> {
    let changes: Vec<Height> = find(state, &changes_key())?.unwrap_or_default();
    let since = changes.iter().rev().find(|a| **a < height).map_or(Height(1), |a| a.next());
    find(state, &members_since_key(since))?
        .ok_or_else(|| ReadError(format!("the members since height {since} are missing")))
}
