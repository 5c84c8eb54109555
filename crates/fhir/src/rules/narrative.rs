//! The XHTML of narratives (<https://hl7.org/fhir/R4/narrative.html#xhtml>, txt-1 and txt-2).

mod entity;

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::report::IssueCode;
use crate::tape::{Cursor, NodeId};
use crate::walk::Walk;

const TXT_1: &str = "http://hl7.org/fhir/StructureDefinition/Narrative#txt-1";
const TXT_2: &str = "http://hl7.org/fhir/StructureDefinition/Narrative#txt-2";
const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// HTML 4.0 chapters 7 to 11 (but section 4 of chapter 9) and 15, `a`, images and internal styles.
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "address",
    "b",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "li",
    "map",
    "area",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "bdo",
    "kbd",
    "style",
    "font",
    "center",
];

const ATTRIBUTES: &[&str] = &[
    "abbr",
    "accesskey",
    "align",
    "alt",
    "axis",
    "bgcolor",
    "border",
    "cellhalign",
    "cellpadding",
    "cellspacing",
    "cellvalign",
    "char",
    "charoff",
    "charset",
    "cite",
    "class",
    "clear",
    "color",
    "cols",
    "colspan",
    "compact",
    "coords",
    "datetime",
    "dir",
    "face",
    "frame",
    "headers",
    "height",
    "href",
    "hreflang",
    "hspace",
    "id",
    "lang",
    "longdesc",
    "name",
    "nowrap",
    "noshade",
    "rel",
    "rev",
    "rowspan",
    "rules",
    "scope",
    "shape",
    "size",
    "span",
    "src",
    "start",
    "style",
    "summary",
    "tabindex",
    "target",
    "title",
    "type",
    "usemap",
    "valign",
    "value",
    "vspace",
    "width",
    "xml:lang",
    "xml:space",
    "xmlns",
    "data-fhir",
    "ismap",
];

pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>, text: &str) {
    let mut links = Vec::new();
    let scanned = scan(text, &mut links);
    for link in &links {
        if let Some(id) = link.strip_prefix('#') {
            // An image or link may show a contained resource.
            if walk.use_contained(id, node.id()).is_none() && !id.is_empty() {
                walk.anchors.push((node.id(), (*id).to_owned()));
            }
        } else if names_no_place(link) {
            let text = "a link of the narrative has a scheme that nobody can follow; use http, https, \
                mailto or tel";
            walk.error(node, IssueCode::Value, "fhir.narrative.link-scheme", text);
        }
    }
    match scanned {
        Ok(true) => {}
        Ok(false) => {
            let text = "the narrative says nothing; give it text or an image, or leave it out";
            walk.invariant(node, TXT_2, text);
        }
        Err(fault) => walk.invariant(node, TXT_1, fault),
    }
}

/// A name or a script where a reader expects a place.
fn names_no_place(link: &str) -> bool {
    let scheme = link.split_once(':').map_or("", |(scheme, _)| scheme);
    ["urn", "oid", "uuid", "vbscript"].iter().any(|s| scheme.eq_ignore_ascii_case(s))
}

/// Links inside the narratives, at the end of the document: the anchor is an `id` or `name` in some
/// narrative, or the id of an element or resource.
pub(crate) fn resolve_anchors<'t, 'a>(walk: &mut Walk<'_, 't, 'a>) {
    let anchors = std::mem::take(&mut walk.anchors);
    if anchors.is_empty() || walk.holds_withheld() {
        return;
    }
    let mut known = BTreeSet::new();
    let root = walk.tape.root();
    for at in 0..root.node().next {
        let node = walk.tape.cursor(NodeId(at));
        if node.key_is("id") {
            known.extend(node.as_str().map(Cow::into_owned));
        } else if node.key_is("div")
            && let Some(text) = node.as_str()
        {
            for quote in ['"', '\''] {
                for attribute in ["id=", "name="] {
                    let start = format!("{attribute}{quote}");
                    let parts = text.split(&start).skip(1);
                    known.extend(parts.filter_map(|p| p.split_once(quote)).map(|(id, _)| id.to_owned()));
                }
            }
        }
    }
    let mut last = None;
    for (node, anchor) in anchors {
        if !known.contains(&anchor) && last != Some(node) {
            last = Some(node);
            let text = "a link inside the narrative leads to an anchor that is not there; correct it";
            let node = walk.tape.cursor(node);
            walk.error(node, IssueCode::NotFound, "fhir.narrative.anchor", text);
        }
    }
}

/// A `<` directly followed by a name or a slash, with a `>` behind it.
pub(crate) fn looks_like_html(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'<', bytes).any(|at| {
        let next = bytes.get(at + 1).copied().unwrap_or(0);
        let rest = bytes.get(at + 1..).unwrap_or_default();
        (next.is_ascii_alphabetic() || next == b'/' || next == b'!') && memchr::memchr(b'>', rest).is_some()
    })
}

/// Reads the whole text as one `div`; `true` if there is content to read or see.
fn scan<'x>(text: &'x str, links: &mut Vec<&'x str>) -> Result<bool, &'static str> {
    const NO_XML: &str = "the narrative is no well-formed XHTML; correct its tags";
    let mut rest = text.trim_start();
    let mut open: Vec<&str> = Vec::new();
    let mut content = false;
    let mut started = false;
    loop {
        let Some(tag) = memchr::memchr(b'<', rest.as_bytes()) else {
            if !open.is_empty() || !started || !rest.trim().is_empty() {
                return Err(NO_XML);
            }
            return Ok(content);
        };
        let (run, at) = rest.split_at_checked(tag).ok_or(NO_XML)?;
        if open.is_empty() && !run.trim().is_empty() {
            return Err("the narrative is one `div` and nothing beside it");
        }
        entities(run)?;
        content |= !run.trim_matches(|c: char| c.is_whitespace()).is_empty();
        if let Some(comment) = at.strip_prefix("<!--") {
            let end = comment.find("-->").ok_or(NO_XML)?;
            rest = comment.get(end + 3..).ok_or(NO_XML)?;
        } else if let Some(close) = at.strip_prefix("</") {
            let end = close.find('>').ok_or(NO_XML)?;
            let name = close.get(..end).ok_or(NO_XML)?.trim_end();
            if open.pop() != Some(name) {
                return Err(NO_XML);
            }
            rest = close.get(end + 1..).ok_or(NO_XML)?;
        } else {
            let tag = at.get(1..).ok_or(NO_XML)?;
            if open.is_empty() && started {
                return Err("the narrative is one `div` and nothing beside it");
            }
            let read = start_tag(tag, links)?;
            if !started && read.name != "div" {
                return Err("the narrative starts with `<div xmlns=\"http://www.w3.org/1999/xhtml\">`");
            }
            if !started && !read.xhtml {
                return Err("the `div` of the narrative needs `xmlns=\"http://www.w3.org/1999/xhtml\"`");
            }
            if !ELEMENTS.contains(&read.name) {
                return Err("the narrative holds an element that is not allowed; use basic formatting only");
            }
            started = true;
            content |= read.name == "img";
            if !read.closed {
                open.push(read.name);
            }
            rest = read.rest;
        }
    }
}

struct Tag<'x> {
    name: &'x str,
    closed: bool,
    xhtml: bool,
    rest: &'x str,
}

fn start_tag<'x>(tag: &'x str, links: &mut Vec<&'x str>) -> Result<Tag<'x>, &'static str> {
    const NO_TAG: &str = "the narrative is no well-formed XHTML; correct its tags";
    let name_len = tag.bytes().take_while(|b| is_name_byte(*b)).count();
    let (name, mut rest) = tag.split_at_checked(name_len).ok_or(NO_TAG)?;
    if name.is_empty() {
        return Err(NO_TAG);
    }
    let mut xhtml = false;
    let mut given: Vec<&str> = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('>') {
            return Ok(Tag { name, closed: false, xhtml, rest: after });
        }
        if let Some(after) = rest.strip_prefix("/>") {
            return Ok(Tag { name, closed: true, xhtml, rest: after });
        }
        let len = rest.bytes().take_while(|b| is_name_byte(*b)).count();
        let (attribute, after) = rest.split_at_checked(len).ok_or(NO_TAG)?;
        let after = after.trim_start().strip_prefix('=').ok_or(NO_TAG)?.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or(NO_TAG)?;
        let (value, after) = after.get(1..).and_then(|a| a.split_once(quote)).ok_or(NO_TAG)?;
        // XML 1.0 section 3.1: no attribute twice in a tag.
        if attribute.is_empty() || value.contains('<') || given.contains(&attribute) {
            return Err(NO_TAG);
        }
        given.push(attribute);
        entities(value)?;
        if !ATTRIBUTES.contains(&attribute) {
            return Err("the narrative holds an attribute that is not allowed; remove scripts and events");
        }
        if matches!(attribute, "src" | "href") {
            links.push(value);
        }
        if attribute == "xmlns" {
            if value != XHTML {
                return Err("the namespace of a narrative is `http://www.w3.org/1999/xhtml`");
            }
            xhtml = true;
        }
        let active = value.trim_start().get(..11).is_some_and(|s| s.eq_ignore_ascii_case("javascript:"));
        if active {
            return Err("the narrative holds a script link; remove it");
        }
        rest = after;
    }
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.')
}

/// Every `&` begins an entity or a character reference.
fn entities(text: &str) -> Result<(), &'static str> {
    for at in memchr::memchr_iter(b'&', text.as_bytes()) {
        let tail = text.get(at + 1..).unwrap_or_default();
        let name = tail.split(';').next().filter(|n| n.len() < tail.len()).unwrap_or_default();
        let numeric = name.strip_prefix('#').is_some_and(|n| match n.strip_prefix('x') {
            Some(hex) => !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()),
            None => !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()),
        });
        if !numeric && !entity::is_named(name) {
            return Err(
                "the narrative holds a bare `&` or an entity that there is none of; write `&amp;` or the character",
            );
        }
    }
    Ok(())
}
