//! Whether the times of operations on secrets tell them: the test of [`consilium_testkit::leak`] on issue, encapsulation,
//! the reject path of decapsulation, attribute keys and the comparison of commitments; and on two planted leaks, which
//! must be found, or the test finds nothing.
//!
//! `scripts/bench.sh abe-dudect`. Exit status 1 for a leak, or a planted one that was missed. `dudect N`: N times as many
//! samples.

use std::error::Error;
use std::hint::black_box;

use consilium_abe::envelope::{ClassKey, unwrap_class_key, wrap_class_key};
use consilium_abe::rand_core::{CryptoRng, Error as RngError};
use consilium_abe::{
    AccessPolicy, Attribute, AttributeKey, AuthoritySecretKey, Gid, KemContext, PublicKeys, Received,
    Secret32, authority, kem,
};
use consilium_testkit::leak::{Finding, Times};
use rand_chacha::{ChaCha20Rng, rand_core::RngCore, rand_core::SeedableRng};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Cycles of the processor's clock; fences keep the operation between the two readings.
#[cfg(target_arch = "x86_64")]
fn cycles() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 processor has both instructions.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

/// Nanoseconds, where there is no cycle counter that we know.
#[cfg(not(target_arch = "x86_64"))]
fn cycles() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}

/// A generator that gives the prepared bytes over and over: secrets of our choice.
struct Chosen([u8; 64], usize);

impl RngCore for Chosen {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.0[self.1 % 64];
            self.1 += 1;
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), RngError> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Chosen {}

/// The scalar 2^128 + 1 in 32 big-endian bytes: nearly all windows zero. Not 1: a product with 1 comes out with Z = 1, for
/// which blst skips the inversion; a random scalar is that with probability 2^-254.
fn sparse() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[15] = 1;
    bytes[31] = 1;
    bytes
}

/// `left` or `right`, of one length, in new memory: no branch and no address depends on the class, so that it leaves no
/// trace in caches and predictors before the clock starts.
fn pick(class: bool, left: &[u8], right: &[u8]) -> Vec<u8> {
    let mask = black_box(u8::from(class).wrapping_neg());
    left.iter().zip(right).map(|(left, right)| right ^ ((left ^ right) & mask)).collect()
}

/// A generator of a sparse scalar, or of random ones.
fn chosen(fixed: bool, rng: &mut ChaCha20Rng) -> Chosen {
    let (mut few, mut random, mut bytes) = ([0; 64], [0; 64], [0; 64]);
    few[32..].copy_from_slice(&sparse());
    rng.fill_bytes(&mut random);
    bytes.copy_from_slice(&pick(fixed, &few, &random));
    Chosen(bytes, 0)
}

/// Runs `prepare` and then `operation` on what it made, timed, for a class chosen at random each time.
fn test<T, R>(
    samples: usize,
    rng: &mut ChaCha20Rng,
    mut prepare: impl FnMut(bool, &mut ChaCha20Rng) -> Outcome<T>,
    mut operation: impl FnMut(&mut T) -> R,
) -> Outcome<Finding> {
    let mut times = Times::default();
    for round in 0..samples + samples / 20 {
        let class = rng.next_u32() & 1 == 1;
        let mut input = prepare(class, rng)?;
        let start = cycles();
        black_box(operation(black_box(&mut input)));
        let spent = cycles().wrapping_sub(start);
        // The first twentieth warms caches and the clock.
        if round >= samples / 20 {
            times.push(class, spent);
        }
    }
    Ok(times.finding())
}

struct Setting {
    public: PublicKeys,
    secret: AuthoritySecretKey,
    gid: Gid,
    attribute: Attribute,
    policy: AccessPolicy,
    context: KemContext,
}

fn setting(rng: &mut ChaCha20Rng) -> Outcome<Setting> {
    let (public, secret) = authority::setup(rng, "bench", "hospital-a")?;
    Ok(Setting {
        public: [public].into_iter().collect(),
        secret,
        gid: Gid::new("did:key:z6MkBench")?,
        attribute: Attribute::parse("clinician#2026W47")?,
        policy: AccessPolicy::parse("clinician@hospital-a#2026W47")?,
        context: KemContext::new("bench", "patient-1/normal", 1)?,
    })
}

/// Issue with sparse α, y and t against random ones.
fn keygen(at: &Setting, samples: usize, rng: &mut ChaCha20Rng) -> Outcome<Finding> {
    let template = at.secret.to_bytes();
    let prepare = |fixed: bool, rng: &mut ChaCha20Rng| {
        let mut random = template.clone();
        let mut few = template.clone();
        for at in [template.len() - 64, template.len() - 32] {
            few[at..at + 32].copy_from_slice(&sparse());
            rng.fill_bytes(&mut random[at..at + 32]);
            // Below r.
            random[at] &= 0x3f;
        }
        let key = AuthoritySecretKey::from_bytes(&pick(fixed, &few, &random))?;
        Ok((key, chosen(fixed, rng)))
    };
    test(samples, rng, prepare, |(key, coins)| authority::issue(key, &at.gid, &at.attribute, coins))
}

/// Encapsulation of a fixed message against random ones.
fn encapsulate(at: &Setting, samples: usize, rng: &mut ChaCha20Rng) -> Outcome<Finding> {
    test(
        samples,
        rng,
        |fixed, rng| Ok(chosen(fixed, rng)),
        |coins| kem::encapsulate(&at.policy, &at.public, &at.context, coins).is_ok(),
    )
}

/// Decapsulation of an honest header against one whose last byte differs, which must be rejected in silence.
fn reject(at: &Setting, samples: usize, rng: &mut ChaCha20Rng) -> Outcome<Finding> {
    let key = authority::issue(&at.secret, &at.gid, &at.attribute, rng);
    let honest = kem::encapsulate(&at.policy, &at.public, &at.context, rng)?.0.to_bytes();
    let mut altered = honest.clone();
    *altered.last_mut().ok_or("a header")? ^= 1;
    let keys = [key];
    let prepare =
        |fixed: bool, _: &mut ChaCha20Rng| Ok(Received::from_bytes(&pick(fixed, &honest, &altered))?);
    test(samples, rng, prepare, |header| {
        kem::decapsulate(header, &at.context, &at.public, &at.gid, &keys, &[7; 32]).is_ok()
    })
}

/// Decapsulation with a key issued with sparse t against keys with random t.
fn held(at: &Setting, samples: usize, rng: &mut ChaCha20Rng) -> Outcome<Finding> {
    let header =
        Received::from_bytes(&kem::encapsulate(&at.policy, &at.public, &at.context, rng)?.0.to_bytes())?;
    let prepare = |fixed: bool, rng: &mut ChaCha20Rng| {
        let issued = authority::issue(&at.secret, &at.gid, &at.attribute, &mut chosen(fixed, rng));
        Ok([AttributeKey::from_bytes(&issued.to_bytes())?])
    };
    test(samples, rng, prepare, |keys| {
        kem::decapsulate(&header, &at.context, &at.public, &at.gid, keys, &[7; 32]).is_ok()
    })
}

/// A wrapped key whose commitment differs in its first byte against one that differs in its last.
fn commitment(samples: usize, rng: &mut ChaCha20Rng) -> Outcome<Finding> {
    let secret = Secret32::random(rng);
    let wrapped = wrap_class_key(&secret, b"class", &ClassKey::generate(rng), rng)?;
    let altered = |byte: usize| {
        let mut altered = wrapped.clone();
        altered[byte] ^= 1;
        altered
    };
    // Suite and nonce are 14 bytes, the commitment 32.
    let (first, last) = (altered(14), altered(45));
    let prepare = |fixed: bool, _: &mut ChaCha20Rng| Ok(pick(fixed, &first, &last));
    test(samples, rng, prepare, |wrapped| unwrap_class_key(&secret, b"class", wrapped).is_err())
}

/// Planted: a comparison that stops at the first difference.
fn planted_comparison(samples: usize, rng: &mut ChaCha20Rng) -> Outcome<Finding> {
    let expected = [9u8; 32];
    let (mut first, mut last) = (expected, expected);
    first[0] ^= 1;
    last[31] ^= 1;
    let prepare = |fixed: bool, _: &mut ChaCha20Rng| Ok(pick(fixed, &first, &last));
    test(samples, rng, prepare, |found| {
        found.iter().zip(black_box(&expected)).position(|(a, b)| black_box(a != b))
    })
}

/// Planted: a power by squaring that multiplies only where the exponent has a bit.
fn planted_power(samples: usize, rng: &mut ChaCha20Rng) -> Outcome<Finding> {
    let prepare = |fixed: bool, rng: &mut ChaCha20Rng| {
        let bytes = pick(fixed, &1u64.to_be_bytes(), &rng.next_u64().to_be_bytes());
        Ok(bytes.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte)))
    };
    test(samples, rng, prepare, |exponent| {
        let mut power = 1u64;
        for bit in (0..64).rev() {
            power = black_box(power.wrapping_mul(power));
            if black_box((*exponent >> bit) & 1) == 1 {
                power = black_box(power.wrapping_mul(3));
            }
        }
        power
    })
}

fn main() -> Outcome<()> {
    let times = std::env::args().nth(1).and_then(|text| text.parse::<usize>().ok()).unwrap_or(1);
    let rng = &mut ChaCha20Rng::from_seed([44; 32]);
    let at = setting(rng)?;
    let mut failed = false;
    let mut tell = |name: &str, planted: bool, found: Finding| {
        failed |= found.leaks() != planted;
        println!("abe-dudect: {name}: {found}");
    };
    tell("planted, comparison that stops early", true, planted_comparison(200_000 * times, rng)?);
    tell("planted, power that branches on bits", true, planted_power(200_000 * times, rng)?);
    tell("commitment of a wrapped key, first byte against last", false, commitment(500_000 * times, rng)?);
    tell("issue, sparse scalars against random", false, keygen(&at, 20_000 * times, rng)?);
    tell("encapsulation, fixed message against random", false, encapsulate(&at, 20_000 * times, rng)?);
    tell("decapsulation, honest header against altered", false, reject(&at, 20_000 * times, rng)?);
    tell("decapsulation, key with sparse t against random", false, held(&at, 20_000 * times, rng)?);
    if failed { Err("abe-dudect: a leak, or a planted leak that was missed".into()) } else { Ok(()) }
}
