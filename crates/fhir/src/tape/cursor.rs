//! Reading a tape.

use std::borrow::Cow;
use std::fmt;

use super::{
    FLAG_ESCAPED, FLAG_KEY_ESCAPED, FLAG_PLAIN, Kind, NO_KEY, Node, NodeId, Position, Tape,
    key::{Name, ends_at, same},
    unescape,
};

/// A place in a tape: three words, copied freely.
#[derive(Clone, Copy)]
pub struct Cursor<'t, 'a> {
    tape: &'t Tape<'a>,
    id: NodeId,
    node: &'t Node,
}

impl<'t, 'a> Cursor<'t, 'a> {
    #[inline]
    pub(super) fn new(tape: &'t Tape<'a>, id: NodeId) -> Self {
        Cursor { tape, id, node: tape.node(id) }
    }

    /// The tape this cursor reads.
    pub fn tape(self) -> &'t Tape<'a> {
        self.tape
    }

    /// The node's id, to come back with [`Tape::cursor`].
    #[inline]
    pub fn id(self) -> NodeId {
        self.id
    }

    /// What the value is.
    #[inline]
    pub fn kind(self) -> Kind {
        self.node.kind
    }

    #[inline]
    pub(crate) fn node(self) -> &'t Node {
        self.node
    }

    /// The key under which the value stands, decoded; `None` for array items and the root.
    pub fn key(self) -> Option<Cow<'a, str>> {
        let raw = self.raw_key()?;
        Some(if self.node.flags & FLAG_KEY_ESCAPED != 0 { unescape(raw) } else { Cow::Borrowed(raw) })
    }

    /// The key as written, without its quotes. Equal to the key unless it holds a backslash.
    pub fn raw_key(self) -> Option<&'a str> {
        if self.node.key == NO_KEY {
            return None;
        }
        let start = self.node.key as usize;
        self.tape.input.get(start..start + usize::from(self.node.key_len))
    }

    /// The key as written, as bytes; empty if there is none.
    #[inline]
    pub(crate) fn key_bytes(self) -> &'a [u8] {
        let start = self.node.key as usize;
        let end = start.saturating_add(usize::from(self.node.key_len));
        self.tape.input.as_bytes().get(start..end).unwrap_or_default()
    }

    /// The key as written, for looking it up; `key` are its bytes. An escaped key has the hash of what it stands for.
    #[inline(always)]
    pub(crate) fn name(self, key: &[u8]) -> Name {
        let ends = ends_at(self.tape.input.as_bytes(), self.node.key as usize, key);
        Name { hash: self.node.key_hash, ends }
    }

    /// The key holds an escape.
    #[inline]
    pub(crate) fn key_is_escaped(self) -> bool {
        self.node.flags & FLAG_KEY_ESCAPED != 0
    }

    /// The text is printable ASCII without blanks or escapes.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.node.flags & FLAG_PLAIN != 0
    }

    /// Byte offset of the key's opening quote, if there is a key.
    pub fn key_offset(self) -> Option<usize> {
        (self.node.key != NO_KEY).then(|| (self.node.key as usize).saturating_sub(1))
    }

    /// Byte offset of the value's first byte.
    #[inline]
    pub fn start(self) -> usize {
        self.node.start as usize
    }

    /// Byte offset just after the value's last byte.
    #[inline]
    pub fn end(self) -> usize {
        self.node.end as usize
    }

    /// The value exactly as written: a string with quotes and escapes, a number with all its
    /// digits, an object or array from bracket to bracket.
    #[inline]
    pub fn token(self) -> &'a str {
        self.tape.input.get(self.start()..self.end()).unwrap_or_default()
    }

    /// As [`Cursor::token`], as bytes.
    #[inline]
    pub(crate) fn token_bytes(self) -> &'a [u8] {
        self.tape.input.as_bytes().get(self.start()..self.end()).unwrap_or_default()
    }

    /// As [`Cursor::raw_str`], as bytes; empty if no string.
    #[inline]
    pub(crate) fn raw_bytes(self) -> &'a [u8] {
        let inside = self.start() + 1..self.end().saturating_sub(1);
        self.tape.input.as_bytes().get(inside).filter(|_| self.node.kind == Kind::String).unwrap_or_default()
    }

    /// The inside of a string as written, escapes not decoded; `None` if no string.
    #[inline]
    pub fn raw_str(self) -> Option<&'a str> {
        if self.node.kind != Kind::String {
            return None;
        }
        self.tape.input.get(self.start() + 1..self.end().saturating_sub(1))
    }

    /// The decoded string; `None` if no string. Borrows the input unless there is an escape.
    #[inline]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let raw = self.raw_str()?;
        Some(if self.node.flags & FLAG_ESCAPED != 0 { unescape(raw) } else { Cow::Borrowed(raw) })
    }

    /// The number as written; `None` if no number.
    pub fn number(self) -> Option<&'a str> {
        (self.node.kind == Kind::Number).then(|| self.token())
    }

    /// The boolean; `None` if none.
    pub fn as_bool(self) -> Option<bool> {
        match self.node.kind {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    /// The values directly inside an object or array, in document order; none for scalars.
    #[inline]
    pub fn children(self) -> Children<'t, 'a> {
        let (at, end) = if self.node.kind.is_scalar() { (0, 0) } else { (self.id.0 + 1, self.node.next) };
        Children { tape: self.tape, at, end }
    }

    /// Number of direct children. O(children).
    pub fn count(self) -> usize {
        self.children().count()
    }

    /// No value inside.
    #[inline]
    pub fn has_no_children(self) -> bool {
        self.node.next == self.id.0 + 1
    }

    /// The member of an object under `key`; `None` if absent or if this is no object. O(members).
    #[inline(always)]
    pub fn get(self, key: &str) -> Option<Cursor<'t, 'a>> {
        self.member(Name::of(key.as_bytes()), key)
    }

    fn member(self, name: Name, key: &str) -> Option<Cursor<'t, 'a>> {
        if self.node.kind != Kind::Object {
            return None;
        }
        let mut at = self.id.0 + 1;
        while at < self.node.next {
            let node = self.tape.node(NodeId(at));
            // The text of a key is far away; its hash is not.
            if node.key_hash == name.hash {
                let member = Cursor { tape: self.tape, id: NodeId(at), node };
                if member.is_named(name, key) {
                    return Some(member);
                }
            }
            at = node.next.max(at + 1);
        }
        None
    }

    #[inline]
    fn is_named(self, name: Name, key: &str) -> bool {
        if self.key_is_escaped() {
            return self.key_is(key);
        }
        let raw = self.key_bytes();
        raw.len() == key.len()
            && self.name(raw).ends == name.ends
            && (raw.len() <= 16 || raw == key.as_bytes())
            && self.node.key != NO_KEY
    }

    /// The item of an array at `index`; `None` if absent or if this is no array. O(index).
    pub fn at(self, index: usize) -> Option<Cursor<'t, 'a>> {
        if self.node.kind != Kind::Array {
            return None;
        }
        self.children().nth(index)
    }

    /// Whether the value stands under `key`.
    #[inline]
    pub fn key_is(self, key: &str) -> bool {
        if self.node.flags & FLAG_KEY_ESCAPED != 0 {
            return self.key().is_some_and(|k| k == key);
        }
        same(self.key_bytes(), key.as_bytes()) && self.node.key != NO_KEY
    }

    /// Whether this is a string equal to `text`.
    #[inline]
    pub fn str_is(self, text: &str) -> bool {
        if self.node.flags & FLAG_ESCAPED != 0 {
            return self.as_str().is_some_and(|s| s == text);
        }
        self.raw_str() == Some(text)
    }

    /// Line and column of the value's first byte. O(input).
    pub fn position(self) -> Position {
        self.tape.position(self.start())
    }
}

impl PartialEq for Cursor<'_, '_> {
    /// The same node of the same tape.
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && std::ptr::eq(self.tape, other.tape)
    }
}

impl Eq for Cursor<'_, '_> {}

impl fmt::Debug for Cursor<'_, '_> {
    /// Id and kind only: the value may be a patient's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({}, {:?})", self.id.0, self.node.kind)
    }
}

/// Iterator over the direct children of a value.
#[derive(Clone)]
pub struct Children<'t, 'a> {
    tape: &'t Tape<'a>,
    at: u32,
    end: u32,
}

impl<'t, 'a> Iterator for Children<'t, 'a> {
    type Item = Cursor<'t, 'a>;

    #[inline]
    fn next(&mut self) -> Option<Cursor<'t, 'a>> {
        if self.at >= self.end {
            return None;
        }
        let child = Cursor::new(self.tape, NodeId(self.at));
        // `next` of a node is always past the node; the maximum guards against a foreign tape.
        self.at = child.node.next.max(self.at + 1);
        Some(child)
    }
}
