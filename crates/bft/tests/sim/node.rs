//! One simulated machine: a disk that survives crashes and a process that does not.

use consilium_bft::{Body, Config, Input, Limits, Output, RecoveredBody, Recovery, State, Timeouts};
use consilium_domain::block::{CommitCertificate, Validator, ValidatorSet};
use consilium_domain::{ChannelId, Digest, OrgId, PublicKey};
use std::collections::BTreeMap;
use std::time::Duration;

pub const TAG: &[u8] = b"simulated body";

/// Height, parent, nonce.
pub fn body(height: u64, parent: Digest, nonce: u64) -> Body {
    let mut bytes = TAG.to_vec();
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(&parent.0);
    bytes.extend_from_slice(&nonce.to_be_bytes());
    bytes.into()
}

pub fn identify(bytes: &[u8]) -> Option<Digest> {
    bytes.starts_with(TAG).then(|| Digest::tagged("simulated body", bytes))
}

/// The application's rule: a body extends the chain by one.
pub fn acceptable(bytes: &[u8], height: u64, parent: Digest) -> bool {
    bytes.len() == TAG.len() + 48
        && bytes[TAG.len()..TAG.len() + 8] == height.to_be_bytes()
        && bytes[TAG.len() + 8..TAG.len() + 40] == parent.0
}

pub fn organisation(i: usize) -> OrgId {
    OrgId::new(format!("org-{i}")).unwrap()
}

pub fn seed(i: usize) -> [u8; 32] {
    [u8::try_from(i + 1).unwrap(); 32]
}

pub fn channel() -> ChannelId {
    ChannelId::new("simulation").unwrap()
}

pub fn validators(n: usize) -> ValidatorSet {
    let key = |i| PublicKey(ed25519_consensus::SigningKey::from(seed(i)).verification_key().to_bytes());
    let validators =
        (0..n).map(|i| Validator { organisation: organisation(i), key: key(i), power: 1 }).collect();
    ValidatorSet { validators }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Honest,
    /// Hears everything, says nothing, answers sync requests with rubbish.
    Mute,
    /// Runs twice under one key; each half of the network hears another twin
    /// (Bano et al., "Twins: BFT Systems Made Robust").
    Twin {
        second: bool,
    },
    /// Proposes bodies that nobody may accept.
    BadProposer,
}

#[derive(Clone, Debug)]
pub struct Committed {
    pub id: Digest,
    pub body: Body,
    pub certificate: CommitCertificate,
}

#[derive(Default)]
pub struct Disk {
    pub chain: Vec<Committed>,
    pub wal: Vec<(u64, Vec<u8>)>,
    pub bodies: Vec<(u64, Option<u32>, Body)>,
}

pub struct Node {
    /// Place in the validator set; twins share it.
    pub index: usize,
    pub conduct: Conduct,
    pub disk: Disk,
    /// `None` while crashed.
    pub process: Option<State>,
    /// Of the process: what belongs to an earlier one is not delivered.
    pub incarnation: u64,
    /// Every vote sent: (type, height, round) -> value.
    pub votes: BTreeMap<Vec<u8>, Vec<u8>>,
    pub bodies_built: u64,
}

impl Node {
    pub fn new(index: usize, conduct: Conduct) -> Self {
        Self {
            index,
            conduct,
            disk: Disk::default(),
            process: None,
            incarnation: 0,
            votes: BTreeMap::new(),
            bodies_built: 0,
        }
    }

    pub fn honest(&self) -> bool {
        self.conduct == Conduct::Honest
    }

    pub fn tip(&self) -> Digest {
        self.disk.chain.last().map_or(Digest([0; 32]), |c| c.id)
    }

    pub fn height(&self) -> u64 {
        self.disk.chain.len() as u64
    }

    /// Starts the process anew from the disk.
    pub fn boot(&mut self) {
        let ms = Duration::from_millis;
        let timeouts = Timeouts {
            propose: ms(300),
            prevote: ms(100),
            precommit: ms(100),
            delta: ms(50),
            rebroadcast: ms(500),
            sync_grace: ms(60),
            sync_retry: ms(200),
            cap: ms(2000),
        };
        let config = Config {
            channel: channel(),
            organisation: organisation(self.index),
            timeouts,
            limits: Limits::default(),
            identify,
        };
        self.incarnation += 1;
        self.process = Some(State::new(config, seed(self.index)));
    }

    pub fn start_input(&self, n: usize) -> Input {
        let height = self.height() + 1;
        let wal = self.disk.wal.iter().filter(|(h, _)| *h == height).map(|(_, e)| e.clone()).collect();
        let bodies = self
            .disk
            .bodies
            .iter()
            .filter(|(h, ..)| *h == height)
            .map(|(_, built_for, body)| RecoveredBody { built_for: *built_for, body: body.clone() })
            .collect();
        let recovery = Recovery { wal, bodies };
        Input::StartHeight { height, validators: validators(n), participate: true, recovery }
    }

    /// Carries out a durable output.
    pub fn persist(&mut self, output: &Output) {
        match output {
            Output::PersistWal { height, entry } => self.disk.wal.push((*height, entry.clone())),
            Output::PersistBody { height, built_for, body, .. } => {
                self.disk.bodies.push((*height, *built_for, body.clone()));
            }
            _ => {}
        }
    }

    pub fn commit(&mut self, committed: Committed) {
        self.disk.chain.push(committed);
        let height = self.height();
        self.disk.wal.retain(|(h, _)| *h > height);
        self.disk.bodies.retain(|(h, ..)| *h > height);
    }
}
