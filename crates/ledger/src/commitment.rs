//! Commitments to records: salted leaves under one root, projections and openings that lead to the same root, and
//! the batch root over the commitments of one request.
//!
//! salt = HMAC-SHA-256(seed, path); value = SHA-256(tag ‖ salt ‖ token); leaf = RFC 6962 leaf hash of the canonical
//! (path, kind, value). Whoever has the seed can open every leaf; once the seed is destroyed, nobody can link the
//! commitment to a value by guessing.

use consilium_domain::merkle::{self, Inclusion};
use consilium_domain::receipt::Opening;
use consilium_domain::record::{
    LeafKind, LeafValue, MAX_LEAVES, MAX_PATH, ProjectedLeaf, Projection, RecordCommitment,
};
use consilium_domain::{Digest, Encoder};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

const LEAF_TAG: &str = "consilium/v1/leaf";
/// Longest resource type, in bytes.
const MAX_TYPE: usize = 64;

/// One primitive of a resource, borrowed from the bytes it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// FHIR path with all indices, e.g. `Patient.name[0].family`.
    pub path: &'a str,
    pub kind: LeafKind,
    /// The exact JSON token, quotes included.
    pub token: &'a [u8],
}

/// Why leaves have no commitment, or do not lead to the one claimed.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CommitmentError {
    #[error("a record has 1 to {MAX_LEAVES} leaves, this one has {0}")]
    LeafCount(usize),
    #[error("the resource type has to be 1 to {MAX_TYPE} ASCII letters")]
    ResourceType,
    #[error("leaf {0} has a path that is empty or longer than {MAX_PATH} bytes")]
    PathLength(usize),
    #[error("the path `{0}` occurs more than once")]
    DuplicatePath(String),
    #[error("the token at `{0}` is not one JSON token of its kind")]
    KindMismatch(String),
    #[error("there is no leaf {0}")]
    NoSuchLeaf(usize),
    #[error("the mask has {mask} entries for {leaves} leaves")]
    MaskLength { mask: usize, leaves: usize },
    #[error("the leaves lead to another commitment")]
    OtherCommitment,
    #[error("the opening of `{0}` does not lead to the record's root")]
    BadOpening(String),
}

/// A record's leaves hashed under a seed.
#[derive(Debug, Clone)]
pub struct CommittedRecord<'a> {
    leaves: &'a [Leaf<'a>],
    salts: Vec<Digest>,
    values: Vec<Digest>,
    hashes: Vec<Digest>,
    commitment: RecordCommitment,
}

/// Hashes a record's leaves, given in document order, under a fresh random 32-byte seed.
pub fn commit<'a>(
    resource_type: &str,
    leaves: &'a [Leaf<'a>],
    seed: &[u8; 32],
) -> Result<CommittedRecord<'a>, CommitmentError> {
    check_type(resource_type)?;
    let leaf_count = check_paths(leaves.iter().map(|l| l.path))?;
    // HMAC takes keys of any length, so this never fails; the key schedule is computed once and cloned per leaf.
    let keyed = Hmac::<Sha256>::new_from_slice(seed).map_err(|_| CommitmentError::OtherCommitment)?;
    let (mut salts, mut values, mut hashes) = (
        Vec::with_capacity(leaves.len()),
        Vec::with_capacity(leaves.len()),
        Vec::with_capacity(leaves.len()),
    );
    for leaf in leaves {
        check_token(leaf.path, leaf.kind, leaf.token)?;
        let mut mac = keyed.clone();
        mac.update(leaf.path.as_bytes());
        let salt = Digest(mac.finalize().into_bytes().into());
        let value = value_hash(&salt, leaf.token);
        salts.push(salt);
        values.push(value);
        hashes.push(leaf_hash(leaf.path, leaf.kind, &value));
    }
    let root = merkle::root(&hashes);
    let commitment = RecordCommitment { resource_type: resource_type.to_owned(), leaf_count, root };
    Ok(CommittedRecord { leaves, salts, values, hashes, commitment })
}

impl CommittedRecord<'_> {
    /// Type, leaf count and root: what the ledger is told of the record, by its digest.
    pub fn commitment(&self) -> &RecordCommitment {
        &self.commitment
    }

    /// The record as others see it: leaf `i` only as its salted hash where `withhold[i]`.
    pub fn project(&self, withhold: &[bool]) -> Result<Projection, CommitmentError> {
        if withhold.len() != self.leaves.len() {
            return Err(CommitmentError::MaskLength { mask: withhold.len(), leaves: self.leaves.len() });
        }
        let leaves = self
            .leaves
            .iter()
            .zip(withhold)
            .zip(self.salts.iter().zip(&self.values))
            .map(|((leaf, hide), (salt, value))| ProjectedLeaf {
                path: leaf.path.to_owned(),
                kind: leaf.kind,
                value: if *hide {
                    LeafValue::Withheld { value: *value }
                } else {
                    LeafValue::Shown { salt: *salt, token: leaf.token.to_vec() }
                },
            })
            .collect();
        Ok(Projection { resource_type: self.commitment.resource_type.clone(), leaves })
    }

    /// Lays leaf `index` open.
    pub fn open(&self, index: usize) -> Result<Opening, CommitmentError> {
        let missing = CommitmentError::NoSuchLeaf(index);
        let (Some(leaf), Some(salt)) = (self.leaves.get(index), self.salts.get(index)) else {
            return Err(missing);
        };
        let inclusion = Inclusion::of(&self.hashes, index).ok_or(missing)?;
        // `check_token` has seen that the token is UTF-8.
        let token = String::from_utf8_lossy(leaf.token).into_owned();
        Ok(Opening { path: leaf.path.to_owned(), kind: leaf.kind, salt: *salt, token, inclusion })
    }

    /// Lays every leaf open, in document order.
    pub fn open_all(&self) -> Result<Vec<Opening>, CommitmentError> {
        let inclusions = inclusions(&self.hashes);
        let mut out = Vec::with_capacity(self.leaves.len());
        for ((leaf, salt), inclusion) in self.leaves.iter().zip(&self.salts).zip(inclusions) {
            let token = String::from_utf8_lossy(leaf.token).into_owned();
            out.push(Opening { path: leaf.path.to_owned(), kind: leaf.kind, salt: *salt, token, inclusion });
        }
        Ok(out)
    }
}

/// The commitment that a projection leads to. Refuses what no honest custodian makes: duplicate or overlong paths,
/// tokens that are not of their kind.
pub fn commitment_of(projection: &Projection) -> Result<RecordCommitment, CommitmentError> {
    check_type(&projection.resource_type)?;
    let leaf_count = check_paths(projection.leaves.iter().map(|l| l.path.as_str()))?;
    let mut hashes = Vec::with_capacity(projection.leaves.len());
    for leaf in &projection.leaves {
        let value = match &leaf.value {
            LeafValue::Shown { salt, token } => {
                check_token(&leaf.path, leaf.kind, token)?;
                value_hash(salt, token)
            }
            LeafValue::Withheld { value } => *value,
        };
        hashes.push(leaf_hash(&leaf.path, leaf.kind, &value));
    }
    let root = merkle::root(&hashes);
    Ok(RecordCommitment { resource_type: projection.resource_type.clone(), leaf_count, root })
}

/// Checks a projection against a commitment.
pub fn verify_projection(
    projection: &Projection,
    commitment: &RecordCommitment,
) -> Result<(), CommitmentError> {
    if commitment_of(projection)? == *commitment { Ok(()) } else { Err(CommitmentError::OtherCommitment) }
}

/// Checks a whole record, with its seed, against a commitment.
pub fn verify_record(
    leaves: &[Leaf<'_>],
    seed: &[u8; 32],
    commitment: &RecordCommitment,
) -> Result<(), CommitmentError> {
    let own = commit(&commitment.resource_type, leaves, seed)?;
    if own.commitment == *commitment { Ok(()) } else { Err(CommitmentError::OtherCommitment) }
}

/// Checks one opened leaf against a commitment.
pub fn verify_opening(opening: &Opening, commitment: &RecordCommitment) -> Result<(), CommitmentError> {
    let bad = || CommitmentError::BadOpening(opening.path.chars().take(MAX_PATH).collect());
    if opening.path.is_empty() || opening.path.len() > MAX_PATH {
        return Err(bad());
    }
    check_token(&opening.path, opening.kind, opening.token.as_bytes())?;
    let leaf = opening_leaf(opening);
    let fits = opening.inclusion.size == u64::from(commitment.leaf_count);
    if fits && opening.inclusion.verify(&leaf, &commitment.root) { Ok(()) } else { Err(bad()) }
}

/// Leaf hash of an opened leaf.
pub fn opening_leaf(opening: &Opening) -> Digest {
    let value = value_hash(&opening.salt, opening.token.as_bytes());
    leaf_hash(&opening.path, opening.kind, &value)
}

/// RFC 6962 root over the commitment digests of a batch's records, in the order of the request.
pub fn batch_root(records: &[RecordCommitment]) -> Digest {
    merkle::root(&record_digests(records))
}

/// Each record's place in its batch, in order.
pub fn batch_inclusions(records: &[RecordCommitment]) -> Vec<Inclusion> {
    inclusions(&record_digests(records))
}

fn record_digests(records: &[RecordCommitment]) -> Vec<Digest> {
    records.iter().map(RecordCommitment::digest).collect()
}

/// Inclusion proofs of all leaves at once: each subtree's root is computed once, not once per leaf below it.
pub(crate) fn inclusions(leaves: &[Digest]) -> Vec<Inclusion> {
    let mut paths = vec![Vec::new(); leaves.len()];
    fill(leaves, &mut paths);
    let size = leaves.len() as u64;
    (0..).zip(paths).map(|(index, path)| Inclusion { index, size, path }).collect()
}

/// Appends to each leaf's path the siblings within this subtree, bottom up; the subtree's root.
fn fill(leaves: &[Digest], paths: &mut [Vec<Digest>]) -> Digest {
    if leaves.len() < 2 {
        return merkle::root(leaves);
    }
    // RFC 6962 §2.1: the left subtree has the largest power of two of leaves that is smaller than the whole.
    let middle = leaves.len().next_power_of_two() / 2;
    let ((left, right), (left_paths, right_paths)) = (leaves.split_at(middle), paths.split_at_mut(middle));
    let (left_root, right_root) = (fill(left, left_paths), fill(right, right_paths));
    left_paths.iter_mut().for_each(|p| p.push(right_root));
    right_paths.iter_mut().for_each(|p| p.push(left_root));
    merkle::node_hash(&left_root, &right_root)
}

/// Salted hash of a token.
fn value_hash(salt: &Digest, token: &[u8]) -> Digest {
    let tag = LEAF_TAG.as_bytes();
    Digest::sha256(&[&[u8::try_from(tag.len()).unwrap_or(u8::MAX)], tag, &salt.0, token])
}

fn leaf_hash(path: &str, kind: LeafKind, value: &Digest) -> Digest {
    let mut out = Encoder::default();
    out.str(path).value(&kind).value(value);
    merkle::leaf_hash(&out.into_bytes())
}

fn check_type(resource_type: &str) -> Result<(), CommitmentError> {
    let ok = (1..=MAX_TYPE).contains(&resource_type.len())
        && resource_type.bytes().all(|b| b.is_ascii_alphabetic());
    if ok { Ok(()) } else { Err(CommitmentError::ResourceType) }
}

/// Counts the paths and refuses too many, too long ones and duplicates.
fn check_paths<'p>(paths: impl ExactSizeIterator<Item = &'p str>) -> Result<u32, CommitmentError> {
    let count = paths.len();
    if count == 0 || count > MAX_LEAVES {
        return Err(CommitmentError::LeafCount(count));
    }
    let mut sorted = Vec::with_capacity(count);
    for (i, path) in paths.enumerate() {
        if path.is_empty() || path.len() > MAX_PATH {
            return Err(CommitmentError::PathLength(i));
        }
        sorted.push(path);
    }
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        if let [a, b] = pair
            && a == b
        {
            return Err(CommitmentError::DuplicatePath((*a).to_owned()));
        }
    }
    u32::try_from(count).map_err(|_| CommitmentError::LeafCount(count))
}

/// Whether the token can be a JSON token of this kind (RFC 8259). Its full syntax is the parser's business; this
/// keeps a string from being passed off as a number.
fn check_token(path: &str, kind: LeafKind, token: &[u8]) -> Result<(), CommitmentError> {
    let ok = std::str::from_utf8(token).is_ok()
        && match kind {
            LeafKind::String => token.len() >= 2 && token.starts_with(b"\"") && token.ends_with(b"\""),
            LeafKind::Number => {
                token.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-')
                    && token
                        .iter()
                        .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'))
            }
            LeafKind::Boolean => token == b"true" || token == b"false",
            LeafKind::Null => token == b"null",
        };
    if ok { Ok(()) } else { Err(CommitmentError::KindMismatch(path.to_owned())) }
}
