//! Key-value stores behind [`consilium_domain::port::kv::Kv`].

pub mod fjall;
pub mod tikv;
