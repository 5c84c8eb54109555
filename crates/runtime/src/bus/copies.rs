//! Copies of one message. Between organisations that are joined by two hubs everything arrives twice.
//!
//! A copy is known by a digest over subject, name, marks and content, never by the name alone: else a hub could send
//! rubbish under a name that it has just seen, and the honest copy would be taken for the repetition.

use super::message::{BLOB, ERROR, ID, Raw};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a message is remembered: hubs differ by much less.
const WINDOW: Duration = Duration::from_secs(30);
/// Messages that one subscription remembers, the newest.
const REMEMBERED: usize = 65_536;
/// Ways that one message may come: more hubs than anybody runs.
const WAYS: usize = 8;
/// Largest answer that is kept for a copy of its question.
const KEPT_ANSWER: usize = 16 * 1024;
/// Bytes of such answers that one subscription keeps.
const KEPT: usize = 32 * 1024 * 1024;

type Key = [u8; 32];

/// What one subscription has seen lately.
pub(super) struct Copies {
    known: HashMap<Key, Arc<Whole>>,
    order: VecDeque<(Duration, Key)>,
    remembered: usize,
    kept: Arc<AtomicUsize>,
}

/// What became of a message that arrived.
pub(super) enum Arrival {
    First(Raw, Arc<Whole>),
    /// Seen before. There is something to send where the first copy has been answered already.
    Copy(Option<Raw>),
}

type EachLink = Box<dyn FnMut(&str) + Send>;

/// All copies of one message.
pub(super) struct Whole {
    state: Mutex<State>,
    /// Bytes of all answers kept by the subscription; nothing where no copies come that could want them.
    kept: Option<Arc<AtomicUsize>>,
}

#[derive(Default)]
struct State {
    /// Where copies want the answer, while there is none.
    replies: Vec<String>,
    answered: bool,
    answer: Option<Raw>,
    /// Hubs that have handed it over; empty text for none.
    links: Vec<String>,
    each_link: Option<EachLink>,
}

impl Default for Copies {
    fn default() -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), remembered: REMEMBERED, kept: Arc::default() }
    }
}

impl Copies {
    /// Takes a message in; `link` is the hub that it came over.
    pub(super) fn admit(&mut self, mut raw: Raw, link: Option<&str>, now: Duration) -> Arrival {
        while let Some((at, key)) = self.order.front() {
            if now.saturating_sub(*at) < WINDOW && self.order.len() < self.remembered {
                break;
            }
            self.known.remove(key);
            self.order.pop_front();
        }
        let reply = raw.reply.take();
        let Some(key) = key(&raw) else {
            return Arrival::First(raw, Arc::new(Whole::new(reply, link, &self.kept)));
        };
        if let Some(whole) = self.known.get(&key) {
            return Arrival::Copy(whole.again(reply, link));
        }
        let whole = Arc::new(Whole::new(reply, link, &self.kept));
        self.known.insert(key, Arc::clone(&whole));
        self.order.push_back((now, key));
        Arrival::First(raw, whole)
    }
}

/// Nothing for a message without a name: its sender does not name them.
fn key(raw: &Raw) -> Option<Key> {
    let id = raw.headers.get(ID)?;
    let mut hash = Sha256::new();
    let mark = |name| raw.headers.get(name).unwrap_or_default();
    for part in [raw.subject.as_str(), id, mark(BLOB), mark(ERROR)] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(&raw.payload);
    Some(hash.finalize().into())
}

impl Whole {
    /// A message that comes once.
    pub(super) fn alone(reply: Option<String>) -> Self {
        Self::of(reply, None, None)
    }

    fn new(reply: Option<String>, link: Option<&str>, kept: &Arc<AtomicUsize>) -> Self {
        Self::of(reply, link, Some(Arc::clone(kept)))
    }

    fn of(reply: Option<String>, link: Option<&str>, kept: Option<Arc<AtomicUsize>>) -> Self {
        let (replies, links) = (reply.into_iter().collect(), vec![link.unwrap_or_default().to_owned()]);
        let state = Mutex::new(State { replies, links, ..State::default() });
        Self { state, kept }
    }

    /// A further copy; what to send, if the answer is there already.
    fn again(&self, reply: Option<String>, link: Option<&str>) -> Option<Raw> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let link = link.unwrap_or_default();
        if state.links.len() < WAYS && state.links.iter().all(|known| known != link) {
            state.links.push(link.to_owned());
            if let Some(each) = &mut state.each_link {
                each(link);
            }
        }
        let reply = reply?;
        if !state.answered {
            if state.replies.len() < WAYS {
                state.replies.push(reply);
            }
            return None;
        }
        state.answer.clone().map(|answer| Raw { subject: reply, ..answer })
    }

    pub(super) fn wants_reply(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answered || !state.replies.is_empty()
    }

    /// The same answer for every copy so far; copies to come get it while it is kept. Only the first answer counts.
    pub(super) fn answer(&self, answer: Raw) -> Vec<Raw> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.answered, true) {
            return Vec::new();
        }
        let mut replies = std::mem::take(&mut state.replies);
        let last = replies.pop();
        let mut out: Vec<Raw> =
            replies.into_iter().map(|subject| Raw { subject, ..answer.clone() }).collect();
        let size = answer.size();
        if let Some(kept) = &self.kept
            && size <= KEPT_ANSWER
            && kept.load(Ordering::Relaxed).saturating_add(size) <= KEPT
        {
            kept.fetch_add(size, Ordering::Relaxed);
            state.answer = Some(answer.clone());
        }
        out.extend(last.map(|subject| Raw { subject, ..answer }));
        out
    }

    /// Calls `each` once for each hub that has handed a copy over, and for each that will; empty text: by no hub.
    pub(super) fn on_each_link(&self, mut each: EachLink) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for link in &state.links {
            each(link);
        }
        state.each_link = Some(each);
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &self.kept {
            kept.fetch_sub(state.answer.as_ref().map_or(0, Raw::size), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "copies_test.rs"]
mod tests;
