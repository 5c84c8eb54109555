//! The bytes of every message, pinned: a change of field numbers or types turns this red. What is pinned in
//! `golden/messages.txt` is changed only on purpose (`CONSILIUM_BLESS=1` writes it anew).

use consilium_contracts::Message;
use consilium_contracts::v1::*;

fn examples() -> Vec<(&'static str, Vec<u8>)> {
    let failure = Some(Failure::new("not-found", "no such class"));
    let committed = CommittedTx {
        tx: vec![1],
        index: 2,
        size: 3,
        path: vec![vec![4; 32], vec![5; 32]],
        header: vec![6],
        certificate: vec![7],
        validator_changes: vec![vec![8]],
    };
    let claims = Claims { subject: "dr-x".into(), roles: vec!["practitioner".into(), "chief".into()] };
    let record = SealedRecord {
        resource_type: "Observation".into(),
        id: "o1".into(),
        version: 2,
        updated_ms: 3,
        ciphertext: vec![4],
        wrapped_key: vec![5],
        class_id: vec![6],
        epoch: 7,
        header: vec![8],
        receipt: vec![9],
    };
    macro_rules! all {
        ($($name:ident $value:tt,)*) => {
            vec![$((stringify!($name), { let message: $name = all!(@ $name $value); message.encode_to_vec() })),*]
        };
        (@ $name:ident ($value:expr)) => { $value };
        (@ $name:ident { $($field:tt)* }) => { $name { $($field)* } };
    }
    all! {
        AppendRequest { events: vec![vec![1], vec![2]] },
        AppendResponse { first: 1, failure: failure.clone() },
        BlobOffer { subject: "s".into(), id: vec![1; 16], size: 2, sha256: vec![3; 32] },
        BlobRequest { id: vec![1; 16], offset: 2, length: 3 },
        BlobChunk { data: vec![1] },
        Failure (Failure::new("not-found", "no such class")),
        CommittedTx (committed.clone()),
        SubmitRequest { tx: vec![1], wait_ms: 2 },
        SubmitResponse {
            status: submit_response::Status::Refused.into(),
            committed: Some(committed.clone()),
            failure: failure.clone(),
        },
        FindRequest { tx_id: vec![1] },
        FindResponse { committed: Some(committed.clone()), failure: failure.clone() },
        StateRequest { key: vec![1], current: false, prove: true },
        StateResponse {
            has_value: true,
            value: vec![2],
            height: 3,
            time_ms: 4,
            failure: failure.clone(),
            proof: vec![5],
        },
        HeadRequest {},
        HeadResponse {
            height: 1,
            time_ms: 2,
            block_id: vec![3],
            txs: 4,
            mempool: 5,
            syncing: true,
            genesis: vec![7],
        },
        BlockRequest { height: 1 },
        BlockResponse { block: vec![1], certificate: vec![2] },
        TileRequest { level: 1, index: 2, width: 3, entries: true },
        TileResponse { tile: vec![1] },
        CheckpointRequest {},
        CheckpointResponse { proof: vec![1] },
        Committed { height: 1, time_ms: 2, tx_ids: vec![vec![3]] },
        ExchangeRequest { envelope: vec![1] },
        ExchangeQuery {
            resource_type: "Observation".into(),
            id: "o1".into(),
            parameters: vec![Parameter { name: "code".into(), value: "1-2".into() }],
            purpose: "TREAT".into(),
            claims: Some(claims.clone()),
            request_id: "r".into(),
        },
        Parameter { name: "code".into(), value: "1-2".into() },
        ExchangeResponse { envelope: vec![1], failure: failure.clone() },
        ExchangeAnswer { status: 200, outcome: vec![2], records: vec![record.clone()], decided_at: 4 },
        SealedRecord (record.clone()),
        ClassRequest { class_id: vec![1], epoch: 2, policy: "clinician@hospital-a".into() },
        ClassResponse {
            epoch: 1,
            kek: vec![2],
            header: vec![3],
            policy: "clinician@hospital-a".into(),
            failure: failure.clone(),
        },
        PolicyRequest { class_id: vec![1], policy: "clinician@hospital-a".into(), rotate: true },
        Claims (claims.clone()),
        OpenRequest {
            custodian: "hospital-b".into(),
            class_id: vec![2],
            epoch: 3,
            header: vec![4],
            claims: Some(claims.clone()),
        },
        OpenResponse { kek: vec![1], failure: failure.clone() },
        ErasedRequest { after: 1 },
        ErasedResponse {
            sequence: 1,
            class_ids: vec![vec![2], vec![3]],
            ground: 4,
            record: vec![5],
            failure: failure.clone(),
        },
        CheckRequest { resource: vec![1], profiles: vec!["http://p".into()] },
        CheckResponse {
            valid: true,
            errors: 2,
            warnings: 3,
            outcome: vec![4],
            schema_digest: vec![5],
            verdict: vec![6],
        },
        AttestRequest { envelope: vec![1] },
        AttestPayload { statement: vec![1], projections: vec![vec![2], vec![3]] },
        AttestResponse { attestation: vec![1], failure: failure.clone(), outcome: vec![3], unevaluated: 4 },
        SchemaRequest {},
        SchemaResponse { schema_digest: vec![1], engine: "fhir".into() },
    }
}

#[test]
fn the_encoding_of_every_message_is_the_pinned_one() {
    let fresh: String =
        examples().iter().map(|(name, bytes)| format!("{name} {}\n", hex::encode(bytes))).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/messages.txt");
    if std::env::var("CONSILIUM_BLESS").is_ok_and(|v| v == "1") {
        std::fs::write(path, &fresh).unwrap();
    }
    let pinned = std::fs::read_to_string(path).unwrap_or_default();
    for (fresh, pinned) in fresh.lines().zip(pinned.lines()) {
        assert_eq!(fresh, pinned, "the encoding changed: old and new releases would misread each other");
    }
    assert_eq!(fresh.lines().count(), pinned.lines().count());
}

#[test]
fn every_message_has_an_example() {
    let generated = include_str!("../src/generated/consilium.v1.rs");
    let mut declared: Vec<&str> = generated
        .lines()
        .filter_map(|line| line.strip_prefix("pub struct "))
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap())
        .collect();
    let mut shown: Vec<&str> = examples().iter().map(|(name, _)| *name).collect();
    declared.sort_unstable();
    shown.sort_unstable();
    assert_eq!(declared, shown);
}

#[test]
fn unknown_fields_are_ignored() {
    let mut bytes = HeadRequest {}.encode_to_vec();
    // Field 999, length-delimited, one byte.
    bytes.extend_from_slice(&[0xba, 0x3e, 0x01, 0x00]);
    assert!(HeadRequest::decode(bytes.as_slice()).is_ok());
}
