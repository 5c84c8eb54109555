//! Entries of the write-ahead log: the inputs whose loss could make this node contradict itself.
//!
//! One entry = version, kind, payload, in canonical bytes. The driver adds length and checksum.

use crate::context::{Address, CoreInput, Height, ValueId};
use crate::wire::{MAX_ROUND, round_number};
use crate::wire::{decode_polka, decode_proposal, decode_vote, encode_polka, encode_proposal, encode_vote};
use arc_malachitebft_core_consensus::ProposedValue;
use arc_malachitebft_core_types::{Round, Timeout, TimeoutKind, Validity, ValueOrigin};
use consilium_domain::{CanonError, Decoder, Encoder};

/// Version of the entries.
pub const WAL_VERSION: u8 = 1;

/// `None` for inputs that are never logged.
pub(crate) fn encode(height: u64, input: &CoreInput) -> Option<Vec<u8>> {
    let mut out = Encoder::default();
    out.u8(WAL_VERSION);
    match input {
        CoreInput::Vote(vote) => encode_vote(out.u8(1), vote),
        CoreInput::Proposal(proposal) => encode_proposal(out.u8(2), proposal),
        CoreInput::ProposedValue(value, _) => {
            out.u8(3).u64(value.height.0).u32(round_number(value.round));
            out.u16(value.proposer.0).value(&value.value.0).u8(u8::from(value.validity.is_valid()));
        }
        CoreInput::PolkaCertificate(certificate) => encode_polka(out.u8(4), certificate),
        CoreInput::TimeoutElapsed(timeout) => {
            let kind = match timeout.kind {
                TimeoutKind::Propose => 1,
                TimeoutKind::Prevote => 2,
                TimeoutKind::Precommit => 3,
                TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
            };
            out.u8(5).u64(height).u32(round_number(timeout.round)).u8(kind);
        }
        CoreInput::StartHeight(..)
        | CoreInput::RoundCertificate(_)
        | CoreInput::Propose(_)
        | CoreInput::SyncValueResponse(_) => return None,
    }
    Some(out.into_bytes())
}

/// The height and the input of an entry.
pub(crate) fn decode(bytes: &[u8]) -> Result<(u64, CoreInput), CanonError> {
    let mut input = Decoder::new(bytes);
    match input.u8("version")? {
        WAL_VERSION => {}
        value => return Err(CanonError::Unknown { field: "version", value: u64::from(value) }),
    }
    let entry = match input.u8("entry kind")? {
        1 => {
            let vote = decode_vote(&mut input)?;
            (vote.message.height.0, CoreInput::Vote(vote))
        }
        2 => {
            let proposal = decode_proposal(&mut input)?;
            (proposal.message.height.0, CoreInput::Proposal(proposal))
        }
        3 => {
            let height = input.u64("height")?;
            let round = round(&mut input)?;
            let proposer = Address(input.u16("proposer")?);
            let value = ValueId(input.value()?);
            let validity = match input.u8("validity")? {
                0 => Validity::Invalid,
                1 => Validity::Valid,
                value => return Err(CanonError::Unknown { field: "validity", value: u64::from(value) }),
            };
            let value = ProposedValue {
                height: Height(height),
                round,
                valid_round: Round::Nil,
                proposer,
                value,
                validity,
            };
            (height, CoreInput::ProposedValue(value, ValueOrigin::Consensus))
        }
        4 => {
            let certificate = decode_polka(&mut input)?;
            (certificate.height.0, CoreInput::PolkaCertificate(certificate))
        }
        5 => {
            let height = input.u64("height")?;
            let round = round(&mut input)?;
            let timeout = match input.u8("timeout kind")? {
                1 => Timeout::propose(round),
                2 => Timeout::prevote(round),
                3 => Timeout::precommit(round),
                value => return Err(CanonError::Unknown { field: "timeout kind", value: u64::from(value) }),
            };
            (height, CoreInput::TimeoutElapsed(timeout))
        }
        value => return Err(CanonError::Unknown { field: "entry kind", value: u64::from(value) }),
    };
    input.finish()?;
    Ok(entry)
}

fn round(input: &mut Decoder<'_>) -> Result<Round, CanonError> {
    let round = input.u32("round")?;
    if round > MAX_ROUND { Err(CanonError::TooLong("round")) } else { Ok(Round::new(round)) }
}
