//! A strict, read-only JSON tape.
//!
//! [`Tape::parse`] reads the input once and writes one [`Node`] per JSON value into a flat vector,
//! in document order. Nothing is decoded or copied: a node holds byte offsets into the input, so
//! exact decimals, the order of keys and every position survive. Strings are decoded on demand.
//!
//! The grammar is RFC 8259 without leniency: no comments, no trailing commas, no unescaped control
//! characters, no lone surrogates, no duplicate keys (RFC 8259 section 4 calls their meaning
//! unpredictable; a record that two readers read differently cannot be attested). A leading UTF-8
//! byte order mark is skipped (RFC 8259 section 8.1 lets a parser ignore it).
//!
//! ```
//! use consilium_fhir::tape::{Kind, Limits, Tape};
//! let tape = Tape::parse(br#"{"resourceType":"Patient","active":true}"#, &Limits::default())?;
//! let root = tape.root();
//! assert_eq!(root.kind(), Kind::Object);
//! assert_eq!(root.get("resourceType").and_then(|n| n.as_str()).as_deref(), Some("Patient"));
//! # Ok::<(), consilium_fhir::tape::ParseError>(())
//! ```

mod cursor;
mod error;
mod key;
mod lines;
mod parser;
mod scan;
mod string;

pub use cursor::{Children, Cursor};
pub use error::{ParseError, ParseErrorKind};
pub(crate) use key::{Name, hash as key_hash, same};
pub(crate) use lines::Lines;
pub use lines::Position;
pub use string::unescape;

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// `{ … }`
    Object,
    /// `[ … ]`
    Array,
    /// `"…"`
    String,
    /// A number; its token keeps every digit as written.
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

impl Kind {
    /// Neither object nor array.
    pub fn is_scalar(self) -> bool {
        !matches!(self, Kind::Object | Kind::Array)
    }
}

/// Index of a node in its tape. Node 0 is the root; ids grow in document order, so comparing two
/// ids of one tape compares their positions in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The root value.
    pub const ROOT: NodeId = NodeId(0);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// `Node::key` of a value that has no key: an array item or the root.
pub(crate) const NO_KEY: u32 = u32::MAX;
/// The string value contains a backslash and must be decoded.
pub(crate) const FLAG_ESCAPED: u8 = 1;
/// The key contains a backslash and must be decoded.
pub(crate) const FLAG_KEY_ESCAPED: u8 = 2;

/// Every byte of the string is printable ASCII without blanks, as written: `!` to `~`, no escape.
pub(crate) const FLAG_PLAIN: u8 = 4;

/// One JSON value: 24 bytes, offsets into the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// Length of the raw key, without its quotes.
    pub(crate) key_len: u16,
    /// [`key_hash`] of the decoded key.
    pub(crate) key_hash: u32,
    /// Offset of the first byte inside the key's quotes, or [`NO_KEY`].
    pub(crate) key: u32,
    /// Offset of the token's first byte (a string's opening quote).
    pub(crate) start: u32,
    /// Offset just after the token's last byte.
    pub(crate) end: u32,
    /// Index of the node after this value and everything inside it.
    pub(crate) next: u32,
}

/// What a document may cost. Checked before the cost arises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of input. Never more than `u32::MAX - 1`, whatever is asked.
    pub bytes: usize,
    /// Nesting of objects and arrays.
    pub depth: usize,
    /// JSON values in the document.
    pub nodes: usize,
}

impl Default for Limits {
    /// 256 MiB, depth 100, 32 Mi values: a bundle of 100,000 ordinary entries passes.
    fn default() -> Self {
        Limits { bytes: 256 << 20, depth: 100, nodes: 32 << 20 }
    }
}

/// The parsed document: nodes in document order over the borrowed input.
#[derive(Clone, Debug)]
pub struct Tape<'a> {
    input: &'a str,
    nodes: Vec<Node>,
}

impl<'a> Tape<'a> {
    /// Parses one JSON document.
    ///
    /// # Errors
    /// [`ParseError`] at the first byte that breaks the grammar or a limit. The error holds the
    /// kind, the byte offset and the line and column, and never any of the input.
    pub fn parse(input: &'a [u8], limits: &Limits) -> Result<Tape<'a>, ParseError> {
        Tape::parse_into(input, limits, Vec::new())
    }

    /// As [`Tape::parse`], reusing the allocation of `nodes` (from [`Tape::into_nodes`]).
    ///
    /// # Errors
    /// As [`Tape::parse`].
    pub fn parse_into(input: &'a [u8], limits: &Limits, nodes: Vec<Node>) -> Result<Tape<'a>, ParseError> {
        let (input, nodes) = parser::parse(input, limits, nodes)?;
        Ok(Tape { input, nodes })
    }

    /// Gives the node vector back for reuse.
    pub fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    /// The whole input, byte order mark included.
    pub fn input(&self) -> &'a str {
        self.input
    }

    /// Number of values in the document, at least 1.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Always `false`: a tape holds at least its root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Cursor at the root value.
    pub fn root(&self) -> Cursor<'_, 'a> {
        Cursor::new(self, NodeId::ROOT)
    }

    /// Cursor at `id`. An id of another tape gives a cursor at an empty `null`; it never panics.
    pub fn cursor(&self, id: NodeId) -> Cursor<'_, 'a> {
        Cursor::new(self, id)
    }

    /// The nodes from the root down to `id`, both included.
    ///
    /// Costs O(depth × siblings); meant for reports, not for hot paths.
    pub fn ancestry(&self, id: NodeId) -> Vec<NodeId> {
        let mut path = Vec::new();
        let mut at = NodeId::ROOT;
        loop {
            path.push(at);
            if at == id {
                return path;
            }
            let below = self.cursor(at).children().find(|c| c.id() <= id && id.0 < c.node().next);
            match below {
                Some(c) => at = c.id(),
                None => return path,
            }
        }
    }

    /// Line and column of a byte offset, by scanning the input once.
    pub fn position(&self, offset: usize) -> Position {
        Position::of(self.input.as_bytes(), offset)
    }

    #[inline]
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        static OUTSIDE: Node = Node {
            kind: Kind::Null,
            flags: 0,
            key_len: 0,
            key_hash: 0,
            key: NO_KEY,
            start: 0,
            end: 0,
            next: 0,
        };
        self.nodes.get(id.index()).unwrap_or(&OUTSIDE)
    }
}
