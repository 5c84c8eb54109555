//! `abe-records`: what it costs to put records under class keys, and how little of it is attribute-based encryption.
//!
//! As the keys service does it: one encapsulation for the classes of one policy and week, and for each class a wrap of
//! its key under it; beside it, an encapsulation for each class. The policies are those that the product makes of
//! patients' consents: the custodian's clinicians, or those of some grantees.

use consilium_abe::envelope::{ClassKey, RecordKey, seal_record, wrap_class_key, wrap_dek};
use consilium_abe::{AccessPolicy, KemContext, PublicKeys, Secret32, authority, kem};
use consilium_testkit::bench::{Report, Series, Unit, measure};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use crate::Failure;

const RECORDS: usize = 10_000;
const CLASSES: usize = 50;
const BYTES: usize = 4096;
const ROUNDS: usize = 30;
const MEMBERS: usize = 4;

/// How the classes are wrapped: a name, how many policies there are among them, and whether their classes share an
/// encapsulation.
const WAYS: [(&str, usize, bool); 4] = [
    ("no patient has consented to more than the custodian's use", 1, true),
    ("half of the patients to that of one other member", 2, true),
    ("a quarter each to that of none, one, two and three other members", 4, true),
    ("as the first, with an encapsulation for each class", 1, false),
];

pub fn run() -> Result<(), Failure> {
    let report = Report::new("abe-records", Unit::PerSecond);
    let rng = &mut ChaCha20Rng::from_seed([43; 32]);
    let mut public = PublicKeys::new();
    for index in 0..MEMBERS {
        public.insert(authority::setup(rng, "bench", &format!("hospital-{index}"))?.0);
    }
    let term = |member| format!("clinician@hospital-{member}#2026W47");
    let policies = (1..=MEMBERS)
        .map(|members| AccessPolicy::parse(&(0..members).map(term).collect::<Vec<_>>().join(" OR ")))
        .collect::<Result<Vec<_>, _>>()?;
    let plaintext = vec![0x5a; BYTES];
    let context = b"record 12345, version 1, class patient-1/normal, epoch 1";
    let mut whole = Series::new("records sealed, with their keys wrapped and their share of the classes");
    let mut seals = Series::new("seals alone");
    let mut shares = WAYS.map(|_| Vec::new());
    let mut encapsulated = Vec::new();
    for _ in 0..ROUNDS {
        let mut keys = Vec::new();
        let mut spent = WAYS.map(|_| 0);
        for ((_, number, shared), spent) in WAYS.iter().zip(&mut spent).rev() {
            let (made, nanos) = measure(|| class_keys(&policies, (*number, *shared), &public, rng))?;
            (keys, *spent) = (made?, nanos);
        }
        let (sealed, symmetric) = measure(|| {
            let records = (0..RECORDS).zip(keys.iter().cycle());
            records
                .map(|(_, class)| {
                    let key = RecordKey::generate(rng);
                    let sealed = seal_record(&key, context, &plaintext, rng)?;
                    Ok(sealed.len() + wrap_dek(class, context, &key, rng)?.len())
                })
                .sum::<Result<usize, consilium_abe::AbeError>>()
        })?;
        let sealed = sealed?;
        if sealed != RECORDS * (BYTES + 62 + 126) {
            return Err(format!("{sealed} bytes came out").into());
        }
        whole.push(RECORDS as u64, spent[0] + symmetric);
        encapsulated.push(spent[3]);
        for (shares, abe) in shares.iter_mut().zip(spent) {
            shares.push(abe as f64 / (abe + symmetric) as f64 * 100.0);
        }
        let key = RecordKey::generate(rng);
        let (made, nanos) = measure(|| {
            (0..1000).map(|_| seal_record(&key, context, &plaintext, rng)).all(|made| made.is_ok())
        })?;
        if !made {
            return Err("a seal failed".into());
        }
        seals.push(1000, nanos);
    }
    encapsulated.sort_unstable();
    // What a record may cost in all, so that its part of the encapsulations is a fiftieth of it.
    let middle = encapsulated.get(encapsulated.len() / 2).copied().unwrap_or_default();
    let enough = middle as f64 * 50.0 / RECORDS as f64 / 1e3;
    let mut report = report
        .condition("measured", "CPU time of one thread")
        .condition(
            "data",
            format!("{RECORDS} records of {BYTES} bytes in {CLASSES} classes; policies as of a consortium of {MEMBERS}"),
        )
        .condition(
            "share",
            "encapsulations and wraps of class keys in the CPU time of these and of sealing and wrapping the records",
        );
    for ((name, _, _), shares) in WAYS.iter().zip(&mut shares) {
        shares.sort_by(f64::total_cmp);
        let median = shares.get(shares.len() / 2).copied().unwrap_or_default();
        report = report.condition(&format!("share, {name}"), format!("{median:.2} % (median)"));
    }
    report
        .condition(
            "an encapsulation for each class would be below 2 %",
            format!("where a record costs {enough:.0} us or more in all, from its arrival to its storage"),
        )
        .condition("rounds", ROUNDS.to_string())
        .finish(&whole, &[seals])?;
    Ok(())
}

/// The keys of all classes, wrapped under encapsulated secrets.
fn class_keys(
    policies: &[AccessPolicy],
    (number, shared): (usize, bool),
    public: &PublicKeys,
    rng: &mut ChaCha20Rng,
) -> Result<Vec<ClassKey>, Failure> {
    let mut envelopes: Vec<Option<Secret32>> = (0..number).map(|_| None).collect();
    let mut out = Vec::with_capacity(CLASSES);
    for class in 0..CLASSES {
        let place = class % number;
        if !shared {
            envelopes[place] = None;
        }
        if envelopes[place].is_none() {
            let name = if shared { "envelope".to_owned() } else { format!("patient-{class}/normal") };
            let context = KemContext::new("bench", &name, 0)?;
            envelopes[place] = Some(kem::encapsulate(&policies[place], public, &context, rng)?.1);
        }
        let secret = envelopes[place].as_ref().ok_or("an envelope")?;
        let key = ClassKey::generate(rng);
        wrap_class_key(secret, format!("class {class}").as_bytes(), &key, rng)?;
        out.push(key);
    }
    Ok(out)
}
