//! The leaves of a resource, for salted Merkle commitments.
//!
//! A leaf is a JSON scalar, or an empty object or array, with its path and its exact token. The list
//! of leaves in document order is a bijection with the content of the resource: [`rebuild`] gives
//! back the same document but for white space and the spelling of keys.
//!
//! Paths use JSON names, so that they need no schema: `Patient.name[0].given[1]`,
//! `Observation.valueQuantity.value`, `Patient._birthDate.extension[0].url`. The root is the
//! resource type, or `$` where there is none. A key that is no plain name stands in backticks, with
//! backslashes before backticks and backslashes in it.

use std::fmt::Write;

use crate::report::is_name;
use crate::tape::{Cursor, Kind, Limits, NodeId, ParseError, Tape};

/// What a leaf is, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LeafKind {
    /// A JSON string.
    String,
    /// A JSON number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// `{}`; occurs in no valid resource.
    EmptyObject,
    /// `[]`; occurs in no valid resource.
    EmptyArray,
}

impl LeafKind {
    fn of(kind: Kind) -> LeafKind {
        match kind {
            Kind::String => LeafKind::String,
            Kind::Number => LeafKind::Number,
            Kind::True | Kind::False => LeafKind::Boolean,
            Kind::Null => LeafKind::Null,
            Kind::Object => LeafKind::EmptyObject,
            Kind::Array => LeafKind::EmptyArray,
        }
    }

    /// A token of this kind that says nothing.
    pub(crate) fn blank(self) -> &'static str {
        match self {
            LeafKind::String => "\"\"",
            LeafKind::Number => "0",
            LeafKind::Boolean => "false",
            LeafKind::Null => "null",
            LeafKind::EmptyObject => "{}",
            LeafKind::EmptyArray => "[]",
        }
    }
}

/// One leaf of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Path with all indices, from the resource type down.
    pub path: String,
    /// The JSON token as written: a string with quotes and escapes, a number with all its digits.
    /// An empty object or array is `{}` or `[]`, whatever blanks stand inside.
    pub token: &'a str,
    /// What it is.
    pub kind: LeafKind,
    /// The value in its tape.
    pub node: NodeId,
}

/// The leaves of the resource at `resource`, in document order. O(bytes).
pub fn leaves<'a>(resource: Cursor<'_, 'a>) -> Vec<Leaf<'a>> {
    let mut out = Vec::new();
    let root = resource.get("resourceType").and_then(Cursor::as_str);
    let mut path = root.filter(|r| is_name(r)).map_or_else(|| "$".to_owned(), |r| r.into_owned());
    let first = resource.id().0;
    let mut open: Vec<Open> = Vec::new();
    // The tape is in document order, so its nodes are walked as they stand.
    for at in first..resource.node().next.max(first + 1) {
        let node = resource.tape().cursor(NodeId(at));
        while open.last().is_some_and(|o| at >= o.next) {
            open.pop();
        }
        if let Some(parent) = open.last_mut() {
            path.truncate(parent.path_len);
            if parent.array {
                let _ = write!(path, "[{}]", parent.count);
                parent.count += 1;
            } else {
                push_key(&mut path, &node.key().unwrap_or_default());
            }
        }
        if node.kind().is_scalar() || node.has_no_children() {
            let kind = LeafKind::of(node.kind());
            let token = if node.kind().is_scalar() { node.token() } else { kind.blank() };
            out.push(Leaf { path: path.clone(), token, kind, node: node.id() });
        } else {
            open.push(Open {
                next: node.node().next,
                path_len: path.len(),
                array: node.kind() == Kind::Array,
                count: 0,
            });
        }
    }
    out
}

struct Open {
    next: u32,
    path_len: usize,
    array: bool,
    count: usize,
}

fn push_key(path: &mut String, key: &str) {
    path.push('.');
    if is_name(key) {
        path.push_str(key);
        return;
    }
    path.push('`');
    for c in key.chars() {
        if c == '`' || c == '\\' {
            path.push('\\');
        }
        path.push(c);
    }
    path.push('`');
}

/// Why leaves make no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// There is no leaf.
    #[error("there are no leaves")]
    Empty,
    /// A path is not written as [`leaves`] writes it.
    #[error("the path of leaf {0} is not well formed")]
    Path(usize),
    /// A token is not one JSON scalar or empty container.
    #[error("the token of leaf {0} is no JSON value")]
    Token(usize),
    /// The leaves together are not the leaves of one document in document order.
    #[error("the leaves are not those of one resource in document order, first seen at leaf {0}")]
    Order(usize),
    /// The document exceeds a limit or repeats a key.
    #[error("the leaves make no document: {0}")]
    Document(ParseError),
}

/// The document whose leaves these are, minified.
///
/// # Errors
/// [`RebuildError`] if [`leaves`] of the result would not be exactly the leaves given.
pub fn rebuild<'l>(leaves_in: impl IntoIterator<Item = (&'l str, &'l str)>) -> Result<String, RebuildError> {
    let given: Vec<(&str, &str)> = leaves_in.into_iter().collect();
    let mut out = String::new();
    let mut open: Vec<Step> = Vec::new();
    for (at, (path, token)) in given.iter().enumerate() {
        let steps = steps(path).ok_or(RebuildError::Path(at))?;
        let shared = open.iter().zip(&steps).take_while(|(a, b)| a == b).count();
        if at > 0 && (shared >= open.len() || shared >= steps.len()) {
            return Err(RebuildError::Order(at)); // a leaf inside a leaf, or twice the same
        }
        for step in open.drain(shared..).skip(1).rev() {
            out.push(step.closing());
        }
        // The shared parent goes on: a comma, then the new branch. Whether the branch is of the
        // parent's kind, the comparison at the end finds out.
        if at > 0 {
            out.push(',');
        }
        for (depth, step) in steps.iter().enumerate().skip(shared) {
            if depth > shared || at == 0 {
                out.push(step.opening());
            }
            if let Step::Key(key) = step {
                json_key(&mut out, key);
            }
        }
        out.push_str(token);
        open = steps;
    }
    if given.is_empty() {
        return Err(RebuildError::Empty);
    }
    for step in open.iter().rev() {
        out.push(step.closing());
    }
    let tape = Tape::parse(out.as_bytes(), &Limits::default()).map_err(RebuildError::Document)?;
    let found = leaves(tape.root());
    let differs = found
        .iter()
        .zip(&given)
        .position(|(f, g)| f.path != g.0 || f.token != g.1)
        .or((found.len() != given.len()).then_some(found.len().min(given.len())));
    match differs {
        Some(at) => Err(RebuildError::Order(at)),
        None => Ok(out),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn opening(&self) -> char {
        if matches!(self, Step::Key(_)) { '{' } else { '[' }
    }

    fn closing(&self) -> char {
        if matches!(self, Step::Key(_)) { '}' } else { ']' }
    }
}

/// The steps of a path after its root.
fn steps(path: &str) -> Option<Vec<Step>> {
    let start = path.find(['.', '[']).unwrap_or(path.len());
    let mut rest = path.get(start..)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(index) = rest.strip_prefix('[') {
            let (digits, after) = index.split_once(']')?;
            steps.push(Step::Index(digits.parse().ok()?));
            rest = after;
        } else if let Some(quoted) = rest.strip_prefix(".`") {
            let mut key = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next()? {
                    (_, '\\') => key.push(chars.next()?.1),
                    (at, '`') => break at + 1,
                    (_, c) => key.push(c),
                }
            };
            steps.push(Step::Key(key));
            rest = quoted.get(end..)?;
        } else {
            let name = rest.strip_prefix('.')?;
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (key, after) = name.split_at_checked(end)?;
            if !is_name(key) {
                return None;
            }
            steps.push(Step::Key(key.to_owned()));
            rest = after;
        }
    }
    Some(steps)
}

fn json_key(out: &mut String, key: &str) {
    out.push('"');
    for c in key.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push_str("\":");
}
