//! The log as C2SP publishes logs: a signed checkpoint (c2sp.org/tlog-checkpoint, c2sp.org/signed-note) and tiles of
//! 256 hashes (c2sp.org/tlog-tiles), so that any monitor of such logs can follow this one.

use crate::log::{Log, LogError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use consilium_domain::{Digest, OrgId};
use consilium_ledger::SigningKey;

/// Hashes of a full tile.
const WIDTH: u64 = 256;
/// Highest tile level: 256^8 leaves are more than a `u64` counts.
const MAX_LEVEL: u32 = 7;

/// Signs checkpoints.
pub struct Publisher {
    key: SigningKey,
    origin: String,
}

impl Publisher {
    /// The origin names channel and organisation; it is also the key's name.
    pub fn new(key: SigningKey, channel: &str, organisation: &OrgId) -> Self {
        Self { key, origin: format!("consilium.example/audit/{channel}/{organisation}") }
    }

    /// The checkpoint of a log of `size` leaves with this root.
    pub fn checkpoint(&self, size: u64, root: &Digest) -> String {
        let body = format!("{}\n{size}\n{}\n", self.origin, STANDARD.encode(root.0));
        let public = self.key.public();
        // signed-note: key id = SHA-256(name ‖ LF ‖ 0x01 ‖ key)[..4]; 0x01 = Ed25519.
        let id = Digest::sha256(&[self.origin.as_bytes(), b"\n\x01", &public.0]);
        let mut signature = id.0.get(..4).unwrap_or_default().to_vec();
        signature.extend_from_slice(&self.key.sign(body.as_bytes()).0);
        format!("{body}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(signature))
    }
}

/// Which tile a path names: level, index, and the width of a partial one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileName {
    pub level: u32,
    pub index: u64,
    pub width: u64,
}

impl TileName {
    /// `<L>/<N>[.p/<W>]`, where N is in groups of three digits, all but the last preceded by `x`: `0/x001/234`.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((n, w)) => (n, decimal(w).filter(|w| (1..WIDTH).contains(w))?),
            None => (rest, WIDTH),
        };
        let level = u32::try_from(decimal(level)?).ok().filter(|l| *l <= MAX_LEVEL)?;
        let groups: Vec<&str> = index.split('/').collect();
        let (last, first) = groups.split_last()?;
        let mut number: u64 = 0;
        for group in first.iter().map(|g| g.strip_prefix('x')).chain(std::iter::once(Some(*last))) {
            let digits = group.filter(|g| g.len() == 3 && g.bytes().all(|b| b.is_ascii_digit()))?;
            number = number.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        // One spelling per tile: no leading groups of zeros.
        let spelt_short = first.first().is_none_or(|g| *g != "x000");
        spelt_short.then_some(Self { level, index: number, width })
    }
}

/// A decimal number without leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// The tile's hashes, or `None` while the log is not that long.
pub async fn tile(log: &Log, name: TileName) -> Result<Option<Vec<u8>>, LogError> {
    let Some(from) = name.index.checked_mul(WIDTH) else { return Ok(None) };
    let hashes = log.store.hashes(name.level * 8, from, from.saturating_add(name.width)).await?;
    let whole = hashes.len() as u64 == name.width;
    Ok(whole.then(|| hashes.iter().flat_map(|h| h.0).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_ledger::verify;

    #[test]
    fn tile_paths_have_one_spelling() {
        let name = |level, index, width| Some(TileName { level, index, width });
        assert_eq!(TileName::parse("0/000"), name(0, 0, 256));
        assert_eq!(TileName::parse("1/x001/234"), name(1, 1234, 256));
        assert_eq!(TileName::parse("0/x001/x234/067"), name(0, 1_234_067, 256));
        assert_eq!(TileName::parse("0/007.p/42"), name(0, 7, 42));
        for bad in [
            "",
            "0",
            "0/7",
            "0/x000/007",
            "0/007.p/0",
            "0/007.p/256",
            "0/007.p/042",
            "00/007",
            "9/000",
            "0/1234",
            "0/001/x234",
            "-1/000",
        ] {
            assert_eq!(TileName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_checkpoint_is_a_signed_note() {
        let key = SigningKey::from_seed([9; 32]);
        let public = key.public();
        let p = Publisher::new(key, "care", &OrgId::new("hospital-a").unwrap());
        let note = p.checkpoint(3, &Digest([1; 32]));
        let (body, line) = note.split_once("\n\n").unwrap();
        let body = format!("{body}\n");
        assert_eq!(body.lines().collect::<Vec<_>>()[..2], ["consilium.example/audit/care/hospital-a", "3"]);
        let mut words = line.trim_end().split(' ');
        assert_eq!(words.next(), Some("\u{2014}"));
        assert_eq!(words.next(), Some("consilium.example/audit/care/hospital-a"));
        let signature = STANDARD.decode(words.next().unwrap()).unwrap();
        assert_eq!(signature.len(), 68);
        let signature = consilium_domain::Signature(signature[4..].try_into().unwrap());
        assert!(verify(&public, body.as_bytes(), &signature));
        assert!(!verify(&public, body.replace('3', "4").as_bytes(), &signature));
    }
}
