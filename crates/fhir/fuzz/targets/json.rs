//! The tape parser, beside serde_json: what it takes is JSON, what it refuses is none (or has a duplicate key, or breaks
//! a limit), every value can be read, and the leaves give the document back.
#![no_main]

use consilium_fhir::leaves::{leaves, rebuild};
use consilium_fhir::tape::{NodeId, ParseErrorKind};
use consilium_fhir::{Limits, Tape};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::{Value, from_slice};

fuzz_target!(|data: &[u8]| {
    let limits = Limits { bytes: 1 << 20, depth: 60, nodes: 1 << 16 };
    let plain = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let tape = match Tape::parse(data, &limits) {
        Ok(tape) => tape,
        Err(error) => {
            let ours_alone = matches!(
                error.kind(),
                ParseErrorKind::DuplicateKey
                    | ParseErrorKind::TooDeep(_)
                    | ParseErrorKind::TooManyNodes(_)
                    | ParseErrorKind::TooLarge(_)
                    | ParseErrorKind::KeyTooLong
            );
            assert!(ours_alone || from_slice::<Value>(plain).is_err(), "refused JSON: {error}");
            return;
        }
    };
    from_slice::<IgnoredAny>(plain).expect("took what is no JSON");
    for at in 0..tape.len() as u32 {
        let node = tape.cursor(NodeId(at));
        let _ = (node.key(), node.as_str(), node.number(), node.as_bool(), node.count());
        assert!(node.start() <= node.end() && node.end() <= data.len());
    }
    let all = leaves(tape.root());
    let text = rebuild(all.iter().map(|leaf| (leaf.path.as_str(), leaf.token))).expect("leaves of a document are a document");
    let again = Tape::parse(text.as_bytes(), &limits).expect("a rebuilt document is JSON");
    let same = leaves(again.root());
    assert_eq!(all.len(), same.len());
    assert!(all.iter().zip(&same).all(|(a, b)| (&a.path, a.token, a.kind) == (&b.path, b.token, b.kind)));
});
