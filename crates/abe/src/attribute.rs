//! Attributes and the authorities that vouch for them.

use std::collections::BTreeSet;
use std::fmt;

use crate::AbeError;

/// Longest name, value or authority name, in bytes.
pub const MAX_NAME: usize = 128;
/// Longest epoch label, in bytes.
pub const MAX_EPOCH: usize = 32;
/// Largest version; versions count up from 0 within an epoch.
pub const MAX_VERSION: u32 = 1_000_000;

const NAME_RULE: &str = "1 to 128 ASCII letters, digits or `-_.:/+~%`";

/// Whether a character may stand in a name, value or authority name.
pub(crate) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:/+~%".contains(c)
}

/// Whether a character may stand in an epoch label.
pub(crate) fn is_epoch_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

pub(crate) fn check_name(what: &'static str, text: &str) -> Result<String, AbeError> {
    let fits = (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_name_char);
    fits.then(|| text.to_owned()).ok_or(AbeError::InvalidName { what, rule: NAME_RULE })
}

/// The name of an organisation as attribute authority, such as `hospital-a`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityName(String);

impl AuthorityName {
    /// Checks the name: 1 to 128 ASCII letters, digits or `-_.:/+~%`.
    ///
    /// # Errors
    /// [`AbeError::InvalidName`].
    pub fn new(name: &str) -> Result<Self, AbeError> {
        check_name("authority", name).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuthorityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an authority vouches for: `name`, `name=value`, in an epoch and a version of it.
///
/// Epoch and version are part of the attribute, so a key of another epoch is a key for another
/// attribute. That is how attributes are revoked: new headers name the new epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    pub(crate) name: String,
    /// Empty: the attribute is the bare name. `[bit/width]b`: one bit of an integer.
    pub(crate) value: String,
    /// Empty: the attribute has no epoch.
    pub(crate) epoch: String,
    pub(crate) version: u32,
}

impl Attribute {
    /// An attribute of an epoch (such as `2026W47`, or empty for none) and version (0 at first).
    ///
    /// # Errors
    /// [`AbeError::InvalidName`] if `name` or a non-empty `value` is not made of 1 to 128 ASCII
    /// letters, digits or `-_.:/+~%`, if `epoch` has more than 32 letters, digits or `-`, or if
    /// the version is over [`MAX_VERSION`].
    pub fn new(name: &str, value: &str, epoch: &str, version: u32) -> Result<Self, AbeError> {
        let value = if value.is_empty() { String::new() } else { check_name("attribute value", value)? };
        Self::with_checked_value(name, value, epoch, version)
    }

    /// Reads `name`, `name=value`, `name=value#epoch` or `name=value#epoch.version`.
    ///
    /// # Errors
    /// As [`Attribute::new`].
    pub fn parse(text: &str) -> Result<Self, AbeError> {
        let (head, tail) = text.split_once('#').unwrap_or((text, ""));
        let (epoch, version) = tail.split_once('.').unwrap_or((tail, "0"));
        let (name, value) = head.split_once('=').unwrap_or((head, ""));
        let version_ok = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
        let version = version.parse().ok().filter(|_| version_ok);
        let version = version
            .ok_or(AbeError::InvalidName { what: "attribute version", rule: "a number up to 1000000" })?;
        if (text.contains('#') && epoch.is_empty()) || (head.contains('=') && value.is_empty()) {
            return Err(AbeError::InvalidName {
                what: "attribute",
                rule: "`name`, `name=value` or these with `#epoch` or `#epoch.version`",
            });
        }
        Self::new(name, value, epoch, version)
    }

    /// The attributes of an integer below 2^`width`: one for each bit ("bag of bits", Bethencourt,
    /// Sahai and Waters 2007 §4.3). A policy compares them by `name[width]>=bound@authority`.
    ///
    /// # Errors
    /// [`AbeError::InvalidName`] if the width is not 1 to 64, if the number does not fit in it, or
    /// as [`Attribute::new`].
    pub fn integer(
        name: &str,
        width: u8,
        number: u64,
        epoch: &str,
        version: u32,
    ) -> Result<Vec<Self>, AbeError> {
        let fits = (1..=64).contains(&width) && number.checked_shr(width.into()).unwrap_or(0) == 0;
        if !fits {
            return Err(AbeError::InvalidName {
                what: "integer attribute",
                rule: "of width 1 to 64 bits and below 2^width",
            });
        }
        (0..width)
            .map(|bit| {
                let value = bit_value(width, bit, (number >> bit) & 1 == 1);
                Self::with_checked_value(name, value, epoch, version)
            })
            .collect()
    }

    fn with_checked_value(name: &str, value: String, epoch: &str, version: u32) -> Result<Self, AbeError> {
        if epoch.len() > MAX_EPOCH || !epoch.chars().all(is_epoch_char) {
            return Err(AbeError::InvalidName {
                what: "attribute epoch",
                rule: "at most 32 ASCII letters, digits or `-`",
            });
        }
        if version > MAX_VERSION || (version > 0 && epoch.is_empty()) {
            return Err(AbeError::InvalidName {
                what: "attribute version",
                rule: "a number up to 1000000, and 0 without an epoch",
            });
        }
        Ok(Self { name: check_name("attribute name", name)?, value, epoch: epoch.to_owned(), version })
    }

    /// Rebuilds an attribute from stored fields, one bit of an integer included.
    pub(crate) fn from_fields(name: &str, value: &str, epoch: &str, version: u32) -> Result<Self, AbeError> {
        if is_bit_value(value) {
            Self::with_checked_value(name, value.to_owned(), epoch, version)
        } else {
            Self::new(name, value, epoch, version)
        }
    }

    /// The name, such as `role`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, such as `cardiologist`; empty for a bare name.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The epoch label; empty for none.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The version within the epoch.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// This attribute as vouched for by an authority.
    #[must_use]
    pub fn at(&self, authority: &AuthorityName) -> Term {
        Term { authority: authority.clone(), attribute: self.clone() }
    }
}

/// The value of the attribute "bit `bit` of `width` is `one`". Brackets cannot stand in other
/// values, so no other attribute is taken for a bit.
pub(crate) fn bit_value(width: u8, bit: u8, one: bool) -> String {
    format!("[{bit}/{width}]{}", u8::from(one))
}

fn is_bit_value(value: &str) -> bool {
    let parts = value.strip_prefix('[').and_then(|rest| {
        let (bit, rest) = rest.split_once('/')?;
        let (width, one) = rest.split_once(']')?;
        Some((bit.parse().ok()?, width.parse().ok()?, one == "1"))
    });
    parts.is_some_and(|(bit, width, one): (u8, u8, bool)| {
        bit < width && width <= 64 && value == bit_value(width, bit, one)
    })
}

/// An attribute and the authority that vouches for it, as policies name them:
/// `role=cardiologist@hospital-a#2026W47`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    pub(crate) authority: AuthorityName,
    pub(crate) attribute: Attribute,
}

impl Term {
    /// The authority.
    #[must_use]
    pub fn authority(&self) -> &AuthorityName {
        &self.authority
    }

    /// The attribute.
    #[must_use]
    pub fn attribute(&self) -> &Attribute {
        &self.attribute
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attribute { name, value, epoch, version } = &self.attribute;
        f.write_str(name)?;
        if !value.is_empty() {
            write!(f, "={value}")?;
        }
        write!(f, "@{}", self.authority)?;
        write_epoch(f, epoch, *version)
    }
}

/// Writes `#epoch` or `#epoch.version`, or nothing without an epoch.
pub(crate) fn write_epoch(f: &mut fmt::Formatter<'_>, epoch: &str, version: u32) -> fmt::Result {
    match (epoch.is_empty(), version) {
        (true, _) => Ok(()),
        (false, 0) => write!(f, "#{epoch}"),
        (false, version) => write!(f, "#{epoch}.{version}"),
    }
}

/// The attributes a holder has.
pub type AttributeSet = BTreeSet<Term>;
