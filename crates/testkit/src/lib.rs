//! What tests need and production must not have: a clock that only moves when told, a seeded random number
//! generator, an in-memory store, the contract that every key-value store keeps, what benchmarks share,
//! a test for leaks by time, and a TiKV cluster on this machine.

pub mod bench;
mod clock;
mod contract;
mod kv;
pub mod leak;
mod rng;
mod tikv;

pub use clock::VirtualClock;
pub use contract::kv_contract;
pub use kv::MemoryKv;
pub use rng::seeded;
pub use tikv::TikvPeer;
