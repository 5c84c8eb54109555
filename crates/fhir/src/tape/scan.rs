//! Finding the end of runs: of text inside a string, of blanks between tokens. Sixteen bytes at a time where the
//! processor has vectors of that size at any rate (SSE2 is part of x86-64), else eight.

/// How many bytes stand before the first quote, backslash or control character (RFC 8259 section 7), and whether all
/// of them are printable ASCII without blanks.
#[inline]
pub(super) fn text(rest: &[u8]) -> (usize, bool) {
    let mut at = 0;
    let mut plain = true;
    while let Some(block) = rest.get(at..).and_then(<[u8]>::first_chunk) {
        let (stop, odd) = block::text(block);
        if stop < block::BYTES {
            return (at + stop, plain && odd >= stop);
        }
        plain &= odd >= block::BYTES;
        at += block::BYTES;
    }
    let tail = rest.get(at..).unwrap_or_default();
    let len = tail.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(tail.len());
    let odd = tail.iter().take(len).any(|b| !b.is_ascii_graphic());
    (at + len, plain && !odd)
}

/// How many bytes are spaces.
#[inline]
pub(super) fn spaces(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(block) = rest.get(at..).and_then(<[u8]>::first_chunk) {
        let len = block::spaces(block);
        at += len;
        if len < block::BYTES {
            return at;
        }
    }
    at
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

pub(super) use block::text as block;

#[cfg(target_arch = "x86_64")]
mod block {
    use safe_arch::{
        bitor_m128i, cmp_eq_mask_i8_m128i, cmp_lt_mask_i8_m128i, load_unaligned_m128i, min_u8_m128i,
        move_mask_i8_m128i, set_splat_i8_m128i,
    };

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

    /// Number of spaces before the first other byte.
    #[inline]
    pub(in crate::tape) fn spaces(block: &[u8; BYTES]) -> usize {
        let bytes = load_unaligned_m128i(block);
        first(!move_mask_i8_m128i(cmp_eq_mask_i8_m128i(bytes, set_splat_i8_m128i(b' ' as i8))))
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
    pub(in crate::tape) const BYTES: usize = 8;

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

    /// As on x86-64.
    #[inline]
    pub(in crate::tape) fn text(block: &[u8; BYTES]) -> (usize, usize) {
        let word = u64::from_le_bytes(*block);
        let stop = equal(word, b'"') | equal(word, b'\\') | below(word, 0x20);
        let odd = below(word, 0x21) | (word & HIGH) | equal(word, 0x7f);
        (first(stop), first(odd))
    }

    /// As on x86-64.
    #[inline]
    pub(in crate::tape) fn spaces(block: &[u8; BYTES]) -> usize {
        first(u64::from_le_bytes(*block) ^ (ONES * u64::from(b' ')))
    }

    /// As on x86-64.
    #[inline]
    pub(in crate::tape) fn blanks(block: &[u8; BYTES]) -> usize {
        block.iter().take_while(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')).count()
    }

    #[inline]
    fn first(mask: u64) -> usize {
        (mask.trailing_zeros() / 8) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                    assert_eq!(text(&bytes), text_by_bytes(&bytes), "{byte} at {at} of {len}");
                    bytes[len - 1] = b'"';
                    assert_eq!(text(&bytes), text_by_bytes(&bytes), "{byte} at {at} of {len}, then a quote");
                    let mut bytes = vec![b' '; len];
                    bytes[at] = byte;
                    let whole = len / block::BYTES * block::BYTES;
                    let others = if byte == b' ' || at >= whole { whole } else { at };
                    assert_eq!(spaces(&bytes), others, "{byte} at {at} of {len}");
                    let blank = matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
                    assert_eq!(blanks(&bytes), if blank { len } else { at }, "{byte} at {at} of {len}");
                }
            }
        }
    }
}
