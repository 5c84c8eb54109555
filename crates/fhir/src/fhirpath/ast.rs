//! The compiled form of an expression: a tree with names, functions and literals resolved.

use regex::Regex;

use super::functions::Function;
use super::value::Value;
use crate::schema::TypeId;

/// A type specifier: `Patient`, `FHIR.Patient`, `System.Boolean`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypeSpecifier {
    pub namespace: Namespace,
    pub name: Box<str>,
    /// The id of the FHIR type, if the program was compiled against a schema.
    pub resolved: Option<TypeId>,
}

/// The part of a type specifier before the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespace {
    /// None written: FHIR first, then System.
    Any,
    Fhir,
    System,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Multiply,
    Divide,
    Div,
    Mod,
    Add,
    Subtract,
    Concat,
    Union,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    Equivalent,
    NotEqual,
    NotEquivalent,
    In,
    Contains,
    And,
    Or,
    Xor,
    Implies,
}

impl BinaryOp {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Div => "div",
            BinaryOp::Mod => "mod",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Concat => "&",
            BinaryOp::Union => "|",
            BinaryOp::Less => "<",
            BinaryOp::LessOrEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterOrEqual => ">=",
            BinaryOp::Equal => "=",
            BinaryOp::Equivalent => "~",
            BinaryOp::NotEqual => "!=",
            BinaryOp::NotEquivalent => "!~",
            BinaryOp::In => "in",
            BinaryOp::Contains => "contains",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Xor => "xor",
            BinaryOp::Implies => "implies",
        }
    }
}

/// A member step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub name: Box<str>,
    /// First step of a path with a capital: it may name the type of the context.
    pub may_be_type: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub kind: ExprKind,
    /// Byte offset in the source.
    pub at: u32,
    /// Levels of the tree below and including this one.
    pub depth: u16,
}

#[derive(Clone, Debug)]
pub(super) enum ExprKind {
    /// `{}`
    Empty,
    Literal(Value<'static>),
    This,
    Index,
    Total,
    /// `%name`
    Variable(Box<str>),
    /// A member of the input, or of `$this` if there is none.
    Child {
        input: Option<Box<Expr>>,
        step: Step,
    },
    /// `pattern` is the regular expression, if it is a literal.
    Call {
        input: Option<Box<Expr>>,
        function: Function,
        args: Vec<Expr>,
        pattern: Option<Regex>,
    },
    Indexer {
        input: Box<Expr>,
        index: Box<Expr>,
    },
    /// Unary `+` and `-`.
    Polarity {
        negative: bool,
        operand: Box<Expr>,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `is`, `as`, `is()`, `as()`, `ofType()`
    Type {
        op: TypeOp,
        input: Option<Box<Expr>>,
        specifier: TypeSpecifier,
    },
    /// `sort(key [asc | desc], …)`
    Sort {
        input: Option<Box<Expr>>,
        keys: Vec<SortKey>,
    },
}

/// A key of `sort()`.
#[derive(Clone, Debug)]
pub(super) struct SortKey {
    pub key: Expr,
    /// Written with a minus: the value is negated, an empty key stays empty and comes first.
    pub negated: bool,
    /// `desc`: the whole order is reversed, empty keys come last.
    pub descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeOp {
    Is,
    As,
    OfType,
}

impl Expr {
    /// The expressions directly below.
    pub(super) fn below(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Empty
            | ExprKind::Literal(_)
            | ExprKind::This
            | ExprKind::Index
            | ExprKind::Total
            | ExprKind::Variable(_) => Vec::new(),
            ExprKind::Child { input, .. } | ExprKind::Type { input, .. } => {
                input.iter().map(|b| &**b).collect()
            }
            ExprKind::Call { input, args, .. } => input.iter().map(|b| &**b).chain(args).collect(),
            ExprKind::Indexer { input, index } => vec![input, index],
            ExprKind::Polarity { operand, .. } => vec![operand],
            ExprKind::Binary { left, right, .. } => vec![left, right],
            ExprKind::Sort { input, keys } => {
                input.iter().map(|b| &**b).chain(keys.iter().map(|k| &k.key)).collect()
            }
        }
    }
}
