//! Slicing inside definitions (<https://hl7.org/fhir/R4/profiling.html#discriminator>): a
//! discriminator leads to something that the sliced element can have.

use crate::profile::{PathStep, discriminator_path};
use crate::report::IssueCode;
use crate::schema::{Schema, TypeId, TypeKind, items, text_of};
use crate::tape::Cursor;
use crate::walk::Walk;

/// The discriminators of one ElementDefinition.
pub(crate) fn check<'t, 'a>(walk: &mut Walk<'_, 't, 'a>, node: Cursor<'t, 'a>) {
    let Some(slicing) = node.get("slicing") else { return };
    if walk.holds_withheld() {
        return;
    }
    let Some(sliced) = element_type(walk.schema, node) else { return };
    for discriminator in items(slicing, "discriminator") {
        let path = text_of(discriminator, "path");
        if !leads_somewhere(walk.schema, sliced, &path) {
            let text = "the path of this discriminator leads to nothing that the sliced element can \
                have; correct it";
            walk.error(discriminator, IssueCode::BusinessRule, "fhir.definition.discriminator", text);
        }
    }
}

/// The type of the element a definition is about; `None` where it may be one of several, or is not
/// known here.
fn element_type(schema: &Schema, node: Cursor<'_, '_>) -> Option<TypeId> {
    let path = text_of(node, "path");
    let mut names = path.split('.');
    let mut ty = schema.type_named(names.next()?)?;
    for name in names {
        ty = schema.member(ty, name).map(|m| m.ty)?;
    }
    Some(ty)
}

fn leads_somewhere(schema: &Schema, from: TypeId, path: &str) -> bool {
    let Some(steps) = discriminator_path(path) else { return false };
    let mut at = from;
    for step in &steps {
        // Any resource may stand here, or any type of a choice.
        if schema.type_kind(at) == Some(TypeKind::Resource)
            && schema.resource_type(schema.type_name(at)).is_none()
        {
            return true;
        }
        let next = match step {
            PathStep::Child(name) => match schema.members_named(at, name).as_slice() {
                [] => return false,
                [only] => Some(*only),
                _ => None,
            },
            PathStep::Extension(_) => schema.type_named("Extension"),
            PathStep::OfType(name) => schema.type_named(name),
            PathStep::Resolve => None,
        };
        match next {
            Some(ty) => at = ty,
            None => return true,
        }
    }
    true
}
