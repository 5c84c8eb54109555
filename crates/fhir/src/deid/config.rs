//! Rules of de-identification in the format of the Microsoft tools for health data anonymization
//! (`fhirPathRules` and `parameters`).

use crate::fhirpath::{CompileOptions, Program, compile};
use crate::schema::{items, text_of};
use crate::tape::{Cursor, Kind, Limits, ParseError, Tape};

/// Why a configuration was refused. A rule that is not understood is never skipped: what it was to
/// hide would show.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No JSON.
    #[error("the configuration is no JSON: {0}")]
    Json(#[from] ParseError),
    /// No list of rules.
    #[error("the configuration has no `fhirPathRules`; it is an array of `path` and `method`")]
    NoRules,
    /// A path outside of the subset.
    #[error(
        "rule {at}: the path `{path}` is not understood; write `Type.element.element`, \
         `nodesByType('Type').element` or `nodesByName('element')`, with `as Type` at the end if needed"
    )]
    Path {
        /// Number of the rule, from 0.
        at: usize,
        /// As written.
        path: String,
    },
    /// A method that is not known, or lacks what it needs.
    #[error(
        "rule {at}: the method `{method}` is not known or lacks a parameter; use redact, keep, \
         dateShift, cryptoHash, perturb, generalize or substitute"
    )]
    Method {
        /// Number of the rule, from 0.
        at: usize,
        /// As written.
        method: String,
    },
    /// Another release of FHIR.
    #[error("the configuration is for FHIR `{0}`, and this is R4")]
    Version(String),
}

/// What a rule does with a value.
#[derive(Clone, Debug)]
pub(super) enum Method {
    Keep,
    Redact,
    DateShift,
    CryptoHash,
    Perturb {
        span: f64,
        /// `span` is a share of the value, not an amount.
        proportional: bool,
        digits: usize,
    },
    Generalize {
        /// Condition and replacement.
        cases: Vec<(Program, Program)>,
        otherwise_keep: bool,
    },
    Substitute(String),
}

/// Where a rule applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Values of this type (a resource type, `Resource`, a data type).
    Type(String),
    /// Elements of this name.
    Name(String),
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub root: Root,
    pub steps: Vec<String>,
    /// Only values of this type.
    pub of_type: Option<String>,
    pub method: Method,
}

/// Which dates are shifted by the same number of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShiftScope {
    /// Those of one resource.
    Resource,
    /// Those of one document.
    File,
    /// All that are exported with one key.
    Folder,
}

#[derive(Clone, Debug)]
pub(super) struct Parameters {
    pub scope: ShiftScope,
    pub partial_dates: bool,
    pub partial_zips: bool,
    pub partial_ages: bool,
    /// First three digits of postal codes with 20,000 people or fewer.
    pub restricted_zips: Vec<String>,
}

pub(super) fn parse(config: &[u8]) -> Result<(Vec<Rule>, Parameters), ConfigError> {
    let tape = Tape::parse(config, &Limits::default())?;
    let root = tape.root();
    let version = text_of(root, "fhirVersion");
    if !matches!(version.as_str(), "" | "R4" | "4.0.1") {
        return Err(ConfigError::Version(version));
    }
    if root.get("fhirPathRules").is_none_or(|r| r.kind() != Kind::Array) {
        return Err(ConfigError::NoRules);
    }
    let mut rules = Vec::new();
    for (at, rule) in items(root, "fhirPathRules").enumerate() {
        let path = text_of(rule, "path");
        let (root, steps, of_type) = selector(&path).ok_or(ConfigError::Path { at, path })?;
        let method =
            method(rule).ok_or_else(|| ConfigError::Method { at, method: text_of(rule, "method") })?;
        rules.push(Rule { root, steps, of_type, method });
    }
    let parameters = root.get("parameters");
    let flag = |key: &str| parameters.and_then(|p| p.get(key)).and_then(Cursor::as_bool).unwrap_or(false);
    let restricted = parameters.into_iter().flat_map(|p| items(p, "restrictedZipCodeTabulationAreas"));
    let scope = parameters.map_or_else(String::new, |p| text_of(p, "dateShiftScope"));
    let parameters = Parameters {
        scope: match scope.to_ascii_lowercase().as_str() {
            "file" => ShiftScope::File,
            "folder" => ShiftScope::Folder,
            _ => ShiftScope::Resource,
        },
        partial_dates: flag("enablePartialDatesForRedact"),
        partial_zips: flag("enablePartialZipCodesForRedact"),
        partial_ages: flag("enablePartialAgesForRedact"),
        restricted_zips: restricted.filter_map(Cursor::as_str).map(|z| z.into_owned()).collect(),
    };
    Ok((rules, parameters))
}

/// Root, element names, type at the end.
fn selector(path: &str) -> Option<(Root, Vec<String>, Option<String>)> {
    let path = path.trim();
    let path = path.strip_prefix('(').and_then(|p| p.strip_suffix(')')).unwrap_or(path);
    let (path, of_type) = match path.rsplit_once(" as ") {
        Some((path, ty)) => (path.trim(), Some(ty.trim().to_owned())),
        None => match path.strip_suffix(')').and_then(|p| p.rsplit_once(".ofType(")) {
            Some((path, ty)) => (path, Some(ty.trim().to_owned())),
            None => (path, None),
        },
    };
    let quoted = |prefix: &str| {
        let rest = path.strip_prefix(prefix)?;
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (name, rest) = rest.get(1..)?.split_once(quote)?;
        Some((name.to_owned(), rest.strip_prefix(')')?))
    };
    let (root, rest) = if let Some((name, rest)) = quoted("nodesByType(") {
        (Root::Type(name), rest)
    } else if let Some((name, rest)) = quoted("nodesByName(") {
        (Root::Name(name), rest)
    } else {
        let end = path.find('.').unwrap_or(path.len());
        let (name, rest) = path.split_at_checked(end)?;
        (Root::Type(name.to_owned()), rest)
    };
    let name = match &root {
        Root::Type(name) | Root::Name(name) => name,
    };
    let plain = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric());
    let steps: Vec<String> = match rest {
        "" => Vec::new(),
        _ => rest.strip_prefix('.')?.split('.').map(str::to_owned).collect(),
    };
    let typed = of_type.as_deref().is_none_or(plain);
    (plain(name) && typed && steps.iter().all(|s| plain(s))).then_some((root, steps, of_type))
}

fn method(rule: Cursor<'_, '_>) -> Option<Method> {
    let number = |key: &str| rule.get(key).and_then(Cursor::number).and_then(|n| n.parse::<f64>().ok());
    Some(match text_of(rule, "method").to_ascii_lowercase().as_str() {
        "keep" => Method::Keep,
        "redact" => Method::Redact,
        "dateshift" => Method::DateShift,
        "cryptohash" => Method::CryptoHash,
        "perturb" => Method::Perturb {
            span: number("span").filter(|s| *s >= 0.0)?,
            proportional: text_of(rule, "rangeType") == "proportional",
            digits: rule.get("roundTo").and_then(Cursor::number).map_or(Some(0), |n| n.parse().ok())?,
        },
        "substitute" => Method::Substitute(rule.get("replaceWith").and_then(Cursor::as_str)?.into_owned()),
        "generalize" => {
            let options = CompileOptions { lenient: true, ..CompileOptions::default() };
            let mut cases = Vec::new();
            for case in rule.get("cases")?.children() {
                let condition = compile(&case.key()?, &options).ok()?;
                let value = case.as_str().map_or_else(|| case.token().to_owned(), |s| s.into_owned());
                cases.push((condition, compile(&value, &options).ok()?));
            }
            Method::Generalize { cases, otherwise_keep: text_of(rule, "otherValues") == "keep" }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Root, selector};

    #[test]
    fn paths_are_read_or_refused() {
        let steps = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let by_type = |t: &str| Root::Type(t.to_owned());
        for (path, wanted) in [
            ("Patient.name.family", Some((by_type("Patient"), steps(&["name", "family"]), None))),
            ("nodesByType('HumanName').use", Some((by_type("HumanName"), steps(&["use"]), None))),
            ("nodesByName('id')", Some((Root::Name("id".to_owned()), Vec::new(), None))),
            ("(A.onset as Age)", Some((by_type("A"), steps(&["onset"]), Some("Age".to_owned())))),
            ("A.onset.ofType(Age)", Some((by_type("A"), steps(&["onset"]), Some("Age".to_owned())))),
            ("Patient.name.where(use='official')", None),
            ("Patient.name[0]", None),
            ("", None),
        ] {
            assert_eq!(selector(path), wanted, "{path}");
        }
    }
}
