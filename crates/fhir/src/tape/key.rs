//! Property names: a hash and a comparison without calls, because every member of every object needs them.

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// The first and the last bytes as two words; together with the length they are the whole of what has at most 16
/// bytes.
#[inline]
pub(crate) const fn ends(bytes: &[u8]) -> (u64, u64) {
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
    }
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64);
    }
    match *bytes {
        [a, b, c] => (a as u64 | (b as u64) << 8, c as u64),
        [a, b] => (a as u64 | (b as u64) << 8, 0),
        [a] => (a as u64, 0),
        _ => (0, 0),
    }
}

/// Hash of a property name: its ends and its length decide. Fast, not collision-free: whoever looks something up by
/// it compares the names too.
#[inline]
pub(crate) const fn hash(key: &[u8]) -> u32 {
    let (head, tail) = ends(key);
    let mix = (head ^ tail.rotate_left(29) ^ (key.len() as u64) << 56).wrapping_mul(MIX);
    (mix >> 32) as u32
}

/// Whether two names are equal.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && ends(a) == ends(b) && (a.len() <= 16 || a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_equal_only_to_themselves() {
        let names: Vec<String> = (0..40)
            .flat_map(|n| {
                ["a".repeat(n), "b".repeat(n), format!("{}b{}", "a".repeat(n / 2), "a".repeat(n / 2))]
            })
            .collect();
        for a in &names {
            for b in &names {
                assert_eq!(same(a.as_bytes(), b.as_bytes()), a == b, "{a} {b}");
                assert!(a != b || hash(a.as_bytes()) == hash(b.as_bytes()));
            }
        }
    }
}
