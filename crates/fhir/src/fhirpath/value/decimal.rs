//! Exact decimals with the digits that were written.
//!
//! FHIRPath N1 (section "Decimal") asks for at least 28 digits of which 8 after the point, in a
//! fixed-precision format; FHIR R4 (datatypes.html#decimal) asks that written digits survive. A
//! value is `mantissa × 10^-scale` with an `i128` mantissa and at most [`MAX_SCALE`] digits after
//! the point.

use std::cmp::Ordering;
use std::fmt;

/// Most digits kept after the decimal point.
pub const MAX_SCALE: u8 = 28;
/// Digits after the point of a quotient that does not end sooner.
const DIVISION_SCALE: u8 = 20;

/// An exact decimal number. `==` compares values: `1.10 == 1.1`.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    mantissa: i128,
    scale: u8,
    /// A zero that came from rounding a negative value keeps its sign when shown, as a decimal of
    /// IEEE 754 does; it plays no part in comparison or arithmetic.
    negative_zero: bool,
}

/// How [`Decimal::rounded`] treats the digits it drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// Towards zero.
    Truncate,
    /// To the nearest, halves away from zero.
    HalfUp,
    /// Towards negative infinity.
    Floor,
    /// Towards positive infinity.
    Ceiling,
}

fn pow10(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

impl Decimal {
    /// 0
    pub const ZERO: Decimal = Decimal::new(0, 0);
    /// 1
    pub const ONE: Decimal = Decimal::new(1, 0);

    /// `mantissa × 10^-scale`.
    pub const fn new(mantissa: i128, scale: u8) -> Self {
        Decimal { mantissa, scale, negative_zero: false }
    }

    /// Reads `[+-]digits[.digits][(e|E)[+-]digits]`. Digits after the 28th decimal place are
    /// rounded off; `None` if the text is no such number or its magnitude is out of range.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let (digits, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)?.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((w, f)) if !f.is_empty() => (w, f),
            Some(_) => return None,
            None => (digits, ""),
        };
        if whole.is_empty() {
            return None;
        }
        let mut mantissa: i128 = 0;
        let mut scale: i32 = 0;
        let mut round_up = false;
        let mut full = false;
        for b in whole.bytes() {
            mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit(b)?))?;
        }
        for b in fraction.bytes() {
            let d = digit(b)?;
            if full || scale >= i32::from(MAX_SCALE) {
                if !full && d >= 5 {
                    round_up = true;
                }
                full = true;
                continue;
            }
            match mantissa.checked_mul(10).and_then(|m| m.checked_add(i128::from(d))) {
                Some(m) => {
                    mantissa = m;
                    scale += 1;
                }
                None => {
                    full = true;
                    round_up = d >= 5;
                }
            }
        }
        if round_up {
            mantissa = mantissa.checked_add(1)?;
        }
        scale = scale.checked_sub(exponent)?;
        if scale < 0 {
            if mantissa != 0 {
                mantissa = mantissa.checked_mul(pow10(scale.unsigned_abs())?)?;
            }
            scale = 0;
        }
        while scale > i32::from(MAX_SCALE) {
            mantissa /= 10;
            scale -= 1;
            if mantissa == 0 {
                scale = scale.min(i32::from(MAX_SCALE));
            }
        }
        let mantissa = if negative { -mantissa } else { mantissa };
        Some(Decimal::new(mantissa, u8::try_from(scale).ok()?))
    }

    /// From a double, to 15 significant digits, without trailing zeros. `None` if not finite or
    /// out of range. Only the transcendental functions come this way.
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        Decimal::parse(&format!("{value:.14e}")).map(Decimal::normalized)
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Digits after the decimal point as written.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// The digits as an integer: the value times `10^scale`.
    pub fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// Equal to zero.
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// Below zero.
    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// Without trailing zeros after the point.
    pub fn normalized(self) -> Self {
        let Decimal { mut mantissa, mut scale, .. } = self;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Decimal::new(mantissa, scale)
    }

    /// The whole part as an integer if nothing stands after the point but zeros.
    pub fn to_integer(self) -> Option<i64> {
        let n = self.normalized();
        if n.scale == 0 { i64::try_from(n.mantissa).ok() } else { None }
    }

    /// With exactly `scale` digits after the point; missing digits become zeros. `None` on overflow.
    pub fn rounded(self, scale: u8, rounding: Rounding) -> Option<Self> {
        if scale >= self.scale {
            let m = self.mantissa.checked_mul(pow10(u32::from(scale - self.scale))?)?;
            return Some(Decimal { mantissa: m, scale, negative_zero: self.negative_zero });
        }
        let unit = pow10(u32::from(self.scale - scale))?;
        let (quotient, rest) = (self.mantissa / unit, self.mantissa % unit);
        let mantissa = match rounding {
            Rounding::Truncate => quotient,
            Rounding::HalfUp if rest.unsigned_abs() >= unit.unsigned_abs().div_ceil(2) => {
                quotient.checked_add(rest.signum())?
            }
            Rounding::HalfUp => quotient,
            Rounding::Floor => quotient - i128::from(rest < 0),
            Rounding::Ceiling => quotient + i128::from(rest > 0),
        };
        let negative_zero = mantissa == 0 && (self.mantissa < 0 || self.negative_zero);
        Some(Decimal { mantissa, scale, negative_zero })
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u8)> {
        let scale = self.scale.max(other.scale);
        let a = self.mantissa.checked_mul(pow10(u32::from(scale - self.scale))?)?;
        let b = other.mantissa.checked_mul(pow10(u32::from(scale - other.scale))?)?;
        Some((a, b, scale))
    }

    /// Sum; `None` on overflow.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (a, b, scale) = self.aligned(other)?;
        Some(Decimal::new(a.checked_add(b)?, scale))
    }

    /// Difference; `None` on overflow.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(other.negated())
    }

    /// Product; `None` on overflow. Digits beyond [`MAX_SCALE`] are rounded off.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let (mut a, mut b) = (self, other);
        loop {
            let scale = u32::from(a.scale) + u32::from(b.scale);
            if let Some(m) = a.mantissa.checked_mul(b.mantissa) {
                let product = Decimal::new(m, u8::try_from(scale).ok()?);
                return if scale <= u32::from(MAX_SCALE) {
                    Some(product)
                } else {
                    product.rounded(MAX_SCALE, Rounding::HalfUp)
                };
            }
            let longer = if a.scale >= b.scale { &mut a } else { &mut b };
            if longer.scale == 0 {
                return None;
            }
            *longer = longer.rounded(longer.scale - 1, Rounding::HalfUp)?;
        }
    }

    /// Quotient, exact if it ends within 20 decimal places, else rounded there. `None` for a zero
    /// divisor or on overflow.
    pub fn checked_div(self, other: Self) -> Option<Self> {
        if other.mantissa == 0 {
            return None;
        }
        let (a, b, _) = match self.aligned(other) {
            Some(aligned) => aligned,
            None => self.normalized().aligned(other.normalized())?,
        };
        let negative = (a < 0) != (b < 0);
        let (a, b) = (a.unsigned_abs(), b.unsigned_abs());
        let (mut quotient, mut rest) = (a / b, a % b);
        let mut scale = 0u8;
        while rest != 0 && scale < DIVISION_SCALE {
            let Some(tenfold) = rest.checked_mul(10) else { break };
            let Some(shifted) = quotient.checked_mul(10).and_then(|q| q.checked_add(tenfold / b)) else {
                break;
            };
            quotient = shifted;
            rest = tenfold % b;
            scale += 1;
        }
        if rest >= b.div_ceil(2) {
            quotient = quotient.checked_add(1)?;
        }
        let mantissa = i128::try_from(quotient).ok()?;
        Some(Decimal::new(if negative { -mantissa } else { mantissa }, scale).normalized())
    }

    /// Truncated quotient (`div`); `None` for a zero divisor or on overflow.
    pub fn checked_whole_div(self, other: Self) -> Option<Self> {
        let (a, b, _) = self.aligned(other)?;
        Some(Decimal::new(a.checked_div(b)?, 0))
    }

    /// Remainder of the truncated quotient (`mod`); `None` for a zero divisor or on overflow.
    pub fn checked_rem(self, other: Self) -> Option<Self> {
        let (a, b, scale) = self.aligned(other)?;
        Some(Decimal::new(a.checked_rem(b)?, scale))
    }

    /// Raised to a whole power; `None` on overflow or for a negative power of zero.
    pub fn checked_powi(self, exponent: i32) -> Option<Self> {
        let mut power = Decimal::ONE;
        let mut base = self;
        let mut left = exponent.unsigned_abs();
        while left > 0 {
            if left & 1 == 1 {
                power = power.checked_mul(base)?;
            }
            left >>= 1;
            if left > 0 {
                base = base.checked_mul(base)?;
            }
        }
        if exponent < 0 { Decimal::ONE.checked_div(power) } else { Some(power) }
    }

    /// The value with its sign changed. Zero has no sign afterwards.
    pub fn negated(self) -> Self {
        Decimal::new(self.mantissa.saturating_neg(), self.scale)
    }

    /// Magnitude.
    pub fn abs(self) -> Self {
        Decimal::new(self.mantissa.saturating_abs(), self.scale)
    }

    /// The least value (`low`) or the greatest that is written like this one with fewer digits:
    /// half a unit of the last place away, shown with `precision` digits after the point
    /// (FHIRPath `lowBoundary()`, `highBoundary()`). The boundary farther from zero is rounded
    /// half up, the one nearer to zero is cut, as the HL7 suite has it. `None` if `precision` is
    /// negative or above [`MAX_SCALE`], or on overflow.
    pub fn boundary(self, precision: i64, low: bool) -> Option<Self> {
        let precision = u8::try_from(precision).ok().filter(|p| *p <= MAX_SCALE)?;
        let half = Decimal::new(5, self.scale.checked_add(1)?);
        let edge = if low { self.checked_sub(half)? } else { self.checked_add(half)? };
        let away_from_zero = low == self.is_negative() || self.is_zero();
        let rounding = if away_from_zero { Rounding::HalfUp } else { Rounding::Truncate };
        edge.rounded(precision, rounding)
    }

    /// Same value once both are rounded to the digits of the less precise one, where trailing
    /// zeros are no digits (FHIRPath N1 `~` on decimals).
    pub fn equivalent(self, other: Self) -> bool {
        let (a, b) = (self.normalized(), other.normalized());
        let scale = a.scale.min(b.scale);
        match (a.rounded(scale, Rounding::HalfUp), b.rounded(scale, Rounding::HalfUp)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Decimal::new(i128::from(value), 0)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.aligned(*other) {
            Some((a, b, _)) => a.cmp(&b),
            // Aligning overflows only if the whole parts differ by many places.
            None => {
                let whole = |d: &Decimal| pow10(u32::from(d.scale)).map_or(0, |p| d.mantissa / p);
                whole(self).cmp(&whole(other))
            }
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 || (self.negative_zero && self.mantissa == 0) { "-" } else { "" };
        let magnitude = self.mantissa.unsigned_abs();
        if self.scale == 0 {
            return write!(f, "{sign}{magnitude}");
        }
        let unit = 10u128.checked_pow(u32::from(self.scale)).unwrap_or(1);
        let width = usize::from(self.scale);
        write!(f, "{sign}{}.{:0width$}", magnitude / unit, magnitude % unit)
    }
}
