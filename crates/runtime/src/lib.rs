//! The process kit: what every service of Consilium shares and no pure crate may touch. Configuration, logs
//! and traces, health and metrics, shutdown, clock and randomness, and the [`Bus`].
//!
//! A service implements [`Service`]; its `main.rs` is `consilium_runtime::main::<Ingest>()`.

pub mod bus;
mod clock;
pub mod config;
mod entropy;
pub mod follow;
pub mod gather;
mod health;
mod health_http;
pub mod members;
mod meter;
mod process;
pub mod propagation;
mod service;
mod shutdown;
mod telemetry;

pub use bus::{Answer, Bus, BusError, Headers, Incoming, MemoryHub, Subscription};
pub use clock::SystemClock;
pub use config::{Common, Profile};
pub use entropy::{Entropy, Rng};
pub use follow::Followed;
pub use gather::Gather;
pub use health::{Check, Health};
pub use meter::{Counter, Gauge, Histogram, Meter, MeterError};
pub use process::main;
pub use service::{Kit, Service};
pub use shutdown::{Guard, Shutdown};
