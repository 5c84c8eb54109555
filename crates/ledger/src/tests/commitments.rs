//! Commitments: one root for the record and all its projections; nothing else leads to it.

use super::fixture::patient;
use crate::commitment::{
    CommitmentError, Leaf, batch_inclusions, batch_root, commit, commitment_of, verify_opening,
    verify_projection, verify_record,
};
use consilium_domain::Digest;
use consilium_domain::canon::Canonical;
use consilium_domain::merkle::{self, Inclusion};
use consilium_domain::record::{LeafKind, LeafValue, MAX_PATH, Projection, RecordCommitment};
use proptest::prelude::*;

fn leaf<'a>(path: &'a str, kind: LeafKind, token: &'a str) -> Leaf<'a> {
    Leaf { path, kind, token: token.as_bytes() }
}

#[test]
fn every_projection_leads_to_the_records_commitment() {
    let leaves = patient();
    let record = commit("Patient", &leaves, &[7; 32]).unwrap();
    for mask in 0..1_u32 << leaves.len() {
        let withhold: Vec<bool> = (0..leaves.len()).map(|i| mask >> i & 1 == 1).collect();
        let projection = record.project(&withhold).unwrap();
        verify_projection(&projection, record.commitment()).unwrap();
        for (leaf, hide) in projection.leaves.iter().zip(&withhold) {
            assert_eq!(matches!(leaf.value, LeafValue::Withheld { .. }), *hide);
        }
        let bytes = projection.to_canonical();
        assert_eq!(Projection::from_canonical(&bytes).unwrap(), projection);
    }
    verify_record(&leaves, &[7; 32], record.commitment()).unwrap();
    let other = verify_record(&leaves, &[8; 32], record.commitment());
    assert_eq!(other, Err(CommitmentError::OtherCommitment), "another seed is another commitment");
}

#[test]
fn a_withheld_value_is_not_in_the_projections_bytes() {
    let leaves = patient();
    let projection = commit("Patient", &leaves, &[7; 32]).unwrap().project(&[true; 5]).unwrap();
    let bytes = projection.to_canonical();
    assert!(!bytes.windows(7).any(|w| w == b"Example"));
}

#[test]
fn every_byte_of_a_projection_matters() {
    let leaves = patient();
    let record = commit("Patient", &leaves, &[7; 32]).unwrap();
    let bytes = record.project(&[false, true, true, false, false]).unwrap().to_canonical();
    for i in 0..bytes.len() {
        for bit in 0..8 {
            let mut mutated = bytes.clone();
            mutated[i] ^= 1 << bit;
            let led = Projection::from_canonical(&mutated).ok().and_then(|p| commitment_of(&p).ok());
            assert_ne!(led.as_ref(), Some(record.commitment()), "bit {bit} of byte {i}");
        }
    }
}

#[test]
fn openings_prove_one_leaf_each() {
    let leaves = patient();
    let record = commit("Patient", &leaves, &[7; 32]).unwrap();
    let all = record.open_all().unwrap();
    for (i, opening) in all.iter().enumerate() {
        assert_eq!(*opening, record.open(i).unwrap());
        verify_opening(opening, record.commitment()).unwrap();
        let mut lie = opening.clone();
        lie.token = if lie.kind == LeafKind::Boolean { "false".into() } else { lie.token.replace('E', "F") };
        if lie != *opening {
            assert!(verify_opening(&lie, record.commitment()).is_err());
        }
        let mut moved = opening.clone();
        moved.inclusion.index = (moved.inclusion.index + 1) % 5;
        assert!(verify_opening(&moved, record.commitment()).is_err());
        let mut renamed = opening.clone();
        renamed.path.push('x');
        assert!(verify_opening(&renamed, record.commitment()).is_err());
        let other = RecordCommitment { leaf_count: 6, ..record.commitment().clone() };
        assert!(verify_opening(opening, &other).is_err());
    }
    assert_eq!(record.open(5), Err(CommitmentError::NoSuchLeaf(5)));
}

#[test]
fn leaves_that_nobody_honest_makes_are_refused() {
    let refused = |leaves: &[Leaf<'_>]| commit("Patient", leaves, &[0; 32]).unwrap_err();
    let a = leaf("Patient.id", LeafKind::String, "\"a\"");
    assert_eq!(refused(&[]), CommitmentError::LeafCount(0));
    assert_eq!(refused(&[a.clone(), a.clone()]), CommitmentError::DuplicatePath("Patient.id".into()));
    assert_eq!(refused(&[leaf("", LeafKind::Null, "null")]), CommitmentError::PathLength(0));
    let long = "x".repeat(MAX_PATH + 1);
    assert_eq!(refused(&[leaf(&long, LeafKind::Null, "null")]), CommitmentError::PathLength(0));
    for (kind, token) in [
        (LeafKind::String, "1"),
        (LeafKind::String, "\""),
        (LeafKind::Number, "\"1\""),
        (LeafKind::Number, "1 2"),
        (LeafKind::Boolean, "True"),
        (LeafKind::Null, ""),
    ] {
        assert_eq!(refused(&[leaf("a", kind, token)]), CommitmentError::KindMismatch("a".into()), "{token}");
    }
    let bytes = Leaf { path: "a", kind: LeafKind::String, token: &[b'"', 0xff, b'"'] };
    assert_eq!(refused(&[bytes]), CommitmentError::KindMismatch("a".into()));
    for name in ["", "Patient!", "P1"] {
        assert_eq!(
            commit(name, std::slice::from_ref(&a), &[0; 32]).unwrap_err(),
            CommitmentError::ResourceType
        );
    }
    let record = commit("Patient", std::slice::from_ref(&a), &[0; 32]).unwrap();
    assert_eq!(record.project(&[]), Err(CommitmentError::MaskLength { mask: 0, leaves: 1 }));
}

#[test]
fn all_inclusions_of_a_batch_are_those_of_each_record() {
    for n in 1..20 {
        let records: Vec<RecordCommitment> = (0..n)
            .map(|i| RecordCommitment {
                resource_type: "Patient".into(),
                leaf_count: i,
                root: Digest::default(),
            })
            .collect();
        let digests: Vec<Digest> = records.iter().map(RecordCommitment::digest).collect();
        assert_eq!(batch_root(&records), merkle::root(&digests));
        for (i, inclusion) in batch_inclusions(&records).into_iter().enumerate() {
            assert_eq!(Some(inclusion), Inclusion::of(&digests, i));
        }
    }
}

proptest! {
    #[test]
    fn leaves_of_any_shape_commit_project_and_open(
        tokens in proptest::collection::vec("[a-z]{0,12}", 1..40),
        mask in any::<u64>(),
        seed in any::<[u8; 32]>(),
    ) {
        let owned: Vec<(String, String)> =
            tokens.iter().enumerate().map(|(i, t)| (format!("List.entry[{i}]"), format!("\"{t}\""))).collect();
        let leaves: Vec<Leaf<'_>> = owned.iter().map(|(p, t)| leaf(p, LeafKind::String, t)).collect();
        let record = commit("List", &leaves, &seed).unwrap();
        let withhold: Vec<bool> = (0..leaves.len()).map(|i| mask >> (i % 64) & 1 == 1).collect();
        verify_projection(&record.project(&withhold).unwrap(), record.commitment()).unwrap();
        for opening in record.open_all().unwrap() {
            verify_opening(&opening, record.commitment()).unwrap();
        }
    }

    #[test]
    fn any_projection_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(projection) = Projection::from_canonical(&bytes) {
            let _ = commitment_of(&projection);
        }
    }
}
