//! One simulated machine: a disk that survives crashes and a process that does not.

use super::app::{Chain, Change, Set, channel, identify, number, organisation, seed, validators};
use super::plan::{Conduct, Planted};
use crate::rejoin::first_safe_height;
use crate::{Body, Config, Input, Limits, Output, RecoveredBody, Recovery, Rotation, State, Timeouts};
use consilium_domain::block::CommitCertificate;
use consilium_domain::{Digest, OrgId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Committed {
    pub id: Digest,
    pub body: Body,
    pub certificate: CommitCertificate,
}

/// A record of the log. The file is cut off at the first one that a crash has torn.
#[derive(Clone, Debug)]
enum Record {
    Entry(u64, Vec<u8>),
    Body(u64, Option<u32>, Body),
}

pub struct Disk {
    pub blocks: Vec<Committed>,
    pub chain: Chain,
    wal: Vec<Record>,
    synced: usize,
    /// The log is gone, and with it all memory of what was signed.
    pub lost: bool,
}

pub struct Node {
    /// Number of the organisation; twins share it.
    pub index: usize,
    pub conduct: Conduct,
    pub disk: Disk,
    /// `None` while crashed.
    pub process: Option<State>,
    /// Of the process: what belongs to an earlier one is not delivered.
    pub incarnation: u64,
    /// First height at which this node may sign.
    pub signs_from: u64,
    /// What the peers have told of their heights, while `disk.lost`.
    pub told: BTreeMap<OrgId, u64>,
    pub built: u64,
    /// Milliseconds by which the clock is ahead.
    pub skew: i64,
    /// Thousandths of a second that pass on its timers per millisecond.
    pub pace: u64,
    /// What a villain has overheard.
    pub overheard: VecDeque<Vec<u8>>,
}

impl Node {
    pub fn new(index: usize, conduct: Conduct, genesis: &Set, delay: usize) -> Self {
        let chain = Chain::genesis(genesis, delay);
        Self {
            index,
            conduct,
            disk: Disk { blocks: Vec::new(), chain, wal: Vec::new(), synced: 0, lost: false },
            process: None,
            incarnation: 0,
            signs_from: 0,
            told: BTreeMap::new(),
            built: 0,
            skew: 0,
            pace: 1_000,
            overheard: VecDeque::new(),
        }
    }

    pub fn honest(&self) -> bool {
        self.conduct == Conduct::Honest
    }

    pub fn height(&self) -> u64 {
        self.disk.chain.height
    }

    /// The node's wall clock in milliseconds at true time `now` (microseconds).
    pub fn clock(&self, now: u64) -> u64 {
        (super::app::EPOCH + now / 1000).saturating_add_signed(self.skew)
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
        let organisation = organisation(self.index);
        let config =
            Config { channel: channel(), organisation, timeouts, limits: Limits::default(), identify };
        self.process = Some(State::new(config, seed(self.index)));
    }

    /// The process is gone, and of the log's unsynced records all but the first `kept`.
    pub fn crash(&mut self, kept: usize) {
        self.process = None;
        self.incarnation += 1;
        self.disk.wal.truncate((self.disk.synced + kept).min(self.disk.wal.len()));
        self.disk.synced = self.disk.wal.len();
    }

    pub fn unsynced(&self) -> usize {
        self.disk.wal.len() - self.disk.synced
    }

    pub fn log_length(&self) -> usize {
        self.disk.wal.len()
    }

    pub fn lose_log(&mut self) {
        (self.disk.wal, self.disk.synced, self.disk.lost) = (Vec::new(), 0, true);
        self.told.clear();
    }

    pub fn lose_disk(&mut self, genesis: &Set, delay: usize) {
        self.lose_log();
        self.disk.blocks.clear();
        self.disk.chain = Chain::genesis(genesis, delay);
    }

    /// An old copy of the disk: the log is gone and so are the newest blocks.
    pub fn roll_back(&mut self, blocks: usize, genesis: &Set, delay: usize, approved: &[Change]) {
        let kept = self.disk.blocks.len().saturating_sub(blocks);
        let old: Vec<Committed> = self.disk.blocks.drain(..).take(kept).collect();
        self.lose_disk(genesis, delay);
        old.into_iter().for_each(|committed| self.commit(committed, approved));
    }

    /// Whether enough peers have told their heights, and from where on it may sign then.
    pub fn safe_height(&self, planted: Planted) -> Option<u64> {
        let set = validators(self.disk.chain.set_of(self.height() + 1));
        let from = first_safe_height(&set, &organisation(self.index), self.height(), &self.told);
        let new =
            planted == Planted::EmptyDiskIsNew && self.height() == 0 && self.told.values().all(|h| *h == 0);
        from.map(|from| if new { 0 } else { from })
    }

    pub fn start_input(&self) -> Input {
        let height = self.height() + 1;
        let mut recovery = Recovery::default();
        for record in &self.disk.wal {
            match record {
                Record::Entry(h, entry) if *h == height => recovery.wal.push(entry.clone()),
                Record::Body(h, built_for, body) if *h == height => {
                    recovery.bodies.push(RecoveredBody { built_for: *built_for, body: body.clone() });
                }
                _ => {}
            }
        }
        // Epochs of 20 heights; the seed is the last block of the epoch before the last.
        let epoch = height / 20;
        let seed_of = (epoch.saturating_sub(1) * 20).checked_sub(1).filter(|h| *h > 0);
        let seed = seed_of.map_or(Digest([7; 32]), |h| self.disk.blocks[h as usize - 1].id);
        Input::StartHeight {
            height,
            validators: validators(self.disk.chain.set_of(height)),
            rotation: Rotation { seed, since: epoch * 20, weights: Vec::new() },
            participate: height >= self.signs_from,
            recovery,
        }
    }

    /// Appends a durable output to the log; durable only after [`Node::sync`].
    pub fn append(&mut self, output: &Output) {
        match output {
            Output::PersistWal { height, entry } => self.disk.wal.push(Record::Entry(*height, entry.clone())),
            Output::PersistBody { height, built_for, body, .. } => {
                self.disk.wal.push(Record::Body(*height, *built_for, body.clone()));
            }
            _ => {}
        }
    }

    pub fn sync(&mut self, planted: Planted) {
        if planted != Planted::NoFsync {
            self.disk.synced = self.disk.wal.len();
        }
    }

    /// The block is durable, the log still that of its height.
    pub fn commit(&mut self, committed: Committed, approved: &[Change]) {
        if let Some(block) = super::app::Block::read(&committed.body) {
            self.disk.chain.extend(committed.id, &block, approved);
            self.disk.blocks.push(committed);
        }
    }

    pub fn reset_log(&mut self) {
        (self.disk.wal, self.disk.synced) = (Vec::new(), 0);
    }

    /// Place in the set of the height that it works on.
    pub fn address(&self) -> Option<u16> {
        let set = self.disk.chain.set_of(self.height() + 1);
        set.iter().position(|i| *i == self.index).and_then(|i| u16::try_from(i).ok())
    }

    pub fn tell(&mut self, peer: usize, height: u64) {
        self.told.insert(organisation(peer), height);
    }

    pub fn asks(&self, peer: usize) -> bool {
        self.index != peer && !self.told.keys().any(|org| number(org) == peer)
    }
}
