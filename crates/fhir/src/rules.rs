//! One file per rule.

pub(crate) mod binding;
pub(crate) mod bundle;
pub(crate) mod conformance;
pub(crate) mod contained;
pub(crate) mod datatype;
pub(crate) mod extension;
pub(crate) mod invariant;
pub(crate) mod measure;
pub(crate) mod narrative;
pub(crate) mod primitive;
pub(crate) mod questionnaire;
pub(crate) mod reference;
pub(crate) mod slicing;

use crate::report::IssueCode;
use crate::schema::{Primitive, Special, TypeDef, TypeKind};
use crate::tape::Cursor;
use crate::validate::Options;
use crate::walk::{Reached, Walk};

/// Rules on an object as a whole, after its members. `id` is its member of that name.
pub(crate) fn whole<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    def: &TypeDef,
    reached: Reached,
    id: Option<Cursor<'t, 'a>>,
) {
    // An ElementDefinition's id is a path that snapshot and differential share.
    if let Some(id) = id
        && def.kind != TypeKind::Resource
        && def.special != Special::ElementDefinition
        && !walk.is_withheld(id.id())
    {
        walk.note_element_id(id);
    }
    match def.special {
        Special::Extension => extension::check(walk, node, reached),
        Special::Reference => reference::check(walk, node, reached),
        Special::Bundle => bundle::check(walk, node),
        Special::Attachment => datatype::attachment(walk, node),
        Special::ElementDefinition => slicing::check(walk, node),
        Special::Quantity => datatype::quantity(walk, node),
        Special::Coding if walk.options.terminology => conformance::coding::check(walk, node),
        Special::Identifier => datatype::identifier(walk, node),
        Special::Questionnaire => questionnaire::questionnaire(walk, node),
        Special::QuestionnaireResponse => questionnaire::response(walk, node),
        Special::CodeSystem => conformance::code_system::check(walk, node),
        Special::ValueSet => conformance::value_set::check(walk, node),
        Special::ConceptMap => conformance::concept_map::check(walk, node),
        Special::SearchParameter => conformance::search_parameter::check(walk, node),
        Special::StructureDefinition => conformance::structure::check(walk, node),
        Special::Measure => measure::check(walk, node),
        Special::MeasureReport => measure::report(walk, node),
        _ => {}
    }
}

/// Whether [`text`] has to look at this text, which is printable ASCII without blanks.
#[inline]
pub(crate) fn reads_text(options: &Options, primitive: Primitive, text: &[u8]) -> bool {
    match primitive {
        Primitive::Uri | Primitive::Url | Primitive::Oid | Primitive::Uuid => {
            text.first() == Some(&b'#') || !options.example_urls
        }
        Primitive::Canonical | Primitive::Xhtml => true,
        Primitive::String | Primitive::Code => options.security_checks,
        _ => false,
    }
}

/// Rules on the text of a primitive whose form is right.
pub(crate) fn text<'t, 'a>(
    walk: &mut Walk<'_, 't, 'a>,
    node: Cursor<'t, 'a>,
    primitive: Primitive,
    text: &str,
) {
    match primitive {
        Primitive::Uri | Primitive::Url | Primitive::Canonical | Primitive::Oid | Primitive::Uuid => {
            if let Some(id) = text.strip_prefix('#') {
                // dom-3 counts uris, urls and canonicals as references to contained resources.
                if id.is_empty() {
                    walk.use_container(node.id());
                } else {
                    let _ = walk.use_contained(id, node.id());
                }
            } else if primitive == Primitive::Canonical && !primitive::is_absolute(text) {
                let message = "a canonical is an absolute url, or `#` and the id of a contained \
                    resource";
                walk.error(node, IssueCode::Value, "fhir.canonical.relative", message);
            } else if !walk.options.example_urls && is_example_url(text) {
                let message = "example urls are not allowed here; give the real one";
                walk.error(node, IssueCode::Value, "fhir.url.example", message);
            }
        }
        Primitive::String | Primitive::Code
            if walk.options.security_checks && narrative::looks_like_html(text) =>
        {
            let message = "this text looks like HTML tags; remove them";
            walk.error(node, IssueCode::Value, "fhir.string.html", message);
        }
        _ => {}
    }
}

/// Host in a domain reserved for examples (RFC 2606).
pub(crate) fn is_example_url(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let host = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
    let mut labels = host.rsplit('.');
    matches!(
        (labels.next(), labels.next()),
        (Some("example"), _) | (Some("com" | "org" | "net"), Some("example"))
    )
}
