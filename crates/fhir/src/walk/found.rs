//! Issues while they are being collected: a node and a text, no path yet.

use std::borrow::Cow;

use super::Walk;
use crate::report::{Issue, IssueCode, Placer, Report, Severity, Unevaluated, sentence};
use crate::tape::{Cursor, NodeId, Tape};

pub(crate) struct Found {
    node: NodeId,
    /// The expression names the element that holds the node.
    above: bool,
    severity: Severity,
    code: IssueCode,
    id: Cow<'static, str>,
    text: Cow<'static, str>,
}

impl<'t, 'a> Walk<'_, 't, 'a> {
    pub(crate) fn error(
        &mut self,
        node: Cursor<'t, 'a>,
        code: IssueCode,
        id: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) {
        self.note(node, Severity::Error, code, id, text);
    }

    /// As [`Walk::error`], about the element that holds `node`: line and column are those of `node`,
    /// the expression is that of the holder, as the HL7 validator has it.
    pub(crate) fn error_above(
        &mut self,
        node: Cursor<'t, 'a>,
        code: IssueCode,
        id: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) {
        self.note_above(node, Severity::Error, code, id, text);
    }

    /// As [`Walk::note`], about the element that holds `node`.
    pub(crate) fn note_above(
        &mut self,
        node: Cursor<'t, 'a>,
        severity: Severity,
        code: IssueCode,
        id: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) {
        let before = self.found.len();
        self.note(node, severity, code, id, text);
        if let Some(found) = self.found.get_mut(before) {
            found.above = true;
        }
    }

    /// Something found after the first `mark` findings makes the document invalid.
    pub(crate) fn errors_since(&self, mark: usize) -> bool {
        self.found.iter().skip(mark).any(|f| matches!(f.severity, Severity::Fatal | Severity::Error))
    }

    /// An invariant of severity error; `id` is definition url, `#` and key.
    pub(crate) fn invariant(
        &mut self,
        node: Cursor<'t, 'a>,
        id: &'static str,
        text: impl Into<Cow<'static, str>>,
    ) {
        self.note(node, Severity::Error, IssueCode::Invariant, id, text);
    }

    pub(crate) fn note(
        &mut self,
        node: Cursor<'t, 'a>,
        severity: Severity,
        code: IssueCode,
        id: impl Into<Cow<'static, str>>,
        text: impl Into<Cow<'static, str>>,
    ) {
        self.reaches_out();
        // One more than the limit is kept, so that the report can say that there are more.
        if self.found.len() > self.options.max_issues && severity != Severity::Error {
            return;
        }
        self.found.push(Found {
            node: node.id(),
            above: false,
            severity,
            code,
            id: id.into(),
            text: text.into(),
        });
    }
}

/// The expression without its last step: `Patient` for `Patient.name[0]`.
fn holder(mut expression: String) -> String {
    let end = expression.rfind('.').unwrap_or(expression.len());
    expression.truncate(end);
    expression
}

pub(super) fn report<'s, 't, 'a>(
    tape: &'t Tape<'a>,
    mut found: Vec<Found>,
    notes: Vec<Issue>,
    unevaluated: Unevaluated,
    evaluated: u64,
    max_issues: usize,
    placer: impl FnOnce(&'t Tape<'a>) -> Placer<'s, 't, 'a>,
) -> Report {
    if found.is_empty() {
        return Report { issues: notes, unevaluated, evaluated };
    }
    found.sort_by(|a, b| (a.node, a.severity, &a.id, &a.text).cmp(&(b.node, b.severity, &b.id, &b.text)));
    let all = found.len();
    if all > max_issues {
        // What makes the document invalid is shown before what does not.
        found.sort_by_key(|f| f.severity);
        found.truncate(max_issues);
        found.sort_by_key(|f| f.node);
    }
    let mut placer = placer(tape);
    let mut issues: Vec<Issue> = found
        .into_iter()
        .map(|f| {
            let place = placer.position(tape.cursor(f.node));
            Issue {
                severity: f.severity,
                code: f.code,
                message_id: f.id,
                node: f.node,
                expression: if f.above {
                    holder(placer.expression(f.node))
                } else {
                    placer.expression(f.node)
                },
                line: place.line,
                col: place.column,
                text: sentence(&f.text),
            }
        })
        .collect();
    if all > max_issues {
        issues.push(Issue {
            severity: Severity::Information,
            code: IssueCode::TooCostly,
            message_id: Cow::Borrowed("fhir.issues.more"),
            node: NodeId::ROOT,
            expression: String::new(),
            line: 1,
            col: 1,
            text: format!("There are more than {max_issues} issues; correct these first."),
        });
    }
    issues.extend(notes);
    Report { issues, unevaluated, evaluated }
}
