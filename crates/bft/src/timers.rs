//! Timers that know their height: the core's timeouts carry only a round, so one left over from an earlier
//! height would otherwise fire in the next.

use crate::input::Timeouts;
use crate::output::{Output, TimerTag};
use arc_malachitebft_core_types::{Timeout, TimeoutKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Core(Timeout),
    /// Look whether the round's proposal has come, and ask around for it.
    Fetch {
        round: u32,
        attempt: u32,
    },
    /// Look whether we are behind.
    Sync,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    height: u64,
    generation: u64,
    running: BTreeMap<u64, Purpose>,
}

impl Timers {
    /// Cancels everything and moves on.
    pub(crate) fn start_height(&mut self, height: u64, out: &mut Vec<Output>) {
        self.cancel(out, |_| true);
        self.height = height;
    }

    /// A timer of the same purpose that still runs is replaced.
    pub(crate) fn set(&mut self, purpose: Purpose, after: Duration, out: &mut Vec<Output>) {
        self.cancel(out, |p| *p == purpose);
        self.generation += 1;
        self.running.insert(self.generation, purpose);
        out.push(Output::SetTimer { tag: self.tag(self.generation), after });
    }

    pub(crate) fn cancel(&mut self, out: &mut Vec<Output>, which: impl Fn(&Purpose) -> bool) {
        let gone: Vec<u64> = self.running.iter().filter(|(_, p)| which(p)).map(|(g, _)| *g).collect();
        for generation in gone {
            self.running.remove(&generation);
            out.push(Output::CancelTimer { tag: self.tag(generation) });
        }
    }

    pub(crate) fn is_running(&self, which: impl Fn(&Purpose) -> bool) -> bool {
        self.running.values().any(which)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// `None` for a timer that is cancelled, replaced or of another height.
    pub(crate) fn fired(&mut self, tag: TimerTag) -> Option<Purpose> {
        if tag.height != self.height { None } else { self.running.remove(&tag.generation) }
    }

    fn tag(&self, generation: u64) -> TimerTag {
        TimerTag { height: self.height, generation }
    }
}

impl Timeouts {
    pub(crate) fn of(&self, timeout: &Timeout) -> Duration {
        let round = timeout.round.as_u32().unwrap_or(0);
        match timeout.kind {
            TimeoutKind::Propose => self.grow(self.propose, round),
            TimeoutKind::Prevote => self.grow(self.prevote, round),
            TimeoutKind::Precommit => self.grow(self.precommit, round),
            TimeoutKind::Rebroadcast => self.grow(self.rebroadcast, round),
            TimeoutKind::FinalizeHeight(after) => after,
        }
    }

    /// `timeout(r) = initial + r * delta` (arXiv:1807.04938, section III), up to the cap.
    pub(crate) fn grow(&self, initial: Duration, round: u32) -> Duration {
        initial.saturating_add(self.delta.saturating_mul(round)).min(self.cap)
    }
}
