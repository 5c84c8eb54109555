//! `is`, `as`, `ofType()`.

use super::{Collection, Env, Evaluated, Evaluator, Item, Place};
use crate::fhirpath::ast::{Expr, ExprKind, Namespace, TypeOp, TypeSpecifier};
use crate::fhirpath::error::{EvalError, EvalErrorKind};
use crate::fhirpath::functions::Function;
use crate::schema::TypeKind;

/// The System types (FHIRPath N1 "Literals", "Reflection").
pub(in crate::fhirpath) const SYSTEM_TYPES: [&str; 11] = [
    "Any",
    "Boolean",
    "String",
    "Integer",
    "Long",
    "Decimal",
    "Date",
    "DateTime",
    "Time",
    "Quantity",
    "SimpleTypeInfo",
];

impl<'x, 'e> Evaluator<'x, 'e> {
    pub(super) fn type_operation(
        &self,
        op: TypeOp,
        input: Option<&'e Expr>,
        specifier: &TypeSpecifier,
        env: Env<'_, 'e>,
        at: u32,
    ) -> Evaluated<'e> {
        self.check_type(specifier, at)?;
        if let (
            TypeOp::Is,
            Some(Expr { kind: ExprKind::Call { input, function: Function::Resolve, .. }, .. }),
        ) = (op, input)
        {
            return self.resolves_to(input.as_deref(), specifier, env, at);
        }
        let evaluated;
        let items = match input {
            Some(input) => {
                evaluated = self.eval(input, env)?;
                evaluated.items()
            }
            None => env.this,
        };
        match op {
            TypeOp::Is => match self.single(items, Place::Text("the left side of `is`"), at)? {
                Some(item) => Ok(Collection::one(self.is_type(item, specifier, false))),
                None => Ok(Collection::new()),
            },
            TypeOp::As if !self.lenient => {
                self.single(items, Place::Text("the left side of `as`"), at)?;
                Ok(items.iter().filter(|i| self.is_type(i, specifier, true)).cloned().collect())
            }
            TypeOp::As | TypeOp::OfType => {
                Ok(items.iter().filter(|i| self.is_type(i, specifier, true)).cloned().collect())
            }
        }
    }

    /// Whether the type exists. Without schema every FHIR name passes. `System.Patient` passes
    /// too: the name is known, and nothing is of that type.
    fn check_type(&self, specifier: &TypeSpecifier, at: u32) -> Result<(), EvalError> {
        let system = specifier.namespace != Namespace::Fhir && SYSTEM_TYPES.contains(&&*specifier.name);
        let fhir = specifier.resolved.is_some()
            || self.schema().is_none_or(|s| s.type_named(&specifier.name).is_some());
        if system || fhir {
            return Ok(());
        }
        let message = format!("there is no type `{}`", specifier.name);
        Err(EvalError::new(EvalErrorKind::Unknown, message, at))
    }

    /// Whether `item` is of the type. `cast` is the rule of `as` and `ofType()`: a primitive is
    /// only its own type there (a `code` is no `string`), as the HL7 suite has it; complex types
    /// and resources count as their supertypes everywhere.
    pub(super) fn is_type(&self, item: &Item<'e>, specifier: &TypeSpecifier, cast: bool) -> bool {
        let name = &*specifier.name;
        match item {
            Item::Value(value) => {
                specifier.namespace != Namespace::Fhir && (value.system_type() == name || name == "Any")
            }
            Item::Element(element) => {
                if specifier.namespace == Namespace::System {
                    return false;
                }
                let (Some(schema), Some(ty)) = (self.schema(), element.ty) else {
                    return self.element_type(element) == name;
                };
                if let Some(named) = specifier.resolved.or_else(|| schema.type_named(name)) {
                    let exact = cast && schema.type_kind(ty) == Some(TypeKind::Primitive);
                    return if exact { ty == named } else { schema.is_a(ty, named) };
                }
                // Invariants in use write `$this is DateTime` for a FHIR dateTime.
                self.lenient && self.element_value(element).is_some_and(|v| v.system_type() == name)
            }
        }
    }

    /// `resolve() is T`: told from the reference alone where the target is not in the record.
    fn resolves_to(
        &self,
        input: Option<&'e Expr>,
        specifier: &TypeSpecifier,
        env: Env<'_, 'e>,
        at: u32,
    ) -> Evaluated<'e> {
        let evaluated;
        let items = match input {
            Some(input) => {
                evaluated = self.eval(input, env)?;
                evaluated.items()
            }
            None => env.this,
        };
        let Some(item) = self.single(items, Place::Text("the left side of `is`"), at)? else {
            return Ok(Collection::new());
        };
        if let Some(target) = self.resolve(item, at)? {
            return Ok(Collection::one(self.is_type(&target, specifier, false)));
        }
        let Some(named) = self.referenced_type(item) else { return Ok(Collection::new()) };
        let is = match (self.schema(), self.schema().and_then(|s| s.type_named(&named))) {
            (Some(schema), Some(ty)) => {
                schema.type_named(&specifier.name).is_some_and(|wanted| schema.is_a(ty, wanted))
            }
            _ => *named == *specifier.name,
        };
        Ok(Collection::one(is))
    }
}
