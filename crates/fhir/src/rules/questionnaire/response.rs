//! A QuestionnaireResponse against its Questionnaire
//! (<https://hl7.org/fhir/R4/questionnaireresponse.html#link>).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer;
use super::condition::Condition;
use super::form::{Form, Item, Kind};
use super::value::typed;
use crate::report::{IssueCode, Severity};
use crate::rules::conformance;
use crate::schema::items;
use crate::search::DateRange;
use crate::tape::{Cursor, NodeId};
use crate::walk::Walk;

/// Steps of checking a response may take beside those that its own size allows.
const WORK: u64 = 10_000_000;
/// Steps for each JSON value of the document.
const WORK_PER_NODE: u64 = 100;

/// One response and what it is checked against.
pub(super) struct Pass<'w, 'v, 't, 'a> {
    pub walk: &'w mut Walk<'v, 't, 'a>,
    pub form: Arc<Form>,
    /// The items of the response by link id, in document order.
    index: BTreeMap<Cow<'a, str>, Vec<Cursor<'t, 'a>>>,
    /// Not finished: what is missing may still come.
    unfinished: bool,
    /// The texts may be translations.
    translated: bool,
    stopped: bool,
}

/// Checks a QuestionnaireResponse whose Questionnaire is contained, in the same bundle or in a package.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let Some(named) = node.get("questionnaire") else { return };
    if walk.is_withheld(named.id()) {
        return;
    }
    let Some(canonical) = named.as_str() else { return };
    let inside = match canonical.strip_prefix('#') {
        Some(id) => contained(walk, id),
        None => walk.in_bundle("Questionnaire", &canonical),
    };
    if inside.is_some_and(|form| walk.withholds_below(form)) {
        walk.unevaluated.withheld += 1;
        return;
    }
    let form = match inside {
        Some(form) => Some(walk.form_at(form)),
        None => walk.registry.form(&canonical),
    };
    let Some(form) = form else {
        match conformance::kind_of(walk.schema, &canonical) {
            Some(kind) if kind != "Questionnaire" => {
                let text = format!("this url is that of a {kind}; give that of a Questionnaire");
                walk.error(named, IssueCode::Structure, "fhir.canonical.type", text);
            }
            _ => {
                let text = "this questionnaire is neither in the document nor in the packages, so the \
                    answers are not checked against it; load it";
                let id = "fhir.questionnaire-response.unresolved";
                walk.note(node, Severity::Warning, IssueCode::NotFound, id, text);
                walk.unevaluated.profiles += 1;
            }
        }
        return;
    };
    let mut index = BTreeMap::new();
    if !collect(walk, node, &mut index) {
        // Without the link ids nothing can be told apart.
        return;
    }
    let status = node.get("status").and_then(Cursor::as_str).unwrap_or_default();
    let language = node.get("language").and_then(Cursor::as_str).unwrap_or_default();
    effective(walk, node, &form);
    let mut pass = Pass {
        unfinished: status == "in-progress",
        translated: *language != form.language,
        walk,
        form,
        index,
        stopped: false,
    };
    pass.level(node, node, None, &mut vec![node]);
}

fn contained<'t, 'a>(walk: &Walk<'_, 't, 'a>, id: &str) -> Option<Cursor<'t, 'a>> {
    let node = walk.tape.cursor(walk.containers.last()?.find(id)?);
    node.get("resourceType").is_some_and(|t| t.str_is("Questionnaire")).then_some(node)
}

/// Groups the items by link id; false if a link id is withheld.
fn collect<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    index: &mut BTreeMap<Cow<'a, str>, Vec<Cursor<'t, 'a>>>,
) -> bool {
    for item in items(node, "item") {
        if let Some(link) = item.get("linkId") {
            if walk.is_withheld(link.id()) {
                return false;
            }
            if let Some(link) = link.as_str() {
                index.entry(link).or_default().push(item);
            }
        }
        if !collect(walk, item, index) {
            return false;
        }
        for answer in items(item, "answer") {
            if !collect(walk, answer, index) {
                return false;
            }
        }
    }
    true
}

/// The answers were given while the questionnaire was in use.
fn effective<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, form: &Form) {
    let Some(authored) = node.get("authored") else { return };
    if walk.withholds(authored.id()) {
        return;
    }
    let Some(when) = authored.as_str().and_then(|a| DateRange::parse(&a)) else { return };
    let (start, end) = (DateRange::parse(&form.effective.0), DateRange::parse(&form.effective.1));
    if start.is_some_and(|s| when.end <= s.start) || end.is_some_and(|e| when.start >= e.end) {
        let text = "this date is outside the period in which the questionnaire is in use; check it";
        let id = "fhir.questionnaire-response.period";
        walk.note(authored, Severity::Warning, IssueCode::BusinessRule, id, text);
    }
}

impl<'t, 'a> Pass<'_, '_, 't, 'a> {
    /// Counts work; false when there is too much of it, which is reported once.
    fn may(&mut self, steps: usize) -> bool {
        self.walk.questionnaire_work += steps as u64;
        let limit = WORK + WORK_PER_NODE * self.walk.tape.len() as u64;
        if self.walk.questionnaire_work > limit && !self.stopped {
            self.stopped = true;
            let root = self.walk.tape.cursor(self.walk.resource);
            let text = "checking these answers against their questionnaire takes too long; split it";
            self.walk.error(root, IssueCode::TooCostly, "fhir.questionnaire-response.too-costly", text);
        }
        !self.stopped
    }

    pub(super) fn error(&mut self, node: Cursor<'t, 'a>, code: IssueCode, id: &'static str, text: String) {
        self.walk.error(node, code, id, text);
    }

    /// What is missing is an error only when the response is finished.
    fn missing(&mut self, node: Cursor<'t, 'a>, id: &'static str, text: String) {
        let severity = if self.unfinished { Severity::Warning } else { Severity::Error };
        self.walk.note(node, severity, IssueCode::Required, id, text);
    }

    /// The items in `node` against those the form has below `parent`. `place` is where issues about
    /// the level as a whole stand; `above` is the way from the response down to `node`.
    fn level(
        &mut self,
        node: Cursor<'t, 'a>,
        place: Cursor<'t, 'a>,
        parent: Option<u32>,
        above: &mut Vec<Cursor<'t, 'a>>,
    ) {
        let form = self.form.clone();
        let mut given: BTreeMap<u32, Vec<Cursor<'t, 'a>>> = BTreeMap::new();
        let mut last = 0;
        for child in items(node, "item") {
            if !self.may(1) {
                return;
            }
            let Some(link) = child.get("linkId").and_then(Cursor::as_str) else { continue };
            if let Some(at) = form.child(parent, &link) {
                let order = form.item(at).map_or(0, |i| i.order);
                if order < last {
                    let text = "the items are not in the order of the questionnaire; sort them".to_owned();
                    self.error(place, IssueCode::Structure, "fhir.questionnaire-response.order", text);
                }
                last = order;
                given.entry(at).or_default().push(child);
            } else if let Some(at) = form.find(&link) {
                let text = format!(
                    "the questionnaire has {} elsewhere; move the item to the place it has there",
                    form.item(at).map_or_else(String::new, shown),
                );
                self.error(place, IssueCode::Structure, "fhir.questionnaire-response.misplaced", text);
                self.item(child, at, above);
            } else {
                let text = "the questionnaire has no item with this link id; correct or remove it".to_owned();
                self.error(place, IssueCode::NotFound, "fhir.questionnaire-response.link-id", text);
            }
        }
        let expected =
            parent.map_or(form.roots.as_slice(), |at| form.item(at).map_or(&[], |i| i.children.as_slice()));
        for at in expected {
            let Some(item) = form.item(*at) else { continue };
            if !self.may(1) {
                return;
            }
            match given.get(at) {
                Some(nodes) => self.given(nodes, *at, item, place, above),
                None if item.required && self.enabled(item, above) == Some(true) => {
                    let text = format!("{} is required and has no answer; answer it", shown(item));
                    self.missing(place, "fhir.questionnaire-response.required", text);
                }
                None => {}
            }
        }
    }

    /// All occurrences of one item at one level.
    fn given(
        &mut self,
        nodes: &[Cursor<'t, 'a>],
        at: u32,
        item: &Item,
        place: Cursor<'t, 'a>,
        above: &mut Vec<Cursor<'t, 'a>>,
    ) {
        let enabled = self.enabled(item, above);
        if enabled == Some(false) {
            for node in nodes.iter().filter(|n| holds(**n)) {
                let text = format!(
                    "{} is not enabled by the other answers, and yet it is answered; remove its answer",
                    shown(item),
                );
                self.error(*node, IssueCode::BusinessRule, "fhir.questionnaire-response.not-enabled", text);
            }
        }
        if nodes.len() > 1 && !item.repeats {
            let text = format!("{} does not repeat, but there are {} of it", shown(item), nodes.len());
            self.error(place, IssueCode::Structure, "fhir.questionnaire-response.repeats", text);
        }
        if item.kind == Kind::Group {
            self.count(place, item, nodes.len(), enabled);
        }
        for node in nodes {
            if holds(*node) {
                self.item(*node, at, above);
            } else if enabled == Some(true) {
                if item.required {
                    let text = format!("{} is required and has no answer; answer it", shown(item));
                    self.missing(*node, "fhir.questionnaire-response.required", text);
                }
                self.count(*node, item, 0, enabled);
            }
        }
    }

    /// `questionnaire-minOccurs` and `-maxOccurs`.
    fn count(&mut self, place: Cursor<'t, 'a>, item: &Item, count: usize, enabled: Option<bool>) {
        if let Some(min) = item.limits.min_occurs.filter(|min| count < *min)
            && enabled == Some(true)
        {
            let text = format!("{} has {count} answers, at least {min} are needed", shown(item));
            self.missing(place, "fhir.questionnaire-response.min-occurs", text);
        }
        if let Some(max) = item.limits.max_occurs.filter(|max| count > *max) {
            let text = format!("{} has {count} answers, at most {max} are allowed", shown(item));
            self.error(place, IssueCode::BusinessRule, "fhir.questionnaire-response.max-occurs", text);
        }
    }

    /// One item with answers or items.
    fn item(&mut self, node: Cursor<'t, 'a>, at: u32, above: &mut Vec<Cursor<'t, 'a>>) {
        let form = self.form.clone();
        let Some(item) = form.item(at) else { return };
        self.text(node, item);
        let answers: Vec<_> = items(node, "answer").collect();
        if !self.may(answers.len()) {
            return;
        }
        above.push(node);
        match item.kind {
            Kind::Group | Kind::Question => {
                if !answers.is_empty() {
                    let text = format!("{} is no question, so it has no answers; remove them", shown(item));
                    self.error(node, IssueCode::Structure, "fhir.questionnaire-response.no-question", text);
                }
                if item.kind == Kind::Group {
                    self.level(node, node, Some(at), above);
                }
            }
            kind => {
                if node.get("item").is_some() {
                    let text = if kind == Kind::Display {
                        format!("{} is a display, so it has no items; remove them", shown(item))
                    } else {
                        format!("{} is a question, so its items stand below its answers", shown(item))
                    };
                    self.error(node, IssueCode::Structure, "fhir.questionnaire-response.items", text);
                }
                if answers.is_empty() && item.required {
                    let text = format!("{} is required and has no answer; answer it", shown(item));
                    self.missing(node, "fhir.questionnaire-response.required", text);
                }
                if answers.len() > 1 && !item.repeats {
                    let text = format!("{} does not repeat; keep one answer", shown(item));
                    self.error(node, IssueCode::Structure, "fhir.questionnaire-response.answers", text);
                }
                self.count(node, item, answers.len(), Some(true));
                for answer in &answers {
                    answer::check(self, *answer, item, answers.len());
                    above.push(*answer);
                    self.level(*answer, node, Some(at), above);
                    above.pop();
                }
            }
        }
        above.pop();
    }

    fn text(&mut self, node: Cursor<'t, 'a>, item: &Item) {
        let Some(text) = node.get("text") else { return };
        if self.translated || self.walk.is_withheld(text.id()) {
            return;
        }
        if text.as_str().is_some_and(|t| t != item.text) {
            let text = format!("the text differs from that of {} in the questionnaire", shown(item));
            self.error(node, IssueCode::BusinessRule, "fhir.questionnaire-response.text", text);
        }
    }

    /// Whether an item that would stand below the last of `above` is to be answered; `None`: it
    /// depends on a withheld answer.
    fn enabled(&mut self, item: &Item, above: &[Cursor<'t, 'a>]) -> Option<bool> {
        if item.conditions.is_empty() {
            return Some(true);
        }
        let mut unknown = false;
        for condition in &item.conditions {
            match self.condition(condition, above) {
                Some(holds) if holds == item.any => return Some(item.any),
                Some(_) => {}
                None => unknown = true,
            }
        }
        if unknown { None } else { Some(!item.any) }
    }

    /// The question meant is the one nearest on the way up. What it is answered is known, whatever
    /// its own conditions are, so conditions that go round in a circle do no harm.
    fn condition(&mut self, condition: &Condition, above: &[Cursor<'t, 'a>]) -> Option<bool> {
        let mut nearest = Vec::new();
        if let Some(nodes) = self.index.get(condition.question.as_str()) {
            for ancestor in above.iter().rev() {
                let (from, to) = (ancestor.id(), NodeId(ancestor.node().next));
                let first = nodes.partition_point(|n| n.id() < from);
                let end = nodes.partition_point(|n| n.id() < to);
                if first < end {
                    nearest.extend_from_slice(nodes.get(first..end).unwrap_or_default());
                    break;
                }
            }
        }
        let mut unknown = false;
        let mut answered = false;
        if !self.may(nearest.len() + above.len()) {
            return None;
        }
        for question in nearest {
            for answer in items(question, "answer") {
                if !self.may(1) {
                    return None;
                }
                let Some(value) = typed(answer, "value") else { continue };
                answered = true;
                if condition.exists().is_none() && self.hides(value.node) {
                    unknown = true;
                } else if condition.exists().is_none() && condition.holds(value) {
                    return Some(true);
                }
            }
        }
        match condition.exists() {
            Some(wanted) => Some(answered == wanted),
            None if unknown => None,
            None => Some(false),
        }
    }

    /// Something in this value is withheld.
    pub(super) fn hides(&self, node: Cursor<'t, 'a>) -> bool {
        if !self.walk.holds_withheld() {
            return false;
        }
        (node.id().0..node.node().next).any(|id| self.walk.withholds(NodeId(id)))
    }
}

/// An item that says nothing counts as absent.
fn holds(node: Cursor<'_, '_>) -> bool {
    node.get("answer").is_some() || node.get("item").is_some()
}

/// The link id, which is the questionnaire's and no patient's.
pub(super) fn shown(item: &Item) -> String {
    let plain = item.link_id.len() <= 100 && item.link_id.chars().all(|c| c.is_ascii_graphic() && c != '`');
    if plain { format!("item `{}`", item.link_id) } else { "this item".to_owned() }
}
