//! Functions that FHIR R4 adds (fhirpath.html#functions).

use std::borrow::Cow;

use super::{Call, Collection, Element, Env, Evaluated, Evaluator, Item, Value};
use crate::fhirpath::context::resource_at;
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::functions::Function as F;
use crate::tape::{Cursor, Kind};

const DEFINITIONS: &str = "http://hl7.org/fhir/StructureDefinition/";

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn fhir_function(
        &self,
        input: &[Item<'e>],
        call: &Call<'_, 'e>,
        env: Env<'_, 'e>,
    ) -> Evaluated<'e> {
        match call.function {
            F::Type => {
                Ok(input.iter().map(|i| Item::Value(Value::Type(Box::new(self.type_info(i))))).collect())
            }
            F::Extension => self.extension(input, call, env),
            F::HasExtension => Ok(Collection::one(!self.extension(input, call, env)?.is_empty())),
            F::HasValue => {
                let has = match input {
                    [item] => self.value(item).is_some(),
                    _ => false,
                };
                Ok(Collection::one(has))
            }
            F::GetValue => match input {
                [item] => Ok(self.value(item).map_or_else(Collection::new, Collection::one)),
                _ => Ok(Collection::new()),
            },
            F::Resolve => {
                let mut out = Collection::new();
                for item in input {
                    if let Some(target) = self.resolve(item, call.at)? {
                        out.push(target);
                    }
                }
                Ok(out)
            }
            F::ConformsTo => self.conforms_to(input, call, env),
            F::MemberOf => self.member_of(input, call, env),
            F::HtmlChecks => match self.single(input, call.input(), call.at)? {
                Some(Item::Element(element)) => {
                    match self.ctx.services.and_then(|s| s.html_checks(element)) {
                        Some(ok) => Ok(Collection::one(ok)),
                        None => Err(self.unsupported(call)),
                    }
                }
                Some(item) => Err(self.wrong_type(call.input(), "an xhtml element", item, call.at)),
                None => Ok(Collection::new()),
            },
            F::GetResourceKey => self.resource_key(input, call),
            F::GetReferenceKey => self.reference_key(input, call, env),
            _ => Err(self.unsupported(call)),
        }
    }

    fn extension(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let Some(url) = self.string_arg(call, 0, env)? else { return Ok(Collection::new()) };
        let mut all = Collection::new();
        for item in input {
            if let Item::Element(element) = item {
                self.children_named(element, "extension", &mut all);
            }
        }
        self.charge(all.len(), call.at)?;
        let has_url = |item: &Item<'e>| match item {
            Item::Element(Element { node: Some(node), .. }) => {
                self.cursor(*node).and_then(|c| c.get("url")).is_some_and(|u| u.str_is(&url))
            }
            _ => false,
        };
        Ok(all.into_iter().filter(has_url).collect())
    }

    fn conforms_to(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let Some(item) = self.single(input, call.input(), call.at)? else {
            return Ok(Collection::new());
        };
        let Some(profile) = self.string_arg(call, 0, env)? else { return Ok(Collection::new()) };
        let Item::Element(element) = item else {
            return Err(self.wrong_type(call.input(), "an element of a resource", item, call.at));
        };
        // The definition of a type: what every instance of the type claims.
        if let (Some(schema), Some(ty)) = (self.schema(), element.ty)
            && let Some(named) = profile.strip_prefix(DEFINITIONS).and_then(|n| schema.type_named(n))
        {
            if !schema.is_a(ty, named) {
                return Ok(Collection::one(false));
            }
            let deep = self.ctx.services.and_then(|s| s.conforms_to(element, &profile));
            return Ok(Collection::one(deep.unwrap_or(true)));
        }
        if let Some(answer) = self.ctx.services.and_then(|s| s.conforms_to(element, &profile)) {
            return Ok(Collection::one(answer));
        }
        if self.schema().is_some_and(|s| s.definition(&profile).is_some()) {
            return Err(self.unsupported(call));
        }
        Err(EvalError::new(EvalErrorKind::Unknown, "the profile of `conformsTo` is not known", call.at))
    }

    fn member_of(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let Some(value_set) = self.string_arg(call, 0, env)? else { return Ok(Collection::new()) };
        let mut out = Collection::new();
        for item in input {
            let answer = match item {
                Item::Element(element) => self.ctx.services.and_then(|s| s.member_of(element, &value_set)),
                Item::Value(_) => None,
            };
            match answer {
                Some(member) => out.push(member.into()),
                None => return Err(self.unsupported(call)),
            }
        }
        Ok(out)
    }

    /// The text of a Reference, or of a canonical or uri.
    fn reference(&self, item: &Item<'e>) -> Option<Cow<'e, str>> {
        if let Item::Element(Element { node: Some(node), .. }) = item {
            let cursor = self.cursor(*node)?;
            if cursor.kind() == Kind::Object {
                return cursor.get("reference").and_then(Cursor::as_str);
            }
        }
        self.text_value(item)
    }

    /// The resource in this document that a reference means: a contained one, or an entry of the
    /// bundle. Nothing outside the document is looked at.
    pub(super) fn resolve(&self, item: &Item<'e>, at: u32) -> Result<Option<Item<'e>>, EvalError> {
        let Some(reference) = self.reference(item) else { return Ok(None) };
        let (Some(tape), Some(root)) = (self.ctx.tape, self.ctx.root) else { return Ok(None) };
        let element = |c: Cursor<'e, 'e>| Item::Element(resource_at(tape, self.schema(), c.id()));
        if let Some(id) = reference.strip_prefix('#') {
            for container in [self.ctx.resource, Some(root)].into_iter().flatten() {
                let Some(container) = container.node.and_then(|n| self.cursor(n)) else { continue };
                if id.is_empty() {
                    return Ok(Some(element(container)));
                }
                for c in container.get("contained").into_iter().flat_map(Cursor::children) {
                    self.charge(1, at)?;
                    if c.get("id").is_some_and(|i| i.str_is(id)) {
                        return Ok(Some(element(c)));
                    }
                }
            }
            return Ok(None);
        }
        let Some(bundle) = root.node.and_then(|n| self.cursor(n)) else { return Ok(None) };
        // Without a version, `Type/id` and `…/Type/id/_history/1` mean the same entry.
        let plain = reference.split("/_history/").next().unwrap_or_default();
        for entry in bundle.get("entry").into_iter().flat_map(Cursor::children) {
            self.charge(4, at)?;
            let Some(resource) = entry.get("resource") else { continue };
            let full = entry.get("fullUrl").and_then(Cursor::as_str);
            let matches = match &full {
                Some(full) if **full == *plain => true,
                Some(full) if !plain.contains(':') => {
                    full.strip_suffix(plain).is_some_and(|b| b.ends_with('/'))
                }
                _ => false,
            };
            let by_id = full.is_none() && {
                let mut parts = plain.split('/');
                let (ty, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                resource.get("resourceType").is_some_and(|t| t.str_is(ty))
                    && resource.get("id").is_some_and(|i| i.str_is(id))
            };
            if matches || by_id {
                return Ok(Some(element(resource)));
            }
        }
        Ok(None)
    }

    /// The type a reference names: in its text, or in `Reference.type`.
    pub(super) fn referenced_type(&self, item: &Item<'e>) -> Option<Cow<'e, str>> {
        if let Some(reference) = self.reference(item) {
            let path = reference.split(['?', '|']).next().unwrap_or_default();
            let path = path.split("/_history/").next().unwrap_or_default();
            let mut parts = path.rsplit('/');
            let last = parts.next().unwrap_or_default();
            // `Type?query` has the type last, `…/Type/id` before the id.
            let name = if reference.contains('?') { last } else { parts.next().unwrap_or_default() };
            if name.starts_with(|c: char| c.is_ascii_uppercase()) {
                return Some(Cow::Owned(name.to_owned()));
            }
        }
        let Item::Element(Element { node: Some(node), .. }) = item else { return None };
        self.cursor(*node)?.get("type").and_then(Cursor::as_str)
    }

    /// `Type/id` of a resource (SQL on FHIR).
    fn resource_key(&self, input: &[Item<'e>], call: &Call<'_, 'e>) -> Evaluated<'e> {
        let Some(item) = self.single(input, call.input(), call.at)? else {
            return Ok(Collection::new());
        };
        let Item::Element(Element { node: Some(node), .. }) = item else { return Ok(Collection::new()) };
        let id = self.cursor(*node).and_then(|c| c.get("id")).and_then(Cursor::as_str);
        Ok(id.map_or_else(Collection::new, |id| Collection::one(format!("{}/{id}", self.type_name(item)))))
    }

    /// `Type/id` of a reference, if it is of the type given.
    fn reference_key(&self, input: &[Item<'e>], call: &Call<'_, 'e>, env: Env<'_, 'e>) -> Evaluated<'e> {
        let Some(item) = self.single(input, call.input(), call.at)? else {
            return Ok(Collection::new());
        };
        let wanted = match call.args.first() {
            Some(arg) => match &arg.kind {
                crate::fhirpath::ast::ExprKind::Child { input: None, step } => {
                    Some(Cow::Borrowed(&*step.name))
                }
                _ => self.string_arg(call, 0, env)?,
            },
            None => None,
        };
        let (Some(reference), Some(named)) = (self.reference(item), self.referenced_type(item)) else {
            return Ok(Collection::new());
        };
        if wanted.is_some_and(|w| *w != *named) {
            return Ok(Collection::new());
        }
        let id = reference.split("/_history/").next().and_then(|p| p.rsplit('/').next()).unwrap_or_default();
        Ok(Collection::one(format!("{named}/{id}")))
    }
}
