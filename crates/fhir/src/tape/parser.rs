//! The one pass over the input: an explicit stack, no recursion.

use super::{
    FLAG_ESCAPED, FLAG_KEY_ESCAPED, Kind, Limits, NO_KEY, Node, ParseError, ParseErrorKind, unescape,
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

struct Key {
    start: u32,
    len: u16,
    escaped: bool,
}

const NO_KEY_YET: Key = Key { start: NO_KEY, len: 0, escaped: false };

struct Parser<'a> {
    input: &'a [u8],
    text: &'a str,
    at: usize,
    limits: Limits,
    nodes: Vec<Node>,
    stack: Vec<Frame>,
}

type Step<T> = Result<T, (ParseErrorKind, usize)>;

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
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut parser = Parser { input, text, at, limits: *limits, nodes, stack: Vec::with_capacity(32) };
    match parser.run() {
        Ok(()) => Ok((text, parser.nodes)),
        Err((kind, offset)) => Err(ParseError::new(kind, input, offset)),
    }
}

impl Parser<'_> {
    fn run(&mut self) -> Step<()> {
        self.blanks();
        if self.at >= self.input.len() {
            return Err((ParseErrorKind::Empty, self.at));
        }
        let mut key = NO_KEY_YET;
        loop {
            let opened = self.value(&key)?;
            key = NO_KEY_YET;
            if opened {
                self.blanks();
                let object = self.stack.last().is_some_and(|f| f.object);
                let closing = if object { b'}' } else { b']' };
                if self.peek() != Some(closing) {
                    if object {
                        key = self.key()?;
                    }
                    continue;
                }
                self.close()?;
            }
            // After a value: leave every container that ends here, then go on with the next value.
            loop {
                self.blanks();
                let Some(frame) = self.stack.last() else {
                    return if self.at < self.input.len() {
                        Err((self.stray(ParseErrorKind::TrailingData), self.at))
                    } else {
                        Ok(())
                    };
                };
                let object = frame.object;
                match self.peek() {
                    Some(b',') => {
                        let comma = self.at;
                        self.at += 1;
                        self.blanks();
                        if matches!(self.peek(), Some(b'}' | b']')) {
                            return Err((ParseErrorKind::TrailingComma, comma));
                        }
                        if object {
                            key = self.key()?;
                        }
                        break;
                    }
                    Some(b'}') if object => self.close()?,
                    Some(b']') if !object => self.close()?,
                    None => return Err((ParseErrorKind::UnexpectedEnd, self.at)),
                    Some(_) => {
                        let expected = if object { "`,` or `}`" } else { "`,` or `]`" };
                        return Err((self.stray(ParseErrorKind::Expected(expected)), self.at));
                    }
                }
            }
        }
    }

    /// One value, or the opening of a container (`true`).
    fn value(&mut self, key: &Key) -> Step<bool> {
        self.blanks();
        let start = self.at;
        let (kind, flags) = match self.peek() {
            Some(b'"') => {
                let escaped = self.string()?;
                (Kind::String, if escaped { FLAG_ESCAPED } else { 0 })
            }
            Some(b'{') => (Kind::Object, 0),
            Some(b'[') => (Kind::Array, 0),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                (Kind::Number, 0)
            }
            Some(b't') => (self.word(b"true", Kind::True)?, 0),
            Some(b'f') => (self.word(b"false", Kind::False)?, 0),
            Some(b'n') => (self.word(b"null", Kind::Null)?, 0),
            None => return Err((ParseErrorKind::UnexpectedEnd, start)),
            Some(b'+' | b'.') => return Err((ParseErrorKind::BadNumber, start)),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'\'') => {
                return Err((ParseErrorKind::BadLiteral, start));
            }
            Some(_) => return Err((self.stray(ParseErrorKind::Expected("a value")), start)),
        };
        if self.nodes.len() >= self.limits.nodes.min(NO_KEY as usize) {
            return Err((ParseErrorKind::TooManyNodes(self.limits.nodes), start));
        }
        let index = offset(self.nodes.len());
        self.nodes.push(Node {
            kind,
            flags: flags | if key.escaped { FLAG_KEY_ESCAPED } else { 0 },
            key_len: key.len,
            key: key.start,
            start: offset(start),
            end: offset(self.at),
            next: index + 1,
        });
        if kind.is_scalar() {
            return Ok(false);
        }
        if self.stack.len() >= self.limits.depth {
            return Err((ParseErrorKind::TooDeep(self.limits.depth), start));
        }
        self.at += 1;
        self.stack.push(Frame { node: index, object: kind == Kind::Object, members: 0, filter: 0 });
        Ok(true)
    }

    /// A property name and its colon. The cursor stands at the first non-blank.
    fn key(&mut self) -> Step<Key> {
        let quote = self.at;
        match self.peek() {
            Some(b'"') => {}
            None => return Err((ParseErrorKind::UnexpectedEnd, quote)),
            Some(_) => {
                let kind = ParseErrorKind::Expected("a property name in double quotes");
                return Err((self.stray(kind), quote));
            }
        }
        let escaped = self.string()?;
        let start = quote + 1;
        let len = u16::try_from(self.at - 1 - start).map_err(|_| (ParseErrorKind::KeyTooLong, quote))?;
        let key = Key { start: offset(start), len, escaped };
        self.note_key(&key)?;
        self.blanks();
        match self.peek() {
            Some(b':') => self.at += 1,
            None => return Err((ParseErrorKind::UnexpectedEnd, self.at)),
            Some(_) => return Err((ParseErrorKind::Expected("`:`"), self.at)),
        }
        Ok(key)
    }

    fn raw_key(&self, start: u32, len: u16) -> &str {
        let start = start as usize;
        self.text.get(start..start + usize::from(len)).unwrap_or_default()
    }

    fn note_key(&mut self, key: &Key) -> Step<()> {
        let name = unescape(self.raw_key(key.start, key.len));
        let bit = filter_bit(name.as_bytes());
        let Some(frame) = self.stack.last() else { return Ok(()) };
        let suspect = frame.members < FILTERED_MEMBERS && frame.filter & bit != 0;
        if suspect {
            let mut at = frame.node as usize + 1;
            while let Some(node) = self.nodes.get(at) {
                let plain = !key.escaped && node.flags & FLAG_KEY_ESCAPED == 0;
                if (!plain || node.key_len == key.len)
                    && unescape(self.raw_key(node.key, node.key_len)) == name
                {
                    return Err((ParseErrorKind::DuplicateKey, key.start as usize - 1));
                }
                at = node.next as usize;
            }
        }
        if let Some(frame) = self.stack.last_mut() {
            frame.filter |= bit;
            frame.members += 1;
        }
        Ok(())
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
    fn sorted_duplicates(&self, object: u32) -> Step<()> {
        let mut keys = Vec::new();
        let mut at = object as usize + 1;
        while let Some(node) = self.nodes.get(at) {
            keys.push((unescape(self.raw_key(node.key, node.key_len)), node.key));
            at = node.next as usize;
        }
        keys.sort_unstable();
        let first = keys.iter().zip(keys.iter().skip(1)).filter(|(a, b)| a.0 == b.0).map(|(_, b)| b.1).min();
        match first {
            Some(at) => Err((ParseErrorKind::DuplicateKey, (at as usize).saturating_sub(1))),
            None => Ok(()),
        }
    }

    /// A string from its opening quote; `true` if it holds an escape.
    fn string(&mut self) -> Step<bool> {
        let quote = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = self.input.get(self.at..).unwrap_or_default();
            // Most strings are short: look at a few bytes before asking for a vector search.
            let near = rest.iter().take(16).position(|&b| b == b'"' || b == b'\\');
            let len = match near {
                Some(len) => len,
                None => memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len()),
            };
            let run = rest.get(..len).unwrap_or_default();
            if run.iter().fold(false, |bad, &b| bad | (b < 0x20)) {
                let bad = run.iter().position(|&b| b < 0x20).unwrap_or(0);
                return Err((ParseErrorKind::ControlCharacter, self.at + bad));
            }
            self.at += len;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(_) => {
                    escaped = true;
                    self.escape()?;
                }
                None => return Err((ParseErrorKind::UnexpectedEnd, quote)),
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
                    0xDC00..=0xDFFF => return Err((ParseErrorKind::LoneSurrogate, slash)),
                    0xD800..=0xDBFF => {
                        let pair = self.input.get(slash + 6..slash + 8) == Some(b"\\u");
                        if !pair || !(0xDC00..=0xDFFF).contains(&self.hex4(slash + 8)?) {
                            return Err((ParseErrorKind::LoneSurrogate, slash));
                        }
                        self.at += 6;
                    }
                    _ => {}
                }
            }
            Some(_) => return Err((ParseErrorKind::BadEscape, slash)),
            None => return Err((ParseErrorKind::UnexpectedEnd, slash)),
        }
        Ok(())
    }

    fn hex4(&self, at: usize) -> Step<u32> {
        let Some(digits) = self.input.get(at..at + 4) else {
            return Err((ParseErrorKind::UnexpectedEnd, at));
        };
        let mut unit = 0;
        for &b in digits {
            let digit = char::from(b).to_digit(16);
            unit = unit * 16 + digit.ok_or((ParseErrorKind::BadEscape, at - 2))?;
        }
        Ok(unit)
    }

    /// RFC 8259 section 6: `-? (0 | [1-9][0-9]*) (\. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
    fn number(&mut self) -> Step<()> {
        let start = self.at;
        let bad = Err((ParseErrorKind::BadNumber, start));
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (zero && whole > 1) {
            return bad;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return bad;
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return bad;
            }
        }
        match self.peek() {
            None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            Some(_) => bad,
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
            return Err((ParseErrorKind::UnexpectedEnd, self.at));
        }
        Err((ParseErrorKind::BadLiteral, self.at))
    }

    /// A stray slash is most likely a comment, which JSON has not.
    fn stray(&self, otherwise: ParseErrorKind) -> ParseErrorKind {
        let next = self.input.get(self.at + 1);
        if self.peek() == Some(b'/') && matches!(next, Some(b'/' | b'*')) {
            return ParseErrorKind::Comment;
        }
        otherwise
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    #[inline]
    fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }
}

/// The input is at most `u32::MAX - 1` bytes long, so every offset and node index fits.
#[inline]
fn offset(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NO_KEY)
}

/// One bit out of 64 from length, first, middle and last byte.
#[inline]
fn filter_bit(name: &[u8]) -> u64 {
    let pick = |at: usize| u32::from(name.get(at).copied().unwrap_or(0));
    let len = name.len();
    let mix = pick(0)
        .wrapping_mul(31)
        .wrapping_add(pick(len / 2))
        .wrapping_mul(31)
        .wrapping_add(pick(len.wrapping_sub(1)))
        .wrapping_mul(31)
        .wrapping_add(len as u32);
    1 << (mix.wrapping_mul(0x9E37_79B1) >> 26)
}
