//! Text to tree: the grammar of FHIRPath N1 by precedence climbing.

use super::ast::{BinaryOp, Expr, ExprKind, Namespace, SortKey, Step, TypeOp, TypeSpecifier};
use super::error::FhirPathError;
use super::functions::Function;
use super::lexer::{Lexer, Token};
use super::value::{CalendarUnit, Decimal, Quantity, Unit, Value};

type Parsed<T> = Result<T, FhirPathError>;

pub(super) struct Parser<'s> {
    lexer: Lexer<'s>,
    token: Token<'s>,
    at: usize,
    /// Levels of recursion under way.
    level: u16,
    max_depth: u16,
    strict: bool,
}

/// Binding strength of binary operators; type operators stand at 8.
fn binary(token: &Token<'_>) -> Option<(u8, BinaryOp)> {
    Some(match token {
        Token::Word("implies") => (1, BinaryOp::Implies),
        Token::Word("or") => (2, BinaryOp::Or),
        Token::Word("xor") => (2, BinaryOp::Xor),
        Token::Word("and") => (3, BinaryOp::And),
        Token::Word("in") => (4, BinaryOp::In),
        Token::Word("contains") => (4, BinaryOp::Contains),
        Token::Symbol("=") => (5, BinaryOp::Equal),
        Token::Symbol("~") => (5, BinaryOp::Equivalent),
        Token::Symbol("!=") => (5, BinaryOp::NotEqual),
        Token::Symbol("!~") => (5, BinaryOp::NotEquivalent),
        Token::Symbol("<") => (6, BinaryOp::Less),
        Token::Symbol("<=") => (6, BinaryOp::LessOrEqual),
        Token::Symbol(">") => (6, BinaryOp::Greater),
        Token::Symbol(">=") => (6, BinaryOp::GreaterOrEqual),
        Token::Symbol("|") => (7, BinaryOp::Union),
        Token::Symbol("+") => (9, BinaryOp::Add),
        Token::Symbol("-") => (9, BinaryOp::Subtract),
        Token::Symbol("&") => (9, BinaryOp::Concat),
        Token::Symbol("*") => (10, BinaryOp::Multiply),
        Token::Symbol("/") => (10, BinaryOp::Divide),
        Token::Word("div") => (10, BinaryOp::Div),
        Token::Word("mod") => (10, BinaryOp::Mod),
        _ => return None,
    })
}

const TYPE_OPERATORS: u8 = 8;

/// Words that can not begin a term.
const RESERVED: [&str; 7] = ["and", "or", "xor", "implies", "div", "mod", "is"];

impl<'s> Parser<'s> {
    pub(super) fn new(text: &'s str, max_depth: u16, strict: bool) -> Parsed<Self> {
        let mut lexer = Lexer::new(text);
        let (token, at) = lexer.next()?;
        Ok(Parser { lexer, token, at, level: 0, max_depth, strict })
    }

    /// entireExpression
    pub(super) fn entire(mut self) -> Parsed<Expr> {
        let expr = self.expression(0)?;
        match self.token {
            Token::End => Ok(expr),
            _ => Err(self.unexpected("an operator or the end")),
        }
    }

    fn advance(&mut self) -> Parsed<Token<'s>> {
        let (token, at) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.token, Token::Symbol(s) if s == symbol)
    }

    fn skip(&mut self, symbol: &str) -> Parsed<bool> {
        let found = self.is(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.skip(symbol)? { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> FhirPathError {
        let found = match &self.token {
            Token::End => "the expression ends",
            Token::Word(_) => "a word stands",
            Token::Symbol(_) => "a symbol stands",
            _ => "a literal stands",
        };
        FhirPathError::syntax(format!("{found} where {wanted} belongs"), self.at)
    }

    fn node(&self, kind: ExprKind, at: usize) -> Parsed<Expr> {
        let mut expr = Expr { kind, at: u32::try_from(at).unwrap_or(u32::MAX), depth: 0 };
        let below = expr.below().iter().map(|e| e.depth).max().unwrap_or(0);
        expr.depth = below + 1;
        if expr.depth > self.max_depth {
            return Err(FhirPathError::limit("expression is nested too deeply", at));
        }
        Ok(expr)
    }

    /// An expression whose operators bind at least as strongly as `least`.
    fn expression(&mut self, least: u8) -> Parsed<Expr> {
        if self.level >= self.max_depth {
            return Err(FhirPathError::limit("expression is nested too deeply", self.at));
        }
        self.level += 1;
        let mut left = self.unary()?;
        loop {
            let at = self.at;
            if let Token::Word(word @ ("is" | "as")) = self.token {
                if TYPE_OPERATORS < least {
                    break;
                }
                self.advance()?;
                let specifier = self.type_specifier()?;
                let op = if word == "is" { TypeOp::Is } else { TypeOp::As };
                left = self.node(ExprKind::Type { op, input: Some(Box::new(left)), specifier }, at)?;
                continue;
            }
            let Some((strength, op)) = binary(&self.token).filter(|b| b.0 >= least) else { break };
            self.advance()?;
            let right = self.expression(strength + 1)?;
            left = self.node(ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) }, at)?;
        }
        self.level -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.at;
        let negative = self.is("-");
        if !negative && !self.is("+") {
            return self.postfix();
        }
        self.advance()?;
        if self.level >= self.max_depth {
            return Err(FhirPathError::limit("expression is nested too deeply", at));
        }
        self.level += 1;
        let operand = Box::new(self.unary()?);
        self.level -= 1;
        // The least Integer is written as a minus before a number that is no Integer itself.
        if let (true, ExprKind::Literal(Value::Decimal(number))) = (negative, &operand.kind)
            && number.scale() == 0
            && number.negated().to_integer() == Some(i64::from(i32::MIN))
        {
            return self.node(ExprKind::Literal(Value::Integer(i32::MIN)), at);
        }
        self.node(ExprKind::Polarity { negative, operand }, at)
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let mut left = self.term()?;
        loop {
            let at = self.at;
            if self.skip(".")? {
                left = self.invocation(Some(left))?;
            } else if self.skip("[")? {
                let index = Box::new(self.expression(0)?);
                self.expect("]")?;
                left = self.node(ExprKind::Indexer { input: Box::new(left), index }, at)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Parsed<Expr> {
        let at = self.at;
        let value = match &self.token {
            Token::Word("true") => Value::Boolean(true),
            Token::Word("false") => Value::Boolean(false),
            Token::Word(word) if RESERVED.contains(word) => return Err(self.unexpected("a term")),
            Token::Word(_) | Token::Delimited(_) => return self.invocation(None),
            Token::String(text) => Value::String(text.clone().into()),
            Token::Temporal(value) => Value::Temporal(*value),
            Token::Integer(_) | Token::Long(_) | Token::Decimal(_) => return self.number(),
            Token::Symbol("$") => return self.invocation(None),
            Token::Symbol("%") => {
                self.advance()?;
                let name = match self.advance()? {
                    Token::Word(w) => w.into(),
                    Token::Delimited(d) | Token::String(d) => d.into(),
                    _ => return Err(FhirPathError::syntax("a name belongs after `%`", at)),
                };
                return self.node(ExprKind::Variable(name), at);
            }
            Token::Symbol("(") => {
                self.advance()?;
                let inner = self.expression(0)?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Symbol("{") => {
                self.advance()?;
                self.expect("}")?;
                return self.node(ExprKind::Empty, at);
            }
            _ => return Err(self.unexpected("a term")),
        };
        self.advance()?;
        self.node(ExprKind::Literal(value), at)
    }

    /// A number, perhaps with a unit behind it.
    fn number(&mut self) -> Parsed<Expr> {
        let at = self.at;
        let too_long = || FhirPathError::syntax("number has too many digits", at);
        let (value, exact) = match self.advance()? {
            Token::Decimal(d) => (Value::Decimal(d), d),
            Token::Long(text) => {
                let n: i64 = text.parse().map_err(|_| too_long())?;
                (Value::Long(n), Decimal::from(n))
            }
            Token::Integer(text) => {
                let exact = Decimal::parse(text).ok_or_else(too_long)?;
                // Beyond the range of Integer a whole number is a Decimal.
                (text.parse().map_or(Value::Decimal(exact), Value::Integer), exact)
            }
            _ => return Err(too_long()),
        };
        let unit = match &self.token {
            Token::String(text) => Some(Unit::quoted(text)),
            Token::Word(word) => CalendarUnit::from_keyword(word).map(Unit::Calendar),
            _ => None,
        };
        let value = match unit {
            Some(unit) => {
                self.advance()?;
                Value::Quantity(Box::new(Quantity { value: exact, unit }))
            }
            None => value,
        };
        self.node(ExprKind::Literal(value), at)
    }

    fn identifier(&mut self) -> Parsed<Box<str>> {
        let at = self.at;
        if let (true, Token::Word(word)) = (self.strict, &self.token)
            && matches!(*word, "div" | "mod" | "and" | "or" | "xor" | "implies" | "true" | "false")
        {
            return Err(FhirPathError::syntax(format!("`{word}` is a keyword: write it in backticks"), at));
        }
        match self.advance()? {
            Token::Word(word) => Ok(word.into()),
            Token::Delimited(name) => Ok(name.into()),
            _ => Err(FhirPathError::syntax("a name belongs here", at)),
        }
    }

    /// What may stand after a point: a member, a function or `$this`, `$index`, `$total`.
    fn invocation(&mut self, input: Option<Expr>) -> Parsed<Expr> {
        let at = self.at;
        if self.skip("$")? {
            let kind = match self.advance()? {
                Token::Word("this") => ExprKind::This,
                Token::Word("index") => ExprKind::Index,
                Token::Word("total") => ExprKind::Total,
                _ => return Err(FhirPathError::syntax("after `$` belongs `this`, `index` or `total`", at)),
            };
            if input.is_some() && self.strict {
                return Err(FhirPathError::syntax("a variable can not follow a point", at));
            }
            return self.node(kind, at);
        }
        let first = input.is_none();
        let name = self.identifier()?;
        if self.is("(") {
            return self.call(input, &name, at);
        }
        let may_be_type = first && name.starts_with(|c: char| c.is_ascii_uppercase());
        let step = Step { name, may_be_type };
        self.node(ExprKind::Child { input: input.map(Box::new), step }, at)
    }

    fn call(&mut self, input: Option<Expr>, name: &str, at: usize) -> Parsed<Expr> {
        self.expect("(")?;
        let input = input.map(Box::new);
        let type_op = match name {
            "is" => Some(TypeOp::Is),
            "as" => Some(TypeOp::As),
            "ofType" => Some(TypeOp::OfType),
            _ => None,
        };
        if let Some(op) = type_op {
            let specifier = self.type_specifier()?;
            self.expect(")")?;
            return self.node(ExprKind::Type { op, input, specifier }, at);
        }
        if name == "sort" {
            return self.sort(input, at);
        }
        let Some((function, least, most)) = Function::find(name) else {
            let hint = Function::near(name).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            return Err(FhirPathError::semantic(format!("there is no function `{name}`{hint}"), at));
        };
        let mut args = Vec::new();
        while !self.is(")") {
            if !args.is_empty() {
                self.expect(",")?;
            }
            args.push(self.expression(0)?);
        }
        self.expect(")")?;
        if args.len() < least || args.len() > most {
            let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let message = format!("`{name}` takes {wanted} arguments, not {}", args.len());
            return Err(FhirPathError::semantic(message, at));
        }
        self.node(ExprKind::Call { input, function, args, pattern: None }, at)
    }

    /// Keys of `sort()`, each with a minus before it or a direction behind it.
    fn sort(&mut self, input: Option<Box<Expr>>, at: usize) -> Parsed<Expr> {
        let mut keys = Vec::new();
        while !self.is(")") {
            if !keys.is_empty() {
                self.expect(",")?;
            }
            let mut key = self.expression(0)?;
            let mut negated = false;
            if let ExprKind::Polarity { negative: true, operand } = key.kind {
                key = *operand;
                negated = true;
            }
            let mut descending = false;
            if let Token::Word(word @ ("asc" | "desc")) = self.token {
                self.advance()?;
                descending = word == "desc";
            }
            keys.push(SortKey { key, negated, descending });
        }
        self.expect(")")?;
        self.node(ExprKind::Sort { input, keys }, at)
    }

    fn type_specifier(&mut self) -> Parsed<TypeSpecifier> {
        let at = self.at;
        let mut parts = vec![self.identifier()?];
        while self.is(".")
            && parts.len() < 2
            && matches!(parts.first().map(|p| &**p), Some("FHIR" | "System"))
        {
            self.advance()?;
            parts.push(self.identifier()?);
        }
        let name = parts.pop().ok_or_else(|| FhirPathError::syntax("a type belongs here", at))?;
        let namespace = match parts.first().map(|p| &**p) {
            Some("System") => Namespace::System,
            Some(_) => Namespace::Fhir,
            None => Namespace::Any,
        };
        Ok(TypeSpecifier { namespace, name, resolved: None })
    }
}
