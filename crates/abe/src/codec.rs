//! Length-prefixed, big-endian encodings of keys, headers and hash inputs.
//!
//! Every variable field carries its length, so no two lists of fields share their bytes.

use crate::{AbeError, SUITE};

/// Appends fields to a byte string.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// An empty byte string.
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// An object that starts with the suite id.
    pub(crate) fn with_suite() -> Self {
        Self(SUITE.to_be_bytes().to_vec())
    }

    /// A byte string with room for secrets, so that growing leaves no copies behind.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Bytes of a length both sides know.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes after their 64-bit length.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        // usize is at most 64 bits wide, so the length is never cut.
        let length = bytes.len() as u64;
        self.u64(length).fixed(bytes)
    }

    /// UTF-8 text after its 64-bit length.
    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes fields off a byte string; refuses what the [`Writer`] would not have written.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads the suite id of an object of at most `limit` bytes.
    pub(crate) fn with_suite(bytes: &'a [u8], what: &'static str, limit: usize) -> Result<Self, AbeError> {
        Self::with_mark(bytes, what, limit, SUITE)
    }

    /// The same for an encoding that has another mark in place of the suite id.
    pub(crate) fn with_mark(
        bytes: &'a [u8],
        what: &'static str,
        limit: usize,
        mark: u16,
    ) -> Result<Self, AbeError> {
        if bytes.len() > limit {
            return Err(AbeError::TooLong { what, length: bytes.len(), limit });
        }
        let mut reader = Self { rest: bytes, what };
        let suite = u16::from_be_bytes(*reader.array::<2>()?);
        if suite != mark {
            return Err(AbeError::UnknownSuite { what, suite });
        }
        Ok(reader)
    }

    pub(crate) fn malformed(&self, reason: &'static str) -> AbeError {
        AbeError::Malformed { what: self.what, reason }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], AbeError> {
        let (head, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.malformed("ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], AbeError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or_else(|| self.malformed("ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, AbeError> {
        Ok(u8::from_be_bytes(*self.array::<1>()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, AbeError> {
        Ok(u32::from_be_bytes(*self.array::<4>()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, AbeError> {
        Ok(u64::from_be_bytes(*self.array::<8>()?))
    }

    /// Bytes after their 64-bit length, at most `limit` of them.
    pub(crate) fn bytes(&mut self, limit: usize) -> Result<&'a [u8], AbeError> {
        let length = u64::from_be_bytes(*self.array::<8>()?);
        match usize::try_from(length) {
            Ok(length) if length <= limit => self.take(length),
            _ => Err(self.malformed("a field is longer than allowed")),
        }
    }

    /// UTF-8 text after its 64-bit length.
    pub(crate) fn text(&mut self, limit: usize) -> Result<&'a str, AbeError> {
        let bytes = self.bytes(limit)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a text is not UTF-8"))
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Refuses trailing bytes.
    pub(crate) fn end(self) -> Result<(), AbeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("bytes after the end")) }
    }
}
