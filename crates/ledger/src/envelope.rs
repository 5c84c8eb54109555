//! Sealing and opening messages between organisations.

use crate::sign::{self, Role, SigningKey};
use consilium_domain::genesis::Member;
use consilium_domain::message::{Envelope, Sealed};
use consilium_domain::{ChannelId, Digest, OrgId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

/// Why a message is not accepted. It goes to the log of the one who refuses, never back in detail.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum EnvelopeError {
    #[error("the message's sender `{0}` is not a member of this channel")]
    UnknownSender(OrgId),
    #[error("the message is for `{0}`, not for this organisation")]
    WrongRecipient(OrgId),
    #[error("the message is about another subject than `{0}`")]
    WrongSubject(String),
    #[error("the message's time is outside the window: check the clocks of both sides")]
    OutsideWindow,
    #[error("the message's signature does not verify")]
    BadSignature,
    #[error("the message was seen before, or more arrived within the window than can be remembered")]
    Replayed,
    #[error("the message does not answer the request")]
    NotTheAnswer,
}

/// Signs a message.
pub fn seal(key: &SigningKey, channel: &ChannelId, sealed: Sealed) -> Envelope {
    let signature = key.sign(&sealed.signing_bytes(channel));
    Envelope { sealed, signature }
}

/// What the recipient expects of a message.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    pub channel: &'a ChannelId,
    /// The channel's members, of whom the sender must be one.
    pub members: &'a [Member],
    /// Whose key must have signed.
    pub role: Role,
    pub recipient: &'a OrgId,
    /// Exact subject, e.g. `exchange/read`.
    pub subject: &'a str,
    pub now: Timestamp,
    /// How far the message's time may be from `now`, on either side.
    pub window: Duration,
}

/// Opens a request: sender, recipient, subject, time, signature, and last, so that forged messages cannot use
/// nonces up, `fresh(sender, nonce)`, which says whether the pair is seen for the first time.
pub fn open(
    envelope: Envelope,
    expect: &Expect<'_>,
    fresh: impl FnOnce(&OrgId, &Digest) -> bool,
) -> Result<Sealed, EnvelopeError> {
    let sealed = open_unrepeated(envelope, expect)?;
    if fresh(&sealed.sender, &sealed.nonce) { Ok(sealed) } else { Err(EnvelopeError::Replayed) }
}

/// Opens the answer of `from` to the request with this nonce.
pub fn open_answer(
    envelope: Envelope,
    expect: &Expect<'_>,
    from: &OrgId,
    nonce: &Digest,
) -> Result<Sealed, EnvelopeError> {
    if envelope.sealed.sender != *from || envelope.sealed.nonce != *nonce {
        return Err(EnvelopeError::NotTheAnswer);
    }
    open_unrepeated(envelope, expect)
}

fn open_unrepeated(envelope: Envelope, expect: &Expect<'_>) -> Result<Sealed, EnvelopeError> {
    let Envelope { sealed, signature } = envelope;
    let member = expect
        .members
        .iter()
        .find(|m| m.organisation == sealed.sender)
        .ok_or_else(|| EnvelopeError::UnknownSender(sealed.sender.clone()))?;
    if sealed.recipient != *expect.recipient {
        return Err(EnvelopeError::WrongRecipient(sealed.recipient));
    }
    if sealed.subject != expect.subject {
        return Err(EnvelopeError::WrongSubject(expect.subject.to_owned()));
    }
    let apart = sealed.time.0.abs_diff(expect.now.0);
    if u128::from(apart) > expect.window.as_millis() {
        return Err(EnvelopeError::OutsideWindow);
    }
    if !sign::verify(&expect.role.key(member), &sealed.signing_bytes(expect.channel), &signature) {
        return Err(EnvelopeError::BadSignature);
    }
    Ok(sealed)
}

/// Remembers (sender, nonce) pairs for as long as their messages could still be inside the window. Full means
/// refused: forgetting early would let a replay in.
#[derive(Debug)]
pub struct ReplayGuard {
    keep: Duration,
    capacity: usize,
    seen: BTreeSet<(OrgId, Digest)>,
    by_time: BTreeMap<Timestamp, Vec<(OrgId, Digest)>>,
}

impl ReplayGuard {
    /// A guard for messages accepted within `window` of the recipient's clock, on either side.
    pub fn new(window: Duration, capacity: usize) -> Self {
        // A message may be dated up to one window ahead and be repeated until one window after its date.
        Self { keep: window.saturating_mul(2), capacity, seen: BTreeSet::new(), by_time: BTreeMap::new() }
    }

    /// Whether the pair is new; it is remembered then.
    pub fn accept(&mut self, sender: &OrgId, nonce: &Digest, now: Timestamp) -> bool {
        while let Some(oldest) = self.by_time.first_entry() {
            if now.since(*oldest.key()) <= self.keep {
                break;
            }
            for pair in oldest.remove() {
                self.seen.remove(&pair);
            }
        }
        let pair = (sender.clone(), *nonce);
        if self.seen.len() >= self.capacity || !self.seen.insert(pair.clone()) {
            return false;
        }
        self.by_time.entry(now).or_default().push(pair);
        true
    }
}
