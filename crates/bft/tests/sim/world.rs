//! The network, the clock, the faults and the checks.

use super::node::{Committed, Conduct, Node, acceptable, body, channel, organisation, validators};
use consilium_bft::wire::SyncResponse;
use consilium_bft::{Input, Output, Recipient, TimerTag, step};
use consilium_domain::Digest;
use consilium_domain::block::{CommitCertificate, Precommit};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub validators: usize,
    pub villains: Vec<Conduct>,
    /// Per thousand, until the network heals.
    pub loss: u64,
    pub repeat: u64,
    /// Per thousand steps, until the network heals.
    pub crash: u64,
    pub partitions: bool,
    /// A planted fault: the disks keep no log.
    pub forgets_log: bool,
    /// Milliseconds after which nothing is lost, split or crashed any more.
    pub heals_at: u64,
    /// Heights that every honest node must add after healing.
    pub then_heights: u64,
    /// Milliseconds of patience after healing.
    pub patience: u64,
}

#[derive(Debug)]
pub struct Outcome {
    pub heights: u64,
    pub evidence: usize,
    pub crashes: u64,
    pub messages: u64,
    pub trace: Digest,
}

enum Event {
    Boot,
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
    decided: BTreeMap<u64, Digest>,
    /// Side of each node while the network is split.
    sides: Option<Vec<bool>>,
    next_split: u64,
    evidence: usize,
    crashes: u64,
    messages: u64,
    trace: Digest,
}

impl World {
    pub fn new(plan: Plan) -> Self {
        let mut nodes = Vec::new();
        for index in 0..plan.validators {
            let conduct = plan.villains.get(index).copied().unwrap_or(Conduct::Honest);
            nodes.push(Node::new(index, conduct));
            if let Conduct::Twin { .. } = conduct {
                nodes.push(Node::new(index, Conduct::Twin { second: true }));
            }
        }
        let rng = ChaCha8Rng::seed_from_u64(plan.seed);
        let mut world = Self {
            plan,
            rng,
            now: 0,
            sequence: 0,
            agenda: BTreeMap::new(),
            nodes,
            decided: BTreeMap::new(),
            sides: None,
            next_split: 0,
            evidence: 0,
            crashes: 0,
            messages: 0,
            trace: Digest([0; 32]),
        };
        for node in 0..world.nodes.len() {
            let after = world.below(50_000);
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
    pub fn run(mut self) -> Result<Outcome, String> {
        let (mut target, end) = (None, (self.plan.heals_at + self.plan.patience) * 1000);
        while let Some(((time, _), (node, incarnation, event))) = self.agenda.pop_first() {
            self.now = time;
            self.split();
            let line = format!("{time} {node} {incarnation}");
            self.trace = Digest::sha256(&[&self.trace.0, line.as_bytes()]);
            self.happen(node, incarnation, event)?;
            if !self.healed() {
                continue;
            }
            let goal = *target.get_or_insert_with(|| {
                let best = self.nodes.iter().filter(|n| n.honest()).map(Node::height).max();
                best.unwrap_or(0) + self.plan.then_heights
            });
            if self.nodes.iter().filter(|n| n.honest()).all(|n| n.height() >= goal) {
                return Ok(self.outcome());
            }
            if self.now > end {
                let heights: Vec<u64> = self.nodes.iter().map(Node::height).collect();
                return Err(format!("stalled: heights {heights:?}, wanted {goal}"));
            }
        }
        Err("nothing left to happen".into())
    }

    fn outcome(&self) -> Outcome {
        Outcome {
            heights: self.nodes.iter().map(Node::height).max().unwrap_or(0),
            evidence: self.evidence,
            crashes: self.crashes,
            messages: self.messages,
            trace: self.trace,
        }
    }

    /// Splits the network at random and joins it again.
    fn split(&mut self) {
        if !self.plan.partitions || self.healed() {
            self.sides = None;
        } else if self.now >= self.next_split {
            self.next_split = self.now + 200_000 + self.below(2_000_000);
            let cut = self.below(2) == 0;
            let sides = (0..self.plan.validators).map(|_| self.below(2) == 0).collect();
            self.sides = cut.then_some(sides);
        }
    }

    fn happen(&mut self, node: usize, incarnation: u64, event: Event) -> Result<(), String> {
        let current = self.nodes[node].incarnation;
        match event {
            Event::Boot => {
                if self.nodes[node].process.is_none() {
                    self.nodes[node].boot();
                    let input = self.nodes[node].start_input(self.plan.validators);
                    self.input(node, input)?;
                }
                Ok(())
            }
            _ if incarnation != current || self.nodes[node].process.is_none() => Ok(()),
            Event::Input(input) => self.input(node, input),
            Event::NextHeight => {
                let input = self.nodes[node].start_input(self.plan.validators);
                self.input(node, input)
            }
        }
    }

    fn input(&mut self, at: usize, input: Input) -> Result<(), String> {
        let now = Duration::from_micros(self.now);
        let shown = format!("{input:?}");
        let Some(state) = self.nodes[at].process.as_mut() else { return Ok(()) };
        let outputs =
            step(state, now, input).map_err(|e| format!("node {at} poisoned: {e}; input {shown:.200}"))?;
        // A crash may cut the outputs anywhere: between two log entries as well as between two messages.
        let crash = !self.healed() && self.below(1000) < self.plan.crash && !outputs.is_empty();
        let done = if crash { self.below(outputs.len() as u64 + 1) as usize } else { outputs.len() };
        for output in outputs.into_iter().take(done) {
            self.output(at, output)?;
        }
        if crash {
            self.crashes += 1;
            self.nodes[at].process = None;
            let after = 1_000 + self.below(1_500_000);
            self.at(after, at, 0, Event::Boot);
        }
        Ok(())
    }

    fn output(&mut self, at: usize, output: Output) -> Result<(), String> {
        let incarnation = self.nodes[at].incarnation;
        match output {
            Output::PersistWal { .. } if self.plan.forgets_log => {}
            Output::PersistBody { .. } | Output::PersistWal { .. } => self.nodes[at].persist(&output),
            Output::Send { to, bytes, .. } => self.send(at, &to, bytes)?,
            Output::SetTimer { tag, after } => self.timer(at, tag, after),
            // Left in the agenda: a timer that fires after its cancellation must do nothing.
            Output::CancelTimer { .. } | Output::RoundStarted { .. } | Output::Blame { .. } => {}
            Output::RequestValue { height, round, .. } => {
                let node = &mut self.nodes[at];
                node.bodies_built += 1;
                let nonce = (at as u64) << 32 | node.bodies_built;
                let parent = if node.conduct == Conduct::BadProposer { Digest([9; 32]) } else { node.tip() };
                let body = body(height, parent, nonce);
                let after = 100 + self.below(20_000);
                self.at(after, at, incarnation, Event::Input(Input::ProposeBody { height, round, body }));
            }
            Output::ValidateBody { height, id, body, origin, .. } => {
                let valid = acceptable(&body, height, self.nodes[at].tip());
                let after = 100 + self.below(5_000);
                let input = Input::BodyValidated { height, id, origin, valid };
                self.at(after, at, incarnation, Event::Input(input));
            }
            Output::RequestSync { height, peer } => self.serve(at, height, &peer),
            Output::Decide { height, id, body, certificate, evidence } => {
                self.evidence += evidence.len();
                if self.nodes[at].honest() {
                    for e in &evidence {
                        let named = self.nodes.iter().find(|n| organisation(n.index) == e.validator);
                        if named.is_none_or(Node::honest) {
                            return Err(format!("evidence against the honest {}", e.validator));
                        }
                    }
                    self.check(at, height, id, &body, &certificate)?;
                }
                self.nodes[at].commit(Committed { id, body, certificate });
                let after = self.below(3_000);
                self.at(after, at, incarnation, Event::NextHeight);
            }
        }
        Ok(())
    }

    fn timer(&mut self, at: usize, tag: TimerTag, after: Duration) {
        let incarnation = self.nodes[at].incarnation;
        let after = u64::try_from(after.as_micros()).unwrap();
        self.at(after, at, incarnation, Event::Input(Input::TimerFired(tag)));
    }

    fn send(&mut self, from: usize, to: &Recipient, bytes: Vec<u8>) -> Result<(), String> {
        if self.nodes[from].conduct == Conduct::Mute {
            return Ok(());
        }
        // Layout of a vote: version, kind 1, type, height, round, value, validator, signature.
        if bytes[1] == 1 {
            let (key, rest) = (bytes[2..15].to_vec(), bytes[15..bytes.len() - 64].to_vec());
            let before = self.nodes[from].votes.insert(key, rest.clone());
            if self.nodes[from].honest() && before.is_some_and(|b| b != rest) {
                return Err(format!("the honest node {from} signed two votes"));
            }
        }
        for other in 0..self.nodes.len() {
            let wanted = match to {
                Recipient::All => true,
                Recipient::One(org) => organisation(self.nodes[other].index) == *org,
            };
            if !wanted || self.nodes[other].index == self.nodes[from].index || self.deaf(from, other) {
                continue;
            }
            self.messages += 1;
            let copies = 1 + u64::from(self.below(1000) < self.plan.repeat);
            for _ in 0..copies {
                if !self.healed() && self.below(1000) < self.plan.loss {
                    continue;
                }
                // Mostly quick, sometimes late: enough to reorder anything.
                let late = if self.below(20) == 0 { 150_000 } else { 20_000 };
                let after = 500 + self.below(late);
                let incarnation = self.nodes[other].incarnation;
                self.at(after, other, incarnation, Event::Input(Input::NetworkMessage(bytes.clone())));
            }
        }
        Ok(())
    }

    /// Whether nothing gets from one node to the other: a partition, or the twins' division of the others.
    /// Twins choose whom they deceive and are not held up by partitions.
    fn deaf(&self, from: usize, to: usize) -> bool {
        let (a, b) = (&self.nodes[from], &self.nodes[to]);
        let speaks = |second: bool, other: &Node| (other.index % 2 == 1) == second;
        match (a.conduct, b.conduct) {
            (Conduct::Twin { second: x }, Conduct::Twin { second: y }) => x != y,
            (Conduct::Twin { second }, _) => !speaks(second, b),
            (_, Conduct::Twin { second }) => !speaks(second, a),
            _ => self.sides.as_ref().is_some_and(|s| s[a.index] != s[b.index]),
        }
    }

    fn serve(&mut self, asker: usize, height: u64, peer: &consilium_domain::OrgId) {
        let Some(server) = self.nodes.iter().position(|n| organisation(n.index) == *peer) else { return };
        if self.deaf(server, asker) || self.nodes[server].process.is_none() {
            return;
        }
        if !self.healed() && self.below(1000) < self.plan.loss {
            return;
        }
        let bytes = match self.nodes[server].conduct {
            Conduct::Mute => vec![1, 2, 3],
            _ => match self.nodes[server].disk.chain.get(height as usize - 1) {
                None => return,
                Some(c) => {
                    SyncResponse { certificate: c.certificate.clone(), body: c.body.clone() }.to_bytes()
                }
            },
        };
        let (after, incarnation) = (1_000 + self.below(40_000), self.nodes[asker].incarnation);
        let input = Input::SyncResponse { peer: peer.clone(), bytes };
        self.at(after, asker, incarnation, Event::Input(input));
    }

    fn check(
        &mut self,
        at: usize,
        height: u64,
        id: Digest,
        body: &[u8],
        certificate: &CommitCertificate,
    ) -> Result<(), String> {
        let node = &self.nodes[at];
        if height != node.height() + 1 {
            return Err(format!("node {at} decided height {height} after {}", node.height()));
        }
        if *self.decided.entry(height).or_insert(id) != id {
            return Err(format!("disagreement at height {height}"));
        }
        if super::node::identify(body) != Some(id) || !acceptable(body, height, node.tip()) {
            return Err(format!("an unacceptable body was decided at height {height}"));
        }
        verify(certificate, height, id, self.plan.validators)
    }
}

/// Knows nothing of the core: what an offline verifier does.
pub fn verify(certificate: &CommitCertificate, height: u64, id: Digest, n: usize) -> Result<(), String> {
    let set = validators(n);
    let mut signers = BTreeSet::new();
    if certificate.height.0 != height || certificate.block != id {
        return Err("the certificate is for something else".into());
    }
    if !certificate.signatures.windows(2).all(|w| w[0].validator < w[1].validator) {
        return Err("the certificate's signatures are not sorted".into());
    }
    for s in &certificate.signatures {
        let vote = Precommit {
            height: certificate.height,
            round: certificate.round,
            block: Some(id),
            validator: s.validator,
        };
        let key = set.validators.get(usize::from(s.validator)).ok_or("unknown validator")?;
        let key = ed25519_consensus::VerificationKey::try_from(key.key.0).map_err(|e| e.to_string())?;
        let signature = ed25519_consensus::Signature::from(s.signature.0);
        key.verify(&signature, &vote.signing_bytes(&channel())).map_err(|e| e.to_string())?;
        signers.insert(s.validator);
    }
    if signers.len() * 3 > n * 2 { Ok(()) } else { Err("the certificate is below the quorum".into()) }
}
