//! The state and its one transition.

use crate::Body;
use crate::buffer::Ahead;
use crate::context::{
    Address, CoreInput, CoreState, Ctx, Height, Members, SignedProposal, SignedVote, ValueId, thresholds,
};
use crate::input::{Config, Input, Origin};
use crate::output::{Class, Output, Poisoned, Recipient};
use crate::sync::Sync;
use crate::timers::{Purpose, Timers};
use crate::wire::{self, Control, Message, What, round_number};
use arc_malachitebft_core_consensus::{LocallyProposedValue, Params, ProposedValue, ValuePayload, process};
use arc_malachitebft_core_types as types;
use arc_malachitebft_signing_ed25519::PrivateKey;
use consilium_domain::{Digest, OrgId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use types::{Round, TimeoutKind, Validity, ValueOrigin, VoteExtensionPolicy, VoteType};

/// Rounds ahead of ours from which a proposal is looked at, as the core does for votes.
const ROUNDS_AHEAD: u32 = 10;
/// Distinct values that are kept per round: enough to prove that a proposer contradicts itself.
const PROPOSALS_PER_ROUND: usize = 2;
/// Answers to one member's requests for one round's proposal.
const ANSWERS_PER_ROUND: u8 = 3;
/// Requests for a round's proposal before giving up until the next round.
const FETCH_ATTEMPTS: u32 = 4;
/// Least time between two hints to the same member that it is behind.
const HINT_INTERVAL: Duration = Duration::from_millis(500);

/// A body of the current height.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub body: Body,
    pub round: u32,
    pub proposer: Address,
    pub verdict: Option<bool>,
}

/// One validator's (or observer's) view of the agreement.
pub struct State {
    pub(crate) core: Option<CoreState>,
    pub(crate) shell: Shell,
    poisoned: Option<Poisoned>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("height", &self.height()).field("round", &self.round()).finish()
    }
}

impl State {
    /// Nothing happens before the first [`Input::StartHeight`]. `seed` is the Ed25519 signing key.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self { core: None, shell: Shell::new(config, PrivateKey::from(seed)), poisoned: None }
    }

    /// The height being decided, 0 before the first.
    pub fn height(&self) -> u64 {
        self.shell.height
    }

    /// The round being run.
    pub fn round(&self) -> u32 {
        self.shell.round
    }

    /// The greatest height that a member has shown to work on (verified), and our own.
    pub fn highest_seen(&self) -> u64 {
        self.shell.sync.highest().max(self.shell.height)
    }
}

/// All that surrounds the core.
pub(crate) struct Shell {
    pub config: Config,
    pub key: PrivateKey,
    pub now: Duration,
    pub height: u64,
    pub round: u32,
    pub members: Members,
    pub me: Address,
    pub decided: bool,
    /// Log entries being replayed; `None` outside recovery.
    pub replaying: Option<BTreeSet<Vec<u8>>>,
    /// Inputs for the core, fed one by one after it has returned.
    pub queue: VecDeque<CoreInput>,
    pub out: Vec<Output>,
    pub timers: Timers,
    pub held: BTreeMap<Digest, Held>,
    /// Bodies that we built, by round: the same round must always offer the same body.
    pub built: BTreeMap<u32, Digest>,
    /// The round for which the core waits for a value.
    pub wanted: Option<u32>,
    pub proposals: BTreeMap<u32, Vec<SignedProposal>>,
    /// Who voted for which value, by type and round.
    pub voters: BTreeMap<(VoteType, u32, Digest), BTreeSet<Address>>,
    /// Values that more than two thirds have prevoted in some round.
    pub polkas: BTreeSet<Digest>,
    /// What we signed at this height: never two different things under one key, whatever the core asks.
    pub signed_votes: BTreeMap<(VoteType, u32), SignedVote>,
    pub signed_proposals: BTreeMap<u32, SignedProposal>,
    pub sync: Sync,
    pub failure: Option<Poisoned>,
    pub ahead: Ahead,
    pub hinted: BTreeMap<OrgId, Duration>,
    pub answered: BTreeMap<(OrgId, u32), u8>,
}

/// Feeds one event to the state. `now` is monotonic time since any start; only differences count.
///
/// # Errors
/// After the first error the state answers nothing else: stop signing, keep serving reads, restart from disk.
pub fn step(state: &mut State, now: Duration, input: Input) -> Result<Vec<Output>, Poisoned> {
    if let Some(poisoned) = &state.poisoned {
        return Err(poisoned.clone());
    }
    state.shell.now = now;
    let result = state.apply(input).and_then(|()| state.drain());
    if let Err(poisoned) = result {
        state.poisoned = Some(poisoned.clone());
        state.shell.out.clear();
        return Err(poisoned);
    }
    let (mut first, then): (Vec<_>, Vec<_>) =
        std::mem::take(&mut state.shell.out).into_iter().partition(Output::is_persist);
    first.extend(then);
    Ok(first)
}

impl State {
    fn apply(&mut self, input: Input) -> Result<(), Poisoned> {
        match input {
            Input::StartHeight { height, validators, rotation, participate, recovery } => {
                return self.start_height(height, &validators, &rotation, participate, recovery);
            }
            Input::ProposeBody { height, round, body } => self.shell.on_built(height, round, body),
            Input::NetworkMessage(bytes) => {
                if self.core.is_some()
                    && let Ok(message) = Message::from_bytes(&bytes, self.shell.config.limits.body)
                {
                    self.shell.on_message(message);
                }
            }
            Input::TimerFired(tag) => {
                if let Some(purpose) = self.shell.timers.fired(tag) {
                    self.shell.on_timer(purpose);
                }
            }
            Input::SyncResponse { peer, bytes } => self.shell.on_sync_response(&peer, &bytes),
            Input::Missed => {
                if self.core.is_some() {
                    self.shell.on_missed();
                }
            }
            Input::BodyValidated { height, id, origin, valid } => {
                self.shell.on_validated(height, id, origin, valid);
            }
        }
        Ok(())
    }

    /// Runs the core over the queued inputs. The handler never fails: a failed effect would be logged by the
    /// core and forgotten.
    pub(crate) fn drain(&mut self) -> Result<(), Poisoned> {
        while let Some(input) = self.shell.queue.pop_front() {
            self.feed(input)?;
        }
        self.shell.failure.take().map_or(Ok(()), Err)
    }

    pub(crate) fn feed(&mut self, input: CoreInput) -> Result<(), Poisoned> {
        let Some(core) = self.core.as_mut() else {
            return Ok(());
        };
        let shell = &mut self.shell;
        let result: Result<(), arc_malachitebft_core_consensus::Error<Ctx>> = process!(
            input: input,
            state: core,
            metrics: &(),
            with: effect => Ok::<_, std::convert::Infallible>(shell.handle(effect))
        );
        result.map_err(|e| Poisoned::Core(e.to_string()))
    }

    pub(crate) fn new_core(&mut self, participate: bool) {
        let params = Params {
            address: self.shell.me,
            threshold_params: thresholds(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: participate,
        };
        // The core's own queue of future heights stays empty: it would keep messages unverified.
        let height = Height(self.shell.height);
        self.core = Some(CoreState::new(Ctx, height, self.shell.members.clone(), params, 1, 1));
    }

    pub(crate) fn start_input(&self) -> CoreInput {
        // No target time: the core would read the machine's clock. No extensions yet.
        CoreInput::StartHeight(
            Height(self.shell.height),
            self.shell.members.clone(),
            false,
            None,
            VoteExtensionPolicy::Disabled,
        )
    }

    pub(crate) fn feed_ahead(&mut self) {
        for message in self.shell.ahead.take(self.shell.height) {
            self.shell.on_message(message);
        }
    }
}

impl Shell {
    fn new(config: Config, key: PrivateKey) -> Self {
        Self {
            config,
            key,
            now: Duration::ZERO,
            height: 0,
            round: 0,
            members: Members::none(),
            me: Address::NOBODY,
            decided: false,
            replaying: None,
            queue: VecDeque::new(),
            out: Vec::new(),
            timers: Timers::default(),
            held: BTreeMap::new(),
            built: BTreeMap::new(),
            wanted: None,
            proposals: BTreeMap::new(),
            voters: BTreeMap::new(),
            polkas: BTreeSet::new(),
            signed_votes: BTreeMap::new(),
            signed_proposals: BTreeMap::new(),
            sync: Sync::default(),
            failure: None,
            ahead: Ahead::default(),
            hinted: BTreeMap::new(),
            answered: BTreeMap::new(),
        }
    }

    /// Forgets the last height.
    pub(crate) fn begin(&mut self, height: u64, members: Members) {
        self.timers.start_height(height, &mut self.out);
        self.height = height;
        self.round = 0;
        self.me = members.by_org(&self.config.organisation).map_or(Address::NOBODY, |m| m.address);
        self.members = members;
        self.decided = false;
        self.queue.clear();
        self.held.clear();
        self.built.clear();
        self.wanted = None;
        self.proposals.clear();
        self.voters.clear();
        self.polkas.clear();
        self.signed_votes.clear();
        self.signed_proposals.clear();
        self.answered.clear();
        self.sync.begin(height);
    }

    pub(crate) fn org(&self, address: Address) -> Option<&OrgId> {
        self.members.get(address).map(|m| &m.org)
    }

    pub(crate) fn send(&mut self, to: Recipient, class: Class, message: &Message) {
        self.out.push(Output::Send { to, class, bytes: message.to_bytes() });
    }

    fn on_message(&mut self, message: Message) {
        let (height, address) = match &message {
            Message::Vote(v) => (v.message.height.0, Some(v.message.address)),
            Message::Proposal(p, _) => (p.message.height.0, Some(p.message.address)),
            Message::Polka(c) => (c.height.0, None),
            Message::Round(c) => (c.height.0, None),
            Message::Control(control, signature) => return self.on_control(control.clone(), *signature),
        };
        if height < self.height {
            // Whoever repeats itself at an old height is stuck there.
            if let Some(org) = address.and_then(|a| self.org(a)).cloned() {
                self.hint(org);
            }
        } else if height > self.height {
            self.on_ahead(height, address, message);
        } else if !self.decided {
            match message {
                Message::Vote(vote) => self.queue.push_back(CoreInput::Vote(vote)),
                Message::Proposal(proposal, body) => self.on_proposal(proposal, body),
                Message::Polka(c) => self.queue.push_back(CoreInput::PolkaCertificate(c)),
                Message::Round(c) => self.queue.push_back(CoreInput::RoundCertificate(c)),
                Message::Control(..) => {}
            }
        }
    }

    /// A later height: membership and signature come first, then the bounds, then memory is spent.
    fn on_ahead(&mut self, height: u64, address: Option<Address>, message: Message) {
        let Some(member) = address.and_then(|a| self.members.get(a)) else {
            return;
        };
        let org = member.org.clone();
        let room = self.ahead.has_room(&self.config.limits, self.height, height, &org, &message);
        if !room && !self.sync.is_news(&org, height) {
            return;
        }
        let genuine = match &message {
            Message::Vote(v) => wire::vote_is_signed(&self.config.channel, member, v),
            // Whether it was this member's turn is looked at once the height has begun.
            Message::Proposal(p, _) => wire::proposal_is_signed(&self.config.channel, member, p),
            Message::Polka(_) | Message::Round(_) | Message::Control(..) => false,
        };
        if !genuine {
            return;
        }
        if room {
            self.ahead.keep(height, org.clone(), message);
        }
        self.note_height(org, height);
    }

    fn on_proposal(&mut self, proposal: SignedProposal, body: Option<Body>) {
        let (id, round) = (proposal.message.value.0, round_number(proposal.message.round));
        if round > self.round.saturating_add(ROUNDS_AHEAD) {
            return;
        }
        let list = self.proposals.get(&round).map_or(&[][..], Vec::as_slice);
        let known = list.contains(&proposal);
        if !known {
            if list.len() >= PROPOSALS_PER_ROUND
                || !wire::proposal_is_genuine(&self.config.channel, &self.members, &proposal)
            {
                return;
            }
            self.proposals.entry(round).or_default().push(proposal.clone());
        }
        // Before the proposal enters the core, so that both are there when it looks. A body that is not the
        // one that was signed for is dropped: it may be the work of whoever passed it on.
        if let Some(body) = body
            && !self.held.contains_key(&id)
            && (self.config.identify)(&body) == Some(id)
        {
            let proposer = proposal.message.address;
            self.held.insert(id, Held { body, round, proposer, verdict: None });
            self.ask_verdict(id, Origin::Proposal);
        }
        if !known {
            self.queue.push_back(CoreInput::Proposal(proposal));
        }
    }

    pub(crate) fn ask_verdict(&mut self, id: Digest, origin: Origin) {
        let origin = match origin {
            Origin::Proposal if self.polkas.contains(&id) => Origin::Polka,
            other => other,
        };
        let Some(held) = self.held.get(&id) else { return };
        let Some(proposer) = self.org(held.proposer).cloned() else { return };
        let (round, body) = (held.round, held.body.clone());
        self.out.push(Output::ValidateBody { height: self.height, round, id, body, proposer, origin });
    }

    fn on_validated(&mut self, height: u64, id: Digest, asked: Origin, valid: bool) {
        if height != self.height || self.decided {
            return;
        }
        let certified = self.sync.certified(&id);
        let Some(held) = self.held.get_mut(&id) else { return };
        match (asked, certified) {
            (Origin::Proposal, _) if held.verdict.is_some() => return,
            (Origin::Polka, _) if held.verdict == Some(true) => return,
            (Origin::Sync, None) => return,
            (Origin::Sync, Some(_)) if !valid => {
                self.failure = Some(Poisoned::RefusedCommit(id, height));
                return;
            }
            _ => held.verdict = Some(valid),
        }
        let held = held.clone();
        if valid {
            // Durable before it is voted for: the log holds only the id.
            self.out.push(Output::PersistBody { height, id, built_for: None, body: held.body.clone() });
        }
        let (round, origin) = match certified {
            Some(round) if valid => (round, ValueOrigin::Sync),
            _ => (held.round, ValueOrigin::Consensus),
        };
        self.queue.push_back(CoreInput::ProposedValue(
            ProposedValue {
                height: Height(height),
                round: Round::new(round),
                valid_round: Round::Nil,
                proposer: held.proposer,
                value: ValueId(id),
                validity: Validity::from_bool(valid),
            },
            origin,
        ));
        if certified.is_some() && !valid {
            self.ask_verdict(id, Origin::Sync);
        } else if asked == Origin::Proposal && !valid && self.polkas.contains(&id) {
            self.ask_verdict(id, Origin::Polka);
        }
    }

    /// More than two thirds have prevoted this value. What was refused may have come too late only.
    pub(crate) fn note_polka(&mut self, id: Digest) {
        let refused = self.held.get(&id).is_some_and(|held| held.verdict == Some(false));
        if self.polkas.insert(id) && refused && self.replaying.is_none() {
            self.ask_verdict(id, Origin::Polka);
        }
    }

    fn on_built(&mut self, height: u64, round: u32, body: Body) {
        if height != self.height || self.decided || self.wanted != Some(round) {
            return;
        }
        let Some(id) = (self.config.identify)(&body).filter(|_| body.len() <= self.config.limits.body) else {
            return;
        };
        let built_for = Some(round);
        self.out.push(Output::PersistBody { height, id, built_for, body: body.clone() });
        self.held.entry(id).or_insert(Held { body, round, proposer: self.me, verdict: Some(true) });
        self.built.insert(round, id);
        self.propose(round, id);
    }

    pub(crate) fn propose(&mut self, round: u32, id: Digest) {
        self.wanted = None;
        self.queue.push_back(CoreInput::Propose(LocallyProposedValue::new(
            Height(self.height),
            Round::new(round),
            ValueId(id),
        )));
    }

    fn on_timer(&mut self, purpose: Purpose) {
        if self.decided {
            return;
        }
        match purpose {
            Purpose::Core(timeout) => {
                if timeout.kind == TimeoutKind::Rebroadcast {
                    self.say(Recipient::All, What::Status);
                }
                self.queue.push_back(CoreInput::TimeoutElapsed(timeout));
            }
            Purpose::Fetch { round, attempt } => self.fetch(round, attempt),
            Purpose::Sync => self.sync_now(),
        }
    }

    /// Asks for a proposal that has not come: the proposer first, then the others in turn.
    fn fetch(&mut self, round: u32, attempt: u32) {
        if round != self.round || attempt >= FETCH_ATTEMPTS || self.has_whole_proposal(round) {
            return;
        }
        let n = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let first = self.members.proposer(round).map_or(0, |m| u32::from(m.address.0));
        let index = first.saturating_add(attempt).checked_rem(n).unwrap_or(0);
        let peer = u16::try_from(index).ok().map(Address).filter(|a| *a != self.me);
        if let Some(org) = peer.and_then(|a| self.org(a)).cloned() {
            self.say(Recipient::One(org), What::Want(round));
        }
        let again = self.config.timeouts.grow(self.config.timeouts.propose, round) / 4;
        self.timers.set(Purpose::Fetch { round, attempt: attempt + 1 }, again, &mut self.out);
    }

    fn has_whole_proposal(&self, round: u32) -> bool {
        self.whole_proposal(round).is_some()
    }

    fn whole_proposal(&self, round: u32) -> Option<(&SignedProposal, &Held)> {
        let list = self.proposals.get(&round)?;
        list.iter().find_map(|p| self.held.get(&p.message.value.0).map(|held| (p, held)))
    }

    /// A verified vote: enough of them for a value that we lack show that it is worth asking for.
    pub(crate) fn note_vote(&mut self, vote: &SignedVote) {
        let types::NilOrVal::Val(id) = vote.message.value else { return };
        let round = round_number(vote.message.round);
        let voters = self.voters.entry((vote.message.kind, round, id.0)).or_default();
        if !voters.insert(vote.message.address) {
            return;
        }
        let power = voters.iter().filter_map(|a| self.members.get(*a)).map(|m| m.power).sum();
        let before = power_without(&self.members, voters, vote.message.address);
        if vote.message.kind == VoteType::Prevote && self.members.is_quorum(power) {
            self.note_polka(id.0);
        }
        if self.held.contains_key(&id.0) {
            return;
        }
        if self.members.is_honest(power)
            && !self.members.is_honest(before)
            && let Some(org) = self.org(vote.message.address).cloned()
            && self.replaying.is_none()
        {
            self.say(Recipient::One(org), What::Want(round));
        }
    }

    fn on_control(&mut self, control: Control, signature: arc_malachitebft_signing_ed25519::Signature) {
        let routine = control.height == self.height && control.what == What::Status;
        let useful = control.sender != self.config.organisation
            && !routine
            && (control.height <= self.height || self.sync.is_news(&control.sender, control.height));
        let Some(member) = self.members.by_org(&control.sender).filter(|_| useful) else { return };
        let signed = wire::control_bytes(&self.config.channel, &control);
        if !wire::is_signed(&member.key, &signed, &signature) {
            return;
        }
        match control.what {
            _ if control.height > self.height => self.note_height(control.sender, control.height),
            _ if control.height < self.height => self.hint(control.sender),
            What::Status => {}
            What::Want(round) => {
                if round > self.round.saturating_add(ROUNDS_AHEAD) {
                    return;
                }
                let answered = self.answered.entry((control.sender.clone(), round)).or_default();
                if *answered >= ANSWERS_PER_ROUND {
                    return;
                }
                *answered += 1;
                if let Some((proposal, held)) = self.whole_proposal(round) {
                    let message = Message::Proposal(proposal.clone(), Some(held.body.clone()));
                    self.send(Recipient::One(control.sender), Class::Proposal, &message);
                }
            }
        }
    }

    /// Tells a member that we are past the height on which it still works.
    fn hint(&mut self, org: OrgId) {
        let due = self.hinted.get(&org).is_none_or(|last| self.now.saturating_sub(*last) >= HINT_INTERVAL);
        if due && org != self.config.organisation {
            self.hinted.insert(org.clone(), self.now);
            self.say(Recipient::One(org), What::Status);
        }
    }

    /// Control messages are signed even where we take no part in votes; strangers ignore an observer's.
    pub(crate) fn say(&mut self, to: Recipient, what: What) {
        let control = Control { sender: self.config.organisation.clone(), height: self.height, what };
        let signature = self.key.sign(&wire::control_bytes(&self.config.channel, &control));
        self.send(to, Class::Control, &Message::Control(control, signature));
    }
}

fn power_without(members: &Members, voters: &BTreeSet<Address>, without: Address) -> u64 {
    voters.iter().filter(|a| **a != without).filter_map(|a| members.get(*a)).map(|m| m.power).sum()
}
