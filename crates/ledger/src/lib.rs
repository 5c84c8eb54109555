//! The ledger's state machine and its proofs: what a transaction may say, what a block does to the state, and how a
//! stranger checks it afterwards from nothing but the genesis file.
//!
//! Everything here is a pure function: state comes through a read-only view ([`state::StateRead`]), changes leave as
//! a list of writes that the consensus service commits in one durable batch, time is an argument.
//!
//! - [`sign`], [`envelope`]: Ed25519 over `domain`'s purpose-bound bytes.
//! - [`commitment`]: salted leaves, record commitments, projections, openings, batch roots.
//! - [`committee`], [`interop`]: who attests a batch, and whether enough of them did.
//! - [`mod@check`], [`apply`], [`state`], [`genesis`], [`evidence`], [`samples`]: transactions, blocks, state.
//! - [`tiles`], [`checkpoint`]: the ledger log as C2SP publishes logs.
//! - [`certificate`], [`proof`], [`receipt`]: what the offline verifier runs.
#![deny(clippy::float_arithmetic)]

pub mod apply;
mod bulk;
pub mod certificate;
pub mod check;
pub mod checkpoint;
pub mod commitment;
pub mod committee;
mod dispute;
pub mod envelope;
pub mod evidence;
pub mod genesis;
mod governance;
pub mod interop;
pub mod log_proof;
pub mod proof;
pub mod receipt;
pub mod samples;
mod session;
pub mod sign;
pub mod snapshot;
pub mod state;
pub mod tiles;
mod tree;

pub use apply::{Applied, BlockError, Built, Effect, Ledger, Outcome};
pub use bulk::SignatureMemory;
pub use check::{CheckError, TxError, check};
pub use genesis::genesis_state;
pub use receipt::{ReceiptError, Verified, verify_receipt};
pub use sign::{Role, SigningKey, verify};
pub use state::{ReadError, StateRead};

#[cfg(test)]
mod tests;
