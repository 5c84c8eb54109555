//! Headers: no panic; what is accepted has one encoding. Input as it comes, and input cut or repeated to the length that
//! its policy asks for, so that group elements are reached.
#![no_main]

use consilium_abe::{AccessPolicy, Header, Received};
use libfuzzer_sys::fuzz_target;

fn read(data: &[u8]) {
    if let Ok(header) = Header::from_compact_bytes(data) {
        assert_eq!(header.to_compact_bytes(), data);
    }
    if let Ok(header) = Header::from_bytes(data) {
        assert_eq!(header.to_bytes(), data);
        assert!(Received::from_bytes(data).is_ok());
    }
    if let Ok(header) = Received::from_bytes(data) {
        assert_eq!(header.to_bytes(), data);
    }
    if let Ok(header) = Received::from_compact_bytes(data) {
        // Its torus form is that of the same element, wherever that lies.
        assert!(!header.policy().to_string().is_empty());
    }
}

fuzz_target!(|data: &[u8]| {
    read(data);
    let Some((count, rest)) = data.split_first() else { return };
    let rows = usize::from(count % 3) + 1;
    let terms: Vec<String> = (0..rows).map(|row| format!("a{row}@b")).collect();
    let policy = AccessPolicy::parse(&terms.join(" AND ")).expect("a policy").canonical_bytes();
    for (mark, row) in [(0x0001u16, 768), (0x0101, 480)] {
        let mut bytes = mark.to_be_bytes().to_vec();
        bytes.extend((policy.len() as u64).to_be_bytes());
        bytes.extend(&policy);
        if !rest.is_empty() {
            bytes.extend(rest.iter().cycle().take(rows * row + 32));
        }
        read(&bytes);
    }
});
