//! Byzantine fault tolerant agreement on a chain of opaque values: Tendermint (Buchman, Kwon, Milosevic,
//! arXiv:1807.04938) by the Malachite core, as one pure function
//! `step(state, now, input) -> outputs`.
//!
//! The crate does not know what it orders. A value is a 32-byte id with a body of opaque bytes beside it;
//! the caller says which id a body has ([`Config::identify`]) and whether a body is acceptable
//! ([`Input::BodyValidated`]). There is no clock, no randomness and no I/O here: timers, messages and durable
//! writes are outputs that the driver carries out.
//!
//! The driver's duties, in this order for the outputs of each step:
//! 1. write every [`Output::PersistBody`] and [`Output::PersistWal`], then make them durable at once;
//! 2. only then carry out the other outputs, in order;
//! 3. on any error of 1, or on [`Poisoned`], stop: a vote must never leave before its log entry is durable.
//!
//! Safety does not depend on the network, the timers or the driver's answers, only on 1 and 2.

mod buffer;
mod certify;
mod context;
mod effects;
pub mod evidence;
mod input;
#[cfg(test)]
mod missed_tests;
mod output;
mod recover;
pub mod rejoin;
mod rotation;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod sim;
mod step;
mod sync;
mod timers;
mod wal;
pub mod wire;
#[cfg(test)]
mod wire_tests;

pub use context::{MAX_VALIDATORS, SetError};
pub use input::{Config, Input, Limits, Origin, RecoveredBody, Recovery, Timeouts};
pub use output::{Class, Evidence, Output, Poisoned, Recipient, TimerTag};
pub use rotation::{Rotation, SLOTS_PER_MEMBER};
pub use step::{State, step};

/// Opaque bytes of a value, shared and immutable.
pub type Body = std::sync::Arc<[u8]>;
