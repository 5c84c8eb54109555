//! The part of CBOR (RFC 8949) that policies need, in its core deterministic form (§4.2.1):
//! unsigned integers, text and arrays, definite lengths, shortest heads.

use crate::PolicyError;

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;

/// Appends an item's head: major type and argument in the shortest form (RFC 8949 §3).
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | bytes.last().copied().unwrap_or_default()),
        24..=0xff => {
            out.push(major | 24);
            out.extend(bytes.last_chunk::<1>().into_iter().flatten());
        }
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend(bytes.last_chunk::<2>().into_iter().flatten());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend(bytes.last_chunk::<4>().into_iter().flatten());
        }
        _ => {
            out.push(major | 27);
            out.extend(bytes);
        }
    }
}

/// Appends an unsigned integer.
pub(crate) fn unsigned(out: &mut Vec<u8>, value: u64) {
    head(out, UNSIGNED, value);
}

/// Appends a byte string.
pub(crate) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    head(out, BYTES, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a text string.
pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

/// Appends the head of an array of `length` items, which follow.
pub(crate) fn array(out: &mut Vec<u8>, length: usize) {
    head(out, ARRAY, length as u64);
}

/// Reads what the functions above write, and nothing else.
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// An error at the current byte.
    pub(crate) fn error(&self, reason: &'static str) -> PolicyError {
        PolicyError::Encoding { position: self.position, reason }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], PolicyError> {
        let end = self.position.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        let taken = taken.ok_or_else(|| self.error("ends too early"))?;
        self.position += length;
        Ok(taken)
    }

    fn head(&mut self, expected: u8) -> Result<u64, PolicyError> {
        let start = self.position;
        let first = self.take(1)?.first().copied().unwrap_or_default();
        let argument = match first & 31 {
            small @ 0..=23 => u64::from(small),
            wide @ 24..=27 => {
                let tail = self.take(1 << (wide - 24))?;
                tail.iter().fold(0u64, |value, byte| (value << 8) | u64::from(*byte))
            }
            _ => return Err(self.error("indefinite or reserved length")),
        };
        let mut shortest = Vec::with_capacity(9);
        head(&mut shortest, first >> 5, argument);
        if self.bytes.get(start..self.position) != Some(shortest.as_slice()) {
            return Err(self.error("not the shortest form"));
        }
        if first >> 5 != expected {
            return Err(self.error("unexpected type"));
        }
        Ok(argument)
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, PolicyError> {
        self.head(UNSIGNED)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, PolicyError> {
        let length = self.head(TEXT)?;
        let length = usize::try_from(length).map_err(|_| self.error("text too long"))?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("text is not UTF-8"))
    }

    /// The number of items of an array, at most `limit`.
    pub(crate) fn array(&mut self, limit: usize) -> Result<usize, PolicyError> {
        let length = self.head(ARRAY)?;
        match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(length),
            _ => Err(self.error("too many items")),
        }
    }

    pub(crate) fn end(self) -> Result<(), PolicyError> {
        if self.position == self.bytes.len() { Ok(()) } else { Err(self.error("bytes after the end")) }
    }
}
