//! Storage ports: what the services ask of a store. The doc comment is the contract that every adapter keeps
//! (see the contract tests in testkit).

pub mod kv;
