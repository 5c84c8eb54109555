//! Policy text and canonical bytes: no panic; what is accepted has one text and one encoding, which read back.
#![no_main]

use consilium_abe::{AccessPolicy, Attribute};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = AccessPolicy::from_canonical_bytes(data) {
        assert_eq!(policy.canonical_bytes(), data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Attribute::parse(text);
    if let Ok(policy) = AccessPolicy::parse(text) {
        let again = AccessPolicy::parse(&policy.to_string()).expect("the text of a policy parses");
        assert_eq!(again.canonical_bytes(), policy.canonical_bytes());
        AccessPolicy::from_canonical_bytes(&policy.canonical_bytes()).expect("canonical bytes decode");
    }
});
