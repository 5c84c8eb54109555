//! `matches()`, `matchesFull()`, `replaceMatches()`: linear-time regular expressions.
//!
//! FHIRPath N1 asks for case-sensitive matching in single-line mode: `.` matches line ends, `^` and
//! `$` the ends of the text. `matches()` finds the pattern anywhere, as the HL7 suite has it.

use std::borrow::Cow;

use regex::{Captures, Regex, RegexBuilder};

use super::{Call, Collection, Env, Evaluated, Evaluator, Item};
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::functions::Function as F;

/// Compiled size of a pattern.
const PATTERN_SIZE: usize = 1 << 20;
/// What compiling a pattern counts as work.
const PATTERN_WORK: usize = 2_000;

/// Compiles a pattern for `function`; `None` if it is malformed, too large, or uses back-references
/// or look-around, which have no linear-time matching.
pub(in crate::fhirpath) fn compile(function: F, pattern: &str, flags: &str) -> Option<Regex> {
    if flags.chars().any(|c| c != 'i' && c != 'm') {
        return None;
    }
    let whole;
    let pattern = match function {
        F::MatchesFull => {
            whole = format!("^(?:{pattern})$");
            &whole
        }
        _ => pattern,
    };
    RegexBuilder::new(pattern)
        .dot_matches_new_line(true)
        .case_insensitive(flags.contains('i'))
        .multi_line(flags.contains('m'))
        .size_limit(PATTERN_SIZE)
        .build()
        .ok()
}

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn pattern_function(
        &self,
        input: &[Item<'e>],
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Evaluated<'e> {
        let at = call.at;
        let text = self.string(input, call.input(), at)?;
        let pattern = self.string_arg(call, 0, env)?;
        let (substitution, flags_at) = match call.function {
            F::ReplaceMatches => (self.string_arg(call, 1, env)?, 2),
            _ => (Some(Cow::Borrowed("")), 1),
        };
        let flags = self.string_arg(call, flags_at, env)?.unwrap_or_default();
        let (Some(text), Some(pattern), Some(substitution)) = (text, pattern, substitution) else {
            return Ok(Collection::new());
        };
        self.charge(text.len() / 8, at)?;
        let compiled;
        let regex = match call.pattern {
            Some(regex) => regex,
            None => {
                self.charge(PATTERN_WORK, at)?;
                compiled = compile(call.function, &pattern, &flags).ok_or_else(|| {
                    let message = format!("the pattern of `{}` can not be used", call.function.name());
                    EvalError::new(EvalErrorKind::BadArgument, message, at)
                })?;
                &compiled
            }
        };
        if call.function != F::ReplaceMatches {
            return Ok(Collection::one(regex.is_match(&text)));
        }
        if pattern.is_empty() {
            return Ok(Collection::one(text));
        }
        let mut out = String::new();
        let mut from = 0;
        for captures in regex.captures_iter(&text) {
            let Some(whole) = captures.get(0) else { continue };
            let gap = text.get(from..whole.start()).unwrap_or_default();
            self.check_text(out.len() + gap.len() + substitution.len() + text.len(), at)?;
            out.push_str(gap);
            expand(&captures, &substitution, &mut out);
            from = whole.end();
        }
        out.push_str(text.get(from..).unwrap_or_default());
        self.check_text(out.len(), at)?;
        Ok(Collection::one(out))
    }
}

/// Writes a substitution with its `$1`, `${1}` and `${name}`; a backslash takes the next character
/// as it is. A group that the pattern lacks is nothing.
fn expand(captures: &Captures<'_>, substitution: &str, out: &mut String) {
    let mut rest = substitution;
    while let Some(at) = rest.find(['$', '\\']) {
        let (before, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let mut chars = special.chars();
        let first = chars.next();
        rest = chars.as_str();
        if first == Some('\\') {
            out.extend(chars.next());
            rest = chars.as_str();
            continue;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (name, used) = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => (rest.get(..digits).unwrap_or_default(), digits),
        };
        if used == 0 {
            out.push('$');
            continue;
        }
        let group = match name.parse::<usize>() {
            Ok(index) => captures.get(index),
            Err(_) => captures.name(name),
        };
        out.push_str(group.map_or("", |m| m.as_str()));
        rest = rest.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
}
