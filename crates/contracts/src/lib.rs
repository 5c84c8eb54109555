//! The bus in types: protobuf messages generated from `proto/`, the subjects they travel on, who may
//! publish and subscribe to what, and the nats-server configuration that enforces it.
//!
//! No I/O, no logic of any service. What is hashed or signed is never a protobuf encoding but the
//! canonical bytes of `consilium_domain`, carried in `bytes` fields.

mod convert;
pub mod nats;
pub mod subjects;
/// Messages of `proto/consilium/v1`, generated: change the `.proto` file and run `make gen`.
#[rustfmt::skip]
#[path = "generated/consilium.v1.rs"]
pub mod v1;

pub use convert::ConvertError;
pub use prost::{DecodeError, Message};
pub use subjects::{Participant, Subject, Subjects};
