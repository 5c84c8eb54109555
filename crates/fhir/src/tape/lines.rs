//! Lines and columns.

/// A place for people: line and column, both counted from 1; a column is one character (a tab or a
/// byte order mark is one column).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1; lines end at LF.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Position {
    /// The position of byte `offset` of `input`; an offset past the end is the end.
    pub fn of(input: &[u8], offset: usize) -> Position {
        let before = input.get(..offset).unwrap_or(input);
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let tail = before.get(line_start..).unwrap_or_default();
        Position { line: saturate(line), column: saturate(characters(tail) + 1) }
    }
}

/// Positions of many bytes of one document. Asked in ascending order, all questions together cost one pass over it, even
/// if it stands on a single line.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'a> {
    input: &'a [u8],
    /// The byte asked for last; its line, from 1, where that begins, and the characters between.
    at: usize,
    line: usize,
    start: usize,
    characters: usize,
}

impl<'a> Lines<'a> {
    /// At the first byte of `input`.
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Lines { input, at: 0, line: 1, start: 0, characters: 0 }
    }

    /// The position of byte `offset`; an offset past the end is the end.
    pub(crate) fn position(&mut self, offset: usize) -> Position {
        self.go_to(offset.min(self.input.len()));
        Position { line: saturate(self.line), column: saturate(self.characters + 1) }
    }

    /// Offset of the first byte of the line that holds `offset`.
    pub(crate) fn line_start(&mut self, offset: usize) -> usize {
        self.go_to(offset.min(self.input.len()));
        self.start
    }

    fn go_to(&mut self, offset: usize) {
        if offset < self.start {
            *self = Lines::new(self.input);
        } else if offset < self.at {
            (self.at, self.characters) = (self.start, 0);
        }
        let passed = self.input.get(self.at..offset).unwrap_or_default();
        match memchr::memrchr(b'\n', passed) {
            Some(last) => {
                self.line += memchr::memchr_iter(b'\n', passed).count();
                self.start = self.at + last + 1;
                self.characters = characters(passed.get(last + 1..).unwrap_or_default());
            }
            None => self.characters += characters(passed),
        }
        self.at = offset;
    }
}

/// Characters in UTF-8 text: every byte that is no continuation byte.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|&&b| b & 0xC0 != 0x80).count()
}

fn saturate(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_questions_does_not_matter() {
        for text in ["", "a", "\n", "a\n\nbc\u{e9}d\r\n", "{\n \"\u{20ac}\": 1}", "\u{feff}{}"] {
            let input = text.as_bytes();
            let mut lines = Lines::new(input);
            for first in 0..input.len() + 2 {
                for second in 0..input.len() + 2 {
                    assert_eq!(lines.position(first), Position::of(input, first), "{text:?} {first}");
                    assert_eq!(lines.position(second), Position::of(input, second), "{text:?} {second}");
                    let before = input.get(..second).unwrap_or(input);
                    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
                    assert_eq!(lines.line_start(second), start, "{text:?} {second}");
                }
            }
        }
    }
}
