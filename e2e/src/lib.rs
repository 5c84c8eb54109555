//! Whole-system tests: the story of a consortium of four hospitals, told with assertions over real processes.
//!
//! `demo-check` runs it, and [`bench`] times requests to the same consortium. What is asserted stands in [`story`], one chapter per file; the rest is what a chapter needs:
//! the consortium itself ([`cluster`]), HTTP ([`http`]), the tap on the bus ([`recorder`]), comparing records
//! ([`records`]), searching for what must not be there ([`disclosure`]) and saying what happened ([`report`]).

pub mod bench;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod disclosure;
pub mod frames;
pub mod http;
pub mod recorder;
pub mod records;
pub mod report;
pub mod story;
