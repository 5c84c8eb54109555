//! What must never happen, judged from outside: by what nodes send and decide, not by what they hold.

use super::app::{self, Block, Chain, DRIFT, EPOCH, SKEW, Set, channel, number, quorum, validators};
use super::node::Committed;
use super::plan::{Plan, Planted};
use super::trace::words;
use crate::context::Vote;
use crate::wire::{Message, round_number, vote_bytes};
use crate::{Evidence, State};
use arc_malachitebft_core_types as types;
use consilium_domain::Digest;
use consilium_domain::block::{CommitCertificate, Precommit, ValidatorSet};
use std::collections::{BTreeMap, BTreeSet};
use types::{NilOrVal, VoteType};

type Value = Option<Digest>;

pub struct Check {
    /// The chain as an offline verifier builds it from genesis; knows the right delay of set changes.
    chain: Chain,
    /// By height: id, set that certifies it.
    decided: BTreeMap<u64, (Digest, Set)>,
    /// What honest organisations have signed: (organisation, kind, height, round).
    votes: BTreeMap<(usize, VoteType, u64, u32), Value>,
    proposals: BTreeMap<(usize, u64, u32), Digest>,
    /// Everybody's prevotes: for the rule of the lock.
    prevotes: BTreeMap<(u64, u32, Digest), BTreeSet<usize>>,
    /// What each honest node was shown at the height that it works on.
    shown: BTreeMap<usize, BTreeMap<(VoteType, u32, u16), Value>>,
    /// Whom each honest node must therefore name.
    caught: BTreeMap<usize, BTreeSet<u16>>,
    /// Pieces of evidence by the organisation that they name.
    pub evidence: BTreeMap<usize, usize>,
    /// Signatures that a certificate of so many validators needs.
    quorum: fn(usize) -> usize,
}

impl Check {
    pub fn new(plan: &Plan) -> Self {
        Self {
            chain: Chain::genesis(&plan.genesis, app::SET_DELAY),
            decided: BTreeMap::new(),
            votes: BTreeMap::new(),
            proposals: BTreeMap::new(),
            prevotes: BTreeMap::new(),
            shown: BTreeMap::new(),
            caught: BTreeMap::new(),
            evidence: BTreeMap::new(),
            // A verifier that shares the mistake: what remains to be seen is that the chain splits.
            quorum: if plan.planted == Planted::SmallQuorum { |n| n / 2 } else { quorum },
        }
    }

    pub fn best(&self) -> u64 {
        self.chain.height
    }

    /// No honest node contradicts itself, over all its lives, nor votes against its lock.
    pub fn sent(&mut self, from: usize, honest: bool, message: &Message) -> Result<(), String> {
        match message {
            Message::Vote(vote) => {
                let v = &vote.message;
                let (height, round) = (v.height.0, round_number(v.round));
                let value = match v.value {
                    NilOrVal::Nil => None,
                    NilOrVal::Val(id) => Some(id.0),
                };
                if let (VoteType::Prevote, Some(id)) = (v.kind, value) {
                    self.prevotes.entry((height, round, id)).or_default().insert(from);
                }
                if !honest {
                    return Ok(());
                }
                let before = self.votes.insert((from, v.kind, height, round), value);
                if before.is_some_and(|b| b != value) {
                    return Err(format!(
                        "equivocation: the honest {from} signed two votes at {height}/{round}"
                    ));
                }
                match (v.kind, value) {
                    (VoteType::Prevote, Some(id)) => self.lock(from, height, round, id),
                    _ => Ok(()),
                }
            }
            // A villain may show in a certificate what it has not sent as a vote.
            Message::Polka(c) => {
                let (height, round, id) = (c.height.0, round_number(c.round), c.value_id.0);
                let set = validators(self.set(height));
                for s in &c.polka_signatures {
                    let vote = Vote {
                        kind: VoteType::Prevote,
                        height: c.height,
                        round: c.round,
                        value: NilOrVal::Val(c.value_id),
                        address: s.address,
                        extension: None,
                    };
                    let Some(member) = set.validators.get(usize::from(s.address.0)) else { continue };
                    let Ok(key) = arc_malachitebft_signing_ed25519::PublicKey::from_bytes(member.key.0)
                    else {
                        continue;
                    };
                    if super::memo::is_truly_signed(&key, &vote_bytes(&channel(), &vote), &s.signature) {
                        let who = number(&member.organisation);
                        self.prevotes.entry((height, round, id)).or_default().insert(who);
                    }
                }
                Ok(())
            }
            Message::Proposal(proposal, _) if honest => {
                let p = &proposal.message;
                // The proposals of others are passed on too.
                let own = self.set(p.height.0).iter().nth(usize::from(p.address.0)) == Some(&from);
                let key = (from, p.height.0, round_number(p.round));
                let id = p.value.0;
                if own && *self.proposals.entry(key).or_insert(id) != id {
                    return Err(format!("equivocation: the honest {from} signed two proposals"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whoever precommitted a value prevotes another only after a polka for that one, at the lock's round or
    /// later (arXiv:1807.04938 lines 23 and 29).
    fn lock(&self, from: usize, height: u64, round: u32, id: Digest) -> Result<(), String> {
        let precommits = (from, VoteType::Precommit, height, 0)..(from, VoteType::Precommit, height, round);
        let lock = self.votes.range(precommits).rev().find_map(|((.., r), v)| v.map(|v| (*r, v)));
        let Some((locked, value)) = lock.filter(|(_, value)| *value != id) else { return Ok(()) };
        let needed = quorum(self.set(height).len());
        let polka = (locked..round)
            .any(|r| self.prevotes.get(&(height, r, id)).is_some_and(|voters| voters.len() >= needed));
        match polka {
            true => Ok(()),
            false => {
                Err(format!("lock: {from} prevoted {id} at {height}/{round} although locked on {value}"))
            }
        }
    }

    fn set(&self, height: u64) -> &Set {
        self.chain.set_of(height)
    }

    /// A message that an honest node is about to see.
    pub fn delivered(&mut self, to: usize, state: &State, message: &Message) {
        let Message::Vote(vote) = message else { return };
        let v = &vote.message;
        let round = round_number(v.round);
        // Votes of rounds that are over are forgotten once a later round has a lock.
        let followed = (state.round()..=state.round() + 10).contains(&round);
        if state.shell.decided || v.height.0 != state.height() || !followed {
            return;
        }
        let Some(member) = state.shell.members.get(v.address) else { return };
        if !crate::wire::vote_is_signed(&channel(), member, vote) {
            return;
        }
        let value = match v.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(id) => Some(id.0),
        };
        let shown = self.shown.entry(to).or_default();
        if *shown.entry((v.kind, round, v.address.0)).or_insert(value) != value {
            self.caught.entry(to).or_default().insert(v.address.0);
        }
    }

    /// A node starts anew, or a height.
    pub fn forget(&mut self, node: usize) {
        self.shown.remove(&node);
        self.caught.remove(&node);
    }

    /// Evidence names villains only, proves what it says, and leaves out nobody who was caught in the act.
    pub fn evidence(
        &mut self,
        at: usize,
        height: u64,
        evidence: &[Evidence],
        villain: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let set: Vec<usize> = self.set(height).iter().copied().collect();
        let mut named = BTreeSet::new();
        for e in evidence {
            let who = number(&e.validator);
            if !villain(who) {
                return Err(format!("evidence against the honest {who} at height {height}"));
            }
            named.insert(who);
            *self.evidence.entry(who).or_default() += 1;
            if !contradicts(&validators(self.set(height)), e) {
                let (first, second) = (words(&e.first), words(&e.second));
                return Err(format!(
                    "evidence against {who} at height {height} proves nothing: {first}; {second}"
                ));
            }
        }
        let caught = self.caught.remove(&at).unwrap_or_default();
        for address in caught {
            let who = set.get(usize::from(address)).copied();
            if who.is_some_and(|who| !named.contains(&who)) {
                return Err(format!("evidence: {at} was shown a contradiction of {who:?} and kept quiet"));
            }
        }
        Ok(())
    }

    /// Agreement and validity, by a verifier that knows only the genesis and the chain so far.
    pub fn decided(
        &mut self,
        at: usize,
        now: u64,
        height: u64,
        committed: &Committed,
        plan: &Plan,
    ) -> Result<(), String> {
        let (id, body, certificate) = (committed.id, &committed.body, &committed.certificate);
        let block = Block::read(body).filter(|_| app::identify(body) == Some(id));
        let block =
            block.ok_or_else(|| format!("validity: {at} decided what is no block at height {height}"))?;
        if height == self.chain.height + 1 {
            let set = self.set(height).clone();
            self.chain
                .accepts(&block, &plan.changes)
                .map_err(|e| format!("validity: {e} at height {height}"))?;
            if block.time > EPOCH + now / 1000 + SKEW + DRIFT {
                return Err(format!("validity: block {height} comes from the future"));
            }
            self.chain.extend(id, &block, &plan.changes);
            self.decided.insert(height, (id, set));
        }
        match self.decided.get(&height) {
            None => Err(format!("validity: {at} decided height {height} after {}", self.chain.height)),
            Some((decided, _)) if *decided != id => {
                Err(format!("agreement: {at} decided {id} at height {height}, others {decided}"))
            }
            Some((_, set)) => verify(certificate, height, id, &validators(set), self.quorum)
                .map_err(|e| format!("certificate: {e}")),
        }
    }
}

/// Whether anybody can see from it that the validator has contradicted itself.
fn contradicts(set: &ValidatorSet, evidence: &Evidence) -> bool {
    let Some(address) = set.index_of(&evidence.validator) else { return false };
    let limit = crate::Limits::default().body;
    let key = set.validators[usize::from(address)].key;
    let Ok(key) = arc_malachitebft_signing_ed25519::PublicKey::from_bytes(key.0) else { return false };
    let parse = |bytes: &[u8]| Message::from_bytes(bytes, limit);
    match (parse(&evidence.first), parse(&evidence.second)) {
        (Ok(Message::Vote(a)), Ok(Message::Vote(b))) => {
            let place = |v: &crate::context::Vote| (v.kind, v.height, v.round, v.address.0);
            let signed = |v: &crate::context::SignedVote| {
                super::memo::is_truly_signed(
                    &key,
                    &crate::wire::vote_bytes(&channel(), &v.message),
                    &v.signature,
                )
            };
            place(&a.message) == place(&b.message)
                && a.message.address.0 == address
                && a.message.value != b.message.value
                && signed(&a)
                && signed(&b)
        }
        (Ok(Message::Proposal(a, _)), Ok(Message::Proposal(b, _))) => {
            let place = |p: &crate::context::Proposal| (p.height, p.round, p.address.0);
            let signed = |p: &crate::context::SignedProposal| {
                let bytes = crate::wire::proposal_bytes(&channel(), &p.message);
                super::memo::is_truly_signed(&key, &bytes, &p.signature)
            };
            place(&a.message) == place(&b.message)
                && a.message.address.0 == address
                && a.message != b.message
                && signed(&a)
                && signed(&b)
        }
        _ => false,
    }
}

/// Knows nothing of the core: what an offline verifier does.
fn verify(
    c: &CommitCertificate,
    height: u64,
    id: Digest,
    set: &ValidatorSet,
    quorum: fn(usize) -> usize,
) -> Result<(), String> {
    if c.height.0 != height || c.block != id {
        return Err("it is for something else".into());
    }
    if !c.signatures.windows(2).all(|w| w[0].validator < w[1].validator) {
        return Err("its signatures are not sorted".into());
    }
    for s in &c.signatures {
        let vote = Precommit { height: c.height, round: c.round, block: Some(id), validator: s.validator };
        let member = set.validators.get(usize::from(s.validator)).ok_or("its signer is unknown")?;
        let key = arc_malachitebft_signing_ed25519::PublicKey::from_bytes(member.key.0)
            .map_err(|e| e.to_string())?;
        let signature = arc_malachitebft_signing_ed25519::Signature::from_bytes(s.signature.0);
        if !super::memo::is_truly_signed(&key, &vote.signing_bytes(&channel()), &signature) {
            return Err(format!("{} of height {height} has not signed it", member.organisation));
        }
    }
    let signers = c.signatures.len();
    if signers >= quorum(set.validators.len()) { Ok(()) } else { Err("it is below the quorum".into()) }
}

/// Whatever others send, a node holds a bounded amount.
pub fn bounded(state: &State, members: usize, orgs: usize, log: usize) -> Result<(), String> {
    let limits = crate::Limits::default();
    let rounds = state.round() as usize + 12;
    let most = super::footprint::Footprint {
        ahead: members * limits.heights_ahead as usize * limits.per_sender,
        bodies: 2 * rounds + 2,
        proposals: 2 * rounds,
        votes: members * (2 * rounds + 6),
        members: 2 * orgs + members * rounds,
        timers: 8,
    };
    let holds = state.footprint();
    let pairs = [
        (holds.ahead, most.ahead, "messages ahead"),
        (holds.bodies, most.bodies, "bodies"),
        (holds.proposals, most.proposals, "proposals"),
        (holds.votes, most.votes, "votes"),
        (holds.members, most.members, "notes on members"),
        (holds.timers, most.timers, "timers"),
        (log, 8 * (members + 2) * rounds, "log entries"),
    ];
    match pairs.into_iter().find(|(has, most, _)| has > most) {
        None => Ok(()),
        Some((has, most, what)) => Err(format!("memory: {has} {what}, at most {most} expected")),
    }
}
