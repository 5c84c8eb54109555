//! Compiling and running an expression.

use super::ast::{Expr, ExprKind};
use super::context::Context;
use super::error::{EvalError, FhirPathError};
use super::eval::{Evaluator, compile_pattern};
use super::functions::Function;
use super::parser::Parser;
use super::semantic;
use super::value::{Collection, Item, Value};
use crate::schema::Schema;

/// How an expression is read and checked.
#[derive(Clone, Copy, Debug)]
pub struct CompileOptions<'s> {
    /// Static errors for members that the schema does not know (needs `schema` and `context_type`),
    /// and for syntax that the grammar only nearly allows.
    pub strict: bool,
    /// Static errors for functions that rely on the order of an unordered collection, such as
    /// `children().first()`.
    pub check_order: bool,
    /// Accept what published invariants write against the specification: JSON names of choice
    /// elements (`valueQuantity`), System type names for FHIR primitives (`$this is DateTime`),
    /// `as` on several items.
    pub lenient: bool,
    /// Definitions to resolve types against.
    pub schema: Option<&'s Schema>,
    /// FHIR type of the context, such as `Patient` or `Patient.contact`.
    pub context_type: Option<&'s str>,
    /// Longest text in bytes.
    pub max_length: usize,
    /// Deepest nesting of the expression.
    pub max_depth: u16,
}

impl Default for CompileOptions<'_> {
    /// Neither strict nor lenient, no schema, 64 KiB, depth 200.
    fn default() -> Self {
        CompileOptions {
            strict: false,
            check_order: false,
            lenient: false,
            schema: None,
            context_type: None,
            max_length: 64 << 10,
            max_depth: 200,
        }
    }
}

/// A compiled expression; cheap to run often and from many threads.
#[derive(Clone, Debug)]
pub struct Program {
    root: Expr,
    lenient: bool,
    local: bool,
}

/// Compiles an expression.
///
/// # Errors
/// [`FhirPathError`] for text that is no FHIRPath, for an unknown function or wrong number of
/// arguments, for what static analysis can prove wrong, and beyond the limits.
pub fn compile(expression: &str, options: &CompileOptions<'_>) -> Result<Program, FhirPathError> {
    if expression.len() > options.max_length {
        return Err(FhirPathError::limit(
            format!("expression is longer than {} bytes", options.max_length),
            options.max_length,
        ));
    }
    let mut root = Parser::new(expression, options.max_depth, options.strict)?.entire()?;
    resolve(&mut root, options)?;
    semantic::check(&root, options)?;
    Ok(Program { local: is_local(&root), root, lenient: options.lenient })
}

/// Nothing in the expression leads out of its context.
fn is_local(expr: &Expr) -> bool {
    let leaves = match &expr.kind {
        ExprKind::Variable(name) => !matches!(&**name, "context" | "ucum"),
        ExprKind::Call { function, .. } => matches!(function, Function::Resolve | Function::ConformsTo),
        _ => false,
    };
    !leaves && expr.below().into_iter().all(is_local)
}

/// Looks up types and compiles literal patterns, in every expression of the tree.
fn resolve(expr: &mut Expr, options: &CompileOptions<'_>) -> Result<(), FhirPathError> {
    let at = expr.at as usize;
    match &mut expr.kind {
        ExprKind::Type { input, specifier, .. } => {
            specifier.resolved = options.schema.and_then(|s| s.type_named(&specifier.name));
            if let Some(input) = input {
                resolve(input, options)?;
            }
        }
        ExprKind::Call { input, function, args, pattern } => {
            if let Some(input) = input {
                resolve(input, options)?;
            }
            for arg in args.iter_mut() {
                resolve(arg, options)?;
            }
            let literals = match function {
                Function::Matches | Function::MatchesFull => args.first().zip(Some(args.get(1))),
                Function::ReplaceMatches => args.first().zip(Some(args.get(2))),
                _ => None,
            };
            if let Some((source, flags)) = literals
                && let ExprKind::Literal(Value::String(source)) = &source.kind
                && let Some(flags) = literal_text(flags)
            {
                let compiled = compile_pattern(*function, source, flags).ok_or_else(|| {
                    FhirPathError::semantic("the pattern is malformed, too large or not of linear time", at)
                })?;
                *pattern = Some(compiled);
            }
        }
        ExprKind::Child { input, .. } => {
            if let Some(input) = input {
                resolve(input, options)?;
            }
        }
        ExprKind::Indexer { input, index } => {
            resolve(input, options)?;
            resolve(index, options)?;
        }
        ExprKind::Polarity { operand, .. } => resolve(operand, options)?,
        ExprKind::Binary { left, right, .. } => {
            resolve(left, options)?;
            resolve(right, options)?;
        }
        ExprKind::Sort { input, keys } => {
            if let Some(input) = input {
                resolve(input, options)?;
            }
            for key in keys {
                resolve(&mut key.key, options)?;
            }
        }
        ExprKind::Empty
        | ExprKind::Literal(_)
        | ExprKind::This
        | ExprKind::Index
        | ExprKind::Total
        | ExprKind::Variable(_) => {}
    }
    Ok(())
}

/// The text of a literal; empty if the argument is not given; `None` if it is computed.
fn literal_text(arg: Option<&Expr>) -> Option<&str> {
    match arg.map(|a| &a.kind) {
        None => Some(""),
        Some(ExprKind::Literal(Value::String(text))) => Some(text),
        Some(_) => None,
    }
}

impl Program {
    /// The program with another tree; `None` if nothing is kept.
    pub(super) fn keep(self, change: impl FnOnce(Expr) -> Option<Expr>) -> Option<Program> {
        change(self.root).map(|root| Program { local: is_local(&root), root, lenient: self.lenient })
    }

    /// The result depends on the element it is evaluated on and on what that holds, not on where it stands.
    pub(crate) fn is_local(&self) -> bool {
        self.local
    }

    /// Evaluates in a context.
    ///
    /// # Errors
    /// [`EvalError`] where FHIRPath says that the evaluation ends with an error, where a service is
    /// missing, and beyond the limits of the context.
    pub fn evaluate<'e>(&'e self, context: &Context<'e>) -> Result<Collection<'e>, EvalError> {
        Evaluator::new(context, self.lenient).run(&self.root)
    }

    /// Evaluates as an invariant: `true` only for a single `true`; `None` for an empty result.
    ///
    /// # Errors
    /// As [`Program::evaluate`], and for several items.
    pub fn holds<'e>(&'e self, context: &Context<'e>) -> Result<Option<bool>, EvalError> {
        let evaluator = Evaluator::new(context, self.lenient);
        let result = evaluator.run(&self.root)?;
        evaluator.truth(&result)
    }
}

impl<'e> Item<'e> {
    /// The FHIR type name: `code`, `HumanName`, `Patient`; for a computed value that of the FHIR
    /// type of the same meaning (`boolean`, `decimal`, `Quantity`), as the HL7 suite names results.
    pub fn type_name(&self, context: &Context<'e>) -> String {
        Evaluator::new(context, false).shown_type(self)
    }

    /// `FHIR` for elements of the record, `System` for computed values.
    pub fn namespace(&self) -> &'static str {
        match self {
            Item::Element(_) => "FHIR",
            Item::Value(_) => "System",
        }
    }

    /// JSON text: elements as they stand in the record, numbers with all their digits, dates, times
    /// and quantities as FHIRPath writes them, in a string. A primitive without value is `null`.
    pub fn to_json(&self, context: &Context<'e>) -> String {
        match self {
            Item::Value(value) => value.to_json(),
            Item::Element(element) => {
                let node = element.node.zip(context.tape);
                node.map_or_else(|| "null".to_owned(), |(n, tape)| tape.cursor(n).token().to_owned())
            }
        }
    }

    /// The item as a computed value: primitives of the record become System values.
    pub fn to_value(&self, context: &Context<'e>) -> Option<Value<'e>> {
        Evaluator::new(context, false).system_value(self)
    }
}

impl<'e> Collection<'e> {
    /// A JSON array of `{"type": …, "value": …}`, each as [`Item::type_name`] and
    /// [`Item::to_json`] give it: decimals keep their digits.
    pub fn to_json(&self, context: &Context<'e>) -> String {
        let item = |item: &Item<'e>| {
            let name = super::value::json_string(&item.type_name(context));
            format!("{{\"type\":{name},\"value\":{}}}", item.to_json(context))
        };
        format!("[{}]", self.iter().map(item).collect::<Vec<_>>().join(","))
    }
}
