//! Where an issue is: FHIRPath expression, line and column, worked out only when there are issues.

use crate::schema::{Schema, TypeId, TypeKind};
use crate::tape::{Children, Cursor, Kind, Lines, NodeId, Position, Tape};

/// Names places of one tape. Ask for nodes in ascending order: the search goes on where it stopped,
/// so that all questions together cost one pass.
pub(crate) struct Placer<'s, 't, 'a> {
    schema: &'s Schema,
    lines: Lines<'a>,
    stack: Vec<Frame<'t, 'a>>,
    path: String,
}

struct Frame<'t, 'a> {
    node: Cursor<'t, 'a>,
    ty: Option<TypeId>,
    path_len: usize,
    children: Children<'t, 'a>,
    index: usize,
    below: Option<(Cursor<'t, 'a>, usize)>,
}

impl<'s, 't, 'a> Placer<'s, 't, 'a> {
    pub(crate) fn new(schema: &'s Schema, tape: &'t Tape<'a>) -> Self {
        let root = tape.root();
        let ty = resource_of(schema, root);
        let path = ty.map_or_else(String::new, |ty| schema.type_name(ty).to_owned());
        let frame =
            Frame { node: root, ty, path_len: path.len(), children: root.children(), index: 0, below: None };
        let lines = Lines::new(tape.input().as_bytes());
        Placer { schema, lines, stack: vec![frame], path }
    }

    /// The expression of `id`.
    pub(crate) fn expression(&mut self, id: NodeId) -> String {
        while self.stack.len() > 1 && self.stack.last().is_some_and(|f| !holds(f.node, id)) {
            self.stack.pop();
        }
        self.path.truncate(self.stack.last().map_or(0, |f| f.path_len));
        while let Some(frame) = self.stack.last_mut() {
            if frame.node.id() == id {
                break;
            }
            let found = match frame.below.take() {
                Some((child, at)) if holds(child, id) => Some((child, at)),
                _ => loop {
                    let Some(child) = frame.children.next() else { break None };
                    let at = frame.index;
                    frame.index += 1;
                    if holds(child, id) {
                        break Some((child, at));
                    }
                },
            };
            let Some((child, at)) = found else { break };
            frame.below = Some((child, at));
            let ty = frame.ty;
            let in_array = frame.node.kind() == Kind::Array;
            let next = self.step(child, ty, in_array.then_some(at));
            self.stack.push(Frame {
                node: child,
                ty: next,
                path_len: self.path.len(),
                children: child.children(),
                index: 0,
                below: None,
            });
        }
        self.path.clone()
    }

    /// Appends one step and gives the type below it.
    fn step(&mut self, child: Cursor<'_, '_>, ty: Option<TypeId>, index: Option<usize>) -> Option<TypeId> {
        if let Some(at) = index {
            self.path.push_str(&format!("[{at}]"));
            return self.settle(child, ty);
        }
        let key = child.key().unwrap_or_default();
        let bare = key.strip_prefix('_').unwrap_or(&key);
        match ty.and_then(|ty| self.schema.member(ty, bare)) {
            Some(member) => {
                self.path.push('.');
                self.path.push_str(member.name);
                if member.is_choice {
                    let name = self.schema.type_name(member.ty);
                    let name = if name == "SimpleQuantity" { "Quantity" } else { name };
                    self.path.push_str(&format!(".ofType({name})"));
                }
                self.settle(child, Some(member.ty))
            }
            None => {
                self.path.push('.');
                // An unknown key may be anything; only what looks like a name is repeated.
                self.path.push_str(if is_name(bare) { bare } else { "`?`" });
                None
            }
        }
    }

    fn settle(&self, child: Cursor<'_, '_>, ty: Option<TypeId>) -> Option<TypeId> {
        let resource = ty.is_some_and(|ty| self.schema.type_kind(ty) == Some(TypeKind::Resource));
        if resource && child.kind() == Kind::Object { resource_of(self.schema, child) } else { ty }
    }

    /// Line and column as the HL7 validator counts them: a primitive just after its last
    /// character; anything else just after the first non-blank character of its line, unless other
    /// values stand between (a document on one line), then after its own first character.
    pub(crate) fn position(&mut self, node: Cursor<'_, '_>) -> Position {
        if node.kind().is_scalar() {
            return self.lines.position(node.end());
        }
        let input = node.tape().input();
        let own = node.key_offset().unwrap_or(node.start());
        let line = self.lines.line_start(own);
        let before = input.get(line..own).unwrap_or_default();
        let blank = before.len() - before.trim_start_matches([' ', '\t', '\u{feff}']).len();
        let punctuation = before.chars().all(|c| " \t\u{feff}{}[],".contains(c));
        let at = if punctuation { line + blank } else { own };
        self.lines.position(at + 1)
    }
}

fn holds(node: Cursor<'_, '_>, id: NodeId) -> bool {
    node.id() <= id && id.0 < node.node().next
}

pub(crate) fn resource_of(schema: &Schema, node: Cursor<'_, '_>) -> Option<TypeId> {
    let name = node.get("resourceType")?.as_str()?;
    schema.resource_type(&name)
}

pub(crate) fn is_name(key: &str) -> bool {
    (1..=64).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !key.starts_with(|c: char| c.is_ascii_digit())
}
