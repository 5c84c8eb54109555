//! The one pass over the input: an explicit stack, no recursion.

use super::key::{hash, hash_at, same};
use super::{
    FLAG_ESCAPED, FLAG_KEY_ESCAPED, FLAG_PLAIN, Kind, Limits, NO_KEY, Node, ParseError, ParseErrorKind, scan,
    unescape,
};

/// Objects with more members than this are checked for duplicate keys by sorting when they close;
/// smaller ones by a 64-bit filter and, on a hit, by comparing with the earlier keys.
const FILTERED_MEMBERS: u32 = 64;

struct Frame {
    node: u32,
    object: bool,
    members: u32,
    filter: u64,
}

#[derive(Clone, Copy)]
struct Key {
    start: u32,
    len: u16,
    /// [`FLAG_KEY_ESCAPED`] or nothing.
    flags: u8,
    hash: u32,
}

const NO_KEY_YET: Key = Key { start: NO_KEY, len: 0, flags: 0, hash: 0 };

/// A first guess of the bytes per value, for the size of the node vector. Pretty-printed records have 40 and
/// more; where there are less the vector grows.
const BYTES_PER_NODE: usize = 40;

struct Parser<'a> {
    input: &'a [u8],
    text: &'a str,
    at: usize,
    max_depth: usize,
    max_nodes: usize,
    nodes: Vec<Node>,
    stack: Vec<Frame>,
    error: (ParseErrorKind, usize),
}

/// What was wrong stands in the parser, so that results fit into registers.
struct Failed;

type Step<T> = Result<T, Failed>;

pub(super) fn parse<'a>(
    input: &'a [u8],
    limits: &Limits,
    mut nodes: Vec<Node>,
) -> Result<(&'a str, Vec<Node>), ParseError> {
    // Offsets are u32 and `u32::MAX` means "no key".
    let most = limits.bytes.min(u32::MAX as usize - 1);
    if input.len() > most {
        return Err(ParseError::new(ParseErrorKind::TooLarge(most), input, 0));
    }
    let text = std::str::from_utf8(input)
        .map_err(|e| ParseError::new(ParseErrorKind::NotUtf8, input, e.valid_up_to()))?;
    nodes.clear();
    let max_nodes = limits.nodes.min(NO_KEY as usize);
    nodes.reserve((input.len() / BYTES_PER_NODE).min(max_nodes));
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let stack = Vec::with_capacity(32);
    let mut parser = Parser {
        input,
        text,
        at,
        max_depth: limits.depth,
        max_nodes,
        nodes,
        stack,
        error: (ParseErrorKind::Empty, 0),
    };
    match parser.run() {
        Ok(()) => Ok((text, parser.nodes)),
        Err(Failed) => Err(ParseError::new(parser.error.0, input, parser.error.1)),
    }
}

impl Parser<'_> {
    #[cold]
    fn fail<T>(&mut self, kind: ParseErrorKind, at: usize) -> Step<T> {
        self.error = (kind, at);
        Err(Failed)
    }

    fn run(&mut self) -> Step<()> {
        self.blanks();
        if self.at >= self.input.len() {
            return self.fail(ParseErrorKind::Empty, self.at);
        }
        // Whether the next value is a member, and stands after a key.
        let mut object = false;
        loop {
            let key = if object { self.key()? } else { NO_KEY_YET };
            let opened = self.value(key)?;
            if opened {
                self.blanks();
                object = self.stack.last().is_some_and(|f| f.object);
                let closing = if object { b'}' } else { b']' };
                if self.peek() != Some(closing) {
                    continue;
                }
                self.close()?;
            }
            // After a value: leave every container that ends here, then go on with the next value.
            loop {
                self.blanks();
                let Some(frame) = self.stack.last() else {
                    return if self.at < self.input.len() {
                        self.unexpected(ParseErrorKind::TrailingData)
                    } else {
                        Ok(())
                    };
                };
                object = frame.object;
                match self.peek() {
                    Some(b',') => {
                        let comma = self.at;
                        self.at += 1;
                        self.blanks();
                        if matches!(self.peek(), Some(b'}' | b']')) {
                            return self.fail(ParseErrorKind::TrailingComma, comma);
                        }
                        break;
                    }
                    Some(b'}') if object => self.close()?,
                    Some(b']') if !object => self.close()?,
                    None => return self.fail(ParseErrorKind::UnexpectedEnd, self.at),
                    Some(_) => {
                        let expected = if object { "`,` or `}`" } else { "`,` or `]`" };
                        return self.unexpected(ParseErrorKind::Expected(expected));
                    }
                }
            }
        }
    }

    /// One value, or the opening of a container (`true`).
    #[inline(always)]
    fn value(&mut self, key: Key) -> Step<bool> {
        self.blanks();
        let start = self.at;
        let (kind, flags) = match self.peek() {
            Some(b'"') => (Kind::String, self.string()?),
            Some(b'{') => (Kind::Object, 0),
            Some(b'[') => (Kind::Array, 0),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                (Kind::Number, 0)
            }
            Some(b't') => (self.word(b"true", Kind::True)?, 0),
            Some(b'f') => (self.word(b"false", Kind::False)?, 0),
            Some(b'n') => (self.word(b"null", Kind::Null)?, 0),
            None => return self.fail(ParseErrorKind::UnexpectedEnd, start),
            Some(b'+' | b'.') => return self.fail(ParseErrorKind::BadNumber, start),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'\'') => {
                return self.fail(ParseErrorKind::BadLiteral, start);
            }
            Some(_) => return self.unexpected(ParseErrorKind::Expected("a value")),
        };
        if self.nodes.len() >= self.max_nodes {
            return self.fail(ParseErrorKind::TooManyNodes(self.max_nodes), start);
        }
        let index = offset(self.nodes.len());
        self.nodes.push(Node {
            kind,
            flags: flags | key.flags,
            key_len: key.len,
            key_hash: key.hash,
            key: key.start,
            start: offset(start),
            end: offset(self.at),
            next: index + 1,
        });
        if kind.is_scalar() {
            return Ok(false);
        }
        if self.stack.len() >= self.max_depth {
            return self.fail(ParseErrorKind::TooDeep(self.max_depth), start);
        }
        self.at += 1;
        self.stack.push(Frame { node: index, object: kind == Kind::Object, members: 0, filter: 0 });
        Ok(true)
    }

    /// A property name and its colon. The cursor stands at the first non-blank.
    #[inline(always)]
    fn key(&mut self) -> Step<Key> {
        let quote = self.at;
        match self.peek() {
            Some(b'"') => {}
            None => return self.fail(ParseErrorKind::UnexpectedEnd, quote),
            Some(_) => {
                return self.unexpected(ParseErrorKind::Expected("a property name in double quotes"));
            }
        }
        let flags = self.string()?;
        let start = quote + 1;
        let Ok(len) = u16::try_from(self.at - 1 - start) else {
            return self.fail(ParseErrorKind::KeyTooLong, quote);
        };
        let raw = self.input.get(start..self.at - 1).unwrap_or_default();
        let escaped = flags & FLAG_ESCAPED != 0;
        let hash =
            if escaped { self.decoded_hash(offset(start), len) } else { hash_at(self.input, start, raw) };
        let flags = if escaped { FLAG_KEY_ESCAPED } else { 0 };
        let key = Key { start: offset(start), len, flags, hash };
        self.note_key(key)?;
        self.blanks();
        match self.peek() {
            Some(b':') => self.at += 1,
            None => return self.fail(ParseErrorKind::UnexpectedEnd, self.at),
            Some(_) => return self.fail(ParseErrorKind::Expected("`:`"), self.at),
        }
        Ok(key)
    }

    fn raw_key(&self, start: u32, len: u16) -> &str {
        let start = start as usize;
        self.text.get(start..start + usize::from(len)).unwrap_or_default()
    }

    #[cold]
    fn decoded_hash(&self, start: u32, len: u16) -> u32 {
        hash(unescape(self.raw_key(start, len)).as_bytes())
    }

    #[inline]
    fn note_key(&mut self, key: Key) -> Step<()> {
        let Some(frame) = self.stack.last_mut() else { return Ok(()) };
        // Six bits of the hash name a bit of the filter.
        let bit = 1u64 << (key.hash >> 26);
        let suspect = frame.members < FILTERED_MEMBERS && frame.filter & bit != 0;
        frame.filter |= bit;
        frame.members += 1;
        let object = frame.node;
        if suspect { self.compare_keys(object, key) } else { Ok(()) }
    }

    /// Whether an earlier member of `object` has this key: keys of one name have one hash.
    fn compare_keys(&mut self, object: u32, key: Key) -> Step<()> {
        let mut at = object as usize + 1;
        while let Some(node) = self.nodes.get(at) {
            if node.key_hash == key.hash && self.same_key(node, key) {
                return self.fail(ParseErrorKind::DuplicateKey, key.start as usize - 1);
            }
            at = node.next as usize;
        }
        Ok(())
    }

    fn same_key(&self, node: &Node, key: Key) -> bool {
        let (a, b) = (self.raw_key(node.key, node.key_len), self.raw_key(key.start, key.len));
        if (node.flags | key.flags) & FLAG_KEY_ESCAPED == 0 {
            return same(a.as_bytes(), b.as_bytes());
        }
        unescape(a) == unescape(b)
    }

    fn close(&mut self) -> Step<()> {
        self.at += 1;
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let next = offset(self.nodes.len());
        let end = offset(self.at);
        if let Some(node) = self.nodes.get_mut(frame.node as usize) {
            node.end = end;
            node.next = next;
        }
        if frame.members > FILTERED_MEMBERS {
            return self.sorted_duplicates(frame.node);
        }
        Ok(())
    }

    /// O(n log n) duplicate check of a large object.
    fn sorted_duplicates(&mut self, object: u32) -> Step<()> {
        let mut keys = Vec::new();
        let mut at = object as usize + 1;
        while let Some(node) = self.nodes.get(at) {
            keys.push((unescape(self.raw_key(node.key, node.key_len)), node.key));
            at = node.next as usize;
        }
        keys.sort_unstable();
        let first = keys.iter().zip(keys.iter().skip(1)).filter(|(a, b)| a.0 == b.0).map(|(_, b)| b.1).min();
        match first {
            Some(at) => self.fail(ParseErrorKind::DuplicateKey, (at as usize).saturating_sub(1)),
            None => Ok(()),
        }
    }

    /// A string from its opening quote; [`FLAG_ESCAPED`] and [`FLAG_PLAIN`] as they apply.
    #[inline(always)]
    fn string(&mut self) -> Step<u8> {
        let quote = self.at;
        self.at += 1;
        let Some(flags) = self.short_string() else { return self.long_string(quote) };
        Ok(flags)
    }

    /// A string that ends in its first block without escapes: most keys and many values.
    #[inline(always)]
    fn short_string(&mut self) -> Option<u8> {
        let block = self.input.get(self.at..)?.first_chunk()?;
        let (stop, odd) = scan::block(block);
        if block.get(stop) != Some(&b'"') {
            return None;
        }
        self.at += stop + 1;
        Some(if odd < stop { 0 } else { FLAG_PLAIN })
    }

    /// As [`Parser::string`], of any string, just after its opening quote.
    fn long_string(&mut self, quote: usize) -> Step<u8> {
        let mut flags = FLAG_PLAIN;
        loop {
            let (len, plain) = scan::text(self.input.get(self.at..).unwrap_or_default());
            self.at += len;
            if !plain {
                flags &= !FLAG_PLAIN;
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(flags);
                }
                Some(b'\\') => {
                    flags = FLAG_ESCAPED;
                    self.escape()?;
                }
                Some(_) => return self.fail(ParseErrorKind::ControlCharacter, self.at),
                None => return self.fail(ParseErrorKind::UnexpectedEnd, quote),
            }
        }
    }

    fn escape(&mut self) -> Step<()> {
        let slash = self.at;
        match self.input.get(slash + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.hex4(slash + 2)?;
                self.at += 6;
                match unit {
                    0xDC00..=0xDFFF => return self.fail(ParseErrorKind::LoneSurrogate, slash),
                    0xD800..=0xDBFF => {
                        let pair = self.input.get(slash + 6..slash + 8) == Some(b"\\u");
                        if !pair || !(0xDC00..=0xDFFF).contains(&self.hex4(slash + 8)?) {
                            return self.fail(ParseErrorKind::LoneSurrogate, slash);
                        }
                        self.at += 6;
                    }
                    _ => {}
                }
            }
            Some(_) => return self.fail(ParseErrorKind::BadEscape, slash),
            None => return self.fail(ParseErrorKind::UnexpectedEnd, slash),
        }
        Ok(())
    }

    fn hex4(&mut self, at: usize) -> Step<u32> {
        let Some(digits) = self.input.get(at..at + 4) else {
            return self.fail(ParseErrorKind::UnexpectedEnd, at);
        };
        let mut unit = 0;
        for &b in digits {
            let digit = char::from(b).to_digit(16);
            let Some(digit) = digit else { return self.fail(ParseErrorKind::BadEscape, at - 2) };
            unit = unit * 16 + digit;
        }
        Ok(unit)
    }

    /// RFC 8259 section 6: `-? (0 | [1-9][0-9]*) (\. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
    fn number(&mut self) -> Step<()> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return self.fail(ParseErrorKind::BadNumber, start);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.fail(ParseErrorKind::BadNumber, start);
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.fail(ParseErrorKind::BadNumber, start);
            }
        }
        match self.peek() {
            None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            Some(_) => self.fail(ParseErrorKind::BadNumber, start),
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Step<Kind> {
        let end = self.at + word.len();
        let boundary = !self.input.get(end).is_some_and(u8::is_ascii_alphanumeric);
        if self.input.get(self.at..end) == Some(word) && boundary {
            self.at = end;
            return Ok(kind);
        }
        let rest = self.input.get(self.at..).unwrap_or_default();
        if rest.len() < word.len() && word.starts_with(rest) {
            return self.fail(ParseErrorKind::UnexpectedEnd, self.at);
        }
        self.fail(ParseErrorKind::BadLiteral, self.at)
    }

    /// Something else was needed here. A stray slash is most likely a comment, which JSON has not.
    #[cold]
    fn unexpected<T>(&mut self, otherwise: ParseErrorKind) -> Step<T> {
        let next = self.input.get(self.at + 1);
        let comment = self.peek() == Some(b'/') && matches!(next, Some(b'/' | b'*'));
        self.fail(if comment { ParseErrorKind::Comment } else { otherwise }, self.at)
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    #[inline]
    fn blanks(&mut self) {
        // Most often there is none, or the one after a colon.
        if self.peek().is_none_or(|b| b > b' ') {
            return;
        }
        if matches!(self.peek(), Some(b' ' | b'\n')) {
            self.at += 1;
            if self.peek().is_none_or(|b| b > b' ') {
                return;
            }
            // Indentation.
            self.at += scan::spaces(self.input.get(self.at..).unwrap_or_default());
            if self.peek().is_none_or(|b| b > b' ') {
                return;
            }
        }
        self.at += scan::blanks(self.input.get(self.at..).unwrap_or_default());
    }
}

/// The input is at most `u32::MAX - 1` bytes long, so every offset and node index fits.
#[inline]
fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NO_KEY)
}
