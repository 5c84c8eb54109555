//! Liveness and readiness.

use consilium_domain::Clock;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Silence of the process's own heartbeat after which it counts as stuck.
const STUCK: Duration = Duration::from_secs(30);

/// The process's state as its probes see it: ready when every registered check is.
#[derive(Clone)]
pub struct Health {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    beat: Duration,
    checks: BTreeMap<String, Result<(), String>>,
}

/// One condition of readiness, e.g. `bus` or `store`. Not ready until told.
#[derive(Clone)]
pub struct Check {
    name: String,
    health: Health,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("ready", &self.readiness().0).finish()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

impl Health {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { beat: clock.monotonic(), ..State::default() };
        Self { clock, state: Arc::new(Mutex::new(state)) }
    }

    /// Registers a condition; it starts as not ready.
    pub fn check(&self, name: &str) -> Check {
        let check = Check { name: name.to_owned(), health: self.clone() };
        check.not_ready("starting");
        check
    }

    /// Whether every check is ready, and one line per check.
    pub fn readiness(&self) -> (bool, String) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = state.checks.values().all(Result::is_ok);
        let lines = state.checks.iter().map(|(name, check)| match check {
            Ok(()) => format!("{name}: ready\n"),
            Err(reason) => format!("{name}: {reason}\n"),
        });
        (ready, lines.collect())
    }

    /// Called about once a second from the service's own executor.
    pub(crate) fn beat(&self) {
        let now = self.clock.monotonic();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).beat = now;
    }

    /// False when the executor has not run for half a minute.
    pub fn live(&self) -> bool {
        let beat = self.state.lock().unwrap_or_else(PoisonError::into_inner).beat;
        self.clock.monotonic().saturating_sub(beat) < STUCK
    }
}

impl Check {
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// `reason` is for an operator; no patient's value, no secret.
    pub fn not_ready(&self, reason: &str) {
        self.set(Err(reason.to_owned()));
    }

    fn set(&self, value: Result<(), String>) {
        let mut state = self.health.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.checks.insert(self.name.clone(), value);
    }
}
