//! What tests need and production must not have: a clock that only moves when told, a seeded random number
//! generator, an in-memory store, the contract that every key-value store keeps, what benchmarks share, and
//! a test for leaks by time.

pub mod bench;
mod clock;
mod contract;
mod kv;
pub mod leak;
mod rng;

pub use clock::VirtualClock;
pub use contract::kv_contract;
pub use kv::MemoryKv;
pub use rng::seeded;
