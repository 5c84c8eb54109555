//! Static analysis: which types an expression can have, and what can be proved wrong before any
//! record is seen.
//!
//! Without schema and context type only literals are known. What is not known is not reported.

use super::ast::{BinaryOp, Expr, ExprKind, Namespace, Step, TypeOp, TypeSpecifier};
use super::context::Context;
use super::error::FhirPathError;
use super::eval::{Evaluator, SYSTEM_TYPES};
use super::functions::Function as F;
use super::program::CompileOptions;
use crate::schema::{Schema, TypeId, TypeKind};

/// A type of the model or a System type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ty {
    Fhir(TypeId),
    System(&'static str),
}

/// What is known of a collection.
#[derive(Clone, Debug)]
struct Shape {
    /// All types its items can have; `None` if unknown.
    types: Option<Vec<Ty>>,
    /// Never more than one item.
    single: bool,
    /// In a defined order.
    ordered: bool,
}

impl Shape {
    const UNKNOWN: Shape = Shape { types: None, single: false, ordered: true };

    fn one(ty: Ty) -> Self {
        Shape { types: Some(vec![ty]), single: true, ordered: true }
    }

    fn system(name: &'static str) -> Self {
        Shape::one(Ty::System(name))
    }

    /// Items of either.
    fn or(self, other: Shape) -> Self {
        let types = self.types.zip(other.types).map(|(mut all, more)| {
            for ty in more {
                if !all.contains(&ty) {
                    all.push(ty);
                }
            }
            all
        });
        Shape { types, single: self.single && other.single, ordered: self.ordered && other.ordered }
    }

    fn many(self) -> Self {
        Shape { single: false, ..self }
    }

    fn only(self) -> Self {
        Shape { single: true, ordered: true, ..self }
    }

    fn unordered(self) -> Self {
        Shape { ordered: self.single, ..self }
    }
}

type Checked = Result<Shape, FhirPathError>;

pub(super) fn check(root: &Expr, options: &CompileOptions<'_>) -> Result<(), FhirPathError> {
    let context = match (options.schema, options.context_type) {
        (Some(schema), Some(name)) => match schema.type_named(name) {
            Some(ty) => Shape::one(Ty::Fhir(ty)),
            None => return Err(FhirPathError::semantic(format!("there is no context type `{name}`"), 0)),
        },
        _ => Shape { single: true, ..Shape::UNKNOWN },
    };
    let analysis = Analysis { options, context: context.clone() };
    analysis.shape(root, &context).map(|_| ())
}

struct Analysis<'o, 's> {
    options: &'o CompileOptions<'s>,
    context: Shape,
}

impl Analysis<'_, '_> {
    fn schema(&self) -> Option<&Schema> {
        self.options.schema
    }

    fn shape(&self, expr: &Expr, this: &Shape) -> Checked {
        let at = expr.at as usize;
        Ok(match &expr.kind {
            ExprKind::Empty => Shape { types: Some(Vec::new()), single: true, ordered: true },
            ExprKind::Literal(value) => Shape::system(value.system_type()),
            ExprKind::This => this.clone(),
            ExprKind::Index => Shape::system("Integer"),
            ExprKind::Total => Shape::UNKNOWN,
            ExprKind::Variable(name) => match &**name {
                "context" => self.context.clone(),
                "ucum" | "sct" | "loinc" => Shape::system("String"),
                _ => Shape::UNKNOWN,
            },
            ExprKind::Child { input: Some(input), step } => {
                let input = self.shape(input, this)?;
                self.member(&input, step, at)?
            }
            ExprKind::Child { input: None, step } => self.first_step(this, step, at)?,
            ExprKind::Call { input, function, args, .. } => {
                let input = match input {
                    Some(input) => self.shape(input, this)?,
                    None => this.clone(),
                };
                self.call(*function, &input, args, this, at)?
            }
            ExprKind::Indexer { input, index } => {
                let input = self.shape(input, this)?;
                self.shape(index, this)?;
                self.check_order("an index", &input, at)?;
                input.only()
            }
            ExprKind::Polarity { operand, .. } => self.shape(operand, this)?,
            ExprKind::Binary { op, left, right } => {
                let (left, right) = (self.shape(left, this)?, self.shape(right, this)?);
                match op {
                    BinaryOp::Union => left.or(right).many().unordered(),
                    BinaryOp::Concat => Shape::system("String"),
                    BinaryOp::Multiply
                    | BinaryOp::Divide
                    | BinaryOp::Div
                    | BinaryOp::Mod
                    | BinaryOp::Add
                    | BinaryOp::Subtract => Shape { single: true, ..Shape::UNKNOWN },
                    _ => Shape::system("Boolean"),
                }
            }
            ExprKind::Type { op, input, specifier } => {
                let input = match input {
                    Some(input) => self.shape(input, this)?,
                    None => this.clone(),
                };
                let ty = self.specified(specifier, at)?;
                match op {
                    TypeOp::Is => Shape::system("Boolean"),
                    _ => Shape { types: ty.map(|t| vec![t]), ..input },
                }
            }
            ExprKind::Sort { input, keys } => {
                let input = match input {
                    Some(input) => self.shape(input, this)?,
                    None => this.clone(),
                };
                let item = input.clone().only();
                for key in keys {
                    self.shape(&key.key, &item)?;
                }
                Shape { ordered: true, ..input }
            }
        })
    }

    /// The type a specifier names; `None` if there is no schema to ask.
    fn specified(&self, specifier: &TypeSpecifier, at: usize) -> Result<Option<Ty>, FhirPathError> {
        if let (Some(ty), true) = (specifier.resolved, specifier.namespace != Namespace::System) {
            return Ok(Some(Ty::Fhir(ty)));
        }
        let system = SYSTEM_TYPES.iter().find(|n| **n == &*specifier.name);
        if let (Some(name), true) = (system, specifier.namespace != Namespace::Fhir) {
            return Ok(Some(Ty::System(name)));
        }
        if specifier.resolved.is_some() {
            return Ok(None);
        }
        if self.schema().is_some() || specifier.namespace == Namespace::System {
            return Err(FhirPathError::semantic(format!("there is no type `{}`", specifier.name), at));
        }
        Ok(None)
    }

    /// The first step of a path: the context's type, or a member.
    fn first_step(&self, this: &Shape, step: &Step, at: usize) -> Checked {
        if !step.may_be_type {
            return self.member(this, step, at);
        }
        let (Some(schema), Some(types)) = (self.schema(), &this.types) else { return Ok(Shape::UNKNOWN) };
        let Some(named) = schema.type_named(&step.name) else { return self.member(this, step, at) };
        let fits = |ty: &Ty| match ty {
            // An abstract type may be the named one at run time.
            Ty::Fhir(ty) => schema.is_a(*ty, named) || schema.is_a(named, *ty),
            Ty::System(_) => false,
        };
        if types.iter().any(fits) {
            return Ok(Shape { types: Some(vec![Ty::Fhir(named)]), ..this.clone() });
        }
        if self.options.strict {
            let message = format!("the context is never of type `{}`", step.name);
            return Err(FhirPathError::semantic(message, at));
        }
        Ok(Shape { types: Some(Vec::new()), ..this.clone() })
    }

    fn member(&self, input: &Shape, step: &Step, at: usize) -> Checked {
        let (Some(schema), Some(types)) = (self.schema(), &input.types) else { return Ok(Shape::UNKNOWN) };
        if types.contains(&Ty::System("SimpleTypeInfo")) {
            return Ok(Shape::system("String"));
        }
        let mut found = Vec::new();
        let mut repeats = false;
        for ty in types {
            let Ty::Fhir(ty) = ty else { continue };
            // Any resource or element may stand there.
            if schema.def(*ty).is_none_or(|d| d.is_abstract) {
                return Ok(Shape::UNKNOWN);
            }
            for (_, member) in schema.members(*ty).filter(|(_, m)| m.name == &*step.name) {
                repeats |= member.is_array;
                if !found.contains(&Ty::Fhir(member.ty)) {
                    found.push(Ty::Fhir(member.ty));
                }
            }
        }
        if found.is_empty() && self.options.strict && !types.is_empty() {
            let owner = types.first().map_or("it", |ty| match ty {
                Ty::Fhir(ty) => schema.type_name(*ty),
                Ty::System(name) => name,
            });
            let message = format!("`{owner}` has no element `{}`", step.name);
            return Err(FhirPathError::semantic(message, at));
        }
        Ok(Shape { types: Some(found), single: input.single && !repeats, ordered: input.ordered })
    }

    fn check_order(&self, what: &str, input: &Shape, at: usize) -> Result<(), FhirPathError> {
        if self.options.check_order && !input.ordered {
            let message = format!("{what} relies on the order of a collection that has none");
            return Err(FhirPathError::semantic(message, at));
        }
        Ok(())
    }

    /// Whether no item can be text: complex elements only.
    fn never_text(&self, input: &Shape) -> bool {
        let Some(types) = &input.types else { return false };
        let complex = |ty: &Ty| match ty {
            Ty::Fhir(ty) => self.schema().and_then(|s| s.type_kind(*ty)) != Some(TypeKind::Primitive),
            Ty::System(_) => false,
        };
        !types.is_empty() && types.iter().all(complex)
    }

    fn call(&self, function: F, input: &Shape, args: &[Expr], this: &Shape, at: usize) -> Checked {
        if function.needs_order() {
            self.check_order(&format!("`{}`", function.name()), input, at)?;
        }
        if function.takes_text() && !self.options.lenient && self.never_text(input) {
            let message = format!("`{}` is for strings, its input is none", function.name());
            return Err(FhirPathError::semantic(message, at));
        }
        let item = input.clone().only();
        match function {
            F::Where | F::Exists | F::All => {
                for arg in args {
                    self.shape(arg, &item)?;
                }
                return Ok(if function == F::Where { input.clone() } else { Shape::system("Boolean") });
            }
            F::Select => {
                let mut result = Shape::UNKNOWN;
                for arg in args {
                    result = self.shape(arg, &item)?;
                }
                result.single &= input.single;
                result.ordered &= input.ordered;
                return Ok(result);
            }
            F::Repeat | F::RepeatAll => {
                let Some(projection) = args.first() else { return Ok(Shape::UNKNOWN) };
                let first = self.shape(projection, &item)?;
                let second = self.shape(projection, &first.clone().only()).unwrap_or(Shape::UNKNOWN);
                return Ok(first.or(second).many().unordered());
            }
            F::Iif => return self.iif(input, args, at),
            F::Coalesce => {
                let mut result: Option<Shape> = None;
                for arg in args {
                    let shape = self.shape(arg, input)?;
                    result = Some(match result {
                        Some(known) => known.or(shape),
                        None => shape,
                    });
                }
                return Ok(result.unwrap_or(Shape::UNKNOWN));
            }
            F::Aggregate => {
                for arg in args.iter().skip(1) {
                    self.shape(arg, this)?;
                }
                for arg in args.iter().take(1) {
                    self.shape(arg, &item)?;
                }
                return Ok(Shape::UNKNOWN);
            }
            F::Trace | F::DefineVariable => {
                for arg in args.iter().skip(1) {
                    self.shape(arg, if function == F::Trace { &item } else { input })?;
                }
                return Ok(input.clone());
            }
            F::GetReferenceKey => return Ok(Shape::system("String")),
            _ => {}
        }
        let mut given = Vec::with_capacity(args.len());
        for arg in args {
            given.push(self.shape(arg, this)?);
        }
        let other = given.into_iter().next();
        Ok(match function {
            F::First | F::Last | F::Single => input.clone().only(),
            F::Tail | F::Skip | F::Take | F::Distinct | F::Exclude => input.clone(),
            F::Intersect => input.clone().unordered(),
            F::Union | F::Combine => input.clone().or(other.unwrap_or(Shape::UNKNOWN)).many().unordered(),
            F::Children | F::Descendants => Shape { ordered: false, ..Shape::UNKNOWN },
            F::Type => Shape { types: Some(vec![Ty::System("SimpleTypeInfo")]), ..input.clone() },
            F::Extension => {
                let ty = self.schema().and_then(|s| s.type_named("Extension"));
                Shape { types: ty.map(|t| vec![Ty::Fhir(t)]), ..Shape::UNKNOWN }
            }
            F::Split | F::ToChars => Shape::system("String").many(),
            _ => match function.result() {
                Some(name) => Shape::system(name),
                None => Shape { single: input.single, ..Shape::UNKNOWN },
            },
        })
    }

    /// FHIRPath N1 `iif()`: the criterion is Boolean. A computed value of another type never is.
    fn iif(&self, input: &Shape, args: &[Expr], at: usize) -> Checked {
        let [criterion, branches @ ..] = args else { return Ok(Shape::UNKNOWN) };
        let shape = self.shape(criterion, input)?;
        let never_boolean = shape.types.as_ref().is_some_and(|types| {
            !types.is_empty() && types.iter().all(|t| matches!(t, Ty::System(name) if *name != "Boolean"))
        });
        let several = is_constant(criterion) && constant_fails(criterion);
        if (never_boolean || several) && !self.options.lenient {
            return Err(FhirPathError::semantic("the criterion of `iif` is no single Boolean", at));
        }
        let mut result: Option<Shape> = None;
        for branch in branches {
            let shape = self.shape(branch, input)?;
            result = Some(match result {
                Some(known) => known.or(shape),
                None => shape,
            });
        }
        Ok(result.unwrap_or(Shape::UNKNOWN))
    }
}

/// Whether an expression has one value whatever the record: literals and operators.
fn is_constant(expr: &Expr) -> bool {
    let own = matches!(
        expr.kind,
        ExprKind::Empty | ExprKind::Literal(_) | ExprKind::Polarity { .. } | ExprKind::Binary { .. }
    );
    own && expr.below().into_iter().all(is_constant)
}

/// Whether a constant is no single Boolean.
fn constant_fails(expr: &Expr) -> bool {
    let context = Context::empty();
    let evaluator = Evaluator::new(&context, false);
    evaluator.run(expr).and_then(|result| evaluator.truth(&result)).is_err()
}
