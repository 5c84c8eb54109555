//! The network, the clock and the faults.

use super::app::{Block, DRIFT, SET_DELAY, SKEW, number};
use super::check::{Check, bounded};
use super::node::{Committed, Node};
use super::plan::{Conduct, Cut, Plan, Planted};
use super::trace::Trace;
use super::villains;
use crate::wire::Message;
use crate::{Input, Origin, Output, Recipient, step};
use consilium_domain::{Digest, OrgId};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a run came to.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    pub heights: u64,
    /// By the organisation that it names.
    pub evidence: BTreeMap<usize, usize>,
    pub crashes: u64,
    pub torn: u64,
    pub lost_logs: u64,
    pub lost_disks: u64,
    pub set_changes: usize,
    pub messages: u64,
    /// Milliseconds after healing until all honest nodes had made the wanted progress.
    pub recovery: u64,
    pub trace: Digest,
}

pub enum Event {
    Boot,
    /// Ask the members how far they are: the log is lost.
    Ask,
    Input(Input),
    NextHeight,
}

pub struct World {
    plan: Plan,
    rng: ChaCha8Rng,
    now: u64,
    sequence: u64,
    /// Ordered by time, then by order of creation: node, incarnation, what.
    agenda: BTreeMap<(u64, u64), (usize, u64, Event)>,
    nodes: Vec<Node>,
    check: Check,
    /// Directed links between organisations that are cut.
    cut: Vec<Vec<bool>>,
    next_cut: u64,
    outcome: Outcome,
    pub trace: Trace,
}

impl World {
    pub fn new(plan: Plan, traced: bool) -> Self {
        super::memo::forget();
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut below = |n: u64| rng.next_u64() % n;
        let delay = if plan.planted == Planted::SetChangeAtNext { 1 } else { SET_DELAY };
        let mut nodes = Vec::new();
        let mut boots = Vec::new();
        for index in 0..plan.orgs {
            let conduct = plan.villains.get(&index).copied().unwrap_or(Conduct::Honest);
            let mut node = Node::new(index, conduct, &plan.genesis, delay);
            if plan.skew {
                node.skew = below(2 * SKEW) as i64 - SKEW as i64;
                node.pace = 800 + below(400);
            }
            nodes.push(node);
            // Whoever is to join later may start with an empty disk in the middle of it all.
            let patience = if plan.genesis.contains(&index) { 50_000 } else { plan.heals_at * 1000 };
            boots.push(below(patience));
            if let Conduct::Twin { .. } = conduct {
                nodes.push(Node::new(index, Conduct::Twin { second: true }, &plan.genesis, delay));
                boots.push(below(50_000));
            }
        }
        let mut world = Self {
            check: Check::new(&plan),
            cut: vec![vec![false; plan.orgs]; plan.orgs],
            plan,
            rng,
            now: 0,
            sequence: 0,
            agenda: BTreeMap::new(),
            nodes,
            next_cut: 0,
            outcome: Outcome::default(),
            trace: Trace::new(traced),
        };
        for (node, after) in boots.into_iter().enumerate() {
            world.at(after, node, 0, Event::Boot);
        }
        world
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.next_u64() % n
    }

    fn at(&mut self, after: u64, node: usize, incarnation: u64, event: Event) {
        self.sequence += 1;
        self.agenda.insert((self.now + after, self.sequence), (node, incarnation, event));
    }

    fn healed(&self) -> bool {
        self.now >= self.plan.heals_at * 1000
    }

    /// Runs to the end, or to the first failure.
    pub fn run(&mut self) -> Result<Outcome, String> {
        let heals = self.plan.heals_at * 1000;
        let (mut goal, end) = (None, heals + self.plan.patience * 1000);
        while let Some(((time, _), (node, incarnation, event))) = self.agenda.pop_first() {
            self.now = time;
            self.cut();
            self.trace.happens(time, node, incarnation, &event);
            self.happen(node, incarnation, event)?;
            if !self.healed() {
                continue;
            }
            let goal = *goal.get_or_insert_with(|| self.check.best() + self.plan.then_heights);
            if self.check.best() >= goal
                && self.nodes.iter().filter(|n| n.honest()).all(|n| n.height() >= goal)
            {
                self.outcome.recovery = (self.now - heals) / 1000;
                self.outcome.heights = self.check.best();
                self.outcome.evidence = self.check.evidence.clone();
                self.outcome.trace = self.trace.digest;
                return Ok(self.outcome.clone());
            }
            if self.now > end {
                let heights: Vec<u64> = self.nodes.iter().map(Node::height).collect();
                return Err(format!("liveness: heights {heights:?}, wanted {goal}"));
            }
        }
        Err("liveness: nothing left to happen".into())
    }

    /// Cuts the network at random and joins it again.
    fn cut(&mut self) {
        let orgs = self.plan.orgs;
        if self.plan.cut == Cut::None || self.healed() {
            self.cut.iter_mut().for_each(|to| to.fill(false));
        } else if self.now >= self.next_cut {
            self.next_cut = self.now + 100_000 + self.below(1_000_000);
            let quiet = self.below(3) == 0;
            let sides: Vec<bool> = (0..orgs).map(|_| self.below(2) == 0).collect();
            for from in 0..orgs {
                for to in 0..orgs {
                    self.cut[from][to] = match self.plan.cut {
                        _ if quiet => false,
                        Cut::Halves => sides[from] != sides[to],
                        _ => self.below(4) == 0,
                    };
                }
            }
        }
    }

    fn happen(&mut self, node: usize, incarnation: u64, event: Event) -> Result<(), String> {
        let current = self.nodes[node].incarnation;
        match event {
            Event::Boot | Event::Ask if self.nodes[node].process.is_some() => Ok(()),
            Event::Boot if self.nodes[node].disk.lost && self.plan.planted != Planted::NoRejoinRule => {
                self.ask(node);
                Ok(())
            }
            Event::Ask => {
                self.ask(node);
                Ok(())
            }
            Event::Boot => self.start(node),
            _ if incarnation != current || self.nodes[node].process.is_none() => Ok(()),
            Event::Input(input) => self.input(node, input),
            Event::NextHeight => {
                self.check.forget(node);
                let input = self.nodes[node].start_input();
                self.input(node, input)
            }
        }
    }

    fn start(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].incarnation += 1;
        self.nodes[node].boot();
        self.check.forget(node);
        let input = self.nodes[node].start_input();
        self.input(node, input)
    }

    /// A node without its log asks all peers that it can reach, until enough have answered.
    fn ask(&mut self, at: usize) {
        for peer in 0..self.nodes.len() {
            let up = self.nodes[peer].process.is_some() && !self.deaf(at, peer) && !self.deaf(peer, at);
            let lost = !self.healed() && self.below(1000) < self.plan.loss;
            let index = self.nodes[peer].index;
            if !up || lost || !self.nodes[at].asks(index) {
                continue;
            }
            let height = self.nodes[peer].height();
            let told = match self.nodes[peer].conduct {
                Conduct::Honest => height,
                Conduct::Mute => continue,
                _ => [0, height / 2, height][self.below(3) as usize],
            };
            self.nodes[at].tell(index, told);
        }
        match self.nodes[at].safe_height(self.plan.planted) {
            Some(height) => {
                self.nodes[at].signs_from = height;
                self.nodes[at].disk.lost = false;
                let incarnation = self.nodes[at].incarnation;
                self.at(1_000, at, incarnation, Event::Boot);
            }
            None => self.at(200_000, at, 0, Event::Ask),
        }
    }

    /// Whether one more member may fall silent, or forget: with it, all that are faulty are below a third of the
    /// smallest set that is to come.
    fn may_forget(&self, at: usize) -> bool {
        let faulty = |n: &&Node| !n.honest() || n.disk.lost || n.signs_from > n.height() + 1;
        let faulty: BTreeSet<usize> = self.nodes.iter().filter(faulty).map(|n| n.index).collect();
        self.nodes[at].honest() && faulty.len() < (self.plan.least_members() - 1) / 3
    }

    fn input(&mut self, at: usize, input: Input) -> Result<(), String> {
        let honest = self.nodes[at].honest();
        if let Input::NetworkMessage(bytes) = &input {
            self.overhear(at, bytes);
            if let (true, Some(state), Ok(message)) =
                (honest, &self.nodes[at].process, Message::from_bytes(bytes, usize::MAX))
            {
                self.check.delivered(at, state, &message);
            }
        }
        let now = Duration::from_micros(self.now);
        let Some(state) = self.nodes[at].process.as_mut() else { return Ok(()) };
        let outputs = match step(state, now, input) {
            Ok(outputs) => outputs,
            Err(error) if honest => return Err(format!("node {at} poisoned: {error}")),
            // A villain hears, in others' certificates, what it has signed beside its log, and cannot replay that.
            Err(_) => {
                self.nodes[at].lose_log();
                self.nodes[at].disk.lost = false;
                return self.crash(at);
            }
        };
        if honest && let Some(state) = &self.nodes[at].process {
            let members = self.nodes[at].disk.chain.set_of(state.height()).len();
            bounded(state, members, self.plan.orgs, self.nodes[at].log_length())
                .map_err(|e| format!("node {at}: {e}"))?;
        }
        self.carry_out(at, outputs)
    }

    fn overhear(&mut self, at: usize, bytes: &[u8]) {
        if self.nodes[at].conduct == Conduct::Replayer {
            let overheard = &mut self.nodes[at].overheard;
            overheard.push_back(bytes.to_vec());
            if overheard.len() > 64 {
                overheard.pop_front();
            }
        }
    }

    /// A crash may cut the outputs anywhere: between two records of the log, before its sync, or between two
    /// messages after it.
    fn carry_out(&mut self, at: usize, outputs: Vec<Output>) -> Result<(), String> {
        let rate = match self.nodes[at].conduct {
            Conduct::Amnesiac => 150,
            _ if self.healed() => 0,
            _ => self.plan.crash,
        };
        let crash = !outputs.is_empty() && self.below(10_000) < rate;
        let cut = if crash { self.below(outputs.len() as u64 + 2) as usize } else { usize::MAX };
        let durable = outputs.iter().take_while(|o| o.is_persist()).count();
        let visible = |o: &Output| {
            matches!(o, Output::Send { .. } | Output::Decide { .. } | Output::RoundStarted { .. })
        };
        let seen = outputs.iter().any(visible);
        for (i, output) in outputs.into_iter().enumerate() {
            if i == durable && seen && cut > durable {
                self.nodes[at].sync(self.plan.planted);
            }
            // One place more than there are outputs: the crash between the log and its sync.
            if i >= cut.saturating_sub(usize::from(cut > durable)) {
                break;
            }
            self.output(at, output)?;
        }
        if crash { self.crash(at) } else { Ok(()) }
    }

    fn crash(&mut self, at: usize) -> Result<(), String> {
        let unsynced = self.nodes[at].unsynced();
        let kept = self.below(unsynced as u64 + 1) as usize;
        let kept = if self.plan.planted == Planted::NoFsync { 0 } else { kept };
        self.nodes[at].crash(kept);
        self.outcome.crashes += 1;
        self.outcome.torn += u64::from(kept < unsynced);
        if self.nodes[at].conduct == Conduct::Amnesiac {
            self.nodes[at].lose_log();
            if self.below(2) == 0 {
                let blocks = 1 + self.below(3) as usize;
                self.nodes[at].roll_back(blocks, &self.plan.genesis, SET_DELAY, &self.plan.changes);
            }
            self.nodes[at].disk.lost = false;
        } else if self.below(1000) < self.plan.forget && self.may_forget(at) {
            if self.below(3) == 0 {
                self.nodes[at].lose_disk(&self.plan.genesis, SET_DELAY);
                self.outcome.lost_disks += 1;
            } else {
                self.nodes[at].lose_log();
            }
            self.outcome.lost_logs += 1;
        }
        self.trace.note(self.now, at, "crashes");
        let after = 1_000 + self.below(800_000);
        self.at(after, at, 0, Event::Boot);
        Ok(())
    }

    fn output(&mut self, at: usize, output: Output) -> Result<(), String> {
        let incarnation = self.nodes[at].incarnation;
        match output {
            Output::PersistBody { .. } | Output::PersistWal { .. } => self.nodes[at].append(&output),
            Output::Send { to, bytes, .. } => self.send(at, &to, bytes)?,
            Output::SetTimer { tag, after } => {
                let after = u64::try_from(after.as_micros()).unwrap() * self.nodes[at].pace / 1_000;
                self.at(after, at, incarnation, Event::Input(Input::TimerFired(tag)));
            }
            // Left in the agenda: a timer that fires after its cancellation must do nothing.
            Output::CancelTimer { .. } => {}
            Output::RoundStarted { height, round, proposer } => {
                self.trace.note(self.now, at, &format!("starts {height}/{round}, proposer {proposer}"));
            }
            Output::Blame { peer, reason } => {
                self.trace.note(self.now, at, &format!("blames {peer}: {reason}"));
                let node = &self.nodes[at];
                if node.honest() && !self.plan.villains.contains_key(&number(&peer)) {
                    return Err(format!("blame: {at} blames the honest {peer}: {reason}"));
                }
            }
            Output::RequestValue { height, round, .. } => self.build(at, height, round),
            Output::ValidateBody { height, id, body, origin, .. } => {
                let valid = self.judge(at, &body, origin);
                let after = 100 + self.below(5_000);
                let input = Input::BodyValidated { height, id, origin, valid };
                self.at(after, at, incarnation, Event::Input(input));
            }
            Output::RequestSync { height, peer } => {
                self.trace.note(self.now, at, &format!("asks {peer} for block {height}"));
                self.serve(at, height, &peer);
            }
            Output::Decide { height, id, body, certificate, evidence } => {
                self.trace.note(self.now, at, &format!("decides {id} at {height}"));
                let committed = Committed { id, body, certificate };
                if self.nodes[at].honest() {
                    let found = match self.plan.planted {
                        Planted::EvidenceIgnored => &[][..],
                        _ => &evidence,
                    };
                    let villains = &self.plan.villains;
                    self.check.evidence(at, height, found, |who| villains.contains_key(&who))?;
                    self.check.decided(at, self.now, height, &committed, &self.plan)?;
                    self.outcome.set_changes = self.nodes[at].disk.chain.made.max(self.outcome.set_changes);
                }
                self.nodes[at].commit(committed, &self.plan.changes);
                // A crash between the block and the log's reset leaves the records of a height that is over.
                if self.below(8) > 0 {
                    self.nodes[at].reset_log();
                }
                let after = self.below(3_000);
                self.at(after, at, incarnation, Event::NextHeight);
            }
        }
        Ok(())
    }

    fn build(&mut self, at: usize, height: u64, round: u32) {
        let random = self.rng.next_u64();
        let linger = if round == 0 { self.below(self.plan.linger * 1000) } else { 0 };
        let now = self.now + linger;
        let node = &mut self.nodes[at];
        node.built += 1;
        let (clock, chain) = (node.clock(now), &node.disk.chain);
        let set = chain.set_of(height).clone();
        let block = Block {
            height,
            parent: chain.tip,
            time: clock.max(chain.time + 1),
            root: chain.root,
            next_set: super::app::set_id(chain.set_of(height + 1)),
            change: chain.may_change(&self.plan.changes).filter(|_| random.is_multiple_of(3)),
            nonce: (node.index as u64) << 48 | (node.incarnation & 0xfff) << 32 | node.built,
            proof: Vec::new(),
        };
        let honest = block.attested(set.iter());
        let body = villains::spoil(node.conduct, honest, &set, clock, random >> 2).body();
        let incarnation = node.incarnation;
        let after = linger + 100 + self.below(20_000);
        self.at(after, at, incarnation, Event::Input(Input::ProposeBody { height, round, body }));
    }

    fn judge(&self, at: usize, body: &[u8], origin: Origin) -> bool {
        let node = &self.nodes[at];
        if self.plan.planted == Planted::NoOwnVerdict {
            return true;
        }
        let Some(block) = Block::read(body) else { return false };
        let bound = match origin {
            Origin::Proposal => true,
            Origin::Polka => self.plan.planted == Planted::LateForEver,
            Origin::Sync => false,
        };
        let late = bound && block.time.abs_diff(node.clock(self.now)) > DRIFT;
        !late && node.disk.chain.accepts(&block, &self.plan.changes).is_ok()
    }

    fn send(&mut self, from: usize, to: &Recipient, bytes: Vec<u8>) -> Result<(), String> {
        let honest = self.nodes[from].honest();
        let parcels = if honest {
            vec![villains::Parcel { to: to.clone(), half: None, bytes, late: 0 }]
        } else {
            let random = self.rng.next_u64();
            villains::twist(&mut self.nodes[from], to, bytes, random)
        };
        let index = self.nodes[from].index;
        for parcel in parcels {
            if let Ok(message) = Message::from_bytes(&parcel.bytes, usize::MAX) {
                self.check.sent(index, honest, &message).inspect_err(|_| {
                    self.trace.sent(self.now, from, &parcel.bytes);
                })?;
            }
            self.trace.sent(self.now, from, &parcel.bytes);
            self.deliver(from, &parcel);
        }
        Ok(())
    }

    fn deliver(&mut self, from: usize, parcel: &villains::Parcel) {
        for other in 0..self.nodes.len() {
            let index = self.nodes[other].index;
            let wanted = match &parcel.to {
                Recipient::All => parcel.half.is_none_or(|half| index % 2 == half),
                Recipient::One(org) => number(org) == index,
            };
            if !wanted || index == self.nodes[from].index || self.deaf(from, other) {
                continue;
            }
            self.outcome.messages += 1;
            let copies = 1 + u64::from(self.below(1000) < self.plan.repeat);
            for _ in 0..copies {
                if !self.healed() && self.below(1000) < self.plan.loss {
                    continue;
                }
                // Mostly quick, sometimes late: enough to reorder anything.
                let late = if self.below(20) == 0 { 150_000 } else { 20_000 };
                let after = 500 + self.below(late) + parcel.late;
                let incarnation = self.nodes[other].incarnation;
                let input = Event::Input(Input::NetworkMessage(parcel.bytes.clone()));
                self.at(after, other, incarnation, input);
            }
        }
    }

    /// Whether nothing gets from one node to the other: a cut, or the twins' division of the others. Twins
    /// choose whom they deceive and are not held up by cuts.
    fn deaf(&self, from: usize, to: usize) -> bool {
        let (a, b) = (&self.nodes[from], &self.nodes[to]);
        let speaks = |second: bool, other: &Node| (other.index % 2 == 1) == second;
        match (a.conduct, b.conduct) {
            (Conduct::Twin { second: x }, Conduct::Twin { second: y }) => x != y,
            (Conduct::Twin { second }, _) => !speaks(second, b),
            (_, Conduct::Twin { second }) => !speaks(second, a),
            _ => self.cut[a.index][b.index],
        }
    }

    fn serve(&mut self, asker: usize, height: u64, peer: &OrgId) {
        let server = self.nodes.iter().position(|n| n.index == number(peer));
        let Some(server) = server else { return };
        let lost = !self.healed() && self.below(1000) < self.plan.loss;
        if lost || self.deaf(server, asker) || self.nodes[server].process.is_none() {
            return;
        }
        let random = self.rng.next_u64();
        let Some(bytes) = villains::answer(&self.nodes[server], height, random) else { return };
        let (after, incarnation) = (1_000 + self.below(40_000), self.nodes[asker].incarnation);
        let input = Input::SyncResponse { peer: peer.clone(), bytes };
        self.at(after, asker, incarnation, Event::Input(input));
    }
}
