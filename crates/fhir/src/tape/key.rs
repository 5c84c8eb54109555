//! Property names: a hash and a comparison without calls, because every member of every object needs them.

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// The first and the last eight bytes as words, of a shorter name all bytes and nothing; together with the length they
/// are the whole of what has at most 16 bytes.
#[inline]
pub(crate) const fn ends(bytes: &[u8]) -> (u64, u64) {
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
    }
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // The two overlap in the same bytes at the same places.
        let above = 8 * (bytes.len() as u32 - 4);
        return (u32::from_le_bytes(*head) as u64 | (u32::from_le_bytes(*tail) as u64) << above, 0);
    }
    match *bytes {
        [a, b, c] => (a as u64 | (b as u64) << 8 | (c as u64) << 16, 0),
        [a, b] => (a as u64 | (b as u64) << 8, 0),
        [a] => (a as u64, 0),
        _ => (0, 0),
    }
}

/// As [`ends`], of `name`, which stands at `start` in `input`: what is around it is read too, so that its length costs
/// no branches.
#[inline]
pub(crate) fn ends_at(input: &[u8], start: usize, name: &[u8]) -> (u64, u64) {
    let len = name.len();
    let word =
        |at: usize| input.get(at..).and_then(<[u8]>::first_chunk).map(|word| u64::from_le_bytes(*word));
    let tail = (start + len).checked_sub(8).and_then(word);
    let (Some(head), Some(tail)) = (word(start), tail) else { return ends(name) };
    let unused = 64 - 8 * len.min(8) as u32;
    let (mask, both) = (u64::MAX.checked_shr(unused).unwrap_or(0), if len < 8 { 0 } else { u64::MAX });
    (head & mask, tail & both)
}

/// Hash of a property name: its ends and its length decide. Fast, not collision-free: whoever looks something up by
/// it compares the names too.
#[inline]
pub(crate) const fn hash(key: &[u8]) -> u32 {
    mixed(ends(key), key.len())
}

/// As [`hash`], of `name`, which stands at `start` in `input`.
#[inline]
pub(crate) fn hash_at(input: &[u8], start: usize, name: &[u8]) -> u32 {
    mixed(ends_at(input, start, name), name.len())
}

#[inline]
const fn mixed((head, tail): (u64, u64), len: usize) -> u32 {
    let mix = (head ^ tail.rotate_left(29) ^ (len as u64) << 56).wrapping_mul(MIX);
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

    #[test]
    fn what_stands_around_a_name_does_not_matter() {
        let input: Vec<u8> = (1..=60).collect();
        for start in 0..=input.len() {
            for end in start..=input.len() {
                let name = &input[start..end];
                assert_eq!(ends_at(&input, start, name), ends(name), "{start} {end}");
                assert_eq!(hash_at(&input, start, name), hash(name), "{start} {end}");
            }
        }
    }
}
