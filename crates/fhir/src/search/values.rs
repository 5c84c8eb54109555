//! From an element to what it is found by (<https://hl7.org/fhir/R4/search.html#table>).

use super::{DateRange, SearchKind};
use crate::tape::{Cursor, Kind};

/// A value of an index, by the type of its parameter. Decimals keep their digits as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the fields are those of the FHIR types")]
pub enum SearchValue {
    /// Code, identifier, boolean or contact point. `system: None`: the element states none.
    Token {
        system: Option<String>,
        code: String,
    },
    /// Text as written; match it through [`fold`].
    String(String),
    /// The literal reference as written with what it says about its target; a logical one has the
    /// identifier only.
    Reference {
        url: String,
        ty: Option<String>,
        id: Option<String>,
        identifier: Option<(Option<String>, String)>,
    },
    Date(DateRange),
    Number(String),
    Quantity {
        value: String,
        system: Option<String>,
        code: Option<String>,
        unit: Option<String>,
    },
    Uri(String),
    /// One value of each part, in the order of the definition.
    Composite(Vec<SearchValue>),
}

type Sink<'s> = &'s mut dyn FnMut(SearchValue);

fn text(node: Cursor<'_, '_>, key: &str) -> Option<String> {
    node.get(key).and_then(Cursor::as_str).map(|s| s.into_owned())
}

pub(super) fn of(kind: SearchKind, type_name: &str, node: Cursor<'_, '_>, sink: Sink<'_>) {
    match kind {
        SearchKind::Token => token(type_name, node, sink),
        SearchKind::String => string(node, sink),
        SearchKind::Reference => references(node, sink),
        SearchKind::Date => {
            if let Some(range) = date(node) {
                sink(SearchValue::Date(range));
            }
        }
        SearchKind::Number => {
            if let Some(number) = node.number() {
                sink(SearchValue::Number(number.to_owned()));
            }
        }
        SearchKind::Quantity => quantity(node, sink),
        SearchKind::Uri => {
            if let Some(uri) = node.as_str() {
                sink(SearchValue::Uri(uri.into_owned()));
            }
        }
        SearchKind::Composite | SearchKind::Special => {}
    }
}

pub(super) fn computed(kind: SearchKind, text: &str, sink: Sink<'_>) {
    match kind {
        SearchKind::Token => sink(SearchValue::Token { system: None, code: text.to_owned() }),
        SearchKind::String => sink(SearchValue::String(text.to_owned())),
        SearchKind::Number => sink(SearchValue::Number(text.to_owned())),
        SearchKind::Uri => sink(SearchValue::Uri(text.to_owned())),
        SearchKind::Date => {
            if let Some(range) = DateRange::parse(text) {
                sink(SearchValue::Date(range));
            }
        }
        _ => {}
    }
}

fn token(type_name: &str, node: Cursor<'_, '_>, sink: Sink<'_>) {
    if node.kind() != Kind::Object {
        let code = node.as_str().map_or_else(|| node.token().to_owned(), |s| s.into_owned());
        sink(SearchValue::Token { system: None, code });
        return;
    }
    if let Some(codings) = node.get("coding") {
        for coding in codings.children() {
            token("Coding", coding, sink);
        }
        return;
    }
    // Coding has a code, Identifier and ContactPoint have a value.
    let code = text(node, "code").or_else(|| text(node, "value"));
    // The system of a ContactPoint is no code system.
    let system = if type_name == "ContactPoint" { None } else { text(node, "system") };
    if let Some(code) = code {
        sink(SearchValue::Token { system, code });
    }
}

/// HumanName and Address are found by each of their parts.
fn string(node: Cursor<'_, '_>, sink: Sink<'_>) {
    if let Some(s) = node.as_str() {
        sink(SearchValue::String(s.into_owned()));
        return;
    }
    const PARTS: &[&str] = &[
        "text",
        "family",
        "given",
        "prefix",
        "suffix",
        "line",
        "city",
        "district",
        "state",
        "postalCode",
        "country",
    ];
    for part in node.children().filter(|c| c.raw_key().is_some_and(|k| PARTS.contains(&k))) {
        if part.kind() == Kind::Array {
            for item in part.children() {
                string(item, sink);
            }
        } else {
            string(part, sink);
        }
    }
}

fn references(node: Cursor<'_, '_>, sink: Sink<'_>) {
    if let Some(url) = node.as_str() {
        sink(reference(url.into_owned(), None, None)); // canonical or uri
        return;
    }
    let identifier =
        node.get("identifier").and_then(|i| text(i, "value").map(|value| (text(i, "system"), value)));
    let url = text(node, "reference").unwrap_or_default();
    if !url.is_empty() || identifier.is_some() {
        sink(reference(url, text(node, "type"), identifier));
    }
}

fn reference(
    url: String,
    declared: Option<String>,
    identifier: Option<(Option<String>, String)>,
) -> SearchValue {
    let implied = crate::rules::reference::implied_type(&url).map(str::to_owned);
    let id = implied
        .as_ref()
        .and_then(|_| crate::rules::reference::unversioned(&url).rsplit('/').next().map(str::to_owned));
    SearchValue::Reference { ty: implied.or(declared), id, url, identifier }
}

/// A date of any type, a Period, or the events of a Timing from first to last.
fn date(node: Cursor<'_, '_>) -> Option<DateRange> {
    if let Some(s) = node.as_str() {
        return DateRange::parse(&s);
    }
    if let Some(events) = node.get("event") {
        let mut ranges = events.children().filter_map(|e| DateRange::parse(&e.as_str()?));
        let first = ranges.next()?;
        return Some(
            ranges.fold(first, |all, r| DateRange { start: all.start.min(r.start), end: all.end.max(r.end) }),
        );
    }
    let read = |key| text(node, key).and_then(|t| DateRange::parse(&t));
    match (read("start"), read("end")) {
        (Some(start), end) => Some(start.until(end)),
        (None, Some(end)) => Some(DateRange { start: i64::MIN, end: end.end }),
        (None, None) => None,
    }
}

fn quantity(node: Cursor<'_, '_>, sink: Sink<'_>) {
    let Some(value) = node.get("value").and_then(Cursor::number) else { return };
    // Money has a currency for a code.
    let code = text(node, "code").or_else(|| text(node, "currency"));
    sink(SearchValue::Quantity {
        value: value.to_owned(),
        system: text(node, "system"),
        code,
        unit: text(node, "unit"),
    });
}

/// Text for matching without regard to case and accents
/// (<https://hl7.org/fhir/R4/search.html#string>): lower case, Latin letters without their marks,
/// blanks joined.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        for c in word.chars().flat_map(char::to_lowercase) {
            match plain(c) {
                Some(letters) => out.push_str(letters),
                None if ('\u{300}'..='\u{36f}').contains(&c) => {} // a combining mark
                None => out.push(c),
            }
        }
    }
    out
}

/// The bare letters of a marked Latin letter (Latin-1 and Latin Extended-A).
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' => "o",
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ŧ' => "t",
        'þ' => "th",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' => "u",
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}
