//! See the crate list in the README.
