//! Our operations over policies of n attributes at m authorities.

use std::collections::BTreeMap;
use std::hint::black_box;

use consilium_abe::{
    AccessPolicy, Attribute, AttributeKey, AuthorityPublicKey, AuthoritySecretKey, Gid, Header, KemContext,
    PublicKeys, Received, authority, kem,
};
use consilium_testkit::bench::{Series, measure};
use rand_chacha::ChaCha20Rng;

use crate::Failure;

/// Attributes and authorities.
pub type Size = (usize, usize);

/// An AND of all attributes, and all that opens it.
pub struct Case {
    pub size: Size,
    gid: Gid,
    secrets: Vec<AuthoritySecretKey>,
    /// By authority.
    attributes: Vec<Vec<Attribute>>,
    keys: Vec<AttributeKey>,
    public: PublicKeys,
    encoded: Vec<Vec<u8>>,
    policy: AccessPolicy,
}

impl Case {
    /// Attribute i is vouched for by authority i modulo their number.
    pub fn new((rows, authorities): Size, rng: &mut ChaCha20Rng) -> Result<Self, Failure> {
        let gid = Gid::new("did:key:z6MkBench")?;
        let (mut public, mut secrets, mut encoded) = (PublicKeys::new(), Vec::new(), Vec::new());
        for index in 0..authorities {
            let (key, secret) = authority::setup(rng, "bench", &format!("hospital-{index}"))?;
            encoded.push(key.to_bytes());
            public.insert(key);
            secrets.push(secret);
        }
        let mut attributes = vec![Vec::new(); authorities];
        let (mut keys, mut terms) = (Vec::new(), Vec::new());
        for index in 0..rows {
            let secret = &secrets[index % authorities];
            let attribute = Attribute::new(&format!("attribute-{index}"), "", "2026W47", 0)?;
            terms.push(attribute.at(secret.authority()).to_string());
            keys.push(authority::issue(secret, &gid, &attribute, rng));
            attributes[index % authorities].push(attribute);
        }
        let policy = AccessPolicy::parse(&terms.join(" AND "))?;
        Ok(Self { size: (rows, authorities), gid, secrets, attributes, keys, public, encoded, policy })
    }

    /// Public keys as a process has them that just started: no tables, no hashed attributes.
    fn cold(&self) -> Result<PublicKeys, Failure> {
        let keys = self.encoded.iter().map(|bytes| AuthorityPublicKey::from_bytes(bytes));
        Ok(keys.collect::<Result<_, _>>()?)
    }
}

/// Samples by operation and size.
#[derive(Default)]
pub struct Samples(BTreeMap<(&'static str, Size), Series>);

impl Samples {
    pub fn push(&mut self, operation: &'static str, size: Size, nanos: u64) {
        let label = || Series::new(format!("{operation}, {} attributes at {}", size.0, size.1));
        self.0.entry((operation, size)).or_insert_with(label).push(1, nanos);
    }

    pub fn time<T>(
        &mut self,
        operation: &'static str,
        size: Size,
        work: impl FnOnce() -> T,
    ) -> Result<T, Failure> {
        let (made, nanos) = measure(work)?;
        self.push(operation, size, nanos);
        Ok(made)
    }

    pub fn take(&self, operation: &'static str, size: Size) -> Result<Series, Failure> {
        self.0.get(&(operation, size)).cloned().ok_or_else(|| format!("{operation} was not measured").into())
    }
}

/// One round over one case; the lengths of its header, in full and compact.
pub fn round(
    case: &Case,
    context: &KemContext,
    samples: &mut Samples,
    rng: &mut ChaCha20Rng,
) -> Result<(usize, usize), Failure> {
    let (size, gid, keys) = (case.size, &case.gid, &case.keys);
    let issued = samples.time("all keys", size, || {
        let all = case.secrets.iter().zip(&case.attributes);
        all.map(|(secret, own)| authority::issue_all(black_box(secret), gid, own, rng).len()).sum::<usize>()
    })?;
    if issued != size.0 {
        return Err("not every key was issued".into());
    }
    let cold = case.cold()?;
    let (header, secret) = samples
        .time("encapsulate", size, || kem::encapsulate(&case.policy, &case.public, context, rng))??;
    samples.time("encapsulate, cold", size, || kem::encapsulate(&case.policy, &cold, context, rng))??;
    let bytes = header.to_bytes();
    let decode = |bytes: &[u8]| Header::from_bytes(black_box(bytes));
    let receive = |bytes: &[u8]| Received::from_bytes(black_box(bytes));
    let open = |header: &Received, keyring| kem::decapsulate(header, context, keyring, gid, keys, &[0; 32]);
    let all = |bytes: &[u8], keyring| open(&receive(bytes)?, keyring);
    let again = samples.time("decode and decapsulate", size, || all(&bytes, &case.public))??;
    let cold = case.cold()?;
    let also = samples.time("decode and decapsulate, cold", size, || all(&bytes, &cold))??;
    let header = samples.time("decode", size, || decode(&bytes))??;
    let compact = header.to_compact_bytes();
    let read =
        samples.time("decode, compact", size, || Header::from_compact_bytes(black_box(&compact)))??;
    if read.to_bytes() != bytes {
        return Err("a compact header is another header".into());
    }
    samples.time("decapsulate", size, || open(header.as_ref(), &case.public))??;
    let twice = samples.time("decode with subgroup checks as well and decapsulate", size, || {
        open(decode(&bytes)?.as_ref(), &case.public)
    })??;
    if !again.ct_eq(&secret) || !also.ct_eq(&secret) || !twice.ct_eq(&secret) {
        return Err("decapsulation gave another secret".into());
    }
    // A header that does not agree takes as long as an honest one, or the time tells.
    let mut altered = bytes.clone();
    if let Some(last) = altered.last_mut() {
        *last ^= 1;
    }
    let other = samples.time("decode and decapsulate, rejected", size, || all(&altered, &case.public))??;
    if other.ct_eq(&secret) {
        return Err("an altered header gave the secret".into());
    }
    Ok((bytes.len(), compact.len()))
}
