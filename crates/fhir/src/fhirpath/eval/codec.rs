//! `encode()`, `decode()`, `escape()`, `unescape()` of FHIRPath 3.0: hexadecimal, base 64
//! (RFC 4648), HTML, JSON. An unknown format gives nothing.

use std::fmt::Write;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) fn encode(text: &str, format: &str) -> Option<String> {
    match format {
        "hex" => Some(hex::encode(text)),
        "base64" => Some(base64(text.as_bytes(), STANDARD)),
        "urlbase64" => Some(base64(text.as_bytes(), URL)),
        "ascii" => Some(text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()),
        _ => None,
    }
}

pub(crate) fn decode(text: &str, format: &str) -> Option<String> {
    let bytes = match format {
        "hex" => hex::decode(text).ok()?,
        "base64" => unbase64(text, STANDARD)?,
        "urlbase64" => unbase64(text, URL)?,
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |w, i| (w << 8) | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4usize {
            let symbol = usize::try_from(word >> (18 - 6 * i) & 63).ok().and_then(|n| alphabet.get(n));
            out.push(if i > chunk.len() { '=' } else { symbol.map_or('=', |s| char::from(*s)) });
        }
    }
    out
}

fn unbase64(text: &str, alphabet: &[u8; 64]) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    if text.len() - body.len() > 2 || body.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(body.len() / 4 * 3);
    for chunk in body.as_bytes().chunks(4) {
        let mut word = 0u32;
        for i in 0..4 {
            let value = match chunk.get(i) {
                Some(b) => alphabet.iter().position(|a| a == b)?,
                None => 0,
            };
            word = (word << 6) | u32::try_from(value).ok()?;
        }
        let [_, bytes @ ..] = word.to_be_bytes();
        out.extend(bytes.iter().take(chunk.len() - 1));
    }
    Some(out)
}

pub(super) fn escape(text: &str, target: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    match target {
        "html" => {
            for c in text.chars() {
                match c {
                    '&' => out.push_str("&amp;"),
                    '<' => out.push_str("&lt;"),
                    '>' => out.push_str("&gt;"),
                    '"' => out.push_str("&quot;"),
                    '\'' => out.push_str("&#39;"),
                    c => out.push(c),
                }
            }
        }
        "json" => {
            for c in text.chars() {
                match c {
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '\u{c}' => out.push_str("\\f"),
                    '\u{8}' => out.push_str("\\b"),
                    // Writing to a String can not fail.
                    c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
                    c => out.push(c),
                }
            }
        }
        _ => return None,
    }
    Some(out)
}

pub(super) fn unescape(text: &str, target: &str) -> Option<String> {
    match target {
        "html" => Some(unescape_html(text)),
        "json" => Some(crate::tape::unescape(text).into_owned()),
        _ => None,
    }
}

fn unescape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        let (before, entity) = rest.split_at_checked(start).unwrap_or((rest, ""));
        out.push_str(before);
        let end = entity.bytes().take(12).position(|b| b == b';');
        let decoded = end.and_then(|end| character(entity.get(1..end)?).map(|c| (c, end)));
        let used = match decoded {
            Some((c, end)) => {
                out.push(c);
                end + 1
            }
            None => {
                out.push('&');
                1
            }
        };
        rest = entity.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
