//! The service in one process, over HTTP, against the in-memory bus.

mod batch;
mod erasure;
mod share;
mod story;
mod synthea;
mod validate;
mod world;
