//! The text form of policies.
//!
//! ```text
//! policy     = and-list *( OR and-list )
//! and-list   = primary *( AND primary )
//! primary    = "(" policy ")" / number OF "(" policy *( "," policy ) ")" / attribute
//! attribute  = name [ "=" value / "[" width "]" comparison number ] "@" authority [ "#" epoch [ "." version ] ]
//! comparison = ">=" / "<=" / ">" / "<" / "="
//! ```
//! AND, OR and OF may be upper or lower case.

use crate::PolicyError;
use crate::attribute::{Attribute, AuthorityName, Term, is_epoch_char, is_name_char};
use crate::policy::{Comparator, Comparison, Node};

/// Longest text, in characters.
const MAX_TEXT: usize = 64 * 1024;
/// Deepest nesting of parentheses, before superfluous ones are removed.
const MAX_NESTING: usize = 48;

/// Reads a policy text into an unchecked tree.
pub(crate) fn policy(text: &str) -> Result<Node, PolicyError> {
    let mut parser = Parser { chars: text.chars().take(MAX_TEXT + 1).collect(), position: 0 };
    if parser.chars.len() > MAX_TEXT {
        parser.position = MAX_TEXT;
        return Err(parser.error("the policy text is too long"));
    }
    let node = parser.or_list(0)?;
    parser.space();
    match parser.peek() {
        None => Ok(node),
        Some(')') => Err(parser.error("this `)` closes nothing")),
        Some(_) => Err(parser.error("expected `AND`, `OR` or the end")),
    }
}

struct Parser {
    chars: Vec<char>,
    position: usize,
}

impl Parser {
    fn error(&self, message: &str) -> PolicyError {
        self.error_at(self.position, message)
    }

    #[expect(clippy::unused_self, reason = "all errors of the parser are made by its methods")]
    fn error_at(&self, position: usize, message: &str) -> PolicyError {
        PolicyError::Syntax { position: position + 1, message: message.to_owned() }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.position).copied()
    }

    fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        self.position += usize::from(found);
        found
    }

    fn need(&mut self, expected: char, message: &str) -> Result<(), PolicyError> {
        if self.eat(expected) { Ok(()) } else { Err(self.error(message)) }
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.position += 1;
        }
    }

    fn word(&mut self, allowed: fn(char) -> bool) -> String {
        let tail = self.chars.get(self.position..).unwrap_or_default();
        let word: String = tail.iter().copied().take_while(|c| allowed(*c)).collect();
        self.position += word.chars().count();
        word
    }

    /// Takes a keyword if it comes next, in one case.
    fn keyword(&mut self, upper: &str) -> bool {
        self.space();
        let start = self.position;
        let word = self.word(is_name_char);
        let found = word == upper || word == upper.to_ascii_lowercase();
        if !found {
            self.position = start;
        }
        found
    }

    fn or_list(&mut self, nesting: usize) -> Result<Node, PolicyError> {
        let mut children = vec![self.and_list(nesting)?];
        while self.keyword("OR") {
            children.push(self.and_list(nesting)?);
        }
        Ok(Node::Or(children))
    }

    fn and_list(&mut self, nesting: usize) -> Result<Node, PolicyError> {
        let mut children = vec![self.primary(nesting)?];
        while self.keyword("AND") {
            children.push(self.primary(nesting)?);
        }
        Ok(Node::And(children))
    }

    fn primary(&mut self, nesting: usize) -> Result<Node, PolicyError> {
        if nesting > MAX_NESTING {
            return Err(self.error("nested too deep"));
        }
        self.space();
        if self.eat('(') {
            let node = self.or_list(nesting + 1)?;
            self.space();
            self.need(')', "expected `AND`, `OR` or `)`")?;
            return Ok(node);
        }
        let start = self.position;
        let name = self.word(is_name_char);
        if name.is_empty() {
            return Err(self.error("expected an attribute, a number or `(`"));
        }
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            let after = self.position;
            if self.keyword("OF") {
                return self.threshold(start, &name, nesting);
            }
            self.position = after;
        }
        if matches!(name.as_str(), "NOT" | "not") && self.peek() != Some('@') {
            return Err(
                self.error_at(start, "there is no negation: name an attribute that states the negative")
            );
        }
        self.attribute(start, &name)
    }

    fn threshold(&mut self, start: usize, number: &str, nesting: usize) -> Result<Node, PolicyError> {
        let k = number.parse().map_err(|_| self.error_at(start, "the number is too large"))?;
        self.space();
        self.need('(', "expected `(` after `of`")?;
        let mut children = vec![self.or_list(nesting + 1)?];
        loop {
            self.space();
            if self.eat(')') {
                break;
            }
            self.need(',', "expected `,` or `)`")?;
            children.push(self.or_list(nesting + 1)?);
        }
        if k == 0 || k > children.len() {
            return Err(self.error_at(start, "k of n needs k from 1 to n"));
        }
        Ok(Node::Threshold(k, children))
    }

    fn attribute(&mut self, start: usize, name: &str) -> Result<Node, PolicyError> {
        let mut value = String::new();
        let mut comparison = None;
        if self.eat('=') {
            let at = self.position;
            value = self.word(is_name_char);
            if value.is_empty() {
                return Err(self.error_at(at, "expected a value after `=`"));
            }
        } else if self.eat('[') {
            comparison = Some(self.comparison()?);
        }
        self.need('@', "expected `@` and the authority of the attribute")?;
        let at = self.position;
        let authority = self.word(is_name_char);
        let authority = AuthorityName::new(&authority)
            .map_err(|_| self.error_at(at, "expected an authority name of 1 to 128 characters"))?;
        let (epoch, version) = self.epoch()?;
        let attribute = Attribute::new(name, &value, &epoch, version)
            .map_err(|error| self.error_at(start, &error.to_string()))?;
        Ok(match comparison {
            None => Node::Term(Term { authority, attribute }),
            Some((width, comparator, bound)) => {
                Node::Comparison(Comparison { authority, attribute, width, comparator, bound })
            }
        })
    }

    fn number(&mut self, message: &str) -> Result<u64, PolicyError> {
        let at = self.position;
        let digits = self.word(|c| c.is_ascii_digit());
        digits.parse().map_err(|_| self.error_at(at, message))
    }

    fn comparison(&mut self) -> Result<(u8, Comparator, u64), PolicyError> {
        let at = self.position;
        let width = self.number("expected the width in bits, 1 to 64")?;
        let width = u8::try_from(width)
            .ok()
            .filter(|width| (1..=64).contains(width))
            .ok_or_else(|| self.error_at(at, "the width is 1 to 64 bits"))?;
        self.need(']', "expected `]` after the width")?;
        self.space();
        let sign_at = self.position;
        let (less, greater) = (self.eat('<'), self.eat('>'));
        let equal = self.eat('=');
        self.space();
        let bound_at = self.position;
        let bound = self.number("expected a number up to 2^64-1")?;
        let none = "no number satisfies this comparison";
        let (comparator, bound) = match (less, greater, equal) {
            (false, true, true) => (Comparator::AtLeast, Some(bound)),
            (true, false, true) => (Comparator::AtMost, Some(bound)),
            (false, true, false) => (Comparator::AtLeast, bound.checked_add(1)),
            (true, false, false) => (Comparator::AtMost, bound.checked_sub(1)),
            (false, false, true) => (Comparator::Equal, Some(bound)),
            _ => return Err(self.error_at(sign_at, "expected `>=`, `<=`, `>`, `<` or `=`")),
        };
        let bound = bound.ok_or_else(|| self.error_at(bound_at, none))?;
        if u32::from(width) < u64::BITS - bound.leading_zeros() {
            return Err(self.error_at(bound_at, "the number does not fit in the width"));
        }
        Ok((width, comparator, bound))
    }

    fn epoch(&mut self) -> Result<(String, u32), PolicyError> {
        if !self.eat('#') {
            return Ok((String::new(), 0));
        }
        let at = self.position;
        let epoch = self.word(is_epoch_char);
        if epoch.is_empty() {
            return Err(self.error_at(at, "expected an epoch after `#`"));
        }
        if !self.eat('.') {
            return Ok((epoch, 0));
        }
        let at = self.position;
        let message = "expected a version number after `.`";
        let version = u32::try_from(self.number(message)?);
        let version = version.map_err(|_| self.error_at(at, "the version is too large"))?;
        Ok((epoch, version))
    }
}
