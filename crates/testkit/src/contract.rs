//! The contract of `domain::port::kv::Kv`, as a test that every adapter runs.

use consilium_domain::port::kv::{Kv, Write};
use std::collections::BTreeMap;

/// Fails the running test where `kv` breaks the contract. `kv` must be empty, and is not afterwards.
pub fn kv_contract(kv: &dyn Kv) {
    absent_keys_are_absent(kv);
    a_write_is_read_back_and_replaced(kv);
    a_batch_is_applied_in_its_order(kv);
    scans_are_ordered_half_open_and_limited(kv);
    last_is_inclusive_at_both_ends(kv);
    keys_and_values_are_plain_bytes(kv);
    a_view_stays_as_it_was(kv);
    it_agrees_with_an_ordered_map(kv);
}

fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put(key.to_vec(), value.to_vec())
}

fn delete(key: &[u8]) -> Write {
    Write::Delete(key.to_vec())
}

#[track_caller]
fn write(kv: &dyn Kv, batch: &[Write]) {
    assert!(kv.write(batch, true).is_ok(), "a write failed");
}

#[track_caller]
fn get(kv: &dyn Kv, key: &[u8]) -> Option<Vec<u8>> {
    let got = kv.get(key);
    assert!(got.is_ok(), "a read failed");
    got.ok().flatten()
}

#[track_caller]
fn keys(kv: &dyn Kv, from: &[u8], to: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let got = kv.scan(from, to, limit);
    assert!(got.is_ok(), "a scan failed");
    got.into_iter().flatten().map(|(key, _)| key).collect()
}

#[track_caller]
fn last(kv: &dyn Kv, from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let got = kv.last(from, to);
    assert!(got.is_ok(), "a search for the last key failed");
    got.ok().flatten().map(|(key, _)| key)
}

fn absent_keys_are_absent(kv: &dyn Kv) {
    assert_eq!(get(kv, b"absent"), None);
    assert!(keys(kv, b"", b"\xff", 10).is_empty(), "the contract needs an empty store");
    assert_eq!(last(kv, b"", b"\xff"), None);
    write(kv, &[delete(b"absent")]);
    write(kv, &[]);
    assert_eq!(get(kv, b"absent"), None);
}

fn a_write_is_read_back_and_replaced(kv: &dyn Kv) {
    write(kv, &[put(b"a", b"1")]);
    assert_eq!(get(kv, b"a").as_deref(), Some(&b"1"[..]));
    assert!(kv.write(&[put(b"a", b"2")], false).is_ok());
    assert_eq!(get(kv, b"a").as_deref(), Some(&b"2"[..]), "what is not durable yet is visible all the same");
    write(kv, &[put(b"a", b"")]);
    assert_eq!(get(kv, b"a").as_deref(), Some(&b""[..]), "an empty value is a value");
    write(kv, &[delete(b"a")]);
    assert_eq!(get(kv, b"a"), None);
}

fn a_batch_is_applied_in_its_order(kv: &dyn Kv) {
    write(kv, &[put(b"b", b"1"), delete(b"b"), put(b"b", b"2"), put(b"c", b"1"), delete(b"c")]);
    assert_eq!(get(kv, b"b").as_deref(), Some(&b"2"[..]));
    assert_eq!(get(kv, b"c"), None);
    write(kv, &[delete(b"b")]);
}

fn scans_are_ordered_half_open_and_limited(kv: &dyn Kv) {
    write(kv, &[put(b"k3", b""), put(b"k1", b""), put(b"k10", b""), put(b"k2", b""), put(b"l", b"")]);
    let all: [&[u8]; 4] = [b"k1", b"k10", b"k2", b"k3"];
    assert_eq!(keys(kv, b"k", b"l", 10), all, "ascending by bytes, without the upper end");
    assert_eq!(keys(kv, b"k10", b"k3", 10), [b"k10".to_vec(), b"k2".to_vec()], "with the lower end");
    assert_eq!(keys(kv, b"k", b"l", 2).len(), 2);
    assert!(keys(kv, b"k", b"l", 0).is_empty());
    assert!(keys(kv, b"l", b"k", 10).is_empty(), "an upside-down range is empty");
    assert!(keys(kv, b"k1", b"k1", 10).is_empty());
}

fn last_is_inclusive_at_both_ends(kv: &dyn Kv) {
    assert_eq!(last(kv, b"k1", b"k3").as_deref(), Some(&b"k3"[..]));
    assert_eq!(last(kv, b"k1", b"k29").as_deref(), Some(&b"k2"[..]));
    assert_eq!(last(kv, b"k1", b"k1").as_deref(), Some(&b"k1"[..]));
    assert_eq!(last(kv, b"k4", b"k9"), None);
    assert_eq!(last(kv, b"k3", b"k1"), None, "an upside-down range is empty");
}

fn keys_and_values_are_plain_bytes(kv: &dyn Kv) {
    let value: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    write(kv, &[put(b"\x00\xff\x00", &value), put(b"\xff\xff", b"top")]);
    assert!(get(kv, b"\x00\xff\x00").is_some_and(|got| got == value), "a megabyte comes back unchanged");
    assert_eq!(get(kv, b"\xff\xff").as_deref(), Some(&b"top"[..]));
    write(kv, &[delete(b"\x00\xff\x00"), delete(b"\xff\xff")]);
    assert_eq!(get(kv, b"\x00\xff\x00"), None);
}

fn a_view_stays_as_it_was(kv: &dyn Kv) {
    write(kv, &[put(b"view/a", b"1"), put(b"view/b", b"1")]);
    let view = kv.view();
    write(kv, &[put(b"view/a", b"2"), delete(b"view/b")]);
    write(kv, &[put(b"view/c", b"2")]);
    assert!(view.is_ok(), "a view failed");
    if let Ok(view) = view {
        let all = view.scan(b"view/", b"view0", 9).ok();
        assert_eq!(all, Some(vec![(b"view/a".to_vec(), b"1".to_vec()), (b"view/b".to_vec(), b"1".to_vec())]));
        let last = view.last(b"view/", b"view/z").ok().flatten();
        assert_eq!(last.map(|(key, _)| key), Some(b"view/b".to_vec()));
        assert_eq!(view.get(b"view/c").ok(), Some(None));
    }
    assert_eq!(keys(kv, b"view/", b"view0", 9), [b"view/a".to_vec(), b"view/c".to_vec()]);
    write(kv, &[delete(b"view/a"), delete(b"view/c")]);
}

/// A few hundred batches, the same on every run, against `BTreeMap`.
fn it_agrees_with_an_ordered_map(kv: &dyn Kv) {
    use rand_core::RngCore;
    let mut rng = crate::seeded(1);
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for round in 0..300_u32 {
        let batch: Vec<Write> = (0..rng.next_u32() % 8)
            .map(|_| {
                let key = format!("m{}", rng.next_u32() % 50).into_bytes();
                if rng.next_u32().is_multiple_of(3) {
                    Write::Delete(key)
                } else {
                    Write::Put(key, round.to_be_bytes().to_vec())
                }
            })
            .collect();
        for write in &batch {
            match write {
                Write::Put(key, value) => model.insert(key.clone(), value.clone()),
                Write::Delete(key) => model.remove(key),
            };
        }
        assert!(kv.write(&batch, round % 50 == 49).is_ok(), "a write failed");
    }
    let got = kv.scan(b"m", b"n", 1000).unwrap_or_default();
    assert_eq!(got, model.into_iter().collect::<Vec<_>>());
}
