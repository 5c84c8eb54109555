//! The simulator itself: each mistake planted here must be found, by the check that is there for it.

use super::app::Change;
use super::plan::{Conduct, Cut, Plan, Planted};

/// The first seed below `most` with which the plan fails because of `what`.
fn finds(what: &str, most: u64, plan: impl Fn(u64) -> Plan) -> Option<u64> {
    (0..most).find(|seed| super::run(&plan(*seed)).is_err_and(|error| error.contains(what)))
}

/// The plan finds nothing without the mistake, and the mistake within a few seeds.
fn found(what: &str, plan: impl Fn(u64) -> Plan) {
    let seed = finds(what, 300, &plan)
        .unwrap_or_else(|| panic!("nobody noticed: {:?}: {:?}", super::run(&plan(0)), plan(0)));
    let sound = Plan { planted: Planted::Nothing, ..plan(seed) };
    super::run(&sound).unwrap_or_else(|error| panic!("{error} without the mistake too: {sound:?}"));
}

#[test]
fn the_simulator_finds_a_quorum_that_is_one_too_small() {
    found("agreement", |seed| Plan {
        cut: Cut::Halves,
        planted: Planted::SmallQuorum,
        ..Plan::quiet(seed, 4)
    });
}

#[test]
fn the_simulator_finds_a_log_that_is_not_synced() {
    found("equivocation: the honest", |seed| Plan {
        crash: 100,
        loss: 100,
        planted: Planted::NoFsync,
        ..Plan::quiet(seed, 4)
    });
}

#[test]
fn the_simulator_finds_evidence_that_is_ignored() {
    found("kept quiet", |seed| Plan {
        villains: [(1, Conduct::DoubleVoter)].into(),
        planted: Planted::EvidenceIgnored,
        ..Plan::quiet(seed, 4)
    });
}

#[test]
fn the_simulator_finds_a_lost_log_that_is_not_sat_out() {
    found("equivocation: the honest", |seed| Plan {
        crash: 100,
        forget: 1000,
        loss: 50,
        planted: Planted::NoRejoinRule,
        ..Plan::quiet(seed, 4)
    });
}

#[test]
fn the_simulator_finds_an_empty_disk_that_is_taken_for_a_new_node() {
    found("equivocation: the honest", |seed| Plan {
        crash: 300,
        forget: 1000,
        loss: 400,
        planted: Planted::EmptyDiskIsNew,
        ..Plan::quiet(seed, 4)
    });
}

#[test]
fn the_simulator_finds_a_set_that_changes_a_height_too_early() {
    found("certificate", |seed| Plan {
        orgs: 6,
        changes: vec![Change::Leave(0), Change::Join(5)],
        planted: Planted::SetChangeAtNext,
        ..Plan::quiet(seed, 5)
    });
}

#[test]
fn the_simulator_finds_bodies_that_nobody_looks_at() {
    for conduct in [Conduct::WrongRoot, Conduct::InvalidPoi, Conduct::TimeWarper, Conduct::BadParent] {
        found("validity", |seed| Plan {
            villains: [(2, conduct)].into(),
            planted: Planted::NoOwnVerdict,
            ..Plan::quiet(seed, 4)
        });
    }
}

/// Found by a storm: of three that prevoted a block one has lost its log and is silent, two are locked, and the
/// fourth, without which nothing is decided any more, has received the block after its time.
#[test]
fn the_simulator_finds_a_block_that_is_late_for_ever() {
    found("liveness", |seed| Plan {
        cut: Cut::Halves,
        crash: 200,
        forget: 1000,
        loss: 50,
        skew: true,
        heals_at: 3_000,
        patience: 20_000,
        planted: Planted::LateForEver,
        ..Plan::quiet(seed, 4)
    });
}

#[test]
fn the_simulator_finds_signatures_that_nobody_checks() {
    // Votes that the honest have signed for another channel count, and a forged certificate passes.
    for (conduct, what) in
        [(Conduct::Replayer, "evidence against the honest"), (Conduct::FalseSyncer, "poisoned")]
    {
        found(what, |seed| Plan {
            villains: [(1, conduct)].into(),
            crash: 100,
            loss: 100,
            planted: Planted::NoSignatures,
            ..Plan::quiet(seed, 4)
        });
    }
}
