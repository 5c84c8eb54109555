//! The first state of a channel, and what its members have to be then and after every change.

use crate::apply::Applied;
use crate::check;
use crate::committee;
use crate::state::{self, HeadRecord, ReadError, SchemaRecord, StateRead};
use crate::tree;
use consilium_domain::canon::Canonical;
use consilium_domain::genesis::{Genesis, Member};
use consilium_domain::merkle::Frontier;
use consilium_domain::port::kv::Pair;
use consilium_domain::{Height, PublicKey};
use std::collections::BTreeSet;
use thiserror::Error;

/// Most members of a channel.
pub const MAX_MEMBERS: usize = check::MAX_ATTESTATIONS;

/// Why nobody could run a channel with these members.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum MembersError {
    #[error("a channel has 1 to {MAX_MEMBERS} members, found {0}")]
    Count(usize),
    #[error("the members are not sorted by organisation, each once")]
    NotSorted,
    #[error("the key {0} is listed twice: each service of each member has its own")]
    SharedKey(PublicKey),
    #[error("a committee of {found} is too small for these members: 0 (all) or at least {least}")]
    Committee { found: u32, least: usize },
}

/// Why a genesis is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum GenesisError {
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error("the schemas are not sorted, each once")]
    SchemasNotSorted,
    #[error("`{0}` must not be 0")]
    Zero(&'static str),
    #[error("`max_block_bytes` is at least {0}: one transaction of the largest size")]
    BlockBytes(usize),
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// First state of a channel (height 0). Refuses a genesis that no consortium could run on.
pub fn genesis_state(genesis: &Genesis) -> Result<Applied, GenesisError> {
    check_genesis(genesis)?;
    let digest = genesis.digest();
    let head = HeadRecord { height: Height(0), time: genesis.time, block: digest };
    let mut changes = tree::Changes::new();
    let mut put = |key: Vec<u8>, value: Vec<u8>| changes.insert(key, (None, Some(value)));
    put(state::genesis_key(), genesis.to_canonical());
    put(state::members_key(), genesis.members.to_canonical());
    put(state::members_since_key(Height(1)), genesis.members.to_canonical());
    put(state::params_key(), genesis.params.to_canonical());
    put(state::head_key(), head.to_canonical());
    for schema in &genesis.schemas {
        let record = SchemaRecord { since: Height(0), until: None };
        put(state::schema_key(schema), record.to_canonical());
    }
    let (state_root, mut writes) = tree::write(&Nothing, 0, changes)?;
    let log = Frontier::default();
    writes.push(tree::frontier_write(&log));
    Ok(Applied {
        height: Height(0),
        block: digest,
        time: genesis.time,
        writes,
        state_root,
        log_size: 0,
        log_root: log.root(),
        members_change: false,
        outcomes: Vec::new(),
        leaves: Vec::new(),
    })
}

/// The view before genesis.
struct Nothing;

impl StateRead for Nothing {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(None)
    }
    fn last(&self, _: &[u8], _: &[u8]) -> Result<Option<Pair>, ReadError> {
        Ok(None)
    }
}

fn check_genesis(genesis: &Genesis) -> Result<(), GenesisError> {
    check_members(&genesis.members, genesis.params.committee)?;
    if !genesis.schemas.is_sorted_by(|a, b| a < b) {
        return Err(GenesisError::SchemasNotSorted);
    }
    let p = &genesis.params;
    for (name, value) in [
        ("epoch_blocks", p.epoch_blocks),
        ("attestation_blocks", p.attestation_blocks),
        ("staleness_ms", p.staleness_ms),
        ("heartbeat_ms", p.heartbeat_ms),
        ("drift_ms", p.drift_ms),
    ] {
        if value == 0 {
            return Err(GenesisError::Zero(name));
        }
    }
    let room = consilium_domain::tx::MAX_TX + 4;
    if (p.max_block_bytes as usize) < room {
        return Err(GenesisError::BlockBytes(room));
    }
    Ok(())
}

/// Whether a channel with this committee size can run with these members.
pub(crate) fn check_members(members: &[Member], committee: u32) -> Result<(), MembersError> {
    let n = members.len();
    if n == 0 || n > MAX_MEMBERS {
        return Err(MembersError::Count(n));
    }
    if !members.is_sorted_by(|a, b| a.organisation < b.organisation) {
        return Err(MembersError::NotSorted);
    }
    let mut keys = BTreeSet::new();
    for key in members.iter().flat_map(Member::keys) {
        if !keys.insert(key) {
            return Err(MembersError::SharedKey(key));
        }
    }
    let least = committee::smallest(n).max(1);
    if committee != 0 && (committee as usize) < least {
        return Err(MembersError::Committee { found: committee, least });
    }
    Ok(())
}
