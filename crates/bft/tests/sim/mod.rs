//! A network of validators in virtual time, from one seed.
//!
//! A failure: two honest nodes decide differently; a decision without a certificate that an independent
//! verifier accepts, or of a body that the application refuses; an honest node signs two different votes for
//! one round, or is named in evidence; an honest node stands still after the network has healed.
//! Not a failure: a slow or empty round, evidence against a villain, a villain that stands still.
//! Nondeterminism that remains: none; the same seed gives the same trace.

pub mod node;
pub mod world;
