//! The simulated application: what a block says and when it is acceptable.

use crate::Body;
use consilium_domain::block::{Validator, ValidatorSet};
use consilium_domain::{CanonError, Canonical, ChannelId, Decoder, Digest, Encoder, OrgId, PublicKey};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Most that a block's time may differ from a voter's clock, in milliseconds.
pub const DRIFT: u64 = 1_000;
/// Most that an honest clock is wrong, either way.
pub const SKEW: u64 = 300;
/// Genesis time: long after 0, so that clocks may be behind.
pub const EPOCH: u64 = 1_000_000;
/// A block's changes apply this many heights later (see the ledger design, section 5.5).
pub const SET_DELAY: usize = 2;

pub fn organisation(i: usize) -> OrgId {
    OrgId::new(format!("org-{i}")).unwrap()
}

pub fn number(org: &OrgId) -> usize {
    org.as_str().trim_start_matches("org-").parse().unwrap()
}

pub fn seed(i: usize) -> [u8; 32] {
    [u8::try_from(i + 1).unwrap(); 32]
}

pub fn channel() -> ChannelId {
    ChannelId::new("simulation").unwrap()
}

/// Organisations by number, sorted: whoever joins or leaves moves the addresses of those behind it.
pub type Set = BTreeSet<usize>;

/// Most organisations that a run may have.
pub const ORGS: usize = 16;

pub fn validators(set: &Set) -> ValidatorSet {
    // Deriving keys takes longer than all else here.
    static KEYS: OnceLock<Vec<PublicKey>> = OnceLock::new();
    let key = |i| PublicKey(ed25519_consensus::SigningKey::from(seed(i)).verification_key().to_bytes());
    let keys = KEYS.get_or_init(|| (0..ORGS).map(key).collect());
    let one = |i: &usize| Validator { organisation: organisation(*i), key: keys[*i], power: 1 };
    ValidatorSet { validators: set.iter().map(one).collect() }
}

pub fn quorum(n: usize) -> usize {
    n * 2 / 3 + 1
}

/// Names a set in a block: the verifier's link from one height to the next.
pub fn set_id(set: &Set) -> Digest {
    let members: Vec<u8> = set.iter().map(|i| u8::try_from(*i).unwrap()).collect();
    Digest::tagged("simulated set", &members)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Join(usize),
    Leave(usize),
}

impl Change {
    pub fn apply(self, set: &Set) -> Set {
        let mut set = set.clone();
        match self {
            Self::Join(i) => set.insert(i),
            Self::Leave(i) => set.remove(&i),
        };
        set
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub height: u64,
    pub parent: Digest,
    pub time: u64,
    /// State root after the parent.
    pub root: Digest,
    /// Of the next height.
    pub next_set: Digest,
    /// Place in the list of approved changes, if one is made.
    pub change: Option<u16>,
    pub nonce: u64,
    /// The interop proof: member and tag, more than two thirds of the set.
    pub proof: Vec<(u16, u64)>,
}

impl Canonical for Block {
    fn encode(&self, out: &mut Encoder) {
        out.str("simulated block").u64(self.height).value(&self.parent).u64(self.time).value(&self.root);
        out.value(&self.next_set).u16(self.change.map_or(0, |c| c + 1)).u64(self.nonce);
        out.u16(u16::try_from(self.proof.len()).unwrap());
        for (member, tag) in &self.proof {
            out.u16(*member).u64(*tag);
        }
    }
    fn decode(input: &mut Decoder<'_>) -> Result<Self, CanonError> {
        if input.str(32, "tag")? != "simulated block" {
            return Err(CanonError::TooLong("tag"));
        }
        let height = input.u64("height")?;
        let (parent, time, root) = (input.value()?, input.u64("time")?, input.value()?);
        let (next_set, change) = (input.value()?, input.u16("change")?.checked_sub(1));
        let nonce = input.u64("nonce")?;
        let mut proof = Vec::new();
        for _ in 0..input.u16("proof")? {
            proof.push((input.u16("member")?, input.u64("tag")?));
        }
        Ok(Self { height, parent, time, root, next_set, change, nonce, proof })
    }
}

impl Block {
    pub fn body(&self) -> Body {
        self.to_canonical().into()
    }
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_canonical(bytes).ok()
    }
    pub fn root_after(&self) -> Digest {
        let mut bytes = self.root.0.to_vec();
        bytes.extend_from_slice(&self.nonce.to_be_bytes());
        Digest::tagged("simulated root", &bytes)
    }
    /// Attested by these members.
    pub fn attested<'a>(mut self, by: impl Iterator<Item = &'a usize>) -> Self {
        self.proof =
            by.map(|i| (u16::try_from(*i).unwrap(), attestation(*i, self.height, self.nonce))).collect();
        self
    }
}

/// Stands for a signature over the content: only the simulated secret of `member` makes it.
fn attestation(member: usize, height: u64, nonce: u64) -> u64 {
    let mut bytes = seed(member).to_vec();
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(&nonce.to_be_bytes());
    let Digest(tag) = Digest::tagged("simulated attestation", &bytes);
    u64::from_be_bytes(tag[..8].try_into().unwrap())
}

pub fn identify(bytes: &[u8]) -> Option<Digest> {
    Block::read(bytes).map(|_| Digest::tagged("simulated block", bytes))
}

/// State after some block, as far as the application's rules need it.
#[derive(Clone, Debug)]
pub struct Chain {
    pub tip: Digest,
    pub height: u64,
    pub time: u64,
    pub root: Digest,
    pub made: usize,
    /// By height; known up to the next height and, with the right delay, one further.
    pub sets: Vec<Set>,
    delay: usize,
}

impl Chain {
    pub fn genesis(set: &Set, delay: usize) -> Self {
        let zero = Digest([0; 32]);
        let sets = vec![set.clone(); delay + 1];
        Self { tip: zero, height: 0, time: EPOCH, root: zero, made: 0, sets, delay }
    }

    pub fn set_of(&self, height: u64) -> &Set {
        &self.sets[(height as usize).min(self.sets.len() - 1)]
    }

    /// The change that an honest proposer may make now: one in flight, the next of the approved list.
    pub fn may_change(&self, approved: &[Change]) -> Option<u16> {
        let n = self.sets.len();
        let in_flight = n > 2 && self.sets[n - 1] != self.sets[n - 2];
        let next = u16::try_from(self.made).unwrap();
        (!in_flight && self.made < approved.len()).then_some(next)
    }

    /// All rules but the one about the voter's clock.
    pub fn accepts(&self, block: &Block, approved: &[Change]) -> Result<(), &'static str> {
        let set = self.set_of(block.height);
        let distinct: BTreeSet<u16> = block.proof.iter().map(|(m, _)| *m).collect();
        let genuine = |(m, tag): &(u16, u64)| {
            set.contains(&usize::from(*m)) && attestation(usize::from(*m), block.height, block.nonce) == *tag
        };
        let change = block.change.is_none() || block.change == self.may_change(approved);
        let rules = [
            (block.height == self.height + 1, "height"),
            (block.parent == self.tip, "parent"),
            (block.time > self.time, "time is not after the parent's"),
            (block.root == self.root, "state root"),
            (block.next_set == set_id(self.set_of(block.height + 1)), "next set"),
            (change, "unapproved change"),
            (block.proof.iter().all(genuine), "forged attestation"),
            (distinct.len() == block.proof.len(), "repeated attestation"),
            (distinct.len() >= quorum(set.len()), "too few attestations"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, name)| Err(name))
    }

    pub fn extend(&mut self, id: Digest, block: &Block, approved: &[Change]) {
        let last = self.sets.last().cloned().unwrap();
        let next = block.change.map_or(last.clone(), |c| approved[usize::from(c)].apply(&last));
        self.made += usize::from(block.change.is_some());
        self.sets.push(next);
        debug_assert_eq!(self.sets.len(), self.height as usize + 2 + self.delay);
        (self.tip, self.height, self.time, self.root) = (id, block.height, block.time, block.root_after());
    }
}
