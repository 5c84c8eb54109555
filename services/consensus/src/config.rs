//! Settings of the consensus service.

use consilium_bft::Timeouts;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Configuration beside the common tables.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of the blocks, the state and the write-ahead log. Never restore it from a backup.
    pub data_dir: PathBuf,
    /// Genesis of the channel (JSON).
    pub genesis_file: PathBuf,
    /// Seed of the validator's key: 64 hexadecimal digits.
    pub key_file: PathBuf,
    /// Heights between two snapshots of the state, for members that join; 0 = none. The same at all members, so that a
    /// joining one can load from several of them.
    #[serde(default = "snapshot_blocks")]
    pub snapshot_blocks: u64,
    #[serde(default)]
    pub mempool: MempoolConfig,
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
}

fn snapshot_blocks() -> u64 {
    10_000
}

/// `[mempool]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MempoolConfig {
    /// Most transactions that wait.
    pub transactions: usize,
    /// Most bytes that wait.
    pub bytes: usize,
    /// How long a proposer waits for company after the first transaction, in milliseconds.
    pub linger_ms: u64,
    /// Bytes of transactions that this node puts into a block of its own, at most; the channel's limit holds too. A
    /// block above what one message carries is fetched in pieces, which costs everybody a round trip more.
    pub block_bytes: usize,
}

impl Default for MempoolConfig {
    fn default() -> Self {
        Self { transactions: 50_000, bytes: 128 * 1024 * 1024, linger_ms: 5, block_bytes: 480 * 1024 }
    }
}

/// `[timeouts]`: how long to wait in each step of a round, in milliseconds. Members may differ.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsConfig {
    pub propose_ms: u64,
    pub prevote_ms: u64,
    pub precommit_ms: u64,
    /// Added per round.
    pub delta_ms: u64,
    pub rebroadcast_ms: u64,
}

/// Short enough that a heartbeat of the next proposer comes within the staleness bound (2 s) when one proposer is
/// dead: otherwise the living could not exchange records at each of its turns. Raise them between distant sites.
impl Default for TimeoutsConfig {
    fn default() -> Self {
        Self { propose_ms: 1000, prevote_ms: 500, precommit_ms: 500, delta_ms: 500, rebroadcast_ms: 2000 }
    }
}

impl TimeoutsConfig {
    pub(crate) fn to_bft(&self) -> Timeouts {
        let ms = Duration::from_millis;
        Timeouts {
            propose: ms(self.propose_ms),
            prevote: ms(self.prevote_ms),
            precommit: ms(self.precommit_ms),
            delta: ms(self.delta_ms),
            rebroadcast: ms(self.rebroadcast_ms),
            ..Timeouts::default()
        }
    }
}
