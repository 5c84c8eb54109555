//! The machine's clock, read in one place.

use consilium_domain::Timestamp;

/// Wall clock now.
#[expect(clippy::disallowed_methods, reason = "the one place where this command reads the clock")]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
