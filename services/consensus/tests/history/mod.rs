//! Whether a history of concurrent operations on a register is linearizable (Herlihy and Wing, 1990): whether each
//! operation can be given one moment between its call and its answer such that a register that does them one after
//! the other gives the same answers. The search is Wing and Gong's (1993) with Lowe's memory of what was tried (2017).
//!
//! The register is a consent: version and content; a write of version v takes effect only on version v - 1.

use std::collections::BTreeSet;
use std::time::Duration;

/// Version and content; `None` before the first write.
pub type Value = Option<(u64, u64)>;

/// What was asked and, where known, answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The write of this version and content. `sure`: it was acknowledged; otherwise it may have happened or not,
    /// before or after its caller gave up.
    Write {
        version: u64,
        content: u64,
        sure: bool,
    },
    Read(Value),
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub called: Duration,
    pub answered: Duration,
    pub what: What,
}

impl Operation {
    /// When it must have happened at the latest.
    fn until(&self) -> Option<Duration> {
        match self.what {
            What::Write { sure: false, .. } => None,
            _ => Some(self.answered),
        }
    }
}

/// Checks a history of one register. `Err`: the longest prefix that could be put in order, for a person to look at.
pub fn linearizable(history: &[Operation]) -> Result<(), String> {
    let mut all = history.to_vec();
    all.sort_by_key(|op| op.called);
    let words = all.len().div_ceil(64);
    let mut tried = BTreeSet::new();
    let mut stack: Vec<(Vec<u64>, Value)> = vec![(vec![0; words], None)];
    let mut best = (0, None);
    while let Some((done, value)) = stack.pop() {
        let is_done = |i: usize| done.get(i / 64).is_some_and(|w| w >> (i % 64) & 1 == 1);
        let open = || all.iter().enumerate().filter(|(i, _)| !is_done(*i));
        // Whatever is put next must have been called before the first of the others had to be over.
        let Some(deadline) = open().filter_map(|(_, op)| op.until()).min() else { return Ok(()) };
        let count = all.len() - open().count();
        if count >= best.0 {
            best = (count, Some((deadline, value)));
        }
        for (i, op) in open() {
            if op.called > deadline {
                break;
            }
            let next = match op.what {
                What::Read(seen) if seen == value => value,
                What::Write { version, content, .. } if value.map_or(0, |(v, _)| v) + 1 == version => {
                    Some((version, content))
                }
                _ => continue,
            };
            let mut with = done.clone();
            if let Some(word) = with.get_mut(i / 64) {
                *word |= 1 << (i % 64);
            }
            if tried.insert((with.clone(), next)) {
                stack.push((with, next));
            }
        }
    }
    let (count, at) = best;
    Err(format!("{count} of {} operations fit, then nothing does: {at:?}", all.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(called: u64, answered: u64, what: What) -> Operation {
        Operation { called: Duration::from_millis(called), answered: Duration::from_millis(answered), what }
    }
    fn write(version: u64, content: u64) -> What {
        What::Write { version, content, sure: true }
    }
    fn maybe(version: u64, content: u64) -> What {
        What::Write { version, content, sure: false }
    }

    #[test]
    fn what_overlaps_may_be_seen_before_or_after() {
        let read = |value| op(5, 8, What::Read(value));
        for seen in [None, Some((1, 7))] {
            assert_eq!(linearizable(&[op(0, 10, write(1, 7)), read(seen)]), Ok(()));
        }
        // A write that nobody answered may count, even long after, or not at all.
        let late = [op(0, 1, maybe(1, 7)), op(2, 3, What::Read(None)), op(4, 5, What::Read(Some((1, 7))))];
        assert_eq!(linearizable(&late), Ok(()));
        assert_eq!(linearizable(&late[..2]), Ok(()));
        assert_eq!(linearizable(&[]), Ok(()));
    }

    #[test]
    fn planted_violations_are_found() {
        // A read after the acknowledgement that does not see the write.
        assert!(linearizable(&[op(0, 1, write(1, 7)), op(2, 3, What::Read(None))]).is_err());
        // A read that goes back.
        let back = [
            op(0, 1, write(1, 7)),
            op(0, 9, write(2, 8)),
            op(2, 3, What::Read(Some((2, 8)))),
            op(4, 5, What::Read(Some((1, 7)))),
        ];
        assert!(linearizable(&back).is_err());
        // Two acknowledged writes of one version; one lost; a value from nowhere.
        assert!(linearizable(&[op(0, 9, write(1, 7)), op(0, 9, write(1, 8))]).is_err());
        assert!(linearizable(&[op(0, 1, write(1, 7)), op(2, 3, write(3, 9))]).is_err());
        assert!(linearizable(&[op(0, 1, What::Read(Some((1, 7))))]).is_err());
        // An unanswered write that was seen, and then was not.
        let gone = [op(0, 1, maybe(1, 7)), op(2, 3, What::Read(Some((1, 7)))), op(4, 5, What::Read(None))];
        assert!(linearizable(&gone).is_err());
    }

    #[test]
    fn a_thousand_operations_take_no_time() {
        let mut all = Vec::new();
        for v in 1..500_u64 {
            all.push(op(v * 10, v * 10 + 15, write(v, v)));
            all.push(op(
                v * 10 + 14,
                v * 10 + 30,
                What::Read(Some((v + u64::from(v < 499), v + u64::from(v < 499)))),
            ));
        }
        assert_eq!(linearizable(&all), Ok(()));
        all.push(op(9_000, 9_001, What::Read(Some((1, 1)))));
        assert!(linearizable(&all).is_err());
    }
}
