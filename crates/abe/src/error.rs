//! Errors of this crate. No text carries key material or a patient's values.

use thiserror::Error;

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AbeError {
    /// Bytes that are no encoding of the named object.
    #[error("`{what}` is malformed: {reason}")]
    Malformed {
        /// The object being decoded, such as `header`.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An encoding of a suite this build does not know.
    #[error("`{what}` has suite {suite}, this build knows suite 1 only")]
    UnknownSuite {
        /// The object being decoded.
        what: &'static str,
        /// The suite id found.
        suite: u16,
    },
    /// A name, attribute or context outside its limits.
    #[error("`{what}` must be {rule}")]
    InvalidName {
        /// Which name.
        what: &'static str,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The policy is refused.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A proof of possession that does not verify: the sender need not know the secret key.
    #[error("the proof of possession of authority `{authority}` does not verify")]
    ProofOfPossession {
        /// The authority named in the public key.
        authority: String,
    },
    /// The policy names an authority whose public key is missing.
    #[error("no public key of authority `{authority}`: add it to the public keys")]
    MissingPublicKey {
        /// The authority.
        authority: String,
    },
    /// A public key of another channel.
    #[error("the public key of authority `{authority}` belongs to another channel")]
    OtherChannel {
        /// The authority.
        authority: String,
    },
    /// An attribute key that does not fit the public key, identity or attribute it claims.
    #[error("the attribute key for `{term}` does not verify")]
    InvalidAttributeKey {
        /// The attribute and authority.
        term: String,
    },
    /// The attribute keys of this identity do not satisfy the policy.
    #[error("the attribute keys do not satisfy the policy `{policy}`")]
    NotSatisfied {
        /// The policy as text.
        policy: String,
    },
    /// A sealed record or wrapped key that does not open: wrong key, wrong context or altered
    /// bytes. Which of these is not said.
    #[error("`{what}` does not open: wrong key, wrong context or altered bytes")]
    DoesNotOpen {
        /// The sealed object.
        what: &'static str,
    },
    /// A contribution of a guardian that is refused. Others of the same step may still do.
    #[error("guardian {guardian}: {reason}")]
    Guardian {
        /// The guardian's number, from 1.
        guardian: u8,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Too few guardians contributed something that verifies.
    #[error(
        "{needed} guardians are needed, the contributions of {valid} verify, not those of {misbehaved:?}"
    )]
    TooFewGuardians {
        /// How many must act together.
        needed: u8,
        /// How many contributions verify.
        valid: usize,
        /// The guardians whose do not.
        misbehaved: Vec<u8>,
    },
    /// More bytes than the object may have.
    #[error("`{what}` has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// The object.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The text is no policy; `position` counts characters from 1.
    #[error("policy, character {position}: {message}")]
    Syntax {
        /// The character at fault, counted from 1; one past the end if the text ends too early.
        position: usize,
        /// What was expected.
        message: String,
    },
    /// Canonical bytes that are none.
    #[error("canonical policy, byte {position}: {reason}")]
    Encoding {
        /// Byte offset from 0.
        position: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A gate nested too deep.
    #[error("the policy is nested deeper than {limit}")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// Too many attributes after comparisons are expanded.
    #[error("the policy has more than {limit} rows")]
    TooManyRows {
        /// The limit.
        limit: usize,
    },
    /// A gate whose shape is not the canonical one.
    #[error("invalid gate: {reason}")]
    Gate {
        /// The rule broken.
        reason: &'static str,
    },
}
