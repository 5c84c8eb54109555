//! Ten thousand values of one device under one transaction, each provable alone.

use super::fixture::{World, org, schema};
use crate::apply::Effect;
use crate::check::{CheckError, TxError};
use crate::commitment::{self, Leaf};
use crate::receipt::{ReceiptError, verify_sample_proof};
use crate::samples::{CommittedSamples, SampleError, commit};
use crate::state::{self, SeriesRecord};
use consilium_domain::canon::Canonical;
use consilium_domain::merkle::Inclusion;
use consilium_domain::receipt::{SAMPLE_FORMAT, SampleProof};
use consilium_domain::record::{LeafKind, RecordCommitment};
use consilium_domain::samples::{MAX_SAMPLES, SampleBatch};
use consilium_domain::tx::{Tx, TxBody};
use consilium_domain::{Digest, Height, Timestamp};

/// Heart rates, one a second.
fn values(count: usize) -> Vec<(Timestamp, String)> {
    (0..count).map(|i| (Timestamp(5_000_000 + i as u64 * 1000), format!("{}", 58 + i * 7 % 41))).collect()
}

fn committed(first: u64, count: usize) -> CommittedSamples {
    let owned = values(count);
    let borrowed: Vec<(Timestamp, &str)> = owned.iter().map(|(t, v)| (*t, v.as_str())).collect();
    commit(first, &borrowed, &[3; 32]).unwrap()
}

/// Commits the record that describes a series of org 1; the record and samples from `first` on.
pub fn described(world: &mut World, first: u64, count: usize) -> (RecordCommitment, CommittedSamples) {
    let leaves = [
        Leaf { path: "Observation.resourceType", kind: LeafKind::String, token: b"\"Observation\"" },
        Leaf { path: "Observation.code.coding[0].code", kind: LeafKind::String, token: b"\"8867-4\"" },
    ];
    let record = commitment::commit("Observation", &leaves, &[4; 32]).unwrap().commitment().clone();
    let root = commitment::batch_root(std::slice::from_ref(&record));
    world.commit(&[world.batch(world.statement(1, root, 1), &[0, 1, 2])]);
    (record, committed(first, count))
}

pub fn body(series: &RecordCommitment, first: u64, samples: &CommittedSamples) -> SampleBatch {
    SampleBatch {
        series: series.clone(),
        batch_root: commitment::batch_root(std::slice::from_ref(series)),
        place: Inclusion { index: 0, size: 1, path: vec![] },
        first,
        count: samples.open_all().len() as u32,
        root: samples.root(),
    }
}

pub fn batch(world: &World, series: &RecordCommitment, first: u64, samples: &CommittedSamples) -> Tx {
    world.sign(1, TxBody::Samples(body(series, first, samples)))
}

pub fn proof(world: &World, height: u64, samples: &CommittedSamples, place: usize) -> SampleProof {
    let (sample, inclusion) = samples.open(place).unwrap();
    let block = &world.chain[height as usize - 1].0;
    SampleProof {
        format: SAMPLE_FORMAT.to_owned(),
        genesis: world.genesis.digest(),
        sample,
        inclusion,
        transaction: world.tx_proof(block, 0),
    }
}

#[test]
fn ten_thousand_samples_under_one_transaction_are_each_provable_alone() {
    let mut world = World::new(4);
    let (series, samples) = described(&mut world, 0, 10_000);
    let tx = batch(&world, &series, 0, &samples);
    assert!(tx.to_canonical().len() < 400, "{}", tx.to_canonical().len());
    let (_, applied) = world.commit(&[tx]);
    let effect = Effect::Samples { series: series.digest(), first: 0, count: 10_000 };
    assert_eq!(applied.outcomes[0].effect, effect);
    let shown = proof(&world, 2, &samples, 7321);
    let verified = verify_sample_proof(&world.genesis, &shown).unwrap();
    assert_eq!((verified.height, verified.custodian, verified.series), (Height(2), org(1), series.digest()));
    assert_eq!(shown.inclusion.path.len(), 14);
    // Each of them, and by the same hashes that `open` gives.
    let body = body(&series, 0, &samples);
    let all = samples.open_all();
    assert_eq!(all.len(), 10_000);
    for (place, (sample, inclusion)) in all.iter().enumerate() {
        assert!(crate::samples::verify(&body, sample, inclusion), "{place}");
        assert_eq!(sample.index, place as u64);
    }
    assert_eq!(all[7321], samples.open(7321).unwrap());
    let json = serde_json::to_vec(&shown).unwrap();
    assert_eq!(serde_json::from_slice::<SampleProof>(&json).unwrap(), shown);
}

#[test]
fn a_forged_sample_is_refused() {
    let mut world = World::new(4);
    let (series, samples) = described(&mut world, 0, 100);
    world.commit(&[batch(&world, &series, 0, &samples)]);
    let good = proof(&world, 2, &samples, 42);
    verify_sample_proof(&world.genesis, &good).unwrap();
    let forged = |change: &dyn Fn(&mut SampleProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        verify_sample_proof(&world.genesis, &proof).unwrap_err()
    };
    let not_there = ReceiptError::NotInSamples;
    assert_eq!(forged(&|p| p.sample.value = "59".into()), not_there);
    assert_eq!(forged(&|p| p.sample.value = "059".into()), not_there);
    assert_eq!(forged(&|p| p.sample.time.0 += 1), not_there);
    assert_eq!(forged(&|p| p.sample.index = 43), not_there);
    assert_eq!(forged(&|p| p.sample.salt = Digest::default()), not_there);
    assert_eq!(forged(&|p| p.inclusion.index = 43), not_there);
    assert_eq!(forged(&|p| p.inclusion.size = 101), not_there);
    assert_eq!(forged(&|p| p.inclusion.path.swap(0, 1)), not_there);
    assert_eq!(forged(&|p| p.genesis = Digest::default()), ReceiptError::OtherGenesis);
    let described = world.chain[0].0.clone();
    assert_eq!(forged(&|p| p.transaction = world.tx_proof(&described, 0)), ReceiptError::OtherKind);
    let json = serde_json::to_vec(&good).unwrap();
    for i in 0..json.len() {
        let mut mutated = json.clone();
        mutated[i] ^= 0x01;
        if let Ok(p) = serde_json::from_slice::<SampleProof>(&mutated)
            && p != good
            && p.transaction.inclusion.size == good.transaction.inclusion.size
        {
            assert!(verify_sample_proof(&world.genesis, &p).is_err(), "byte {i}");
        }
    }
}

#[test]
fn a_series_has_no_gap_no_overlap_and_one_owner() {
    let mut world = World::new(4);
    let (series, first) = described(&mut world, 0, 100);
    let refused = |w: &World, tx: &Tx| match w.ledger().check_tx(&tx.to_canonical()) {
        Err(CheckError::Invalid(error)) => error,
        other => panic!("expected a refusal, found {other:?}"),
    };
    let sequence = |expected, found| TxError::Sequence { expected, found };
    assert_eq!(refused(&world, &batch(&world, &series, 1, &first)), sequence(0, 1));
    world.commit(&[batch(&world, &series, 0, &first)]);
    for at in [0, 99, 101] {
        assert_eq!(refused(&world, &batch(&world, &series, at, &first)), sequence(100, at));
    }
    let second = committed(100, 50);
    world.commit(&[batch(&world, &series, 100, &second)]);
    let record: SeriesRecord = world.state(&state::series_key(&series.digest())).unwrap();
    assert_eq!((record.next, record.height, record.custodian), (150, Height(3), org(1)));
    verify_sample_proof(&world.genesis, &proof(&world, 3, &second, 49)).unwrap();
    // The first sample of the second batch is not the first of the series.
    let mut moved = proof(&world, 3, &second, 0);
    moved.sample.index = 0;
    assert_eq!(verify_sample_proof(&world.genesis, &moved), Err(ReceiptError::NotInSamples));
    let third = committed(150, 10);
    let with = |change: &dyn Fn(&mut SampleBatch)| {
        let mut b = body(&series, 150, &third);
        change(&mut b);
        refused(&world, &world.sign(1, TxBody::Samples(b)))
    };
    assert_eq!(with(&|b| b.count = 0), TxError::SampleCount(0));
    assert_eq!(with(&|b| b.count = MAX_SAMPLES + 1), TxError::SampleCount(MAX_SAMPLES + 1));
    assert_eq!(with(&|b| b.first = u64::MAX), TxError::SampleCount(10));
    assert_eq!(with(&|b| b.series.root = Digest::default()), TxError::UnknownSeries);
    assert_eq!(with(&|b| b.place.index = 1), TxError::UnknownSeries);
    // A description that is nowhere on the ledger, and somebody else's series.
    let nowhere = RecordCommitment { root: schema(), ..series.clone() };
    assert_eq!(refused(&world, &batch(&world, &nowhere, 0, &third)), TxError::UnknownSeries);
    let stolen = world.sign(2, TxBody::Samples(body(&series, 150, &third)));
    assert_eq!(refused(&world, &stolen), TxError::UnknownSeries);
}

#[test]
fn only_numbers_are_samples() {
    let at = |value: &'static str| commit(0, &[(Timestamp(0), value)], &[1; 32]).map(|_| ());
    for good in ["0", "-0", "72", "-3.5", "1.50", "6.02e23", "1E-9", "0.0"] {
        at(good).unwrap();
    }
    for bad in ["", "-", "01", "1.", ".5", "1e", "1e+", "NaN", "E", "72 ", "\"72\"", "+1", "1-2", "0x1"] {
        assert_eq!(at(bad), Err(SampleError::Value(0)), "{bad}");
    }
    assert_eq!(commit(0, &[], &[1; 32]).unwrap_err(), SampleError::Count(0));
    let one = [(Timestamp(0), "1")];
    assert_eq!(commit(u64::MAX, &one, &[1; 32]).unwrap_err(), SampleError::Overflow);
    // Seeds and places make different hashes of the same value.
    let twice = commit(0, &[(Timestamp(0), "1"), (Timestamp(0), "1")], &[1; 32]).unwrap();
    let (a, b) = (twice.open(0).unwrap(), twice.open(1).unwrap());
    assert_ne!(a.1.path, b.1.path);
}
