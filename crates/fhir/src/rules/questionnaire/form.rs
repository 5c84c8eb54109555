//! A Questionnaire as its answers are checked against: items in one flat list, looked up by link id.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::condition::Condition;
use super::value::{Amount, Key, Ordered, typed};
use crate::rules::conformance::expand::{Codes, codes_of};
use crate::schema::{Schema, items, text_of};
use crate::tape::Cursor;

/// <https://hl7.org/fhir/R4/valueset-item-type.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Group,
    Display,
    Boolean,
    Decimal,
    Integer,
    Date,
    DateTime,
    Time,
    String,
    Text,
    Url,
    Choice,
    OpenChoice,
    Attachment,
    Reference,
    Quantity,
    /// The abstract type above all questions.
    Question,
    /// Missing or unknown; that is an error of the Questionnaire.
    Unknown,
}

impl Kind {
    pub(super) fn of(code: &str) -> Kind {
        match code {
            "group" => Kind::Group,
            "display" => Kind::Display,
            "boolean" => Kind::Boolean,
            "decimal" => Kind::Decimal,
            "integer" => Kind::Integer,
            "date" => Kind::Date,
            "dateTime" => Kind::DateTime,
            "time" => Kind::Time,
            "string" => Kind::String,
            "text" => Kind::Text,
            "url" => Kind::Url,
            "choice" => Kind::Choice,
            "open-choice" => Kind::OpenChoice,
            "attachment" => Kind::Attachment,
            "reference" => Kind::Reference,
            "quantity" => Kind::Quantity,
            "question" => Kind::Question,
            _ => Kind::Unknown,
        }
    }

    /// FHIR types that an answer may have; empty: any.
    pub(super) fn answers(self) -> &'static [&'static str] {
        match self {
            Kind::Boolean => &["boolean"],
            Kind::Decimal => &["decimal"],
            Kind::Integer => &["integer"],
            Kind::Date => &["date"],
            Kind::DateTime => &["dateTime"],
            Kind::Time => &["time"],
            Kind::String | Kind::Text => &["string"],
            Kind::Url => &["uri"],
            Kind::Choice | Kind::OpenChoice => &["Coding", "date", "time", "integer", "string", "Reference"],
            Kind::Attachment => &["Attachment"],
            Kind::Reference => &["Reference"],
            Kind::Quantity => &["Quantity"],
            Kind::Group | Kind::Display | Kind::Question | Kind::Unknown => &[],
        }
    }
}

/// A question, group or display.
#[derive(Debug)]
pub(super) struct Item {
    pub link_id: String,
    pub kind: Kind,
    pub text: String,
    pub required: bool,
    pub repeats: bool,
    /// Place among its siblings.
    pub order: usize,
    pub children: Vec<u32>,
    pub conditions: Vec<Condition>,
    /// One condition is enough (`enableBehavior` any).
    pub any: bool,
    /// Sorted.
    pub options: Vec<Key>,
    /// Sorted; those of the options that exclude all others.
    pub exclusive: Vec<Key>,
    /// Displays of the options, sorted.
    pub displays: Vec<String>,
    pub value_set: String,
    pub limits: Limits,
}

/// Extensions that restrict answers
/// (<https://hl7.org/fhir/R4/questionnaire-profiles.html#extensions>).
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub max_length: Option<usize>,
    pub min_length: Option<usize>,
    pub min_occurs: Option<usize>,
    pub max_occurs: Option<usize>,
    pub max_decimals: Option<usize>,
    pub min: Option<Ordered>,
    pub max: Option<Ordered>,
    pub min_quantity: Option<Amount>,
    pub max_quantity: Option<Amount>,
    /// The whole answer must match.
    pub pattern: Option<Regex>,
    /// A pattern is given that cannot be evaluated in linear time.
    pub unread_pattern: bool,
    /// Empty: any.
    pub mime_types: Vec<String>,
    /// Bytes.
    pub max_size: Option<u64>,
    /// System, code and display; empty: any.
    pub units: Vec<(String, String, String)>,
    pub unit_set: String,
    /// Names of resource types; empty: any.
    pub targets: Vec<String>,
}

/// A Questionnaire, compiled.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pub(super) language: String,
    /// Draft, active, retired: <https://hl7.org/fhir/R4/valueset-publication-status.html>
    pub(super) effective: (String, String),
    pub(super) items: Vec<Item>,
    pub(super) roots: Vec<u32>,
    /// First item of each link id.
    by_link: BTreeMap<String, u32>,
    /// First item of each link id below one item.
    below: BTreeMap<(Option<u32>, String), u32>,
    /// Codes of the value sets it contains, by id; `None`: they cannot be told here.
    sets: BTreeMap<String, Option<Codes>>,
}

/// Patterns larger than this when compiled are not evaluated.
const MAX_PATTERN: usize = 1 << 20;

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";
const SDC: &str = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-";

impl Form {
    /// Reads a Questionnaire; parts that are malformed count as absent.
    pub(crate) fn new(schema: &Schema, node: Cursor<'_, '_>) -> Form {
        let mut form = Form { language: text_of(node, "language"), ..Form::default() };
        if let Some(period) = node.get("effectivePeriod") {
            form.effective = (text_of(period, "start"), text_of(period, "end"));
        }
        for contained in items(node, "contained") {
            if contained.get("resourceType").is_some_and(|t| t.str_is("ValueSet")) {
                form.sets.insert(text_of(contained, "id"), codes_of(schema, contained));
            }
        }
        form.roots = form.add(node, None);
        form
    }

    /// Depth is bounded by that of the document.
    fn add(&mut self, node: Cursor<'_, '_>, parent: Option<u32>) -> Vec<u32> {
        let mut added = Vec::new();
        for (order, child) in items(node, "item").enumerate() {
            let Ok(at) = u32::try_from(self.items.len()) else { break };
            let item = item(child, order);
            self.by_link.entry(item.link_id.clone()).or_insert(at);
            self.below.entry((parent, item.link_id.clone())).or_insert(at);
            self.items.push(item);
            let children = self.add(child, Some(at));
            if let Some(item) = self.items.get_mut(at as usize) {
                item.children = children;
            }
            added.push(at);
        }
        added
    }

    pub(super) fn item(&self, at: u32) -> Option<&Item> {
        self.items.get(at as usize)
    }

    /// The item of this link id directly below `parent`.
    pub(super) fn child(&self, parent: Option<u32>, link_id: &str) -> Option<u32> {
        self.below.get(&(parent, link_id.to_owned())).copied()
    }

    pub(super) fn find(&self, link_id: &str) -> Option<u32> {
        self.by_link.get(link_id).copied()
    }

    pub(super) fn contained_set(&self, id: &str) -> Option<&Option<Codes>> {
        self.sets.get(id)
    }
}

fn item(node: Cursor<'_, '_>, order: usize) -> Item {
    let flag = |key: &str| node.get(key).and_then(Cursor::as_bool) == Some(true);
    let mut options = Vec::new();
    let mut exclusive = Vec::new();
    let mut displays = Vec::new();
    for option in items(node, "answerOption") {
        let Some(value) = typed(option, "value") else { continue };
        let alone = format!("{CORE}questionnaire-optionExclusive");
        let alone = items(option, "extension").any(|x| {
            x.get("url").is_some_and(|u| u.str_is(&alone))
                && x.get("valueBoolean").and_then(Cursor::as_bool) == Some(true)
        });
        if alone {
            exclusive.push(value.key());
        }
        if value.ty == "Coding" {
            displays.push(text_of(value.node, "display"));
        }
        options.push(value.key());
    }
    options.sort();
    exclusive.sort();
    displays.retain(|d| !d.is_empty());
    displays.sort();
    Item {
        link_id: text_of(node, "linkId"),
        kind: Kind::of(&text_of(node, "type")),
        text: text_of(node, "text"),
        required: flag("required"),
        repeats: flag("repeats"),
        order,
        children: Vec::new(),
        conditions: items(node, "enableWhen").filter_map(Condition::of).collect(),
        any: node.get("enableBehavior").is_some_and(|b| b.str_is("any")),
        options,
        exclusive,
        displays,
        value_set: text_of(node, "answerValueSet"),
        limits: limits(node),
    }
}

fn limits(node: Cursor<'_, '_>) -> Limits {
    let count = |node: Cursor<'_, '_>| node.number().and_then(|n| n.parse().ok());
    let mut limits = Limits { max_length: node.get("maxLength").and_then(count), ..Limits::default() };
    let mut targets = BTreeSet::new();
    for extension in items(node, "extension") {
        let url = text_of(extension, "url");
        let name = url.strip_prefix(CORE).or_else(|| url.strip_prefix(SDC)).unwrap_or_default();
        let Some(value) = extension.children().find(|c| c.raw_key().is_some_and(|k| k.starts_with("value")))
        else {
            continue;
        };
        let text = || value.as_str().map_or_else(String::new, |s| s.into_owned());
        let ordered = || typed(extension, "value").and_then(Ordered::of);
        match name {
            "minLength" => limits.min_length = count(value),
            "questionnaire-minOccurs" => limits.min_occurs = count(value),
            "questionnaire-maxOccurs" => limits.max_occurs = count(value),
            "maxDecimalPlaces" => limits.max_decimals = count(value),
            "minValue" => limits.min = ordered(),
            "maxValue" => limits.max = ordered(),
            "minQuantity" => limits.min_quantity = Amount::of(value),
            "maxQuantity" => limits.max_quantity = Amount::of(value),
            "mimeType" => limits.mime_types.push(text()),
            "maxSize" => {
                let whole = value.number().and_then(|n| n.split('.').next());
                limits.max_size = whole.and_then(|n| n.parse().ok());
            }
            "regex" => {
                let whole = format!("^(?:{})$", text());
                let pattern = regex::RegexBuilder::new(&whole).size_limit(MAX_PATTERN).build().ok();
                limits.unread_pattern = pattern.is_none();
                limits.pattern = pattern;
            }
            "questionnaire-unitOption" => {
                let part = |key: &str| text_of(value, key);
                limits.units.push((part("system"), part("code"), part("display")));
            }
            "questionnaire-unitValueSet" => limits.unit_set = text(),
            "questionnaire-referenceResource" => {
                targets.insert(text());
            }
            _ => {}
        }
    }
    limits.targets = targets.into_iter().collect();
    limits
}
