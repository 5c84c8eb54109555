//! Why a document was refused.

use super::Position;

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Nothing but white space.
    #[error("the document is empty; send one JSON object")]
    Empty,
    /// More bytes than [`super::Limits::bytes`].
    #[error("the document is larger than the limit of {0} bytes; send it in smaller parts")]
    TooLarge(usize),
    /// Deeper than [`super::Limits::depth`].
    #[error("objects and arrays are nested deeper than the limit of {0}")]
    TooDeep(usize),
    /// More values than [`super::Limits::nodes`].
    #[error("the document has more than {0} values; send it in smaller parts")]
    TooManyNodes(usize),
    /// A key longer than 65,535 bytes.
    #[error("a property name is longer than 65535 bytes")]
    KeyTooLong,
    /// RFC 8259 section 8.1.
    #[error("the document is not valid UTF-8; encode it as UTF-8")]
    NotUtf8,
    /// The input ends inside a value.
    #[error("the document ends in the middle of a value; send it whole")]
    UnexpectedEnd,
    /// Another character was needed here.
    #[error("expected {0} here")]
    Expected(&'static str),
    /// A comma before `}` or `]`.
    #[error("there is a comma too many here; remove it")]
    TrailingComma,
    /// `//` or `/*`.
    #[error("JSON has no comments; remove it")]
    Comment,
    /// RFC 8259 section 7: U+0000 to U+001F must be escaped.
    #[error("a string holds an unescaped control character; escape it, such as `\\n` for a line feed")]
    ControlCharacter,
    /// An escape other than `\" \\ \/ \b \f \n \r \t \uXXXX`.
    #[error(
        "a string holds an unknown escape; JSON knows `\\\"`, `\\\\`, `\\/`, `\\b`, `\\f`, `\\n`, `\\r`, `\\t`, `\\uXXXX`"
    )]
    BadEscape,
    /// `\uD800` to `\uDFFF` without its other half.
    #[error("a string holds half of a UTF-16 surrogate pair; write both halves or the character itself")]
    LoneSurrogate,
    /// RFC 8259 section 6.
    #[error("this is no JSON number; no leading zero, no plus sign, a digit on both sides of the point")]
    BadNumber,
    /// A word that is none of `true`, `false`, `null`.
    #[error("this is no JSON value; the words are `true`, `false` and `null`, all else is quoted")]
    BadLiteral,
    /// The same key twice in one object.
    #[error("this property occurs twice in the same object; keep one of them")]
    DuplicateKey,
    /// Something after the root value.
    #[error("there is text after the end of the document; send one JSON value only")]
    TrailingData,
}

/// A refusal with its place in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {kind}", .position.line, .position.column)]
pub struct ParseError {
    kind: ParseErrorKind,
    offset: usize,
    position: Position,
}

impl ParseError {
    pub(crate) fn new(kind: ParseErrorKind, input: &[u8], offset: usize) -> Self {
        let offset = offset.min(input.len());
        ParseError { kind, offset, position: Position::of(input, offset) }
    }

    /// What is wrong.
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }

    /// Byte offset into the input where the fault was seen.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Line, counted from 1.
    pub fn line(&self) -> u32 {
        self.position.line
    }

    /// Column in characters, counted from 1.
    pub fn column(&self) -> u32 {
        self.position.column
    }
}
