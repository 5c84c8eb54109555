//! Names: organisations, channels, heights.

use crate::canon::{CanonError, Canonical, Decoder, Encoder};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// A name that may stand in a NATS subject, a file name and an ABE attribute: `[a-z0-9-]{1,32}`,
/// without a hyphen at either end.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("a name is 1 to 32 of `a-z`, `0-9` and `-`, and neither starts nor ends with `-`")]
pub struct NameError;

fn check(name: &str) -> Result<(), NameError> {
    let ok = !name.is_empty()
        && name.len() <= 32
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if ok { Ok(()) } else { Err(NameError) }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Refuses anything that is not a name.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                check(&name)?;
                Ok(Self(name))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Canonical for $type {
            fn encode(&self, out: &mut Encoder) {
                out.str(&self.0);
            }
            fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
                Self::new(input.str(32, $field)?).map_err(|_| CanonError::NotCanonical($field))
            }
        }
    };
}

name!(
    /// An organisation of the consortium: a hospital, clinic or laboratory; one Helm release.
    OrgId,
    "organisation"
);
name!(
    /// One ledger with its own members and keys. It stands in every signature.
    ChannelId,
    "channel"
);

/// Height of a block. Genesis is 0, the first block 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Height(pub u64);

impl Height {
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Canonical for Height {
    fn encode(&self, out: &mut Encoder) {
        out.u64(self.0);
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        input.u64("height").map(Self)
    }
}
