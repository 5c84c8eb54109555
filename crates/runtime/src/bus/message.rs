//! Messages as the transports carry them.

use std::collections::BTreeMap;
use tokio::sync::oneshot;

pub(super) use super::queue::{Inlet, Outlet};

/// Marks a payload that is a `BlobOffer`.
pub(super) const BLOB: &str = "consilium-blob";
/// Marks an answer given by the bus itself; the value is a kebab-case code.
pub(super) const ERROR: &str = "consilium-error";

/// Random name of a message: copies of one message share it, two messages never do.
pub(super) const ID: &str = "consilium-id";

/// Headers of a message. Names are case-sensitive; ours are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
    pub fn insert(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
    }
}

/// A message as it travels.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub subject: String,
    pub reply: Option<String>,
    pub headers: Headers,
    pub payload: Vec<u8>,
}

/// Messages of one subscription, before large payloads are fetched.
pub(super) struct Listening {
    pub messages: Outlet,
    /// Tell the transport to unsubscribe, one for each subject; without any, closing `messages` does.
    pub stop: Vec<oneshot::Sender<()>>,
}

impl Raw {
    /// An empty answer that carries only headers.
    pub(super) fn headers_only(subject: String, headers: Headers) -> Self {
        Self { subject, reply: None, headers, payload: Vec::new() }
    }

    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        self.payload.len() + self.headers.size() + self.subject.len()
    }
}

impl Listening {
    /// Unsubscribes; what has arrived already can still be received, then comes the end.
    pub(super) fn drain(&mut self) {
        if self.stop.is_empty() {
            self.messages.close();
        }
        for stop in self.stop.drain(..) {
            // The task that would hear it may have ended with the connection.
            let _ = stop.send(());
        }
    }
}

/// Whether a subject matches a pattern with `*` (one token) and `>` (one or more at the end).
pub(super) fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(p), Some(s)) if p == s => {}
            _ => return false,
        }
    }
}

/// Whether everything that `inner` matches is matched by `outer` too.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    let (mut outer, mut inner) = (outer.split('.'), inner.split('.'));
    loop {
        match (outer.next(), inner.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (_, Some(">")) => return false,
            (Some("*"), Some(_)) => {}
            (Some(o), Some(i)) if o == i => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_nats() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.b", "a", false),
            ("*.b", "a.c", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
        assert!(covers("a.*", "a.b") && covers("a.>", "a.*.c") && covers("a.*", "a.*"));
        assert!(!covers("a.b", "a.*") && !covers("a.*", "a.>") && !covers("a.*.c", "a.b"));
    }
}
