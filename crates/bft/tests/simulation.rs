//! Seeded simulations. Replay one failing seed with `CONSILIUM_SIM_SEED=<seed>`; run more with
//! `CONSILIUM_SIM_SEEDS=<count>`.

#[cfg(test)]
mod sim;

#[cfg(test)]
mod plans {
    use super::sim::node::Conduct;
    use super::sim::world::{Outcome, Plan, World};

    pub fn plan(seed: u64) -> Plan {
        Plan {
            seed,
            validators: 4,
            villains: Vec::new(),
            loss: 0,
            repeat: 0,
            crash: 0,
            partitions: false,
            forgets_log: false,
            heals_at: 2_000,
            then_heights: 5,
            patience: 30_000,
        }
    }

    /// Everything at once, the mixture drawn from the seed.
    pub fn storm(seed: u64) -> Plan {
        let villains = match seed % 5 {
            0 => vec![Conduct::Twin { second: false }],
            1 => vec![Conduct::Mute],
            2 => vec![Conduct::BadProposer],
            _ => Vec::new(),
        };
        Plan {
            villains,
            loss: [0, 20, 100, 200][(seed / 5 % 4) as usize],
            repeat: 50,
            crash: [0, 2, 5][(seed / 3 % 3) as usize],
            partitions: seed.is_multiple_of(2),
            heals_at: 4_000,
            ..plan(seed)
        }
    }

    pub fn run(plan: Plan) -> Outcome {
        let shown = format!("{plan:?}");
        World::new(plan).run().unwrap_or_else(|e| panic!("{e}\n{shown}"))
    }

    fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok().and_then(|v| v.parse().ok())
    }

    pub fn seeds(default: u64) -> std::ops::Range<u64> {
        match number("CONSILIUM_SIM_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("CONSILIUM_SIM_SEEDS").unwrap_or(default),
        }
    }
}

use plans::{plan, run, seeds, storm};
use sim::node::Conduct;
use sim::world::World;

#[test]
fn a_quiet_network_decides_and_repeats_itself() {
    let (a, b) = (run(plan(1)), run(plan(1)));
    assert!(a.heights >= 15, "{a:?}");
    assert_eq!(a.evidence, 0);
    assert_eq!((a.trace, a.messages), (b.trace, b.messages));
    assert_ne!(a.trace, run(plan(2)).trace);
}

#[test]
fn one_validator_alone_decides() {
    assert!(run(sim::world::Plan { validators: 1, ..plan(1) }).heights > 5);
}

#[test]
fn storms_neither_split_nor_stop_the_chain() {
    let (mut crashes, mut evidence) = (0, 0);
    for seed in seeds(120) {
        let outcome = run(storm(seed));
        crashes += outcome.crashes;
        evidence += outcome.evidence;
    }
    if seeds(120).end - seeds(120).start >= 120 {
        assert!(crashes > 100, "the storms crash too little to mean anything: {crashes}");
        assert!(evidence > 0, "twins must leave evidence");
    }
}

#[test]
fn seven_validators_bear_two_villains() {
    for seed in seeds(6) {
        let villains = vec![Conduct::Twin { second: false }, Conduct::Mute];
        run(sim::world::Plan { validators: 7, villains, ..storm(seed * 5 + 3) });
    }
}

/// The checker itself: with one villain more than a quorum can bear, which is the same broken intersection
/// as a quorum that is one too small, it must see the chain split.
#[test]
fn the_checker_sees_a_quorum_that_is_one_too_small() {
    let found = (0..40).any(|seed| {
        let twin = Conduct::Twin { second: false };
        let villains = vec![twin, twin];
        let broken = sim::world::Plan { villains, partitions: true, heals_at: 6_000, ..plan(seed) };
        World::new(broken).run().is_err_and(|e| e.contains("disagreement"))
    });
    assert!(found, "two of four contradict themselves and nobody noticed");
}

/// The checker itself: nodes that crash and have lost their logs contradict themselves, and that must be seen.
#[test]
fn the_checker_sees_a_lost_log() {
    let found = (0..40).any(|seed| {
        let forgetful = sim::world::Plan { forgets_log: true, crash: 5, loss: 100, ..plan(seed) };
        World::new(forgetful).run().is_err_and(|e| e.contains("signed two votes") || e.contains("evidence"))
    });
    assert!(found, "crashes without a log and nobody noticed");
}
