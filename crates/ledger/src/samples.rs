//! Samples of a device: salted leaves, their root, their place on the ledger.

use crate::check::{CheckError, Look, TxError, find};
use crate::dispute::is_number;
use crate::state::{self, BatchRecord, SeriesRecord};
use consilium_domain::merkle::{self, Inclusion};
use consilium_domain::samples::{MAX_SAMPLES, Sample, SampleBatch};
use consilium_domain::{Digest, Encoder, OrgId, Timestamp};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;

const SAMPLE_TAG: &str = "consilium/v1/sample";
/// Longest value, in bytes.
const MAX_VALUE: usize = 64;

/// Why samples have no root.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SampleError {
    #[error("a batch has 1 to {MAX_SAMPLES} samples, this one has {0}")]
    Count(usize),
    #[error("sample {0} is not a JSON number of at most {MAX_VALUE} bytes")]
    Value(usize),
    #[error("the series would have more samples than can be counted")]
    Overflow,
}

/// Salted samples and the hashes that lead to their root.
#[derive(Debug, Clone)]
pub struct CommittedSamples {
    samples: Vec<Sample>,
    hashes: Vec<Digest>,
}

/// Salts and hashes the values of a device, each with the time of its measurement, as the samples `first…` of a
/// series. `seed` is 32 fresh random bytes per series: salt = HMAC-SHA-256(seed, index). Once it is destroyed nobody
/// can tie a hash to a value again.
pub fn commit(
    first: u64,
    values: &[(Timestamp, &str)],
    seed: &[u8; 32],
) -> Result<CommittedSamples, SampleError> {
    let count = u32::try_from(values.len()).ok().filter(|c| (1..=MAX_SAMPLES).contains(c));
    let count = count.ok_or(SampleError::Count(values.len()))?;
    first.checked_add(u64::from(count)).ok_or(SampleError::Overflow)?;
    // HMAC takes keys of any length, so this never fails.
    let keyed = Hmac::<Sha256>::new_from_slice(seed).map_err(|_| SampleError::Overflow)?;
    let mut samples = Vec::with_capacity(values.len());
    for (index, (place, (time, value))) in (first..).zip(values.iter().enumerate()) {
        if value.len() > MAX_VALUE || !is_number(value) {
            return Err(SampleError::Value(place));
        }
        let mut mac = keyed.clone();
        mac.update(&index.to_be_bytes());
        let salt = Digest(mac.finalize().into_bytes().into());
        samples.push(Sample { index, time: *time, salt, value: (*value).to_owned() });
    }
    let hashes = samples.iter().map(leaf_hash).collect();
    Ok(CommittedSamples { samples, hashes })
}

impl CommittedSamples {
    /// RFC 6962 root: what the ledger is told.
    pub fn root(&self) -> Digest {
        merkle::root(&self.hashes)
    }

    /// The sample at `place` (from 0, within this batch) and its way to the root.
    pub fn open(&self, place: usize) -> Option<(Sample, Inclusion)> {
        Some((self.samples.get(place)?.clone(), Inclusion::of(&self.hashes, place)?))
    }

    /// All samples with their ways to the root, in order.
    pub fn open_all(&self) -> Vec<(Sample, Inclusion)> {
        self.samples.iter().cloned().zip(crate::commitment::inclusions(&self.hashes)).collect()
    }
}

/// Leaf hash of a sample.
pub fn leaf_hash(sample: &Sample) -> Digest {
    let mut inner = Encoder::default();
    inner.value(&sample.salt).value(&sample.time).str(&sample.value);
    let mut out = Encoder::default();
    out.u64(sample.index).value(&Digest::tagged(SAMPLE_TAG, &inner.into_bytes()));
    merkle::leaf_hash(&out.into_bytes())
}

/// Whether a sample stands where the batch says.
pub(crate) fn verify(batch: &SampleBatch, sample: &Sample, inclusion: &Inclusion) -> bool {
    sample.value.len() <= MAX_VALUE
        && is_number(&sample.value)
        && inclusion.size == u64::from(batch.count)
        && batch.first.checked_add(inclusion.index) == Some(sample.index)
        && inclusion.verify(&leaf_hash(sample), &batch.root)
}

/// Checks a batch by its bytes alone.
pub(crate) fn check_shape(batch: &SampleBatch) -> Result<(), TxError> {
    if !(1..=MAX_SAMPLES).contains(&batch.count) || batch.first.checked_add(u64::from(batch.count)).is_none()
    {
        return Err(TxError::SampleCount(batch.count));
    }
    if !batch.place.verify(&batch.series.digest(), &batch.batch_root) {
        return Err(TxError::UnknownSeries);
    }
    Ok(())
}

/// Checks that a batch continues a series of the sender whose description is on the ledger.
pub(crate) fn check(state: &mut impl Look, sender: &OrgId, batch: &SampleBatch) -> Result<(), CheckError> {
    let described: Option<BatchRecord> = find(state, &state::batch_key(&batch.batch_root))?;
    let fits = described.is_some_and(|d| u64::from(d.records) == batch.place.size && d.custodian == *sender);
    if !fits {
        return Err(TxError::UnknownSeries.into());
    }
    let series: Option<SeriesRecord> = find(state, &state::series_key(&batch.series.digest()))?;
    let (expected, found) = (series.map_or(0, |s| s.next), batch.first);
    if found != expected {
        return Err(TxError::Sequence { expected, found }.into());
    }
    Ok(())
}
