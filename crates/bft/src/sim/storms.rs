//! Seeds by the hundred in every test run, by the ten thousand in `make sim`.

use super::plan::{Conduct, Plan, VILLAINS};
use super::world::Outcome;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|v| v.parse().ok())
}

/// Sums over runs.
#[derive(Default)]
struct Tally {
    runs: u64,
    clean: u64,
    total: Outcome,
    slowest: u64,
    slowest_seed: u64,
    with_changes: u64,
    evidence: usize,
    /// Runs, runs with evidence against it, pieces of that.
    villains: BTreeMap<Conduct, (u64, u64, usize)>,
}

impl Tally {
    fn add(&mut self, plan: &Plan, o: &Outcome) {
        self.runs += 1;
        self.clean += u64::from(plan.villains.is_empty());
        let t = &mut self.total;
        t.heights += o.heights;
        self.evidence += o.evidence.values().sum::<usize>();
        t.crashes += o.crashes;
        t.torn += o.torn;
        t.lost_logs += o.lost_logs;
        t.lost_disks += o.lost_disks;
        t.set_changes += o.set_changes;
        t.messages += o.messages;
        t.recovery += o.recovery;
        self.with_changes += u64::from(o.set_changes > 0);
        if o.recovery > self.slowest {
            (self.slowest, self.slowest_seed) = (o.recovery, plan.seed);
        }
        for (who, conduct) in &plan.villains {
            let (entry, pieces) = (self.villains.entry(*conduct).or_default(), o.evidence.get(who));
            entry.0 += 1;
            entry.1 += u64::from(pieces.is_some());
            entry.2 += pieces.unwrap_or(&0);
        }
    }

    fn print(&self) {
        let t = &self.total;
        println!(
            "{} seeds ({} without villains), 0 failures: {} heights, {} messages, {} crashes ({} with a torn log), \
             {} lost logs ({} whole disks), {} set changes in {} runs, {} pieces of evidence",
            self.runs,
            self.clean,
            t.heights,
            t.messages,
            t.crashes,
            t.torn,
            t.lost_logs,
            t.lost_disks,
            t.set_changes,
            self.with_changes,
            self.evidence,
        );
        println!(
            "progress after healing: mean {} ms, slowest {} ms (seed {})",
            t.recovery / self.runs.max(1),
            self.slowest,
            self.slowest_seed
        );
        for (conduct, (runs, with, evidence)) in &self.villains {
            println!(
                "{:<24} {runs:>6} runs, evidence in {with:>6}, pieces {evidence:>7}",
                format!("{conduct:?}")
            );
        }
    }
}

/// Runs the seeds on all processors; the lowest failing one is replayed with its trace.
fn storms(default: u64) -> Tally {
    if let Some(seed) = number("CONSILIUM_SIM_SEED") {
        let plan = Plan::storm(seed);
        let (result, lines) = super::replay(&plan);
        lines.iter().for_each(|line| println!("{line}"));
        println!("{plan:#?}\n{result:#?}");
        result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    let from = number("CONSILIUM_SIM_FROM").unwrap_or(0);
    let count = number("CONSILIUM_SIM_SEEDS").unwrap_or(default);
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let tally = Mutex::new(Tally::default());
    let failures = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let plan = Plan::storm(seed);
                    // A panic in the core is a failure like others.
                    let result = std::panic::catch_unwind(|| super::run(&plan));
                    match result.unwrap_or_else(|_| Err("panic".to_owned())) {
                        Ok(outcome) => tally.lock().unwrap().add(&plan, &outcome),
                        Err(error) => {
                            failures.lock().unwrap().insert(seed, error);
                            let many = failures.lock().unwrap().len() >= 20;
                            stop.store(many, Ordering::Relaxed);
                        }
                    }
                    let done = seed - from + 1;
                    if done.is_multiple_of(1000) {
                        println!("{done} seeds");
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    if let Some(seed) = failures.keys().next() {
        failures.iter().for_each(|(seed, error)| println!("seed {seed}: {error}"));
        let plan = Plan::storm(*seed);
        let (_, lines) = super::replay(&plan);
        let last = lines.len().saturating_sub(120);
        lines.iter().skip(last).for_each(|line| println!("{line}"));
        panic!("{} seeds failed; replay one with CONSILIUM_SIM_SEED={seed}\n{plan:?}", failures.len());
    }
    tally.into_inner().unwrap()
}

#[test]
fn a_quiet_network_decides_and_repeats_itself() {
    let quiet = |seed| super::run(&Plan::quiet(seed, 4)).unwrap();
    let (a, b) = (quiet(1), quiet(1));
    assert!(a.heights >= 10, "{a:?}");
    assert!(a.evidence.is_empty(), "{a:?}");
    assert_eq!((a.trace, a.messages), (b.trace, b.messages));
    assert_ne!(a.trace, quiet(2).trace);
}

#[test]
fn a_storm_repeats_itself() {
    for seed in 0..8 {
        let (a, b) = (super::run(&Plan::storm(seed)).unwrap(), super::run(&Plan::storm(seed)).unwrap());
        assert_eq!((a.trace, a.messages, a.heights), (b.trace, b.messages, b.heights));
    }
}

#[test]
fn one_validator_alone_decides() {
    assert!(super::run(&Plan::quiet(1, 1)).unwrap().heights > 5);
}

/// Every villain alone, and none stops or splits the others; those that contradict themselves are named.
#[test]
fn each_villain_has_its_expected_outcome() {
    for conduct in VILLAINS {
        let mut evidence = 0;
        for seed in 0..6 {
            let plan = Plan { villains: [(seed as usize % 4, conduct)].into(), ..Plan::quiet(seed, 4) };
            evidence +=
                super::run(&plan).unwrap_or_else(|e| panic!("{conduct:?}: {e}\n{plan:?}")).evidence.len();
        }
        match conduct {
            Conduct::DoubleVoter | Conduct::DoubleProposer | Conduct::Flooder => {
                assert!(evidence > 0, "{conduct:?}")
            }
            // Whether two that hear different things compare notes is a matter of luck. The nil voter's own
            // certificates hold the vote that it would have cast.
            Conduct::Amnesiac | Conduct::Twin { .. } | Conduct::SplitVoter | Conduct::NilVoter => {}
            _ => assert_eq!(evidence, 0, "{conduct:?} is named in evidence"),
        }
    }
}

#[test]
fn storms_neither_split_nor_stop_the_chain() {
    let tally = storms(300);
    tally.print();
    if tally.runs >= 300 {
        let t = &tally.total;
        assert!(
            t.crashes > 300 && t.torn > 10 && t.lost_logs > 10,
            "the storms are too mild to mean anything"
        );
        assert!(tally.evidence > 0 && t.set_changes > 100, "the storms are too mild to mean anything");
    }
}

#[test]
#[ignore = "about nine minutes of CPU time: `make sim`"]
fn twenty_thousand_storms() {
    let tally = storms(20_000);
    tally.print();
    if tally.runs >= 20_000 {
        assert!(
            VILLAINS.iter().all(|c| tally.villains.get(c).is_some_and(|v| v.0 > 100)),
            "a villain is missing"
        );
    }
}
