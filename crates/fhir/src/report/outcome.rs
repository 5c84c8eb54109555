//! OperationOutcome, written directly as JSON.

use std::fmt::Write;

use super::{Issue, IssueCode, Severity};

/// System of [`Issue::message_id`] in `details.coding`.
const MESSAGE_SYSTEM: &str = "https://consilium.example/fhir/CodeSystem/validation-message";
const LINE: &str = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-line";
const COLUMN: &str = "http://hl7.org/fhir/StructureDefinition/operationoutcome-issue-col";
const MESSAGE: &str = "http://hl7.org/fhir/StructureDefinition/operationoutcome-message-id";

pub(super) fn to_json(issues: &[Issue]) -> String {
    let mut out = String::from(r#"{"resourceType":"OperationOutcome","issue":["#);
    if issues.is_empty() {
        // OperationOutcome.issue is 1..*
        out.push_str(concat!(
            r#"{"severity":"information","code":"informational","#,
            r#""details":{"text":"No issue found."}}"#
        ));
    }
    for (at, issue) in issues.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        one(&mut out, issue);
    }
    out.push_str("]}");
    out
}

fn one(out: &mut String, issue: &Issue) {
    out.push('{');
    if issue.line > 0 {
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            concat!(
                r#""extension":[{{"url":"{}","valueInteger":{}}},"#,
                r#"{{"url":"{}","valueInteger":{}}},{{"url":"{}","valueString":{}}}],"#
            ),
            LINE,
            issue.line,
            COLUMN,
            issue.col,
            MESSAGE,
            Quoted(&issue.message_id),
        );
    }
    let _ = write!(
        out,
        r#""severity":"{}","code":"{}","details":{{"coding":[{{"system":"{MESSAGE_SYSTEM}","code":{}}}],"text":{}}}"#,
        issue.severity.code(),
        issue.code.code(),
        Quoted(&issue.message_id),
        Quoted(&issue.text),
    );
    if issue.line > 0 {
        let _ = write!(out, r#","diagnostics":"[{},{}]""#, issue.line, issue.col);
    }
    if !issue.expression.is_empty() {
        let _ = write!(out, r#","expression":[{}]"#, Quoted(&issue.expression));
    }
    out.push('}');
}

/// An OperationOutcome with a single issue and no place, for errors outside of a document.
pub fn outcome_json(severity: Severity, code: IssueCode, text: &str) -> String {
    format!(
        r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"{}","code":"{}","details":{{"text":{}}}}}]}}"#,
        severity.code(),
        code.code(),
        Quoted(text),
    )
}

/// A JSON string literal.
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
