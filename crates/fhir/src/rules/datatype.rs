//! Rules of single data types (<https://hl7.org/fhir/R4/datatypes.html>).

use crate::report::IssueCode;
use crate::rules::primitive;
use crate::schema::Primitive;
use crate::tape::Cursor;
use crate::walk::Walk;

/// att-1, and the size against the data.
pub(crate) fn attachment<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let Some(data) = node.get("data") else { return };
    if node.get("contentType").is_none() {
        let text = "an attachment with data needs a `contentType`; add it";
        walk.invariant(node, "http://hl7.org/fhir/StructureDefinition/Attachment#att-1", text);
    }
    if walk.is_withheld(data.id()) {
        return;
    }
    let Some(size) = node.get("size") else { return };
    if walk.is_withheld(size.id()) {
        return;
    }
    if let (Some(data), Some(bytes)) = (data.as_str(), size.number())
        && primitive::fault(Primitive::Base64Binary, &data).is_none()
        && bytes.parse() != Ok(primitive::base64_len(&data))
    {
        let text = "the size differs from the number of bytes in `data`; correct it";
        walk.error(size, IssueCode::Value, "fhir.attachment.size", text);
    }
}

/// qty-3: a coded unit names its system.
pub(crate) fn quantity<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    if node.get("code").is_some() && node.get("system").is_none() && node.get("_system").is_none() {
        let text = "a unit with a `code` needs the `system` of that code; add it";
        walk.invariant(node, "http://hl7.org/fhir/StructureDefinition/Quantity#qty-3", text);
    }
}
