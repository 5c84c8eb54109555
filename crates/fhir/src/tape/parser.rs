//! The one pass over the input: an explicit stack, no recursion. Where it stands and what container it is in are
//! locals, because every byte of every record passes here.

use std::num::NonZeroU64;

use super::key::{hash, hash_in, same};
use super::{
    FLAG_ESCAPED, FLAG_KEY_ESCAPED, FLAG_PLAIN, Kind, Limits, NO_KEY, Node, ParseError, ParseErrorKind, scan,
    unescape,
};

/// Objects with more members than this are checked for duplicate keys by sorting when they close;
/// smaller ones by a 64-bit filter and, on a hit, by comparing with the earlier keys.
const FILTERED_MEMBERS: u32 = 64;

/// A container that is open, in two words.
#[derive(Clone, Copy)]
struct Frame {
    /// Bits of the hashes of the keys so far.
    filter: u64,
    node: u32,
    /// Of an array 0, of an object 1 and two for each member so far.
    state: u32,
}

impl Frame {
    /// Around the root.
    const OUTSIDE: Frame = Frame { filter: 0, node: NO_KEY, state: 0 };

    #[inline(always)]
    fn is_object(&self) -> bool {
        self.state & 1 != 0
    }

    #[inline(always)]
    fn members(&self) -> u32 {
        self.state >> 1
    }
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

/// No comma stands before this value.
const NO_COMMA: usize = usize::MAX;

/// A first guess of the bytes per value, for the size of the node vector. Pretty-printed records have 40 and
/// more; where there are less the vector grows.
const BYTES_PER_NODE: usize = 40;

struct Parser<'a> {
    input: &'a [u8],
    text: &'a str,
    max_depth: usize,
    max_nodes: usize,
    nodes: Vec<Node>,
    /// The containers around the one that is a local of [`Parser::run`].
    stack: Vec<Frame>,
    error: (ParseErrorKind, usize),
}

/// What [`Scalar::what`] means, but for strings.
const SCALARS: [Kind; 4] = [Kind::Null, Kind::True, Kind::False, Kind::Number];

/// What was wrong stands in the parser, so that results fit into registers.
struct Failed;

type Step<T> = Result<T, Failed>;

/// A scalar: the offset after it, and its [`Kind`] or, of a string, [`FLAG_ESCAPED`] and [`FLAG_PLAIN`] as they apply;
/// packed, so that it fits into a register. No scalar ends at 0.
struct Scalar(NonZeroU64);

impl Scalar {
    #[inline(always)]
    fn new(end: usize, what: u8) -> Self {
        let packed = (end as u64) << 8 | u64::from(what);
        Scalar(NonZeroU64::new(packed).unwrap_or(NonZeroU64::MIN))
    }

    #[inline(always)]
    fn end(&self) -> usize {
        (self.0.get() >> 8) as usize
    }

    #[inline(always)]
    fn what(&self) -> u8 {
        self.0.get() as u8
    }
}

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
    let Ok(text) = simdutf8::basic::from_utf8(input) else {
        let at = std::str::from_utf8(input).map_or_else(|e| e.valid_up_to(), str::len);
        return Err(ParseError::new(ParseErrorKind::NotUtf8, input, at));
    };
    nodes.clear();
    let max_nodes = limits.nodes.min(NO_KEY as usize);
    nodes.reserve((input.len() / BYTES_PER_NODE).min(max_nodes));
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let stack = Vec::with_capacity(32);
    let error = (ParseErrorKind::Empty, 0);
    let mut parser = Parser { input, text, max_depth: limits.depth, max_nodes, nodes, stack, error };
    match parser.run(at) {
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

    fn run(&mut self, start: usize) -> Step<()> {
        let input = self.input;
        let mut at = blanks(input, start);
        if at >= input.len() {
            return self.fail(ParseErrorKind::Empty, at);
        }
        let mut frame = Frame::OUTSIDE;
        let mut comma = NO_COMMA;
        'values: loop {
            'value: {
                let mut key = NO_KEY_YET;
                at = indentation(input, at);
                if frame.is_object() {
                    if input.get(at) != Some(&b'"') {
                        at = blanks(input, at);
                        match input.get(at) {
                            Some(b'"') => {}
                            Some(b'}') if comma == NO_COMMA => {
                                at += 1;
                                self.close(&mut frame, at)?;
                                break 'value;
                            }
                            _ => return self.no_name(at, comma),
                        }
                    }
                    key = self.key(input, at)?;
                    at = key.start as usize + usize::from(key.len) + 1;
                    self.note_key(&mut frame, key)?;
                    if input.get(at) != Some(&b':') {
                        at = self.colon(at)?;
                    }
                    at += 1;
                    // The usual one.
                    if input.get(at) == Some(&b' ') {
                        at += 1;
                    }
                }
                if input.get(at) != Some(&b'"') && input.get(at).is_none_or(|b| *b <= b' ') {
                    at = blanks(input, at);
                }
                let start = at;
                let (kind, flags) = match input.get(at) {
                    Some(b'"') => {
                        let text = self.string(input, at)?;
                        at = text.end();
                        (Kind::String, text.what())
                    }
                    Some(b'{') => (Kind::Object, 0),
                    Some(b'[') => (Kind::Array, 0),
                    Some(b']') if comma == NO_COMMA && !frame.is_object() && !self.stack.is_empty() => {
                        at += 1;
                        self.close(&mut frame, at)?;
                        break 'value;
                    }
                    _ => {
                        let scalar = self.scalar(at, if frame.is_object() { NO_COMMA } else { comma })?;
                        at = scalar.end();
                        (SCALARS.get(usize::from(scalar.what())).copied().unwrap_or(Kind::Null), 0)
                    }
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
                    end: offset(at),
                    next: index + 1,
                });
                if !kind.is_scalar() {
                    if self.stack.len() >= self.max_depth {
                        return self.fail(ParseErrorKind::TooDeep(self.max_depth), start);
                    }
                    self.stack.push(frame);
                    frame = Frame { filter: 0, node: index, state: u32::from(kind == Kind::Object) };
                    at += 1;
                    comma = NO_COMMA;
                    continue 'values;
                }
            }
            // After a value: leave every container that ends here, then go on with the next value.
            loop {
                if input.get(at) != Some(&b',') {
                    at = indentation(input, at);
                    if input.get(at).is_none_or(|b| *b <= b' ') {
                        at = blanks(input, at);
                    }
                }
                if self.stack.is_empty() {
                    return if at < input.len() {
                        self.unexpected(ParseErrorKind::TrailingData, at)
                    } else {
                        Ok(())
                    };
                }
                let closing = if frame.is_object() { b'}' } else { b']' };
                match input.get(at) {
                    Some(b',') => {
                        comma = at;
                        at += 1;
                        continue 'values;
                    }
                    Some(b) if *b == closing => {}
                    _ => return self.no_end(&frame, at),
                }
                at += 1;
                self.close(&mut frame, at)?;
            }
        }
    }

    /// The colon after a name, somewhere behind blanks.
    #[inline(never)]
    fn colon(&mut self, at: usize) -> Step<usize> {
        let at = blanks(self.input, at);
        match self.input.get(at) {
            Some(b':') => Ok(at),
            None => self.fail(ParseErrorKind::UnexpectedEnd, at),
            Some(_) => self.fail(ParseErrorKind::Expected("`:`"), at),
        }
    }

    /// Neither a comma nor the end of `frame` stands after a value.
    #[cold]
    fn no_end(&mut self, frame: &Frame, at: usize) -> Step<()> {
        if at >= self.input.len() {
            return self.fail(ParseErrorKind::UnexpectedEnd, at);
        }
        let expected = if frame.is_object() { "`,` or `}`" } else { "`,` or `]`" };
        self.unexpected(ParseErrorKind::Expected(expected), at)
    }

    /// No property name stands where one is needed.
    #[cold]
    fn no_name(&mut self, at: usize, comma: usize) -> Step<()> {
        match self.input.get(at) {
            None => self.fail(ParseErrorKind::UnexpectedEnd, at),
            Some(b'}' | b']') if comma != NO_COMMA => self.fail(ParseErrorKind::TrailingComma, comma),
            Some(_) => self.unexpected(ParseErrorKind::Expected("a property name in double quotes"), at),
        }
    }

    /// A number or a word. `comma`: that before this item of an array.
    #[inline(never)]
    fn scalar(&mut self, at: usize, comma: usize) -> Step<Scalar> {
        let (kind, end) = match self.input.get(at) {
            Some(b'-' | b'0'..=b'9') => (Kind::Number, self.number(at)?),
            Some(b't') => (Kind::True, self.word(at, b"true")?),
            Some(b'f') => (Kind::False, self.word(at, b"false")?),
            Some(b'n') => (Kind::Null, self.word(at, b"null")?),
            None => return self.fail(ParseErrorKind::UnexpectedEnd, at),
            Some(b'}' | b']') if comma != NO_COMMA => return self.fail(ParseErrorKind::TrailingComma, comma),
            Some(b'+' | b'.') => return self.fail(ParseErrorKind::BadNumber, at),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'\'') => return self.fail(ParseErrorKind::BadLiteral, at),
            Some(_) => return self.unexpected(ParseErrorKind::Expected("a value"), at),
        };
        let what = SCALARS.iter().position(|known| *known == kind).unwrap_or_default();
        Ok(Scalar::new(end, what as u8))
    }

    /// A property name from its opening quote.
    #[inline(always)]
    fn key(&mut self, input: &[u8], quote: usize) -> Step<Key> {
        let start = quote + 1;
        if let Some(block) = input.get(start..).and_then(<[u8]>::first_chunk) {
            let len = scan::name(block);
            if block.get(len) == Some(&b'"') {
                return Ok(Key {
                    start: offset(start),
                    len: len as u16,
                    flags: 0,
                    hash: hash_in(block, len),
                });
            }
        }
        self.long_key(quote)
    }

    /// As [`Parser::key`], of any name.
    #[inline(never)]
    fn long_key(&mut self, quote: usize) -> Step<Key> {
        let text = self.long_string(quote, quote + 1, FLAG_PLAIN)?;
        let start = quote + 1;
        let Ok(len) = u16::try_from(text.end() - 1 - start) else {
            return self.fail(ParseErrorKind::KeyTooLong, quote);
        };
        let start = offset(start);
        let raw = self.raw_key(start, len);
        Ok(if text.what() & FLAG_ESCAPED == 0 {
            Key { start, len, flags: 0, hash: hash(raw.as_bytes()) }
        } else {
            Key { start, len, flags: FLAG_KEY_ESCAPED, hash: hash(unescape(raw).as_bytes()) }
        })
    }

    fn raw_key(&self, start: u32, len: u16) -> &str {
        let start = start as usize;
        self.text.get(start..start + usize::from(len)).unwrap_or_default()
    }

    #[inline(always)]
    fn note_key(&mut self, frame: &mut Frame, key: Key) -> Step<()> {
        // Six bits of the hash name a bit of the filter.
        let bit = 1u64 << (key.hash >> 26);
        let suspect = frame.filter & bit != 0 && frame.members() < FILTERED_MEMBERS;
        frame.filter |= bit;
        frame.state += 2;
        if suspect { self.compare_keys(frame.node, key) } else { Ok(()) }
    }

    /// Whether an earlier member of `object` has this key: keys of one name have one hash.
    #[inline(never)]
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

    /// Closes `frame` just before `end` and goes on in the container around it.
    #[inline(always)]
    fn close(&mut self, frame: &mut Frame, end: usize) -> Step<()> {
        let next = offset(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(frame.node as usize) {
            node.end = offset(end);
            node.next = next;
        }
        if frame.members() > FILTERED_MEMBERS {
            self.sorted_duplicates(frame.node)?;
        }
        *frame = self.stack.pop().unwrap_or(Frame::OUTSIDE);
        Ok(())
    }

    /// O(n log n) duplicate check of a large object.
    #[cold]
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

    /// A string from its opening quote.
    #[inline(always)]
    fn string(&mut self, input: &[u8], quote: usize) -> Step<Scalar> {
        let start = quote + 1;
        let Some(block) = input.get(start..).and_then(<[u8]>::first_chunk) else {
            return self.long_string(quote, start, FLAG_PLAIN);
        };
        // Many values end in their first block, without escapes.
        let (stop, odd) = scan::block(block);
        let flags = if odd < stop { 0 } else { FLAG_PLAIN };
        match block.get(stop) {
            Some(b'"') => Ok(Scalar::new(start + stop + 1, flags)),
            Some(_) => self.long_string(quote, start, FLAG_PLAIN),
            None => self.long_string(quote, start + scan::BYTES, flags),
        }
    }

    /// As [`Parser::string`], of any string, from `at` on: what stands before it has these flags.
    #[inline(never)]
    fn long_string(&mut self, quote: usize, mut at: usize, mut flags: u8) -> Step<Scalar> {
        let input = self.input;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let (stop, odd) = match rest.first_chunk() {
                Some(block) => scan::block(block),
                None => scan::tail(rest),
            };
            if odd < stop {
                flags &= !FLAG_PLAIN;
            }
            match rest.get(stop) {
                _ if stop == scan::BYTES => at += scan::BYTES,
                Some(b'"') => return Ok(Scalar::new(at + stop + 1, flags)),
                Some(b'\\') => {
                    flags = FLAG_ESCAPED;
                    at = self.escape(at + stop)?;
                }
                Some(_) => return self.fail(ParseErrorKind::ControlCharacter, at + stop),
                None => return self.fail(ParseErrorKind::UnexpectedEnd, quote),
            }
        }
    }

    /// What stands after the escape at `slash`.
    fn escape(&mut self, slash: usize) -> Step<usize> {
        match self.input.get(slash + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(slash + 2),
            Some(b'u') => match self.hex4(slash + 2)? {
                0xDC00..=0xDFFF => self.fail(ParseErrorKind::LoneSurrogate, slash),
                0xD800..=0xDBFF => {
                    let pair = self.input.get(slash + 6..slash + 8) == Some(b"\\u");
                    if !pair || !(0xDC00..=0xDFFF).contains(&self.hex4(slash + 8)?) {
                        return self.fail(ParseErrorKind::LoneSurrogate, slash);
                    }
                    Ok(slash + 12)
                }
                _ => Ok(slash + 6),
            },
            Some(_) => self.fail(ParseErrorKind::BadEscape, slash),
            None => self.fail(ParseErrorKind::UnexpectedEnd, slash),
        }
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

    /// RFC 8259 section 6: `-? (0 | [1-9][0-9]*) (\. [0-9]+)? ([eE] [+-]? [0-9]+)?`. What stands after it.
    fn number(&mut self, start: usize) -> Step<usize> {
        let input = self.input;
        let digits = |from: usize| {
            let rest = input.get(from..).unwrap_or_default();
            from + rest.iter().take_while(|b| b.is_ascii_digit()).count()
        };
        let whole = start + usize::from(input.get(start) == Some(&b'-'));
        let mut at = digits(whole);
        if at == whole || (input.get(whole) == Some(&b'0') && at > whole + 1) {
            return self.fail(ParseErrorKind::BadNumber, start);
        }
        if input.get(at) == Some(&b'.') {
            let fraction = at + 1;
            at = digits(fraction);
            if at == fraction {
                return self.fail(ParseErrorKind::BadNumber, start);
            }
        }
        if matches!(input.get(at), Some(b'e' | b'E')) {
            let sign = matches!(input.get(at + 1), Some(b'+' | b'-'));
            let exponent = at + 1 + usize::from(sign);
            at = digits(exponent);
            if at == exponent {
                return self.fail(ParseErrorKind::BadNumber, start);
            }
        }
        match input.get(at) {
            None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') => Ok(at),
            Some(_) => self.fail(ParseErrorKind::BadNumber, start),
        }
    }

    fn word(&mut self, at: usize, word: &[u8]) -> Step<usize> {
        let end = at + word.len();
        let boundary = !self.input.get(end).is_some_and(u8::is_ascii_alphanumeric);
        if self.input.get(at..end) == Some(word) && boundary {
            return Ok(end);
        }
        let rest = self.input.get(at..).unwrap_or_default();
        if rest.len() < word.len() && word.starts_with(rest) {
            return self.fail(ParseErrorKind::UnexpectedEnd, at);
        }
        self.fail(ParseErrorKind::BadLiteral, at)
    }

    /// Something else was needed here. A stray slash is most likely a comment, which JSON has not.
    #[cold]
    fn unexpected<T>(&mut self, otherwise: ParseErrorKind, at: usize) -> Step<T> {
        let next = self.input.get(at + 1);
        let comment = self.input.get(at) == Some(&b'/') && matches!(next, Some(b'/' | b'*'));
        self.fail(if comment { ParseErrorKind::Comment } else { otherwise }, at)
    }
}

/// Where the blanks from `at` on end.
#[inline(never)]
fn blanks(input: &[u8], at: usize) -> usize {
    at + scan::blanks(input.get(at..).unwrap_or_default())
}

/// After the line feed at `at`, if there is one, and the spaces of the next line: the usual blanks of pretty-printed
/// records, but perhaps not all blanks.
#[inline(always)]
fn indentation(input: &[u8], mut at: usize) -> usize {
    if input.get(at) != Some(&b'\n') {
        return at;
    }
    at += 1;
    while let Some(block) = input.get(at..).and_then(<[u8]>::first_chunk) {
        let spaces = scan::spaces(block);
        at += spaces;
        if spaces < scan::WIDE {
            break;
        }
    }
    at
}

/// The input is at most `u32::MAX - 1` bytes long, so every offset and node index fits.
#[inline(always)]
fn offset(n: usize) -> u32 {
    n as u32
}
