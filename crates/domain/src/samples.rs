//! Samples: thousands of values of one device under one transaction, each provable alone.
//!
//! A series is described by a record that is on the ledger already: an Observation that names device, code and unit,
//! attested like any other. A sample batch continues it without a gap. Each sample is a leaf of an RFC 6962 tree:
//! leaf hash of (index, SHA-256(tag ‖ salt ‖ time ‖ token)), so that nobody learns a value from its neighbours' proofs.

use crate::canonical_struct;
use crate::digest::Digest;
use crate::merkle::Inclusion;
use crate::record::RecordCommitment;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Most samples of one batch.
pub const MAX_SAMPLES: u32 = 1 << 20;

/// The next samples of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleBatch {
    /// Commitment of the record that describes the series; its digest names the series.
    pub series: RecordCommitment,
    /// Root of the committed batch that holds that record, and its place there.
    pub batch_root: Digest,
    pub place: Inclusion,
    /// Index of the first sample: the number of samples of the series so far.
    pub first: u64,
    /// 1 to [`MAX_SAMPLES`].
    pub count: u32,
    /// RFC 6962 root over the samples' leaf hashes.
    pub root: Digest,
}
canonical_struct!(SampleBatch { series, batch_root, place, first, count, root });

/// One sample laid open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Index in the series.
    pub index: u64,
    /// When it was measured.
    pub time: Timestamp,
    pub salt: Digest,
    /// The value, exactly as measured: a JSON number (FHIR `decimal`).
    pub value: String,
}
