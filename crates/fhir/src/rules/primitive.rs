//! The forms of primitive values (<https://hl7.org/fhir/R4/datatypes.html#primitive>), as byte
//! matchers over the decoded string or the number's token.

use crate::schema::Primitive;
use crate::tape::Kind;

/// FHIR strings are at most 1 MiB long (<https://hl7.org/fhir/R4/datatypes.html#string>).
const MAX_STRING: usize = 1 << 20;

/// Whether a primitive is written as this kind of JSON value.
#[inline]
pub(crate) fn is_written_as(primitive: Primitive, kind: Kind) -> bool {
    match primitive {
        Primitive::Boolean => matches!(kind, Kind::True | Kind::False),
        Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt | Primitive::Decimal => {
            kind == Kind::Number
        }
        _ => kind == Kind::String,
    }
}

/// How a primitive is written, for people.
pub(crate) fn written(primitive: Primitive) -> &'static str {
    match primitive {
        Primitive::Boolean => "`true` or `false` without quotes",
        Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt | Primitive::Decimal => {
            "a number without quotes"
        }
        _ => "a string in double quotes",
    }
}

/// What is wrong with the form of `text`; `None` if nothing.
pub(crate) fn fault(primitive: Primitive, text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    match primitive {
        Primitive::Boolean | Primitive::Xhtml => None,
        Primitive::Integer => integer(bytes, i64::from(i32::MIN)),
        Primitive::UnsignedInt => integer(bytes, 0),
        Primitive::PositiveInt => integer(bytes, 1),
        Primitive::Decimal => None, // the JSON grammar is the form
        Primitive::String | Primitive::Markdown => string(text),
        Primitive::Code => code(text),
        Primitive::Id => id(bytes),
        Primitive::Uri | Primitive::Url | Primitive::Canonical => uri(text),
        Primitive::Oid => (!is_oid(text))
            .then_some("an oid is written `urn:oid:` and numbers without leading zero between dots"),
        Primitive::Uuid => (!is_uuid_urn(text))
            .then_some("a uuid is written `urn:uuid:` and 8-4-4-4-12 lower case hexadecimal digits"),
        Primitive::Date => date(bytes),
        Primitive::DateTime => date_time(bytes),
        Primitive::Instant => instant(bytes),
        Primitive::Time => time(bytes)
            .filter(|rest| rest.is_empty())
            .map_or(Some("a time is written `hh:mm:ss`, without a time zone"), |_| None),
        Primitive::Base64Binary => base64(bytes),
    }
}

/// As [`fault`], of text that is known to be printable ASCII without blanks.
#[inline]
pub(crate) fn fault_of_plain(primitive: Primitive, text: &[u8]) -> Option<&'static str> {
    match primitive {
        Primitive::Code | Primitive::Xhtml => None,
        Primitive::Uri | Primitive::Url | Primitive::Canonical => scheme(text),
        Primitive::String | Primitive::Markdown => length(text),
        Primitive::Date => date(text),
        Primitive::DateTime => date_time(text),
        Primitive::Instant => instant(text),
        Primitive::Base64Binary => base64(text),
        Primitive::Id => id(text),
        _ => std::str::from_utf8(text).ok().and_then(|text| fault(primitive, text)),
    }
}

fn integer(bytes: &[u8], least: i64) -> Option<&'static str> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Some("this must be a whole number, without a point or exponent");
    }
    let value = std::str::from_utf8(bytes).ok().and_then(|t| t.parse::<i64>().ok());
    let most = i64::from(i32::MAX);
    if value.is_some_and(|v| (least..=most).contains(&v)) {
        return None;
    }
    Some(match least {
        0 => "this number must be between 0 and 2147483647",
        1 => "this number must be between 1 and 2147483647",
        _ => "this number must be between -2147483648 and 2147483647",
    })
}

fn string(text: &str) -> Option<&'static str> {
    // Without an early end, so that many bytes are looked at at once.
    let bad = |bad, b: &u8| bad | ((*b < 0x20) & (*b != b'\t') & (*b != b'\n') & (*b != b'\r'));
    if text.as_bytes().iter().fold(false, bad) {
        return Some("a string may hold no control characters but tab, line feed and carriage return");
    }
    length(text.as_bytes())
}

fn length(text: &[u8]) -> Option<&'static str> {
    (text.len() > MAX_STRING).then_some("a string may have at most 1048576 bytes")
}

fn code(text: &str) -> Option<&'static str> {
    let mut last_blank = true; // as if a blank stood before: none may lead
    for c in text.chars() {
        let blank = c.is_whitespace();
        if (blank && (last_blank || c != ' ')) || u32::from(c) < 0x20 {
            return Some(CODE);
        }
        last_blank = blank;
    }
    last_blank.then_some(CODE)
}

const CODE: &str = "a code has no blank at its ends and only single blanks inside";

fn id(text: &[u8]) -> Option<&'static str> {
    (!is_id_of(text)).then_some("an id has 1 to 64 characters out of A-Z, a-z, 0-9, `-` and `.`")
}

/// `[A-Za-z0-9\-\.]{1,64}`
pub(crate) fn is_id(text: &str) -> bool {
    is_id_of(text.as_bytes())
}

fn is_id_of(text: &[u8]) -> bool {
    // Without an early end, so that many bytes are looked at at once.
    let fits = |good, &b: &u8| good & (is_letter_or_digit(b) | (b == b'-') | (b == b'.'));
    (1..=64).contains(&text.len()) && text.iter().fold(true, fits)
}

fn uri(text: &str) -> Option<&'static str> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("a uri holds no blanks; write them as `%20`");
    }
    scheme(text.as_bytes())
}

#[inline]
fn scheme(text: &[u8]) -> Option<&'static str> {
    if text.starts_with(b"urn:") { urn(text) } else { None }
}

fn urn(text: &[u8]) -> Option<&'static str> {
    if text.starts_with(b"urn:oid:") && !std::str::from_utf8(text).is_ok_and(is_oid) {
        return Some("after `urn:oid:` come numbers without leading zero between dots");
    }
    if text.starts_with(b"urn:uuid:") && !is_uuid(text) {
        return Some("after `urn:uuid:` come 8-4-4-4-12 hexadecimal digits");
    }
    None
}

/// `urn:oid:[0-2](\.(0|[1-9][0-9]*))+`
pub(crate) fn is_oid(text: &str) -> bool {
    let Some(oid) = text.strip_prefix("urn:oid:") else { return false };
    let mut arcs = oid.split('.');
    matches!(arcs.next(), Some("0" | "1" | "2"))
        && oid.contains('.')
        && arcs.all(|arc| {
            !arc.is_empty()
                && arc.bytes().all(|b| b.is_ascii_digit())
                && (arc == "0" || !arc.starts_with('0'))
        })
}

/// `urn:uuid:` and 8-4-4-4-12 hexadecimal digits. The pattern of 4.0.1 has lower case only; RFC 4122
/// section 3 reads both, and so do we.
pub(crate) fn is_uuid_urn(text: &str) -> bool {
    is_uuid(text.as_bytes())
}

fn is_uuid(text: &[u8]) -> bool {
    let Some(uuid) = text.strip_prefix(b"urn:uuid:").and_then(<[u8]>::as_array::<36>) else { return false };
    let hyphen = |at: &usize| uuid.get(*at) == Some(&b'-');
    // Hyphens at their places and nowhere else: also these two without an early end.
    let hyphens = uuid.iter().filter(|b| **b == b'-').count();
    let digit = |good, &b: &u8| {
        let letter = (b | 0x20).wrapping_sub(b'a') < 6;
        good & (letter | (b.wrapping_sub(b'0') < 10) | (b == b'-'))
    };
    hyphens == 4 && [8, 13, 18, 23].iter().all(hyphen) && uuid.iter().fold(true, digit)
}

#[inline]
fn is_letter_or_digit(b: u8) -> bool {
    ((b | 0x20).wrapping_sub(b'a') < 26) | (b.wrapping_sub(b'0') < 10)
}

/// Whether `text` begins with a scheme (RFC 3986 section 3.1) and a colon.
pub(crate) fn is_absolute(text: &str) -> bool {
    let bytes = text.as_bytes();
    let scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    // Schemes are short, so the colon is near.
    let colon = bytes.iter().position(|b| !scheme(b)).filter(|&at| at > 0 && at + 1 < bytes.len());
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && colon.is_some_and(|at| bytes.get(at) == Some(&b':'))
}

/// Value of exactly `count` digits, and what follows.
fn digits(bytes: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_at_checked(count)?;
    let mut value = 0;
    for &b in head {
        value = value * 10 + u32::from(b.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    Some((value, rest))
}

/// A partial date at the start: what follows, and how many parts were there.
fn partial_date(bytes: &[u8]) -> Option<(&[u8], u8)> {
    let (year, rest) = digits(bytes, 4)?;
    if year == 0 {
        return None;
    }
    let Some(rest) = rest.strip_prefix(b"-") else { return Some((rest, 1)) };
    let (month, rest) = digits(rest, 2)?;
    if !(1..=12).contains(&month) {
        return None;
    }
    let Some(rest) = rest.strip_prefix(b"-") else { return Some((rest, 2)) };
    let (day, rest) = digits(rest, 2)?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let most = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    (1..=most).contains(&day).then_some((rest, 3))
}

/// `hh:mm:ss` with an optional fraction: what follows.
fn time(bytes: &[u8]) -> Option<&[u8]> {
    let (hour, rest) = digits(bytes, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(b":")?, 2)?;
    // 60 is a leap second
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
    let len = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 { None } else { fraction.get(len..) }
}

/// `Z` or `±hh:mm` up to 14:00, to the end.
fn is_zone(bytes: &[u8]) -> bool {
    if bytes == b"Z" {
        return true;
    }
    let read = || {
        let rest = bytes.strip_prefix(b"+").or_else(|| bytes.strip_prefix(b"-"))?;
        let (hour, rest) = digits(rest, 2)?;
        let (minute, rest) = digits(rest.strip_prefix(b":")?, 2)?;
        let within = (hour < 14 && minute < 60) || (hour == 14 && minute == 0);
        Some(within && rest.is_empty())
    };
    read().unwrap_or(false)
}

fn date(bytes: &[u8]) -> Option<&'static str> {
    match partial_date(bytes) {
        Some(([], _)) => None,
        _ => Some("a date is written `YYYY`, `YYYY-MM` or `YYYY-MM-DD` and exists in the calendar"),
    }
}

fn date_time(bytes: &[u8]) -> Option<&'static str> {
    const FORM: &str = "a dateTime is written `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or \
        `YYYY-MM-DDThh:mm:ss+zz:zz` and exists in the calendar";
    match partial_date(bytes) {
        Some(([], _)) => None,
        Some((rest, 3)) => match rest.strip_prefix(b"T").and_then(time) {
            Some([]) => Some("a dateTime with a time needs a time zone: add `Z` or `+hh:mm`"),
            Some(zone) if is_zone(zone) => None,
            _ => Some(FORM),
        },
        _ => Some(FORM),
    }
}

fn instant(bytes: &[u8]) -> Option<&'static str> {
    match partial_date(bytes) {
        Some((rest, 3)) if rest.strip_prefix(b"T").and_then(time).is_some_and(is_zone) => None,
        _ => Some("an instant is written `YYYY-MM-DDThh:mm:ss.sss+zz:zz`, with date, time and zone"),
    }
}

fn base64(bytes: &[u8]) -> Option<&'static str> {
    // The usual form, without blanks: looked at in one go, because it may be long.
    let unpadded = bytes.strip_suffix(b"=").map_or(bytes, |one| one.strip_suffix(b"=").unwrap_or(one));
    if bytes.len().is_multiple_of(4) && unpadded.iter().fold(true, |good, &b| good & is_base64(b)) {
        return None;
    }
    let mut count = 0usize;
    let mut padding = 0usize;
    for &b in bytes {
        match b {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'=' => padding += 1,
            _ if padding == 0 && is_base64(b) => {}
            _ => return Some("this is no base64: it uses A-Z, a-z, 0-9, `+`, `/` and `=` at its end"),
        }
        count += 1;
    }
    if padding > 2 || !count.is_multiple_of(4) {
        return Some("this base64 is cut short or wrongly padded; its length is a multiple of four");
    }
    None
}

/// Without branches, so that many bytes are looked at at once.
#[inline]
fn is_base64(b: u8) -> bool {
    is_letter_or_digit(b) | (b == b'+') | (b == b'/')
}

/// Decoded length of base64 that has passed [`fault`].
pub(crate) fn base64_len(text: &str) -> u64 {
    let mut count = 0u64;
    let mut padding = 0u64;
    for b in text.bytes() {
        match b {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'=' => padding += 1,
            _ => {}
        }
        count += 1;
    }
    (count / 4 * 3).saturating_sub(padding)
}
