//! `abe-records`: what it costs to put records under class keys, and how little of it is attribute-based encryption.

use consilium_abe::envelope::{ClassKey, RecordKey, seal_record, wrap_class_key, wrap_dek};
use consilium_abe::{AccessPolicy, KemContext, PublicKeys, authority, kem};
use consilium_testkit::bench::{Report, Series, Unit, measure};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use crate::Failure;

const RECORDS: usize = 10_000;
const CLASSES: usize = 50;
const BYTES: usize = 4096;
const ROUNDS: usize = 30;

pub fn run() -> Result<(), Failure> {
    let report = Report::new("abe-records", Unit::PerSecond);
    let rng = &mut ChaCha20Rng::from_seed([43; 32]);
    let mut public = PublicKeys::new();
    for index in 0..2 {
        public.insert(authority::setup(rng, "bench", &format!("hospital-{index}"))?.0);
    }
    let policy = AccessPolicy::parse("clinician@hospital-0#2026W47 AND treating@hospital-1#2026W47")?;
    let plaintext = vec![0x5a; BYTES];
    let context = b"record 12345, version 1, class patient-1/normal, epoch 1";
    let mut whole = Series::new("records sealed, with their keys wrapped and their share of the classes");
    let mut seals = Series::new("seals alone");
    let (mut share, mut encapsulated) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (keys, abe) = measure(|| {
            (0..CLASSES).map(|class| class_key(&policy, &public, class, rng)).collect::<Result<Vec<_>, _>>()
        })?;
        let keys = keys?;
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
        whole.push(RECORDS as u64, abe + symmetric);
        encapsulated.push(abe);
        share.push(abe as f64 / (abe + symmetric) as f64 * 100.0);
        let key = RecordKey::generate(rng);
        let (made, nanos) = measure(|| {
            (0..1000).map(|_| seal_record(&key, context, &plaintext, rng)).all(|made| made.is_ok())
        })?;
        if !made {
            return Err("a seal failed".into());
        }
        seals.push(1000, nanos);
    }
    share.sort_by(f64::total_cmp);
    encapsulated.sort_unstable();
    // What a record may cost in all, so that its part of the encapsulations is a fiftieth of it.
    let middle = encapsulated.get(encapsulated.len() / 2).copied().unwrap_or_default();
    let enough = middle as f64 * 50.0 / RECORDS as f64 / 1e3;
    let median = share.get(share.len() / 2).copied().unwrap_or_default();
    report
        .condition("measured", "CPU time of one thread")
        .condition(
            "data",
            format!(
                "{RECORDS} records of {BYTES} bytes in {CLASSES} classes of 2 attributes at 2 authorities"
            ),
        )
        .condition(
            "share of the attribute-based encryption",
            format!("{median:.2} % of the CPU time of sealing and wrapping (median)"),
        )
        .condition(
            "a share below 2 %",
            format!("where a record costs {enough:.0} us or more in all, from its arrival to its storage"),
        )
        .condition("rounds", ROUNDS.to_string())
        .finish(&whole, &[seals])?;
    Ok(())
}

fn class_key(
    policy: &AccessPolicy,
    public: &PublicKeys,
    class: usize,
    rng: &mut ChaCha20Rng,
) -> Result<ClassKey, Failure> {
    let context = KemContext::new("bench", &format!("patient-{class}/normal"), 1)?;
    let (_, secret) = kem::encapsulate(policy, public, &context, rng)?;
    let key = ClassKey::generate(rng);
    wrap_class_key(&secret, b"class", &key, rng)?;
    Ok(key)
}
