//! The service in one process, over HTTP, against the in-memory bus.

mod story;
mod synthea;
mod world;
