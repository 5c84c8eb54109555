//! Who the members have been, as far as this node knows: from genesis, over every change that the members before it
//! have certified (`docs/proofs.md`). Whoever tells of a change need not be trusted.

use crate::chain::{Chain, ChainError};
use crate::snapshot::Ask;
use crate::sync;
use consilium_domain::block::{CommitCertificate, Header, ValidatorSet};
use consilium_domain::genesis::{Genesis, Member, members_digest, validators_of};
use consilium_domain::receipt::ValidatorChange;
use consilium_domain::{Decoder, Encoder, Height, OrgId};
use consilium_ledger::certificate::{self, CertificateError};
use consilium_runtime::Kit;
use std::time::Duration;

/// Most changes in one answer.
const MOST: usize = 1_000;
/// Bytes after which an answer is full: one message carries it.
const FULL: usize = 256 * 1024;

/// The members of every height, up to the newest change that this node has heard of.
#[derive(Debug, Clone)]
pub struct Members {
    genesis: Genesis,
    changes: Vec<ValidatorChange>,
}

impl Members {
    /// What the own chain says.
    ///
    /// # Errors
    /// When the store fails.
    pub fn known(genesis: &Genesis, chain: &Chain) -> Result<Self, ChainError> {
        let view = chain.view()?;
        let next = view.ledger()?.head().height.next();
        Ok(Self { genesis: genesis.clone(), changes: view.changes_before(next)? })
    }

    /// All changes, oldest first.
    pub fn changes(&self) -> &[ValidatorChange] {
        &self.changes
    }

    /// The members after the newest change.
    pub fn newest(&self) -> &[Member] {
        self.changes.last().map_or(&self.genesis.members, |c| &c.members)
    }

    /// The validators of a height.
    pub fn validators_at(&self, height: Height) -> ValidatorSet {
        let change = self.changes.iter().rev().find(|c| c.header.height < height);
        validators_of(change.map_or(&self.genesis.members, |c| &c.members))
    }

    /// Whether the members of its height have committed a block.
    ///
    /// # Errors
    /// As [`certificate::verify`].
    pub fn verify(&self, header: &Header, certificate: &CommitCertificate) -> Result<(), CertificateError> {
        certificate::verify(&self.genesis.channel, &self.validators_at(header.height), header, certificate)
    }

    /// Takes the next change in, if the members before it have certified it.
    fn learn(&mut self, change: ValidatorChange) -> bool {
        let since = self.changes.last().map_or(Height(0), |c| c.header.height);
        let sound = change.header.height > since
            && change.header.channel == self.genesis.channel
            && change.header.next_members == members_digest(&change.members)
            && self.verify(&change.header, &change.certificate).is_ok();
        if sound {
            self.changes.push(change);
        }
        sound
    }

    /// Asks the members for changes that this node has not seen, those of the newest list that it knows at the time.
    pub async fn ask(&mut self, kit: &Kit) {
        let me = kit.common.organisation.name.clone();
        let mut asked: Vec<OrgId> = vec![me];
        while let Some(org) =
            self.newest().iter().map(|m| m.organisation.clone()).find(|org| !asked.contains(org))
        {
            while self.ask_one(kit, &org).await {}
            asked.push(org);
        }
    }

    /// Whether the member told something new.
    async fn ask_one(&mut self, kit: &Kit, org: &OrgId) -> bool {
        let after = self.changes.last().map_or(0, |c| c.header.height.0);
        let subject = kit.subjects.at(org).consensus_sync();
        let question = Ask::Changes { after }.to_bytes();
        let Ok(answer) = kit.bus.request(&subject, question, Duration::from_secs(1)).await else {
            return false;
        };
        let Some(told) = sync::answer(&answer).and_then(decode) else { return false };
        let mut new = false;
        for change in told {
            if !self.learn(change) {
                tracing::warn!(peer = %org, "a member told of a change of the members that nobody certified");
                return false;
            }
            new = true;
        }
        new
    }
}

/// An answer: the oldest of these changes that fit into one message, at least one.
pub(crate) fn encode(changes: &[ValidatorChange]) -> Vec<u8> {
    use consilium_domain::Canonical;
    let mut bytes = 0;
    let fits = changes.iter().take(MOST).take_while(|c| {
        let first = bytes == 0;
        bytes += c.to_canonical().len();
        first || bytes <= FULL
    });
    let fitting = fits.count();
    let mut out = Encoder::default();
    out.list(changes.get(..fitting).unwrap_or_default());
    out.into_bytes()
}

fn decode(bytes: &[u8]) -> Option<Vec<ValidatorChange>> {
    let mut input = Decoder::new(bytes);
    let changes = input.list(MOST, "changes").ok()?;
    input.finish().ok()?;
    Some(changes)
}
