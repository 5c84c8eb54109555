//! Canonical bytes: the only encoding that is ever hashed or signed.
//!
//! Integers are big-endian and of fixed width; byte strings carry a `u32` length; lists a `u32` count;
//! options a `0`/`1` octet. There is exactly one encoding of a value, and decoding refuses anything else,
//! trailing bytes included. (Protobuf is not canonical, so it only carries these bytes.)

use thiserror::Error;

/// Longest byte string that a decoder accepts: larger things travel in chunks.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Longest list that a decoder accepts.
pub const MAX_ITEMS: usize = 1_000_000;

/// Why bytes are not a canonical encoding.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CanonError {
    #[error("the bytes end inside `{0}`")]
    Truncated(&'static str),
    #[error("`{0}` is longer than its limit")]
    TooLong(&'static str),
    #[error("`{field}` has the unknown value {value}")]
    Unknown { field: &'static str, value: u64 },
    #[error("`{0}` is not in its canonical form")]
    NotCanonical(&'static str),
    #[error("{0} bytes follow the end of the value")]
    Trailing(usize),
}

/// A value with exactly one byte encoding.
pub trait Canonical: Sized {
    /// Appends the encoding.
    fn encode(&self, out: &mut Encoder);
    /// Reads one value.
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError>;

    /// The whole encoding.
    fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        self.encode(&mut out);
        out.into_bytes()
    }

    /// Reads a value and refuses trailing bytes.
    fn from_canonical(bytes: &[u8]) -> Result<Self, CanonError> {
        let mut input = Decoder::new(bytes);
        let value = Self::decode(&mut input)?;
        input.finish()?;
        Ok(value)
    }
}

/// Writes canonical bytes.
#[derive(Debug, Clone)]
pub struct Encoder(Vec<u8>);

impl Default for Encoder {
    /// With room for most values.
    fn default() -> Self {
        Self(Vec::with_capacity(256))
    }
}

impl Encoder {
    pub fn u8(&mut self, v: u8) -> &mut Self {
        self.0.push(v);
        self
    }
    pub fn u16(&mut self, v: u16) -> &mut Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }
    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }
    /// Bytes of a length known to both sides.
    pub fn fixed(&mut self, v: &[u8]) -> &mut Self {
        self.0.extend_from_slice(v);
        self
    }
    /// A byte string with its length before it.
    pub fn bytes(&mut self, v: &[u8]) -> &mut Self {
        // Saturates for a string over 4 GiB, which every decoder then refuses as too long.
        self.u32(u32::try_from(v.len()).unwrap_or(u32::MAX));
        self.fixed(v)
    }
    pub fn str(&mut self, v: &str) -> &mut Self {
        self.bytes(v.as_bytes())
    }
    pub fn list<T: Canonical>(&mut self, items: &[T]) -> &mut Self {
        self.u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
        for item in items {
            item.encode(self);
        }
        self
    }
    pub fn option<T: Canonical>(&mut self, value: Option<&T>) -> &mut Self {
        match value {
            None => self.u8(0),
            Some(v) => {
                self.u8(1);
                v.encode(self);
                self
            }
        }
    }
    pub fn value<T: Canonical>(&mut self, value: &T) -> &mut Self {
        value.encode(self);
        self
    }
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads canonical bytes.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], CanonError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(CanonError::Truncated(field))?;
        self.rest = tail;
        Ok(head)
    }
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CanonError> {
        let bytes = self.take(N, field)?;
        bytes.try_into().map_err(|_| CanonError::Truncated(field))
    }
    pub fn u8(&mut self, field: &'static str) -> Result<u8, CanonError> {
        Ok(u8::from_be_bytes(self.array(field)?))
    }
    pub fn u16(&mut self, field: &'static str) -> Result<u16, CanonError> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }
    pub fn u32(&mut self, field: &'static str) -> Result<u32, CanonError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }
    pub fn u64(&mut self, field: &'static str) -> Result<u64, CanonError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }
    /// A byte string of at most `max` bytes.
    pub fn bytes(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], CanonError> {
        let len = self.u32(field)? as usize;
        if len > max {
            return Err(CanonError::TooLong(field));
        }
        self.take(len, field)
    }
    pub fn str(&mut self, max: usize, field: &'static str) -> Result<&'a str, CanonError> {
        std::str::from_utf8(self.bytes(max, field)?).map_err(|_| CanonError::NotCanonical(field))
    }
    /// A list of at most `max` items. Memory grows with the bytes that are there, not with the count claimed.
    pub fn list<T: Canonical>(&mut self, max: usize, field: &'static str) -> Result<Vec<T>, CanonError> {
        let count = self.u32(field)? as usize;
        if count > max {
            return Err(CanonError::TooLong(field));
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(T::decode(self)?);
        }
        Ok(items)
    }
    pub fn option<T: Canonical>(&mut self, field: &'static str) -> Result<Option<T>, CanonError> {
        match self.u8(field)? {
            0 => Ok(None),
            1 => Ok(Some(T::decode(self)?)),
            value => Err(CanonError::Unknown { field, value: u64::from(value) }),
        }
    }
    pub fn value<T: Canonical>(&mut self) -> Result<T, CanonError> {
        T::decode(self)
    }
    /// Refuses bytes that nobody read.
    pub fn finish(self) -> Result<(), CanonError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CanonError::Trailing(self.rest.len())) }
    }
}

/// Implements [`Canonical`] for a struct: its fields in the order named.
#[macro_export]
macro_rules! canonical_struct {
    ($type:ty { $($field:ident),+ $(,)? }) => {
        impl $crate::canon::Canonical for $type {
            fn encode(&self, out: &mut $crate::canon::Encoder) {
                $(out.value(&self.$field);)+
            }
            fn decode(input: &mut $crate::canon::Decoder<'_>) -> Result<Self, $crate::canon::CanonError> {
                $(let $field = input.value()?;)+
                Ok(Self { $($field),+ })
            }
        }
    };
}

macro_rules! integers {
    ($($type:ident),+) => {$(
        impl Canonical for $type {
            fn encode(&self, out: &mut Encoder) {
                out.$type(*self);
            }
            fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
                input.$type(stringify!($type))
            }
        }
    )+};
}
integers!(u16, u32, u64);

impl Canonical for String {
    fn encode(&self, out: &mut Encoder) {
        out.str(self);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        input.str(MAX_BYTES, "text").map(str::to_owned)
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn encode(&self, out: &mut Encoder) {
        out.list(self);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        input.list(MAX_ITEMS, "list")
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn encode(&self, out: &mut Encoder) {
        out.option(self.as_ref());
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        input.option("option")
    }
}

impl Canonical for Vec<u8> {
    fn encode(&self, out: &mut Encoder) {
        out.bytes(self);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        Ok(input.bytes(MAX_BYTES, "bytes")?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_encoding_and_nothing_else_decodes() {
        let mut e = Encoder::default();
        e.u16(7).str("care").list(&[b"x".to_vec()]).option::<Vec<u8>>(None);
        let bytes = e.into_bytes();
        let mut d = Decoder::new(&bytes);
        assert_eq!(d.u16("a").unwrap(), 7);
        assert_eq!(d.str(8, "b").unwrap(), "care");
        assert_eq!(d.list::<Vec<u8>>(4, "c").unwrap(), vec![b"x".to_vec()]);
        assert_eq!(d.option::<Vec<u8>>("d").unwrap(), None);
        d.finish().unwrap();
        for cut in 0..bytes.len() {
            let mut d = Decoder::new(&bytes[..cut]);
            let all = (|| {
                d.u16("a")?;
                d.str(8, "b")?;
                d.list::<Vec<u8>>(4, "c")?;
                d.option::<Vec<u8>>("d").map(|_| ())
            })();
            assert!(all.is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_claimed_count_does_not_allocate() {
        let bytes = u32::MAX.to_be_bytes();
        assert_eq!(Decoder::new(&bytes).list::<Vec<u8>>(MAX_ITEMS, "c"), Err(CanonError::TooLong("c")));
    }
}
