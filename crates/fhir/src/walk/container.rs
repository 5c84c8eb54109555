//! What belongs to one resource as a whole: contained resources, element ids, references.

use std::borrow::Cow;

use super::Walk;
use crate::report::IssueCode;
use crate::rules;
use crate::schema::Run;
use crate::tape::{Cursor, NodeId};

/// A resource that is not contained itself.
#[derive(Default)]
pub(crate) struct Container<'a> {
    /// Ids, types and nodes of the contained resources, sorted by id.
    pub contained: Vec<Contained<'a>>,
    /// Positions in `contained`, in document order.
    by_node: Vec<usize>,
    /// Ids of elements, with their nodes.
    element_ids: Vec<(Cow<'a, str>, NodeId)>,
    /// References to be resolved in a bundle.
    pub uses: Vec<ReferenceUse<'a>>,
}

pub(crate) struct Contained<'a> {
    pub id: Cow<'a, str>,
    pub ty: Cow<'a, str>,
    pub node: NodeId,
    pub end: u32,
    pub used: bool,
}

/// A literal reference and what it may point to.
pub(crate) struct ReferenceUse<'a> {
    /// The string.
    pub node: NodeId,
    pub url: Cow<'a, str>,
    pub targets: Run,
}

impl Container<'_> {
    /// The contained resource with this id.
    pub(crate) fn find(&self, id: &str) -> Option<NodeId> {
        let from = self.contained.partition_point(|c| &*c.id < id);
        self.contained.get(from).filter(|c| &*c.id == id).map(|c| c.node)
    }
}

impl<'t, 'a> Walk<'_, 't, 'a> {
    pub(super) fn open_container(&mut self, node: Cursor<'t, 'a>) {
        let mut container = self.spare.pop().unwrap_or_default();
        let Container { contained, by_node, .. } = &mut container;
        if let Some(list) = node.get("contained") {
            for item in list.children() {
                let Some(id) = item.get("id") else { continue };
                if self.is_withheld(id.id()) {
                    continue;
                }
                let Some(id) = id.as_str() else { continue };
                let ty = item.get("resourceType").and_then(Cursor::as_str).unwrap_or_default();
                let end = item.node().next;
                contained.push(Contained { id, ty, node: item.id(), end, used: false });
            }
            contained.sort_by(|a, b| (&a.id, a.node).cmp(&(&b.id, b.node)));
        }
        by_node.extend(0..contained.len());
        by_node.sort_by_key(|&at| contained.get(at).map(|c| c.node));
        self.containers.push(container);
    }

    pub(super) fn close_container(&mut self, node: Cursor<'t, 'a>) {
        let Some(mut container) = self.containers.pop() else { return };
        for pair in container.contained.windows(2) {
            if let [a, b] = pair
                && a.id == b.id
            {
                let text = "two contained resources have the same id; give each its own";
                let node = self.tape.cursor(b.node);
                self.error(node, IssueCode::Duplicate, "fhir.contained.duplicate-id", text);
            }
        }
        rules::contained::unused(self, &container.contained);
        container.element_ids.sort();
        for pair in container.element_ids.windows(2) {
            if let [a, b] = pair
                && a.0 == b.0
            {
                let text = "another element of this resource has the same id; give each its own";
                let node = self.tape.cursor(b.1);
                self.error_above(node, IssueCode::Duplicate, "fhir.element.duplicate-id", text);
            }
        }
        rules::reference::collect(self, node, &mut container.uses);
        let Container { contained, by_node, element_ids, uses } = &mut container;
        contained.clear();
        by_node.clear();
        element_ids.clear();
        uses.clear();
        self.spare.push(container);
    }

    pub(crate) fn note_element_id(&mut self, id: Cursor<'t, 'a>) {
        self.reaches_out();
        if let (Some(container), Some(text)) = (self.containers.last_mut(), id.as_str()) {
            container.element_ids.push((text, id.id()));
        }
    }

    /// A local reference `#id`, standing at `at`: marks the contained resource as used and gives its
    /// type; `None` if there is none.
    pub(crate) fn use_contained(&mut self, id: &str, at: NodeId) -> Option<Cow<'a, str>> {
        self.reaches_out();
        let container = self.containers.last_mut()?;
        let from = container.contained.partition_point(|c| &*c.id < id);
        // A second one with the same id is an error of its own.
        let c = container.contained.get_mut(from).filter(|c| &*c.id == id)?;
        // A contained resource that only points to itself is not used.
        if at < c.node || at.0 >= c.end {
            c.used = true;
        }
        Some(c.ty.clone())
    }

    /// `#` stands for the container: the contained resource that says it belongs to it.
    pub(crate) fn use_container(&mut self, at: NodeId) {
        self.reaches_out();
        let Some(container) = self.containers.last_mut() else { return };
        let Container { contained, by_node, .. } = container;
        let after = by_node.partition_point(|&i| contained.get(i).is_some_and(|c| c.node <= at));
        let holder = after.checked_sub(1).and_then(|i| by_node.get(i).copied());
        if let Some(c) = holder.and_then(|i| contained.get_mut(i))
            && at.0 < c.end
        {
            c.used = true;
        }
    }
}
