//! Rules of single data types (<https://hl7.org/fhir/R4/datatypes.html>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::report::IssueCode;
use crate::rules::primitive;
use crate::schema::Primitive;
use crate::tape::Cursor;
use crate::walk::Walk;

/// att-1, and size and hash against the data
/// (<https://hl7.org/fhir/R4/datatypes-definitions.html#Attachment.hash>).
pub(crate) fn attachment<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let Some(data) = node.get("data") else { return };
    if node.get("contentType").is_none() {
        let text = "an attachment with data needs a `contentType`; add it";
        walk.invariant(node, "http://hl7.org/fhir/StructureDefinition/Attachment#att-1", text);
    }
    if walk.is_withheld(data.id()) {
        return;
    }
    let Some(text) = data.as_str().filter(|d| primitive::fault(Primitive::Base64Binary, d).is_none()) else {
        return; // its form is reported elsewhere
    };
    if let Some(size) = node.get("size").filter(|s| !walk.is_withheld(s.id()))
        && let Some(bytes) = size.number()
        && bytes.parse() != Ok(primitive::base64_len(&text))
    {
        let text = "the size differs from the number of bytes in `data`; correct it";
        walk.error(size, IssueCode::Value, "fhir.attachment.size", text);
    }
    if let Some(hash) = node.get("hash").filter(|h| !walk.is_withheld(h.id()))
        && let (Some(given), Some(wanted)) = (hash.as_str().and_then(|h| decoded(&h)), decoded(&text))
        && given != Sha1::digest(wanted).as_slice()
    {
        let text = "the hash is not the SHA-1 of the bytes in `data`; the data were changed, or it was \
            made another way";
        walk.error(hash, IssueCode::Value, "fhir.attachment.hash", text);
    }
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    let tight: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(tight).ok()
}

/// qty-3: a coded unit names its system.
pub(crate) fn quantity<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if node.get("code").is_some() && node.get("system").is_none() && node.get("_system").is_none() {
        let text = "a unit with a `code` needs the `system` of that code; add it";
        walk.invariant(node, "http://hl7.org/fhir/StructureDefinition/Quantity#qty-3", text);
    }
}

/// Values of the system `urn:ietf:rfc:3986` are uris
/// (<https://hl7.org/fhir/R4/datatypes.html#identifier>).
pub(crate) fn identifier<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let (Some(system), Some(value)) = (node.get("system"), node.get("value")) else { return };
    if !system.str_is("urn:ietf:rfc:3986") || walk.withholds(system.id()) || walk.withholds(value.id()) {
        return;
    }
    if value.as_str().is_some_and(|v| !v.is_empty() && !primitive::is_absolute(&v)) {
        let text = "an identifier of the system `urn:ietf:rfc:3986` is a uri with its scheme; correct it";
        walk.error(node, IssueCode::Value, "fhir.identifier.uri", text);
    }
}
