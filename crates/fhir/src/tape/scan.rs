//! Finding the end of runs: of text inside a string, of blanks between tokens. Sixteen bytes at a time where the
//! processor has vectors of that size at any rate (SSE2 is part of x86-64), else eight.

/// As [`block`], of less than a block: where nothing ends the text its length.
pub(super) fn tail(rest: &[u8]) -> (usize, usize) {
    let first = |of: fn(&u8) -> bool| rest.iter().position(of).unwrap_or(rest.len());
    (first(|b| matches!(b, b'"' | b'\\' | 0..0x20)), first(|b| !b.is_ascii_graphic()))
}

/// How many bytes are blanks of JSON (RFC 8259 section 2).
#[inline]
pub(super) fn blanks(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = rest.get(at..).and_then(<[u8]>::first_chunk) {
        let len = block::blanks(block);
        at += len;
        if len < block::BYTES {
            return at;
        }
    }
    let tail = rest.get(at..).unwrap_or_default();
    at + tail.iter().take_while(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')).count()
}

/// Two blocks.
pub(super) const WIDE: usize = 2 * BYTES;

pub(super) use block::{BYTES, name, spaces, text as block};

#[cfg(target_arch = "x86_64")]
mod block {
    use safe_arch::{
        bitor_m128i, cmp_eq_mask_i8_m128i, cmp_lt_mask_i8_m128i, load_unaligned_m128i, min_u8_m128i,
        move_mask_i8_m128i, set_splat_i8_m128i,
    };

    use super::WIDE;

    pub(in crate::tape) const BYTES: usize = 16;

    /// Positions of the first byte that ends a text, and of the first that is no printable ASCII or a blank; the
    /// number of bytes where there is none.
    #[inline]
    pub(in crate::tape) fn text(block: &[u8; BYTES]) -> (usize, usize) {
        let bytes = load_unaligned_m128i(block);
        let quote = cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(b'"' as i8));
        let slash = cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(b'\\' as i8));
        let control = cmp_eq_mask_i8_m128i(min_u8_m128i(bytes, set_splat_i8_m128i(0x1f)), bytes);
        // As signed bytes all that is not ASCII is below zero.
        let low = cmp_lt_mask_i8_m128i(bytes, set_splat_i8_m128i(0x21));
        let delete = cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(0x7f));
        let stop = move_mask_i8_m128i(bitor_m128i(bitor_m128i(quote, slash), control));
        let odd = move_mask_i8_m128i(bitor_m128i(low, delete));
        (first(stop), first(odd))
    }

    /// Position of the first byte that ends a text, as [`text`], or that is no ASCII: names have none of those.
    #[inline]
    pub(in crate::tape) fn name(block: &[u8; BYTES]) -> usize {
        let bytes = load_unaligned_m128i(block);
        let quote = cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(b'"' as i8));
        let slash = cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(b'\\' as i8));
        let control = cmp_lt_mask_i8_m128i(bytes, set_splat_i8_m128i(0x20));
        first(move_mask_i8_m128i(bitor_m128i(bitor_m128i(quote, slash), control)))
    }

    /// Number of spaces before the first other byte. Lines of records are deeper than one block, and to ask after
    /// each costs more than to look at two.
    #[inline]
    pub(in crate::tape) fn spaces(block: &[u8; WIDE]) -> usize {
        let spaces = |half| {
            let bytes = load_unaligned_m128i(half);
            move_mask_i8_m128i(cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(b' ' as i8))) as u32
        };
        let (halves, _) = block.as_chunks();
        halves.iter().rev().fold(0, |all, half| all << BYTES | spaces(half)).trailing_ones() as usize
    }

    /// Number of blanks before the first other byte.
    #[inline]
    pub(in crate::tape) fn blanks(block: &[u8; BYTES]) -> usize {
        let bytes = load_unaligned_m128i(block);
        let of = |b: u8| cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(b as i8));
        let all = bitor_m128i(bitor_m128i(of(b' '), of(b'\n')), bitor_m128i(of(b'\r'), of(b'\t')));
        first(!move_mask_i8_m128i(all))
    }

    #[inline]
    fn first(mask: i32) -> usize {
        (mask | 1 << BYTES).trailing_zeros() as usize
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod block {
    use super::WIDE;

    pub(in crate::tape) const BYTES: usize = 16;

    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;

    /// The high bit of each byte below `least`. A borrow may mark a byte above one that is marked rightly; the first
    /// mark is always right.
    #[inline]
    fn below(word: u64, least: u8) -> u64 {
        word.wrapping_sub(ONES * u64::from(least)) & !word & HIGH
    }

    #[inline]
    fn equal(word: u64, byte: u8) -> u64 {
        below(word ^ (ONES * u64::from(byte)), 1)
    }

    #[inline]
    fn stops(word: u64) -> u64 {
        equal(word, b'"') | equal(word, b'\\') | below(word, 0x20)
    }

    /// As on x86-64.
    #[inline]
    pub(in crate::tape) fn text(block: &[u8; BYTES]) -> (usize, usize) {
        let odd = |word| below(word, 0x21) | (word & HIGH) | equal(word, 0x7f);
        (first(block, stops), first(block, odd))
    }

    /// As on x86-64.
    #[inline]
    pub(in crate::tape) fn name(block: &[u8; BYTES]) -> usize {
        first(block, |word| stops(word) | (word & HIGH))
    }

    /// As on x86-64.
    #[inline]
    pub(in crate::tape) fn spaces(block: &[u8; WIDE]) -> usize {
        let (halves, _) = block.as_chunks();
        let of = |half| first(half, |word| word ^ (ONES * u64::from(b' ')));
        match halves {
            [low, high] => match of(low) {
                BYTES => BYTES + of(high),
                less => less,
            },
            _ => 0,
        }
    }

    /// As on x86-64.
    #[inline]
    pub(in crate::tape) fn blanks(block: &[u8; BYTES]) -> usize {
        block.iter().take_while(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')).count()
    }

    /// The first byte with a bit in the mask of its word.
    #[inline]
    fn first(block: &[u8; BYTES], mask: impl Fn(u64) -> u64) -> usize {
        let both = u128::from_le_bytes(*block);
        let (low, high) = (mask(both as u64), mask((both >> 64) as u64));
        (if low == 0 { 64 + high.trailing_zeros() } else { low.trailing_zeros() } / 8) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length of the text and whether it is printable ASCII without blanks.
    fn seen((stop, odd): (usize, usize)) -> (usize, bool) {
        (stop, odd >= stop)
    }

    fn text_by_bytes(rest: &[u8]) -> (usize, bool) {
        let len = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
        (len, rest.iter().take(len).all(|b| (0x21..0x7f).contains(b)))
    }

    #[test]
    fn every_byte_at_every_place_is_seen_as_by_looking_at_single_bytes() {
        for len in 0..40 {
            for at in 0..len {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'a'; len];
                    bytes[at] = byte;
                    for last in [bytes[len - 1], b'"'] {
                        bytes[len - 1] = last;
                        assert_eq!(seen(tail(&bytes)), text_by_bytes(&bytes), "{byte} at {at} of {len}");
                        if let Some(first) = bytes.first_chunk() {
                            let wanted = text_by_bytes(first);
                            assert_eq!(seen(block(first)), wanted, "{byte} at {at} of {len}");
                            let ascii = first.iter().take_while(|b| b.is_ascii()).count();
                            assert_eq!(name(first), wanted.0.min(ascii), "{byte} at {at} of {len}");
                        }
                    }
                    let mut bytes = vec![b' '; len];
                    bytes[at] = byte;
                    if let Some(block) = bytes.first_chunk() {
                        let others = if byte == b' ' { WIDE } else { at.min(WIDE) };
                        assert_eq!(spaces(block), others, "{byte} at {at} of {len}");
                    }
                    let blank = matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
                    assert_eq!(blanks(&bytes), if blank { len } else { at }, "{byte} at {at} of {len}");
                }
            }
        }
    }
}
