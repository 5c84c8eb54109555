//! How little of the CPU time of storing records is attribute-based encryption (`scripts/bench.sh abe-store`).

use super::world::World;
use consilium_abe::envelope::{ClassKey, wrap_class_key};
use consilium_abe::{AccessPolicy, KemContext, PublicKeys, authority, kem};
use consilium_testkit::bench::measure;
use serde_json::{Value, json};

const PATIENTS: usize = 50;
const RECORDS: usize = 10_000;

/// CPU time of this process, user and system, in clock ticks of a hundredth of a second (proc(5), fields 14 and 15).
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

/// A patient and observations of hers, as one transaction.
fn bundle(patient: usize, records: usize) -> Value {
    let place = format!("urn:uuid:00000000-0000-4000-8000-{patient:012}");
    let entry = |url: &str, resource: Value| {
        json!({
            "fullUrl": url,
            "resource": resource,
            "request": { "method": "POST", "url": resource["resourceType"] }
        })
    };
    let mut entries = vec![entry(&place, super::story::patient("Many", &format!("mrn-{patient}")))];
    entries.extend((1..records).map(|n| {
        let url = format!("urn:uuid:00000000-0000-4000-8001-{:012}", patient * records + n);
        entry(&url, super::story::observation(&place))
    }));
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

#[actix_web::test]
#[ignore = "a measurement of a minute: scripts/bench.sh abe-store"]
async fn the_share_of_attribute_based_encryption_in_storing_ten_thousand_records() {
    let Some(w) = World::start("committed").await else { return };
    let before = ticks();
    for patient in 0..PATIENTS {
        let stored = w.post("org-a", "/fhir", &bundle(patient, RECORDS / PATIENTS)).await;
        assert_eq!(stored.status, 200, "{}", stored.body);
    }
    let spent = (ticks() - before) as f64 / 100.0;

    // What the keys service does meanwhile, which this world has a stand-in for: a key for each class, wrapped under the
    // envelope of its policy, which is that of patients without consents; and, beside it, an encapsulation for each.
    let policy = consilium_policy::access::class_policy(
        &w.apps["org-a"].organisation,
        &std::collections::BTreeSet::new(),
    );
    let rng = &mut consilium_testkit::seeded(5);
    let keys: PublicKeys = [authority::setup(rng, "test", "org-a").unwrap().0].into_iter().collect();
    let policy = AccessPolicy::parse(&policy).unwrap().with_epoch("2026W47").unwrap();
    let mut made = |each: bool| {
        let context = KemContext::new("test", "envelope", 0).unwrap();
        let mut secret = None;
        for _ in 0..PATIENTS {
            if each || secret.is_none() {
                secret = Some(kem::encapsulate(&policy, &keys, &context, rng).unwrap().1);
            }
            wrap_class_key(secret.as_ref().unwrap(), b"class", &ClassKey::generate(rng), rng).unwrap();
        }
    };
    made(false);
    let shared = measure(|| made(false)).unwrap().1 as f64 / 1e9;
    let each = measure(|| made(true)).unwrap().1 as f64 / 1e9;
    let share = |abe: f64| abe / (spent + abe) * 100.0;
    println!(
        "abe-store: {RECORDS} records of {PATIENTS} patients in {PATIENTS} transactions: {spent:.2} s of CPU time in this process \
         (validation, commitments, attestation, ledger, sealing, SQLite, audit; {:.0} us a record); attribute-based \
         encryption of their classes {:.2} ms, {:.4} % of all; with an encapsulation for each class {:.2} ms, {:.3} %",
        spent / RECORDS as f64 * 1e6,
        shared * 1e3,
        share(shared),
        each * 1e3,
        share(each),
    );
    assert!(share(shared) < 2.0 && share(each) < 2.0);
}
