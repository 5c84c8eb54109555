//! Catching up: who is ahead, whom to ask, and what to make of the answer.

use crate::context::{Address, CoreInput, Height, ValueId};
use crate::input::Origin;
use crate::output::{Output, Recipient};
use crate::step::{Held, Shell};
use crate::timers::Purpose;
use crate::wire::{SyncResponse, What};
use crate::{Body, certify};
use arc_malachitebft_core_consensus::{PeerId, ProposedValue};
use arc_malachitebft_core_types as types;
use consilium_domain::{Digest, OrgId};
use std::collections::{BTreeMap, BTreeSet};
use types::{Round, Validity, ValueOrigin, ValueResponse};

/// A certified body that the core has accepted or is about to.
#[derive(Debug, Clone)]
struct Certified {
    id: Digest,
    round: u32,
    body: Body,
    peer: OrgId,
    /// The core has checked the certificate.
    accepted: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Sync {
    /// The height that each member has shown, under its signature, to work on: it has decided those below.
    heights: BTreeMap<OrgId, u64>,
    certified: Option<Certified>,
    asked: Option<OrgId>,
    /// Whose answers at this height were worthless: asked again only where nobody else is ahead.
    distrusted: BTreeSet<OrgId>,
}

impl Sync {
    pub(crate) fn begin(&mut self, height: u64) {
        self.heights.retain(|_, h| *h > height);
        self.certified = None;
        self.asked = None;
        self.distrusted.clear();
    }

    pub(crate) fn highest(&self) -> u64 {
        self.heights.values().copied().max().unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) fn members(&self) -> usize {
        self.heights.len()
    }

    pub(crate) fn is_news(&self, org: &OrgId, height: u64) -> bool {
        self.heights.get(org).is_none_or(|known| height > *known)
    }

    /// The round of the accepted certificate for this id.
    pub(crate) fn certified(&self, id: &Digest) -> Option<u32> {
        self.certified.as_ref().filter(|c| c.accepted && c.id == *id).map(|c| c.round)
    }
}

impl Shell {
    /// A member works on a later height.
    pub(crate) fn note_height(&mut self, org: OrgId, height: u64) {
        if org != self.config.organisation && self.sync.is_news(&org, height) {
            self.sync.heights.insert(org, height);
            self.watch_for_lag();
        }
    }

    /// Whoever is ahead answers our height with theirs; what somebody is known to have is asked for without the usual
    /// patience.
    pub(crate) fn on_missed(&mut self) {
        self.say(Recipient::All, What::Status);
        if !self.decided && self.sync.asked.is_none() && self.sync.highest() > self.height {
            self.sync_now();
        }
    }

    /// Two heights behind: ask at once. One: the missing votes are probably on their way, so wait a little.
    pub(crate) fn watch_for_lag(&mut self) {
        let lag = self.sync.highest().saturating_sub(self.height);
        if self.decided || lag == 0 || self.sync.asked.is_some() {
            return;
        }
        if lag >= 2 {
            self.sync_now();
        } else if !self.timers.is_running(|p| *p == Purpose::Sync) {
            self.timers.set(Purpose::Sync, self.config.timeouts.sync_grace, &mut self.out);
        }
    }

    /// Asks the next member that is ahead, and looks again after a while.
    pub(crate) fn sync_now(&mut self) {
        let height = self.height;
        let sync = &mut self.sync;
        let mut ahead: Vec<&OrgId> =
            sync.heights.iter().filter(|(_, h)| **h > height).map(|(o, _)| o).collect();
        if ahead.iter().any(|org| !sync.distrusted.contains(*org)) {
            ahead.retain(|org| !sync.distrusted.contains(*org));
        }
        // The one after the last asked, by name, all around.
        let after = |org: &&&OrgId| sync.asked.as_ref().is_some_and(|last| **org > last);
        let Some(peer) = ahead.iter().find(after).or(ahead.first()).map(|org| (*org).clone()) else { return };
        sync.asked = Some(peer.clone());
        self.out.push(Output::RequestSync { height, peer });
        self.timers.set(Purpose::Sync, self.config.timeouts.sync_retry, &mut self.out);
    }

    pub(crate) fn on_sync_response(&mut self, peer: &OrgId, bytes: &[u8]) {
        if self.decided || self.sync.asked.as_ref() != Some(peer) {
            return;
        }
        if self.sync.certified.as_ref().is_some_and(|c| c.accepted) {
            return;
        }
        let Ok(SyncResponse { certificate, body }) = SyncResponse::from_bytes(bytes, self.config.limits.body)
        else {
            return self.blame(peer.clone(), "sync response is malformed");
        };
        if certificate.height.0 != self.height {
            return;
        }
        if (self.config.identify)(&body) != Some(certificate.block) {
            return self.blame(peer.clone(), "sync body does not match its certificate");
        }
        let (id, round) = (certificate.block, certificate.round);
        self.sync.certified = Some(Certified { id, round, body, peer: peer.clone(), accepted: false });
        let Some(tag) = peer_id() else { return };
        let response = ValueResponse::new(tag, Vec::new().into(), certify::from_domain(&certificate));
        self.queue.push_back(CoreInput::SyncValueResponse(response));
    }

    fn blame(&mut self, peer: OrgId, reason: &'static str) {
        self.sync.distrusted.insert(peer.clone());
        self.out.push(Output::Blame { peer, reason });
    }

    /// The core refused the certificate.
    pub(crate) fn on_certificate_refused(&mut self, by_certificate: bool) {
        if let Some(certified) = self.sync.certified.take()
            && by_certificate
        {
            self.blame(certified.peer, "sync certificate does not verify");
        }
    }

    /// The core accepted the certificate and has no valid value for it yet.
    pub(crate) fn on_certificate_accepted(&mut self, proposer: Address) {
        let Some(certified) = self.sync.certified.as_mut() else { return };
        certified.accepted = true;
        let (id, round, body) = (certified.id, certified.round, certified.body.clone());
        let held = self.held.entry(id).or_insert(Held { body, round, proposer, verdict: None });
        if held.verdict == Some(true) {
            let proposer = held.proposer;
            self.queue.push_back(CoreInput::ProposedValue(
                ProposedValue {
                    height: Height(self.height),
                    round: Round::new(round),
                    valid_round: Round::Nil,
                    proposer,
                    value: ValueId(id),
                    validity: Validity::Valid,
                },
                ValueOrigin::Sync,
            ));
        } else {
            self.ask_verdict(id, Origin::Sync);
        }
    }
}

/// The core wants a libp2p peer id and only hands it back; ours is always the same (identity multihash of
/// nothing), as at most one answer is in the core at a time.
fn peer_id() -> Option<PeerId> {
    PeerId::from_bytes(&[0, 0]).ok()
}
