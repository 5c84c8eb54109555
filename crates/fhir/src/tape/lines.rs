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

/// Offsets of all line starts of a document, for cheap repeated look-up.
#[derive(Clone, Debug)]
pub struct LineTable<'a> {
    input: &'a [u8],
    starts: Vec<usize>,
}

impl<'a> LineTable<'a> {
    /// Scans `input` once.
    pub fn new(input: &'a [u8]) -> Self {
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', input).map(|at| at + 1)).collect();
        LineTable { input, starts }
    }

    /// The position of byte `offset`. O(log lines + length of the line).
    pub fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.input.len());
        let line = self.starts.partition_point(|&start| start <= offset);
        let tail = self.input.get(self.line_start(offset)..offset).unwrap_or_default();
        Position { line: saturate(line), column: saturate(characters(tail) + 1) }
    }

    /// Offset of the first byte of the line that holds `offset`.
    pub fn line_start(&self, offset: usize) -> usize {
        let line = self.starts.partition_point(|&start| start <= offset);
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0)
    }
}

/// Characters in UTF-8 text: every byte that is no continuation byte.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|&&b| b & 0xC0 != 0x80).count()
}

fn saturate(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
