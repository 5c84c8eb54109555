//! Embedded key-value stores behind [`consilium_domain::port::kv::Kv`].

pub mod fjall;
