//! Tests of the ledger against a small consortium in memory.

mod blocks;
mod certificates;
mod commitments;
mod committees;
mod encodings;
mod envelopes;
mod fixture;
mod receipts;
mod state_proofs;
mod transactions;
