//! Settings of the consensus service.

use crate::prune::FEWEST;
use consilium_bft::Timeouts;
use consilium_domain::Timestamp;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Configuration beside the common tables.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of the blocks, the state and the write-ahead log. Never copy it back from
    /// elsewhere: `consilium-consensus restore` makes one out of a backup.
    pub data_dir: PathBuf,
    /// A TiKV cluster for blocks and state, which then are not in `data_dir`; the write-ahead log always is. Needs a build
    /// with the feature `consilium-store/tikv`.
    #[serde(default)]
    pub tikv: Option<TikvConfig>,
    /// Genesis of the channel (JSON).
    pub genesis_file: PathBuf,
    /// Seed of the validator's key: 64 hexadecimal digits.
    pub key_file: PathBuf,
    /// Until when an empty `data_dir` means that this validator has never signed anything, so that it signs at once; UTC,
    /// such as `2026-11-22T18:00:00Z`. Set it for the first start of all, shortly ahead. Without it, an empty folder is
    /// taken for a lost one: the node follows in silence until the chain is past everything it may have signed.
    #[serde(default)]
    pub first_start_until: Option<Instant>,
    /// Heights between two snapshots of the state, for members that join; 0 = none. The same at all members, so that a
    /// joining one can load from several of them.
    #[serde(default = "snapshot_blocks")]
    pub snapshot_blocks: u64,
    /// Newest blocks that are kept, 10,000 at least; older ones are deleted once all kept snapshots are above them. A member
    /// that was away for longer than every other one keeps must load a snapshot. Absent: all are kept.
    #[serde(default)]
    pub keep_blocks: Option<u64>,
    /// Folder for backups: one at each snapshot's height, the newest two are kept. They hold no votes and no keys and are
    /// **not encrypted**. Absent: none are made.
    #[serde(default)]
    pub backup_dir: Option<PathBuf>,
    #[serde(default)]
    pub mempool: MempoolConfig,
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
}

fn snapshot_blocks() -> u64 {
    10_000
}

impl Config {
    /// What no single setting can know.
    ///
    /// # Errors
    /// When settings contradict each other.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(keep) = self.keep_blocks {
            anyhow::ensure!(keep >= FEWEST, "`keep_blocks` is at least {FEWEST}");
            let why =
                "`keep_blocks` needs snapshots, for nobody could join without them: set `snapshot_blocks`";
            anyhow::ensure!(self.snapshot_blocks > 0, "{why}");
        }
        Ok(())
    }
}

/// A moment of UTC to the second (RFC 3339 with `Z`).
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Instant(String);

impl TryFrom<String> for Instant {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let shape = b"0000-00-00T00:00:00Z";
        let fits = |(c, s): (u8, &u8)| if *s == b'0' { c.is_ascii_digit() } else { c == *s };
        if text.len() == shape.len() && text.bytes().zip(shape).all(fits) {
            Ok(Self(text))
        } else {
            Err("a moment is written in UTC, such as `2026-11-22T18:00:00Z`")
        }
    }
}

impl Instant {
    /// Whether `now` is not after it.
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        // Both begin with the same digits at the same places.
        now.to_instant() < self.0
    }
}

/// `[tikv]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TikvConfig {
    /// Placement drivers, `HOST:PORT` each.
    pub pd: Vec<String>,
    /// What all keys begin with, before channel and organisation. Whoever starts a second node with the same prefix,
    /// channel and organisation stops the first one.
    #[serde(default = "prefix")]
    pub prefix: String,
    #[serde(default)]
    pub tls: Option<TikvTls>,
}

fn prefix() -> String {
    "consilium".to_owned()
}

/// `[tikv.tls]`: PEM files. Without the table nothing is encrypted on the way.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TikvTls {
    pub ca_file: PathBuf,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_ahead_until_it_has_passed() {
        let until = Instant::try_from("2026-11-22T13:47:49Z".to_owned()).unwrap();
        assert!(until.is_ahead(Timestamp(1_795_355_268_999)));
        assert!(!until.is_ahead(Timestamp(1_795_355_270_000)));
        for wrong in
            ["", "2026-11-22", "2026-11-22T13:47:49", "2026-11-22T13:47:49+01:00", "2026-11-22 13:47:49Z"]
        {
            assert!(Instant::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
