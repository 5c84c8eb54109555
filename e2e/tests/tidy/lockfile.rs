//! One TLS provider, and none that is linked against the system.

use std::fs;

use crate::workspace::root;
use crate::{assert_complains, assert_tidy};

/// Packages that must not be in the lock file, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("openssl-sys", "rustls with ring is the one TLS stack (ADR 0002)"),
    ("native-tls", "rustls with ring is the one TLS stack (ADR 0002)"),
    ("aws-lc-sys", "ring is the one rustls provider (ADR 0002)"),
    ("protobuf-src", "no C++ build of protoc: protox compiles proto/"),
];

/// Complaints about banned packages in the text of a `Cargo.lock`.
pub fn banned(lock: &str) -> Vec<String> {
    BANNED
        .iter()
        .filter(|(name, _)| lock.lines().any(|line| line == format!("name = \"{name}\"")))
        .map(|(name, reason)| {
            format!("Cargo.lock: `{name}`: {reason}; `cargo tree -i {name}` says who brings it")
        })
        .collect()
}

#[test]
fn no_second_tls_stack() {
    assert_tidy(&banned(&fs::read_to_string(root().join("Cargo.lock")).unwrap()));
}

#[test]
fn a_second_tls_stack_is_named() {
    assert_complains(&banned("[[package]]\nname = \"aws-lc-sys\"\n"), &["aws-lc-sys", "ring"]);
}
