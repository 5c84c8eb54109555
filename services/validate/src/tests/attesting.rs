//! What riverside attests for lakeside, and what not.

use super::fixture::{
    AGE, Attested, NOW, PATIENT, as_agreed, attest, attester, key, org, payload, record, request, statement,
};
use crate::attest::Attester;
use crate::error::Refusal;
use consilium_domain::interop::Statement;
use consilium_domain::message::Envelope;
use consilium_domain::record::{LeafValue, Projection, RecordCommitment};
use consilium_domain::{Canonical, Digest, Timestamp};
use consilium_ledger::envelope::seal;
use consilium_ledger::sign::verify_attestation;

type Record = (RecordCommitment, Projection);

fn ask(attester: &Attester, statement: &Statement, records: &[Record]) -> Result<Attested, Refusal> {
    attest(attester, &request(attester, payload(statement, records), NOW).to_canonical(), NOW)
}

fn records(attester: &Attester, documents: &[&str]) -> Vec<Record> {
    documents
        .iter()
        .zip(1..)
        .map(|(d, salt)| record(attester.validator.schema(), d, salt, as_agreed))
        .collect()
}

fn judged(attester: &Attester, records: &[Record]) -> Result<Attested, Refusal> {
    ask(attester, &statement(attester, records), records)
}

#[test]
fn conforming_records_are_attested_unseen() {
    let Some(a) = attester() else { return };
    let records = records(&a, &[PATIENT, AGE]);
    let statement = statement(&a, &records);
    let attested = ask(&a, &statement, &records).unwrap();
    assert_eq!((attested.records, &attested.attestation.attester), (2, &org("riverside")));
    assert!(attested.unevaluated > 0, "dates, names and ids are not seen");
    let public = key("riverside", "validate").public();
    assert!(verify_attestation(&a.genesis.channel, &public, &statement, &attested.attestation));
    // A repeated request gets the same answer.
    assert_eq!(ask(&a, &statement, &records).unwrap().attestation, attested.attestation);
    let bytes = request(&a, payload(&statement, &records), NOW).to_canonical();
    for secret in ["Example", "Ada", "1950", "p1", "93"] {
        assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} was sent");
    }
}

#[test]
fn faults_that_a_projection_shows_are_refused_with_an_outcome() {
    let Some(a) = attester() else { return };
    for (document, place) in [
        (PATIENT.replace("\"female\"", "\"femal\""), "Patient.gender"),
        (PATIENT.replace("\"active\":true", "\"active\":\"true\""), "Patient.active"),
        (PATIENT.replace("\"active\"", "\"actve\""), "Patient"),
        (AGE.replace("\"status\":\"final\",", ""), "Observation"),
    ] {
        let error = judged(&a, &records(&a, &[PATIENT, &document])).unwrap_err();
        let Refusal::NotConforming { outcome, errors } = error else { panic!("{place}: {error}") };
        assert!(errors > 0);
        let outcome: serde_json::Value = serde_json::from_str(&outcome).unwrap();
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        let issue = &outcome["issue"][0];
        assert!(issue["expression"][0].as_str().unwrap().starts_with(place), "{issue}");
        assert!(issue["details"]["text"].as_str().unwrap().starts_with("Record 1: "), "{issue}");
    }
}

#[test]
fn exactly_the_agreed_leaves_are_withheld() {
    let Some(a) = attester() else { return };
    let schema = a.validator.schema();
    let with = |path: &'static str, hide: bool| {
        let mask = move |p: &str, agreed: bool| if p == path { hide } else { agreed };
        judged(&a, &[record(schema, PATIENT, 1, mask)])
    };
    with("Patient.gender", false).unwrap();
    // A fault could hide in a withheld code …
    let hidden = with("Patient.gender", true).unwrap_err();
    assert!(
        matches!(hidden, Refusal::Projection { record: 0, why } if why.contains("withholds")),
        "{hidden}"
    );
    assert!(with("Patient.resourceType", true).is_err());
    // … and a name that is shown is a disclosure.
    let shown = with("Patient.name[0].family", false).unwrap_err();
    assert!(matches!(shown, Refusal::Projection { record: 0, why } if why.contains("shows")), "{shown}");
}

#[test]
fn an_age_may_be_withheld_and_a_coded_quantity_may_not() {
    let Some(a) = attester() else { return };
    let schema = a.validator.schema();
    judged(&a, &records(&a, &[AGE])).unwrap();
    let weight =
        AGE.replace("93,\"unit\":\"years\"", "93,\"system\":\"http://unitsofmeasure.org\",\"code\":\"kg\"");
    judged(&a, &records(&a, &[&weight])).unwrap();
    let mask = |p: &str, agreed: bool| p == "Observation.valueQuantity.value" || agreed;
    let hidden = judged(&a, &[record(schema, &weight, 1, mask)]);
    assert!(matches!(hidden, Err(Refusal::Projection { .. })));
}

#[test]
fn the_projections_are_those_of_the_statement() {
    let Some(a) = attester() else { return };
    let good = records(&a, &[PATIENT, AGE]);
    let base = statement(&a, &good);
    let with = |change: &dyn Fn(&mut Statement)| {
        let mut s = base.clone();
        change(&mut s);
        ask(&a, &s, &good).unwrap_err()
    };
    assert!(matches!(with(&|s| s.batch_root = Digest::default()), Refusal::OtherRoot));
    assert!(matches!(with(&|s| s.records = 1), Refusal::RecordCount { claimed: 1, found: 2 }));
    assert!(matches!(with(&|s| s.schema = Digest::default()), Refusal::OtherSchema { .. }));
    assert!(matches!(with(&|s| s.custodian = org("riverside")), Refusal::NotCustodian));
    assert!(matches!(ask(&a, &base, &[]), Err(Refusal::RecordCount { claimed: 2, found: 0 })));
    let swapped = [good[1].clone(), good[0].clone()];
    assert!(matches!(ask(&a, &base, &swapped), Err(Refusal::OtherRoot)));
    let mut altered = good.clone();
    let gender = altered[0].1.leaves.iter_mut().find(|l| l.path == "Patient.gender").unwrap();
    let LeafValue::Shown { token, .. } = &mut gender.value else { panic!() };
    *token = b"\"male\"".to_vec();
    assert!(matches!(ask(&a, &base, &altered), Err(Refusal::OtherRoot)));
}

#[test]
fn leaves_that_are_no_resource_are_refused() {
    let Some(a) = attester() else { return };
    let good = record(a.validator.schema(), PATIENT, 1, as_agreed).1;
    let judge = |projection: Projection| {
        let Ok(commitment) = consilium_ledger::commitment::commitment_of(&projection) else { return true };
        matches!(judged(&a, &[(commitment, projection)]), Err(Refusal::Projection { record: 0, .. }))
    };
    let with = |change: &dyn Fn(&mut Projection)| {
        let mut projection = good.clone();
        change(&mut projection);
        judge(projection)
    };
    assert!(!with(&|_| {}));
    assert!(with(&|p| p.resource_type = "Observation".into()));
    let given = good.leaves.iter().position(|l| l.path == "Patient.name[0].given[0]").unwrap();
    assert!(with(&move |p| p.leaves.swap(given, given + 1)), "order");
    assert!(with(&|p| p.leaves[1].path = "Patient.name[0]".into()), "a leaf inside a leaf");
    assert!(with(&|p| p.leaves[1].path = "]".into()));
    assert!(with(&|p| p.leaves[0].path = "Patient.other".into()), "no resourceType");
}

#[test]
fn only_a_members_ingest_is_answered_and_only_in_time() {
    let Some(a) = attester() else { return };
    let records = records(&a, &[PATIENT]);
    let good = request(&a, payload(&statement(&a, &records), &records), NOW);
    let judge = |e: &Envelope, now| attest(&a, &e.to_canonical(), now);
    judge(&good, Timestamp(NOW.0 + 30_000)).unwrap();
    assert!(matches!(judge(&good, Timestamp(NOW.0 + 30_001)), Err(Refusal::Envelope(_))));
    let by_validate = seal(&key("lakeside", "validate"), &a.genesis.channel, good.sealed.clone());
    assert!(matches!(judge(&by_validate, NOW), Err(Refusal::Envelope(_))));
    let changes: [fn(&mut consilium_domain::message::Sealed); 3] = [
        |s| s.recipient = org("lakeside"),
        |s| s.sender = org("stranger"),
        |s| s.subject = "exchange/read".into(),
    ];
    for change in changes {
        let mut sealed = good.sealed.clone();
        change(&mut sealed);
        let other = seal(&key("lakeside", "ingest"), &a.genesis.channel, sealed);
        assert!(matches!(judge(&other, NOW), Err(Refusal::Envelope(_))));
    }
    for cut in [0, 1, 50] {
        assert!(matches!(attest(&a, &good.to_canonical()[..cut], NOW), Err(Refusal::Malformed("envelope"))));
    }
    let junk = request(&a, vec![0xff; 20], NOW);
    assert!(matches!(judge(&junk, NOW), Err(Refusal::Malformed("payload"))));
}
