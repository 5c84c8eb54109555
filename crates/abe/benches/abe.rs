//! Thread CPU time of key issue, encapsulation and decapsulation (`abe-keygen`, `abe-encapsulate`, `abe-decapsulate`).
//!
//! `cargo bench -p consilium-abe --bench abe [NAME…]`. Every operation includes its own parsing and checks; all
//! operations and sizes are measured in turn within a round.

use std::collections::BTreeMap;
use std::hint::black_box;

use consilium_abe::{
    AccessPolicy, Attribute, AttributeKey, AuthoritySecretKey, Gid, Header, KemContext, PublicKeys,
    authority, kem,
};
use consilium_testkit::bench::{Report, Series, Unit, measure, wanted};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 20;
/// Rows of the policies; the figure of a benchmark is for the second.
const ROWS: [usize; 3] = [5, 10, 20];
const NAMES: [&str; 3] = ["abe-keygen", "abe-encapsulate", "abe-decapsulate"];
const NO_RABE: &str = "pulls its own pairing library; no set-up builds it outside of this workspace yet";

/// A policy over `rows` attributes at `rows / 2` authorities, and all that opens it.
struct Case {
    rows: usize,
    gid: Gid,
    secrets: Vec<AuthoritySecretKey>,
    attributes: Vec<Attribute>,
    keys: Vec<AttributeKey>,
    public: PublicKeys,
    policy: AccessPolicy,
}

fn case(rows: usize, rng: &mut ChaCha20Rng) -> Result<Case, Failure> {
    let authorities = (rows / 2).max(1);
    let gid = Gid::new("did:key:z6MkBench")?;
    let mut public = PublicKeys::new();
    let mut secrets = Vec::new();
    for index in 0..authorities {
        let (key, secret) = authority::setup(rng, "bench", &format!("hospital-{index}"))?;
        public.insert(key);
        secrets.push(secret);
    }
    let (mut attributes, mut keys) = (Vec::new(), Vec::new());
    let mut terms = Vec::new();
    for (index, secret) in (0..rows).zip(secrets.iter().cycle()) {
        let attribute = Attribute::new(&format!("attribute-{index}"), "", "2026W47", 0)?;
        terms.push(attribute.at(secret.authority()).to_string());
        keys.push(authority::issue(secret, &gid, &attribute, rng));
        attributes.push(attribute);
    }
    Ok(Case {
        rows,
        gid,
        secrets,
        attributes,
        keys,
        public,
        policy: AccessPolicy::parse(&terms.join(" AND "))?,
    })
}

/// Samples by operation and rows.
#[derive(Default)]
struct Samples(BTreeMap<(&'static str, usize), Series>);

impl Samples {
    fn time<T>(
        &mut self,
        operation: &'static str,
        rows: usize,
        work: impl FnOnce() -> T,
    ) -> Result<T, Failure> {
        let (made, nanos) = measure(work)?;
        let series = || Series::new(format!("{operation}, {rows} rows, {} authorities", (rows / 2).max(1)));
        self.0.entry((operation, rows)).or_insert_with(series).push(1, nanos);
        Ok(made)
    }

    /// The series of an operation, that of 10 rows first.
    fn take(&self, operations: &[&'static str]) -> Vec<Series> {
        let rows = [10, 5, 20];
        let keys = operations.iter().flat_map(|operation| rows.map(|rows| (*operation, rows)));
        keys.filter_map(|key| self.0.get(&key).cloned()).collect()
    }
}

/// One round over one case.
fn round(
    case: &Case,
    context: &KemContext,
    samples: &mut Samples,
    rng: &mut ChaCha20Rng,
) -> Result<usize, Failure> {
    let (rows, gid, keys) = (case.rows, &case.gid, &case.keys);
    let issuer = case.secrets.first().ok_or("an authority")?;
    let issued = samples.time("issue all keys", rows, || {
        authority::issue_all(black_box(issuer), gid, &case.attributes, rng)
    })?;
    if issued.len() != rows {
        return Err("not every key was issued".into());
    }
    let one = case.attributes.first().ok_or("an attribute")?;
    samples.time("issue one key", rows, || black_box(authority::issue(black_box(issuer), gid, one, rng)))?;
    samples.time("authority setup", rows, || authority::setup(rng, "bench", "hospital-x"))??;
    let (header, secret) = samples
        .time("encapsulate", rows, || kem::encapsulate(&case.policy, &case.public, context, rng))??;
    let bytes = header.to_bytes();
    let header = samples.time("decode the header", rows, || Header::from_bytes(black_box(&bytes)))??;
    let decapsulate = |header: &Header| kem::decapsulate(header, context, &case.public, gid, keys, &[0; 32]);
    let again = samples.time("decapsulate", rows, || decapsulate(&header))??;
    if !again.ct_eq(&secret) {
        return Err("decapsulation gave another secret".into());
    }
    // A header that does not agree: as long as an honest one, or the time tells.
    let mut altered = bytes.clone();
    if let Some(last) = altered.last_mut() {
        *last ^= 1;
    }
    let altered = Header::from_bytes(&altered)?;
    let other = samples.time("decapsulate, rejected", rows, || decapsulate(&altered))??;
    if other.ct_eq(&secret) {
        return Err("an altered header gave the secret".into());
    }
    Ok(bytes.len())
}

fn main() -> Result<(), Failure> {
    if !NAMES.into_iter().any(wanted) {
        return Ok(());
    }
    let reports = NAMES.map(|name| {
        let report = Report::new(name, Unit::Microseconds);
        report.missing("rabe aw11", NO_RABE).missing("rabe ac17", NO_RABE)
    });
    let rng = &mut ChaCha20Rng::from_seed([42; 32]);
    let context = KemContext::new("bench", "patient-1/normal", 1)?;
    let cases = ROWS.into_iter().map(|rows| case(rows, rng)).collect::<Result<Vec<_>, _>>()?;
    let mut samples = Samples::default();
    let mut sizes = BTreeMap::new();
    for _ in 0..ROUNDS {
        for case in &cases {
            sizes.insert(case.rows, round(case, &context, &mut samples, rng)?);
        }
    }
    let sizes: Vec<String> = sizes.iter().map(|(rows, bytes)| format!("{rows} rows: {bytes}")).collect();
    let told: [(&[&'static str], &str); 3] = [
        (
            &["issue all keys", "issue one key", "authority setup"],
            "issuing: as many attribute keys of one user, by one authority, as the policy has rows; validation of the \
             user's proof not included",
        ),
        (
            &["encapsulate"],
            "a fresh secret under the policy, with all public keys at hand; policy parsed before",
        ),
        (
            &["decapsulate", "decapsulate, rejected", "decode the header"],
            "CCA: from decoded header and keys to the secret, encapsulated again and compared; decoding with its \
             subgroup checks is a row of its own",
        ),
    ];
    for ((name, report), (operations, what)) in NAMES.into_iter().zip(reports).zip(told) {
        let series = samples.take(operations);
        let Some((ours, also)) = series.split_first().filter(|_| wanted(name)) else { continue };
        report
            .condition("measured", format!("CPU time of one thread; {what}"))
            .condition("data", "AND of all rows, rows / 2 authorities, BLS12-381, RW15 with CCA-secure KEM")
            .condition("header bytes", sizes.join(", "))
            .condition("rounds", format!("{ROUNDS} of one operation each, all operations and sizes in turn"))
            .condition("threads", "1")
            .condition("checks", "secrets agree; an altered header gives another secret")
            .finish(ours, also)?;
    }
    Ok(())
}
