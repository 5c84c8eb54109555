//! Decoding of JSON strings whose grammar the parser has already checked.

use std::borrow::Cow;

/// Decodes the inside of a JSON string (without its quotes).
///
/// Borrowed if there is no escape. Sequences that the grammar forbids are kept as they are, so the
/// function is total; the parser never lets one through.
pub fn unescape(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let high = hex4(chars.as_str());
                chars = skip4(chars);
                let code = if (0xD800..0xDC00).contains(&high) {
                    let low = hex4(chars.as_str().strip_prefix("\\u").unwrap_or_default());
                    chars.next();
                    chars.next();
                    chars = skip4(chars);
                    0x10000 + ((high - 0xD800) << 10) + (low.wrapping_sub(0xDC00) & 0x3FF)
                } else {
                    high
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}

fn hex4(text: &str) -> u32 {
    text.get(..4).and_then(|h| u32::from_str_radix(h, 16).ok()).unwrap_or(0xFFFD)
}

fn skip4(mut chars: std::str::Chars<'_>) -> std::str::Chars<'_> {
    for _ in 0..4 {
        chars.next();
    }
    chars
}
