//! What a block costs each validator against the number of validators (`bft-scale`): thread CPU time of one validator
//! for one height, and what the network carries.
//!
//! `cargo bench -p consilium-bft --bench bft`
//!
//! All validators run in one thread over a network that loses, delays and reorders nothing, so every height ends in
//! round 0. Signatures are real Ed25519 and each validator verifies all that it sees itself. Logs, execution, transport
//! and TLS are left out.

use std::collections::VecDeque;

use consilium_bft::{
    Body, Config, Input, Limits, Output, Recipient, Recovery, Rotation, State, Timeouts, step,
};
use consilium_domain::block::{Validator, ValidatorSet};
use consilium_domain::{ChannelId, Digest, OrgId, PublicKey};
use consilium_testkit::bench::{Report, Series, Unit, wanted};
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;

const NAME: &str = "bft-scale";
const ROUNDS: usize = 7;
/// Validators, and heights in a round.
const SIZES: [(usize, u64); 4] = [(4, 40), (10, 12), (31, 3), (100, 1)];
const BODY: usize = 1024;

fn main() -> Result<(), Failure> {
    if !wanted(NAME) {
        return Ok(());
    }
    let mut report = Report::new(NAME, Unit::Milliseconds).condition(
        "measured",
        "CPU time of one validator for one height, mean of all validators in one thread; 1 KB bodies; real Ed25519, \
         nothing shared between validators; no log, no execution, no transport",
    );
    let mut all = Vec::new();
    for (n, heights) in SIZES {
        let mut network = Network::new(n)?;
        let mut series = Series::new(format!("n = {n}"));
        // The first heights warm up.
        network.advance(1)?;
        (network.messages, network.bytes) = (0, 0);
        for _ in 0..ROUNDS {
            series.time(heights.saturating_mul(n as u64), || network.advance(heights))??;
        }
        let done = heights.saturating_mul(ROUNDS as u64).max(1);
        let text = format!(
            "{} messages and {} bytes published per height, each to {} others",
            network.messages / done,
            network.bytes / done,
            n - 1
        );
        report = report.condition(&format!("n = {n}"), text);
        all.push(series);
    }
    let (first, others) = all.split_first().ok_or("no sizes")?;
    report.finish(first, others)?;
    Ok(())
}

/// Validators that hear each other at once and in order.
struct Network {
    set: ValidatorSet,
    states: Vec<State>,
    queue: VecDeque<(usize, Input)>,
    /// Whoever has reached the target, with how it goes on.
    resting: Vec<(usize, Input)>,
    target: u64,
    messages: u64,
    bytes: u64,
}

impl Network {
    fn new(n: usize) -> Result<Self, Failure> {
        let (mut validators, mut states) = (Vec::new(), Vec::new());
        for i in 0..n {
            let organisation = OrgId::new(format!("org-{i}"))?;
            let seed = Digest::tagged("bench/key", &(i as u64).to_be_bytes()).0;
            let key = PublicKey(ed25519_consensus::SigningKey::from(seed).verification_key().to_bytes());
            validators.push(Validator { organisation: organisation.clone(), key, power: 1 });
            let config = Config {
                channel: ChannelId::new("bench")?,
                organisation,
                timeouts: Timeouts::default(),
                limits: Limits::default(),
                identify: |bytes| Some(Digest::sha256(&[bytes])),
            };
            states.push(State::new(config, seed));
        }
        let set = ValidatorSet { validators };
        let mut network = Self {
            set,
            states,
            queue: VecDeque::new(),
            resting: Vec::new(),
            target: 0,
            messages: 0,
            bytes: 0,
        };
        for i in 0..n {
            let start = network.start(1);
            network.queue.push_back((i, start));
        }
        Ok(network)
    }

    fn start(&self, height: u64) -> Input {
        Input::StartHeight {
            height,
            validators: self.set.clone(),
            rotation: Rotation::even(Digest([0; 32])),
            participate: true,
            recovery: Recovery::default(),
        }
    }

    /// Runs until every validator has decided so many more heights.
    fn advance(&mut self, heights: u64) -> Result<(), String> {
        self.target = self.target.saturating_add(heights);
        self.queue.extend(self.resting.drain(..));
        while let Some((at, input)) = self.queue.pop_front() {
            if matches!(&input, Input::StartHeight { height, .. } if *height > self.target) {
                self.resting.push((at, input));
                continue;
            }
            let state = self.states.get_mut(at).ok_or("no such validator")?;
            let outputs = step(state, Duration::ZERO, input).map_err(|e| e.to_string())?;
            for output in outputs {
                self.carry_out(at, output);
            }
        }
        let resting = self.resting.len();
        if resting == self.states.len() { Ok(()) } else { Err(format!("only {resting} have decided")) }
    }

    fn carry_out(&mut self, at: usize, output: Output) {
        match output {
            Output::Send { to, bytes, .. } => {
                self.messages += 1;
                self.bytes += bytes.len() as u64;
                for (i, validator) in self.set.validators.iter().enumerate() {
                    let meant = match &to {
                        Recipient::All => true,
                        Recipient::One(org) => validator.organisation == *org,
                    };
                    if meant && i != at {
                        self.queue.push_back((i, Input::NetworkMessage(bytes.clone())));
                    }
                }
            }
            Output::RequestValue { height, round, .. } => {
                let mut body = vec![0; BODY];
                body.splice(..8, height.to_be_bytes());
                self.queue.push_back((at, Input::ProposeBody { height, round, body: Body::from(body) }));
            }
            Output::ValidateBody { height, id, origin, .. } => {
                self.queue.push_back((at, Input::BodyValidated { height, id, origin, valid: true }));
            }
            Output::Decide { height, .. } => {
                let start = self.start(height + 1);
                self.queue.push_back((at, start));
            }
            _ => {}
        }
    }
}
