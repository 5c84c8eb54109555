//! The types through which the Malachite core sees us. Its names appear here, in `effects` and in `step` only.

use crate::rotation::Rotation;
use arc_malachitebft_core_consensus as core_consensus;
use arc_malachitebft_core_types as types;
use arc_malachitebft_signing_ed25519::Ed25519;
use consilium_domain::block::{Validator, ValidatorSet};
use consilium_domain::{ChannelId, Digest, OrgId};
use std::collections::BTreeSet;
use std::fmt;
use thiserror::Error;
use types::{NilOrVal, Round, SignedExtension, VoteType};

pub(crate) type CoreInput = core_consensus::Input<Ctx>;
pub(crate) type CoreState = core_consensus::State<Ctx>;
pub(crate) type SignedVote = types::SignedVote<Ctx>;
pub(crate) type SignedProposal = types::SignedProposal<Ctx>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Ctx;

/// A validator's address is its index in the set of the height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(pub u16);

impl Address {
    /// Whoever is not in the set: an observer.
    pub(crate) const NOBODY: Self = Self(u16::MAX);
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl types::Address for Address {}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Height(pub u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl types::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);
    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }
    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }
    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// The value is its id; the body travels beside it (`ValuePayload::ProposalAndParts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ValueId(pub Digest);

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl types::Value for ValueId {
    type Id = Self;
    fn id(&self) -> Self {
        *self
    }
}

/// More than two thirds is a quorum, more than one third holds an honest member, here and in the core.
#[cfg(not(test))]
pub(crate) fn thresholds() -> types::ThresholdParams {
    types::ThresholdParams::default()
}
#[cfg(test)]
pub(crate) use crate::sim::thresholds;

/// Largest validator set: one organisation each, and `Address::NOBODY` stays free.
pub const MAX_VALIDATORS: usize = 1024;

/// Why a validator set is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SetError {
    #[error("a validator set has 1 to 1024 members, this one has {0}")]
    Size(usize),
    #[error("`{0}` stands in the validator set twice")]
    Twice(OrgId),
    #[error("the power of `{0}` must be at least 1 and all powers together at most 2^32")]
    Power(OrgId),
    #[error("the key of `{0}` is not an Ed25519 verification key")]
    Key(OrgId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub address: Address,
    pub org: OrgId,
    pub key: arc_malachitebft_signing_ed25519::PublicKey,
    pub power: u64,
}

impl types::Validator<Ctx> for Member {
    fn address(&self) -> &Address {
        &self.address
    }
    fn public_key(&self) -> &arc_malachitebft_signing_ed25519::PublicKey {
        &self.key
    }
    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// A checked, non-empty set with its keys parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members {
    list: Vec<Member>,
    total: u64,
    /// Places in `list` in the order in which they propose at this height.
    order: Vec<u16>,
}

impl Members {
    pub(crate) fn new(
        set: &ValidatorSet,
        rotation: &Rotation,
        channel: &ChannelId,
        height: u64,
    ) -> Result<Self, SetError> {
        let size = set.validators.len();
        if size == 0 || size > MAX_VALIDATORS {
            return Err(SetError::Size(size));
        }
        let (mut list, mut total, mut seen) = (Vec::with_capacity(size), 0_u64, BTreeSet::new());
        for (index, Validator { organisation, key, power }) in (0_u16..).zip(&set.validators) {
            if !seen.insert(organisation) {
                return Err(SetError::Twice(organisation.clone()));
            }
            // The core multiplies powers by 3 and panics on overflow.
            total = total.saturating_add(*power);
            if *power == 0 || total > 1 << 32 {
                return Err(SetError::Power(organisation.clone()));
            }
            let key = arc_malachitebft_signing_ed25519::PublicKey::from_bytes(key.0)
                .map_err(|_| SetError::Key(organisation.clone()))?;
            list.push(Member { address: Address(index), org: organisation.clone(), key, power: *power });
        }
        let members = u16::try_from(list.len()).map_err(|_| SetError::Size(size))?;
        Ok(Self { list, total, order: rotation.order(channel, height, members) })
    }
    /// Before the first height. The core never sees it.
    pub(crate) fn none() -> Self {
        Self { list: Vec::new(), total: 0, order: Vec::new() }
    }
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
    pub(crate) fn get(&self, address: Address) -> Option<&Member> {
        self.list.get(usize::from(address.0))
    }
    pub(crate) fn by_org(&self, org: &OrgId) -> Option<&Member> {
        self.list.iter().find(|m| m.org == *org)
    }
    /// More than two thirds (strictly), the quorum of the paper.
    pub(crate) fn is_quorum(&self, power: u64) -> bool {
        thresholds().quorum.is_met(power, self.total)
    }
    /// More than one third (strictly): at least one honest member.
    pub(crate) fn is_honest(&self, power: u64) -> bool {
        thresholds().honest.is_met(power, self.total)
    }
    /// `proposer(height, round)` (arXiv:1807.04938 line 2) at the height of this set, see [`Rotation::order`].
    /// `None` never happens, as the set is not empty.
    pub(crate) fn proposer(&self, round: u32) -> Option<&Member> {
        let n = u32::try_from(self.order.len()).ok()?;
        let at = usize::try_from(round.checked_rem(n)?).ok()?;
        self.get(Address(self.order.get(at).copied()?))
    }
}

impl types::ValidatorSet<Ctx> for Members {
    fn count(&self) -> usize {
        self.list.len()
    }
    fn total_voting_power(&self) -> u64 {
        self.total
    }
    fn get_by_address(&self, address: &Address) -> Option<&Member> {
        self.get(*address)
    }
    fn get_by_index(&self, index: usize) -> Option<&Member> {
        self.list.get(index)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub kind: VoteType,
    pub height: Height,
    pub round: Round,
    pub value: NilOrVal<ValueId>,
    pub address: Address,
    /// Vote extensions are switched off; the field keeps the trait's contract for when they come.
    pub extension: Option<SignedExtension<Ctx>>,
}

impl types::Vote<Ctx> for Vote {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &NilOrVal<ValueId> {
        &self.value
    }
    fn take_value(self) -> NilOrVal<ValueId> {
        self.value
    }
    fn vote_type(&self) -> VoteType {
        self.kind
    }
    fn validator_address(&self) -> &Address {
        &self.address
    }
    fn extension(&self) -> Option<&SignedExtension<Ctx>> {
        self.extension.as_ref()
    }
    fn take_extension(&mut self) -> Option<SignedExtension<Ctx>> {
        self.extension.take()
    }
    fn extend(self, extension: SignedExtension<Ctx>) -> Self {
        Self { extension: Some(extension), ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub height: Height,
    pub round: Round,
    pub value: ValueId,
    pub pol_round: Round,
    pub address: Address,
}

impl types::Proposal<Ctx> for Proposal {
    fn height(&self) -> Height {
        self.height
    }
    fn round(&self) -> Round {
        self.round
    }
    fn value(&self) -> &ValueId {
        &self.value
    }
    fn take_value(self) -> ValueId {
        self.value
    }
    fn pol_round(&self) -> Round {
        self.pol_round
    }
    fn validator_address(&self) -> &Address {
        &self.address
    }
}

/// Bodies are not streamed in parts through the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoPart;

impl types::ProposalPart<Ctx> for NoPart {
    fn is_first(&self) -> bool {
        true
    }
    fn is_last(&self) -> bool {
        true
    }
}

impl types::Context for Ctx {
    type Address = Address;
    type Height = Height;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Member;
    type ValidatorSet = Members;
    type Timeouts = types::LinearTimeouts;
    type Value = ValueId;
    type Vote = Vote;
    type Extension = Vec<u8>;
    type SigningScheme = Ed25519;

    #[expect(
        clippy::expect_used,
        reason = "the trait has no way to fail, and `Members::new` refuses an empty set"
    )]
    fn select_proposer<'a>(&self, set: &'a Members, _: Height, round: Round) -> &'a Member {
        set.proposer(round.as_u32().unwrap_or(0)).expect("a validator set is never empty")
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: ValueId,
        pol_round: Round,
        address: Address,
    ) -> Proposal {
        Proposal { height, round, value, pol_round, address }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<ValueId>, address: Address) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, value, address, extension: None }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<ValueId>,
        address: Address,
    ) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, value, address, extension: None }
    }
}
