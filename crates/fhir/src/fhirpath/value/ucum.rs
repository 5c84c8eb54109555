//! UCUM units: case-sensitive codes, dimensions and exact conversion factors.
//!
//! The Unified Code for Units of Measure, version 2.1 (ucum.org), section 2 for the grammar and
//! section 4 for the tables. Units on scales that are no ratio (`Cel`, `[pH]`, `B`, …, "special
//! units", section 3.4) are known but have no factor: they compare with themselves only.

use super::decimal::Decimal;
use super::ucum_table::{ATOMS, Atom, PREFIXES};

/// Longest code that is read.
const MAX_CODE: usize = 128;
/// Deepest nesting of parentheses.
const MAX_DEPTH: u8 = 8;

/// Exponents of metre, second, gram, radian, kelvin, coulomb, candela and arbitrary unit.
pub(crate) type Dimensions = [i8; 8];

/// An exact fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ratio {
    pub num: i128,
    pub den: i128,
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Ratio {
    const ONE: Ratio = Ratio { num: 1, den: 1 };

    fn new(num: i128, den: i128) -> Option<Self> {
        if den == 0 {
            return None;
        }
        let g = i128::try_from(gcd(num.unsigned_abs(), den.unsigned_abs())).ok()?.max(1);
        Some(Ratio { num: num / g, den: den / g })
    }

    fn mul(self, other: Self) -> Option<Self> {
        // Cancelling crosswise first keeps the products small.
        let a = Ratio::new(self.num, other.den)?;
        let b = Ratio::new(other.num, self.den)?;
        Ratio::new(a.num.checked_mul(b.num)?, a.den.checked_mul(b.den)?)
    }

    fn inverse(self) -> Option<Self> {
        Ratio::new(self.den, self.num)
    }

    fn power(self, exponent: i32) -> Option<Self> {
        let base = if exponent < 0 { self.inverse()? } else { self };
        let mut result = Ratio::ONE;
        for _ in 0..exponent.unsigned_abs() {
            result = result.mul(base)?;
        }
        Some(result)
    }

    /// Greater than one.
    pub(crate) fn above_one(self) -> bool {
        self.num > self.den
    }

    /// `value × self`, exact where the quotient ends.
    pub(crate) fn apply(self, value: Decimal) -> Option<Decimal> {
        value.checked_mul(Decimal::new(self.num, 0))?.checked_div(Decimal::new(self.den, 0))
    }
}

/// A unit reduced to base units; `factor` is `None` for special units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub factor: Option<Ratio>,
    pub dims: Dimensions,
}

impl Unit {
    const ONE: Unit = Unit { factor: Some(Ratio::ONE), dims: [0; 8] };

    fn mul(self, other: Self) -> Option<Self> {
        let mut dims = self.dims;
        for (d, o) in dims.iter_mut().zip(other.dims) {
            *d = d.checked_add(o)?;
        }
        // A special unit may only stand alone.
        Some(Unit { factor: Some(self.factor?.mul(other.factor?)?), dims })
    }

    fn power(self, exponent: i32) -> Option<Self> {
        if exponent == 1 {
            return Some(self);
        }
        let mut dims = self.dims;
        for d in &mut dims {
            *d = d.checked_mul(i8::try_from(exponent).ok()?)?;
        }
        Some(Unit { factor: Some(self.factor?.power(exponent)?), dims })
    }
}

/// Reads a UCUM code; `None` if it is none, or uses an atom that the table lacks.
pub(crate) fn parse(code: &str) -> Option<Unit> {
    let mut terms = Vec::new();
    factors(code, &mut terms)?;
    let mut unit = Unit::ONE;
    let single = terms.len() == 1;
    for (symbol, exponent) in terms {
        let part = atom(symbol)?.power(exponent)?;
        unit = if single { part } else { unit.mul(part)? };
    }
    Some(unit)
}

/// Whether a code is a term of UCUM of units that the table has. The value of the unit need not be
/// one that can be computed with.
pub(crate) fn is_unit(code: &str) -> bool {
    let mut terms = Vec::new();
    factors(code, &mut terms).is_some() && terms.iter().all(|(symbol, _)| atom(symbol).is_some())
}

/// The factor that takes a value in unit `from` to unit `to`; `None` if the units are not
/// commensurable, not known or special.
pub(crate) fn conversion(from: &str, to: &str) -> Option<Ratio> {
    if from == to {
        return Some(Ratio::ONE);
    }
    let (from, to) = (parse(from)?, parse(to)?);
    if from.dims != to.dims {
        return None;
    }
    from.factor?.mul(to.factor?.inverse()?)
}

/// The code of the product (`divide` false) or quotient of two units, equal symbols joined:
/// `m/s` and `s` give `m`. `None` if either is no UCUM code.
pub(crate) fn product(left: &str, right: &str, divide: bool) -> Option<String> {
    let (mut terms, mut more) = (Vec::new(), Vec::new());
    factors(left, &mut terms)?;
    factors(right, &mut more)?;
    for (symbol, exponent) in &terms {
        atom(symbol)?.power(*exponent)?;
    }
    for (symbol, exponent) in more {
        atom(symbol)?.power(exponent)?;
        let exponent = if divide { exponent.checked_neg()? } else { exponent };
        match terms.iter_mut().find(|(s, _)| *s == symbol) {
            Some((_, e)) => *e = e.checked_add(exponent)?,
            None => terms.push((symbol, exponent)),
        }
    }
    let mut code = String::new();
    let write = |code: &mut String, symbol: &str, exponent: i32| {
        code.push_str(symbol);
        if exponent != 1 {
            code.push_str(&exponent.to_string());
        }
    };
    for (symbol, exponent) in terms.iter().filter(|(s, e)| *e > 0 && *s != "1") {
        if !code.is_empty() {
            code.push('.');
        }
        write(&mut code, symbol, *exponent);
    }
    for (symbol, exponent) in terms.iter().filter(|(s, e)| *e < 0 && *s != "1") {
        code.push('/');
        write(&mut code, symbol, -exponent);
    }
    if code.is_empty() {
        code.push('1');
    }
    Some(code)
}

/// Splits a code into symbols and their exponents.
fn factors<'a>(code: &'a str, terms: &mut Vec<(&'a str, i32)>) -> Option<()> {
    if code.is_empty() || code.len() > MAX_CODE || !code.is_ascii() {
        return None;
    }
    let mut reader = Reader { rest: code };
    reader.main_term(terms)?;
    reader.rest.is_empty().then_some(())
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn main_term(&mut self, terms: &mut Vec<(&'a str, i32)>) -> Option<()> {
        let sign = if self.skip('/') { -1 } else { 1 };
        self.term(terms, sign, 0)
    }

    fn term(&mut self, terms: &mut Vec<(&'a str, i32)>, sign: i32, depth: u8) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut operator = sign;
        loop {
            self.component(terms, operator, depth)?;
            operator = if self.skip('.') {
                1
            } else if self.skip('/') {
                -1
            } else {
                return Some(());
            };
            // Inside an inverted parenthesis every operator is inverted too.
            if depth > 0 {
                operator *= sign;
            }
        }
    }

    fn component(&mut self, terms: &mut Vec<(&'a str, i32)>, sign: i32, depth: u8) -> Option<()> {
        if self.skip('(') {
            self.term(terms, sign, depth + 1)?;
            return self.skip(')').then_some(());
        }
        if self.rest.starts_with('{') {
            self.annotation()?;
            return Some(());
        }
        let symbol_end = symbol_length(self.rest)?;
        let (symbol, rest) = self.rest.split_at_checked(symbol_end)?;
        self.rest = rest;
        let exponent = self.exponent()?;
        if self.rest.starts_with('{') {
            self.annotation()?;
        }
        terms.push((symbol, sign.checked_mul(exponent)?));
        Some(())
    }

    fn annotation(&mut self) -> Option<()> {
        let end = self.rest.find('}')?;
        self.rest = self.rest.get(end + 1..)?;
        Some(())
    }

    fn exponent(&mut self) -> Option<i32> {
        let signed = usize::from(self.rest.starts_with(['+', '-']));
        let digits = self.rest.bytes().skip(signed).take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return (signed == 0).then_some(1);
        }
        let (text, rest) = self.rest.split_at_checked(signed + digits)?;
        self.rest = rest;
        text.parse().ok().filter(|e: &i32| e.abs() <= 30)
    }
}

/// Length of the symbol (or number) at the front, without exponent and annotation.
fn symbol_length(text: &str) -> Option<usize> {
    if text.starts_with("10*") || text.starts_with("10^") {
        return Some(3);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 {
        return Some(digits);
    }
    let mut bracket = false;
    let mut length = text.len();
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'[' => bracket = true,
            b']' => bracket = false,
            _ if bracket => {}
            b'.' | b'/' | b'(' | b')' | b'{' | b'}' | b'0'..=b'9' | b'+' | b'-' => {
                length = i;
                break;
            }
            _ => {}
        }
    }
    (length > 0 && !bracket).then_some(length)
}

fn find(symbol: &str) -> Option<&'static Atom> {
    ATOMS.iter().find(|a| a.code == symbol)
}

fn atom(symbol: &str) -> Option<Unit> {
    if let Ok(number) = symbol.parse::<u32>() {
        return Some(Unit { factor: Some(Ratio::new(i128::from(number), 1)?), dims: [0; 8] });
    }
    let unit = |a: &Atom, prefix: Ratio| {
        let factor = match a.factor {
            Some((num, den)) => Some(Ratio::new(num, den)?.mul(prefix)?),
            None => None,
        };
        Some(Unit { factor, dims: a.dims })
    };
    if let Some(a) = find(symbol) {
        return unit(a, Ratio::ONE);
    }
    for (prefix, exponent) in PREFIXES {
        if let Some(a) = symbol.strip_prefix(prefix).and_then(find).filter(|a| a.metric) {
            return unit(a, Ratio { num: 10, den: 1 }.power(*exponent)?);
        }
    }
    for (prefix, shift) in [("Ki", 10u32), ("Mi", 20), ("Gi", 30), ("Ti", 40)] {
        if let Some(a) = symbol.strip_prefix(prefix).and_then(find).filter(|a| a.metric) {
            return unit(a, Ratio { num: 1i128.checked_shl(shift)?, den: 1 });
        }
    }
    None
}
