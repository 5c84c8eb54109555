//! A network of validators in virtual time, from one seed.
//!
//! A failure: two honest nodes decide differently; a decision without a certificate that an independent verifier
//! accepts from the genesis on, or of a body that the application refuses; an honest node signs two different votes
//! or proposals for one round in any of its lives, or votes against its lock, or is named in evidence, or is
//! blamed; a contradiction that an honest node was shown and does not report; a node that holds more than its
//! bounds; an honest node that stands still after the network has healed.
//! Not a failure: a slow or empty round, evidence against a villain, a villain that stands still.
//! Nondeterminism that remains: none; the same seed gives the same trace.
//!
//! `CONSILIUM_SIM_SEED=<seed>` replays one seed and prints its trace; `CONSILIUM_SIM_SEEDS=<count>` and
//! `CONSILIUM_SIM_FROM=<seed>` choose how many and which.

mod app;
mod check;
mod footprint;
pub(crate) mod memo;
mod node;
mod plan;
mod planted;
mod storms;
mod trace;
mod villains;
mod world;

use arc_malachitebft_core_types::{ThresholdParam, ThresholdParams};
use std::cell::Cell;

thread_local! {
    static SMALL_QUORUM: Cell<bool> = const { Cell::new(false) };
}

/// The thresholds of a run: the product's, unless a smaller quorum has been planted.
pub(crate) fn thresholds() -> ThresholdParams {
    let honest = ThresholdParams::default();
    match SMALL_QUORUM.get() {
        // Two of four.
        true => ThresholdParams { quorum: ThresholdParam::new(1, 3), ..honest },
        false => honest,
    }
}

/// Runs a plan; on failure what failed.
fn run(plan: &plan::Plan) -> Result<world::Outcome, String> {
    planted(plan, || world::World::new(plan.clone(), false).run())
}

/// Replays a plan with its trace in words.
fn replay(plan: &plan::Plan) -> (Result<world::Outcome, String>, Vec<String>) {
    let mut world = world::World::new(plan.clone(), true);
    let result = planted(plan, || world.run());
    (result, world.trace.lines)
}

/// With the mistakes that are planted below the nodes, on this thread.
fn planted<T>(plan: &plan::Plan, work: impl FnOnce() -> T) -> T {
    SMALL_QUORUM.set(plan.planted == plan::Planted::SmallQuorum);
    memo::blind(plan.planted == plan::Planted::NoSignatures);
    let made = work();
    SMALL_QUORUM.set(false);
    memo::blind(false);
    made
}
