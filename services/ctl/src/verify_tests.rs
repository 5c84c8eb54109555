//! The same files as the independent verifier checks (`e2e/verifier/vectors`): every kind is routed to its check.

use super::*;
use std::path::Path;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/verifier/vectors")
}

fn judge(name: &str, change: impl FnOnce(String) -> String) -> Proven {
    let genesis = std::fs::read(folder().join("genesis.json")).unwrap();
    let genesis: Genesis = serde_json::from_slice(&genesis).unwrap();
    let text = change(std::fs::read_to_string(folder().join(name)).unwrap());
    let args = VerifyArgs { file: PathBuf::new(), genesis: PathBuf::new(), resource: None, log: None };
    prove(&args, &genesis, text.as_bytes()).unwrap()
}

#[test]
fn every_kind_of_proof_is_recognised_and_says_what_it_proves() {
    for (name, kind, says) in [
        ("receipt.json", "receipt", "attested interoperable by 3 of 4 organisations"),
        ("receipt-after-changes.json", "receipt", "in block 8"),
        ("audit.json", "audit", "event 4 of the audit log of hospital-02"),
        ("state-present.json", "state", "was version 1, active"),
        ("state-absent.json", "state", "was not on the ledger"),
        ("sample.json", "sample", "sample 421 of series"),
        ("checkpoint.json", "checkpoint", "cosigned by hospital-00, hospital-01, hospital-02, hospital-04"),
    ] {
        let (text, value) = judge(name, |t| t).unwrap();
        assert!(text.starts_with("PROVEN: ") && text.contains(says), "{name}: {text}");
        assert_eq!((&value["verified"], &value["kind"]), (&json!(true), &json!(kind)), "{name}");
    }
}

#[test]
fn a_proof_of_one_kind_is_none_of_another_and_a_changed_one_is_refused() {
    let refused = |name: &str, from: &str, to: &str| {
        let reason = judge(name, |t| {
            assert!(t.contains(from), "{name}");
            t.replacen(from, to, 1)
        })
        .unwrap_err();
        assert!(!reason.is_empty());
        reason
    };
    refused("receipt.json", "consilium-receipt/3", "consilium-state-proof/2");
    assert!(refused("receipt.json", "consilium-receipt/3", "consilium-receipt/1").contains("unknown format"));
    refused("receipt.json", "Example", "Mallory");
    refused("sample.json", "\"index\": 421", "\"index\": 422");
    refused("audit.json", "hospital-02", "hospital-01");
    refused("checkpoint.json", "\\n13\\n", "\\n14\\n");
    refused("checkpoint.json", "ledger/care", "ledger/claims");
    refused("state-present.json", "\"value\": \"", "\"value\": \"00");
    refused("state-absent.json", "\"value\": null", "\"value\": \"00\"");
}
