//! Multi-authority ciphertext-policy attribute-based encryption and the record envelope.
//!
//! * [`policy`]: the access policy, its text and its canonical bytes;
//! * [`authority`]: an organisation's key pair and the attribute keys it issues;
//! * [`guardians`]: an authority's secret key shared among people or machines, t of n of whom act together;
//! * [`kem`]: a secret that only holders of satisfying attribute keys recover;
//! * [`post_quantum`]: a second secret of a class, held by its custodian under ML-KEM;
//! * [`envelope`]: records under data keys, data keys under class keys;
//! * [`sealing`]: the files in which a keys service holds its secrets.
//! * [`transit`]: payloads between organisations that only the recipient reads.
//!
//! The scheme is RW15 (Rouselakis and Waters, Financial Cryptography 2015) on BLS12-381 with the
//! ciphertext in G1, made CCA-secure by the Fujisaki–Okamoto transform with implicit rejection.
//! Randomness is always an argument; nothing here reads a clock, a file or the system's generator.
//!
//! ```
//! use consilium_abe::{authority, kem, Attribute, Gid, KemContext, AccessPolicy, PublicKeys};
//! # use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let rng = &mut ChaCha20Rng::from_seed([7; 32]);
//! let (public, secret) = authority::setup(rng, "channel-1", "hospital-a")?;
//! let gid = Gid::new("did:key:z6Mk-example")?;
//! let key = authority::issue(&secret, &gid, &Attribute::parse("clinician#2026W47")?, rng);
//!
//! let mut keys = PublicKeys::new();
//! keys.insert(public);
//! let policy = AccessPolicy::parse("clinician@hospital-a#2026W47")?;
//! let context = KemContext::new("channel-1", "patient-1/normal", 1)?;
//! let (header, secret) = kem::encapsulate(&policy, &keys, &context, rng)?;
//! let again = kem::decapsulate(&header, &context, &keys, &gid, &[key], &[0; 32])?;
//! assert!(secret.ct_eq(&again));
//! # Ok(())
//! # }
//! ```

pub mod attribute;
pub mod authority;
mod cbor;
mod codec;
mod curve;
pub mod envelope;
mod error;
pub mod gid;
pub mod guardians;
mod hash;
pub mod kem;
mod lsss;
mod parse;
mod points;
pub mod policy;
pub mod post_quantum;
mod public_keys;
mod rows;
pub mod sealing;
mod secret;
pub mod transit;

pub use attribute::{Attribute, AttributeSet, AuthorityName, Term};
pub use authority::{AttributeKey, AuthorityPublicKey, AuthoritySecretKey};
pub use error::{AbeError, PolicyError};
pub use gid::{Gid, GidChallenge};
pub use kem::{Header, KemContext, Received};
pub use policy::AccessPolicy;
pub use public_keys::PublicKeys;
pub use rand_core;
pub use secret::Secret32;

/// The suite of this build: RW15 on BLS12-381, SHA-256, SHAKE256, AES-256-GCM(-SIV). It is the
/// first field of every encoding and part of every hash; another value is refused.
pub const SUITE: u16 = 1;
