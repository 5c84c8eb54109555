//! Tests of the ledger against a small consortium in memory.

mod blocks;
mod certificates;
mod channels;
mod checkpoints;
mod commitments;
mod committees;
mod encodings;
mod envelopes;
mod fixture;
mod forgeries;
mod log_proofs;
mod membership;
mod notices;
mod receipts;
mod samples;
mod snapshots;
mod state_proofs;
mod transactions;
mod vectors;
