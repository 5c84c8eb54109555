//! Property names: a hash and a comparison without calls, because every member of every object needs them.

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// A name of at most 16 bytes as two words, first byte lowest, what is left of them zero; of a longer one the first and
/// the last eight bytes. Together with the length they are the whole of what has at most 16 bytes.
#[inline]
const fn ends(bytes: &[u8]) -> (u64, u64) {
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let tail = u64::from_le_bytes(*tail);
        // What the two have in common belongs to the first.
        let common = 8 * (16usize.saturating_sub(bytes.len()) as u32);
        return (u64::from_le_bytes(*head), if common < 64 { tail >> common } else { 0 });
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

/// As [`ends`], of the name of `len` bytes, less than 16, at the start of `block`.
#[inline(always)]
fn ends_in(block: &[u8; 16], len: usize) -> (u64, u64) {
    let word = u128::from_le_bytes(*block);
    let (head, tail) = MASKS.get(len).copied().unwrap_or_default();
    (word as u64 & head, (word >> 64) as u64 & tail)
}

/// The bits of the first bytes of two words, by their number.
const MASKS: [(u64, u64); 16] = {
    let mut masks = [(0, 0); 16];
    let (mut rest, mut mask) = (masks.as_mut_slice(), 0u128);
    while let [first, more @ ..] = rest {
        *first = (mask as u64, (mask >> 64) as u64);
        mask = mask << 8 | 0xff;
        rest = more;
    }
    masks
};

/// As [`ends`], of `name`, which stands at `start` in `input`: what is behind it is read too, so that its length costs
/// no branches.
#[inline]
pub(super) fn ends_at(input: &[u8], start: usize, name: &[u8]) -> (u64, u64) {
    match input.get(start..).and_then(<[u8]>::first_chunk) {
        Some(block) if name.len() < 16 => ends_in(block, name.len()),
        _ => ends(name),
    }
}

/// What a name is looked up by.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub hash: u32,
    /// [`ends`] of it.
    pub ends: (u64, u64),
}

impl Name {
    /// Of any name; of a literal it is made when compiling.
    #[inline(always)]
    pub(crate) const fn of(name: &[u8]) -> Self {
        let ends = ends(name);
        Name { hash: mixed(ends, name.len()), ends }
    }
}

/// Hash of a property name: its ends and its length decide. Fast, not collision-free: whoever looks something up by
/// it compares the names too.
#[inline]
pub(crate) const fn hash(key: &[u8]) -> u32 {
    mixed(ends(key), key.len())
}

/// As [`hash`], of the name of `len` bytes, less than 16, at the start of `block`.
#[inline(always)]
pub(crate) fn hash_in(block: &[u8; 16], len: usize) -> u32 {
    mixed(ends_in(block, len), len)
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
                if let (Some(block), 0..16) = (input[start..].first_chunk(), name.len()) {
                    assert_eq!(hash_in(block, name.len()), hash(name), "{start} {end}");
                }
            }
        }
    }
}
