//! A whole tree at once, from its sorted values: what a snapshot is restored with.

use super::{encode_value, newest_key, update};
use crate::state::ReadError;
use consilium_domain::Digest;
use consilium_domain::port::kv::Write;
use jmt::{KeyHash, ValueHash};
use sha2::Sha256;

/// The writes of a tree that holds nothing but these values, sorted by key, each key once, at least one of them, all at
/// `version`; and its root.
pub(crate) fn write(version: u64, values: &[(KeyHash, Vec<u8>)]) -> Result<(Digest, Vec<Write>), ReadError> {
    let hashed = |(hash, value): &(KeyHash, Vec<u8>)| (*hash, ValueHash::with::<Sha256>(value).0);
    let entries: Vec<update::Entry> = values.iter().map(hashed).collect();
    let tree = update::put(&update::Nothing, None, version, &entries)?;
    let mut writes = tree.writes;
    for (hash, value) in values {
        writes.push(Write::Put(newest_key(*hash), encode_value(Some(value), &version.to_be_bytes())));
    }
    Ok((tree.root, writes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn sorted(writes: Vec<Write>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let pair = |w| match w {
            Write::Put(key, value) => (key, value),
            Write::Delete(_) => panic!("a deletion"),
        };
        writes.into_iter().map(pair).collect()
    }

    fn both(mut values: Vec<(KeyHash, Vec<u8>)>) {
        values.sort();
        let (root, writes) = write(7, &values).unwrap();
        let singly = values.iter().map(|(k, v)| (*k, Some(v.clone()))).collect();
        let (expected, nodes) = super::super::write_alone(7, singly).unwrap();
        assert_eq!(root, expected, "{} values", values.len());
        let number = writes.len();
        let (ours, theirs) = (sorted(writes), sorted(nodes));
        assert_eq!((ours.len(), &ours), (number, &theirs), "{} values", values.len());
    }

    #[test]
    fn the_nodes_are_those_of_jmt() {
        for count in [1_u32, 2, 3, 16, 17, 300, 2_000] {
            let value = |i: u32| (KeyHash(Digest::sha256(&[&i.to_be_bytes()]).0), i.to_be_bytes().to_vec());
            both((0..count).map(value).collect());
        }
        // Long common prefixes: inner nodes with one child, down to the last nibble.
        let ends = |a: u8, b: u8| {
            let mut key = [0x5a; 32];
            (key[20], key[31]) = (a, b);
            (KeyHash(key), vec![a, b])
        };
        both(vec![ends(0, 0), ends(0, 1), ends(0, 0x10), ends(9, 0)]);
        assert!(write(1, &[]).is_err());
        assert!(write(1, &[ends(1, 1), ends(1, 1)]).is_err(), "a key twice");
    }
}
