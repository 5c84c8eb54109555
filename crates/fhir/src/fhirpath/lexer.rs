//! Tokens of FHIRPath N1 (grammar `fhirpath.g4`, "Lexical rules").

use super::error::FhirPathError;
use super::value::{Decimal, Temporal};

/// A token without its position.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'s> {
    /// IDENTIFIER, keywords included.
    Word(&'s str),
    /// DELIMITEDIDENTIFIER, decoded.
    Delimited(String),
    /// STRING, decoded.
    String(String),
    /// NUMBER without a point.
    Integer(&'s str),
    /// NUMBER with `L` behind it (FHIRPath 3.0).
    Long(&'s str),
    Decimal(Decimal),
    Temporal(Temporal),
    /// An operator or bracket.
    Symbol(&'static str),
    End,
}

// `Decimal` and `Temporal` compare by value only where the parser asks for symbols.
impl PartialEq for Temporal {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other) == Some(std::cmp::Ordering::Equal)
    }
}

/// Two-character symbols stand before their first character alone.
const SYMBOLS: [&str; 26] = [
    "!=", "!~", "<=", ">=", "$", "%", "(", ")", "[", "]", "{", "}", ".", ",", "|", "&", "+", "-", "*", "/",
    "<", ">", "=", "~", ":", ";",
];

pub(super) struct Lexer<'s> {
    text: &'s str,
    at: usize,
}

type Lexed<T> = Result<T, FhirPathError>;

impl<'s> Lexer<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Lexer { text, at: 0 }
    }

    fn rest(&self) -> &'s str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'s str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| keep(*b)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// The next token and the byte offset where it starts.
    pub(super) fn next(&mut self) -> Lexed<(Token<'s>, usize)> {
        self.blank()?;
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.bytes().next() else {
            return Ok((Token::End, start));
        };
        let token = match first {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => {
                Token::Word(self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_'))
            }
            b'0'..=b'9' => self.number(start)?,
            b'\'' => Token::String(self.quoted('\'')?),
            b'`' => Token::Delimited(self.quoted('`')?),
            b'"' => Token::Delimited(self.quoted('"')?),
            b'@' => self.temporal(start)?,
            _ => match SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Token::Symbol(symbol)
                }
                None => return Err(FhirPathError::syntax("unexpected character", start)),
            },
        };
        Ok((token, start))
    }

    /// Whitespace and comments.
    fn blank(&mut self) -> Lexed<()> {
        loop {
            self.take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
            let rest = self.rest();
            if rest.starts_with("//") {
                self.take_while(|b| b != b'\n' && b != b'\r');
            } else if rest.starts_with("/*") {
                match rest.get(2..).and_then(|r| r.find("*/")) {
                    Some(end) => self.at += end + 4,
                    None => return Err(FhirPathError::syntax("comment is not closed by `*/`", self.at)),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn number(&mut self, start: usize) -> Lexed<Token<'s>> {
        let whole = self.take_while(|b| b.is_ascii_digit());
        let rest = self.rest().as_bytes();
        if rest.first() == Some(&b'.') && rest.get(1).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
            self.take_while(|b| b.is_ascii_digit());
            let text = self.text.get(start..self.at).unwrap_or_default();
            return Decimal::parse(text)
                .map(Token::Decimal)
                .ok_or_else(|| FhirPathError::syntax("decimal has too many digits", start));
        }
        if rest.first() == Some(&b'L')
            && !rest.get(1).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
        {
            self.at += 1;
            return Ok(Token::Long(whole));
        }
        Ok(Token::Integer(whole))
    }

    /// A string between `quote`s with its escapes decoded. An escape that the grammar does not know
    /// stands for the character after the backslash (FHIRPath N1 "String").
    fn quoted(&mut self, quote: char) -> Lexed<String> {
        let open = self.at;
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            if c == quote {
                self.at += i + 1;
                return Ok(out);
            }
            if c != '\\' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'f')) => out.push('\u{c}'),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 'r')) => out.push('\r'),
                Some((_, 't')) => out.push('\t'),
                Some((at, 'u')) => {
                    let rest = self.rest().get(at + 1..).unwrap_or_default();
                    match unicode(rest) {
                        Some((decoded, used)) => {
                            out.push(decoded);
                            for _ in 0..used {
                                chars.next();
                            }
                        }
                        None => out.push('u'),
                    }
                }
                Some((_, other)) => out.push(other),
                None => break,
            }
        }
        Err(FhirPathError::syntax(format!("text is not closed by `{quote}`"), open))
    }

    fn temporal(&mut self, start: usize) -> Lexed<Token<'s>> {
        self.at += 1;
        let invalid = || FhirPathError::syntax("no such date or time", start);
        let body = self.at;
        if self.rest().starts_with('T') {
            self.at += 1;
            self.clock();
            let text = self.text.get(body + 1..self.at).unwrap_or_default();
            return Temporal::parse_time(text).map(Token::Temporal).ok_or_else(invalid);
        }
        self.take_while(|b| b.is_ascii_digit());
        for _ in 0..2 {
            let rest = self.rest().as_bytes();
            if rest.first() == Some(&b'-') && rest.get(1).is_some_and(u8::is_ascii_digit) {
                self.at += 1;
                self.take_while(|b| b.is_ascii_digit());
            }
        }
        if !self.rest().starts_with('T') {
            let text = self.text.get(body..self.at).unwrap_or_default();
            return Temporal::parse_date(text).map(Token::Temporal).ok_or_else(invalid);
        }
        self.at += 1;
        let clock = self.at;
        self.clock();
        if self.at > clock {
            let rest = self.rest().as_bytes();
            match rest.first() {
                Some(b'Z') => self.at += 1,
                // A sign belongs to the literal only if an offset `hh:mm` follows.
                Some(b'+' | b'-') if rest.get(3) == Some(&b':') => {
                    self.at += 1;
                    self.take_while(|b| b.is_ascii_digit() || b == b':');
                }
                _ => {}
            }
        }
        let text = self.text.get(body..self.at).unwrap_or_default();
        Temporal::parse_date_time(text).map(Token::Temporal).ok_or_else(invalid)
    }

    /// `hh[:mm[:ss[.f+]]]`; the point counts only with a digit behind it.
    fn clock(&mut self) {
        self.take_while(|b| b.is_ascii_digit() || b == b':');
        let rest = self.rest().as_bytes();
        if rest.first() == Some(&b'.') && rest.get(1).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
            self.take_while(|b| b.is_ascii_digit());
        }
    }
}

/// Decodes what follows `\u`: four hexadecimal digits, or a surrogate pair. Returns the character
/// and how many characters were used.
fn unicode(rest: &str) -> Option<(char, usize)> {
    let hex = |text: &str| u32::from_str_radix(text, 16).ok().filter(|_| !text.starts_with('+'));
    let high = hex(rest.get(..4)?)?;
    if let Some(c) = char::from_u32(high) {
        return Some((c, 4));
    }
    let low = hex(rest.get(4..)?.strip_prefix("\\u")?.get(..4)?)?;
    if !(0xD800..0xDC00).contains(&high) || !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).map(|c| (c, 10))
}
