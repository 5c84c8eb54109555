//! `abe-keygen`, `abe-encapsulate`, `abe-decapsulate`: our scheme, rabe's aw11 and ac17 and the limit of the curve
//! arithmetic, in one process, in turn within each round, on the thread's CPU clock.
//!
//! `scripts/bench.sh abe-encapsulate …` builds and runs this; nothing else does.

mod limit;
mod ours;
mod peers;
mod records;

use std::collections::BTreeMap;

use consilium_abe::KemContext;
use consilium_testkit::bench::{Report, Unit, wanted};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use limit::Costs;
use ours::{Case, Samples, Size};

type Failure = Box<dyn std::error::Error>;

const ROUNDS: usize = 30;
const ROWS: [usize; 4] = [5, 10, 20, 50];
const AUTHORITIES: [usize; 3] = [1, 5, 10];
/// The figure of a benchmark: ten attributes at five authorities.
const HEADLINE: Size = (10, 5);
const NAMES: [&str; 3] = ["abe-keygen", "abe-encapsulate", "abe-decapsulate"];
/// What a benchmark tells: the figure's operation, its other operations, aw11's, ac17's, the limit, and a remark.
type Told = (&'static str, &'static [&'static str], &'static str, &'static str, &'static str, &'static str);
const TOLD: [Told; 3] = [
    (
        "all keys",
        &[],
        "aw11 keygen",
        "ac17 keygen",
        "limit of keygen",
        "keys of all attributes, by their authorities",
    ),
    (
        "encapsulate",
        &["encapsulate, cold"],
        "aw11 encrypt",
        "ac17 encrypt",
        "limit of encapsulate",
        "a fresh secret under a parsed policy; cold: public keys just decoded, no tables, attributes not hashed",
    ),
    (
        "decode and decapsulate",
        &[
            "decode and decapsulate, cold",
            "decode and decapsulate, rejected",
            "decode with subgroup checks as well and decapsulate",
            "decapsulate",
            "decode",
            "decode, compact",
        ],
        "aw11 decrypt",
        "ac17 decrypt",
        "limit of decapsulate",
        "from the header's bytes to the secret: decoding, decryption, encryption again inside the subgroups and \
         comparison of every element (CCA); the peers: CPA, no checks, from decoded values",
    ),
];

fn sizes() -> impl Iterator<Item = Size> {
    ROWS.into_iter().flat_map(|rows| AUTHORITIES.map(|authorities| (rows, authorities.min(rows))))
}

fn main() -> Result<(), Failure> {
    if wanted("abe-records") {
        records::run()?;
    }
    if !NAMES.into_iter().any(wanted) {
        return Ok(());
    }
    let reports = NAMES.map(|name| Report::new(name, Unit::Microseconds));
    let rng = &mut ChaCha20Rng::from_seed([42; 32]);
    let context = KemContext::new("bench", "patient-1/normal", 1)?;
    let mut all: Vec<Size> = sizes().collect();
    all.dedup();
    let cases = all.iter().map(|size| Case::new(*size, rng)).collect::<Result<Vec<_>, _>>()?;
    let others = ROWS.map(|rows| peers::Case::new((rows, 5)));
    let others = others.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (mut samples, mut sizes, mut costs) = (Samples::default(), BTreeMap::new(), None);
    for _ in 0..ROUNDS {
        let measured = Costs::measure()?;
        for case in &cases {
            let (rows, authorities) = case.size;
            samples.push("limit of keygen", case.size, measured.keygen(rows, authorities));
            samples.push("limit of encapsulate", case.size, measured.encapsulate(rows));
            samples.push("limit of decapsulate", case.size, measured.decapsulate(rows)?);
            sizes.insert(rows, ours::round(case, &context, &mut samples, rng)?);
        }
        for case in &others {
            peers::round(case, &mut samples)?;
        }
        costs = Some(measured);
    }
    let sizes: Vec<String> =
        sizes.iter().map(|(rows, (full, compact))| format!("{rows}: {full}, compact {compact}")).collect();
    let costs = costs.map(|costs| costs.told()).unwrap_or_default();
    for ((name, report), (figure, more, aw11, ac17, limit, remark)) in
        NAMES.into_iter().zip(reports).zip(TOLD)
    {
        if !wanted(name) {
            continue;
        }
        let ours = samples.take(figure, HEADLINE)?;
        let mut also = Vec::new();
        for operation in more {
            also.push(samples.take(operation, HEADLINE)?);
        }
        for size in all.iter().filter(|size| **size != HEADLINE) {
            also.push(samples.take(figure, *size)?);
            if size.1 == 5 {
                for operation in more.iter().copied().chain([limit]) {
                    also.push(samples.take(operation, *size)?);
                }
            }
        }
        for rows in ROWS.into_iter().filter(|rows| *rows != HEADLINE.0) {
            also.push(samples.take(aw11, (rows, 5))?);
            also.push(samples.take(ac17, (rows, 5))?);
        }
        report
            .peer("rabe aw11", samples.take(aw11, HEADLINE)?)
            .peer("rabe ac17", samples.take(ac17, HEADLINE)?)
            .peer("the limit", samples.take(limit, HEADLINE)?)
            .condition("measured", format!("CPU time of one thread; {remark}"))
            .condition("data", "AND of all attributes; ours: RW15 on BLS12-381 (about 120 bit), CCA-secure, constant time")
            .condition("peers", "rabe 0.4.2 on a BN curve (about 100 bit), policy parsing and AES of 32 bytes included; ac17 has one authority")
            .condition("limit", format!("operations of RW15 times the cost of each alone, in us at the last round: {costs}"))
            .condition("header bytes by attributes", sizes.join("; "))
            .condition("rounds", format!("{ROUNDS} of one operation each, all operations, sizes and peers in turn"))
            .condition("checks", "secrets agree; an altered header gives another secret; peers give back the plaintext")
            .finish(&ours, &also)?;
    }
    Ok(())
}
