//! Thread CPU time of key issue, encapsulation and decapsulation.
//!
//! `cargo bench -p consilium-abe --bench abe [rounds]`; prints minimum and median in microseconds
//! as `abe-operation rows=n authorities=m`. Every operation includes its own parsing and checks;
//! operations are interleaved within a round.

use std::collections::BTreeMap;
use std::hint::black_box;

use consilium_abe::{
    AccessPolicy, Attribute, AttributeKey, AuthoritySecretKey, Gid, Header, KemContext, PublicKeys,
    authority, kem,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

/// Nanoseconds of CPU time of this thread, from the kernel's scheduler statistics. The kernel
/// brings them up to date when the thread yields.
fn cpu_nanos() -> u64 {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

/// A policy over `rows` attributes at `rows / 2` authorities, and all that opens it.
struct Case {
    rows: usize,
    gid: Gid,
    secrets: Vec<AuthoritySecretKey>,
    attribute: Attribute,
    keys: Vec<AttributeKey>,
    public: PublicKeys,
    policy: AccessPolicy,
}

fn case(rows: usize, rng: &mut ChaCha20Rng) -> Result<Case, Box<dyn std::error::Error>> {
    let authorities = (rows / 2).max(1);
    let gid = Gid::new("did:key:z6MkBench")?;
    let mut public = PublicKeys::new();
    let mut secrets = Vec::new();
    for index in 0..authorities {
        let (key, secret) = authority::setup(rng, "bench", &format!("hospital-{index}"))?;
        public.insert(key);
        secrets.push(secret);
    }
    let mut keys = Vec::new();
    let mut terms = Vec::new();
    for (index, secret) in (0..rows).zip(secrets.iter().cycle()) {
        let attribute = Attribute::new(&format!("attribute-{index}"), "", "2026W47", 0)?;
        terms.push(attribute.at(secret.authority()).to_string());
        keys.push(authority::issue(secret, &gid, &attribute, rng));
    }
    Ok(Case {
        rows,
        gid,
        secrets,
        attribute: Attribute::new("clinician", "", "2026W47", 0)?,
        keys,
        public,
        policy: AccessPolicy::parse(&terms.join(" AND "))?,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse::<usize>().ok()).unwrap_or(30);
    let rng = &mut ChaCha20Rng::from_seed([42; 32]);
    let context = KemContext::new("bench", "patient-1/normal", 1)?;
    let cases = [5, 10, 20].into_iter().map(|rows| case(rows, rng)).collect::<Result<Vec<_>, _>>()?;
    let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut sizes = BTreeMap::new();
    for _ in 0..rounds {
        for case in &cases {
            let label = |operation: &str| {
                let (rows, authorities) = (case.rows, case.secrets.len());
                format!("abe-{operation} rows={rows:02} authorities={authorities:02}")
            };
            let mut measure = |operation: &str, start: u64| {
                let spent = cpu_nanos().saturating_sub(start);
                times.entry(label(operation)).or_default().push(spent);
            };
            let start = cpu_nanos();
            let issuer = case.secrets.first().ok_or("an authority")?;
            black_box(authority::issue(issuer, &case.gid, &case.attribute, rng));
            measure("keygen", start);

            let start = cpu_nanos();
            black_box(authority::setup(rng, "bench", "hospital-x")?);
            measure("setup", start);

            let start = cpu_nanos();
            let (header, secret) = kem::encapsulate(&case.policy, &case.public, &context, rng)?;
            measure("encapsulate", start);

            let bytes = header.to_bytes();
            sizes.insert(case.rows, bytes.len());
            let start = cpu_nanos();
            let header = Header::from_bytes(&bytes)?;
            measure("header-decode", start);

            let start = cpu_nanos();
            let (gid, keys) = (&case.gid, &case.keys);
            let again = kem::decapsulate(&header, &context, &case.public, gid, keys, &[0; 32])?;
            measure("decapsulate", start);
            if !again.ct_eq(&secret) {
                return Err("decapsulation gave another secret".into());
            }

            // A header that does not agree: as long as an honest one, or the time tells.
            let mut bytes = bytes;
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            let altered = Header::from_bytes(&bytes)?;
            let start = cpu_nanos();
            black_box(kem::decapsulate(&altered, &context, &case.public, gid, keys, &[0; 32])?);
            measure("decapsulate-rejected", start);
        }
    }
    println!("{:<45} {:>10} {:>10}", "operation", "min µs", "median µs");
    for (label, mut samples) in times {
        samples.sort_unstable();
        let micros = |nanos: Option<&u64>| nanos.map_or(0.0, |nanos| *nanos as f64 / 1000.0);
        let (least, middle) = (samples.first(), samples.get(samples.len() / 2));
        println!("{label:<45} {:>10.0} {:>10.0}", micros(least), micros(middle));
    }
    for (rows, bytes) in sizes {
        println!("abe-header-bytes rows={rows:02} {bytes}");
    }
    Ok(())
}
