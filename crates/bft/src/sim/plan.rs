//! What a run is made of, drawn from its seed.

use super::app::{Change, Set};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;

/// How an organisation behaves. Whatever is not honest never heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conduct {
    Honest,
    /// Hears everything, says nothing, answers sync requests with rubbish.
    Mute,
    /// Sends every vote together with a contradiction of it.
    DoubleVoter,
    /// Sends its votes to one half of the network and their contradictions to the other.
    SplitVoter,
    /// Proposes two different bodies in its rounds, to all.
    DoubleProposer,
    /// Runs twice under one key; each half of the network hears another twin
    /// (Bano et al., "Twins: BFT Systems Made Robust").
    Twin {
        second: bool,
    },
    /// Proposes without the body, or shows it to one half only, and never sends it again.
    Withholder,
    /// Sends everything late, around the time at which the others give up waiting.
    Delayer,
    /// Fills every buffer: heights and rounds ahead, bodies, certificates, requests, rubbish.
    Flooder,
    /// Proposes bodies with a wrong state root, or wrong next validators.
    WrongRoot,
    /// Proposes bodies whose interop proof is too small, repeated or forged.
    InvalidPoi,
    /// Proposes bodies from the past, the future, and the very edge of what is allowed.
    TimeWarper,
    /// Proposes bodies that do not extend the chain.
    BadParent,
    /// Crashes all the time, forgets what it signed, or goes back to an old disk, and signs again at once.
    Amnesiac,
    /// Repeats what it has heard: other heights, other rounds, and honest votes of another channel.
    Replayer,
    /// Certificates with one signer many times, below the quorum, or of no signatures at all.
    CertForger,
    /// Says that it is far ahead, and answers sync requests with certificates and bodies that do not fit.
    FalseSyncer,
    /// Votes nil, always.
    NilVoter,
}

pub const VILLAINS: [Conduct; 17] = [
    Conduct::Mute,
    Conduct::DoubleVoter,
    Conduct::SplitVoter,
    Conduct::DoubleProposer,
    Conduct::Twin { second: false },
    Conduct::Withholder,
    Conduct::Delayer,
    Conduct::Flooder,
    Conduct::WrongRoot,
    Conduct::InvalidPoi,
    Conduct::TimeWarper,
    Conduct::BadParent,
    Conduct::Amnesiac,
    Conduct::Replayer,
    Conduct::CertForger,
    Conduct::FalseSyncer,
    Conduct::NilVoter,
];

/// A mistake planted on purpose: the simulator must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    Nothing,
    /// Agreement with one vote less than more than two thirds.
    SmallQuorum,
    /// Votes leave before the log is durable.
    NoFsync,
    /// What a villain was caught at is dropped.
    EvidenceIgnored,
    /// A node that lost its log signs at once.
    NoRejoinRule,
    /// Where nobody has decided anything, a node without its log takes itself for new.
    EmptyDiskIsNew,
    /// A change of the validator set applies one height too early.
    SetChangeAtNext,
    /// What came too late to be voted for stays refused, even once more than two thirds have prevoted it.
    LateForEver,
    /// Signatures are not checked.
    NoSignatures,
    /// Bodies are accepted without being looked at.
    NoOwnVerdict,
}

/// How the network is cut while it is not healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    None,
    /// Into two halves, drawn anew from time to time.
    Halves,
    /// Some directed links.
    Links,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub genesis: Set,
    /// Organisations that exist, members or not.
    pub orgs: usize,
    pub changes: Vec<Change>,
    pub villains: BTreeMap<usize, Conduct>,
    /// Messages lost and repeated, per thousand, until the network heals.
    pub loss: u64,
    pub repeat: u64,
    /// Crashes per ten thousand steps, until the network heals.
    pub crash: u64,
    /// How many crashes in a thousand lose the log too, where the set can bear one more fault.
    pub forget: u64,
    pub cut: Cut,
    /// Whether clocks are wrong and timers run at different speeds.
    pub skew: bool,
    /// Most milliseconds that an honest proposer waits before it builds.
    pub linger: u64,
    /// Milliseconds after which nothing is lost, cut or crashed any more.
    pub heals_at: u64,
    /// Heights that every honest node must add after healing.
    pub then_heights: u64,
    /// Milliseconds within which they must.
    pub patience: u64,
    pub planted: Planted,
}

impl Plan {
    /// A quiet network of `n`.
    pub fn quiet(seed: u64, n: usize) -> Self {
        Self {
            seed,
            genesis: (0..n).collect(),
            orgs: n,
            changes: Vec::new(),
            villains: BTreeMap::new(),
            loss: 0,
            repeat: 0,
            crash: 0,
            forget: 0,
            cut: Cut::None,
            skew: false,
            linger: 1,
            heals_at: 1_000,
            then_heights: 4,
            patience: 60_000,
            planted: Planted::Nothing,
        }
    }

    /// Size of the smallest set that the changes lead through.
    pub fn least_members(&self) -> usize {
        let (mut set, mut least) = (self.genesis.clone(), self.genesis.len());
        for change in &self.changes {
            set = change.apply(&set);
            least = least.min(set.len());
        }
        least
    }

    /// Everything at once, the mixture drawn from the seed.
    pub fn storm(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0c05_1110_u64.rotate_left(32));
        let mut pick = |n: u64| rng.next_u64() % n;
        let n = [4, 4, 4, 4, 5, 6, 7, 7][pick(8) as usize];
        let mut plan = Self::quiet(seed, n);
        // Villains: up to f, and in a quarter of the runs none.
        let most = (n as u64 - 1) / 3;
        let villains = if pick(4) == 0 { 0 } else { 1 + pick(most) };
        while (plan.villains.len() as u64) < villains {
            let (who, conduct) = (pick(n as u64) as usize, VILLAINS[pick(VILLAINS.len() as u64) as usize]);
            plan.villains.entry(who).or_insert(conduct);
        }
        // Members that come and go: never fewer than the villains need to stay below a third.
        if pick(2) == 0 {
            let (mut set, mut next) = (plan.genesis.clone(), n);
            for _ in 0..1 + pick(3) {
                let least = 3 * plan.villains.len() + 1;
                let leaving = pick(next as u64) as usize;
                let change = if pick(2) == 0 && set.len() > least.max(4) && set.contains(&leaving) {
                    Change::Leave(leaving)
                } else if next < n + 2 {
                    next += 1;
                    Change::Join(next - 1)
                } else {
                    continue;
                };
                set = change.apply(&set);
                plan.changes.push(change);
            }
            plan.orgs = next;
        }
        plan.loss = [0, 20, 100, 200][pick(4) as usize];
        plan.repeat = [0, 50, 200][pick(3) as usize];
        plan.crash = [0, 20, 60, 150][pick(4) as usize];
        plan.forget = [0, 300, 1000][pick(3) as usize];
        plan.cut = [Cut::None, Cut::Halves, Cut::Links][pick(3) as usize];
        plan.skew = pick(2) == 0;
        plan.linger = [1, 20, 150][pick(3) as usize];
        plan.heals_at = 800 + pick(1_700);
        plan
    }
}
